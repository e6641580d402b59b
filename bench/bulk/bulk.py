#!/usr/bin/env python3
"""A folder of JPEGs into vectors: hua beside a pipeline of Pillow and OpenVINO, in turn.

    python3 -m venv .venv && .venv/bin/pip install -r ../peers/requirements.txt
    .venv/bin/python make_pictures.py PICTURES                              # 2,000 JPEGs of 1 to 12 megapixels
    .venv/bin/python ../../tests/golden/full_size.py MODELS chinese-clip    # ViT-B/16 with random weights
    cargo build --release
    .venv/bin/python bulk.py MODELS/chinese-clip PICTURES [--count 300] [--rounds 1] [--precisions f32 int8]

hua is `hua embed`. The peer does the same with what people use: threads that open, convert, resize and normalise with Pillow and numpy (both
let go of Python's lock), a bounded number of pictures ahead of OpenVINO's asynchronous queue under its throughput hint, a stream and a
decoding thread for each core; int8 is NNCF's post-training quantisation (transformer preset) over 64 of the pictures. The OpenVINO models
are made once, and kept in MODEL-openvino. Pictures a second are of the time from the first picture to the last, as each side tells it; that of
hua includes loading the tower, that of the peer does not. Cores are busy for user + system time of the process, over the wall time of the whole process times
their number.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

CORES = len(os.sched_getaffinity(0))
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def pixels(path):
    """A picture as the model takes it, `[3, 224, 224]`."""
    import numpy
    from PIL import Image

    with Image.open(path) as image:
        small = image.convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
    scaled = numpy.asarray(small, dtype=numpy.float32) / numpy.float32(255)
    scaled = (scaled - numpy.float32(MEAN)) / numpy.float32(STD)
    return numpy.ascontiguousarray(scaled.transpose(2, 0, 1))


def openvino_model(model, precision, pictures):
    """The path of the image tower for OpenVINO, made if it is not there."""
    folder = pathlib.Path(f"{model.rstrip('/')}-openvino")
    folder.mkdir(exist_ok=True)
    path = folder / f"{precision}.xml"
    if path.exists():
        return path
    import openvino
    import torch
    import transformers

    if precision == "f32":
        whole = transformers.ChineseCLIPModel.from_pretrained(model).eval().requires_grad_(False)

        class Tower(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.vision, self.projection = whole.vision_model, whole.visual_projection

            def forward(self, x):
                return torch.nn.functional.normalize(self.projection(self.vision(pixel_values=x).pooler_output), dim=-1)

        with torch.no_grad():
            converted = openvino.convert_model(Tower(), example_input=torch.zeros(1, 3, 224, 224), input=[1, 3, 224, 224])
        openvino.save_model(converted, path, compress_to_fp16=False)
    else:
        import nncf

        exact = openvino.Core().read_model(openvino_model(model, "f32", pictures))
        samples = nncf.Dataset([pixels(path)[None] for path in pictures[:64]])
        quantised = nncf.quantize(exact, samples, model_type=nncf.ModelType.TRANSFORMER, subset_size=64)
        openvino.save_model(quantised, path, compress_to_fp16=False)
    return path


def peer(model, precision, pictures, out):
    """Embeds `pictures` and prints how long that took."""
    import threading
    from concurrent.futures import ThreadPoolExecutor

    import numpy
    import openvino

    core = openvino.Core()
    settings = {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": CORES, "INFERENCE_NUM_THREADS": CORES, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(openvino_model(model, precision, pictures), "CPU", settings)
    queue = openvino.AsyncInferQueue(compiled, CORES)
    vectors = numpy.zeros((len(pictures), 512), numpy.float32)
    ahead = threading.Semaphore(16 * CORES)

    def done(request, index):
        vectors[index] = request.get_output_tensor(0).data[0]
        ahead.release()

    def decode(path):
        ahead.acquire()
        return pixels(path)

    queue.set_callback(done)
    start = time.perf_counter()
    with ThreadPoolExecutor(CORES) as pool:
        for index, picture in enumerate(pool.map(decode, pictures)):
            queue.start_async({0: picture[None]}, index)
    queue.wait_all()
    seconds = time.perf_counter() - start
    numpy.save(out, vectors)
    print(json.dumps({"pictures": len(pictures), "seconds": seconds}))


def measure(command):
    """What a command printed, its wall time and its processor time, in seconds."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status:
        sys.exit(f"failed: {' '.join(command[:8])} ...")
    return json.loads(output.splitlines()[-1]), wall, usage.ru_utime + usage.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("pictures", type=pathlib.Path)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", pathlib.Path(__file__).parents[2] / "target"))
    parser.add_argument("--hua", default=str(target / "release/hua"))
    parser.add_argument("--count", type=int, help="only the first ones")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--precisions", nargs="+", default=["f32", "int8"])
    parser.add_argument("--hua-options", nargs="+", default=[], help="more options of `hua embed`, without their dashes")
    parser.add_argument("--peer", nargs=2, metavar=("PRECISION", "OUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    pictures = sorted(map(str, arguments.pictures.glob("*.jpg")))[: arguments.count]
    if arguments.peer:
        return peer(arguments.model, arguments.peer[0], pictures, arguments.peer[1])
    for precision in arguments.precisions:
        openvino_model(arguments.model, precision, pictures)
    subset = ["--count", str(arguments.count)] if arguments.count else []
    print("| precision | side | pictures/s | busy | decode + resize | embed | CPU ms a picture | cosine to the peer |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for precision in arguments.precisions:
            ours, theirs = f"{folder}/hua.npy", f"{folder}/peer.npy"
            options = [f"--{option}" for option in arguments.hua_options]
            hua = [arguments.hua, "embed", "--model", arguments.model, "--precision", precision, "--json", "-o", ours, *options, *pictures]
            other = [sys.executable, __file__, arguments.model, str(arguments.pictures), *subset, "--peer", precision, theirs]
            rates = {"hua": [], "OpenVINO": []}
            for _ in range(arguments.rounds):
                for side, command in (("hua", hua), ("OpenVINO", other)):
                    report, wall, cpu = measure(command)
                    rate = report["pictures"] / report["seconds"]
                    rates[side].append(rate)
                    shares = [f"{100 * report[part]:.0f} %" if part in report else "" for part in ("decode_share", "embed_share")]
                    likeness = cosine(ours, theirs) if side == "OpenVINO" else ""
                    busy = f"{100 * cpu / (wall * CORES):.0f} %"
                    cells = [precision, side, f"{rate:.2f}", busy, *shares, f"{1e3 * cpu / report['pictures']:.0f}", likeness]
                    print("| " + " | ".join(cells) + " |", flush=True)
            print(f"{precision}: hua's pictures a second over OpenVINO's, best of each: {max(rates['hua']) / max(rates['OpenVINO']):.2f}")


def cosine(ours, theirs):
    import numpy

    cosines = (numpy.load(ours) * numpy.load(theirs)).sum(axis=1)
    return f"{cosines.min():.4f} to {cosines.max():.4f}"


if __name__ == "__main__":
    main()
