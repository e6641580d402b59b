"""What all Hugging Face shaped models share."""

import torch

from .bake import Taps, bake, count


def watch_hf_vision(taps, model):
    vision = model.vision_model
    taps.watch("image.embed", vision.pre_layrnorm)
    taps.watch_blocks("image", vision.encoder.layers)
    taps.watch("image.final", model.visual_projection, before=True)


def check_padding(model, ids, pad, wanted):
    """The padded, masked batch of transformers must agree with the unpadded texts."""
    width = max(map(len, ids))
    batch = torch.tensor([row + [pad] * (width - len(row)) for row in ids])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids])
    difference = (model.get_text_features(input_ids=batch, attention_mask=mask).pooler_output - wanted).abs().max()
    assert difference < 1e-5, f"padding changes the text features by {difference}"


def hf_runs(model):
    image = lambda pixels: model.get_image_features(pixel_values=pixels).pooler_output  # noqa: E731
    text = lambda row: model.get_text_features(  # noqa: E731
        input_ids=torch.tensor([row]), attention_mask=torch.ones(1, len(row), dtype=torch.int64)
    ).pooler_output[0]
    return image, text


def bake_hf(folder, model, *, ids, pad, watch_text, **rest):
    """`bake` for a transformers model with `get_image_features` and `get_text_features`."""
    image, text = hf_runs(model)
    with torch.no_grad():
        check_padding(model, ids, pad, torch.stack([text(row) for row in ids]))
    taps = Taps()
    watch_hf_vision(taps, model)
    watch_text(taps, model)
    bake(folder, ids=ids, pad=pad, image=image, text=text, taps=taps, logit_scale=model.logit_scale, parameters=count(model), **rest)


def load_eager(kind, folder):
    return kind.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
