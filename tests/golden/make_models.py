"""Makes the tiny random models of `models/`: one folder for each family and file layout, with inputs, taps and outputs.

Everything is computed by the *reference* code (transformers, cn_clip, OpenAI's clip/model.py, diffusers' text encoder of
AltDiffusion); nothing of hua takes part. Each model is built, filled with seeded noise, saved in its real layout, read back
from the file by the reference loader, and only then run, so the goldens belong to the bytes on disk.

    python make_models.py              # all folders
    python make_models.py clip-hf ...  # some

README.md says what each folder holds and what the tensors of `golden.safetensors` are.
"""

import importlib.util
import json
import re
import shutil
import sys
import types
import warnings
from collections import OrderedDict
from pathlib import Path

import safetensors
import safetensors.torch
import tokenizers
import torch
import transformers
from torch import nn

HERE = Path(__file__).resolve().parent
MODELS = HERE / "models"


# ---------------------------------------------------------------------------------------------------------------------
# Reference code that cannot be imported as a whole (it would want torchvision, timm, lmdb, pkg_resources)


def import_bare(package):
    """Registers `package` (dotted) without running its `__init__.py`, so that single modules of it can be imported."""
    path = None
    name = ""
    for part in package.split("."):
        name = f"{name}.{part}" if name else part
        path = Path(importlib.util.find_spec(part).submodule_search_locations[0]) if path is None else path / part
        module = types.ModuleType(name)
        module.__path__ = [str(path)]
        sys.modules[name] = module
    return module


import_bare("clip")
_cn_package = import_bare("cn_clip.clip")

from cn_clip.clip.bert_tokenizer import FullTokenizer  # noqa: E402

_cn_package._tokenizer = FullTokenizer()

import clip.model as openai_clip  # noqa: E402
import cn_clip.clip.model as cn_clip_model  # noqa: E402


def alt_diffusion_text_module():
    """diffusers' deprecated `modeling_roberta_series.py`, loaded as a lone file."""
    root = Path(importlib.util.find_spec("diffusers").submodule_search_locations[0])
    path = root / "pipelines/deprecated/alt_diffusion/modeling_roberta_series.py"
    spec = importlib.util.spec_from_file_location("modeling_roberta_series", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


# ---------------------------------------------------------------------------------------------------------------------
# Noise


@torch.no_grad()
def randomise(model, seed):
    """Fills parameters and batch-norm statistics with seeded noise that keeps activations near 1 and leaves nothing trivial."""
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
            normal(parameter, 1.4 * fan_in**-0.5)  # above 1, or every text and picture would end at nearly one vector
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


# ---------------------------------------------------------------------------------------------------------------------
# Taps


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


# ---------------------------------------------------------------------------------------------------------------------
# Goldens


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
    dumped = re.sub(r"\[[\s\d,]*\]", lambda m: " ".join(m[0].split()).replace("[ ", "[").replace(" ]", "]"), json.dumps(record, indent=1, ensure_ascii=False))
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


# ---------------------------------------------------------------------------------------------------------------------
# Tiny vocabularies


BERT_VOCABULARY = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] "
    "一 丁 七 三 上 下 不 两 个 中 丘 为 九 乐 二 云 五 人 今 他 你 八 六 兔 出 刚 十 卡 只 可 吃 味 和 四 在 地 大 天 女 好 妙 子 小 尼 山 "
    "年 快 我 手 木 杰 树 海 火 狗 猫 白 的 皮 看 种 红 老 花 草 蓝 蛙 跑 车 过 金 雨 面 鱼 鸟 龙 龟 "
    "a b c d e f g h i j k l m n o p q r s t u v w x y z 0 1 2 3 4 5 6 7 8 9 , . ! ? ， 。 ： “ ” \" - "
    "##a ##e ##i ##n ##s ##ing ##2 cat dog red two"
).split()
BERT_TEXTS = ["", "皮卡丘", "一只小猫和两个dogs在海上看鱼", "Red cat, 2 dogs!"]

XLMR_PIECES = (
    "▁ a e i o u s t r n l d c p m g h y b k f w v ▁a ▁the ▁of ▁cat ▁dog ▁two ▁red ▁sea ▁un ▁le ▁chat ▁gato ▁in er es on "
    "猫 狗 海 红 一 只 两 的 在 看 ▁一 ▁红 虹 の 고 양 이 무 지 개 к о ш а р д у г . , ! ? 0 1 2 3 9 - ▁ра га قو س ▁قوس"
).split()
XLMR_TEXTS = ["", "红的猫", "a red cat, the dog on le chat", "무지개 радуга 虹 2"]


def bert_ids(vocabulary_path):
    tokenizer = FullTokenizer(vocab_file=str(vocabulary_path))
    wrap = lambda text: ["[CLS]", *tokenizer.tokenize(text), "[SEP]"]  # noqa: E731
    return tokenizer, [tokenizer.convert_tokens_to_ids(wrap(text)) for text in BERT_TEXTS]


