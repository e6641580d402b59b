//! `[optim]`: AdamW (Loshchilov & Hutter, arXiv 1711.05101), and Muon for the matrices of blocks.
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::recipe::check::{positive, share};

/// The optimiser.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimSection {
    /// `"adamw"`, or `"muon"`: the matrices of blocks by Muon, all else by AdamW.
    /// Default `"adamw"`.
    pub kind: OptimKind,
    /// Base learning rate, its peak. If absent, one that suits the start and the batch ([`crate::optim::suitable_lr`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// Decay of the mean of gradients of Muon, 0 to below 1. Default 0.95.
    pub momentum: f64,
    /// Decay of the mean of gradients, 0 to below 1. Default 0.9.
    pub beta1: f64,
    /// Decay of the mean of their squares, 0 to below 1. Default 0.98, as CLIP's for transformers.
    pub beta2: f64,
    /// Added to the root of the mean of squares. Default 1e-6.
    pub eps: f64,
    /// Decoupled weight decay, times the learning rate at each step. Default 0.01.
    pub weight_decay: f64,
    /// Which parameters do not decay: `"standard"`, `"open_clip"`, `"cn_clip"` or `"none"`. Default `"standard"`.
    pub no_decay: NoDecay,
    /// All gradients are scaled down together if their norm is greater than this; 0 for never, as upstream. Default 1.
    pub clip: f64,
    /// Learning rate of the logit scale and bias, as a multiple of the base rate; 0 leaves them as they are. Default 1.
    pub logit_scale_lr_factor: f64,
    /// Least logit scale: the logarithm of what cosines are multiplied by. Default 0, as upstream.
    pub least_logit_scale: f32,
    /// Greatest logit scale. Default ln 100, as upstream.
    pub most_logit_scale: f32,
    /// Decay of the moving average of the parameters that is evaluated and saved in their stead; 0 for none, 0.999 is usual. Default 0.
    pub ema: f64,
}

impl Default for OptimSection {
    fn default() -> Self {
        Self {
            kind: OptimKind::AdamW,
            lr: None,
            momentum: 0.95,
            beta1: 0.9,
            beta2: 0.98,
            eps: 1e-6,
            weight_decay: 0.01,
            no_decay: NoDecay::Standard,
            clip: 1.0,
            logit_scale_lr_factor: 1.0,
            least_logit_scale: 0.0,
            most_logit_scale: 100f32.ln(),
            ema: 0.0,
        }
    }
}

impl OptimSection {
    pub(super) fn check(&self) -> Result<()> {
        if let Some(lr) = self.lr {
            positive("optim.lr", lr)?;
        }
        share("optim.momentum", self.momentum, 0.0..1.0)?;
        share("optim.beta1", self.beta1, 0.0..1.0)?;
        share("optim.beta2", self.beta2, 0.0..1.0)?;
        positive("optim.eps", self.eps)?;
        share("optim.weight_decay", self.weight_decay, 0.0..f64::INFINITY)?;
        share("optim.clip", self.clip, 0.0..f64::INFINITY)?;
        share("optim.logit_scale_lr_factor", self.logit_scale_lr_factor, 0.0..f64::INFINITY)?;
        share("optim.most_logit_scale", self.most_logit_scale, self.least_logit_scale..f32::INFINITY)?;
        share("optim.ema", self.ema, 0.0..1.0)
    }
}

/// Which rule changes the parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimKind {
    /// AdamW, all of them.
    #[default]
    AdamW,
    /// Muon the matrices of blocks, AdamW the others.
    Muon,
}

/// Which parameters do not decay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoDecay {
    /// cn_clip's rule, on cn_clip's names: those that contain `bn`, `ln`, `bias` or `logit_scale`. BERT's norms and all embeddings decay.
    CnClip,
    /// All decay.
    None,
    /// open_clip's rule: vectors and scalars do not (biases, gains, the class token, the logit scale).
    OpenClip,
    /// Nor do the tables of tokens, types and positions.
    Standard,
}
