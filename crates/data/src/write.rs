//! Writers of data sets: what [`Sources`](crate::Sources) reads, in another form.
//!
//! A [`DatasetWriter`] takes entries one by one and holds none of them but Chinese-CLIP's texts. Bytes of pictures are copied as they
//! are. Everything is written beside its place (`.NAME.part`), synced and renamed when all of it is there, so that what has the name is
//! whole; what is there already is never replaced. What a form has no place for is counted in [`Written::lost`].
//!
//! Each picture keeps the id that its source gives it: Chinese-CLIP's, the `id` or `key` of a table or of the JSON in an archive, else what its
//! name says. An id that came before gets a number behind it, and that is counted too. The forms:
//!
//! | form | a picture | texts and the rest |
//! | --- | --- | --- |
//! | Chinese-CLIP | a line of `SPLIT_imgs.tsv` | `SPLIT_texts.jsonl`; a text of several pictures is one line; tags and fields are lost |
//! | folders | `TAG/ID.jpg`, `TAG` being its first tag | `ID.json`, and the first caption in `ID.txt` |
//! | webdataset | `ID.jpg` in `00000.tar`, … | `ID.json`, and the first caption in `ID.txt`, as img2dataset writes them |
//! | CSV, TSV | `filepath`, or `image_bytes` in base64 | a row for each caption with its `language`; with bytes a list in `captions` |
//! | JSON lines | the same | `captions` and `tags` as lists, fields by their names |
//! | Parquet | `image_bytes`, or `filepath` | `captions`, `tags` and `meta` as JSON in columns of text |
mod chinese_clip;
mod delimited;
mod draft;
mod folders;
mod jsonl;
mod parquet;
mod sample;
mod webdataset;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use self::sample::{Places, Sample};
use crate::walk::name_of;
use crate::{Entry, Error, Failure, Result};

/// The forms that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A folder with `SPLIT_imgs.tsv` and `SPLIT_texts.jsonl`.
    ChineseClip,
    /// A table of commas, or of tabs if its name ends in `.tsv`.
    Csv,
    /// A folder of pictures, by class.
    Folders,
    /// An object a line.
    Jsonl,
    /// A table in columns.
    Parquet,
    /// An archive if the name ends in `.tar`, else a folder of archives.
    Webdataset,
}

impl Target {
    /// The form that a name asks for.
    pub fn of(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        Some(match &*ending {
            "csv" | "tsv" => Self::Csv,
            "jsonl" | "ndjson" => Self::Jsonl,
            "parquet" => Self::Parquet,
            "tar" => Self::Webdataset,
            _ => return None,
        })
    }
}

/// Where a table has its pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pictures {
    /// In Parquet as bytes, else as paths.
    #[default]
    Auto,
    /// In the table.
    Bytes,
    /// In files of their own: a picture that is one stays where it is, others are copied into `TABLE_pictures`.
    Paths,
}

/// How a data set is written.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    /// Where tables have their pictures.
    pub pictures: Pictures,
    /// The name of Chinese-CLIP's split. Default `train`.
    pub split: String,
    /// The most pictures of an archive, where a folder of them is written. Default 10,000, as img2dataset.
    pub shard: usize,
    /// The longest picture file that is copied, in bytes. Default 256 MiB.
    pub max_bytes: u64,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { pictures: Pictures::Auto, split: "train".into(), shard: 10_000, max_bytes: 256 << 20 }
    }
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Files and folders, with their final names.
    pub files: Vec<PathBuf>,
    /// How many pictures.
    pub pictures: u64,
    /// How many captions, counted at each picture.
    pub captions: u64,
    /// Bytes of picture files.
    pub bytes: u64,
    /// How many pictures had something that the form has no place for, by what it is.
    pub lost: BTreeMap<&'static str, u64>,
    /// Pictures whose id had come before.
    pub renamed: u64,
}

