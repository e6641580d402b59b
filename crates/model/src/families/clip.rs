//! OpenAI CLIP (Radford et al., 2021), in OpenAI's own files and in Hugging Face's.
//!
//! OpenAI's `.pt` carries no configuration: sizes follow from shapes, heads are 64 wide, activations are QuickGELU. OpenCLIP's weights
//! have the same names; the `open_clip_config.json` beside them says where they differ.
use serde_json::{Value, json};

use super::{activation_name, hugging_face, short, vision_config};
use crate::arch::{Activation, ClipText, EndOfText, ImageTower, TextTower};
use crate::config::Config;
use crate::family::{Family, Towers};
use crate::infer::{Shapes, implied_image, implied_text, openai_heads};
use crate::layout::{Container, Group, Layout};
use crate::names::*;
use crate::source::Source;
use crate::{ModelError, ModelSpec, Preprocessing, TokenizerKind};

/// OpenAI CLIP and what is built like it.
#[derive(Debug)]
pub struct Clip;

const NAME: &str = "clip";
const TITLE: &str = "CLIP";
/// The id that transformers' CLIP starts a text with; nothing is computed from it.
const START_OF_TEXT: u32 = 49406;

/// Hugging Face's `CLIPModel`.
const HUGGING_FACE: Layout = Layout {
    name: "hugging-face",
    container: Container::HuggingFace,
    image: &[Group("vision_model.", HF_VISION), Group("vision_model.", HF_BLOCKS), Group("", HF_VISUAL_PROJECTION)],
    text: &[Group("text_model.", HF_CLIP_TEXT), Group("text_model.", HF_BLOCKS), Group("", HF_TEXT_PROJECTION)],
    ignored: &["text_model.embeddings.position_ids", "vision_model.embeddings.position_ids"],
    aliases: &[
        ("vision_model.encoder.layer.", "vision_model.encoder.layers."),
        ("text_model.encoder.layer.", "text_model.encoder.layers."),
    ],
};

/// OpenAI's state dict, bare or in a TorchScript archive.
const OPENAI: Layout = Layout {
    name: "openai",
    container: Container::Torch { file: "model.pt", prefix: "", wrapped: false },
    image: &[Group("visual.", OPENAI_VIT), Group("visual.", OPENAI_BLOCKS), Group("visual.", OPENAI_RESNET)],
    text: &[Group("", OPENAI_TEXT), Group("", OPENAI_BLOCKS), Group("", OPENAI_TEXT_PROJECTION)],
    ignored: &["input_resolution", "context_length", "vocab_size", "attn_mask", "*.num_batches_tracked"],
    aliases: &[],
};

impl Family for Clip {
    fn name(&self) -> &'static str {
        NAME
    }

    fn title(&self) -> &'static str {
        TITLE
    }

    fn layouts(&self) -> &'static [&'static Layout] {
        &[&HUGGING_FACE, &OPENAI]
    }

    fn recognises(&self, source: &Source) -> Option<&'static Layout> {
        if source.has("text_model.embeddings.token_embedding.weight") && source.has_prefix("vision_model.embeddings.") {
            Some(&HUGGING_FACE)
        } else if source.has("token_embedding.weight") && source.has_prefix("visual.") {
            Some(&OPENAI)
        } else {
            None
        }
    }

    fn towers(&self, source: &Source, layout: &'static Layout) -> Result<Towers, ModelError> {
        if layout.container != Container::HuggingFace {
            return from_shapes(source);
        }
        let (path, settings) = hugging_face(source, TITLE)?;
        from_config(&Config::new(&path, settings))
    }

    fn tokenizer(&self) -> TokenizerKind {
        TokenizerKind::ClipBpe
    }

    fn context_length(&self, text: &TextTower) -> usize {
        text.longest()
    }

    fn preprocessing(&self, image_size: usize) -> Preprocessing {
        Preprocessing::Clip { size: image_size }
    }

    fn without_config(&self, spec: &ModelSpec) -> Towers {
        Towers { image: Some(implied_image(&spec.image, openai_heads)), text: implied_text(&spec.text) }
    }

    fn config(&self, spec: &ModelSpec) -> Option<Value> {
        let TextTower::Clip(text) = &spec.text else { return None };
        let &ClipText { vocabulary, positions, width, layers, heads, mlp, activation, eps, end_of_text, embedding } = text;
        let end = match end_of_text {
            EndOfText::FirstId(id) => id,
            EndOfText::HighestId => 2,
        };
        Some(json!({
            "architectures": ["CLIPModel"], "model_type": "clip", "projection_dim": spec.embedding_width,
            "text_config": {
                "model_type": "clip_text_model", "vocab_size": vocabulary, "max_position_embeddings": positions, "hidden_size": width,
                "num_hidden_layers": layers, "num_attention_heads": heads, "intermediate_size": mlp, "projection_dim": embedding,
                "hidden_act": activation_name(activation), "layer_norm_eps": short(eps), "bos_token_id": START_OF_TEXT, "eos_token_id": end,
            },
            "vision_config": vision_config("clip_vision_model", &spec.image)?,
        }))
    }
}

/// Sizes from a `CLIPConfig`.
pub(super) fn from_config(config: &Config<'_>) -> Result<Towers, ModelError> {
    let embedding = config.size("projection_dim", 512)?;
    Ok(Towers {
        image: Some(ImageTower::Vit(config.tower("vision_config", "vision_config_dict")?.vision(embedding)?)),
        text: TextTower::Clip(config.tower("text_config", "text_config_dict")?.clip_text(embedding)?),
    })
}

/// Sizes from shapes, of OpenAI's and OpenCLIP's files.
fn from_shapes(source: &Source) -> Result<Towers, ModelError> {
    let shapes = Shapes { source, family: TITLE };
    let (mut activation, mut image_heads, mut text_heads) = (Activation::QuickGelu, None, None);
    if let Some(model) = source.settings("open_clip_config.json").and_then(|settings| settings.get("model_cfg")) {
        if !model.get("quick_gelu").and_then(Value::as_bool).unwrap_or(false) {
            activation = Activation::Gelu;
        }
        let size = |tower: &str, key: &str| model.get(tower)?.get(key)?.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0);
        text_heads = size("text_cfg", "heads");
        image_heads = size("vision_cfg", "head_width").zip(size("vision_cfg", "width")).map(|(head, width)| width / head);
    }
    let image = shapes.image(activation, |width| image_heads.unwrap_or(openai_heads(width)))?;
    Ok(Towers { image: Some(image), text: TextTower::Clip(shapes.clip_text(activation, text_heads)?) })
}
