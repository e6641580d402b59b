//! Libraries in the files of other programs, and those in libraries.
//!
//! [`export`] writes items and vectors in seven formats, [`import`] reads the five that hold vectors. What it decided: rows are read and
//! written one after another, so that a million need no memory; nothing carries its final name before it is whole; one bad row ends nothing;
//! and vectors whose model a file does not name are held against the model that is open, on a few of the pictures that are there.
//!
//! The references are clip-retrieval 2.45 (`clip_inference/writer.py`), Chinese-CLIP (`cn_clip/eval/extract_features.py`), NumPy's format 1.0
//! and safetensors. Goldens made by pyarrow, numpy and safetensors lie in `tests/golden/exchange`.
mod clip_retrieval;
mod draft;
mod export;
mod features;
mod import;
mod npy;
mod safetensors;
mod table;

use std::path::{Path, PathBuf};

use hua_data::{Caption, Failure};
use serde_json::{Map, Value};

use crate::Error;

pub use export::{ExportOptions, Exported, export};
pub use import::{ImportOptions, Imported, import};

/// Formats of other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Chinese-CLIP's features: `{"image_id", "feature"}` a line.
    ChineseClip,
    /// clip-retrieval's folder: `img_emb/img_emb_0000.npy` (f16) and `metadata/metadata_0000.parquet`.
    ClipRetrieval,
    /// A table of items without vectors.
    Csv,
    /// An object an item, with its vector if that is asked for.
    Jsonl,
    /// `[rows, width]`, with the paths in a text file beside it.
    Npy,
    /// A table of items without vectors.
    Parquet,
    /// Tensor `embeddings`, with paths and model in its metadata.
    Safetensors,
}

impl Format {
    /// Each with its name.
    pub const ALL: [(&'static str, Self); 7] = [
        ("chinese-clip", Self::ChineseClip),
        ("clip-retrieval", Self::ClipRetrieval),
        ("csv", Self::Csv),
        ("jsonl", Self::Jsonl),
        ("npy", Self::Npy),
        ("parquet", Self::Parquet),
        ("safetensors", Self::Safetensors),
    ];

    /// What the name of `path` says: an extension, Chinese-CLIP's `….img_feat.jsonl`, or none for clip-retrieval's folder.
    pub fn of(path: &Path) -> Option<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        if name.ends_with("_feat.jsonl") {
            return Some(Self::ChineseClip);
        }
        match path.extension() {
            _ if path.is_dir() => Some(Self::ClipRetrieval),
            None => Some(Self::ClipRetrieval),
            Some(extension) => {
                let extension = extension.to_string_lossy().to_lowercase();
                Self::ALL.into_iter().find(|(name, _)| *name == extension).map(|(_, format)| format)
            }
        }
    }
}

/// A vector that a file holds, and what stands beside it.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    /// A path, or the name that the file gives.
    name: String,
    vector: Vec<f32>,
    captions: Vec<Caption>,
    meta: Option<Map<String, Value>>,
}

/// Rows in the order of a file; a failure ends nothing.
type Rows = Box<dyn Iterator<Item = Result<Row, Failure>>>;

/// What a file with vectors says before its rows.
struct Opened {
    /// The model's fingerprint, if the file knows it.
    fingerprint: Option<String>,
    /// How many rows, if that is known.
    total: Option<u64>,
    rows: Rows,
}

fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.into();
    move |source| Error::Io { path, source }
}

/// `path` is not what it should be; `found` has its verb.
fn malformed(path: &Path, found: impl Into<String>, wanted: impl Into<String>) -> Error {
    hua_data::Error::Malformed { path: path.to_owned(), found: found.into(), wanted: wanted.into() }.into()
}

#[cfg(test)]
mod tests;
