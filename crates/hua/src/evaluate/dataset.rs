//! Data sets to evaluate on: the readers are those of `hua-data`; here is what an evaluation has to say of them.
use std::path::PathBuf;

pub use hua_data::chinese_clip::{Split as Dataset, TextRecord};

/// Why a data set cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// Two pictures of one id.
    #[error("`{path}` has two pictures with id `{id}`")]
    DuplicateImage {
        /// The file.
        path: PathBuf,
        /// The id.
        id: String,
    },
    /// A file that is not there or cannot be read.
    #[error("cannot read `{path}`")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A line that is not what it should be.
    #[error("`{path}` line {line}: {found}, wanted {wanted}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What it is.
        found: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// No text names a picture of the split: nothing can be scored.
    #[error("no text of `{path}` names a picture of the split, so there is nothing to score")]
    NoAnswers {
        /// The texts.
        path: PathBuf,
    },
    /// No picture has a caption: nothing can be scored.
    #[error("no picture of `{path}` has a caption, so there is nothing to score")]
    NoCaptions {
        /// The first source.
        path: PathBuf,
    },
    /// Results of other queries, which cannot be compared.
    #[error("the results of {first} and of {second} are not of the same queries: {found}")]
    OtherQueries {
        /// One model, and its data.
        first: String,
        /// The other.
        second: String,
        /// Where they part.
        found: String,
    },
    /// A file of results that is none.
    #[error("`{path}`: {found}, wanted {wanted}")]
    Results {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        found: String,
        /// What it should be.
        wanted: &'static str,
    },
}

impl From<hua_data::Error> for DatasetError {
    fn from(error: hua_data::Error) -> Self {
        match error {
            hua_data::Error::Io { path, source } => Self::Io { path, source },
            hua_data::Error::Line { path, line, found, wanted } => Self::Line { path, line, found, wanted },
            other => Self::Io { path: PathBuf::new(), source: std::io::Error::other(other) },
        }
    }
}
