"""CLIP as OpenAI's `.pt` files hold it: TorchScript archives and the state dicts people save from them."""

from collections import OrderedDict

import torch

from .archive import drop_debug_records
from .bake import Taps, bake, count, fresh
from .bare import openai_clip
from .noise import random_ids, randomise


def watch_openai_vision(taps, visual):
    """OpenAI's and cn_clip's towers have the same module names."""
    if hasattr(visual, "attnpool"):
        taps.watch("image.stem", visual.avgpool, picture=True)
        for index in (1, 2, 3, 4):
            taps.watch(f"image.layer{index}", getattr(visual, f"layer{index}"), picture=True)
    else:
        taps.watch("image.embed", visual.ln_pre)
        taps.watch_blocks("image", visual.transformer.resblocks, sequence_first=True)
        taps.watch("image.final", visual.ln_post)


def openai_model(sizes, seed):
    model = randomise(openai_clip.CLIP(**sizes), seed)
    openai_clip.convert_weights(model)
    return model


def bake_openai(folder, state, sizes, seed, layout, lengths, notes):
    model = openai_clip.build_model(OrderedDict(state)).float()
    context, vocabulary = sizes["context_length"], sizes["vocab_size"]
    pad_row = lambda row: torch.tensor([row + [0] * (context - len(row))])  # noqa: E731
    taps = Taps()
    watch_openai_vision(taps, model.visual)
    taps.watch("text.embed", model.transformer, before=True, sequence_first=True)
    taps.watch_blocks("text", model.transformer.resblocks, sequence_first=True)
    taps.watch("text.norm", model.ln_final)
    ids = random_ids(seed, lengths, vocabulary - 2, vocabulary - 1, 1, vocabulary - 2)

    def final(row):
        hidden = model.ln_final(model.transformer((model.token_embedding(pad_row(row)) + model.positional_embedding).permute(1, 0, 2)))
        return {"text.final": hidden.permute(1, 0, 2)[:, len(row) - 1]}

    bake(folder, family="clip", layout=layout, seed=seed, size=sizes["image_resolution"], ids=ids, image=model.encode_image,
         text=lambda row: model.encode_text(pad_row(row))[0], extra=final, taps=taps, logit_scale=model.logit_scale,
         parameters=count(model), sizes=sizes, notes=[*notes, "heads are width / 64; all sizes are inferred from shapes",
                                                      "reference features are f32 arithmetic on the f16 weights of the file"])


def save_torchscript(model, sizes, path):
    """Traces the model with the three size buffers that OpenAI's archives carry in their state dict."""
    del model.context_length, model.vocab_size
    for key, value in (("input_resolution", sizes["image_resolution"]), ("context_length", sizes["context_length"]),
                       ("vocab_size", sizes["vocab_size"])):
        model.register_buffer(key, torch.tensor(value))
    pixels = torch.zeros(1, 3, sizes["image_resolution"], sizes["image_resolution"])
    ids = torch.zeros(1, sizes["context_length"], dtype=torch.int64)
    inputs = {"forward": (pixels, ids), "encode_image": (pixels,), "encode_text": (ids,)}
    torch.jit.save(torch.jit.trace_module(model, inputs, check_trace=False), str(path))
    drop_debug_records(path)
    return torch.jit.load(str(path)).state_dict()


def clip_openai_vit(name):
    sizes = dict(embed_dim=32, image_resolution=24, vision_layers=1, vision_width=64, vision_patch_size=8, context_length=12,
                 vocab_size=70, transformer_width=128, transformer_heads=2, transformer_layers=1)
    folder = fresh(name)
    state = save_torchscript(openai_model(sizes, 111), sizes, folder / "ViT-tiny.pt")
    bake_openai(folder, state, sizes, 111, "openai, torchscript archive", [2, 6, 12, 4], ["mixed f16 and f32 as OpenAI's files"])


def clip_openai_vit_state(name):
    sizes = dict(embed_dim=24, image_resolution=24, vision_layers=1, vision_width=64, vision_patch_size=8, context_length=10,
                 vocab_size=120, transformer_width=64, transformer_heads=1, transformer_layers=2)
    folder = fresh(name)
    torch.save(openai_model(sizes, 112).state_dict(), folder / "ViT-tiny-state.pt")
    state = torch.load(folder / "ViT-tiny-state.pt", weights_only=True)
    bake_openai(folder, state, sizes, 112, "openai, plain state dict", [2, 3, 10, 7],
                ["what `torch.save(model.state_dict())` leaves: no archive code and none of the three size tensors"])


def clip_openai_rn(name):
    sizes = dict(embed_dim=28, image_resolution=64, vision_layers=(1, 2, 1, 1), vision_width=4, vision_patch_size=None,
                 context_length=11, vocab_size=130, transformer_width=64, transformer_heads=1, transformer_layers=1)
    folder = fresh(name)
    state = save_torchscript(openai_model(sizes, 116), sizes, folder / "RN-tiny.pt")
    bake_openai(folder, state, sizes, 116, "openai, torchscript archive, residual tower", [2, 5, 11, 8],
                ["64 pixels: the attention pool has 2 x 2 + 1 tokens and 128 / 64 = 2 heads"])
