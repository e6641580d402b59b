"""Writes tests/golden/augment/: what Pillow, as timm and torchvision call it, makes of pictures.

usage: python tests/golden/make_augment.py
pinned: Pillow 13.0.0, numpy 2.4.6, torch 2.15.0 (for the float32 numbers of torchvision's levels)

operations.tsv  picture, operation, its numbers, interpolation, fill, SHA-256 of the RGB bytes
policies.tsv    picture, policy, pair (from 0), sign, SHA-256 of the RGB bytes after both operations

A picture is `rough WxH` (`formula` of make_image.py) or `smooth WxH` (a rough 6x5 enlarged, bicubic). timm and torchvision are not imported: what they do with
PIL pictures is written out below (timm/data/auto_augment.py, torchvision/transforms/{functional,_functional_pil,autoaugment}.py).
"""
import hashlib, math, pathlib

import numpy as np
import PIL
import torch
from PIL import Image, ImageEnhance, ImageOps

from make_image import smooth, source

assert PIL.__version__ == '13.0.0' and np.__version__ == '2.4.6'
OUT = pathlib.Path(__file__).parent / 'augment'
FILL = (123, 117, 104)
INTERPOLATIONS = {'nearest': Image.Resampling.NEAREST, 'bilinear': Image.Resampling.BILINEAR, 'bicubic': Image.Resampling.BICUBIC}


def picture(name):
    kind, size = name.split()
    width, height = map(int, size.split('x'))
    return source('RGB', width, height) if kind == 'rough' else smooth(width, height)


def sha(image):
    return hashlib.sha256(image.tobytes()).hexdigest()


def inverse_affine_matrix(center, angle, translate, scale, shear):
    """torchvision.transforms.functional._get_inverse_affine_matrix"""
    rot, sx, sy = math.radians(angle), math.radians(shear[0]), math.radians(shear[1])
    (cx, cy), (tx, ty) = center, translate
    a = math.cos(rot - sy) / math.cos(sy)
    b = -math.cos(rot - sy) * math.tan(sx) / math.cos(sy) - math.sin(rot)
    c = math.sin(rot - sy) / math.cos(sy)
    d = -math.sin(rot - sy) * math.tan(sx) / math.cos(sy) + math.cos(rot)
    matrix = [x / scale for x in [d, -b, 0.0, -c, a, 0.0]]
    matrix[2] += matrix[0] * (-cx - tx) + matrix[1] * (-cy - ty)
    matrix[5] += matrix[3] * (-cx - tx) + matrix[4] * (-cy - ty)
    matrix[2] += cx
    matrix[5] += cy
    return matrix


def affine(image, angle, tx, ty, scale, shear_x, shear_y, center=None, **how):
    center = center or [image.width * 0.5, image.height * 0.5]
    return transform(image, inverse_affine_matrix(center, angle, (tx, ty), scale, (shear_x, shear_y)), **how)


def transform(image, matrix, resample, fillcolor):
    return image.transform(image.size, Image.Transform.AFFINE, matrix, resample, fillcolor=fillcolor)


def hue(image, turns):
    h, s, v = image.convert('HSV').split()
    # torchvision casts the double to uint8, which C leaves open below zero; this is what it does on the machines in use.
    h = np.array(h, dtype=np.uint8) + np.uint8(int(turns * 255) & 255)
    return Image.merge('HSV', (Image.fromarray(h, 'L'), s, v)).convert('RGB')


PLAIN = {
    'AutoContrast': ImageOps.autocontrast,
    'Brightness': lambda image, f: ImageEnhance.Brightness(image).enhance(f),
    'Color': lambda image, f: ImageEnhance.Color(image).enhance(f),
    'Contrast': lambda image, f: ImageEnhance.Contrast(image).enhance(f),
    'Equalize': ImageOps.equalize,
    'Flip': ImageOps.mirror,
    'Hue': hue,
    'Invert': ImageOps.invert,
    'Posterize': lambda image, bits: ImageOps.posterize(image, int(bits)),
    'Sharpness': lambda image, f: ImageEnhance.Sharpness(image).enhance(f),
    'Solarize': ImageOps.solarize,
}
MOVING = {
    'Affine': affine,
    'Rotate': lambda image, degrees, resample, fillcolor: image.rotate(degrees, resample, fillcolor=fillcolor),
    'ShearX': lambda image, f, **how: transform(image, (1, f, 0, 0, 1, 0), **how),
    'ShearY': lambda image, f, **how: transform(image, (1, 0, 0, f, 1, 0), **how),
    'TranslateX': lambda image, f, **how: transform(image, (1, 0, f, 0, 1, 0), **how),
    'TranslateY': lambda image, f, **how: transform(image, (1, 0, 0, 0, 1, f), **how),
}
FACTORS = [(f,) for f in (0.0, 0.1, 0.46, 0.82, 1.0, 1.36, 1.54, 1.9, 2.75)]
CASES = {
    'AutoContrast': [()], 'Equalize': [()], 'Flip': [()], 'Invert': [()],
    'Brightness': FACTORS, 'Color': FACTORS, 'Contrast': FACTORS, 'Sharpness': FACTORS,
    'Hue': [(f,) for f in (-0.5, -0.21, -0.003, 0.0, 0.05, 0.33, 0.5)],
    'Posterize': [(bits,) for bits in range(1, 9)],
    'Solarize': [(f,) for f in (0.0, 1.0, 76.0, 127.5, 128.0, 255.0, 256.0)],
    'Affine': [(0.0, 0.0, 0.0, 1.0, 0.0, 0.0), (12.5, 3.0, -2.0, 1.0, 0.0, 0.0), (-30.0, 0.0, 0.0, 0.8, 8.0, 0.0), (0.0, 5.0, 4.0, 1.25, 0.0, 0.0),
               (171.0, -9.0, 1.0, 1.1, -4.0, 6.0), (90.0, 0.0, 0.0, 1.0, 0.0, 0.0), (3.0, 400.0, 0.0, 1.0, 0.0, 0.0)],
    'Rotate': [(f,) for f in (0.0, 9.0, -24.0, 27.0, -30.0, 90.0, 180.0, 270.0, -90.0, 359.5, 400.0)],
    'ShearX': [(0.15,), (-0.15,), (0.3,), (0.0,)], 'ShearY': [(0.15,), (-0.29,)],
    'TranslateX': [(7.0,), (-3.5,), (0.25,), (-300.0,)], 'TranslateY': [(7.0,), (-3.5,)],
}
PICTURES = ['rough 41x33', 'smooth 40x40', 'smooth 64x48', 'rough 1x5', 'smooth 2x2']


