//! What a library holds, as plain values.
use std::fmt;

use crate::{Error, Result};

/// An item of a library; never used again for another, even if it was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct ItemId(pub i64);

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An embedding space of a library; never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct SpaceId(pub i64);

/// How the numbers of a vector are stored, beside their int8 copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoredType {
    /// Two bytes each: the usual choice, whose rounding moves a cosine by about 1e-5.
    F16,
    /// Four bytes each, kept to the bit.
    F32,
}

impl StoredType {
    /// Its name in the catalogue and in file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::F32 => "f32",
        }
    }

    /// Bytes of one number.
    pub fn bytes(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::F16, Self::F32].into_iter().find(|t| t.name() == name)
    }
}

/// What an embedding space is made of. Vectors of two spaces are never compared.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SpaceSpec {
    /// What people call it; the only one of that name in its library.
    pub name: String,
    /// The model, by its fingerprint.
    pub fingerprint: String,
    /// How pictures became the model's input, in any words that are the same if and only if it is the same.
    pub preprocessing: String,
    /// Numbers of a vector.
    pub width: usize,
    /// How they are stored.
    pub dtype: StoredType,
}

/// Whether a space is to be searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SpaceState {
    /// It is being filled beside another and does not answer for the library yet.
    Filling,
    /// It answers.
    Live,
}

impl SpaceState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Filling => "filling",
            Self::Live => "live",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Filling, Self::Live].into_iter().find(|s| s.name() == name)
    }
}

/// An embedding space of a library.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Space {
    /// Which.
    pub id: SpaceId,
    /// What it is made of.
    pub spec: SpaceSpec,
    /// Whether it is to be searched.
    pub state: SpaceState,
}

impl Space {
    /// Holds vectors of a model to the space: only its own may be compared, or added.
    ///
    /// # Errors
    /// If it is another model, or other preprocessing.
    pub fn expect(&self, fingerprint: &str, preprocessing: &str) -> Result<()> {
        let spec = &self.spec;
        let both = [("model", fingerprint, &spec.fingerprint), ("preprocessing", preprocessing, &spec.preprocessing)];
        match both.into_iter().find(|(_, found, wanted)| found != wanted) {
            None => Ok(()),
            Some((what, found, wanted)) => {
                Err(Error::OtherModel { space: spec.name.clone(), what, found: found.into(), wanted: wanted.clone() })
            }
        }
    }
}

/// What a picture file says of itself.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Facts {
    /// Pixels of a row, as shown.
    pub width: Option<u32>,
    /// Rows, as shown.
    pub height: Option<u32>,
    /// `jpeg`, `png`, ...
    pub format: Option<String>,
    /// When it was taken: ISO 8601 in local time, such as `2024-05-31T18:20:00`. Compared as text.
    pub taken: Option<String>,
    /// The camera's name.
    pub camera: Option<String>,
    /// Degrees north.
    pub latitude: Option<f64>,
    /// Degrees east.
    pub longitude: Option<f64>,
}

/// Words that somebody wrote about a picture.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Caption {
    /// A language tag such as `zh`, if it is known.
    pub language: Option<String>,
    /// The words.
    pub text: String,
}

/// A label of a picture.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Tag {
    /// The label.
    pub tag: String,
    /// How sure its source is.
    pub score: Option<f64>,
    /// Who says so: [`Tag::DATA`], or a name such as `zero-shot`.
    pub source: String,
}

impl Tag {
    /// The source of tags that came with the picture.
    pub const DATA: &str = "data";

    /// A tag that came with the picture.
    pub fn new(tag: impl Into<String>) -> Self {
        Self { tag: tag.into(), score: None, source: Self::DATA.into() }
    }
}

/// An item to be written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewItem {
    /// What names it: a path with `/`, `archive.tar!member`, `table.tsv#id`.
    pub path: String,
    /// Length of the file.
    pub bytes: u64,
    /// When the file was changed last, in nanoseconds since 1970.
    pub modified: Option<i64>,
    /// A hash of the content.
    pub hash: Option<[u8; 32]>,
    /// What the file says of itself.
    pub facts: Facts,
    /// What was written about it.
    pub captions: Vec<Caption>,
    /// Its labels.
    pub tags: Vec<Tag>,
    /// Whatever else the user knows.
    pub meta: Option<serde_json::Value>,
}

/// An item of a library.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Item {
    /// Which.
    pub id: ItemId,
    /// What names it.
    pub path: String,
    /// Length of the file.
    pub bytes: u64,
    /// When the file was changed last, in nanoseconds since 1970.
    pub modified: Option<i64>,
    /// A hash of the content.
    pub hash: Option<[u8; 32]>,
    /// What the file says of itself.
    pub facts: Facts,
    /// What was written about it.
    pub captions: Vec<Caption>,
    /// Its labels, of every source.
    pub tags: Vec<Tag>,
    /// Whatever else the user knows.
    pub meta: Option<serde_json::Value>,
    /// When it came into the library, in nanoseconds since 1970.
    pub added: i64,
}

/// What is enough to tell whether a file is known and unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Which item it is.
    pub id: ItemId,
    /// Length of the file when it was read.
    pub bytes: u64,
    /// When it was changed last, then.
    pub modified: Option<i64>,
    /// A hash of its content.
    pub hash: Option<[u8; 32]>,
}

/// A file that could not be indexed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ItemError {
    /// The file.
    pub path: String,
    /// Its length then.
    pub bytes: u64,
    /// When it was changed last, then; in nanoseconds since 1970.
    pub modified: Option<i64>,
    /// What was wrong.
    pub reason: String,
    /// When it was found, in nanoseconds since 1970; [`crate::Writer::record_error`] sets it.
    pub at: i64,
}

/// How much a library holds.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Stats {
    /// Items.
    pub items: u64,
    /// Files that could not be indexed.
    pub errors: u64,
    /// Bytes of the catalogue.
    pub catalogue_bytes: u64,
    /// The embedding spaces.
    pub spaces: Vec<SpaceStats>,
}

/// How much a space holds.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SpaceStats {
    /// Which.
    pub space: Space,
    /// Vectors that can be found.
    pub vectors: u64,
    /// Rows of vectors that were replaced or removed, and are still in the files.
    pub dead: u64,
    /// Segments.
    pub segments: u64,
    /// Bytes of their files.
    pub bytes: u64,
}
