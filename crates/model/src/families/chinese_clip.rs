//! Chinese-CLIP (Yang et al., 2022): cn_clip's `.pt`, ModelScope's folders and Hugging Face's.
//!
//! The first two hold OpenAI's image tower and transformers' BERT side by side. A `.pt` carries no configuration: heads are 64 wide, but
//! 80 in ViT-H; ModelScope's two files of settings say it. The image tower's activation is QuickGELU in all sizes.
use serde_json::{Value, json};

use super::{bert_config, hugging_face, vision_config};
use crate::arch::{Activation, BertHead, ImageTower, TextTower};
use crate::config::Config;
use crate::family::{Family, Towers};
use crate::infer::{Shapes, cn_clip_heads, implied_image, implied_text};
use crate::layout::{Container, Group, Layout};
use crate::names::*;
use crate::source::Source;
use crate::{ModelError, ModelSpec, Preprocessing, TokenizerKind};

/// Chinese-CLIP.
#[derive(Debug)]
pub struct ChineseClip;

const NAME: &str = "chinese-clip";
const TITLE: &str = "Chinese-CLIP";
/// The longest text cn_clip trains and evaluates with, tokens.
const CONTEXT: usize = 52;

/// Hugging Face's `ChineseCLIPModel`.
const HUGGING_FACE: Layout = Layout {
    name: "hugging-face",
    container: Container::HuggingFace,
    image: &[Group("vision_model.", HF_VISION), Group("vision_model.", HF_BLOCKS), Group("", HF_VISUAL_PROJECTION)],
    text: &[Group("text_model.", BERT), Group("text_model.", BERT_ATTENTION), Group("", HF_TEXT_PROJECTION)],
    ignored: &["text_model.embeddings.position_ids", "vision_model.embeddings.position_ids", "text_model.pooler.*"],
    aliases: &[("vision_model.encoder.layer.", "vision_model.encoder.layers.")],
};

/// cn_clip's state dict; ModelScope's is the same. `module.` is DistributedDataParallel's, and cn_clip looks for it.
const CN_CLIP: Layout = Layout {
    name: "cn-clip",
    container: Container::Torch { file: "model.pt", prefix: "module.", wrapped: true },
    image: &[Group("visual.", OPENAI_VIT), Group("visual.", OPENAI_BLOCKS), Group("visual.", OPENAI_RESNET)],
    text: &[Group("bert.", BERT), Group("bert.", BERT_ATTENTION), Group("", OPENAI_TEXT_PROJECTION)],
    ignored: &["bert.embeddings.position_ids", "bert.pooler.*", "*.num_batches_tracked"],
    aliases: &[],
};

/// cn_clip's state dict as it is in memory while FlashAttention is in use.
const CN_CLIP_FLASH: Layout = Layout {
    name: "cn-clip-flash",
    text: &[Group("bert.", BERT), Group("bert.", BERT_FLASH_ATTENTION), Group("", OPENAI_TEXT_PROJECTION)],
    aliases: &[(".attn.Wqkv.", ".attn.in_proj_")],
    ..CN_CLIP
};

impl Family for ChineseClip {
    fn name(&self) -> &'static str {
        NAME
    }

    fn title(&self) -> &'static str {
        TITLE
    }

    fn layouts(&self) -> &'static [&'static Layout] {
        &[&HUGGING_FACE, &CN_CLIP, &CN_CLIP_FLASH]
    }

    fn recognises(&self, source: &Source) -> Option<&'static Layout> {
        if source.has("text_model.embeddings.word_embeddings.weight") && source.has_prefix("vision_model.embeddings.") {
            Some(&HUGGING_FACE)
        } else if !(source.has("bert.embeddings.word_embeddings.weight") && source.has_prefix("visual.")) {
            None
        } else if source.has_prefix("bert.encoder.layer.0.attention.self.Wqkv.") {
            Some(&CN_CLIP_FLASH)
        } else {
            Some(&CN_CLIP)
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
        TokenizerKind::WordPiece
    }

    fn context_length(&self, text: &TextTower) -> usize {
        text.longest().min(CONTEXT)
    }

    fn preprocessing(&self, image_size: usize) -> Preprocessing {
        Preprocessing::ChineseClip { size: image_size }
    }

    fn without_config(&self, spec: &ModelSpec) -> Towers {
        Towers { image: Some(implied_image(&spec.image, cn_clip_heads)), text: implied_text(&spec.text) }
    }

    fn config(&self, spec: &ModelSpec) -> Option<Value> {
        let TextTower::Bert(text) = &spec.text else { return None };
        Some(json!({
            "architectures": ["ChineseCLIPModel"], "model_type": "chinese_clip", "projection_dim": spec.embedding_width,
            "text_config": bert_config("chinese_clip_text_model", text),
            "vision_config": vision_config("chinese_clip_vision_model", &spec.image)?,
        }))
    }
}

/// Sizes from a `ChineseCLIPConfig`.
pub(super) fn from_config(config: &Config<'_>) -> Result<Towers, ModelError> {
    let embedding = config.size("projection_dim", 512)?;
    let text = config.tower("text_config", "text_config_dict")?.bert(BertHead::Project { embedding })?;
    let image = config.tower("vision_config", "vision_config_dict")?.vision(embedding)?;
    Ok(Towers { image: Some(ImageTower::Vit(image)), text: TextTower::Bert(text) })
}

/// Sizes from shapes; heads and activation from ModelScope's settings, where they are.
fn from_shapes(source: &Source) -> Result<Towers, ModelError> {
    let shapes = Shapes { source, family: TITLE };
    let [vision, text] =
        ["vision_model_config.json", "text_model_config.json"].map(|file| (source.settings_path(file), source.settings(file)));
    let image_heads = match &vision {
        (path, Some(settings)) => {
            let config = Config::new(path, settings);
            let (width, head) = (config.size("vision_width", 0)?, config.size("vision_head_width", 0)?);
            width.checked_div(head).filter(|&heads| heads > 0)
        }
        _ => None,
    };
    let (text_heads, activation) = match &text {
        (path, Some(settings)) => {
            let config = Config::new(path, settings);
            let heads = config.size("text_num_attention_heads", 0)?;
            (Some(heads).filter(|&heads| heads > 0), config.activation("text_hidden_act", Activation::Gelu)?)
        }
        _ => (None, Activation::Gelu),
    };
    let image = shapes.image(Activation::QuickGelu, |width| image_heads.unwrap_or(cn_clip_heads(width)))?;
    Ok(Towers { image: Some(image), text: TextTower::Bert(shapes.bert(activation, text_heads)?) })
}