def bert_vocabulary(folder):
    path = folder / "vocab.txt"
    path.write_text("\n".join(BERT_VOCABULARY) + "\n")
    tokenizer, ids = bert_ids(path)
    write_json(folder / "tokenizer_config.json", {"do_lower_case": True, "tokenizer_class": "BertTokenizer"})
    return tokenizer, ids


def xlmr_tokenizer(folder):
    """A Unigram `tokenizer.json` with XLM-R's special ids: `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, `<mask>` last."""
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [(piece, -2.0 - 0.03125 * i + 0.75 * (len(piece) - 1)) for i, piece in enumerate(XLMR_PIECES)]
    pieces.append(("<mask>", 0.0))
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    tokenizer.add_special_tokens(
        [AddedToken(t, special=True, normalized=False, lstrip=t == "<mask>") for t in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "mask_token": "<mask>", "model_max_length": 18,
         "pad_token": "<pad>", "sep_token": "</s>", "tokenizer_class": "XLMRobertaTokenizer", "unk_token": "<unk>"},
    )
    return tokenizer.get_vocab_size(), [tokenizer.encode(text).ids for text in XLMR_TEXTS]


# ---------------------------------------------------------------------------------------------------------------------
# What all Hugging Face shaped models share


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


# ---------------------------------------------------------------------------------------------------------------------
# CLIP


def watch_clip_text(taps, model):
    text = model.text_model
    taps.watch("text.embed", text.embeddings)
    taps.watch_blocks("text", text.encoder.layers)
    taps.watch("text.norm", text.final_layer_norm)
    taps.watch("text.final", model.text_projection, before=True)


def clip_hf(name="clip-hf"):
    sizes = {
        "projection_dim": 24,
        "text_config": dict(vocab_size=180, hidden_size=40, intermediate_size=48, num_hidden_layers=2, num_attention_heads=5,
                            max_position_embeddings=16, hidden_act="quick_gelu", bos_token_id=178, eos_token_id=2, pad_token_id=1,
                            projection_dim=512),
        "vision_config": dict(hidden_size=24, intermediate_size=56, num_hidden_layers=3, num_attention_heads=3, image_size=32,
                              patch_size=8, hidden_act="quick_gelu", projection_dim=512),
    }
    folder = fresh(name)
    randomise(transformers.CLIPModel(transformers.CLIPConfig(**sizes)), 101).save_pretrained(folder)
    preprocessor(folder, 32)
    bake_hf(
        folder, load_eager(transformers.CLIPModel, folder), family="clip", layout="hugging face, one safetensors file", seed=101,
        size=32, sizes=sizes, ids=random_ids(7, [2, 5, 16, 9], 178, 179, 3, 178), pad=179, watch_text=watch_clip_text,
        notes=["`eos_token_id` 2 is the legacy value: the pooled token is the one with the highest id",
               "nested `projection_dim` 512 is noise; the top-level 24 counts"],
    )


def clip_hf_eos(name="clip-hf-eos"):
    sizes = {
        "projection_dim": 36,
        "text_config": dict(vocab_size=170, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=2,
                            max_position_embeddings=14, hidden_act="gelu", layer_norm_eps=1e-3, bos_token_id=148, eos_token_id=149,
                            pad_token_id=149),
        "vision_config": dict(hidden_size=40, intermediate_size=64, num_hidden_layers=2, num_attention_heads=5, image_size=24,
                              patch_size=8, hidden_act="quick_gelu", layer_norm_eps=1e-5),
    }
    folder = fresh(name)
    randomise(transformers.CLIPModel(transformers.CLIPConfig(**sizes)), 102).to(torch.float16).save_pretrained(folder, max_shard_size="50KB")
    assert (folder / "model.safetensors.index.json").exists()
    preprocessor(folder, 24)
    bake_hf(
        folder, load_eager(transformers.CLIPModel, folder), family="clip", layout="hugging face, f16, sharded safetensors with index",
        seed=102, size=24, sizes=sizes, ids=random_ids(8, [2, 14, 4, 7], 148, 149, 150, 170), pad=149, watch_text=watch_clip_text,
        notes=["`eos_token_id` is 149 and ordinary ids are higher: pooling is the first end-of-text, not the highest id",
               "text uses erf-GELU with eps 1e-3, vision QuickGELU with eps 1e-5, so a swapped setting shows"],
    )


# ---------------------------------------------------------------------------------------------------------------------
# OpenAI's `.pt`


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
    return torch.jit.load(str(path)).state_dict()


def clip_openai_vit(name="clip-openai-vit"):
    sizes = dict(embed_dim=32, image_resolution=24, vision_layers=1, vision_width=64, vision_patch_size=8, context_length=12,
                 vocab_size=70, transformer_width=128, transformer_heads=2, transformer_layers=1)
    folder = fresh(name)
    state = save_torchscript(openai_model(sizes, 111), sizes, folder / "ViT-tiny.pt")
    bake_openai(folder, state, sizes, 111, "openai, torchscript archive", [2, 6, 12, 4], ["mixed f16 and f32 as OpenAI's files"])


