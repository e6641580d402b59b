//! Which numbers a model computes with, and where its packed weights are kept.
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use hua_exec::{Measured, Precision};

use crate::Error;

/// The precision that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrecisionChoice {
    /// f32 or bf16, whichever is faster on this machine: measured when a model is opened. Never int8.
    Auto,
    /// This one.
    Just(Precision),
}

impl PrecisionChoice {
    /// The precision, and what was measured to find it.
    pub(crate) fn choose(self) -> Result<(Precision, Option<Measured>), Error> {
        match self {
            Self::Auto => {
                let measured = Measured::now()?;
                Ok((measured.fastest(), Some(measured)))
            }
            Self::Just(precision) => Ok((precision, None)),
        }
    }
}

/// f32.
impl Default for PrecisionChoice {
    fn default() -> Self {
        Self::Just(Precision::F32)
    }
}

impl fmt::Display for PrecisionChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Just(precision) => precision.fmt(f),
        }
    }
}

/// A word that is no precision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no precision; there are `f32`, `bf16`, `int8` and `auto`", .0.escape_debug())]
pub struct PrecisionChoiceError(String);

impl FromStr for PrecisionChoice {
    type Err = PrecisionChoiceError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match (name, name.parse()) {
            ("auto", _) => Ok(Self::Auto),
            (_, Ok(precision)) => Ok(Self::Just(precision)),
            _ => Err(PrecisionChoiceError(name.to_owned())),
        }
    }
}

/// When packed weights are kept in files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PackedWhen {
    /// In every precision. Files of f32 are as large as the model.
    Always,
    /// In bf16 and int8, when they are first packed; those of f32 are used if they are there.
    #[default]
    Auto,
    /// Never; nor are those used that are there.
    Off,
}

/// Where packed weights are kept, so that a model opens faster the next time and shares its memory with other processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackedOptions {
    /// The folder; none: nothing is kept. The built-in model, which is small, is never.
    pub folder: Option<PathBuf>,
    /// When.
    pub when: PackedWhen,
}

impl PackedOptions {
    /// The cache of a model.
    pub(crate) fn cache(&self, fingerprint: &str, precision: Precision) -> Option<hua_exec::PackedCache> {
        let write = match self.when {
            PackedWhen::Always => true,
            PackedWhen::Auto => precision != Precision::F32,
            PackedWhen::Off => return None,
        };
        Some(hua_exec::PackedCache { folder: self.folder.clone()?, model: fingerprint.to_owned(), write })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precisions_are_read_as_they_are_written() {
        for name in ["auto", "f32", "bf16", "int8"] {
            assert_eq!(name.parse::<PrecisionChoice>().unwrap().to_string(), name);
        }
        let error = "fp16".parse::<PrecisionChoice>().unwrap_err().to_string();
        assert_eq!(error, "`fp16` is no precision; there are `f32`, `bf16`, `int8` and `auto`");
    }

    #[test]
    fn files_of_f32_are_written_only_when_asked_for() {
        let options = |when| PackedOptions { folder: Some("here".into()), when };
        let writes = |when, precision| options(when).cache("model", precision).map(|cache| cache.write);
        assert_eq!(writes(PackedWhen::Auto, Precision::F32), Some(false));
        assert_eq!(writes(PackedWhen::Auto, Precision::Int8), Some(true));
        assert_eq!(writes(PackedWhen::Always, Precision::F32), Some(true));
        assert_eq!(writes(PackedWhen::Off, Precision::Bf16), None);
        assert_eq!(PackedOptions::default().cache("model", Precision::Bf16), None);
    }
}
