//! `[model]`, `[text]`, `[image]`: what a run starts from, and which parts of it are trained.
use serde::{Deserialize, Serialize};

use crate::recipe::Kind;
use crate::recipe::check::{part, share, some};
use crate::{Error, Result};

/// What a run starts from: one of `init` and `config`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSection {
    /// A folder with `config.json`, a tokenizer's files and `preprocessor_config.json`: that model, with random weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// A trained model: a folder, a file of weights, or the name of one that was pulled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
    /// A trained model whose text tower, of the same sizes, replaces the random one of `config`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_text: Option<String>,
    /// A trained model whose image tower, of the same sizes, replaces the random one of `config`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_image: Option<String>,
    /// The model whose vectors are targets, where the loss has a teacher.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher: Option<String>,
    /// The longest text, tokens, special ones included; what the model says if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_length: Option<usize>,
}

impl ModelSection {
    pub(super) fn check(&self, kind: Kind) -> Result<()> {
        let (key, found) = match (&self.init, &self.config) {
            (Some(_), Some(_)) => ("model", "both `init` and `config`"),
            (None, None) => ("model", "neither `init` nor `config`"),
            (None, Some(_)) if kind == Kind::Finetune => ("model.init", "absent"),
            _ => return Ok(()),
        };
        let wanted = if key == "model" { "one of `init`, a trained model, and `config`, a folder" } else { "the model to train further" };
        Err(Error::recipe(key, found, wanted))
    }
}

/// How one tower is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TowerSection {
    /// `"all"`, `"none"`, `{ last_layers = 2 }` (those blocks and all that follows) or `{ lora = { rank = 8 } }`. Default `"all"`.
    pub train: Trained,
    /// Steps from which on the tower is trained; before, it is as in use. Chinese-CLIP's second stage begins so. Default 0.
    pub unlock_at: u64,
    /// Chance that a number is zeroed, on the text tower's embeddings and each block's two branches, 0 to 1. Default 0.
    pub dropout: f32,
    /// Of the image tower's patches, the share that is kept in training (FLIP, arXiv 2212.00794), above 0 to 1. Default 1.
    pub keep_tokens: f32,
    /// The tower's learning rate, as a multiple of the base rate. Default 1.
    pub lr_factor: f32,
    /// Learning rate of the tower's embeddings (tokens, positions, patches), as a further multiple. Default 1.
    pub embeddings_lr_factor: f32,
    /// Each block's learning rate is this multiple of the block's after it (BEiT's layer-wise decay), above 0 to 1. Default 1.
    pub layer_decay: f32,
}

impl Default for TowerSection {
    fn default() -> Self {
        Self {
            train: Trained::All,
            unlock_at: 0,
            dropout: 0.0,
            keep_tokens: 1.0,
            lr_factor: 1.0,
            embeddings_lr_factor: 1.0,
            layer_decay: 1.0,
        }
    }
}

impl TowerSection {
    pub(super) fn check(&self, section: &str) -> Result<()> {
        let key = |name: &str| format!("{section}.{name}");
        share(&key("dropout"), self.dropout, 0.0..1.0)?;
        part(&key("keep_tokens"), self.keep_tokens.into())?;
        share(&key("lr_factor"), self.lr_factor, 0.0..f32::INFINITY)?;
        share(&key("embeddings_lr_factor"), self.embeddings_lr_factor, 0.0..f32::INFINITY)?;
        part(&key("layer_decay"), self.layer_decay.into())?;
        match &self.train {
            Trained::Lora(lora) if lora.targets.is_empty() => {
                Err(Error::recipe(key("train.lora.targets"), "empty", "names of layers, such as `q`, `v`, `mlp.up`"))
            }
            Trained::Lora(lora) => {
                share(&key("train.lora.alpha"), lora.alpha, f32::MIN_POSITIVE..f32::INFINITY)?;
                some(&key("train.lora.rank"), lora.rank)
            }
            Trained::All | Trained::LastLayers(_) | Trained::None => Ok(()),
        }
    }
}

/// Which parts of a tower are trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trained {
    /// All of it.
    #[default]
    All,
    /// The last so many blocks, and all that follows them.
    LastLayers(usize),
    /// Nothing but low-rank adapters (Hu et al., arXiv 2106.09685).
    Lora(Lora),
    /// Nothing.
    None,
}

/// Low-rank adapters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lora {
    /// Columns of `B`, rows of `A`. Default 8.
    pub rank: usize,
    /// The adapter's product is scaled by `alpha / rank`. Default 16.
    pub alpha: f32,
    /// Which layers of each block get one, by the end of their name: `q`, `k`, `v`, `out`, `mlp.up`, `mlp.down`. Default `["q", "v"]`.
    #[serde(deserialize_with = "crate::recipe::lists::one_or_many")]
    pub targets: Vec<String>,
    /// Whether checkpoints keep the adapters beside the model as it was; otherwise they are merged into it. Default `false`.
    pub keep: bool,
}

impl Default for Lora {
    fn default() -> Self {
        Self { rank: 8, alpha: 16.0, targets: vec!["q".to_owned(), "v".to_owned()], keep: false }
    }
}