def clip_openai_vit_state(name="clip-openai-vit-state"):
    sizes = dict(embed_dim=24, image_resolution=24, vision_layers=1, vision_width=64, vision_patch_size=8, context_length=10,
                 vocab_size=120, transformer_width=64, transformer_heads=1, transformer_layers=2)
    folder = fresh(name)
    torch.save(openai_model(sizes, 112).state_dict(), folder / "ViT-tiny-state.pt")
    state = torch.load(folder / "ViT-tiny-state.pt", weights_only=True)
    bake_openai(folder, state, sizes, 112, "openai, plain state dict", [2, 3, 10, 7],
                ["what `torch.save(model.state_dict())` leaves: no archive code and none of the three size tensors"])


def clip_openai_rn(name="clip-openai-rn"):
    sizes = dict(embed_dim=28, image_resolution=64, vision_layers=(1, 2, 1, 1), vision_width=4, vision_patch_size=None,
                 context_length=11, vocab_size=130, transformer_width=64, transformer_heads=1, transformer_layers=1)
    folder = fresh(name)
    state = save_torchscript(openai_model(sizes, 116), sizes, folder / "RN-tiny.pt")
    bake_openai(folder, state, sizes, 116, "openai, torchscript archive, residual tower", [2, 5, 11, 8],
                ["64 pixels: the attention pool has 2 x 2 + 1 tokens and 128 / 64 = 2 heads"])


# ---------------------------------------------------------------------------------------------------------------------
# Chinese-CLIP


def watch_bert_text(taps, bert, layers, projection=None):
    taps.watch("text.embed", bert.embeddings)
    taps.watch_blocks("text", layers)
    if projection is not None:
        taps.watch("text.final", projection, before=True)


def watch_chinese_text(taps, model):
    watch_bert_text(taps, model.text_model, model.text_model.encoder.layer, model.text_projection)


def chinese_text_config(**sizes):
    return dict(vocab_size=len(BERT_VOCABULARY), type_vocab_size=2, hidden_act="gelu", layer_norm_eps=1e-12, pad_token_id=0, **sizes)


def chinese_preprocessor(folder, size):
    preprocessor(folder, size, size={"height": size, "width": size}, do_center_crop=False)
    path = folder / "preprocessor_config.json"
    record = {**json.loads(path.read_text()), "image_processor_type": "ChineseCLIPImageProcessor"}
    record.pop("crop_size", None)
    write_json(path, record)


def chinese_clip_hf(name="chinese-clip-hf"):
    sizes = {
        "projection_dim": 28,
        "text_config": chinese_text_config(hidden_size=40, intermediate_size=56, num_hidden_layers=2, num_attention_heads=5,
                                           max_position_embeddings=24),
        "vision_config": dict(hidden_size=24, intermediate_size=56, num_hidden_layers=3, num_attention_heads=3, image_size=32,
                              patch_size=8, hidden_act="quick_gelu", projection_dim=512),
    }
    folder = fresh(name)
    randomise(transformers.ChineseCLIPModel(transformers.ChineseCLIPConfig(**sizes)), 121).save_pretrained(folder)
    chinese_preprocessor(folder, 32)
    _, ids = bert_vocabulary(folder)
    bake_hf(folder, load_eager(transformers.ChineseCLIPModel, folder), family="chinese-clip", layout="hugging face, one safetensors file",
            seed=121, size=32, sizes=sizes, ids=ids, pad=0, texts=BERT_TEXTS, watch_text=watch_chinese_text,
            notes=["pooled token is [CLS]; no pooler"])


def with_position_ids(state, buffers):
    """Adds the int64 `position_ids` buffers that checkpoints of 2022 persist."""
    for key, length in buffers.items():
        state[key] = torch.arange(length, dtype=torch.int64).expand((1, -1)).clone()
    return state


def chinese_clip_hf_bin(name="chinese-clip-hf-bin"):
    sizes = {
        "projection_dim": 20,
        "text_config": chinese_text_config(hidden_size=24, intermediate_size=40, num_hidden_layers=3, num_attention_heads=3,
                                           max_position_embeddings=22),
        "vision_config": dict(hidden_size=40, intermediate_size=56, num_hidden_layers=2, num_attention_heads=2, image_size=24,
                              patch_size=8, hidden_act="quick_gelu"),
    }
    folder = fresh(name)
    state = saved_state(randomise(transformers.ChineseCLIPModel(transformers.ChineseCLIPConfig(**sizes)), 122).to(torch.bfloat16), folder)
    with_position_ids(state, {"text_model.embeddings.position_ids": 22, "vision_model.embeddings.position_ids": 10})
    torch.save(state, folder / "pytorch_model.bin")
    chinese_preprocessor(folder, 24)
    _, ids = bert_vocabulary(folder)
    bake_hf(folder, load_eager(transformers.ChineseCLIPModel, folder), family="chinese-clip", layout="hugging face, pickle of 2022, bf16",
            seed=122, size=24, sizes=sizes, ids=ids, pad=0, texts=BERT_TEXTS, watch_text=watch_chinese_text,
            notes=["two int64 `position_ids` buffers that no module reads"])


