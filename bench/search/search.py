#!/usr/bin/env python3
"""A million vectors, hua beside its peers: the same rows and queries, equal threads, in turn.

    pip install -r requirements.txt
    cargo build --release -p hua-index --examples
    python search.py [--gallery PICTURES.npy TEXTS.npy]

Each side is a process of its own that answers the queries it is given. The sides of a cell (the vectors, a number of threads) take
turns, round by round, so that a change of the machine's mood hits all of them. Every sample is kept: what a search took, and for how
long threads that could run had to wait for a core meanwhile. `report.py` makes tables of them.
"""

import argparse
import contextlib
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import select
import shutil
import subprocess
import sys
import time

import report
from make import BEST, QUERIES, load, make
from sides import PEERS

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
LIMIT = 600  # seconds for an answer
# What is asked: how many queries at once, and whether of picked rows alone.
QUESTIONS = {"one": (1, False), "picked": (1, True), "eight": (8, False)}


class Failure(Exception):
    pass


class Side:
    """One program under measurement, on the cores it may use."""

    def __init__(self, command, cores, log, nice):
        environment = {**os.environ, "OMP_NUM_THREADS": str(len(cores)), "OPENBLAS_NUM_THREADS": str(len(cores))}
        command = ["taskset", "-c", ",".join(map(str, cores)), *map(str, command)]
        self.start, self.answer = time.perf_counter(), b""
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, bufsize=0, env=environment, start_new_session=True
        )
        if nice:  # the process, and the group that Linux makes of a session
            os.setpriority(os.PRIO_PROCESS, self.process.pid, nice)
            with contextlib.suppress(FileNotFoundError):
                pathlib.Path(f"/proc/{self.process.pid}/autogroup").write_text(str(nice))

    def ask(self, queries, picked):
        line = json.dumps({"queries": queries, "picked": picked, "k": BEST}) + "\n"
        try:
            self.process.stdin.write(line.encode())
        except BrokenPipeError:
            raise Failure("ended") from None
        end = time.monotonic() + LIMIT
        while b"\n" not in self.answer:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            part = self.process.stdout.read(65536) if ready else b""
            if not part:
                raise Failure("ended" if ready else f"no answer in {LIMIT} s")
            self.answer += part
        line, self.answer = self.answer.split(b"\n", 1)
        return json.loads(line)

    def waited(self):
        """Seconds that its threads, which could run, waited for a core."""
        waited = 0
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            with contextlib.suppress(OSError):  # a thread may have ended
                waited += int((task / "schedstat").read_text().split()[1])
        return waited / 1e9

    def run(self, queries, together, picked):
        """Of each search what it took and how long threads waited for a core meanwhile, in seconds; and the rows that were found."""
        samples, found = [], {}
        for i in range(0, len(queries), together):
            before = self.waited()
            answer = self.ask(queries[i : i + together], picked)
            samples.append([round(answer["seconds"], 7), round(self.waited() - before, 7)])
            found.update(zip(queries[i : i + together], answer["rows"]))
        return samples, found

    def memory(self):
        """MB resident: all, of them pages of no file and of files; and the most there were."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        fields = {"all": "VmRSS", "own": "RssAnon", "files": "RssFile", "peak": "VmHWM"}
        return {name: int(re.search(rf"{field}:\s+(\d+)", status)[1]) / 1024 for name, field in fields.items()}

    def close(self):
        self.process.kill()
        self.process.wait()


def said(command):
    """The last line of JSON that a program prints."""
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def build_hua(folder, rows):
    """The library, and how long hundreds of items took to be added and committed."""
    shutil.rmtree(folder / "hua", ignore_errors=True)
    settings = ["--count", rows.shape[0], "--width", rows.shape[1], "--vectors", folder / "rows.f32"]
    told = said([ARGUMENTS.hua / "million", "build", folder / "hua", *settings])
    sizes = told["bytes"]
    built = {"seconds": told["seconds_without_making_vectors"], "bytes": sizes["vectors"], "catalogue": sizes["catalogue"]}
    add = [ARGUMENTS.hua / "million", "add", folder / "hua", "--count", 100, "--vectors", folder / "far.f32"]
    return {**built, "commits": [said(add)["write_and_commit_ms"] / 1e3 for _ in range(9)]}


def build(folder, data, rows):
    """Every side's file, and how long it took from vectors that are at hand."""
    for name in sides():
        if name not in data["built"]:
            peer = [sys.executable, HERE / "sides.py", "build", name, folder]
            data["built"][name] = build_hua(folder, rows) if name == "hua" else said(peer)
            print(f"built {name}: {data['built'][name]}", flush=True)
            subprocess.run(["sync"], check=True)


def sides():
    names = ["hua", *PEERS]
    return [name for name in names if re.search(ARGUMENTS.sides, name)]


def opened(name, folder, threads, log):
    hua = [ARGUMENTS.hua / "serve", folder / "hua", folder / "queries.f32", threads]
    command = hua if name == "hua" else [sys.executable, HERE / "sides.py", "serve", name, folder, threads]
    return Side(command, ARGUMENTS.cores[-threads:], log, ARGUMENTS.nice)


