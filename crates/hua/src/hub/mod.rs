//! Models by name: found in the caches that Python's packages keep, or pulled from Hugging Face or ModelScope into them.
//!
//! Opening a model never downloads ([`resolve`]); pulling is asked for ([`pull`]). The caches have the layouts of `huggingface_hub` and
//! `modelscope_hub`, so that weights lie on a disk once, whoever fetched them. Only what hua reads is pulled: one form of weights, configuration,
//! tokenizer, licence. Everything a hub says is checked before it is used: file names, sizes, sums, redirects.
//!
//! ```no_run
//! use hua::hub::{self, Progress, Settings};
//!
//! let settings = Settings::from_env();
//! let pulled = hub::pull("altclip-m9", &settings, &[], &mut |progress| {
//!     if let Progress::Bytes { file, done, size } = progress {
//!         eprintln!("{file}: {done} of {size} bytes");
//!     }
//! })?;
//! assert_eq!(hub::resolve("altclip-m9", &settings)?, pulled.folder);
//! # Ok::<(), hub::HubError>(())
//! ```

mod checksum;
mod download;
mod error;
mod http;
mod hugging_face;
mod model_scope;
mod name;
mod select;
mod settings;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use error::{Fault, HubError, Result};
pub use name::{Hub, ModelName, aliases};
pub use settings::{Secret, Settings};

/// What a pull is doing. `file` is a path inside the repository; all counts are bytes.
#[derive(Debug)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// Part of a file is here. Comes first with what an earlier pull left; goes back if the server cannot resume.
    Bytes {
        /// Which file.
        file: &'a str,
        /// Here already.
        done: u64,
        /// Of the whole file.
        size: u64,
    },
    /// A file is in its place.
    Finished {
        /// Which file.
        file: &'a str,
        /// Of the whole file.
        size: u64,
        /// Whether it was downloaded now; otherwise it was there before.
        fresh: bool,
    },
    /// Sizes are known; downloading begins.
    Planned {
        /// How many files the model needs, present ones included.
        files: usize,
        /// Their sum.
        bytes: u64,
    },
    /// The connection broke or the server is busy; the file goes on after a pause.
    Repeating {
        /// Which file.
        file: &'a str,
        /// What happened.
        reason: &'a HubError,
        /// How long until the next attempt.
        pause: Duration,
    },
    /// Another process downloads the same file.
    Waiting {
        /// Which file.
        file: &'a str,
    },
}

/// A model on this machine, after [`pull`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Pulled {
    /// What was pulled, and from where.
    pub name: ModelName,
    /// The folder to open.
    pub folder: PathBuf,
    /// The commit that the revision stood for (Hugging Face only).
    pub commit: Option<String>,
    /// The model's files inside `folder`; empty if the network was not asked (offline).
    pub files: Vec<String>,
    /// Bytes that had to be downloaded (a resumed file counts whole).
    pub downloaded: u64,
}

/// What a cache holds of a model.
enum Snapshot {
    Complete(PathBuf),
    Missing(PathBuf),
    Partial(PathBuf),
}

/// The folder or file to open for `name_or_path`: an existing path, else a model in one of the caches. Never asks the network.
///
/// A name without `hf:` or `ms:` is looked for in Hugging Face's cache, then in ModelScope's.
///
/// # Errors
/// [`HubError::BadName`] for text that is neither, [`HubError::NotCached`] for a model that is not (completely) here; its hint says how to
/// get it.
pub fn resolve(name_or_path: &str, settings: &Settings) -> Result<PathBuf> {
    if Path::new(name_or_path).exists() {
        return Ok(name_or_path.into());
    }
    let name: ModelName = name_or_path.parse()?;
    let missing = match cached(&name, settings) {
        Snapshot::Complete(folder) => return Ok(folder),
        missing => missing,
    };
    if !name.hub_given
        && let Snapshot::Complete(folder) = cached(&name.on(Hub::ModelScope), settings)
    {
        return Ok(folder);
    }
    Err(match missing {
        Snapshot::Partial(folder) => HubError::NotCached { name, folder, partial: true },
        Snapshot::Complete(folder) | Snapshot::Missing(folder) => HubError::NotCached { name, folder, partial: false },
    })
}

/// Downloads a model into its hub's cache, as far as it is not there, and says where it lies.
///
/// `include` are shell patterns (`*`, `?`) over paths inside the repository; without any, the files that hua reads are taken. `report` is
/// called often (each quarter megabyte); it should return fast.
///
/// # Errors
/// Any [`HubError`]; what was received before stays in the cache and is resumed by the next call, unless its checksum was wrong.
pub fn pull(name: &str, settings: &Settings, include: &[String], report: &mut dyn FnMut(Progress<'_>)) -> Result<Pulled> {
    let name: ModelName = name.parse()?;
    if settings.offline {
        return match cached(&name, settings) {
            Snapshot::Complete(folder) if include.is_empty() => Ok(Pulled { name, folder, commit: None, files: Vec::new(), downloaded: 0 }),
            _ => Err(HubError::Offline { name }),
        };
    }
    match name.hub {
        Hub::HuggingFace => hugging_face::pull(settings, &name, include, report),
        Hub::ModelScope => model_scope::pull(settings, &name, include, report),
    }
}

fn cached(name: &ModelName, settings: &Settings) -> Snapshot {
    match name.hub {
        Hub::HuggingFace => hugging_face::cached(settings, name),
        Hub::ModelScope => model_scope::cached(settings, name),
    }
}

/// The chosen files, or an error if what the caller wants is not among them.
fn wanted(selection: select::Selection, name: &ModelName, include: &[String]) -> Result<Vec<String>> {
    let wanted = if include.is_empty() && !selection.has_weights {
        "weights (`*.safetensors`, `pytorch_model*.bin`, `*.pt`)".to_owned()
    } else if selection.files.is_empty() {
        format!("`{}`", include.join("`, `"))
    } else {
        return Ok(selection.files);
    };
    Err(HubError::NoFiles { name: name.clone(), wanted })
}