def cn_text_sizes(hidden, layers, heads, feed_forward, positions=24):
    return dict(vocab_size=len(BERT_VOCABULARY), text_attention_probs_dropout_prob=0.1, text_hidden_act="gelu",
                text_hidden_dropout_prob=0.1, text_hidden_size=hidden, text_initializer_range=0.02,
                text_intermediate_size=feed_forward, text_max_position_embeddings=positions, text_num_attention_heads=heads,
                text_num_hidden_layers=layers, text_type_vocab_size=2)


def bake_cn(folder, state, sizes, tokenizer, ids, *, seed, layout, notes):
    """Loads a stripped cn_clip state dict strictly into cn_clip's own class and runs it in f32."""
    model = cn_clip_model.CLIP(**sizes, tokenizer=tokenizer).float()
    model.load_state_dict({k: v for k, v in state.items() if "bert.pooler" not in k}, strict=True)
    model.eval()
    taps = Taps()
    watch_openai_vision(taps, model.visual)
    watch_bert_text(taps, model.bert, model.bert.encoder.layer)
    text_final = lambda row: {"text.final": model.bert(torch.tensor([row]))[0][:, 0]}  # noqa: E731
    bake(folder, family="chinese-clip", layout=layout, seed=seed, size=sizes["image_resolution"], ids=ids, image=model.encode_image,
         text=lambda row: model.encode_text(torch.tensor([row]))[0], extra=text_final, taps=taps, logit_scale=model.logit_scale,
         parameters=count(model), sizes=sizes, texts=BERT_TEXTS, notes=notes)


def cn_checkpoint(state, epoch, step, name, prefix="module.", **more):
    return {"epoch": epoch, "step": step, "name": name, "state_dict": OrderedDict((prefix + k, v) for k, v in state.items()), **more}


def strip(state, *prefixes):
    for prefix in prefixes:
        state = OrderedDict((k.removeprefix(prefix), v) for k, v in state.items())
    return state


CN_NOTES = ["no configuration beside the weights: sizes come from shapes, heads are width / 64 in both towers"]


def chinese_clip_pt(name="chinese-clip-pt"):
    sizes = dict(embed_dim=24, image_resolution=24, vision_layers=1, vision_width=128, vision_patch_size=8,
                 **cn_text_sizes(hidden=64, layers=2, heads=1, feed_forward=80))
    folder = fresh(name)
    tokenizer, ids = bert_vocabulary(folder)
    model = randomise(cn_clip_model.CLIP(**sizes, tokenizer=tokenizer), 131)
    cn_clip_model.convert_weights(model)
    path = folder / "clip_cn_vit-tiny.pt"
    torch.save(cn_checkpoint(model.state_dict(), 7, 40000, "tiny"), path)
    state = strip(torch.load(path, weights_only=True)["state_dict"], "module.")
    bake_cn(folder, state, sizes, tokenizer, ids, seed=131, layout="cn_clip, `module.` prefix",
            notes=[*CN_NOTES, "cn_clip's f16 layout: visual norms, embeddings and `logit_scale` f32, everything else (all of BERT) f16"])


def chinese_clip_pt_bare(name="chinese-clip-pt-bare"):
    sizes = dict(embed_dim=20, image_resolution=24, vision_layers=1, vision_width=64, vision_patch_size=8,
                 **cn_text_sizes(hidden=64, layers=1, heads=1, feed_forward=96))
    folder = fresh(name)
    tokenizer, ids = bert_vocabulary(folder)
    state = randomise(cn_clip_model.CLIP(**sizes, tokenizer=tokenizer), 132).state_dict()
    state["text_projection"] = state["text_projection"].t().contiguous().t()
    assert not state["text_projection"].is_contiguous()
    optimizer = {
        "state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(20), "exp_avg_sq": torch.zeros(20)}},
        "param_groups": [{"lr": 1e-5, "betas": (0.9, 0.98), "eps": 1e-6, "amsgrad": False, "foreach": None, "params": [0]}],
    }
    path = folder / "epoch_latest.pt"
    torch.save(cn_checkpoint(state, 3, 120, "finetuned", prefix="", optimizer=optimizer), path)
    state = torch.load(path, weights_only=True)["state_dict"]
    bake_cn(folder, state, sizes, tokenizer, ids, seed=132, layout="cn_clip, no prefix, with optimizer state",
            notes=[*CN_NOTES, "f32; `text_projection` is a transposed (strided) view of its storage, as a converted file may hold"])


def chinese_clip_rn50(name="chinese-clip-rn50"):
    sizes = dict(embed_dim=32, image_resolution=32, vision_layers=[1, 1, 2, 1], vision_width=4, vision_patch_size=None,
                 **cn_text_sizes(hidden=128, layers=1, heads=2, feed_forward=64))
    folder = fresh(name)
    tokenizer, ids = bert_vocabulary(folder)
    model = randomise(cn_clip_model.CLIP(**sizes, tokenizer=tokenizer), 135)
    cn_clip_model.convert_weights(model)
    state = model.state_dict()
    state["bert.pooler.dense.weight"] = torch.zeros(128, 128, dtype=torch.float16)
    state["bert.pooler.dense.bias"] = torch.zeros(128, dtype=torch.float16)
    path = folder / "clip_cn_rn-tiny.pt"
    torch.save(cn_checkpoint(state, 12, 9000, "tiny-rn"), path)
    state = strip(torch.load(path, weights_only=True)["state_dict"], "module.")
    bake_cn(folder, state, sizes, tokenizer, ids, seed=135, layout="cn_clip, `module.` prefix, residual tower",
            notes=[*CN_NOTES, "32 pixels: the attention pool has 128 / 64 = 2 heads and 1 + 1 tokens",
                   "`bert.pooler.dense.*` is present and must be ignored; `num_batches_tracked` is int64"])


