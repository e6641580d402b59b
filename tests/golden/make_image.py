"""Writes tests/golden/image/: what Pillow and transformers make of small pictures.

usage: python tests/golden/make_image.py
pinned: Pillow 13.0.0, numpy 2.4.6, transformers 5.23.0 (the PIL image processors need no torch at run time)

files/          small files of every format and mode that Pillow opens
files.tsv       for each: mode, size, and SHA-256 of Pillow's bytes: as opened, as RGB on white, as RGB without alpha, turned by EXIF
expected/       Pillow's pixels (as opened, CMYK as TIFF) where a decoder may differ in the last place: JPEG
resize.tsv      mode, source size, target size, filter, SHA-256 of Pillow's bytes; sources are made by `formula`
preprocess.tsv  file, configuration, SHA-256 of the float32 pixel_values, the first four numbers
../../../crates/image/tests/corpus/  files that must be refused: headers that lie, pages named .jpg
squash.tsv      file, size, SHA-256 of cn_clip's bytes: resized in the file's mode, then RGB
"""
import hashlib, io, json, pathlib, random, shutil, struct, zlib

import numpy as np
import PIL
import transformers
from PIL import Image, ImageOps
from transformers.models.chinese_clip.image_processing_pil_chinese_clip import ChineseCLIPImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

assert PIL.__version__ == '13.0.0' and transformers.__version__ == '5.23.0' and np.__version__ == '2.4.6'
OUT = pathlib.Path(__file__).parent / 'image'
FILES = OUT / 'files'
CORPUS = pathlib.Path(__file__).parents[2] / 'crates/image/tests/corpus'
CHANNELS = {'1': 1, 'L': 1, 'P': 1, 'LA': 2, 'I;16': 2, 'RGB': 3, 'RGBA': 4, 'CMYK': 4}


def formula(width, height, channels):
    """Bytes [height, width, channels]: waves with noise on them, in integers only, so that Rust can make them as well."""
    y, x, c = np.meshgrid(*(np.arange(n, dtype=np.uint32) for n in (height, width, channels)), indexing='ij')
    noise = ((x * 2654435761 + y * 2246822519 + c * 3266489917) >> 13) & 63
    return ((x * 5 + y * 3 + c * 85 + ((x * y) >> 4) + noise) & 255).astype(np.uint8)


def source(mode, width, height):
    data = formula(width, height, CHANNELS[mode])
    if mode == '1':
        return Image.fromarray(np.where(data[..., 0] > 127, 255, 0).astype(np.uint8), 'L').convert('1', dither=Image.Dither.NONE)
    return Image.frombytes(mode, (width, height), data.tobytes())


def smooth(width, height, mode='RGB'):
    """Something a lossy format likes: a small formula picture, enlarged."""
    return source('RGB', 6, 5).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def raw(image):
    """The bytes as this project holds them: bilevel is one byte a pixel."""
    return image.convert('L').tobytes() if image.mode == '1' else image.tobytes()


def sha(data):
    return hashlib.sha256(data).hexdigest()


def on_white(image):
    """transformers' convert_to_rgb."""
    if 'A' in image.getbands() or image.info.get('transparency') is not None:
        image = image.convert('RGBA')
        image = Image.alpha_composite(Image.new('RGBA', image.size, (255,) * 4), image)
    return image.convert('RGB')


def png(width, height, depth, color, rows, palette=b'', transparent=None, exif=None):
    """A PNG written by hand, for the kinds that Pillow does not write. `rows`: packed bytes."""
    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    out = b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, depth, color, 0, 0, 0))
    if exif: out += chunk(b'eXIf', exif)
    if palette: out += chunk(b'PLTE', palette)
    if transparent is not None: out += chunk(b'tRNS', transparent)
    stride = len(rows) // height
    lines = b''.join(b'\0' + rows[y * stride:(y + 1) * stride] for y in range(height))
    return out + chunk(b'IDAT', zlib.compress(lines, 9)) + chunk(b'IEND', b'')


