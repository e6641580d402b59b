//! `[loss]`: what is made small.
use serde::{Deserialize, Serialize};

/// What is made small.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossSection {}
