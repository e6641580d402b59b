//! `[data]`: what is learnt from, how it is sampled and augmented, and what is held out.
use hua_image::augment::Augment;
use serde::{Deserialize, Serialize};

use crate::data::{Loading, ReadOptions, Sampling, TextAugment};
use crate::{Error, Result};

/// What is learnt from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataSection {
    /// Where the training set is: whatever `hua data` reads.
    #[serde(deserialize_with = "crate::recipe::lists::one_or_many")]
    pub train: Vec<String>,
    /// Where the held-out set is; never trained on.
    #[serde(deserialize_with = "crate::recipe::lists::one_or_many")]
    pub valid: Vec<String>,
    /// How the training set is read: which part of it, and what is done about what is bad in it.
    pub read: ReadOptions,
    /// How the held-out set is read.
    pub valid_read: ReadOptions,
    /// How batches are drawn from it.
    pub sampling: Sampling,
    /// How pictures are changed.
    pub augment: Augment,
    /// How texts are varied.
    pub texts: TextAugment,
    /// How far ahead batches are prepared.
    pub loading: Loading,
}

impl DataSection {
    /// Refuses what cannot be.
    ///
    /// # Errors
    /// [`Error::Recipe`] names the first key.
    pub fn check(&self) -> Result<()> {
        self.read.check("data.read")?;
        self.valid_read.check("data.valid_read")?;
        self.sampling.check("data.sampling")?;
        self.texts.check("data.texts")?;
        self.loading.check("data.loading")?;
        self.augment.check().map_err(|e| match e {
            hua_image::Error::Config { key, found, wanted } => Error::recipe(format!("data.augment.{key}"), found, wanted),
            other => Error::recipe("data.augment", other.to_string(), "numbers that make sense"),
        })
    }
}
