//! AltCLIP, AltCLIP-m9 and AltCLIP-m18 (Chen et al., 2022; Ye et al., 2023): CLIP's vision transformer and an XLM-R.
//!
//! Two generations of configurations exist, and those of 2022 call themselves `clip` with an `xlm-roberta`; tensors named
//! `text_model.roberta.…` tell the family. The embedding's width is the top-level `projection_dim`, whatever the towers' settings say.
use serde_json::{Value, json};

use super::{bert_config, hugging_face, vision_config};
use crate::arch::{BertHead, ImageTower, TextTower};
use crate::config::Config;
use crate::family::{Family, Towers};
use crate::layout::Form::Plain;
use crate::layout::{Container, Group, Layout, Rule};
use crate::names::*;
use crate::source::Source;
use crate::{ModelError, ModelSpec, Preprocessing, TokenizerKind};

/// AltCLIP.
#[derive(Debug)]
pub struct AltClip;

const NAME: &str = "altclip";
const TITLE: &str = "AltCLIP";
/// The longest text it was trained with, tokens; the position table would take 512.
const CONTEXT: usize = 77;

/// Hugging Face's `AltCLIPModel`; FlagAI's files have the same names.
const HUGGING_FACE: Layout = Layout {
    name: "hugging-face",
    container: Container::HuggingFace,
    image: &[Group("vision_model.", HF_VISION), Group("vision_model.", HF_BLOCKS), Group("", HF_VISUAL_PROJECTION)],
    text: &[
        Group("text_model.roberta.", BERT),
        Group("text_model.roberta.", BERT_ATTENTION),
        Group("text_model.", HEAD),
        Group("", HF_TEXT_PROJECTION),
    ],
    ignored: &[
        "text_model.roberta.embeddings.position_ids",
        "text_model.roberta.embeddings.token_type_ids",
        "text_model.roberta.pooler.*",
        "vision_model.embeddings.position_ids",
    ],
    aliases: &[
        ("vision_model.encoder.layer.", "vision_model.encoder.layers."),
        ("text_model.roberta.encoder.layers.", "text_model.roberta.encoder.layer."),
    ],
};

const HEAD: &[Rule] = &[
    Rule("final.norm.*", "pre_LN.*", Plain),
    Rule("final.transform.*", "transformation.*", Plain),
    Rule("final.conditioning.*", "transformation_pre.*", Plain),
];

impl Family for AltClip {
    fn name(&self) -> &'static str {
        NAME
    }

    fn title(&self) -> &'static str {
        TITLE
    }

    fn layouts(&self) -> &'static [&'static Layout] {
        &[&HUGGING_FACE]
    }

    fn recognises(&self, source: &Source) -> Option<&'static Layout> {
        source.has_prefix("text_model.roberta.").then_some(&HUGGING_FACE)
    }

    fn towers(&self, source: &Source, _: &'static Layout) -> Result<Towers, ModelError> {
        let (path, settings) = hugging_face(source, TITLE)?;
        from_config(&Config::new(&path, settings), source.has_prefix("text_model.transformation_pre."))
    }

    fn tokenizer(&self) -> TokenizerKind {
        TokenizerKind::Unigram
    }

    fn context_length(&self, text: &TextTower) -> usize {
        text.longest().min(CONTEXT)
    }

    fn preprocessing(&self, image_size: usize) -> Preprocessing {
        Preprocessing::Clip { size: image_size }
    }

    fn config(&self, spec: &ModelSpec) -> Option<Value> {
        let TextTower::Bert(text) = &spec.text else { return None };
        let BertHead::AltClip { hidden, .. } = text.head else { return None };
        let mut text = bert_config("altclip_text_model", text);
        text["project_dim"] = json!(hidden);
        Some(json!({
            "architectures": ["AltCLIPModel"], "model_type": "altclip", "projection_dim": spec.embedding_width, "text_config": text,
            "vision_config": vision_config("altclip_vision_model", &spec.image)?,
        }))
    }
}

/// Sizes from an `AltCLIPConfig`; `conditioning` only shows in the tensors.
pub(super) fn from_config(config: &Config<'_>, conditioning: bool) -> Result<Towers, ModelError> {
    let embedding = config.size("projection_dim", 768)?;
    let text = config.tower("text_config", "text_config_dict")?.xlm_roberta(conditioning, embedding)?;
    let image = config.tower("vision_config", "vision_config_dict")?.vision(embedding)?;
    Ok(Towers { image: Some(ImageTower::Vit(image)), text: TextTower::Bert(text) })
}
