"""Makes full-size random models with transformers and reference embeddings for them: the check that hua agrees at real scale.

    python full_size.py DIR                 # DIR/altclip (3.5 GB) and DIR/chinese-clip (0.75 GB)
    python full_size.py DIR chinese-clip    # one of them

- `altclip` has BAAI/AltCLIP's sizes: XLM-R large 24 x 1024 x 16, ViT-L/14, projection 768; 864,186,113 parameters.
- `chinese-clip` has Chinese-CLIP ViT-B/16's: BERT base, ViT-B/16, projection 512; 188,262,913 parameters (no pooler).

Each folder is what `save_pretrained` writes (f32 safetensors, so the AltCLIP one has transformers 5's tensor names) plus
`golden.safetensors` and `golden.json` in the format of README.md: 2 pictures, 4 texts of 2 to 77 (52) tokens, embeddings, the
pooled vectors before the projections and, for AltCLIP, `text.last_hidden_state`. `golden.json` also says under `noise` how far
transformers' own f32 embeddings lie from its f64 ones: the largest absolute difference of the normalised vectors.

The folders are too large to commit. The Rust side of the check runs when HUA_FULL_SIZE_DIR names DIR. Needs about 8 GB of
memory and 4 minutes on two cores for AltCLIP.
"""

import json
import sys
from pathlib import Path

import torch
import transformers

from reference.bake import Taps, bake, count, preprocessor
from reference.chinese_clip import chinese_preprocessor
from reference.hugging_face import hf_runs
from reference.noise import random_ids, randomise

PARAMETERS = {"altclip": 864_186_113, "chinese-clip": 188_262_913}


def altclip():
    """The model with BAAI/AltCLIP's sizes, and ids of four texts."""
    config = transformers.AltCLIPConfig(
        projection_dim=768,
        text_config=dict(vocab_size=250002, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
                         max_position_embeddings=514, type_vocab_size=1, project_dim=768),
        vision_config=dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096, image_size=224,
                           patch_size=14, hidden_act="quick_gelu"),
        attn_implementation="eager",
    )
    return transformers.AltCLIPModel(config), random_ids(1, [2, 9, 31, 77], 0, 2, 4, 250001), 1


def chinese_clip():
    """The model with Chinese-CLIP ViT-B/16's sizes, and ids of four texts."""
    config = transformers.ChineseCLIPConfig(
        projection_dim=512,
        text_config=dict(vocab_size=21128, hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072,
                         max_position_embeddings=512, type_vocab_size=2, layer_norm_eps=1e-12, pad_token_id=0),
        vision_config=dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072, image_size=224,
                           patch_size=16, hidden_act="quick_gelu"),
        attn_implementation="eager",
    )
    return transformers.ChineseCLIPModel(config), random_ids(2, [2, 8, 20, 52], 101, 102, 106, 21128), 0


@torch.no_grad()
def noise(model, folder):
    """Runs the model again in f64 and returns the largest difference to the baked f32 embeddings of each tower."""
    from safetensors.torch import load_file

    baked = load_file(folder / "golden.safetensors")
    image, text = hf_runs(model.double())
    rows = [row[:length].tolist() for row, length in zip(baked["input_ids"], baked["lengths"], strict=True)]
    wanted = {"image": image(baked["pixel_values"].double()), "text": torch.stack([text(row) for row in rows])}
    result = {}
    for tower, value in wanted.items():
        unit = value / value.norm(dim=-1, keepdim=True)
        result[tower] = float((unit - baked[f"{tower}_embeds_normalized"]).abs().max())
    return result


def make(name, folder):
    model, ids, pad = {"altclip": altclip, "chinese-clip": chinese_clip}[name]()
    assert count(model) == PARAMETERS[name], f"{name} has {count(model)} parameters, wanted {PARAMETERS[name]}"
    folder.mkdir(parents=True, exist_ok=True)
    randomise(model, 201).save_pretrained(folder)
    (preprocessor if name == "altclip" else chinese_preprocessor)(folder, 224)
    taps = Taps()
    taps.watch("image.final", model.visual_projection, before=True)
    taps.watch("text.final", model.text_projection, before=True)
    if name == "altclip":
        taps.watch("text.last_hidden_state", model.text_model.transformation)
    image, text = hf_runs(model)
    config = model.config.to_dict()
    bake(folder, family=name, layout="hugging face, full size", seed=201, size=224, ids=ids, pad=pad, image=image, text=text, taps=taps,
         logit_scale=model.logit_scale, parameters=count(model),
         sizes={key: config[key] for key in ("projection_dim", "text_config", "vision_config")})
    record = json.loads((folder / "golden.json").read_text())
    record["noise"] = noise(model, folder)
    print(f"  f32 against f64: {record['noise']}")
    (folder / "golden.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def main():
    if len(sys.argv) < 2 or set(sys.argv[2:]) - set(PARAMETERS):
        sys.exit(f"usage: python full_size.py DIR [{'|'.join(PARAMETERS)}]")
    transformers.logging.disable_progress_bar()
    for name in sys.argv[2:] or PARAMETERS:
        make(name, Path(sys.argv[1]) / name)


if __name__ == "__main__":
    main()
