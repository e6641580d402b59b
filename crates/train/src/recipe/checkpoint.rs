//! `[checkpoint]`: when checkpoints are written.
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::recipe::check::share;

/// `last/` is written at the end, when the run is stopped, and as often as this says; `best/` after each evaluation that is the best so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointSection {
    /// Whether `best/` is written. Default `true`.
    pub best: bool,
    /// Steps from one `last/` to the next; 0 leaves it to the minutes. Default 0.
    pub every_steps: u64,
    /// Minutes from one `last/` to the next; 0 leaves it to the steps. Default 10.
    pub every_minutes: f64,
}

impl Default for CheckpointSection {
    fn default() -> Self {
        Self { best: true, every_steps: 0, every_minutes: 10.0 }
    }
}

impl CheckpointSection {
    pub(super) fn check(&self) -> Result<()> {
        share("checkpoint.every_minutes", self.every_minutes, 0.0..f64::INFINITY)
    }
}