def chinese_clip_modelscope(name="chinese-clip-modelscope"):
    vision = dict(embed_dim=28, image_resolution=32, vision_layers=2, vision_width=48, vision_head_width=16, vision_patch_size=8)
    text = cn_text_sizes(hidden=40, layers=3, heads=5, feed_forward=48)
    folder = fresh(name)
    tokenizer, ids = bert_vocabulary(folder)
    (folder / "tokenizer_config.json").unlink()
    write_json(folder / "vision_model_config.json", vision)
    write_json(folder / "text_model_config.json", text)
    write_json(folder / "configuration.json", {
        "framework": "pytorch", "task": "multi-modal-embedding", "pipeline": {"type": "multi-modal-embedding"},
        "pretrained_model": {"model_name": "tiny"}, "dataset": {"column_map": {"img": "image", "text": "query"}},
        "train": {"max_epochs": 1, "use_fp16": True, "optimizer": {"type": "AdamW"}, "optimizer_hparams": {"lr": 2.5e-5}},
        "preprocessor": [],
    })
    model = randomise(cn_clip_model.CLIP(**vision, **text, tokenizer=tokenizer), 134)
    cn_clip_model.convert_weights(model)
    state = model.state_dict()
    path = folder / "pytorch_model.bin"
    torch.save({"state_dict": OrderedDict((f"module.clip_model.{k}", v) for k, v in state.items())}, path)
    state = strip(torch.load(path, weights_only=True)["state_dict"], "module.", "clip_model.")
    bake_cn(folder, state, {**vision, **text}, tokenizer, ids, seed=134, layout="modelscope",
            notes=["sizes and heads come from the two `*_model_config.json`; keys start with `module.clip_model.`",
                   "cn_clip's f16 layout"])


# ---------------------------------------------------------------------------------------------------------------------
# AltCLIP


def watch_altclip_text(taps, model):
    text = model.text_model
    layers = getattr(text.roberta.encoder, "layers", None) or text.roberta.encoder.layer
    watch_bert_text(taps, text.roberta, layers, model.text_projection)
    taps.watch("text.norm", text.pre_LN)
    taps.watch("text.last_hidden_state", text.transformation)


def diffusion_text(model, state, pre_transformation):
    """AltDiffusion's text encoder (diffusers) on the same weights; gives `projection_state` for one list of ids."""
    module = alt_diffusion_text_module()
    config = module.RobertaSeriesConfig(
        **{k: v for k, v in model.config.text_config.to_dict().items() if k not in ("model_type", "architectures")},
        has_pre_transformation=pre_transformation, attn_implementation="eager",
    )
    encoder = module.RobertaSeriesModelWithTransformation(config).eval()
    own = {k.removeprefix("text_model."): v for k, v in state.items() if k.startswith("text_model.")}
    result = encoder.load_state_dict(own, strict=False)
    wanted = {k for k in result.missing_keys if "pooler" not in k}
    assert not wanted, f"the diffusion encoder lacks {wanted}"
    unused = set(result.unexpected_keys) - {"roberta.embeddings.position_ids", "pre_LN.weight", "pre_LN.bias"}
    assert not unused, f"the diffusion encoder does not use {unused}"

    def run(row):
        ids = torch.tensor([row])
        output = encoder(input_ids=ids, attention_mask=torch.ones_like(ids), return_dict=True)
        return {"text.projection_state": output.projection_state[0]}

    return run


def altclip_sizes(vocabulary, text, vision, project, projection):
    return {
        "projection_dim": projection,
        "text_config": dict(vocab_size=vocabulary, max_position_embeddings=20, type_vocab_size=1, hidden_act="gelu",
                            layer_norm_eps=1e-5, pad_token_id=1, bos_token_id=0, eos_token_id=2, project_dim=project, **text),
        "vision_config": dict(patch_size=8, layer_norm_eps=1e-5, projection_dim=512, **vision),
    }


ALT_NOTES = ["pooled token is `<s>` (position 0); position ids start at 2", "`text.last_hidden_state` is transformation(pre_LN(h))"]


def bake_altclip(folder, model, state, sizes, ids, *, seed, layout, notes, pre_transformation=False):
    kind = "transformation_pre(pre_LN(hidden_states[-2]))" if pre_transformation else "transformation(h), without pre_LN"
    bake_hf(folder, model, family="altclip", layout=layout, seed=seed, size=sizes["vision_config"]["image_size"], sizes=sizes, ids=ids,
            pad=1, texts=XLMR_TEXTS, watch_text=watch_altclip_text, extra=diffusion_text(model, state, pre_transformation),
            notes=[*ALT_NOTES, f"`text.projection_state` is {kind}", *notes])


