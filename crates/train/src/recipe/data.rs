//! `[data]`: what is learnt from, how it is sampled and augmented, and what is held out.
use serde::{Deserialize, Serialize};

/// What is learnt from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataSection {
    /// Where the training set is: whatever `hua data` reads.
    pub train: Vec<String>,
    /// Where the held-out set is; never trained on.
    pub valid: Vec<String>,
}
