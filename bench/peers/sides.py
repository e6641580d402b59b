"""The peers, each in a process of its own: a line in, a run, a line of JSON out.

    python sides.py PEER TOWER BATCH LENGTH THREADS FOLDER

The first answer also carries `notes`: what the peer says of itself that matters for judging it. Models are made for exactly this
batch and length, since peers do better so; what is dear to make (ONNX files, NNCF's models) is kept in FOLDER.
"""

import json
import os
import pathlib
import sys
import time

from towers import TOWERS, inputs, onnx_file, torch_tower


def onnxruntime(kind, name, batch, length, threads, folder):
    """`plain`: the file as it is, with all of onnxruntime's own passes. `norms`, `mha`, `attention`: after its transformer
    optimiser. `int8` before one of these: quantised dynamically, by channel."""
    import onnxruntime as ort

    path = dynamic(kind.split()[1], name, folder) if kind.startswith("int8") else fused(kind, name, folder)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_free_dimension_override_by_name("batch", batch)
    options.add_free_dimension_override_by_name("length", length)
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    x = inputs(name, batch, length)
    return lambda: session.run(None, {"x": x})[0], {}


def fused(kind, name, folder):
    """`norms` makes one operator of each sum and norm, and of each bias and GELU; `mha` and `attention` also of attention, without
    and with its products."""
    from onnxruntime.transformers import fusion_options, optimizer

    if kind == "plain":
        return onnx_file(name, folder)
    path = pathlib.Path(folder) / f"{name}.{kind}.onnx"
    if not path.exists():
        tower = TOWERS[name]
        family = "vit" if tower.patch else "bert"
        fusions = fusion_options.FusionOptions(family)
        fusions.enable_attention = kind != "norms"
        fusions.use_multi_head_attention = kind == "mha"
        sizes = {"num_heads": tower.heads, "hidden_size": tower.width}
        model = optimizer.optimize_model(str(onnx_file(name, folder)), family, **sizes, optimization_options=fusions, opt_level=0)
        done = {operator: n for operator, n in model.get_fused_operator_statistics().items() if n}
        print("fused", name, kind, done)
        part = path.with_suffix(".part")
        model.save_model_to_file(str(part))
        part.rename(path)
    return path


def dynamic(kind, name, folder):
    import logging

    from onnx import TensorProto
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path = pathlib.Path(folder) / f"{name}.{kind}.int8.onnx"
    if not path.exists():
        logging.getLogger().setLevel(logging.ERROR)
        part = path.with_suffix(".part")
        settings = {"DefaultTensorType": TensorProto.FLOAT}
        quantize_dynamic(str(fused(kind, name, folder)), str(part), per_channel=True, weight_type=QuantType.QInt8, extra_options=settings)
        part.rename(path)
    return path


def openvino(kind, name, batch, length, threads, folder):
    """`f32`, `bf16`: the precision as a hint. `int8`: by NNCF's quantisation after training, the rest f32."""
    import openvino as ov
    import openvino.properties as props
    import openvino.properties.hint as hints

    core = ov.Core()
    model = core.read_model(quantised(name, folder) if kind == "int8" else onnx_file(name, folder))
    model.reshape([batch, 3, 224, 224] if TOWERS[name].patch else [batch, length])
    settings = {
        hints.performance_mode(): hints.PerformanceMode.LATENCY,
        hints.inference_precision(): ov.Type.bf16 if kind == "bf16" else ov.Type.f32,
        props.num_streams(): 1,
        props.inference_num_threads(): threads,
    }
    compiled = core.compile_model(model, "CPU", settings)
    kinds = {}
    for node in compiled.get_runtime_model().get_ops():
        info = node.get_rt_info()
        if info["layerType"].astype(str) in ("FullyConnected", "MatMul", "MHA", "ScaledDotProductAttention", "Convolution", "Subgraph"):
            key = " ".join(info[k].astype(str) for k in ("layerType", "primitiveType", "runtimePrecision"))
            kinds[key] = kinds.get(key, 0) + 1
    precision = compiled.get_property(hints.inference_precision())
    notes = {"inference_precision": precision.get_type_name(), "primitives": kinds}
    request = compiled.create_infer_request()
    x = inputs(name, batch, length)
    return lambda: next(iter(request.infer([x], share_inputs=True, share_outputs=True).values())), notes


def quantised(name, folder, samples=32):
    import nncf
    import openvino as ov

    path = pathlib.Path(folder) / f"{name}.int8.xml"
    if not path.exists():
        model = ov.Core().read_model(onnx_file(name, folder))
        model.reshape([1, 3, 224, 224] if TOWERS[name].patch else [1, 52])
        data = nncf.Dataset([inputs(name, 1, 52, seed) for seed in range(100, 100 + samples)])
        model = nncf.quantize(model, data, model_type=nncf.ModelType.TRANSFORMER, subset_size=samples)
        model.reshape([-1, 3, 224, 224] if TOWERS[name].patch else [-1, -1])
        part = path.with_name(f"part.{path.name}")
        ov.save_model(model, part, compress_to_fp16=False)
        part.with_suffix(".bin").rename(path.with_suffix(".bin"))
        part.rename(path)
    return path


def torch(kind, name, batch, length, threads, folder):
    """`f32`, `bf16`: eager. `compile_f32`, `compile_bf16`: inductor, weights frozen. `int8`: dynamic quantisation."""
    import torch

    torch.set_num_threads(threads)
    model = torch_tower(name)
    x = torch.from_numpy(inputs(name, batch, length))
    notes = {}
    if kind == "int8":
        model = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
        notes["engine"] = torch.backends.quantized.engine
    if kind.endswith("bf16"):
        model = model.bfloat16()
        x = x.bfloat16() if TOWERS[name].patch else x
    if kind.startswith("compile"):
        import torch._inductor.config

        torch._inductor.config.freezing = True
        model = torch.compile(model)

    def run():
        with torch.inference_mode() if not kind.startswith("compile") else torch.no_grad():
            return model(x)

    return run, notes


PEERS = {
    "onnxruntime plain": ("f32", onnxruntime, "plain"),
    "onnxruntime norms": ("f32", onnxruntime, "norms"),
    "onnxruntime mha": ("f32", onnxruntime, "mha"),
    "onnxruntime attention": ("f32", onnxruntime, "attention"),
    "openvino f32": ("f32", openvino, "f32"),
    "torch f32": ("f32", torch, "f32"),
    "torch.compile f32": ("f32", torch, "compile_f32"),
    "openvino bf16": ("bf16", openvino, "bf16"),
    "torch bf16": ("bf16", torch, "bf16"),
    "torch.compile bf16": ("bf16", torch, "compile_bf16"),
    "onnxruntime int8 plain": ("int8", onnxruntime, "int8 plain"),
    "onnxruntime int8 norms": ("int8", onnxruntime, "int8 norms"),
    "onnxruntime int8 attention": ("int8", onnxruntime, "int8 attention"),
    "openvino int8": ("int8", openvino, "int8"),
    "torch int8": ("int8", torch, "int8"),
}


def main():
    peer, name, *numbers, folder = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # libraries may talk
    _, make, kind = PEERS[peer]
    run, notes = make(kind, name, *map(int, numbers), folder)
    for _ in sys.stdin:
        start = time.perf_counter()
        items = len(run())
        answers.write(json.dumps({"items": items, "seconds": time.perf_counter() - start, "notes": notes}) + "\n")
        notes = {}


if __name__ == "__main__":
    main()
