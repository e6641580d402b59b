#!/usr/bin/env python3
"""Whole towers, hua beside its peers: the same shapes, random weights, equal threads, in turn.

    pip install -r requirements.txt
    cargo build --release -p hua-exec --example bench
    python peers.py [--quick] [--resume] [--only REGEX]

Each side is a process of its own that runs its tower once a line it is given. The sides of a cell (a tower, a length, a batch, a
number of threads, a precision) take turns, round by round, so that a change of the machine's mood hits all of them. Every sample is
kept: CPU time, wall-clock time, and for how long threads that could run had to wait for a core. `report.py` makes tables of them.
"""

import argparse
import contextlib
import datetime
import fcntl
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import select
import subprocess
import sys
import time

import report
from report import PRECISIONS
from sides import PEERS
from towers import TOWERS

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
HOPELESS = 2.5  # times slower than the best peer: not run again in this cell, nor for this tower
HOPEFUL = 1.15  # times slower than the best peer: still run in larger cells


def cells(quick):
    """Every cell, those that are soon measured first."""
    towers = ["vit_b16", "roberta_base"] if quick else list(TOWERS)
    for batch in (1, 8) if quick else (1, 8, 32):
        for threads in (1, 2):
            for tower in towers:
                for length in (0,) if TOWERS[tower].patch else (12, 52):
                    for precision in PRECISIONS:
                        yield {"tower": tower, "length": length, "batch": batch, "threads": threads, "precision": precision}


def key(cell):
    return "{tower}/{length}/b{batch}/t{threads}/{precision}".format(**cell)


class Failure(Exception):
    pass