def altclip_hf(name="altclip-hf"):
    folder = fresh(name)
    vocabulary, ids = xlmr_tokenizer(folder)
    sizes = altclip_sizes(
        vocabulary, dict(hidden_size=32, intermediate_size=40, num_hidden_layers=3, num_attention_heads=4),
        dict(hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, image_size=32, hidden_act="quick_gelu"),
        project=28, projection=20,
    )
    randomise(transformers.AltCLIPModel(transformers.AltCLIPConfig(**sizes)), 141).save_pretrained(folder)
    preprocessor(folder, 32)
    state = safetensors.torch.load_file(folder / "model.safetensors")
    bake_altclip(folder, load_eager(transformers.AltCLIPModel, folder), state, sizes, ids, seed=141,
                 layout="hugging face of today, one safetensors file", notes=["`project_dim` 28 and `projection_dim` 20 differ on purpose",
                        "transformers 5 writes `vision_model.encoder.layer.N` where the hub's files have `vision_model.encoder.layers.N`"])


def old_preprocessor(folder, size):
    """The schema of 2022: scalar sizes, no `do_rescale`, `feature_extractor_type`."""
    write_json(folder / "preprocessor_config.json", {
        "crop_size": size, "do_center_crop": True, "do_normalize": True, "do_resize": True,
        "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3, "size": size,
    })


def altclip_hub_state(model, folder):
    """The state dict under the hub's names: transformers 5 saves the vision blocks as `encoder.layer.N`, the hub has `layers`."""
    state = saved_state(model, folder)
    return OrderedDict((k.replace("vision_model.encoder.layer.", "vision_model.encoder.layers."), v) for k, v in state.items())


def altclip_from_bin(folder, sizes, buffers, dropped=()):
    """Loads a `.bin` of the old layouts into today's class through the sizes that count, whatever config.json says."""
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    model = transformers.AltCLIPModel(transformers.AltCLIPConfig(**sizes, attn_implementation="eager"))
    own = {k: v for k, v in state.items() if k not in buffers and k not in dropped}
    own = {k.replace("roberta.encoder.layer.", "roberta.encoder.layers."): v for k, v in own.items()}
    model.load_state_dict(own, strict=True)
    return model.eval(), state


def altclip_2022(name="altclip-2022"):
    folder = fresh(name)
    vocabulary, ids = xlmr_tokenizer(folder)
    sizes = altclip_sizes(
        vocabulary, dict(hidden_size=40, intermediate_size=56, num_hidden_layers=2, num_attention_heads=5),
        dict(hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=2, image_size=24, hidden_act="quick_gelu"),
        project=28, projection=28,
    )
    config = transformers.AltCLIPConfig(**sizes)
    state = altclip_hub_state(randomise(transformers.AltCLIPModel(config), 142), folder)
    buffers = {"text_model.roberta.embeddings.position_ids": 20, "vision_model.embeddings.position_ids": 10}
    torch.save(with_position_ids(state, buffers), folder / "pytorch_model.bin")
    text = {"model_type": "xlm-roberta", "attention_probs_dropout_prob": 0.1, "classifier_dropout": None, "hidden_dropout_prob": 0.1,
            "initializer_range": 0.02, "learn_encoder": False, "output_past": True, "pooler_fn": "average",
            "position_embedding_type": "absolute", "transformers_version": "4.22.1", "use_cache": True, "torch_dtype": None,
            **sizes["text_config"]}
    vision = {"model_type": "clip_vision_model", "attention_dropout": 0.0, "dropout": 0.0, "initializer_factor": 1.0,
              "initializer_range": 0.02, "num_channels": 3, "transformers_version": "4.22.1", "torch_dtype": None,
              **sizes["vision_config"]}
    noise = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12}
    record = {
        "_name_or_path": "xlmr_33m_ft1e_hf.pt", "architectures": ["CLIPHF"], "direct_kd": False, "initializer_factor": 1.0,
        "logit_scale_init_value": 2.6592, "model_type": "clip", "num_layers": 3, "projection_dim": 28,
        "text_config": {**text, **noise}, "text_config_dict": text, "text_model_name": "xlm-roberta-large",
        "torch_dtype": "float32", "transformers_version": None,
        "vision_config": {**vision, **noise, "image_size": 224, "patch_size": 32}, "vision_config_dict": vision,
        "vision_model_name": None,
    }
    write_json(folder / "config.json", record)
    read = transformers.AltCLIPConfig(**{k: v for k, v in record.items() if k not in ("model_type", "architectures")})
    assert read.text_config.hidden_size == 40 and read.vision_config.patch_size == 8, "the *_config_dict must win"
    old_preprocessor(folder, 24)
    model, state = altclip_from_bin(folder, sizes, buffers)
    bake_altclip(folder, model, state, sizes, ids, seed=142, layout="2022: model_type clip with an xlm-roberta text_config, pickle",
                 notes=["`text_config_dict` and `vision_config_dict` override the 768/12 noise in `text_config` and `vision_config`",
                        "int64 `position_ids` buffers; scalar sizes in preprocessor_config.json"])


