"""AltCLIP of today, of 2022 and m18, with the text outputs that AltDiffusion reads."""

from collections import OrderedDict

import safetensors.torch
import torch
import transformers

from .bake import fresh, preprocessor, saved_state, write_json
from .bare import alt_diffusion_text_module
from .chinese_clip import watch_bert_text, with_position_ids
from .hugging_face import bake_hf, load_eager
from .noise import randomise
from .vocabularies import XLMR_TEXTS, xlmr_tokenizer


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


def altclip_hf(name):
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


def altclip_2022(name):
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


def altclip_m18(name):
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
