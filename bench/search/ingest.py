"""What a library costs beside its vectors: `hua embed` and `hua index` in turn over one folder of pictures.

Both decode and embed the same files; `hua index` also hashes them, reads what they say of themselves, and writes catalogue and segments. Ratios are
of whole processes: of wall time, which the neighbours on a machine disturb, and of processor time, which they disturb less.

    python bench/search/ingest.py --hua target/release/hua --pictures FOLDER --rounds 5 -- --threads 2 [--model NAME ...]
"""

import argparse
import json
import pathlib
import resource
import shutil
import statistics
import subprocess
import tempfile
import time


def run(command):
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": wall, "cpu": cpu}, json.loads(output)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hua", required=True, help="the program")
    parser.add_argument("--pictures", required=True, help="a folder of pictures")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("options", nargs="*", help="options of hua, after `--`")
    arguments = parser.parse_args()
    times = {"embed": [], "index": []}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        # The first round warms the page cache and is not counted.
        for number in range(arguments.rounds + 1):
            sides = ["embed", "index"] if number % 2 else ["index", "embed"]
            for side in sides:
                out = folder / ("vectors.npy" if side == "embed" else "library")
                command = [arguments.hua, side, arguments.pictures, "-o", str(out), "--json", *arguments.options]
                time_of_run, said = run(command)
                count = said["pictures"] if side == "embed" else said["added"]
                shutil.rmtree(out) if out.is_dir() else out.unlink()
                if number > 0:
                    times[side].append(time_of_run)
                    print(f"{side}: {time_of_run['wall']:.2f} s, of processors {time_of_run['cpu']:.2f} s, {count} pictures", flush=True)
    for what in ["wall", "cpu"]:
        embed, index = ([time[what] for time in times[side]] for side in ["embed", "index"])
        ratios = sorted(i / e for i, e in zip(index, embed))
        print(f"{what}: medians embed {statistics.median(embed):.2f} s, index {statistics.median(index):.2f} s", end="; ")
        print(f"index / embed of the rounds: median {statistics.median(ratios):.3f}, all {', '.join(f'{r:.3f}' for r in ratios)}")


if __name__ == "__main__":
    main()
