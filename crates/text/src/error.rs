//! Why a tokenizer cannot be opened or a text cannot be cut.
use std::io;
use std::path::PathBuf;

/// What went wrong in this crate.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// No room for even one token of the text between the special tokens.
    #[error("a context of {found} tokens, wanted at least {wanted}")]
    ContextLength {
        /// The context length asked for, in tokens.
        found: usize,
        /// The special tokens of the model and one more.
        wanted: usize,
    },
    /// The library could not cut a text: the vocabulary lacks what it needs for it, usually the unknown token.
    #[error("cannot cut the text into tokens")]
    Encode(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Something is wrong with a file; the source says what.
    #[error("cannot use `{}` as a tokenizer", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<TextError>,
    },
    /// The content of a file is not what its format, or its model, allows.
    #[error("{what} is {found}, wanted {wanted}")]
    Invalid {
        /// The part of the file.
        what: &'static str,
        /// What it holds.
        found: String,
        /// What it may hold.
        wanted: &'static str,
    },
    /// The file cannot be read.
    #[error("cannot read the file")]
    Io(#[from] io::Error),
    /// The file is not JSON, or not the JSON of a tokenizer that hua can run.
    #[error("not the JSON of a tokenizer that hua can run")]
    Json(#[from] serde_json::Error),
    /// The tokenizer library refuses the content.
    #[error("the tokenizer library refuses {what}")]
    Library {
        /// The part that it refuses.
        what: &'static str,
        /// Its reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A folder without the files of a tokenizer.
    #[error("no tokenizer in `{}`, wanted {wanted}", dir.display())]
    NoTokenizer {
        /// The folder.
        dir: PathBuf,
        /// The files of which one is needed.
        wanted: &'static str,
    },
    /// The file is larger than any real one.
    #[error("{found} bytes, wanted at most {limit}")]
    TooLarge {
        /// Its size in bytes.
        found: u64,
        /// The most that is read, in bytes.
        limit: u64,
    },
}

impl TextError {
    /// The part of a file that is not as it must be.
    pub(crate) fn invalid(what: &'static str, found: impl Into<String>, wanted: &'static str) -> Self {
        Self::Invalid { what, found: found.into(), wanted }
    }

    /// Refuses content larger than `limit` bytes, before anything is made of it.
    pub(crate) fn limit(bytes: &[u8], limit: u64) -> Result<(), Self> {
        let found = bytes.len() as u64;
        if found > limit { Err(Self::TooLarge { found, limit }) } else { Ok(()) }
    }

    /// A refusal by the library.
    pub(crate) fn library(what: &'static str) -> impl FnOnce(Box<dyn std::error::Error + Send + Sync>) -> Self {
        move |source| Self::Library { what, source }
    }
}