def measure(folder, threads, cell):
    """Cold starts in turn, then rounds of warm searches in turn; what came out is in `cell`."""
    with open(folder / "log.txt", "a") as log:
        for number in range(ARGUMENTS.starts):
            for name in sides():
                kept = cell.setdefault(name, {"starts": [], "samples": {question: [] for question in QUESTIONS}, "found": {}})
                side = opened(name, folder, threads, log)
                side.ask([number], False)
                kept["starts"].append([round(time.perf_counter() - side.start, 5), round(side.waited(), 5)])
                side.close()
        running = {name: opened(name, folder, threads, log) for name in sides()}
        for number in range(ARGUMENTS.rounds + 1):
            for question, (together, picked) in QUESTIONS.items():
                some = [(number * ARGUMENTS.queries + i) % QUERIES for i in range(ARGUMENTS.queries // together * together)]
                for name in list(running)[:: 1 if number % 2 else -1]:
                    samples, found = running[name].run(some, together, picked)
                    if number > 0:  # the first is to warm up
                        cell[name]["samples"][question] += samples
                    cell[name]["found"].setdefault(question, {}).update(found)
        for name, side in running.items():
            cell[name]["memory"] = side.memory()
            side.close()
    for name in sides():
        made = {question: report.figure(cell[name]["samples"][question]) for question in QUESTIONS}
        told = ", ".join(f"{question} {f['p50'] * 1e3:.2f} ms ({f['clean']} clean of {f['all']})" for question, f in made.items())
        print(f"  {threads} threads, {name:14} {told}", flush=True)


def recalls(folder, cell):
    """Shares of the right rows that each side found, of the queries that it was asked; the rows themselves are not kept."""
    import numpy

    right = {"one": numpy.load(folder / "exact.npy"), "picked": numpy.load(folder / "exact_picked.npy")}
    for side in cell.values():
        found = side.pop("found", {})
        for question, truth in right.items():
            asked = {query: len(set(rows) & set(truth[query].tolist())) for query, rows in found.get(question, {}).items()}
            kinds = [[n for query, n in asked.items() if query % 2 == kind] for kind in (0, 1)]
            side.setdefault("recall", {})[question] = [sum(kind) / BEST / max(1, len(kind)) for kind in kinds]


def facts():
    """What the figures were measured on, and with."""
    told = pathlib.Path("/proc/cpuinfo").read_text()
    cpu, family, model, flags = (re.search(rf"{field}\s*: (.*)", told) for field in ("model name", "cpu family", "model", "flags"))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return {
        "cpu": cpu[1] + (f" (family {family[1]}, model {model[1]})" if family and model else ""),
        "instructions": [flag for flag in ("avx2", "f16c", "avx512f", "avx512_vnni") if flag in flags[1].split()],
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in ("faiss-cpu", "numpy", "usearch")},
        "hua": commit,
        "rustc": subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout.strip(),
        "date": datetime.date.today().isoformat(),
    }


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("--hua", type=pathlib.Path, default=target / "release/examples", help="folder of the examples of hua-index")
    parser.add_argument("--work", type=pathlib.Path, default=HERE / "made", help="folder for vectors and the sides' files (8 GB)")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs", help="folder for bench-search.{json,md,svg}")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument(
        "--gallery", type=pathlib.Path, nargs=2, help="`.npy` of pictures and of texts, to search those in place of made ones"
    )
    parser.add_argument("--sides", default="", help="only the sides whose names match")
    parser.add_argument("--threads", type=lambda text: [int(n) for n in text.split(",")], default=[2, 1])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--queries", type=int, default=20, help="of a round, a side and a question")
    parser.add_argument("--starts", type=int, default=5, help="cold processes of each side")
    parser.add_argument("--again", action="store_true", help="these vectors are measured anew, their samples replaced")
    parser.add_argument("--report", action="store_true", help="only write the tables and the plot anew")
    parser.add_argument("--cores", type=lambda text: [int(n) for n in text.split(",")], default=sorted(os.sched_getaffinity(0))[:2])
    parser.add_argument("--nice", type=int, default=0, help="priority of all sides; below 0 for root alone")
    return parser.parse_args()


def told():
    """The command, without what says where things lie on this machine."""
    return re.sub(r" (--gallery \S+|--(hua|work|out)) \S+", "", " ".join(["python", "search.py", *sys.argv[1:]]))


def main():
    raw = ARGUMENTS.out / "bench-search.json"
    data = json.loads(raw.read_text()) if raw.exists() else {"vectors": {}, "runs": []}
    if not ARGUMENTS.report:
        name = ARGUMENTS.gallery[0].stem if ARGUMENTS.gallery else f"{ARGUMENTS.rows}x{ARGUMENTS.width}"
        folder = ARGUMENTS.work / name
        make(folder, ARGUMENTS.rows, ARGUMENTS.width, ARGUMENTS.gallery)
        if ARGUMENTS.again:
            data["vectors"].pop(name, None)
        rows = load(folder, "rows.f32")
        entry = data["vectors"].setdefault(name, {"built": {}, "cells": {}, "rows": list(rows.shape)})
        data["runs"].append({**facts(), "command": told(), "vectors": name})
        build(folder, entry, rows)
        for threads in ARGUMENTS.threads:
            cell = entry["cells"][str(threads)] = {}
            measure(folder, threads, cell)
            recalls(folder, cell)
        part = raw.with_suffix(".part")
        part.write_text(json.dumps(data, separators=(",", ":")) + "\n")
        part.rename(raw)
    report.write(data, ARGUMENTS.out)


if __name__ == "__main__":
    ARGUMENTS = parse()
    main()
