"""Seeded noise for weights, pictures and token ids."""

import torch
from torch import nn


@torch.no_grad()
def randomise(model, seed, gain=1.4):
    """Fills parameters and batch-norm statistics with seeded noise that keeps activations near 1 and leaves nothing trivial.

    A `gain` above 1 keeps shallow models from sending every text and picture to nearly one vector.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(tensor, std, mean=0.0):
        tensor.copy_(torch.randn(tensor.shape, generator=generator) * std + mean)

    norms, embeddings = set(), set()
    for module in model.modules():
        if isinstance(module, (nn.LayerNorm, nn.BatchNorm2d)):
            norms.add(id(module.weight))
        if isinstance(module, nn.Embedding):
            embeddings.add(id(module.weight))
    for name, parameter in sorted(model.named_parameters()):
        last = name.split(".")[-1]
        if last == "logit_scale":
            parameter.fill_(2.9 + 0.3 * torch.rand((), generator=generator))
        elif id(parameter) in norms:
            normal(parameter, 0.2, 1.0)
        elif id(parameter) in embeddings or last in ("class_embedding", "positional_embedding"):
            normal(parameter, 0.7)
        elif parameter.ndim == 1:
            normal(parameter, 0.2)
        elif last in ("proj", "text_projection"):  # stored [in, out]
            normal(parameter, parameter.shape[0] ** -0.5)
        else:  # [out, in, ...]
            fan_in = parameter.numel() // parameter.shape[0]
            normal(parameter, gain * fan_in**-0.5)
    for _, module in sorted(model.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    if hasattr(getattr(model, "visual", None), "attnpool"):
        # The statistics of one batch, as training would have left them, then moved a little.
        model.train().visual(pictures(generator, 8, model.visual.input_resolution))
        for _, module in sorted(model.named_modules()):
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.add_(0.1 * torch.randn(module.running_mean.shape, generator=generator))
                module.running_var.mul_(0.7 + 0.6 * torch.rand(module.running_var.shape, generator=generator))
                module.num_batches_tracked.fill_(40000)
    return model.eval()


def pictures(generator, count, size):
    """Preprocessed pictures `[count, 3, size, size]`: coarse patches of colour under noise."""
    coarse = torch.randn((count, 3, 4, 4), generator=generator)
    coarse = nn.functional.interpolate(coarse, size=(size, size), mode="nearest")
    return coarse + 0.5 * torch.randn((count, 3, size, size), generator=generator)


def random_ids(seed, lengths, first, last, low, high):
    """One list of token ids for each length: `first`, noise in `low..high`, `last`."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for length in lengths:
        body = torch.randint(low, high, (length - 2,), generator=generator).tolist()
        rows.append([first, *body, last])
    return rows
