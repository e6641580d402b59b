"""The peers, each in a process of its own: a line of JSON in, a search, a line of JSON out.

    python sides.py build PEER FOLDER            makes the peer's file of FOLDER/rows.f32, and tells how long it took
    python sides.py serve PEER FOLDER THREADS    reads queries by number until its input ends

A line is `{"queries": [3], "picked": false, "k": 10}`, the answer `{"seconds": 0.1, "rows": [[...]]}`; hua's side is the example
`serve` of hua-index, which speaks the same.
"""

import json
import os
import pathlib
import sys
import time

import numpy

from make import load


class Numpy:
    """A product and a partial sort, as everybody writes it."""

    def build(self, folder):
        return folder / "rows.f32"

    def open(self, folder, threads):
        self.rows, self.picked = load(folder, "rows.f32"), numpy.load(folder / "picked.npy")

    def search(self, queries, picked, k):
        scores = (self.rows[self.picked] if picked else self.rows) @ queries.T
        best = numpy.argpartition(scores, len(scores) - k, 0)[-k:]
        best = numpy.take_along_axis(best, numpy.argsort(-numpy.take_along_axis(scores, best, 0), 0), 0).T
        return self.picked[best] if picked else best


class Faiss:
    """`kind`: `flat`, or a type of faiss's scalar quantiser. Files are mapped, where faiss can."""

    def __init__(self, kind):
        self.kind = kind

    def file(self, folder):
        return folder / f"{self.kind}.faiss"

    def build(self, folder):
        import faiss

        rows = load(folder, "rows.f32")
        if self.kind == "flat":
            index = faiss.IndexFlatIP(rows.shape[1])
        else:
            kind = getattr(faiss.ScalarQuantizer, f"QT_{self.kind}")
            index = faiss.IndexScalarQuantizer(rows.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
            index.train(numpy.ascontiguousarray(rows[:100_000]))
        index.add(rows)
        faiss.write_index(index, str(self.file(folder)))
        return self.file(folder)

    def open(self, folder, threads):
        import faiss

        faiss.omp_set_num_threads(threads)
        self.index = faiss.read_index(str(self.file(folder)), faiss.IO_FLAG_MMAP_IFC)
        bits = numpy.zeros((self.index.ntotal + 7) // 8 * 8, bool)
        bits[numpy.load(folder / "picked.npy")] = True
        self.bits = numpy.packbits(bits, bitorder="little")
        selector = faiss.IDSelectorBitmap(self.index.ntotal, faiss.swig_ptr(self.bits))
        self.selector, self.parameters = selector, faiss.SearchParameters(sel=selector)

    def search(self, queries, picked, k):
        return self.index.search(queries, k, params=self.parameters if picked else None)[1]


class Usearch:
    """Exact search over rows of another type."""

    def __init__(self, kind):
        self.kind = kind

    def cast(self, x):
        return numpy.round(x * 127).astype(numpy.int8) if self.kind == "i8" else x.astype(self.kind)

    def build(self, folder):
        rows = load(folder, "rows.f32")
        file = folder / f"usearch.{self.kind}.npy"
        numpy.save(file, self.cast(rows))
        return file

    def open(self, folder, threads):
        import usearch.index

        self.module, self.threads = usearch.index, threads
        self.rows = numpy.load(folder / f"usearch.{self.kind}.npy", mmap_mode="r")
        self.picked = numpy.load(folder / "picked.npy")

    def search(self, queries, picked, k):
        rows = self.rows[self.picked] if picked else self.rows
        metric = self.module.MetricKind.IP if self.kind != "i8" else self.module.MetricKind.Cos
        found = self.module.search(rows, self.cast(queries), k, metric, exact=True, threads=self.threads).keys.reshape(len(queries), -1)
        found = found.astype(numpy.int64)
        return self.picked[found] if picked else found


PEERS = {
    "faiss flat": Faiss("flat"),
    "faiss SQ8": Faiss("8bit"),
    "numpy": Numpy(),
    "usearch f16": Usearch("float16"),
    "usearch i8": Usearch("i8"),
}


def serve(peer, folder, threads):
    peer.open(folder, threads)
    queries = load(folder, "queries.f32")
    for line in sys.stdin:
        asked = json.loads(line)
        start = time.perf_counter()
        found = peer.search(queries[asked["queries"]], asked["picked"], asked["k"])
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "rows": found.tolist()}), flush=True)


def main():
    what, peer, folder = sys.argv[1], PEERS[sys.argv[2]], pathlib.Path(sys.argv[3])
    if what == "serve":
        return serve(peer, folder, int(sys.argv[4]))
    start = time.perf_counter()
    file = peer.build(folder)
    with open(file, "rb+") as handle:
        os.fsync(handle.fileno())
    print(json.dumps({"seconds": time.perf_counter() - start, "bytes": file.stat().st_size}))


if __name__ == "__main__":
    main()