def altclip_m18(name="altclip-m18"):
    folder = fresh(name)
    vocabulary, ids = xlmr_tokenizer(folder)
    sizes = altclip_sizes(
        vocabulary, dict(hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4),
        dict(hidden_size=40, intermediate_size=72, num_hidden_layers=3, num_attention_heads=2, image_size=24, hidden_act="gelu"),
        project=36, projection=36,
    )
    state = altclip_hub_state(randomise(transformers.AltCLIPModel(transformers.AltCLIPConfig(**sizes)), 143).to(torch.float16), folder)
    generator = torch.Generator().manual_seed(144)
    pre = ("text_model.transformation_pre.weight", "text_model.transformation_pre.bias")
    state[pre[0]] = (torch.randn((36, 32), generator=generator) * 32**-0.5).half()
    state[pre[1]] = (torch.randn((36,), generator=generator) * 0.2).half()
    buffers = {"text_model.roberta.embeddings.position_ids": 20, "vision_model.embeddings.position_ids": 10}
    torch.save(with_position_ids(state, buffers), folder / "pytorch_model.bin")
    old_preprocessor(folder, 24)
    model, state = altclip_from_bin(folder, sizes, buffers, pre)
    bake_altclip(folder, model, state, sizes, ids, seed=143, layout="m18: f16 pickle with `text_model.transformation_pre.*`",
                 pre_transformation=True,
                 notes=["vision is wider than text, two heads of 20, erf-GELU", "`parameters` does not count transformation_pre"])


# ---------------------------------------------------------------------------------------------------------------------
# Taiyi


def taiyi_clip_half(folder, projection, seed):
    """The image half: an ordinary Hugging Face CLIP folder (f16) whose `projection_dim` fits the text feature."""
    config = transformers.CLIPConfig(
        projection_dim=projection,
        text_config=dict(vocab_size=60, hidden_size=24, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
                         max_position_embeddings=8, hidden_act="quick_gelu", eos_token_id=2),
        vision_config=dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=24,
                           patch_size=8, hidden_act="quick_gelu"),
    )
    randomise(transformers.CLIPModel(config), seed).to(torch.float16).save_pretrained(folder)
    preprocessor(folder, 24)
    return load_eager(transformers.CLIPModel, folder)


def bake_taiyi(folder, clip, bert, feature, final, *, parameters, seed, sizes, ids, layout, notes):
    """`feature` maps ids `[1, n]` to text features, `final` names the module whose output is tapped as `text.final`, if any."""
    taps = Taps()
    watch_hf_vision(taps, clip)
    watch_bert_text(taps, bert, bert.encoder.layer)
    if final is not None:
        taps.watch("text.final", final)
    image, _ = hf_runs(clip)
    bake(folder, family="taiyi", layout=layout, seed=seed, size=24, ids=ids, image=image, text=lambda row: feature(torch.tensor([row]))[0],
         taps=taps, logit_scale=clip.logit_scale, parameters=parameters, sizes=sizes, texts=BERT_TEXTS, notes=notes)


def bert_sizes(**sizes):
    return dict(vocab_size=len(BERT_VOCABULARY), max_position_embeddings=24, type_vocab_size=2, hidden_act="gelu",
                layer_norm_eps=1e-12, pad_token_id=0, **sizes)


def image_half_count(clip):
    return count(clip.vision_model) + count(clip.visual_projection) + 1


def taiyi(name="taiyi"):
    sizes = bert_sizes(hidden_size=40, intermediate_size=56, num_hidden_layers=2, num_attention_heads=5)
    folder = fresh(name)
    text = folder / "text"
    text.mkdir()
    config = transformers.BertConfig(**sizes, num_labels=24, architectures=["BertForSequenceClassification"])
    state = saved_state(randomise(transformers.BertForSequenceClassification(config), 151), text)
    torch.save(with_position_ids(state, {"bert.embeddings.position_ids": 24}), text / "pytorch_model.bin")
    _, ids = bert_vocabulary(text)
    clip = taiyi_clip_half(folder / "clip", 24, 152)
    model = load_eager(transformers.BertForSequenceClassification, text)
    bake_taiyi(folder, clip, model.bert, lambda ids: model(input_ids=ids).logits, model.bert.pooler, seed=151, sizes=sizes, ids=ids,
               parameters=count(model) + image_half_count(clip), layout="two folders: BertForSequenceClassification pickle and Hugging Face CLIP",
               notes=["text feature is the classifier's logits: [CLS], pooler dense, tanh (`text.final`), classifier with bias",
                      "the embedding width shows only as the number of labels (`id2label` in config.json) and the classifier's shape",
                      "logit_scale is CLIP's; CLIP's own text tower is unused",
                      "`parameters` counts the text model, CLIP's vision tower, its projection and logit_scale"])


