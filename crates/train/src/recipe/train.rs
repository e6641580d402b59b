//! `[train]`: the steps.
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::recipe::check::{share, some};

/// The steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainSection {
    /// Items of a step: pairs, or whatever `[data]` samples. Default 64.
    pub batch: usize,
    /// Items that are in memory with their activations at a time (gradient caching, arXiv 2101.06983); 0 for all. Same gradients. Default 0.
    pub chunk: usize,
    /// Where all randomness comes from. Default 0.
    pub seed: u64,
    /// Numbers of the matrix products; sums and parameters are f32 always. Default `"f32"`.
    pub precision: TrainPrecision,
    /// Keep only what goes into each block and run it again in backward: less memory, a third more work. Default `false`.
    pub recompute: bool,
    /// Steps in a row with numbers that are not finite after which the run ends with an error; such steps change nothing. Default 10.
    pub most_skipped: u32,
    /// Minutes after which the run stops as if it were asked to, counted anew when it is resumed; 0 for no limit. Default 0.
    pub time_limit_minutes: f64,
}

impl Default for TrainSection {
    fn default() -> Self {
        Self { batch: 64, chunk: 0, seed: 0, precision: TrainPrecision::F32, recompute: false, most_skipped: 10, time_limit_minutes: 0.0 }
    }
}

impl TrainSection {
    pub(super) fn check(&self) -> Result<()> {
        some("train.batch", self.batch)?;
        some("train.most_skipped", self.most_skipped as usize)?;
        share("train.time_limit_minutes", self.time_limit_minutes, 0.0..f64::INFINITY)
    }
}

/// Numbers of the matrix products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainPrecision {
    /// bfloat16 inputs, f32 sums.
    Bf16,
    /// Single precision.
    F32,
}
