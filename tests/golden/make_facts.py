"""Writes tests/golden/facts/: small files that say what they are in their headers, and RAW files as cameras lay them out.

usage: python tests/golden/make_facts.py
pinned: Pillow 13.0.0, pillow_heif 1.8.1

exif.{jpg,png,webp,tif,heic,avif}   one picture with the same EXIF: maker, model, time, place, orientation 6
plain.*                             the same without any
x.{dng,nef,arw,cr2,cr3,orf,raf,rw2} the structure that tells each kind, no RAW data to speak of, and JPEGs where such files have them: one of 160 pixels and
                                    one of 320 (in `small.dng` the first alone); orientation 6 in the file, except RAF, which has it in its JPEG
raw.jpg                             the larger JPEG alone
facts.json                          for each file what it is to say
"""
import io, json, pathlib, shutil, struct

import PIL
import pillow_heif
from PIL import Image

assert PIL.__version__ == '13.0.0' and pillow_heif.__version__ == '1.8.1'
pillow_heif.register_heif_opener()
OUT = pathlib.Path(__file__).parent / 'facts'
TAKEN, CAMERA = '2024:05:31 18:20:07', ('NIKON CORPORATION', 'NIKON D90')
SAID = {'taken': '2024-05-31T18:20:07', 'camera': 'NIKON D90', 'orientation': 6}
PLACE = {'latitude': -(33 + 51 / 60 + 30.24 / 3600), 'longitude': 151 + 12 / 60 + 51.5 / 3600}


def picture(width, height):
    image = Image.new('RGB', (width, height))
    image.putdata([((x * 3 + y) & 255, (y * 5) & 255, (x + y * 2) & 255) for y in range(height) for x in range(width)])
    return image


def jpeg(width, height, **options):
    file = io.BytesIO()
    picture(width, height).save(file, 'JPEG', quality=30, **options)
    return file.getvalue()


def exif():
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = CAMERA
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0x9003] = TAKEN
    exif.get_ifd(0x8825).update({1: 'S', 2: (33.0, 51.0, 30.24), 3: 'E', 4: (151.0, 12.0, 51.5)})
    return exif


