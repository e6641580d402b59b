"""Makes `gradients/`: the loss and every gradient of one training step, and the losses of 20 steps of AdamW, by transformers and torch.

The models are the committed folders `altclip-hf` and `chinese-clip-hf` of `models/`; the loss is CLIP's (symmetric InfoNCE with the learned
scale, Radford et al. 2021), without dropout. Everything is computed in f64, so that the goldens have no rounding of their own, and stored in
f32. Needs the committed folders only, so that it can run alone:

    python make_gradients.py

README.md says what is in the files.
"""

import json
import math
import shutil
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F
import transformers

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "gradients"
FAMILIES = {
    # The class, the padding id (never a token of a text) and the seed of the batches.
    "altclip-hf": (transformers.AltCLIPModel, 1, 501),
    "chinese-clip-hf": (transformers.ChineseCLIPModel, 0, 502),
}
BATCHES, PAIRS, LONGEST = 4, 6, 14
STEPS, WARM_UP = 20, 4
ADAMW = {"lr": 2e-3, "betas": [0.9, 0.98], "eps": 1e-6, "weight_decay": 0.2}
CLIP_NORM = 1.0
# Upstream clamps the logarithm of the scale after each step: 0 <= logit_scale <= ln 100.
SCALE_RANGE = [0.0, math.log(100)]


def make_batch(generator, vocabulary, pad, size):
    """Pictures of noise, and texts of random ids: one of two tokens, one of the longest, the others between."""
    lengths = [2, LONGEST, *torch.randint(3, LONGEST, (PAIRS - 2,), generator=generator).tolist()]
    ids = torch.full((PAIRS, LONGEST), pad)
    for row, length in zip(ids, lengths):
        row[:length] = torch.randint(2, vocabulary, (length,), generator=generator)
    pixels = torch.randn((PAIRS, 3, size, size), generator=generator)
    return {"pixel_values": pixels, "input_ids": ids, "lengths": torch.tensor(lengths)}


def features(model, batch):
    """Projected features of both towers, not normalised; gradients of them are kept."""
    mask = (torch.arange(LONGEST) < batch["lengths"][:, None]).long()
    image = model.get_image_features(pixel_values=batch["pixel_values"].double())
    text = model.get_text_features(input_ids=batch["input_ids"], attention_mask=mask)
    image, text = (x if torch.is_tensor(x) else x.pooler_output for x in (image, text))
    image.retain_grad()
    text.retain_grad()
    return image, text, mask


def clip_loss(model, image, text):
    logits = model.logit_scale.exp() * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T
    targets = torch.arange(PAIRS)
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2


def load(kind, name):
    # Not eager: that one takes its softmax in f32.
    return kind.from_pretrained(HERE / "models" / name, attn_implementation="sdpa", dtype=torch.float64).eval()


def in_file(name, stored):
    """The file's name of a parameter: transformers 5 saves some `encoder.layers.N` as `encoder.layer.N`."""
    return name if name in stored else name.replace(".encoder.layers.", ".encoder.layer.")


def one_step(model, batch):
    image, text, mask = features(model, batch)
    loss = clip_loss(model, image, text)
    loss.backward()
    with torch.no_grad():
        own = model(input_ids=batch["input_ids"], attention_mask=mask, pixel_values=batch["pixel_values"].double(), return_loss=True)
    assert abs(own.loss.item() - loss.item()) < 1e-6, f"transformers' own loss is {own.loss}, not {loss}"
    tensors = {"image_embeds": image, "text_embeds": text, "d_image_embeds": image.grad, "d_text_embeds": text.grad}
    return loss.item(), {k: v.detach().float().contiguous() for k, v in tensors.items()}


def learning_rate(step):
    """Linear warm-up, then a cosine to zero at the end; `step` from 0."""
    if step < WARM_UP:
        return ADAMW["lr"] * (step + 1) / WARM_UP
    done = (step - WARM_UP) / (STEPS - WARM_UP)
    return ADAMW["lr"] * 0.5 * (1 + math.cos(math.pi * done))


def train(model, batches):
    """20 steps of AdamW; matrices and tables decay, vectors and the scale do not."""
    named = [(name, p) for name, p in model.named_parameters()]
    decayed = [p for _, p in named if p.ndim >= 2]
    others = [p for _, p in named if p.ndim < 2]
    groups = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(
        groups, lr=ADAMW["lr"], betas=tuple(ADAMW["betas"]), eps=ADAMW["eps"], weight_decay=ADAMW["weight_decay"]
    )
    run = {"losses": [], "learning_rates": [], "gradient_norms": [], "logit_scales": []}
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step)
        optimiser.zero_grad()
        image, text, _ = features(model, batches[step % BATCHES])
        loss = clip_loss(model, image, text)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimiser.step()
        with torch.no_grad():
            model.logit_scale.clamp_(*SCALE_RANGE)
        run["losses"].append(loss.item())
        run["learning_rates"].append(learning_rate(step))
        run["gradient_norms"].append(norm.item())
        run["logit_scales"].append(model.logit_scale.item())
    run["decayed"] = [name for name, p in named if p.ndim >= 2]
    run["not_decayed"] = [name for name, p in named if p.ndim < 2]
    return run


def make(name, kind, pad, seed):
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    model = load(kind, name)
    generator = torch.Generator().manual_seed(seed)
    sizes = model.config.text_config.vocab_size, pad, model.config.vision_config.image_size
    batches = [make_batch(generator, *sizes) for _ in range(BATCHES)]

    loss, step = one_step(model, batches[0])
    # A file of gradients that loads as the model does: the same names, shapes and configuration.
    stored = safetensors.torch.load_file(HERE / "models" / name / "model.safetensors")
    found = {k: p.grad for k, p in model.named_parameters() if p.grad is not None}
    found = {in_file(k, stored): v for k, v in found.items()}
    assert set(found) == set(stored), f"gradients and tensors differ: {sorted(set(found) ^ set(stored))}"
    gradients = {k: found[k].float().contiguous() for k in stored}
    safetensors.torch.save_file(gradients, folder / "model.safetensors")
    shutil.copyfile(HERE / "models" / name / "config.json", folder / "config.json")
    inputs = {k: torch.stack([batch[k] for batch in batches]) for k in batches[0]}
    safetensors.torch.save_file({**step, **inputs}, folder / "step.safetensors")

    run = train(load(kind, name), batches)
    for group in ("decayed", "not_decayed"):
        run[group] = sorted(in_file(k, stored) for k in run[group])
    record = {
        "model": f"models/{name}",
        "loss": loss,
        "batches": BATCHES,
        "steps": STEPS,
        "optimiser": {"name": "AdamW", **ADAMW},
        "clip_norm": CLIP_NORM,
        "logit_scale_range": SCALE_RANGE,
        **run,
    }
    (folder / "run.json").write_text(json.dumps(record, indent=1) + "\n")
    print(name, "loss", loss, "run", [round(x, 4) for x in run["losses"]], "norms", [round(x, 2) for x in run["gradient_norms"]])


def main():
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    for name, (kind, pad, seed) in FAMILIES.items():
        make(name, kind, pad, seed)


if __name__ == "__main__":
    main()