class Side:
    """One program under measurement. It is started with the cores it may use, and answers its first line when it is ready."""

    def __init__(self, name, command, cores, log, limit, nice):
        self.name, self.notes = name, {}
        environment = {**os.environ, "OMP_NUM_THREADS": str(len(cores))}
        command = ["taskset", "-c", ",".join(map(str, cores)), *map(str, command)]
        start = time.perf_counter()
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, bufsize=0, env=environment, start_new_session=True
        )
        if nice:  # the process, and the group that Linux makes of a session
            os.setpriority(os.PRIO_PROCESS, self.process.pid, nice)
            with contextlib.suppress(FileNotFoundError):
                pathlib.Path(f"/proc/{self.process.pid}/autogroup").write_text(str(nice))
        self.answer = b""
        self.tell()
        self.notes = self.ask(limit).get("notes", {})
        self.start = {"wall": time.perf_counter() - start, "cpu": self.clocks()[0]}

    def tell(self):
        try:
            self.process.stdin.write(b"\n")
        except BrokenPipeError:
            raise Failure("ended") from None

    def ask(self, limit):
        end = time.monotonic() + limit
        while b"\n" not in self.answer:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise Failure(f"no answer in {limit} s")
            part = self.process.stdout.read(65536)
            if not part:
                raise Failure("ended")
            self.answer += part
        line, self.answer = self.answer.split(b"\n", 1)
        return json.loads(line)

    def clocks(self):
        """Seconds that its threads ran, and that they waited for a core."""
        ran = waited = 0
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            with contextlib.suppress(OSError):  # a thread may have ended
                numbers = (task / "schedstat").read_text().split()
                ran, waited = ran + int(numbers[0]), waited + int(numbers[1])
        return ran / 1e9, waited / 1e9

    def run(self, times, limit):
        """Seconds an item: of CPU, by wall clock; and the share of wall-clock time that threads waited for a core."""
        before, wall, items = self.clocks(), 0.0, 0
        for _ in range(times):
            self.tell()
            answer = self.ask(limit)
            wall, items = wall + answer["seconds"], items + answer["items"]
        time.sleep(0.01)  # until all of its threads sleep, which may spin for a while
        after = self.clocks()
        return {"cpu": (after[0] - before[0]) / items, "wall": wall / items, "waited": (after[1] - before[1]) / wall}

    def memory(self):
        """MB resident now, and at most so far."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return {name: int(re.search(rf"{field}:\s+(\d+)", status)[1]) / 1024 for name, field in (("now", "VmRSS"), ("peak", "VmHWM"))}

    def close(self):
        self.process.kill()
        self.process.wait()


def command(side, cell, arguments):
    if side == "hua":
        settings = ["--precision", cell["precision"], "--threads", cell["threads"]]
        return [arguments.hua, cell["tower"], cell["batch"], cell["length"] or 12, *settings]
    sizes = [cell["tower"], cell["batch"], cell["length"] or 12, cell["threads"]]
    return [sys.executable, HERE / "sides.py", side, *sizes, arguments.work]


def candidates(cell, data):
    """The peers worth running in this cell, by what is known of its kin: cells of the same precision and length, of this tower or the
    smaller one of its kind, with no more items and threads. Where a run is dear, one of each vendor."""
    kin = {"vit_l14": "vit_b16", "xlmr_large": "roberta_base"}.get(cell["tower"])
    ratios = {}
    for name, entry in data["cells"].items():
        same = all(entry[field] == cell[field] for field in ("length", "precision"))
        if name == key(cell) or not same or entry["tower"] not in (cell["tower"], kin):
            continue
        if entry["batch"] > cell["batch"] or entry["threads"] > cell["threads"]:
            continue
        peers = {name: made["value"] for name, made in report.results(entry).items() if name != "hua"}
        for peer in peers:
            ratios[peer] = min(ratios.get(peer, HOPELESS), peers[peer] / min(peers.values()))
    chosen = [peer for peer, (precision, _, _) in PEERS.items() if precision == cell["precision"]]
    chosen = [peer for peer in chosen if f"{cell['tower']} {peer}" not in data["dropped"]]
    if ratios:
        chosen = sorted((p for p in chosen if ratios.get(p, HOPELESS) < HOPEFUL), key=ratios.get)
    if ratios and (kin or cell["batch"] == 32):
        chosen = list({p.split()[0]: p for p in reversed(chosen)}.values())[::-1]
    return chosen


@contextlib.contextmanager
def locked(path):
    """Holds the lock of a machine that several measure on; nothing without a path."""
    if not path:
        yield
        return
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def measure(cell, data, arguments):
    """Runs the sides of a cell in turn; what came out is in `data`."""
    cores = arguments.cores[-cell["threads"] :]
    entry = data["cells"].setdefault(key(cell), {**cell, "sides": {}, "spent": 0.0})
    entry["hua"] = data["runs"][-1]["hua"]
    sides = []
    for name in (["hua"] if arguments.hua else []) + candidates(cell, data):
        try:
            with open(arguments.work / "log.txt", "a") as log:
                sides.append(Side(name, command(name, cell, arguments), cores, log, arguments.start_limit, arguments.nice))
        except Failure as failure:
            data["dropped"][f"{cell['tower']} {name}"] = f"{key(cell)}: {failure}"
            print(f"  {name}: {failure}", flush=True)
            continue
        kept = entry["sides"].setdefault(name, {"samples": [], "starts": []})
        kept["notes"] = sides[-1].notes
        kept["starts"].append(sides[-1].start)
    times, spent = {}, 0.0
    for number in range(arguments.rounds + 1):
        dear = any(s["wall"] * cell["batch"] > 15 for side in entry["sides"].values() for s in side["samples"])
        with locked(None if dear else arguments.lock):
            for side in sides if number % 2 else sides[::-1]:
                with locked(arguments.lock if dear else None):
                    begin = time.monotonic()
                    sample = side.run(times.get(side.name, 1), arguments.start_limit)
                    spent += time.monotonic() - begin
                seconds = sample["wall"] * cell["batch"]
                if number == 0 and seconds < 2:  # otherwise too dear to be for warming up alone
                    times[side.name] = max(1, round(0.1 / seconds))
                else:
                    entry["sides"][side.name]["samples"].append(sample)
        made = report.results(entry)
        best = min((figure["value"] for name, figure in made.items() if name != "hua"), default=0)
        for side in list(sides):
            # By CPU time alone: a thread that other work held up is not the peer's fault.
            if cell["threads"] == 1 and side.name in made and side.name != "hua" and made[side.name]["value"] > HOPELESS * best:
                times_slower = made[side.name]["value"] / best
                for tower in TOWERS if times_slower > 2 * HOPELESS else [cell["tower"]]:
                    data["dropped"].setdefault(f"{tower} {side.name}", f"{times_slower:.1f} times slower than the best in {key(cell)}")
                entry["sides"][side.name]["memory"] = side.memory()
                side.close()
                sides.remove(side)
        if entry["spent"] + spent + spent / (number + 1) > arguments.limit:
            break
    entry["spent"] += spent
    for side in sides:
        entry["sides"][side.name]["memory"] = side.memory()
        side.close()
    for name in list(entry["sides"]):
        samples = entry["sides"][name]["samples"]
        if not samples:
            del entry["sides"][name]
            continue
        made = report.figure(samples, cell["threads"])
        print(f"  {name:28} {made['value'] * 1e3:9.2f} ms an item, {made['clean']} clean of {made['samples']}", flush=True)


def facts(arguments):
    """What the figures were measured on, and with."""
    told = pathlib.Path("/proc/cpuinfo").read_text()
    cpu, family, model, flags = (re.search(rf"{field}\s*: (.*)", told) for field in ("model name", "cpu family", "model", "flags"))
    wanted = ("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
    packages = ("onnxruntime", "openvino", "nncf", "torch", "numpy")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return {
        "cpu": cpu[1] + (f" (family {family[1]}, model {model[1]})" if family and model else ""),
        "instructions": [flag for flag in wanted if flag in flags[1].split()],
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "hua": commit,
        "rustc": subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout.strip(),
        "date": datetime.date.today().isoformat(),
    }


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("--hua", default=str(target / "release/examples/bench"), help="the example `bench` of hua-exec; empty: peers alone")
    parser.add_argument("--work", type=pathlib.Path, default=HERE / "made", help="folder for ONNX files and quantised models (10 GB)")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs", help="folder for bench-cpu.{json,md,svg}")
    parser.add_argument("--quick", action="store_true", help="ViT-B/16 and RoBERTa-base alone, batches 1 and 8")
    parser.add_argument("--only", default="", help="cells that match alone: TOWER/LENGTH/bBATCH/tTHREADS/PRECISION")
    parser.add_argument("--resume", action="store_true", help="add to the samples of bench-cpu.json; cells that have enough are left out")
    parser.add_argument("--again", action="store_true", help="with --resume: the cells picked are measured anew, their samples replaced")
    parser.add_argument("--report", action="store_true", help="only write the tables and the plot anew")
    parser.add_argument("--rounds", type=int, default=7, help="samples wanted of each side in each cell")
    parser.add_argument("--limit", type=float, default=80, help="seconds for the rounds of a cell; one is always run")
    parser.add_argument("--start-limit", type=float, default=300, help="seconds that a side may take until its first result")
    parser.add_argument("--cores", type=lambda text: [int(n) for n in text.split(",")], default=sorted(os.sched_getaffinity(0))[:2])
    parser.add_argument("--nice", type=int, default=0, help="priority of all sides; below 0 for root alone")
    parser.add_argument("--lock", help="a file to lock while a cell is measured, on a machine where others measure too")
    return parser.parse_args()


def told():
    """The command, without what says where things lie on this machine."""
    text = " ".join(["python", "peers.py", *(f"'{a}'" if re.search(r"[|*(]", a) else a for a in sys.argv[1:])])
    return re.sub(r" --(hua|work|out|lock) \S+", "", text)


def enough(entry, arguments):
    """Whether the cell has its samples, or had its time."""
    counts = [len(side["samples"]) for side in entry["sides"].values()]
    return max(counts, default=0) >= arguments.rounds or bool(counts) and entry["spent"] > 0.6 * arguments.limit


def main():
    arguments = parse()
    raw = arguments.out / "bench-cpu.json"
    data = {"cells": {}, "dropped": {}, "runs": []}
    if arguments.resume or arguments.report:
        data = json.loads(raw.read_text()) if raw.exists() else data
    if not arguments.report:
        arguments.work.mkdir(parents=True, exist_ok=True)
        data["runs"].append({**facts(arguments), "command": told()})
        for cell in cells(arguments.quick):
            if not re.search(arguments.only, key(cell)) or cell["threads"] > len(arguments.cores):
                continue
            if arguments.again:
                data["cells"].pop(key(cell), None)
            if key(cell) in data["cells"] and enough(data["cells"][key(cell)], arguments):
                continue
            print(key(cell), flush=True)
            measure(cell, data, arguments)
            part = raw.with_suffix(".part")
            part.write_text(json.dumps(data))
            part.rename(raw)
    report.write(data, arguments.out)


if __name__ == "__main__":
    main()