def tiff(first, below=(), magic=b'II*\0', exif=(), at=0, tail=b''):
    """Directories of (tag, type, values); type 2 are texts, 7 bytes. `below` are pointed to by 0x014A. `tail` stands in front of them."""
    def directory(entries, start):
        entries = sorted(entries)
        body, extra = struct.pack('<H', len(entries)), b''
        after = start + 2 + 12 * len(entries) + 4
        for tag, kind, values in entries:
            data = values if kind in (2, 7) else struct.pack('<' + {1: 'B', 3: 'H', 4: 'I'}[kind] * len(values), *values)
            count = len(data) // {1: 1, 2: 1, 3: 2, 4: 4, 7: 1}[kind]
            if len(data) > 4:
                field = struct.pack('<I', after + len(extra))
                extra += data + b'\0' * (len(data) % 2)
            else:
                field = data.ljust(4, b'\0')
            body += struct.pack('<HHI', tag, kind, count) + field
        return body + b'\0' * 4 + extra

    head = 16
    out = tail.ljust((len(tail) + 1) // 2 * 2, b'\0')
    pointers = []
    for entries in [*below, exif]:
        pointers.append(head + len(out))
        out += directory(entries, head + len(out))
    first = list(first)
    if below:
        first.append((0x014A, 4, pointers[:-1]))
    if exif:
        first.append((0x8769, 4, pointers[-1:]))
    start = head + len(out)
    return (magic + struct.pack('<I', start)).ljust(head, b'\0') + out + directory(first, start)


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    facts = {}
    for name, form in [('jpg', 'JPEG'), ('png', 'PNG'), ('webp', 'WebP'), ('tif', 'TIFF'), ('heic', 'HEIC'), ('avif', 'AVIF')]:
        # HEVC's blocks are that large; a smaller picture would be cut out of one.
        width, height = (128, 64) if form == 'HEIC' else (24, 16)
        image = picture(width, height)
        image.save(OUT / f'plain.{name}', {'HEIC': 'HEIF'}.get(form, form))
        image.save(OUT / f'exif.{name}', {'HEIC': 'HEIF'}.get(form, form), exif=exif())
        facts[f'plain.{name}'] = {'width': width, 'height': height, 'format': form}
        # Into a TIFF file Pillow writes the first directory alone.
        said = {'camera': SAID['camera'], 'orientation': 6} if form == 'TIFF' else SAID | PLACE
        facts[f'exif.{name}'] = {'width': height, 'height': width, 'format': form, **said}
    for name, form in [('bmp', 'BMP'), ('gif', 'GIF')]:
        picture(24, 16).save(OUT / f'plain.{name}')
        facts[f'plain.{name}'] = {'width': 24, 'height': 16, 'format': form}

    small, large = jpeg(160, 120), jpeg(320, 240)
    lossless = b'\xff\xd8\xff\xc4\0\x05\0\0\0\xff\xc3\0\x0b\x0e\x20\0\x20\0\1\1\x11\0' + b'\x12' * 40
    jpegs = small + lossless + large
    about = [(0x010F, 2, b'NIKON CORPORATION\0'), (0x0110, 2, b'NIKON D90\0'), (0x0112, 3, (6,))]
    when = [(0x9003, 2, TAKEN.encode() + b'\0')]
    size = [(0x0100, 4, (32,)), (0x0101, 4, (32,))]
    colours = size + [(0x0106, 3, (32803,))]
    pointer = [(0x0201, 4, (16 + len(small) + len(lossless),)), (0x0202, 4, (len(large),))]
    sony = [(0x010F, 2, b'SONY\0'), (0x0110, 2, b'ILCE-7\0'), (0x0112, 3, (6,))]
    cmt = lambda name, block: struct.pack('>I', 8 + len(block)) + name + block
    raf_exif = exif()
    raf_exif._ifds.pop(0x8825, None)
    raf = jpeg(320, 240, exif=raf_exif)
    files = {
        'x.dng': tiff(about + size + [(0xC612, 1, (1, 4, 0, 0))], [colours, pointer], exif=when, tail=jpegs),
        'small.dng': tiff(about + size + [(0xC612, 1, (1, 4, 0, 0))], [colours], exif=when, tail=small + lossless),
        'x.nef': tiff(about + size, [pointer, colours], exif=when, tail=jpegs),
        'x.arw': tiff(sony + pointer, [colours], exif=when, tail=jpegs),
        'x.cr2': bytearray(tiff(about, exif=when, tail=jpegs)),
        'x.orf': tiff(about + size, exif=when, magic=b'IIRO', tail=jpegs),
        'x.rw2': tiff(about + [(0x002E, 7, large)], exif=when, magic=b'IIU\0'),
        'x.raf': b'FUJIFILMCCD-RAW 0201FF000000'.ljust(84, b'\0') + struct.pack('>II', 100, len(raf)) + b'\0' * 8 + raf,
        'x.cr3': b'\0\0\0\x18ftypcrx \0\0\0\1crx isom' + cmt(b'CMT1', tiff(about)) + cmt(b'CMT2', tiff(when)) + cmt(b'mdat', jpegs),
    }
    files['x.cr2'][8:12] = b'CR\2\0'
    for name, content in files.items():
        (OUT / name).write_bytes(content)
        kind = name[-3:].upper()
        said = SAID | ({'camera': 'SONY ILCE-7'} if kind == 'ARW' else {})
        facts[name] = {'format': kind, **said, **({} if name == 'small.dng' else {'width': 240, 'height': 320})}
    (OUT / 'raw.jpg').write_bytes(large)
    (OUT / 'facts.json').write_text(json.dumps(facts, indent=1))


main()
