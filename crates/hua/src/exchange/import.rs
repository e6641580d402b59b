//! Vectors that other programs made, into a library.
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use hua_index::{Caption, NewItem, StoredType};
use serde::Serialize;

use super::{Format, Opened, Row, clip_retrieval, features, malformed, npy, safetensors};
use crate::library::{live_space, open_or_create};
use crate::{Embedder, Error, Failure, Progress};

/// Pictures whose vectors are held against what the model gives.
const CHECKED: usize = 3;
/// Their cosine at least: decoders and resizing differ a little between programs, models do not agree at all.
const AGREES: f32 = 0.9;
/// Rows between commits.
const BATCH: u64 = 50_000;
/// Failures that are told by name.
const TOLD: usize = 10;

/// How rows become items.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// The folder that relative paths are meant from.
    pub base: PathBuf,
    /// The data set whose pictures Chinese-CLIP's features number, such as `valid_imgs.tsv`.
    pub numbered: Option<PathBuf>,
    /// Whether vectors are believed to be of the model that is open, without a look at the pictures.
    pub trust: bool,
    /// How the vectors of a new library are stored.
    pub dtype: StoredType,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self { base: ".".into(), numbered: None, trust: false, dtype: StoredType::F16 }
    }
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Imported {
    /// Items that are new.
    pub added: u64,
    /// Items that were there and have this vector now.
    pub replaced: u64,
    /// Of both, those whose file is not there.
    pub without_file: u64,
    /// Pictures that were held against the model.
    pub checked: u64,
    /// Rows that could not be used.
    pub failed: u64,
    /// The first few of them.
    #[serde(skip)]
    pub failures: Vec<Failure>,
}

/// Takes the vectors of `from` into the library at `path`, which is made if it is not there. An item that is there keeps what it has, unless the
/// row says otherwise.
///
/// # Errors
/// [`Error::LibraryModel`] if the library is of another model than `embedder`'s, [`Error::OtherModel`] if `from` says that it is,
/// [`Error::Data`] if it is not what its format promises or its vectors cannot be that model's, [`Error::Index`] if the library cannot be written.
pub fn import(
    path: &Path,
    from: &Path,
    format: Format,
    embedder: &Embedder,
    options: &ImportOptions,
    progress: &dyn Progress,
) -> Result<Imported, Error> {
    let Opened { fingerprint, total, rows } = open(from, format, options)?;
    if let Some(found) = fingerprint.filter(|found| found != embedder.fingerprint()) {
        return Err(Error::OtherModel { left: embedder.fingerprint().to_owned(), right: found });
    }
    let mut rows = rows.peekable();
    if let Some(Ok(row)) = rows.peek()
        && row.vector.len() != embedder.width()
    {
        let wanted = format!("{}, as `{}` gives", embedder.width(), embedder.name());
        return Err(malformed(from, format!("has vectors of {} numbers", row.vector.len()), wanted));
    }
    let mut writer = open_or_create(path, embedder, options.dtype)?;
    let space = live_space(path, &writer.spaces()?, embedder)?.id;
    let mut done = Imported::default();
    progress.start("importing", total.unwrap_or(0));
    for row in rows {
        progress.advance(1);
        let row = match row {
            Ok(row) => row,
            Err(failure) => {
                done.fail(failure.name, failure.reason);
                continue;
            }
        };
        let (name, file) = place(&row.name, &options.base);
        if !options.trust && done.checked < CHECKED as u64 && file.is_some() {
            done.checked += u64::from(check(from, embedder, Path::new(&name), &row.vector)?);
        }
        if let Some(reason) = unusable(&row.vector, embedder.width()) {
            done.fail(name, reason);
            continue;
        }
        let known = writer.known(&name)?;
        let item = match &known {
            Some(known) => writer.item(known.id)?.map(again),
            None => None,
        };
        let mut item = item.unwrap_or_else(|| NewItem { path: name.clone(), ..NewItem::default() });
        match file {
            Some((bytes, modified)) => {
                if (item.bytes, item.modified) != (bytes, modified) {
                    item.hash = None;
                }
                (item.bytes, item.modified) = (bytes, modified);
            }
            None => done.without_file += 1,
        }
        describe(&mut item, &row);
        let id = writer.upsert(&item)?;
        writer.set_vector(space, id, &row.vector)?;
        *(if known.is_some() { &mut done.replaced } else { &mut done.added }) += 1;
        if (done.added + done.replaced).is_multiple_of(BATCH) {
            writer.commit()?;
        }
    }
    writer.commit()?;
    progress.finish();
    Ok(done)
}

