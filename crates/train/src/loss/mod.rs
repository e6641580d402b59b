//! Losses, as plain functions on matrices: each gives its value and its gradients.
//!
//! They know no towers and no data. Rows are embeddings; those that compare directions take rows of length one ([`Units`], whose
//! `backward` leads on to the embeddings as a tower gives them). Which rows belong together is said by group numbers, so that two captions
//! of a picture and one caption of two pictures are never taken for strangers. Sums run in a fixed order: the same bits for any number of
//! threads. Everything is held to finite differences, and to PyTorch's formulas (`tests/golden/make_losses.py`), by `tests/losses.rs`.
mod contrastive;
mod distill;
mod groups;
pub(crate) mod matrix;
mod projection;
mod sigmoid;

pub use contrastive::{Contrast, Contrasted, info_nce};
pub use distill::{Distilled, cosine, mse};
pub use groups::{Duplicates, Groups};
pub use matrix::Units;
pub use projection::{Pca, PcaError, Projection};
pub use sigmoid::{SIGMOID_BIAS, SIGMOID_LOGIT_SCALE, sigmoid};

/// `ln 100`: the largest `logit_scale` of CLIP (arXiv 2103.00020, section 2.5). The smallest of cn_clip and open_clip is 0.
pub const MAX_LOGIT_SCALE: f32 = 4.605_170_2;

/// `logit_scale` where a model has none yet: `ln (1 / 0.07)` (arXiv 2103.00020, section 2.5).
pub const INITIAL_LOGIT_SCALE: f32 = 2.659_26;

/// The scale of an optimiser's step, brought back into `[0, largest]`, as cn_clip and open_clip do after every step; what is no number
/// stays so, for the trainer to see.
pub fn clamp_logit_scale(logit_scale: f32, largest: f32) -> f32 {
    if logit_scale.is_nan() { logit_scale } else { logit_scale.clamp(0.0, largest) }
}