/// A data set being written; nothing has its name before [`finish`](Self::finish).
pub struct DatasetWriter {
    form: Box<dyn Form>,
    places: Places,
    ids: HashSet<u64>,
    written: Written,
    most: u64,
}

/// One form of data sets.
trait Form: Send {
    /// Adds a picture, or says what keeps it out.
    fn add(&mut self, sample: &Sample, lost: &mut Lost<'_>) -> Result<std::result::Result<(), String>>;

    /// Completes the files, gives them their names and says which.
    fn finish(self: Box<Self>) -> Result<Vec<PathBuf>>;

    /// Whether it takes paths instead of bytes.
    fn takes_paths(&self) -> bool {
        false
    }
}

/// Counts what is lost.
struct Lost<'a>(&'a mut BTreeMap<&'static str, u64>);

impl Lost<'_> {
    fn note(&mut self, what: &'static str, is: bool) {
        if is {
            *self.0.entry(what).or_default() += 1;
        }
    }
}

impl DatasetWriter {
    /// Begins a data set at `path`.
    ///
    /// # Errors
    /// [`Error::Exists`] if there is something already; [`Error::Io`] if nothing can be written there.
    pub fn begin(target: Target, path: &Path, options: &WriteOptions) -> Result<Self> {
        let form: Box<dyn Form> = match target {
            Target::ChineseClip => Box::new(chinese_clip::Writer::begin(path, options)?),
            Target::Csv => Box::new(delimited::Writer::begin(path, options)?),
            Target::Folders => Box::new(folders::Writer::begin(path)?),
            Target::Jsonl => Box::new(jsonl::Writer::begin(path, options)?),
            Target::Parquet => Box::new(parquet::Writer::begin(path, options)?),
            Target::Webdataset => Box::new(webdataset::Writer::begin(path, options)?),
        };
        let places = Places::begin(path);
        Ok(Self { form, places, ids: HashSet::new(), written: Written::default(), most: options.max_bytes })
    }

    /// Adds a picture. What keeps this one out is the inner result, and ends nothing.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written: the data set is lost then.
    pub fn add(&mut self, entry: &Entry) -> Result<std::result::Result<(), Failure>> {
        let failed = |reason: String| Failure { name: entry.name.clone(), reason };
        let mut sample = match Sample::of(entry, self.most, self.form.takes_paths()) {
            Ok(sample) => sample,
            Err(reason) => return Ok(Err(failed(reason))),
        };
        let renamed = sample.make_unique(&mut self.ids);
        if self.form.takes_paths() {
            match self.places.place(&mut sample)? {
                Ok(()) => {}
                Err(reason) => return Ok(Err(failed(reason))),
            }
        }
        if let Err(reason) = self.form.add(&sample, &mut Lost(&mut self.written.lost))? {
            return Ok(Err(failed(reason)));
        }
        self.written.renamed += u64::from(renamed);
        self.written.pictures += 1;
        self.written.captions += sample.captions.len() as u64;
        self.written.bytes += sample.length;
        Ok(Ok(()))
    }

    /// Completes the data set and gives it its name.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(mut self) -> Result<Written> {
        // Pictures first: a table never names files that are not there.
        self.written.files.extend(self.places.finish()?);
        self.written.files.extend(self.form.finish()?);
        Ok(self.written)
    }
}

impl std::fmt::Debug for DatasetWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatasetWriter").field("written", &self.written).finish_non_exhaustive()
    }
}

/// Refuses a place where something is.
fn free(path: &Path) -> Result<()> {
    // A link that leads nowhere is something too.
    if path.symlink_metadata().is_ok() { Err(Error::Exists { path: path.to_owned() }) } else { Ok(()) }
}

/// An error of writing `path`.
fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Write { path, source }
}

/// Why a picture cannot have a name that people would see.
fn no_utf8(path: &Path) -> String {
    format!("its path `{}` is no UTF-8, and a table is", name_of(path))
}

#[cfg(test)]
mod tests;