fn open(from: &Path, format: Format, options: &ImportOptions) -> Result<Opened, Error> {
    let numbered = options.numbered.as_deref().map(features::whole);
    match format {
        Format::ChineseClip | Format::Jsonl => features::open(from, numbered.as_deref()),
        Format::ClipRetrieval => clip_retrieval::open(from),
        Format::Npy => npy::open(from),
        Format::Safetensors => safetensors::open(from),
        Format::Csv | Format::Parquet => {
            Err(malformed(from, "is a table without vectors", "vectors; `hua index` takes in tables of pictures"))
        }
    }
}

impl Imported {
    fn fail(&mut self, path: String, reason: String) {
        self.failed += 1;
        if self.failures.len() < TOLD {
            self.failures.push(Failure { path, reason });
        }
    }
}

/// Why a vector cannot be used.
fn unusable(vector: &[f32], width: usize) -> Option<String> {
    if vector.len() != width {
        return Some(format!("its vector has {} numbers, wanted {width}", vector.len()));
    }
    let length: f32 = vector.iter().map(|x| x * x).sum();
    (!length.is_finite() || length == 0.0).then(|| "its vector is zero, or holds infinite numbers or none".into())
}

/// What a library calls a picture: its path from the root if the file is there, else the name as it is. With it length and time of the file.
fn place(name: &str, base: &Path) -> (String, Option<(u64, Option<i64>)>) {
    let path = base.join(name);
    // A folder's links are followed and a file's are not, as when a folder is indexed.
    let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
    let (Some(folder), Some(file), Ok(metadata)) = (folder, path.file_name(), path.metadata()) else { return (name.to_owned(), None) };
    if !metadata.is_file() {
        return (name.to_owned(), None);
    }
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified = modified.and_then(|time| i64::try_from(time.as_nanos()).ok());
    (hua_data::name_of(&folder.join(file)), Some((metadata.len(), modified)))
}

/// Holds a vector against what the model gives for the picture; whether that could be done.
fn check(from: &Path, embedder: &Embedder, picture: &Path, vector: &[f32]) -> Result<bool, Error> {
    let Ok(embeddings) = embedder.read_picture(picture).and_then(|picture| embedder.embed_images(&[picture])) else { return Ok(false) };
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    let cosine = embeddings.row(0).iter().zip(vector).map(|(a, b)| a * b).sum::<f32>() / length;
    if vector.len() == embedder.width() && length > 0.0 && cosine < AGREES {
        let found = format!("has vectors that `{}` does not give: for `{}` the cosine is {cosine:.3}", embedder.name(), picture.display());
        return Err(malformed(from, found, format!("at least {AGREES}; name the model that made them, or trust them")));
    }
    Ok(true)
}

/// An item as it is to be written again.
fn again(item: hua_index::Item) -> NewItem {
    let hua_index::Item { path, bytes, modified, hash, facts, captions, meta, .. } = item;
    let tags = item.tags.into_iter().filter(|tag| tag.source == hua_index::Tag::DATA).collect();
    NewItem { path, bytes, modified, hash, facts, captions, tags, meta }
}

fn describe(item: &mut NewItem, row: &Row) {
    for hua_data::Caption { language, text } in &row.captions {
        if item.captions.iter().all(|caption| caption.text != *text) {
            item.captions.push(Caption { language: language.clone(), text: text.clone() });
        }
    }
    if let Some(meta) = &row.meta {
        item.meta = Some(meta.clone().into());
    }
}
