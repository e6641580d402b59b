//! `[schedule]`: how long a run is, and its learning rate over that time.
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::recipe::check::{positive, share};

/// Length and learning rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleSection {
    /// Epochs, unless `steps` says how many steps. Default 1.
    pub epochs: f64,
    /// Steps; 0 leaves it to the epochs. Default 0.
    pub steps: u64,
    /// Steps over which the learning rate rises from nothing; 0 leaves it to `warmup_share`. Default 0.
    pub warmup_steps: u64,
    /// The same as a share of all steps, 0 to 1. Default 0.05.
    pub warmup_share: f64,
    /// How it falls from there. Default `"cosine"`.
    pub decay: Decay,
    /// What is left of it at the end, as a share of the peak. Default 0.
    pub final_share: f64,
}

impl Default for ScheduleSection {
    fn default() -> Self {
        Self { epochs: 1.0, steps: 0, warmup_steps: 0, warmup_share: 0.05, decay: Decay::Cosine, final_share: 0.0 }
    }
}

impl ScheduleSection {
    pub(super) fn check(&self) -> Result<()> {
        positive("schedule.epochs", self.epochs)?;
        share("schedule.warmup_share", self.warmup_share, 0.0..1.0)?;
        share("schedule.final_share", self.final_share, 0.0..1.0)
    }
}

/// How the learning rate falls after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// It stays.
    Constant,
    /// Half a cosine (Loshchilov & Hutter, arXiv 1608.03983).
    Cosine,
    /// A straight line.
    Linear,
}
