//! `[eval]`: when the held-out set is evaluated, and when that ends the run.
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::recipe::check::share;

/// The held-out set is evaluated as often as this says and at the end; which set it is, `[data]` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvalSection {
    /// Also before the first step. Default `true`.
    pub at_start: bool,
    /// Epochs from one evaluation to the next; 0 for never. Default 1.
    pub every_epochs: u64,
    /// Steps from one evaluation to the next; if it is not 0, epochs do not count. Default 0.
    pub every_steps: u64,
    /// How much better an evaluation must be to count as better, in units of the headline (points of recall). Default 0.
    pub least_gain: f64,
    /// Evaluations in a row without a better one after which the run ends; 0 for no early stop. Default 0.
    pub patience: u32,
}

impl Default for EvalSection {
    fn default() -> Self {
        Self { at_start: true, every_epochs: 1, every_steps: 0, least_gain: 0.0, patience: 0 }
    }
}

impl EvalSection {
    pub(super) fn check(&self) -> Result<()> {
        share("eval.least_gain", self.least_gain, 0.0..f64::INFINITY)
    }
}