def bmp(width, height, bits, rows, compression=0, masks=b'', palette=b''):
    offset = 54 + len(masks) + len(palette)
    info = struct.pack('<IiiHHIIiiII', 40, width, height, 1, bits, compression, len(rows), 0, 0, len(palette) // 4, 0)
    return b'BM' + struct.pack('<IHHI', offset + len(rows), 0, 0, offset) + info + masks + palette + rows


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def orientation(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif.tobytes()


def make_files():
    w, h = 37, 29
    files = {}
    # PNG
    for bits in (1, 2, 4, 8):
        stride = (w * bits + 7) // 8
        rows = formula(stride, h, 1).tobytes()
        colors = formula(1 << bits, 1, 3).tobytes()
        files[f'grey{bits}.png'] = png(w, h, bits, 0, rows)
        files[f'grey{bits}-key.png'] = png(w, h, bits, 0, rows, transparent=struct.pack('>H', 1))
        files[f'palette{bits}.png'] = png(w, h, bits, 3, rows, colors)
        files[f'palette{bits}-alpha.png'] = png(w, h, bits, 3, rows, colors, bytes(range(0, 250, 40))[:1 << bits])
    files['palette8-one.png'] = png(w, h, 8, 3, formula(w, h, 1).tobytes(), formula(256, 1, 3).tobytes(), b'\xff' * 90 + b'\0')
    files['palette8-short.png'] = png(w, h, 8, 3, formula(w, h, 1).tobytes(), formula(100, 1, 3).tobytes())
    for name, color, channels in (('grey', 0, 1), ('rgb', 2, 3), ('grey-alpha', 4, 2), ('rgba', 6, 4)):
        for bits in (8, 16):
            files[f'{name}{bits}.png'] = png(w, h, bits, color, formula(w, h, channels * bits // 8).tobytes())
    first = formula(w, h, 3)[0, 0].tolist()
    files['rgb8-key.png'] = png(w, h, 8, 2, formula(w, h, 3).tobytes(), transparent=struct.pack('>HHH', *first))
    files['grey16-key.png'] = png(w, h, 16, 0, formula(w, h, 2).tobytes(), transparent=formula(w, h, 2)[0, 1].tobytes())
    for value in range(1, 9):
        files[f'turned{value}.png'] = png(w, h, 8, 2, formula(w, h, 3).tobytes(), exif=orientation(value)[6:])
    files['one.png'] = png(1, 1, 8, 6, bytes([200, 100, 50, 128]))
    # GIF
    def gif(mode, **options):
        picture = source(mode, w, h)
        if mode == 'P': picture.putpalette(formula(256, 1, 3).tobytes())
        return saved(picture, 'GIF', **options)
    files['palette.gif'] = gif('P')
    files['palette-alpha.gif'] = gif('P', transparency=77)
    files['grey.gif'] = gif('L')
    files['bilevel.gif'] = gif('1')
    files['interlaced.gif'] = gif('P', interlace=1)
    files['animated.gif'] = gif('P', save_all=True, append_images=[source('L', w, h)], duration=100)
    larger = bytearray(gif('P', transparency=77)); larger[6:10] = struct.pack('<HH', w + 5, h + 3)
    files['screen-larger.gif'] = bytes(larger)
    smaller = bytearray(gif('P')); smaller[6:10] = struct.pack('<HH', w - 5, h - 3)
    files['screen-smaller.gif'] = bytes(smaller)
    # BMP
    for mode in ('1', 'L', 'RGB', 'RGBA'): files[f'{mode}.bmp'.lower()] = saved(source(mode, w, h), 'BMP')
    palette = source('P', w, h); palette.putpalette(formula(256, 1, 3).tobytes())
    files['palette.bmp'] = saved(palette, 'BMP')
    colors = formula(16, 1, 4).tobytes()
    files['palette4.bmp'] = bmp(w, h, 4, formula((w * 4 + 31) // 32 * 4, h, 1).tobytes(), palette=colors)
    files['palette1.bmp'] = bmp(w, h, 1, formula((w + 31) // 32 * 4, h, 1).tobytes(), palette=colors[:8])
    rows16 = formula((w * 16 + 31) // 32 * 4, h, 1).tobytes()
    files['rgb555.bmp'] = bmp(w, h, 16, rows16)
    files['rgb565.bmp'] = bmp(w, h, 16, rows16, 3, struct.pack('<III', 0xF800, 0x7E0, 0x1F))
    files['rgb32.bmp'] = bmp(w, h, 32, formula(w, h, 4).tobytes())
    files['from-top.bmp'] = bmp(w, -h, 24, formula((w * 24 + 31) // 32 * 4, h, 1).tobytes())
    runs = b''.join(bytes([20, y, 0, 5, 1, 2, 3, 4, 5, 0, 12, y + 1, 0, 0]) for y in range(h)) + b'\0\1'
    files['runs8.bmp'] = bmp(w, h, 8, runs, 1, palette=formula(256, 1, 4).tobytes())
    runs = b''.join(bytes([20, y, 0, 4, 0x12, 0x34, 13, 0x5A, 0, 0]) for y in range(h)) + b'\0\1'
    files['runs4.bmp'] = bmp(w, h, 4, runs, 2, palette=colors)
    # TIFF
    for mode in ('1', 'L', 'LA', 'I;16', 'RGB', 'RGBA', 'CMYK'):
        files[f'{mode}.tif'.lower().replace(';', '')] = saved(source(mode, w, h), 'TIFF')
    files['palette.tif'] = saved(palette, 'TIFF')
    for method in ('packbits', 'tiff_lzw', 'tiff_adobe_deflate', 'group4'):
        files[f'{method}.tif'] = saved(source('1' if method == 'group4' else 'RGB', w, h), 'TIFF', compression=method)
    files['predictor.tif'] = saved(source('RGB', w, h), 'TIFF', compression='tiff_lzw', tiffinfo={317: 2})
    files['turned6.tif'] = saved(source('RGB', w, h), 'TIFF', tiffinfo={274: 6})
    files['white-is-zero.tif'] = saved(source('L', w, h), 'TIFF', tiffinfo={262: 0})
    # WebP
    files['lossless.webp'] = saved(source('RGB', w, h), 'WEBP', lossless=True)
    files['lossless-alpha.webp'] = saved(source('RGBA', w, h), 'WEBP', lossless=True, exact=True)
    files['lossy.webp'] = saved(smooth(w, h), 'WEBP', quality=80)
    files['lossy-noise.webp'] = saved(source('RGB', w, h), 'WEBP', quality=60)
    files['lossy-alpha.webp'] = saved(Image.merge('RGBA', smooth(w, h).split() + (source('L', w, h),)), 'WEBP', quality=80)
    files['animated.webp'] = saved(source('RGB', w, h), 'WEBP', lossless=True, save_all=True, append_images=[smooth(w, h)], duration=100)
    files['turned6.webp'] = saved(source('RGB', w, h), 'WEBP', lossless=True, exif=orientation(6))
    # JPEG
    def jpeg(image, **options):
        return saved(image, 'JPEG', quality=80, **options)
    picture = Image.blend(smooth(93, 71), source('RGB', 93, 71), 0.15)
    for name, sampling in (('444', 0), ('422', 1), ('420', 2)):
        files[f'{name}.jpg'] = jpeg(picture, subsampling=sampling)
        files[f'{name}-progressive.jpg'] = jpeg(picture, subsampling=sampling, progressive=True)
    files['restart.jpg'] = jpeg(picture, restart_marker_blocks=3)
    files['grey.jpg'] = jpeg(picture.convert('L'))
    files['rgb.jpg'] = jpeg(picture, keep_rgb=True)
    cmyk = Image.merge('CMYK', picture.split() + (smooth(93, 71, 'L'),))
    files['cmyk.jpg'] = jpeg(cmyk)
    ycck = bytearray(files['cmyk.jpg']); at = ycck.index(b'Adobe'); ycck[at + 11] = 2
    files['ycck.jpg'] = bytes(ycck)
    files['one.jpg'] = jpeg(picture.crop((0, 0, 1, 1)))
    for value in range(1, 9): files[f'turned{value}.jpg'] = jpeg(picture.crop((0, 0, 24, 17)), exif=orientation(value))
    return files


def write_files(files):
    lines = ['file\tmode\twidth\theight\traw\ton_white\tdropped\tturned']
    for name, data in sorted(files.items()):
        (FILES / name).write_bytes(data)
        image = Image.open(FILES / name); image.load()
        turned = on_white(ImageOps.exif_transpose(image))
        lines.append('\t'.join([name, image.mode, str(image.width), str(image.height), sha(raw(image)), sha(on_white(image).tobytes()),
                                sha(image.convert('RGB').tobytes()), f'{turned.width}x{turned.height}:{sha(turned.tobytes())}']))
        if name.endswith('.jpg'):
            ImageOps.exif_transpose(image).save(OUT / 'expected' / (name[:-4] + ('.tif' if image.mode == 'CMYK' else '.png')),
                                                **({'compression': 'tiff_adobe_deflate'} if image.mode == 'CMYK' else {'optimize': True}))
    (OUT / 'files.tsv').write_text('\n'.join(lines) + '\n')


def write_resize():
    random.seed(1)
    sizes = [((37, 29), (16, 16)), ((37, 29), (64, 50)), ((16, 16), (224, 224)), ((1, 1), (9, 7)), ((40, 30), (1, 1)), ((1, 64), (8, 8)),
             ((64, 1), (8, 8)), ((300, 4), (32, 32)), ((4, 300), (32, 32)), ((33, 33), (33, 20)), ((33, 33), (20, 33)), ((33, 33), (33, 33)),
             ((257, 129), (64, 32)), ((500, 300), (7, 5)), ((5, 7), (50, 3))]
    cases = [(mode, *pair, code) for mode in ('L', 'LA', 'RGB', 'RGBA', 'CMYK', '1', 'P', 'I;16') for pair in sizes for code in (3,)]
    cases += [(mode, *pair, code) for mode in ('L', 'RGB', 'RGBA') for pair in sizes[:8] for code in (0, 1, 2, 4, 5)]
    for _ in range(160):
        side = lambda: random.choice((random.randint(1, 12), random.randint(13, 90), random.randint(91, 400)))
        cases.append((random.choice(('L', 'LA', 'RGB', 'RGBA', 'CMYK', 'RGB')), (side(), side()), (side(), side()), random.choice((3, 3, 3, 0, 1, 2, 4, 5))))
    lines = ['mode\tfrom\tto\tfilter\tsha256']
    for mode, (w, h), to, code in cases:
        out = source(mode, w, h).resize(to, code)
        lines.append(f'{mode}\t{w}x{h}\t{to[0]}x{to[1]}\t{code}\t{sha(raw(out))}')
    (OUT / 'resize.tsv').write_text('\n'.join(lines) + '\n')
    print(len(cases), 'resizes')


CONFIGS = {
    'clip': (CLIPImageProcessorPil, {'size': {'shortest_edge': 30}, 'crop_size': {'height': 30, 'width': 30}, 'do_center_crop': True, 'do_convert_rgb': True,
        'do_normalize': True, 'do_rescale': True, 'do_resize': True, 'image_mean': [0.48145466, 0.4578275, 0.40821073],
        'image_processor_type': 'CLIPImageProcessor', 'image_std': [0.26862954, 0.26130258, 0.27577711], 'processor_class': 'AltCLIPProcessor',
        'resample': 3, 'rescale_factor': 0.00392156862745098}),
    'm9': (CLIPImageProcessorPil, {'crop_size': 31, 'do_center_crop': True, 'do_normalize': True, 'do_resize': True,
        'feature_extractor_type': 'CLIPFeatureExtractor', 'image_mean': [0.48145466, 0.4578275, 0.40821073],
        'image_std': [0.26862954, 0.26130258, 0.27577711], 'resample': 3, 'size': 31}),
    'chinese': (ChineseCLIPImageProcessorPil, {'do_center_crop': False, 'do_normalize': True, 'do_resize': True,
        'feature_extractor_type': 'ChineseCLIPFeatureExtractor', 'image_mean': [0.48145466, 0.4578275, 0.40821073],
        'image_std': [0.26862954, 0.26130258, 0.27577711], 'resample': 3, 'size': {'height': 24, 'width': 24}}),
    'crop-only': (CLIPImageProcessorPil, {'do_resize': False, 'crop_size': {'height': 34, 'width': 32}}),
    'crop-larger': (CLIPImageProcessorPil, {'do_resize': False, 'crop_size': 44, 'do_normalize': False}),
    'resize-then-pad': (CLIPImageProcessorPil, {'size': {'shortest_edge': 20}, 'crop_size': {'height': 27, 'width': 23}, 'resample': 2}),
    'bytes': (CLIPImageProcessorPil, {'size': 18, 'crop_size': 18, 'do_rescale': False, 'image_mean': [100.0, 110.0, 120.0], 'image_std': [50, 60.5, 70]}),
    'half': (CLIPImageProcessorPil, {'size': [20, 25], 'crop_size': [20, 20], 'rescale_factor': 0.5, 'resample': 1}),
}


def write_preprocess():
    lines, squashes = ['file\tconfig\tsha256\tfirst'], ['file\tsize\tsha256']
    names = ['rgb8.png', 'rgba8.png', 'grey-alpha8.png', 'grey8.png', 'grey16.png', 'palette8.png', 'palette8-alpha.png', 'palette8-one.png', 'grey1.png',
             'grey8-key.png', 'rgb8-key.png', 'palette-alpha.gif', 'lossless-alpha.webp', 'cmyk.tif', 'palette.bmp', 'one.png', 'turned6.png']
    for name in names:
        image = Image.open(FILES / name)
        for key, (processor, config) in CONFIGS.items():
            values = np.asarray(processor(**config)(image)['pixel_values'][0], dtype='<f4')
            lines.append(f'{name}\t{key}\t{sha(values.tobytes())}\t' + ' '.join(f'{v:.9g}' for v in values.ravel()[:4]))
        squashes.append(f'{name}\t26\t{sha(image.resize((26, 26), Image.Resampling.BICUBIC).convert("RGB").tobytes())}')
    (OUT / 'preprocess.tsv').write_text('\n'.join(lines) + '\n')
    (OUT / 'squash.tsv').write_text('\n'.join(squashes) + '\n')
    for key, (_, config) in CONFIGS.items(): (OUT / 'configs' / f'{key}.json').write_text(json.dumps(config, indent=1) + '\n')


def write_corpus():
    huge = 60000
    corpus = {
        'page.jpg': b'\n<!DOCTYPE html>\n<html><head><title>404</title></head></html>\n',
        'page-bom.png': b'\xef\xbb\xbf<HTML><body>moved</body></HTML>',
        'drawing.png': b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
        'answer.jpg': b'{"error": "not found"}',
        'pointer.png': b'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n',
        'empty.jpg': b'',
        'two-bytes.jpg': b'\xff\xd8',
        'phone.jpg': b'\0\0\0\x18ftypheic\0\0\0\0mif1heic',
        'huge.png': png(huge, huge, 8, 6, b'\0' * huge),
        'huge.gif': b'GIF89a' + struct.pack('<HHBBB', huge, huge, 0xf0, 0, 0) + b'\0\0\0\xff\xff\xff,' + struct.pack('<HHHHB', 0, 0, huge, huge, 0) + b'\x02\x02D\x01\0;',
        'huge-frame.gif': b'GIF89a' + struct.pack('<HHBBB', 1, 1, 0xf0, 0, 0) + b'\0\0\0\xff\xff\xff,' + struct.pack('<HHHHB', 0, 0, huge, huge, 0) + b'\x02\x02D\x01\0;',
        'huge.jpg': saved(smooth(16, 16), 'JPEG').replace(struct.pack('>HH', 16, 16), struct.pack('>HH', huge, huge), 1),
        'huge-progressive.jpg': saved(smooth(16, 16), 'JPEG', progressive=True).replace(struct.pack('>HH', 16, 16), struct.pack('>HH', 13000, 13000), 1),
        'little-data.jpg': saved(smooth(16, 16), 'JPEG').replace(struct.pack('>HH', 16, 16), struct.pack('>HH', 13000, 13000), 1),
        'huge.bmp': bmp(huge, huge, 24, b'\0' * 16),
        'lowest-height.bmp': bmp(1, -2 ** 31, 24, b'\0' * 16),
        'zero-width.bmp': bmp(0, 4, 24, b''),
        'huge.webp': b'RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0' + (59999).to_bytes(3, 'little') * 2 + b'VP8 \0\0\0\0',
        'zero.gif': b'GIF89a' + struct.pack('<HHBBB', 0, 0, 0, 0, 0) + b',' + struct.pack('<HHHHB', 0, 0, 0, 0, 0) + b'\x02\x02D\x01\0;',
        'zero.png': png(0, 1, 8, 0, b'\0'),
        'float.tif': saved(Image.new('F', (4, 4)), 'TIFF'),
        'palette-outside.tif': b'II*\0\xff\xff\xff\x7f',
    }
    tags = [(256, 4, huge), (257, 4, huge), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1), (278, 4, huge), (279, 4, 100)]
    for name, kind in (('huge.tif', 1), ('huge-palette.tif', 3)):
        entries = [(t, k, 1, kind if t == 262 else v) for t, k, v in tags] + ([(320, 3, 768, 8)] if kind == 3 else [])
        corpus[name] = b'II*\0\x08\0\0\0' + struct.pack('<H', len(entries)) + b''.join(struct.pack('<HHII', *e) for e in entries) + bytes(2000)
    lying = bytearray(saved(source('RGB', 8, 8), 'PNG')); lying[8:12] = b'\xff\xff\xff\xff'
    corpus['chunk-length.png'] = bytes(lying)
    for name, data in corpus.items(): (CORPUS / name).write_bytes(data)


if __name__ == '__main__':
    shutil.rmtree(OUT, ignore_errors=True)
    shutil.rmtree(CORPUS, ignore_errors=True)
    for folder in (FILES, OUT / 'expected', OUT / 'configs', CORPUS): folder.mkdir(parents=True)
    write_files(make_files())
    write_resize()
    write_preprocess()
    write_corpus()
