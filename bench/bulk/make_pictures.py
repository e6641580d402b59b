#!/usr/bin/env python3
"""Makes a folder of photo-like JPEGs of 1 to 12 megapixels, the same bytes each time.

    python make_pictures.py DIR [--count 2000] [--distinct 240]

A picture is fractal noise in colour (what clouds, leaves and walls look like to a decoder), a few shapes with hard edges and the
grain of a sensor; quality 85 to 92, 4:2:0, about 0.3 bytes a pixel as phones write them. Sizes are those of cameras, upright and
lying, each as often as the others. Drawing takes longer than decoding, so `--distinct` of the `--count` names are pictures of their own and the
others are hard links to them: no program can tell, but the disk is read less than it would be.
"""

import argparse
import multiprocessing
import os
import pathlib

import numpy
from PIL import Image, ImageDraw

# Width and height: 1.0, 1.4, 2.1, 3.1, 5.0, 6.0, 8.0, 12.0 and 12.2 megapixels.
SIZES = [(1152, 864), (1440, 960), (1920, 1080), (2048, 1536), (2592, 1944), (3000, 2000), (3264, 2448), (4000, 3000), (4032, 3024)]


def picture(number):
    """Picture `number`, and the quality it is to be written with."""
    random = numpy.random.default_rng(number)
    width, height = SIZES[number % len(SIZES)]
    if random.random() < 0.35:
        width, height = height, width
    # Octaves from the whole picture down to four pixels; the finest are drawn once and mirrored by chance.
    total = Image.new("RGB", (width, height), tuple(int(c) for c in random.integers(60, 190, 3)))
    cells, strength = 4, 0.55
    while cells * 4 < max(width, height):
        field = random.normal(128, 52, (max(2, cells * height // max(width, height)), max(2, cells * width // max(width, height)), 3))
        grey = field.mean(axis=2, keepdims=True)
        field = numpy.clip(grey + (field - grey) * 0.6, 0, 255).astype(numpy.uint8)
        total = Image.blend(total, Image.fromarray(field).resize((width, height), Image.Resampling.BILINEAR), strength)
        cells, strength = cells * 3, strength * 0.62
    draw = ImageDraw.Draw(total)
    for _ in range(int(random.integers(4, 14))):
        x, y = random.integers(0, width), random.integers(0, height)
        w, h = random.integers(width // 40, width // 4), random.integers(height // 40, height // 4)
        shape = [draw.ellipse, draw.rectangle][int(random.integers(2))]
        shape((int(x), int(y), int(x + w), int(y + h)), fill=tuple(int(c) for c in random.integers(0, 256, 3)))
    pixels = numpy.asarray(total).astype(numpy.int16)
    grain = random.normal(0, random.uniform(3, 9), (256, 256, 3)).round().astype(numpy.int16)
    grain = numpy.tile(grain, (height // 256 + 1, width // 256 + 1, 1))[:height, :width]
    return Image.fromarray(numpy.clip(pixels + grain, 0, 255).astype(numpy.uint8)), int(random.integers(85, 93))


def write(task):
    folder, number = task
    path = folder / f"{number:05}.jpg"
    if not path.exists():
        image, quality = picture(number)
        draft = path.with_suffix(".part")
        image.save(draft, "JPEG", quality=quality, subsampling="4:2:0")
        draft.rename(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--distinct", type=int, default=240)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    distinct = min(arguments.count, arguments.distinct)
    with multiprocessing.Pool() as pool:
        pool.map(write, [(arguments.folder, number) for number in range(distinct)], chunksize=4)
    for number in range(distinct, arguments.count):
        path = arguments.folder / f"{number:05}.jpg"
        if not path.exists():
            os.link(arguments.folder / f"{number % distinct:05}.jpg", path)
    files = [entry.stat().st_size for entry in os.scandir(arguments.folder) if entry.name.endswith(".jpg")]
    print(f"{len(files)} pictures, {sum(files) / len(files) / 1e6:.2f} MB on average, {distinct} distinct")


if __name__ == "__main__":
    main()
