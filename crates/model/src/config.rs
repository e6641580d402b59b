//! Reads transformers' `config.json`: what a setting means, what stands for a missing one, and which values are refused.
//!
//! Settings that change no number (names, dropouts, versions, labels) are not looked at. Those that do are taken as written; what hua
//! cannot do exactly is an error, never an approximation.
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::ModelError;
use crate::arch::{Activation, Bert, BertHead, ClipText, EndOfText, Vit};
use crate::source::Settings;

/// `eos_token_id` in configurations written before transformers 4.31, which find the end of a text by the highest id.
const LEGACY_END_OF_TEXT: usize = 2;

/// An object of settings, with where it stands for messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config<'a> {
    path: &'a Path,
    within: &'static str,
    settings: Option<&'a Settings>,
}

impl<'a> Config<'a> {
    pub(crate) fn new(path: &'a Path, settings: &'a Settings) -> Self {
        Self { path, within: "", settings: Some(settings) }
    }

    /// The settings of one tower. transformers lets `text_config_dict`, where there is one, stand for all of `text_config`:
    /// what the former does not say is the class's default, whatever the latter says.
    pub(crate) fn tower(&self, name: &'static str, older_name: &'static str) -> Result<Self, ModelError> {
        for within in [older_name, name] {
            match self.get(within) {
                None => {}
                Some(Value::Object(settings)) => return Ok(Self { path: self.path, within, settings: Some(settings) }),
                Some(other) => return Err(self.value(within, other, "an object")),
            }
        }
        Ok(Self { path: self.path, within: name, settings: None })
    }

