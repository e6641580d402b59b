"""Makes crates/model/tests/data: one small file per format that people have weights in, written by torch itself.

    python3 tests/golden/make_checkpoints.py

torch 2.15.0, safetensors 0.8.0, numpy 2.4.6. Every file holds the tensors of `tensors()` or some of them; the Rust test
`checkpoint_formats.rs` knows their values by formula, so there is no second file of expected numbers. Two runs differ only
in the storage keys of legacy.bin, which are addresses, in the serial number inside script.pt, and in the order of the
metadata of plain.safetensors.
"""

import argparse
import json
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy
import torch
from safetensors.torch import save_file

from reference.archive import drop_debug_records

OUT = Path(__file__).resolve().parents[2] / "crates" / "model" / "tests" / "data"


def ramp(*shape, start=0.0, step=0.25, dtype=torch.float32):
    count = torch.Size(shape).numel()
    return (start + step * torch.arange(count, dtype=torch.float32)).reshape(shape).to(dtype)


def tensors():
    base = ramp(4, 6)
    return OrderedDict(
        [
            ("f32", ramp(2, 3)),
            ("f16", ramp(3, start=-1, dtype=torch.float16)),
            ("bf16", ramp(5, start=2, step=0.5, dtype=torch.bfloat16)),
            ("i64", torch.arange(7).expand(1, -1)),
            ("scalar", torch.tensor(4.625)),
            ("empty", torch.zeros(0, 3)),
            ("transposed", base.t()),
            ("rows", base[1:3]),
            ("columns", base[:, 2:4]),
            ("shared", base),
            ("expanded", ramp(3).expand(2, 3)),
            ("parameter", torch.nn.Parameter(ramp(2, 2))),
        ]
    )


class Tower(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = torch.nn.Parameter(ramp(2, 3))
        self.register_buffer("input_resolution", torch.tensor(224))
        self.blocks = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU(), torch.nn.Linear(2, 2))
        with torch.no_grad():
            for i, p in enumerate(self.blocks.parameters()):
                p.copy_(ramp(*p.shape, start=i))

    def forward(self, x):
        return self.blocks(x @ self.proj) * torch.tensor([1.5, 2.5])


def main():
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    OUT.mkdir(parents=True, exist_ok=True)
    state = tensors()

    plain = {k: v.detach().clone().contiguous() for k, v in state.items()}
    others = {"u8": torch.arange(3, dtype=torch.uint8), "bool": torch.tensor([True, False]), "f64": ramp(2, dtype=torch.float64)}
    save_file(plain | others, OUT / "plain.safetensors", metadata={"format": "pt", "name": "水獭"})

    torch.save(state, OUT / "state.bin")
    for protocol in (3, 4, 5):
        torch.save(state, OUT / f"protocol{protocol}.bin", pickle_protocol=protocol)
    torch.save(state, OUT / "legacy.bin", _use_new_zipfile_serialization=False)

    # As cn_clip's trainer writes it, with its optimizer; and with what people add.
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model(ramp(1, 3)).sum().backward()
    optimizer.step()
    wrapped = {"epoch": 3, "step": 70000, "name": "tiny", "state_dict": OrderedDict((f"module.{k}", v) for k, v in state.items())}
    torch.save(wrapped | {"optimizer": optimizer.state_dict()}, OUT / "trainer.pt")
    extras = {"args": argparse.Namespace(lr=0.1), "best": numpy.float64(0.5), "seed": 2**63 + 1, "ratio": 0.5, "done": True}
    torch.save({"model": {"state_dict": model.state_dict()}} | extras, OUT / "extras.pt")

    model = Tower()
    scripted = torch.jit.trace(model, ramp(1, 2))
    scripted.save(str(OUT / "script.pt"))
    drop_debug_records(OUT / "script.pt")

    # What a user gets who zips the parts again, compressed.
    with zipfile.ZipFile(OUT / "state.bin") as source, zipfile.ZipFile(OUT / "repacked.bin", "w", zipfile.ZIP_DEFLATED) as target:
        for info in source.infolist():
            stored = "/data/" in info.filename
            target.writestr(zipfile.ZipInfo(info.filename), source.read(info), zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(OUT / "state.bin") as source, zipfile.ZipFile(OUT / "compressed.bin", "w", zipfile.ZIP_DEFLATED) as target:
        for info in source.infolist():
            target.writestr(zipfile.ZipInfo(info.filename), source.read(info), zipfile.ZIP_DEFLATED)

    # A big-endian machine's file, made here: the same pickle over turned bytes.
    with zipfile.ZipFile(OUT / "state.bin") as source, zipfile.ZipFile(OUT / "big-endian.bin", "w", zipfile.ZIP_STORED) as target:
        # Storages are numbered in the order in which the tensors first use them.
        sizes = {}
        for tensor in torch.load(OUT / "state.bin", weights_only=True).values():
            pointer = tensor.untyped_storage().data_ptr() or f"empty {len(sizes)}"
            sizes.setdefault(pointer, tensor.element_size())
        sizes = dict(zip(map(str, range(len(sizes))), sizes.values()))
        for info in source.infolist():
            content = source.read(info)
            folder, _, rest = info.filename.partition("/")
            if rest.startswith("data/"):
                size = sizes[rest.removeprefix("data/")]
                content = b"".join(content[i : i + size][::-1] for i in range(0, len(content), size))
            elif rest == "byteorder":
                content = b"big"
            target.writestr(zipfile.ZipInfo(info.filename), content)

    # Two shards in each of the two formats.
    first, second = ["f32", "i64"], ["f16", "bf16"]
    for name, suffix, save in [("model", "safetensors", lambda t, p: save_file(t, p)), ("pytorch_model", "bin", torch.save)]:
        folder = OUT / f"sharded-{suffix}"
        folder.mkdir(exist_ok=True)
        weight_map = {}
        for i, names in enumerate([first, second], start=1):
            file = f"{name}-{i:05}-of-00002.{suffix}"
            save({k: plain[k] for k in names}, folder / file)
            weight_map |= {k: file for k in names}
        size = sum(plain[k].nbytes for k in weight_map)
        index = {"metadata": {"total_size": size}, "weight_map": weight_map}
        (folder / f"{name}.{suffix}.index.json").write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
