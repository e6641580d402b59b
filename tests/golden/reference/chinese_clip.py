"""Chinese-CLIP: Hugging Face, cn_clip and ModelScope."""

import json
from collections import OrderedDict

import torch
import transformers

from .bake import Taps, bake, count, fresh, preprocessor, saved_state, write_json
from .bare import cn_clip_model
from .clip_openai import watch_openai_vision
from .hugging_face import bake_hf, load_eager
from .noise import randomise
from .vocabularies import BERT_TEXTS, BERT_VOCABULARY, bert_vocabulary


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


def chinese_clip_hf(name):
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


def chinese_clip_hf_bin(name):
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


def chinese_clip_pt(name):
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


def chinese_clip_pt_bare(name):
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


def chinese_clip_rn50(name):
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


def chinese_clip_modelscope(name):
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
