#!/usr/bin/env python3
"""Whole towers, hua beside onnxruntime: the same shapes, random weights, one thread, one core, in turn.

Each side is a process of its own that runs its tower once a line it is given. The sides take turns, round by round, so
that a change of the machine's mood hits both. What is counted is the CPU time of the process (from /proc, which is
exact while the process waits), since other work on the machine would count in wall-clock time; that is shown beside it.

    python3 -m venv .venv && .venv/bin/pip install -r requirements.txt
    cargo build --release -p hua-exec --example bench
    .venv/bin/python peers.py [--rounds 9] [--core 1]
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

CASES = [("vit_b16", 1), ("vit_b16", 8), ("roberta_base", 1), ("roberta_base", 8)]
GFLOP = {"vit_b16": 35.1, "roberta_base": 2.05}  # an item, all rows of all layers


def onnx_tower(name):
    """The tower as exporters write it: dense layers as MatMul of transposed weights, one operator for each norm and GELU."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(7)
    nodes, weights = [], []

    def weight(*shape, scale=None):
        scale = scale if scale is not None else shape[0] ** -0.5
        values = (random.standard_normal(shape) * scale).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"w{len(weights)}"))
        return weights[-1].name

    def constant(values):
        weights.append(numpy_helper.from_array(np.array(values), f"w{len(weights)}"))
        return weights[-1].name

    def op(kind, *inputs, **attributes):
        nodes.append(helper.make_node(kind, list(inputs), [f"v{len(nodes)}"], **attributes))
        return nodes[-1].output[0]

    def linear(x, n, m):
        return op("Add", op("MatMul", x, weight(n, m)), weight(m, scale=0.3))

    def norm(x, eps):
        return op("LayerNormalization", x, weight(768, scale=1.0), weight(768, scale=0.3), axis=-1, epsilon=eps)

    def heads(x):
        return op("Reshape", x, constant(np.array([0, 0, 12, 64], np.int64)))

    def attention(x):
        q = op("Transpose", heads(linear(x, 768, 768)), perm=[0, 2, 1, 3])
        k = op("Transpose", heads(linear(x, 768, 768)), perm=[0, 2, 3, 1])
        v = op("Transpose", heads(linear(x, 768, 768)), perm=[0, 2, 1, 3])
        scores = op("Mul", op("MatMul", q, k), constant(np.float32(0.125)))
        mixed = op("Transpose", op("MatMul", op("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
        return linear(op("Reshape", mixed, constant(np.array([0, 0, 768], np.int64))), 768, 768)

    if name == "vit_b16":
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 224, 224])]
        x = op("Conv", "x", weight(768, 3, 16, 16, scale=0.04), kernel_shape=[16, 16], strides=[16, 16])
        x = op("Transpose", op("Reshape", x, constant(np.array([0, 768, 196], np.int64))), perm=[0, 2, 1])
        batch = op("Shape", "x", start=0, end=1)
        token = op("Expand", weight(1, 1, 768, scale=1.0), op("Concat", batch, constant(np.array([1, 768], np.int64)), axis=0))
        x = op("Add", op("Concat", token, x, axis=1), weight(1, 197, 768, scale=1.0))
        x = norm(x, 1e-5)
        for _ in range(12):
            x = op("Add", x, attention(norm(x, 1e-5)))
            y = linear(norm(x, 1e-5), 768, 3072)
            y = op("Mul", y, op("Sigmoid", op("Mul", y, constant(np.float32(1.702)))))
            x = op("Add", x, linear(y, 3072, 768))
        x = op("Gather", x, constant(np.int64(0)), axis=1)
        x = op("MatMul", norm(x, 1e-5), weight(768, 512))
        x = op("LpNormalization", x, axis=-1, p=2)
    else:
        inputs = [helper.make_tensor_value_info("x", TensorProto.INT64, ["batch", "length"])]
        x = op("Add", op("Gather", weight(1000, 768, scale=1.0), "x"), weight(1, 12, 768, scale=1.0))
        x = norm(x, 1e-5)
        for _ in range(12):
            x = norm(op("Add", x, attention(x)), 1e-12)
            y = op("Gelu", linear(x, 768, 3072), approximate="none")
            x = norm(op("Add", x, linear(y, 3072, 768)), 1e-12)
        x = op("Tanh", linear(op("Gather", x, constant(np.int64(0)), axis=1), 768, 768))
    outputs = [helper.make_tensor_value_info(x, TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, name, inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def serve_onnxruntime(name, batch):
    """A line in, a run, a line out."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx_tower(name).SerializeToString(), options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(1)
    if name == "vit_b16":
        x = random.standard_normal((batch, 3, 224, 224)).astype(np.float32)
    else:
        x = random.integers(0, 1000, (batch, 12))
    for _ in sys.stdin:
        start = time.perf_counter()
        out = session.run(None, {"x": x})[0]
        print(json.dumps({"items": len(out), "seconds": time.perf_counter() - start}), flush=True)


class Side:
    """One program under measurement."""

    def __init__(self, command, core):
        self.process = subprocess.Popen(
            ["taskset", "-c", str(core), *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.cpu, self.wall = [], []

    def cpu_seconds(self):
        return int(pathlib.Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[0]) / 1e9

    def run(self, record=True):
        before = self.cpu_seconds()
        self.process.stdin.write("\n")
        answer = json.loads(self.process.stdout.readline())
        time.sleep(0.005)  # until it waits for its next line
        if record:
            self.cpu.append((self.cpu_seconds() - before) / answer["items"])
            self.wall.append(answer["seconds"] / answer["items"])

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", pathlib.Path(__file__).parents[2] / "target"))
    parser.add_argument("--hua", default=str(target / "release/examples/bench"), help="the example `bench` of hua-exec")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--core", type=int, default=1)
    parser.add_argument("--case", help="only this tower")
    parser.add_argument("--serve", nargs=2, metavar=("TOWER", "BATCH"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        return serve_onnxruntime(arguments.serve[0], int(arguments.serve[1]))
    print("| tower | batch | hua: CPU ms an item | onnxruntime | hua's speed / onnxruntime's | by wall clock | hua GFLOP/s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, batch in CASES:
        if arguments.case not in (None, name):
            continue
        hua = Side([arguments.hua, name, str(batch)], arguments.core)
        peer = Side([sys.executable, __file__, "--serve", name, str(batch)], arguments.core)
        repeat = 1 if name == "vit_b16" else 5
        for round in range(arguments.rounds + 1):
            for side in (hua, peer) if round % 2 else (peer, hua):
                for _ in range(repeat):
                    side.run(record=round > 0)
        ours, theirs = statistics.median(hua.cpu), statistics.median(peer.cpu)
        wall = statistics.median(peer.wall) / statistics.median(hua.wall)
        print(
            f"| {name} | {batch} | {ours * 1e3:.1f} | {theirs * 1e3:.1f} | {theirs / ours:.2f} | {wall:.2f} | {GFLOP[name] / ours:.1f} |", flush=True
        )
        hua.close()
        peer.close()


if __name__ == "__main__":
    main()
