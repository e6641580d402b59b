//! What can go wrong in training.
use std::io;
use std::path::{Path, PathBuf};

/// Why a run cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Adapters that are not this model's.
    #[error("`{}`: {reason}", path.display())]
    Adapter {
        /// The file or folder.
        path: PathBuf,
        /// What is found and what is wanted.
        reason: String,
    },
    /// Data of which too much cannot be used, or of which nothing is left.
    #[error("`{name}`: {found}; wanted {wanted}")]
    BadData {
        /// The source, or the picture in it.
        name: String,
        /// What is wrong with it.
        found: String,
        /// What it should be.
        wanted: String,
    },
    /// Another process trains into the folder.
    #[error("`{}` is in use by another process", path.display())]
    Busy {
        /// The run's folder.
        path: PathBuf,
    },
    /// Loss or gradients that are not numbers, step after step.
    #[error("{skipped} steps in a row, up to step {step}, had a {what} that is not finite")]
    Diverged {
        /// The last of them.
        step: u64,
        /// How many there were.
        skipped: u32,
        /// What it was: `loss`, or the gradient of which parameter.
        what: String,
    },
    /// A run would be written over.
    #[error("`{}` holds a run already", path.display())]
    Exists {
        /// Its folder.
        path: PathBuf,
    },
    /// No room for a checkpoint; those that were written before are as they were.
    #[error("the disk is full: `{}` cannot be written; the checkpoints before it are whole", path.display())]
    Full {
        /// What was written.
        path: PathBuf,
    },
    /// What the library `hua`, or one that it is made of, complains of; it knows whose fault that is and has a hint.
    #[error(transparent)]
    Hua(hua::Error),
    /// A file or folder that cannot be read or written.
    #[error("cannot use `{}`: {source}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Something that a recipe names and that cannot be used.
    #[error("recipe: `{key}`: {source}")]
    Named {
        /// Which key, with dots.
        key: String,
        /// Why.
        source: Box<Error>,
    },
    /// A checkpoint of another recipe.
    #[error("`{}` was written by another recipe: {}", path.display(), differences.join("; "))]
    OtherRecipe {
        /// The checkpoint.
        path: PathBuf,
        /// Each key with what it was and is.
        differences: Vec<String>,
    },
    /// A recipe that says something impossible.
    #[error("recipe: `{key}` is {found}, wanted {wanted}")]
    Recipe {
        /// Which key, with dots.
        key: String,
        /// What it says.
        found: String,
        /// What it may say.
        wanted: String,
    },
    /// A training state that cannot be gone on with.
    #[error("`{}` is no training state of this run: {reason}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is found and what is wanted.
        reason: String,
    },
    /// A recipe that is no TOML.
    #[error("`{}` is no recipe: {message}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        message: String,
    },
}

/// What training gives, or why it cannot.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Of a failed use of `path`.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path: path.as_ref().to_owned() },
            _ => Self::Io { path: path.as_ref().to_owned(), source },
        }
    }

    /// Of what the recipe's `key` names.
    pub(crate) fn named<E: Into<Self>>(key: &str) -> impl FnOnce(E) -> Self {
        move |error| Self::Named { key: key.to_owned(), source: Box::new(error.into()) }
    }

    /// Of a recipe's key.
    pub fn recipe(key: impl Into<String>, found: impl Into<String>, wanted: impl Into<String>) -> Self {
        Self::Recipe { key: key.into(), found: found.into(), wanted: wanted.into() }
    }
}

impl<E: Into<hua::Error>> From<E> for Error {
    fn from(error: E) -> Self {
        Self::Hua(error.into())
    }
}