def taiyi_large_h(name="taiyi-large-h"):
    sizes = bert_sizes(hidden_size=48, intermediate_size=64, num_hidden_layers=3, num_attention_heads=3)
    folder = fresh(name)
    text = folder / "text"
    text.mkdir()
    config = transformers.BertConfig(**sizes, architectures=["BertModel"])
    state = saved_state(randomise(transformers.BertModel(config), 153).to(torch.float16), text)
    torch.save(with_position_ids(state, {"embeddings.position_ids": 24}), text / "pytorch_model.bin")
    _, ids = bert_vocabulary(text)
    clip = taiyi_clip_half(folder / "clip", 48, 154)
    model = load_eager(transformers.BertModel, text)
    bake_taiyi(folder, clip, model, lambda ids: model(input_ids=ids)[1], model.pooler, seed=153, sizes=sizes, ids=ids,
               parameters=count(model) + image_half_count(clip), layout="two folders: BertModel f16 pickle (keys without prefix) and Hugging Face CLIP",
               notes=["the cards of 102M-ViT-L and 326M-ViT-H take BertModel's second output: [CLS], pooler dense, tanh, no projection"])


class TaiyiClip(nn.Module):
    """Fengshen's `TaiyiCLIPModel` in its own names, put together from transformers' BERT and CLIP."""

    def __init__(self, text_config, clip_config):
        super().__init__()
        clip = transformers.CLIPModel(clip_config)
        self.text_model = transformers.BertModel(text_config)
        self.vision_model = clip.vision_model
        self.visual_projection = clip.visual_projection
        self.text_projection = nn.Linear(text_config.hidden_size, clip_config.projection_dim, bias=False)
        self.logit_scale = clip.logit_scale

    def get_text_features(self, ids):
        return self.text_projection(self.text_model(input_ids=ids)[0][:, 0, :])

    def get_image_features(self, pixel_values):
        hidden = self.vision_model(pixel_values=pixel_values).pooler_output
        return transformers.modeling_outputs.BaseModelOutputWithPooling(pooler_output=self.visual_projection(hidden))


def taiyi_fengshen(name="taiyi-fengshen"):
    text = bert_sizes(hidden_size=40, intermediate_size=48, num_hidden_layers=3, num_attention_heads=2)
    vision = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=24, patch_size=8,
                  hidden_act="quick_gelu")
    folder = fresh(name)
    build = lambda: TaiyiClip(  # noqa: E731
        transformers.BertConfig(**text, attn_implementation="eager"),
        transformers.CLIPConfig(projection_dim=28, vision_config=vision, text_config=dict(hidden_size=16, num_attention_heads=2,
                                num_hidden_layers=1, intermediate_size=16, vocab_size=8), attn_implementation="eager"),
    )
    state = randomise(build(), 155).to(torch.float16).state_dict()
    buffers = {"text_model.embeddings.position_ids": 24, "vision_model.embeddings.position_ids": 10}
    for key in list(state):
        if key.endswith(("position_ids", "token_type_ids")):
            del state[key]
    torch.save(with_position_ids(state, buffers), folder / "pytorch_model.bin")
    write_json(folder / "config.json", {
        "architectures": ["TaiyiCLIPModel"], "model_type": "clip", "projection_dim": 28, "logit_scale_init_value": 2.6592,
        "initializer_factor": 1.0, "text_config": {"model_type": "bert", **text}, "vision_config": {"model_type": "clip_vision_model", **vision},
        "torch_dtype": "float32", "transformers_version": "4.22.1",
    })
    old_preprocessor(folder, 24)
    _, ids = bert_vocabulary(folder)
    model = build().eval()
    loaded = {k: v for k, v in torch.load(folder / "pytorch_model.bin", weights_only=True).items() if k not in buffers}
    model.load_state_dict(loaded, strict=True)
    taps_model = model.text_model
    bake_taiyi(folder, model, taps_model, model.get_text_features, None, seed=155, ids=ids, sizes={"text_config": text, "vision_config": vision, "projection_dim": 28},
               parameters=count(model) - count(model.text_model.pooler), layout="one folder: Fengshen's TaiyiCLIPModel, f16 pickle",
               notes=["text feature is text_projection([CLS]) without bias and without pooler (`get_text_features`); `text_model.pooler.*` is unused",
                      "`parameters` does not count the pooler"])


ALL = [clip_hf, chinese_clip_hf, altclip_hf, chinese_clip_pt, clip_hf_eos, chinese_clip_hf_bin, altclip_2022, altclip_m18,
       clip_openai_vit, clip_openai_vit_state, clip_openai_rn, chinese_clip_pt_bare, chinese_clip_rn50, chinese_clip_modelscope,
       taiyi, taiyi_large_h, taiyi_fengshen]


def main():
    warnings.filterwarnings("ignore", "`torch.jit", FutureWarning)
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    wanted = set(sys.argv[1:])
    makers = {maker.__defaults__[0]: maker for maker in ALL}
    unknown = wanted - set(makers)
    if unknown:
        sys.exit(f"unknown folder {sorted(unknown)}; there are {sorted(makers)}")
    for name, maker in makers.items():
        if not wanted or name in wanted:
            maker()


if __name__ == "__main__":
    main()
