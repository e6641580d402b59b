"""Runs a loaded model and writes `golden.safetensors` and `golden.json`; README.md describes both."""

import json
import re
import shutil
import sys
from collections import OrderedDict
from pathlib import Path

import safetensors
import safetensors.torch
import tokenizers
import torch
import transformers

from .noise import pictures

MODELS = Path(__file__).resolve().parent.parent / "models"


class Taps:
    """Collects what modules put out, as rows: `[batch, tokens, width]` becomes `[batch * tokens, width]`, texts one after the other."""

    def __init__(self):
        self.rows = {}
        self.tokens = None  # real tokens of the text at work; the rest are padding

    def watch(self, name, module, before=False, sequence_first=False, picture=False):
        def take(value):
            value = value[0] if isinstance(value, tuple) else value
            value = getattr(value, "last_hidden_state", value).detach().float()
            if sequence_first:  # [tokens, batch, width], as torch's own attention likes it
                value = value.permute(1, 0, 2)
            if name.startswith("text.") and value.ndim == 3:
                value = value[:, : self.tokens]
            if not picture:
                value = value.reshape(-1, value.shape[-1])
            self.rows.setdefault(name, []).append(value.clone())

        if before:
            module.register_forward_pre_hook(lambda _, args: take(args[0]))
        else:
            module.register_forward_hook(lambda _, __, output: take(output))

    def watch_blocks(self, prefix, blocks, **options):
        for index, block in enumerate(blocks):
            self.watch(f"{prefix}.blocks.{index}", block, **options)

    def tensors(self):
        return {name: torch.cat(parts) for name, parts in self.rows.items()}


@torch.no_grad()
def bake(folder, *, family, layout, seed, size, ids, image, text, taps, logit_scale, parameters, sizes, pad=0, texts=None,
         extra=None, notes=()):
    """Runs a loaded reference model and writes `golden.safetensors` and `golden.json` into `folder`.

    `image` maps pixels `[n, 3, size, size]` to features `[n, width]`; `text` maps one list of ids to features `[width]`;
    `extra` maps one list of ids to a dictionary of further rows.
    """
    generator = torch.Generator().manual_seed(seed + 1)
    pixels = pictures(generator, 2, size)
    lengths = [len(row) for row in ids]
    padded = torch.full((len(ids), max(lengths)), pad, dtype=torch.int64)
    for row, values in zip(padded, ids):
        row[: len(values)] = torch.tensor(values)

    image_embeds = image(pixels).float()
    text_rows, extra_rows = [], {}
    for row in ids:
        taps.tokens = len(row)
        text_rows.append(text(row).float().reshape(-1))
    collected = taps.tensors()
    for row in ids:
        for name, value in (extra(row) if extra else {}).items():
            extra_rows.setdefault(name, []).append(value.float().reshape(-1, value.shape[-1]))
    text_embeds = torch.stack(text_rows)
    image_unit = image_embeds / image_embeds.norm(dim=-1, keepdim=True)
    text_unit = text_embeds / text_embeds.norm(dim=-1, keepdim=True)
    scale = torch.as_tensor(float(logit_scale), dtype=torch.float32)
    tensors = {
        "pixel_values": pixels,
        "input_ids": padded,
        "lengths": torch.tensor(lengths, dtype=torch.int64),
        "image_embeds": image_embeds,
        "image_embeds_normalized": image_unit,
        "text_embeds": text_embeds,
        "text_embeds_normalized": text_unit,
        "logit_scale": scale,
        "logits_per_image": scale.exp() * image_unit @ text_unit.T,
        **collected,
        **{name: torch.cat(parts) for name, parts in extra_rows.items()},
    }
    for name, value in tensors.items():
        if value.is_floating_point():
            assert torch.isfinite(value).all(), f"{folder.name}: {name} is not finite"
            if value.numel() > 1:
                assert 0.02 < value.std() < 20, f"{folder.name}: {name} has deviation {value.std():.4f}"
    for unit in (image_unit, text_unit):
        nearest = (unit @ unit.T - 2 * torch.eye(len(unit))).max()
        assert nearest < 0.999, f"{folder.name}: two inputs give nearly one vector ({nearest:.4f})"
    safetensors.torch.save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "golden.safetensors")
    record = {
        "family": family,
        "layout": layout,
        "notes": list(notes),
        "parameters": parameters,
        "sizes": sizes,
        "seed": seed,
        "texts": texts,
        "made_with": {
            "python": ".".join(map(str, sys.version_info[:2])),
            "torch": torch.__version__.split("+")[0],
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
            "safetensors": safetensors.__version__,
            "cn_clip": "1.6.0",
            "clip-anytorch": "2.6.0",
            "diffusers": "0.42.1",
        },
        "files": sorted(
            str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and not p.name.startswith("golden.")
        ),
        "tensors": {name: list(value.shape) for name, value in sorted(tensors.items())},
    }
    dumped = json.dumps(record, indent=1, ensure_ascii=False)
    dumped = re.sub(r"\[[\s\d,]*\]", lambda shape: " ".join(shape[0].split()).replace("[ ", "[").replace(" ]", "]"), dumped)
    (folder / "golden.json").write_text(dumped + "\n")
    total = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    print(f"{folder.name:26} {parameters:8,} parameters  {total / 1000:7.0f} kB")


def fresh(name):
    folder = MODELS / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def count(model):
    return sum(p.numel() for p in model.parameters())


def preprocessor(folder, edge, **changes):
    """`preprocessor_config.json` as today's image processors save it."""
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    edges = {"size": {"shortest_edge": edge}, "crop_size": {"height": edge, "width": edge}}
    CLIPImageProcessorPil(**{**edges, **changes}).save_pretrained(folder)
    path = folder / "preprocessor_config.json"
    record = json.loads(path.read_text())
    record["image_processor_type"] = record["image_processor_type"].removesuffix("Pil")
    write_json(path, record)


def saved_state(model, folder):
    """The state dict under the names `save_pretrained` writes to disk (they differ from the names in memory)."""
    model.save_pretrained(folder, max_shard_size="1GB")
    path = folder / "model.safetensors"
    state = OrderedDict(safetensors.torch.load_file(path))
    path.unlink()
    return state
