//! What can go wrong, whose fault it is, and what to do about it.
use std::io;
use std::path::PathBuf;

use hua_exec::ExecError;
use hua_model::ModelError;
use hua_model::checkpoint::Blame;
use hua_text::TextError;

use crate::Failure;
use crate::evaluate::DatasetError;
use crate::hub::{Fault, HubError};
use crate::query::QueryError;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something that lists pictures and cannot be read.
    #[error(transparent)]
    Data(#[from] hua_data::Error),
    /// A data set that cannot be read.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// A graph that cannot be loaded or run.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// A model that cannot be found or fetched.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// A picture that cannot be decoded.
    #[error("cannot use picture `{name}`: {source}")]
    Image {
        /// Its path or name.
        name: String,
        /// Why.
        source: hua_image::Error,
    },
    /// A library of pictures that cannot be read or written.
    #[error(transparent)]
    Index(#[from] hua_index::Error),
    /// A file or folder that cannot be read or written.
    #[error("cannot use `{}`: {source}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A model folder that makes no model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Nothing to search in.
    #[error("no picture that can be used in {}", list(sources))]
    NoPictures {
        /// Where pictures were looked for.
        sources: Vec<PathBuf>,
        /// Those that were found and failed.
        failures: Vec<Failure>,
    },
    /// Embeddings of two models, which cannot be compared.
    #[error("embeddings of model {left} and of model {right} cannot be compared")]
    OtherModel {
        /// One model's fingerprint.
        left: String,
        /// The other's.
        right: String,
    },
    /// A library that has no vectors of the model that was opened, or none that were made in the same way.
    #[error("the library `{}` has vectors of model {wanted}, not of {found}", path.display())]
    LibraryModel {
        /// The library.
        path: PathBuf,
        /// The model that was opened: its name, fingerprint and preprocessing.
        found: String,
        /// The library's.
        wanted: String,
        /// What to try.
        hint: String,
    },
    /// A folder that is to become a library and has other files in it.
    #[error("`{}` is no library, and has files in it already", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// Nothing was named to index, and the library does not know either.
    #[error("no folder to index, and `{}` knows of none", path.display())]
    NothingToIndex {
        /// The library.
        path: PathBuf,
    },
    /// Labels or templates that classify nothing.
    #[error("{what}")]
    Labels {
        /// What is wrong with them.
        what: String,
    },
    /// A model that needs a tokenizer of its own and has none.
    #[error("the model's folder has no tokenizer, and {family} models have none that hua brings along")]
    NoTokenizer {
        /// The family.
        family: String,
    },
    /// A model that computes no numbers.
    #[error("the model computes infinite numbers, or none, for {of}: its weights are damaged")]
    NotFinite {
        /// The text or picture.
        of: String,
    },
    /// Preprocessing that gives other pictures than the tower takes.
    #[error("`preprocessor_config.json` makes pictures of {width} x {height} pixels, the image tower takes {wanted} x {wanted}")]
    PictureSize {
        /// Pixels of a row.
        width: u32,
        /// Rows.
        height: u32,
        /// Side of the tower's pictures.
        wanted: u32,
    },
    /// A precision that an executor does not have.
    #[error("the reference executor computes in f32 alone, `{precision}` was asked for")]
    Precision {
        /// What was asked for.
        precision: hua_exec::Precision,
    },
    /// A query that asks for nothing.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// A `preprocessor_config.json` that cannot be followed.
    #[error("`preprocessor_config.json` of the model: {0}")]
    Preprocessing(#[source] hua_image::Error),
    /// Threads that cannot be started.
    #[error("cannot start {threads} threads: {reason}")]
    Threads {
        /// How many were wanted.
        threads: usize,
        /// Why.
        reason: String,
    },
    /// Folders that the system does not tell the changes of.
    #[error("cannot follow the folders: {source}")]
    Watch {
        /// What it said.
        source: notify::Error,
    },
    /// A tokenizer with more ids than the tower has rows.
    #[error("the tokenizer has {found} ids, the text tower {wanted}")]
    Vocabulary {
        /// Ids of the tokenizer.
        found: usize,
        /// Rows of the token table.
        wanted: usize,
    },
    /// A tokenizer that cannot be made, or a text it cannot read.
    #[error(transparent)]
    Text(#[from] TextError),
}

impl Error {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Dataset(DatasetError::OtherQueries { .. })
            | Self::Exec(ExecError::Isa(_) | ExecError::Output { .. })
            | Self::Labels { .. }
            | Self::LibraryModel { .. }
            | Self::NoPictures { .. }
            | Self::NotEmpty { .. }
            | Self::NothingToIndex { .. }
            | Self::OtherModel { .. }
            | Self::Precision { .. }
            | Self::Query(_)
            | Self::Threads { .. } => Fault::Caller,
            Self::Exec(_) => Fault::Us,
            Self::Io { source, .. } | Self::Dataset(DatasetError::Io { source, .. })
                if matches!(source.kind(), io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory | io::ErrorKind::NotFound) =>
            {
                Fault::Caller
            }
            Self::Data(hua_data::Error::Exists { .. } | hua_data::Error::Missing { .. }) => Fault::Caller,
            Self::Data(hua_data::Error::Write { source, .. }) if source.kind() == io::ErrorKind::NotFound => Fault::Caller,
            Self::Data(hua_data::Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Fault::Caller,
            Self::Hub(e) => e.fault(),
            Self::Index(e) if e.blame() == hua_index::Blame::Caller => Fault::Caller,
            Self::Model(e) if e.blame() == Blame::Caller => Fault::Caller,
            Self::Data(_)
            | Self::Dataset(_)
            | Self::Image { .. }
            | Self::Index(_)
            | Self::Io { .. }
            | Self::Model(_)
            | Self::NoTokenizer { .. }
            | Self::NotFinite { .. }
            | Self::PictureSize { .. }
            | Self::Preprocessing(_)
            | Self::Text(_)
            | Self::Watch { .. }
            | Self::Vocabulary { .. } => Fault::File,
        }
    }

    /// What the caller may try.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Data(hua_data::Error::Exists { .. }) => Some("name another place with `-o`, or remove what is there".into()),
            Self::Dataset(DatasetError::NoAnswers { .. }) => {
                Some("test sets with hidden answers have empty `image_ids`; score a split whose answers are there".into())
            }
            Self::Dataset(DatasetError::NoCaptions { .. }) => {
                Some("captions stand in `NAME.txt` beside a picture, or in a column of a table; `--caption-column` names it".into())
            }
            Self::Dataset(DatasetError::OtherQueries { .. }) => Some("compare runs on the same texts and pictures".into()),
            Self::Dataset(DatasetError::Io { .. }) => {
                Some("a data set is a folder with `SPLIT_imgs.tsv` and `SPLIT_texts.jsonl`, Chinese-CLIP's format".into())
            }
            Self::Exec(ExecError::Output { .. }) => Some("`hua inspect` lists what a model gives".into()),
            Self::Hub(e) => e.hint(),
            Self::Index(e) => e.hint(),
            Self::LibraryModel { hint, .. } => Some(hint.clone()),
            Self::NotEmpty { .. } => Some("a library needs a folder of its own: name one that is empty or not there yet".into()),
            Self::NothingToIndex { .. } => Some("name folders: `hua index DIR -o LIB`".into()),
            Self::Model(e) => e.hint(),
            Self::NoPictures { failures, .. } if failures.is_empty() => {
                Some("pictures are files named .jpg, .png, .webp, .gif, .bmp or .tiff".into())
            }
            Self::NoPictures { failures, .. } => {
                failures.first().map(|f| format!("{} failed, the first: {}: {}", failures.len(), f.path, f.reason))
            }
            Self::NoTokenizer { .. } => Some("put `tokenizer.json` or `sentencepiece.bpe.model` beside the weights".into()),
            Self::Query(e) => e.hint(),
            Self::OtherModel { .. } => Some("embed both with one model".into()),
            Self::Watch { source } if matches!(source.kind, notify::ErrorKind::MaxFilesWatch) => {
                Some("the system watches no more folders; raise `fs.inotify.max_user_watches`".into())
            }
            _ => None,
        }
    }

    /// The error without the name of the picture, for where that stands beside it.
    pub fn reason(&self) -> String {
        match self {
            Self::Image { source, .. } => source.to_string(),
            Self::Io { source, .. } => source.to_string(),
            other => other.to_string(),
        }
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|p| format!("`{}`", p.display())).collect::<Vec<_>>().join(", ")
}
