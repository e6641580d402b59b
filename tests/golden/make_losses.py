"""Makes `losses/losses.json`: values and gradients of every loss, from PyTorch's formulas in f64.

    python make_losses.py

Losses that upstream publishes are written as it writes them: `ClipLoss` and `SigLipLoss` of open_clip 3.3.0 (`loss.py`), cn_clip 1.6.0's
distillation of pictures (`training/train.py`, where widths are equal), AltCLIP's three of the first stage (`modeling_kd.py` of
superhero-7/AltDiffusion). Gradients are autograd's, with respect to raw embeddings, which the formulas divide by their lengths.
"""

import json
from pathlib import Path

import torch
from torch.nn import functional as F

WIDTH = 6


def raw(generator, rows):
    """Rows of different lengths, rounded so that f32 holds them."""
    rows = torch.randn(rows, WIDTH, generator=generator, dtype=torch.float64) * torch.linspace(0.5, 2.0, rows, dtype=torch.float64)[:, None]
    return (rows * 64).round() / 64


def clip(a, b, scale, smoothing=0.0):
    """open_clip's ClipLoss; `smoothing` is cross_entropy's own."""
    logits = scale.exp() * F.normalize(a) @ F.normalize(b).T
    labels = torch.arange(len(a))
    one = F.cross_entropy(logits, labels, label_smoothing=smoothing)
    return (one + F.cross_entropy(logits.T, labels, label_smoothing=smoothing)) / 2


def own(groups, others):
    """The k-th of a group has the k-th of the other side, and so on round."""
    seen, found = {}, []
    for group in groups:
        members = [j for j, other in enumerate(others) if other == group]
        turn = seen.get(group, 0)
        seen[group] = turn + 1
        found.append(members[turn % len(members)] if members else None)
    return found


def one_way(logits, groups, others, duplicates):
    """Cross-entropy with soft targets, or with duplicates at minus infinity; rows without positives are left out."""
    right, same = own(groups, others), torch.tensor([[g == o for o in others] for g in groups])
    rows = [i for i, j in enumerate(right) if j is not None]
    if duplicates == "positive":
        targets = same[rows].double() / same[rows].sum(1, keepdim=True)
        return F.cross_entropy(logits[rows], targets)
    mask = same.clone()
    mask[rows, [right[i] for i in rows]] = False
    return F.cross_entropy(logits.masked_fill(mask, -torch.inf)[rows], torch.tensor([right[i] for i in rows]))


def grouped(a, b, scale, groups, others, duplicates):
    logits = scale.exp() * F.normalize(a) @ F.normalize(b).T
    return (one_way(logits, groups, others, duplicates) + one_way(logits.T, others, groups, duplicates)) / 2


def siglip(a, b, scale, bias, groups, others, duplicates):
    """open_clip's SigLipLoss, with labels from groups."""
    logits = scale.exp() * F.normalize(a) @ F.normalize(b).T + bias
    same = torch.tensor([[g == o for o in others] for g in groups])
    weights = torch.ones_like(logits)
    if duplicates == "ignored":
        forth, back = own(groups, others), own(others, groups)
        mine = torch.tensor([[forth[i] == j or back[j] == i for j in range(len(others))] for i in range(len(groups))])
        weights[same & ~mine] = 0
    labels = 2 * same.double() - 1
    return -(weights * F.logsigmoid(labels * logits)).sum() / max(len(a), len(b))


def record(name, loss, **tensors):
    loss.backward()
    case = {"name": name, "loss": loss.item()}
    for key, value in tensors.items():
        if isinstance(value, torch.Tensor):
            case[key] = value.detach().flatten().tolist()
            if value.requires_grad:
                case[f"d_{key}"] = value.grad.flatten().tolist()
        else:
            case[key] = value
    return case


def main():
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(181)
    cases = []

    def inputs(rows, columns):
        return raw(generator, rows).requires_grad_(), raw(generator, columns).requires_grad_()

    def number(value):
        return torch.tensor(float(value), dtype=torch.float64, requires_grad=True)

    a, b = inputs(5, 5)
    scale = number(2.65625)
    cases.append(record("clip", clip(a, b, scale), a=a, b=b, logit_scale=scale))
    a, b = inputs(5, 5)
    scale = number(4.59375)  # near the clamp: logits of about 100
    cases.append(record("clip", clip(a, b, scale), a=a, b=b, logit_scale=scale))
    a, b = inputs(6, 6)
    scale = number(1.5)
    cases.append(record("clip", clip(a, b, scale, 0.125), a=a, b=b, logit_scale=scale, smoothing=0.125))

    # Pairs with two captions of a picture and a caption of two pictures; groups of several texts and pictures; strangers.
    for groups, others in [([1, 2, 1, 3, 4], [1, 2, 1, 3, 4]), ([1, 1, 1, 2, 2, 9], [2, 1, 1, 7])]:
        for duplicates in ["positive", "ignored"]:
            a, b = inputs(len(groups), len(others))
            scale = number(2.0)
            loss = grouped(a, b, scale, groups, others, duplicates)
            cases.append(record("grouped", loss, a=a, b=b, logit_scale=scale, groups=groups, others=others, duplicates=duplicates))
            a, b = inputs(len(groups), len(others))
            scale, bias = number(2.302585), number(-10)
            loss = siglip(a, b, scale, bias, groups, others, duplicates)
            case = record("siglip", loss, a=a, b=b, logit_scale=scale, logit_bias=bias, groups=groups, others=others, duplicates=duplicates)
            cases.append(case)

    student, teacher = inputs(4, 4)
    teacher = teacher.detach()
    cases.append(record("mse", F.mse_loss(student, teacher), a=student, b=teacher))
    student = student.detach().clone().requires_grad_()
    cases.append(record("cosine", 1 - F.cosine_similarity(student, teacher).mean(), a=student, b=teacher))

    lines = ",\n".join(" " + json.dumps(case) for case in cases)
    folder = Path(__file__).resolve().parent / "losses"
    folder.mkdir(exist_ok=True)
    (folder / "losses.json").write_text(f'{{"width": {WIDTH}, "cases": [\n{lines}\n]}}\n')
    print(len(cases), "losses")


if __name__ == "__main__":
    main()
