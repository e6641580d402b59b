"""CLIP in the layout of Hugging Face."""

import torch
import transformers

from .bake import fresh, preprocessor
from .hugging_face import bake_hf, load_eager
from .noise import random_ids, randomise


def watch_clip_text(taps, model):
    text = model.text_model
    taps.watch("text.embed", text.embeddings)
    taps.watch_blocks("text", text.encoder.layers)
    taps.watch("text.norm", text.final_layer_norm)
    taps.watch("text.final", model.text_projection, before=True)


def clip_hf(name):
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


def clip_hf_eos(name):
    sizes = {
        "projection_dim": 36,
        "text_config": dict(vocab_size=170, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=2,
                            max_position_embeddings=14, hidden_act="gelu", layer_norm_eps=1e-3, bos_token_id=148, eos_token_id=149,
                            pad_token_id=149),
        "vision_config": dict(hidden_size=40, intermediate_size=64, num_hidden_layers=2, num_attention_heads=5, image_size=24,
                              patch_size=8, hidden_act="quick_gelu", layer_norm_eps=1e-5),
    }
    folder = fresh(name)
    model = randomise(transformers.CLIPModel(transformers.CLIPConfig(**sizes)), 102).to(torch.float16)
    model.save_pretrained(folder, max_shard_size="50KB")
    assert (folder / "model.safetensors.index.json").exists()
    preprocessor(folder, 24)
    bake_hf(
        folder, load_eager(transformers.CLIPModel, folder), family="clip", layout="hugging face, f16, sharded safetensors with index",
        seed=102, size=24, sizes=sizes, ids=random_ids(8, [2, 14, 4, 7], 148, 149, 150, 170), pad=149, watch_text=watch_clip_text,
        notes=["`eos_token_id` is 149 and ordinary ids are higher: pooling is the first end-of-text, not the highest id",
               "text uses erf-GELU with eps 1e-3, vision QuickGELU with eps 1e-5, so a swapped setting shows"],
    )
