"""Makes tests/golden/optim/: parameters after 20 steps of torch's AdamW and Muon with given gradients.

The gradients are given, so that nothing but the optimiser is compared: noise of very different sizes, some of it exactly 0. Runs of
`torch.optim.AdamW` (the single-tensor form, which `crates/train/src/optim/adamw.rs` follows operation by operation):

- `upstream`: cn_clip's settings of ViT-B/16 (betas .9/.98, eps 1e-6, wd 0.2), its warm-up and cosine, no clipping;
- `clipped`: gradients scaled by `clip_grad_norm_` to 1, eps 1e-8, betas .9/.999;
- `groups`: one parameter without decay and one with half the learning rate;
- `muon`: `torch.optim.Muon` for the matrix, with its Newton-Schulz iteration in f32 in place of bf16, and AdamW for the others.

    python tests/golden/make_optim.py
"""
import json
import math
from pathlib import Path

import torch
from safetensors.torch import save_file

FOLDER = Path(__file__).parent / "optim"
STEPS = 20
SHAPES = [[7, 5], [5], [3, 2, 4], []]
RUNS = {
    "upstream": {"lr": 5e-4, "betas": [0.9, 0.98], "eps": 1e-6, "weight_decay": 0.2, "warmup": 4, "clip": 0.0, "decays": [1, 1, 1, 1], "factors": [1, 1, 1, 1]},
    "clipped": {"lr": 1e-2, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.05, "warmup": 0, "clip": 1.0, "decays": [1, 1, 1, 1], "factors": [1, 1, 1, 1]},
    "groups": {"lr": 1e-2, "betas": [0.4, 0.9], "eps": 1e-6, "weight_decay": 0.1, "warmup": 3, "clip": 0.0, "decays": [1, 0, 1, 0], "factors": [1, 1, 0.5, 0.25]},
    "muon": {"kind": "muon", "lr": 1e-2, "betas": [0.9, 0.98], "eps": 1e-6, "weight_decay": 0.1, "warmup": 2, "clip": 1.0, "decays": [1, 1, 1, 1], "factors": [1, 1, 1, 1]},
}


def rate(run: dict, step: int) -> float:
    """cn_clip's `training/scheduler.py`."""
    warmup = run["warmup"]
    if step < warmup:
        return run["lr"] * (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (STEPS - warmup))) * run["lr"]


def main() -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(5)
    tensors = {}
    start, grads = [], []
    for i, shape in enumerate(SHAPES):
        start.append(torch.randn(shape, generator=generator))
        sizes = 10.0 ** torch.randint(-4, 2, [STEPS] + [1] * len(shape), generator=generator)
        noise = torch.randn([STEPS, *shape], generator=generator) * sizes
        noise[torch.rand(noise.shape, generator=generator) < 0.1] = 0
        grads.append(noise)
        tensors[f"start.{i}"], tensors[f"grads.{i}"] = start[i].clone(), noise
    for name, run in RUNS.items():
        params = [torch.nn.Parameter(p.clone()) for p in start]
        groups = [
            {"params": [p], "weight_decay": run["weight_decay"] if decays else 0.0}
            for p, decays in zip(params, run["decays"])
        ]
        optimisers = []
        if run.get("kind") == "muon":
            matrices = [group for group in groups if group["params"][0].ndim == 2]
            groups = [group for group in groups if group["params"][0].ndim != 2]
            # Its iteration asks for this type by name.
            torch.bfloat16 = torch.float32
            optimisers = [torch.optim.Muon(matrices, lr=run["lr"], momentum=0.95, adjust_lr_fn="match_rms_adamw")]
        adamw = torch.optim.AdamW(groups, lr=run["lr"], betas=run["betas"], eps=run["eps"], foreach=False, fused=False)
        for step in range(STEPS):
            for p, noise in zip(params, grads):
                p.grad = noise[step].clone()
            if run["clip"]:
                torch.nn.utils.clip_grad_norm_(params, run["clip"])
            for optimiser in [adamw, *optimisers]:
                for group, factor in zip(optimiser.param_groups, run["factors"]):
                    group["lr"] = rate(run, step) * factor
                optimiser.step()
        for i, p in enumerate(params):
            tensors[f"{name}.{i}"] = p.detach().clone()
    FOLDER.mkdir(exist_ok=True)
    save_file(tensors, FOLDER / "adamw.safetensors")
    settings = {"torch": torch.__version__.split("+")[0], "steps": STEPS, "shapes": SHAPES, "runs": RUNS}
    (FOLDER / "adamw.json").write_text(json.dumps(settings, indent=1) + "\n")


if __name__ == "__main__":
    main()