def write_operations():
    lines = ['picture\toperation\tnumbers\tinterpolation\tfill\tsha256']
    for name in PICTURES:
        image = picture(name)
        for operation, cases in CASES.items():
            for numbers in cases:
                written = ' '.join(map(repr, map(float, numbers)))
                if operation in PLAIN:
                    lines.append(f'{name}\t{operation}\t{written}\tnearest\t0 0 0\t{sha(PLAIN[operation](image, *numbers))}')
                    continue
                for interpolation, resample in INTERPOLATIONS.items():
                    fill = FILL if interpolation != 'bilinear' else (255, 0, 7)
                    out = MOVING[operation](image, *numbers, resample=resample, fillcolor=fill)
                    lines.append(f'{name}\t{operation}\t{written}\t{interpolation}\t{fill[0]} {fill[1]} {fill[2]}\t{sha(out)}')
    (OUT / 'operations.tsv').write_text('\n'.join(lines) + '\n')
    print(len(lines) - 1, 'operations')


# The pairs as both copies have them, of which only the levels are read differently: Po-sterize, So-larize, Eq-ualize, AutoC-ontrast, Ro-tate, Co-lor, ...
PAIRS = '''Posterize8+Rotate9 Solarize5+AutoContrast Equalize+Equalize Posterize7+Posterize6 Equalize+Solarize4 Equalize+Rotate8 Solarize3+Equalize
Posterize5+Equalize Rotate3+Solarize8 Equalize+Posterize6 Rotate8+Color0 Rotate9+Equalize Equalize+Equalize Invert+Equalize Color4+Contrast8 Rotate8+Color2
Color8+Solarize7 Sharpness7+Invert ShearX5+Equalize Color0+Equalize Equalize+Solarize4 Solarize5+AutoContrast Invert+Equalize Color4+Contrast8
Equalize+Equalize'''.split()


def timm(image, name, level, sign):
    """AugmentOp of timm's `original` policy."""
    how = {'resample': Image.Resampling.BICUBIC, 'fillcolor': FILL}
    if name == 'Rotate': return image.rotate(sign * ((level / 10.) * 30.), **how)
    if name == 'ShearX': return transform(image, (1, sign * ((level / 10.) * 0.3), 0, 0, 1, 0), **how)
    if name == 'Posterize':
        bits = int((level / 10.) * 4) + 4
        return image if bits >= 8 else ImageOps.posterize(image, bits)
    if name == 'Solarize': return ImageOps.solarize(image, int((level / 10.) * 256))
    if name in ('Color', 'Contrast', 'Sharpness'): return PLAIN[name](image, (level / 10.) * 1.8 + 0.1)
    return PLAIN[name](image)


def torchvision(image, name, level, sign):
    """AutoAugment._apply_op with bicubic interpolation."""
    how = {'resample': Image.Resampling.BICUBIC, 'fillcolor': FILL}
    levels = lambda start, end: float(torch.linspace(start, end, 10)[level].item())
    if name == 'Rotate': return image.rotate(sign * levels(0.0, 30.0), **how)
    if name == 'ShearX':
        shear = math.degrees(math.atan(sign * levels(0.0, 0.3)))
        return affine(image, 0.0, 0, 0, 1.0, shear, 0.0, center=[0, 0], **how)
    if name == 'Posterize': return ImageOps.posterize(image, int((8 - (torch.arange(10) / ((10 - 1) / 4)).round().int())[level]))
    if name == 'Solarize': return ImageOps.solarize(image, levels(255.0, 0.0))
    if name in ('Color', 'Contrast', 'Sharpness'): return PLAIN[name](image, 1.0 + sign * levels(0.0, 0.9))
    return PLAIN[name](image)


def write_policies():
    lines = ['picture\tpolicy\tpair\tsign\tsha256']
    for name in ('rough 41x33', 'smooth 48x48'):
        for policy, apply in (('chinese_clip', timm), ('torchvision', torchvision)):
            for index, pair in enumerate(PAIRS):
                for sign in (1.0, -1.0):
                    out = picture(name)
                    for step in pair.split('+'):
                        operation, level = step.rstrip('0123456789'), step.lstrip('AutoContrastEqualizeInvertPosterizeRotateColorSolarizeSharpnessShearX')
                        out = apply(out, operation, int(level or 0), sign)
                    lines.append(f'{name}\t{policy}\t{index}\t{sign:g}\t{sha(out)}')
    (OUT / 'policies.tsv').write_text('\n'.join(lines) + '\n')
    print(len(lines) - 1, 'pairs')


if __name__ == '__main__':
    OUT.mkdir(exist_ok=True)
    write_operations()
    write_policies()