    /// A number that counts something.
    pub(crate) fn size(&self, key: &str, default: usize) -> Result<usize, ModelError> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => self.as_size(key, value),
        }
    }

    /// The side of a square: a number, or the same number twice.
    fn side(&self, key: &str, default: usize) -> Result<usize, ModelError> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::Array(sides)) if sides.len() == 2 && sides[0] == sides[1] => self.as_size(key, &sides[0]),
            Some(value @ Value::Array(_)) => Err(self.value(key, value, "a square")),
            Some(value) => self.as_size(key, value),
        }
    }

    fn as_size(&self, key: &str, value: &Value) -> Result<usize, ModelError> {
        value.as_u64().and_then(|n| usize::try_from(n).ok()).ok_or_else(|| self.value(key, value, "a whole number"))
    }

    pub(crate) fn number(&self, key: &str, default: f32) -> Result<f32, ModelError> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value.as_f64().map(|x| x as f32).ok_or_else(|| self.value(key, value, "a number")),
        }
    }

    pub(crate) fn activation(&self, key: &str, default: Activation) -> Result<Activation, ModelError> {
        Ok(match self.get(key) {
            None => default,
            Some(Value::String(name)) => match name.as_str() {
                "gelu" | "gelu_python" => Activation::Gelu,
                "gelu_fast" | "gelu_new" | "gelu_pytorch_tanh" => Activation::GeluTanh,
                "quick_gelu" => Activation::QuickGelu,
                _ => return Err(self.value(key, &Value::from(name.as_str()), "`gelu`, `gelu_new`, `gelu_pytorch_tanh` or `quick_gelu`")),
            },
            Some(other) => return Err(self.value(key, other, "the name of an activation")),
        })
    }

    /// Refuses a setting that is there with another value than `wanted`.
    fn only(&self, key: &str, wanted: &Value) -> Result<(), ModelError> {
        match self.get(key) {
            Some(found) if found != wanted => Err(self.value(key, found, &wanted.to_string())),
            _ => Ok(()),
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        self.settings?.get(key).filter(|value| !value.is_null())
    }

    pub(crate) fn value(&self, key: &str, found: &Value, wanted: &str) -> ModelError {
        let key = if self.within.is_empty() { key.to_owned() } else { format!("{}.{key}", self.within) };
        let mut found = found.to_string();
        if let Some((end, _)) = found.char_indices().nth(80) {
            found.replace_range(end.., "…");
        }
        ModelError::Value { path: PathBuf::from(self.path), key, found, wanted: wanted.to_owned() }
    }

    /// A `CLIPVisionConfig`, or one of its copies in Chinese-CLIP and AltCLIP.
    pub(crate) fn vision(&self, embedding: usize) -> Result<Vit, ModelError> {
        Ok(Vit {
            image_size: self.side("image_size", 224)?,
            channels: self.size("num_channels", 3)?,
            patch: self.side("patch_size", 32)?,
            width: self.size("hidden_size", 768)?,
            layers: self.size("num_hidden_layers", 12)?,
            heads: self.size("num_attention_heads", 12)?,
            mlp: self.size("intermediate_size", 3072)?,
            activation: self.activation("hidden_act", Activation::QuickGelu)?,
            eps: self.number("layer_norm_eps", 1e-5)?,
            embedding,
        })
    }

    /// A `CLIPTextConfig`.
    pub(crate) fn clip_text(&self, embedding: usize) -> Result<ClipText, ModelError> {
        let end = self.size("eos_token_id", 49407)?;
        let end_of_text = match u32::try_from(end) {
            Ok(_) if end == LEGACY_END_OF_TEXT => EndOfText::HighestId,
            Ok(id) => EndOfText::FirstId(id),
            Err(_) => return Err(self.value("eos_token_id", &Value::from(end), "a token id")),
        };
        Ok(ClipText {
            vocabulary: self.size("vocab_size", 49408)?,
            positions: self.size("max_position_embeddings", 77)?,
            width: self.size("hidden_size", 512)?,
            layers: self.size("num_hidden_layers", 12)?,
            heads: self.size("num_attention_heads", 8)?,
            mlp: self.size("intermediate_size", 2048)?,
            activation: self.activation("hidden_act", Activation::QuickGelu)?,
            eps: self.number("layer_norm_eps", 1e-5)?,
            end_of_text,
            embedding,
        })
    }

    /// A `BertConfig`, or `ChineseCLIPTextConfig`, which has the same defaults.
    pub(crate) fn bert(&self, head: BertHead) -> Result<Bert, ModelError> {
        self.encoder()?;
        Ok(Bert {
            vocabulary: self.size("vocab_size", 30522)?,
            positions: self.size("max_position_embeddings", 512)?,
            first_position: 0,
            types: self.size("type_vocab_size", 2)?,
            width: self.size("hidden_size", 768)?,
            layers: self.size("num_hidden_layers", 12)?,
            heads: self.size("num_attention_heads", 12)?,
            mlp: self.size("intermediate_size", 3072)?,
            activation: self.activation("hidden_act", Activation::Gelu)?,
            eps: self.number("layer_norm_eps", 1e-12)?,
            head,
        })
    }

    /// An `AltCLIPTextConfig`. Positions are counted from the one after the padding token's.
    pub(crate) fn xlm_roberta(&self, conditioning: bool, embedding: usize) -> Result<Bert, ModelError> {
        self.encoder()?;
        Ok(Bert {
            vocabulary: self.size("vocab_size", 250_002)?,
            positions: self.size("max_position_embeddings", 514)?,
            first_position: self.size("pad_token_id", 1)?.saturating_add(1),
            types: self.size("type_vocab_size", 1)?,
            width: self.size("hidden_size", 1024)?,
            layers: self.size("num_hidden_layers", 24)?,
            heads: self.size("num_attention_heads", 16)?,
            mlp: self.size("intermediate_size", 4096)?,
            activation: self.activation("hidden_act", Activation::Gelu)?,
            eps: self.number("layer_norm_eps", 1e-5)?,
            head: BertHead::AltClip { hidden: self.size("project_dim", 768)?, conditioning, embedding },
        })
    }

    /// Refuses what would make a BERT something else.
    fn encoder(&self) -> Result<(), ModelError> {
        self.only("position_embedding_type", &Value::from("absolute"))?;
        self.only("is_decoder", &Value::from(false))?;
        self.only("add_cross_attention", &Value::from(false))
    }
}
