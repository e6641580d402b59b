"""Taiyi: a Chinese text tower beside the image tower of a CLIP."""

import torch
import transformers
from torch import nn

from .altclip import old_preprocessor
from .bake import Taps, bake, count, fresh, preprocessor, saved_state, write_json
from .chinese_clip import watch_bert_text, with_position_ids
from .hugging_face import hf_runs, load_eager, watch_hf_vision
from .noise import randomise
from .vocabularies import BERT_TEXTS, BERT_VOCABULARY, bert_vocabulary


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


def taiyi(name):
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
               parameters=count(model) + image_half_count(clip),
               layout="two folders: BertForSequenceClassification pickle and Hugging Face CLIP",
               notes=["text feature is the classifier's logits: [CLS], pooler dense, tanh (`text.final`), classifier with bias",
                      "the embedding width shows only as the number of labels (`id2label` in config.json) and the classifier's shape",
                      "logit_scale is CLIP's; CLIP's own text tower is unused",
                      "`parameters` counts the text model, CLIP's vision tower, its projection and logit_scale"])


def taiyi_large_h(name):
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
               parameters=count(model) + image_half_count(clip),
               layout="two folders: BertModel f16 pickle (keys without prefix) and Hugging Face CLIP",
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


def taiyi_fengshen(name):
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
        "initializer_factor": 1.0, "text_config": {"model_type": "bert", **text},
        "vision_config": {"model_type": "clip_vision_model", **vision},
        "torch_dtype": "float32", "transformers_version": "4.22.1",
    })
    old_preprocessor(folder, 24)
    _, ids = bert_vocabulary(folder)
    model = build().eval()
    loaded = {k: v for k, v in torch.load(folder / "pytorch_model.bin", weights_only=True).items() if k not in buffers}
    model.load_state_dict(loaded, strict=True)
    bake_taiyi(folder, model, model.text_model, model.get_text_features, None, seed=155, ids=ids,
               sizes={"text_config": text, "vision_config": vision, "projection_dim": 28},
               parameters=count(model) - count(model.text_model.pooler), layout="one folder: Fengshen's TaiyiCLIPModel, f16 pickle",
               notes=["text feature is text_projection([CLS]) without bias and without pooler (`get_text_features`)",
                      "`text_model.pooler.*` is unused",
                      "`parameters` does not count the pooler"])
