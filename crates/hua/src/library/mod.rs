//! Libraries of pictures: filling and tending them. The folder itself, and searching it, is `hua_index`; here it meets pictures, lists of
//! pictures and models.
//!
//! A library answers with one model at a time: the space that is live. Whoever comes with another is refused ([`live_space`]), for cosines of
//! two models mean nothing; [`migrate`] gives a library another model while the old one answers.
//!
//! Paths are kept whole, from the root and with links in the named folders followed, so that a folder is the same wherever the program
//! is called. The folders and lists that a library was made from are remembered in it.
mod descend;
mod ingest;
mod job;
mod migrate;
mod sweep;
mod watch;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hua_index::{CATALOGUE, Reader, Space, SpaceSpec, SpaceState, StoredType, Writer};

use crate::gallery::EMBEDDED_MODEL;
use crate::{Embedder, Error};

pub use ingest::{IngestOptions, Ingested, ingest};
pub use migrate::{MigrateOptions, Migrated, migrate};
pub use sweep::Kept;
pub use watch::{Watched, watch};

/// The value of a library that lists what it was made from, a JSON array of paths.
const SOURCES: &str = "sources";

/// How long pictures are gathered for a commit, at least.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// How often the time of a commit has to pass before the next: a slow disk is asked less often.
const COMMIT_SHARE: u32 = 50;

/// When it is time to commit.
#[derive(Debug)]
struct Turn {
    last: Instant,
    took: Duration,
}

impl Default for Turn {
    fn default() -> Self {
        Self { last: Instant::now(), took: Duration::ZERO }
    }
}

impl Turn {
    /// Commits if it is time.
    fn commit(&mut self, writer: &mut Writer) -> Result<(), Error> {
        if self.last.elapsed() >= COMMIT_EVERY.max(self.took * COMMIT_SHARE) {
            let begun = Instant::now();
            writer.commit()?;
            *self = Self { last: Instant::now(), took: begun.elapsed() };
        }
        Ok(())
    }
}

/// Whether a folder is a library.
pub fn is_library(path: &Path) -> bool {
    path.join(CATALOGUE).is_file()
}

/// The folders and lists that a library was made from, in the order in which they came.
///
/// # Errors
/// If its catalogue cannot be read.
pub fn sources(reader: &Reader) -> Result<Vec<PathBuf>, Error> {
    Ok(listed(reader.value(SOURCES)?))
}

/// The space of the library at `path`, one of its `spaces`, that answers queries of `embedder`'s model: the live one.
///
/// # Errors
/// [`Error::LibraryModel`] if it is of another model, or its pictures were prepared in another way.
pub fn live_space<'a>(path: &Path, spaces: &'a [Space], embedder: &Embedder) -> Result<&'a Space, Error> {
    let live = spaces.iter().find(|space| space.state == SpaceState::Live);
    if let Some(space) = live.filter(|space| made_by(&space.spec, embedder)) {
        return Ok(space);
    }
    let Some(space) = live.or(spaces.first()) else {
        let damaged = hua_index::Error::Damaged { path: path.join(CATALOGUE), what: "it has no embedding space".into() };
        return Err(damaged.into());
    };
    let migrate = format!("give it the other model with `hua index migrate {}", path.display());
    let given = model_option(embedder.name(), embedder.preprocessing());
    let hint = if spaces.iter().any(|space| made_by(&space.spec, embedder)) {
        format!("its vectors of that model do not answer yet; go on with `hua index migrate {}{given}`", path.display())
    } else {
        format!("use {}, or {migrate}{given}`", model_advice(&space.spec))
    };
    let found = told(embedder.name(), embedder.fingerprint(), embedder.preprocessing());
    let wanted = told(&space.spec.name, &space.spec.fingerprint, &space.spec.preprocessing);
    Err(Error::LibraryModel { path: path.to_owned(), found, wanted, hint })
}

/// What a space of `embedder`'s vectors is made of.
pub fn space_spec(embedder: &Embedder, dtype: StoredType) -> SpaceSpec {
    // A model that is a folder is found again from wherever the program is called.
    let folder = Some(embedder.name()).filter(|name| *name != EMBEDDED_MODEL).and_then(|name| fs::canonicalize(name).ok());
    let name = folder.and_then(|path| path.into_os_string().into_string().ok());
    SpaceSpec {
        name: name.unwrap_or_else(|| embedder.name().to_owned()),
        fingerprint: embedder.fingerprint().to_owned(),
        preprocessing: embedder.preprocessing().to_owned(),
        width: embedder.width(),
        dtype,
    }
}

fn made_by(spec: &SpaceSpec, embedder: &Embedder) -> bool {
    spec.fingerprint == embedder.fingerprint() && spec.preprocessing == embedder.preprocessing()
}

fn told(name: &str, fingerprint: &str, preprocessing: &str) -> String {
    match preprocessing {
        "standard" => format!("`{name}` ({fingerprint})"),
        other => format!("`{name}` ({fingerprint}, {other})"),
    }
}

/// How a space's model is named on the command line.
fn model_advice(spec: &SpaceSpec) -> String {
    match &*model_option(&spec.name, &spec.preprocessing) {
        "" => "the built-in model (no `--model`)".into(),
        option => format!("`{}`", option.trim_start()),
    }
}

fn model_option(name: &str, preprocessing: &str) -> String {
    let mut option = if name == EMBEDDED_MODEL { String::new() } else { format!(" --model {name}") };
    for flag in preprocessing.split(' ').filter(|flag| *flag != "standard") {
        option.push_str(&format!(" --{flag}"));
    }
    option
}

/// Opens the library for writing, or makes it.
pub(crate) fn open_or_create(path: &Path, embedder: &Embedder, dtype: StoredType) -> Result<Writer, Error> {
    if is_library(path) {
        return Ok(Writer::open(path)?);
    }
    // What a kill left while a library was being made is no other file.
    let ours = |name: &std::ffi::OsStr| name == "lock" || name == "vectors" || name.to_string_lossy().starts_with(CATALOGUE);
    match fs::read_dir(path) {
        Ok(mut entries) => {
            if entries.any(|entry| entry.is_ok_and(|entry| !ours(&entry.file_name()))) {
                return Err(Error::NotEmpty { path: path.to_owned() });
            }
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(Error::Io { path: path.to_owned(), source }),
    }
    Ok(Writer::create(path, &space_spec(embedder, dtype))?)
}

/// What the library was made from so far.
fn remembered(writer: &Writer) -> Result<Vec<PathBuf>, Error> {
    Ok(listed(writer.value(SOURCES)?))
}

fn listed(value: Option<String>) -> Vec<PathBuf> {
    value.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// Adds to what the library was made from.
fn remember(writer: &mut Writer, sources: &[PathBuf]) -> Result<(), Error> {
    let mut all = remembered(writer)?;
    let before = all.len();
    for source in sources {
        if !all.contains(source) {
            all.push(source.clone());
        }
    }
    if all.len() > before
        && let Ok(text) = serde_json::to_string(&all)
    {
        writer.set_value(SOURCES, Some(&text))?;
    }
    Ok(())
}
