#!/usr/bin/env python3
"""How much `--shrink-on-load` changes vectors and saves time: hua with it and without over the same pictures, with the built-in model.

    python likeness.py PICTURES [--hua PATH] [--count 240]

Random weights say nothing about what a model makes of a difference, so the model is a trained one.
"""

import argparse
import os
import pathlib
import tempfile

import numpy

from bulk import measure


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=pathlib.Path)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", pathlib.Path(__file__).parents[2] / "target"))
    parser.add_argument("--hua", default=str(target / "release/hua"))
    parser.add_argument("--count", type=int, default=240)
    arguments = parser.parse_args()
    pictures = sorted(map(str, arguments.pictures.glob("*.jpg")))[: arguments.count]
    with tempfile.TemporaryDirectory() as folder:
        exact, shrunk = f"{folder}/exact.npy", f"{folder}/shrunk.npy"
        for out, options in ((exact, []), (shrunk, ["--shrink-on-load"])):
            report, wall, cpu = measure([arguments.hua, "embed", "--json", "-o", out, *options, *pictures])
            rate, each = report["pictures"] / report["seconds"], 1e3 * cpu / report["pictures"]
            print(f"{' '.join(options) or 'exact'}: {rate:.1f} pictures/s, {each:.1f} CPU ms a picture, decode + resize {report['decode_share']:.0%}")
        cosines = (numpy.load(exact) * numpy.load(shrunk)).sum(axis=1)
    print(f"cosines: least {cosines.min():.5f}, median {numpy.median(cosines):.5f}, {len(cosines)} pictures")


if __name__ == "__main__":
    main()
