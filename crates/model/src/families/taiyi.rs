//! Taiyi-CLIP (IDEA-CCNL, 2022): a Chinese BERT that learned the space of an existing CLIP.
//!
//! The published folders hold the text tower alone; pictures are the CLIP's, from a second folder, whose logit scale counts too. What
//! makes the embedding differs by model and shows in the tensors: a classifier's logits, a projection, or BERT's pooler. Fengshen's own
//! `TaiyiCLIPModel` holds both towers in one file.
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

/// Taiyi-CLIP.
#[derive(Debug)]
pub struct Taiyi;

const NAME: &str = "taiyi";
const TITLE: &str = "Taiyi-CLIP";
/// The longest text its published evaluations use, tokens.
const CONTEXT: usize = 77;
/// What Fengshen's class is called in `config.json`.
const CLASS: &str = "TaiyiCLIPModel";

/// Fengshen's `TaiyiCLIPModel`: both towers. hua writes the other kinds of head here, too.
const FENGSHEN: Layout = Layout {
    name: "fengshen",
    container: Container::HuggingFace,
    image: &[Group("vision_model.", HF_VISION), Group("vision_model.", HF_BLOCKS), Group("", HF_VISUAL_PROJECTION)],
    text: &[
        Group("text_model.", BERT),
        Group("text_model.", BERT_ATTENTION),
        Group("text_model.", POOLER),
        Group("", CLASSIFIER),
        Group("", HF_TEXT_PROJECTION),
    ],
    ignored: &["text_model.embeddings.position_ids", "vision_model.embeddings.position_ids", "text_model.pooler.*"],
    aliases: &[("vision_model.encoder.layer.", "vision_model.encoder.layers.")],
};

/// transformers' `BertForSequenceClassification`.
const CLASSIFICATION: Layout = Layout {
    name: "bert-for-sequence-classification",
    container: Container::HuggingFace,
    image: &[],
    text: &[
        Group("bert.", BERT),
        Group("bert.", BERT_ATTENTION),
        Group("bert.", POOLER),
        Group("", CLASSIFIER),
        Group("", HF_TEXT_PROJECTION),
    ],
    ignored: &["bert.embeddings.position_ids", "bert.pooler.*", "cls.*"],
    aliases: GAMMA_AND_BETA,
};

/// transformers' `BertModel`.
const BARE: Layout = Layout {
    name: "bert",
    text: &[Group("", BERT), Group("", BERT_ATTENTION), Group("", POOLER), Group("", CLASSIFIER), Group("", HF_TEXT_PROJECTION)],
    ignored: &["embeddings.position_ids", "pooler.*", "cls.*"],
    ..CLASSIFICATION
};

const POOLER: &[Rule] = &[Rule("final.pooler.*", "pooler.dense.*", Plain)];
const CLASSIFIER: &[Rule] = &[Rule("final.classifier.*", "classifier.*", Plain)];
/// What TensorFlow, and files made from its, call the parameters of a layer norm.
const GAMMA_AND_BETA: &[(&str, &str)] = &[("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")];

impl Family for Taiyi {
    fn name(&self) -> &'static str {
        NAME
    }

    fn title(&self) -> &'static str {
        TITLE
    }

    fn layouts(&self) -> &'static [&'static Layout] {
        &[&FENGSHEN, &CLASSIFICATION, &BARE]
    }

    fn recognises(&self, source: &Source) -> Option<&'static Layout> {
        let class = source.settings("config.json").and_then(|config| config.get("architectures")?.get(0)?.as_str());
        if source.has("text_model.embeddings.word_embeddings.weight") {
            (class == Some(CLASS) || source.has("classifier.weight")).then_some(&FENGSHEN)
        } else if source.has_prefix("visual.") || source.has_prefix("vision_model.") {
            None
        } else if source.has("bert.embeddings.word_embeddings.weight") {
            Some(&CLASSIFICATION)
        } else {
            source.has("embeddings.word_embeddings.weight").then_some(&BARE)
        }
    }

    fn towers(&self, source: &Source, layout: &'static Layout) -> Result<Towers, ModelError> {
        let (path, settings) = hugging_face(source, TITLE)?;
        let config = Config::new(&path, settings);
        let (text, image) = if layout.image.is_empty() {
            (config, None)
        } else {
            let embedding = config.size("projection_dim", 512)?;
            (
                config.tower("text_config", "text_config_dict")?,
                Some(config.tower("vision_config", "vision_config_dict")?.vision(embedding)?),
            )
        };
        let rows = |name: &str| source.shape(name).and_then(|shape| shape.first().copied());
        let head = match (rows("classifier.weight"), rows("text_projection.weight")) {
            (Some(embedding), _) => BertHead::Classifier { embedding },
            (None, Some(embedding)) => BertHead::Project { embedding },
            (None, None) => BertHead::Pooled { embedding: text.size("hidden_size", 768)? },
        };
        Ok(Towers { image: image.map(ImageTower::Vit), text: TextTower::Bert(text.bert(head)?) })
    }

    fn tokenizer(&self) -> TokenizerKind {
        TokenizerKind::WordPiece
    }

    fn context_length(&self, text: &TextTower) -> usize {
        text.longest().min(CONTEXT)
    }

    fn preprocessing(&self, image_size: usize) -> Preprocessing {
        Preprocessing::Clip { size: image_size }
    }

    fn config(&self, spec: &ModelSpec) -> Option<Value> {
        let TextTower::Bert(text) = &spec.text else { return None };
        Some(json!({
            "architectures": [CLASS], "model_type": "clip", "projection_dim": spec.embedding_width,
            "text_config": bert_config("bert", text), "vision_config": vision_config("clip_vision_model", &spec.image)?,
        }))
    }
}
