//! What can go wrong between a model's name and its folder, whose fault it is, and what to try next.
//!
//! Messages name the hub's own words (repository, revision, file) rather than HTTP's; addresses are shown without their query, because
//! signed download links carry credentials there.

use std::path::PathBuf;
use std::time::Duration;

use super::name::ModelName;

/// Shorthand for results of this module.
pub type Result<T, E = HubError> = std::result::Result<T, E>;

/// Who has to act for an error to go away; exit codes and HTTP statuses follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The caller: a wrong name, a missing token, a model that was never pulled.
    Caller,
    /// What was read: a file, a reply or a connection that is not what it should be.
    File,
    /// This program or the machine it runs on (no space left, no right to write).
    Us,
}

/// Everything that finding or pulling a model can fail with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The text is neither an existing path nor a model's name.
    #[error("`{name}` is no existing path and no model name: {why}")]
    BadName {
        /// As the caller wrote it.
        name: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// A settings value cannot be used.
    #[error("{what} `{value}` cannot be used: {why}")]
    BadSetting {
        /// The variable or field.
        what: &'static str,
        /// Its value.
        value: String,
        /// The rule it breaks.
        why: String,
    },
    /// The bytes that came are not the bytes the hub announced. They have been deleted.
    #[error("`{file}` from `{name}` has {kind} `{found}`, wanted `{wanted}`; the download was deleted")]
    Checksum {
        /// Path inside the repository.
        file: String,
        /// The model.
        name: ModelName,
        /// `sha256` or `git sha1`.
        kind: &'static str,
        /// Of the bytes received.
        found: String,
        /// As the hub announced.
        wanted: String,
    },
    /// The hub wants to know who asks, or knows and says no (HTTP 401, 403).
    #[error("{url} answered {status}: no access to `{name}`{}", said(.message))]
    Denied {
        /// The model.
        name: ModelName,
        /// Where, without query.
        url: String,
        /// 401 or 403.
        status: u16,
        /// The hub's own words, if any.
        message: Option<String>,
    },
    /// The connection broke more often than `Settings::retries` allows. What came is kept and the next pull goes on from there.
    #[error("`{file}` from `{name}`: the connection broke {attempts} times, {received} of {size} bytes are here ({last})")]
    Interrupted {
        /// Path inside the repository.
        file: String,
        /// The model.
        name: ModelName,
        /// Times tried since the last progress.
        attempts: u32,
        /// Bytes kept on disk.
        received: u64,
        /// Bytes wanted.
        size: u64,
        /// What the last attempt said.
        last: String,
    },
    /// A file or folder of the cache cannot be read or written.
    #[error("cannot {action} `{}`", .path.display())]
    Io {
        /// A verb: `create`, `read`, `write`, …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A listing holds none of the files that the filter asks for.
    #[error("`{name}` holds no file for {wanted}")]
    NoFiles {
        /// The model.
        name: ModelName,
        /// What was looked for, in words.
        wanted: String,
    },
    /// The model is not on this machine, and opening never downloads.
    #[error("`{name}` is not {} `{}`", if *.partial { "completely in" } else { "in" }, .folder.display())]
    NotCached {
        /// The model.
        name: ModelName,
        /// The cache folder where it would be.
        folder: PathBuf,
        /// Some of its files are there.
        partial: bool,
    },
    /// The hub does not know the repository, the revision or the file (HTTP 404).
    #[error("{url} answered 404: {what} of `{name}` does not exist{}", said(.message))]
    NotFound {
        /// The model.
        name: ModelName,
        /// `the repository or its revision`, or a file in backticks.
        what: String,
        /// Where, without query.
        url: String,
        /// The hub's own words, if any.
        message: Option<String>,
    },
    /// The settings forbid the network.
    #[error("`{name}` would have to be downloaded, but `HF_HUB_OFFLINE` is set")]
    Offline {
        /// The model.
        name: ModelName,
    },
    /// The hub asks for patience (HTTP 429) for longer than a program should wait.
    #[error("{url} answered 429: too many requests{}", .wait.map(|wait| format!(", try again in {} s", wait.as_secs())).unwrap_or_default())]
    RateLimited {
        /// Where, without query.
        url: String,
        /// What the hub asked for.
        wait: Option<Duration>,
    },
    /// A redirect that must not be followed.
    #[error("{url} redirects to `{target}`: {why}")]
    Redirect {
        /// From where, without query.
        url: String,
        /// To where, without query.
        target: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// A reply that is not what the hub's interface promises.
    #[error("{url}: {why}")]
    Reply {
        /// Where, without query.
        url: String,
        /// What was found and wanted.
        why: String,
    },
    /// The server's length contradicts the repository's.
    #[error("`{file}` from `{name}`: the server sends {found} bytes, the repository lists {wanted}")]
    Size {
        /// Path inside the repository.
        file: String,
        /// The model.
        name: ModelName,
        /// By the server's headers or the bytes themselves.
        found: u64,
        /// By the hub's metadata.
        wanted: u64,
    },
    /// An answer that is none of the above (500, 503, 418, …).
    #[error("{url} answered {status}{}", said(.message))]
    Status {
        /// Where, without query.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The server's own words, if any.
        message: Option<String>,
    },
    /// No connection, no TLS, no name, no answer in time.
    #[error("cannot reach {url}")]
    Transport {
        /// Where, without query.
        url: String,
        /// What the HTTP client says.
        #[source]
        source: Box<ureq::Error>,
    },
    /// A file name that would leave the model's folder.
    #[error("`{name}` lists the file `{}`, which {why}; nothing was downloaded", .path.escape_debug())]
    UnsafePath {
        /// The model.
        name: ModelName,
        /// As the hub sent it.
        path: String,
        /// The rule it breaks.
        why: &'static str,
    },
}

fn said(message: &Option<String>) -> String {
    message.as_ref().map(|message| format!(" (`{message}`)")).unwrap_or_default()
}

impl HubError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            HubError::BadName { .. }
            | HubError::BadSetting { .. }
            | HubError::Denied { .. }
            | HubError::NoFiles { .. }
            | HubError::NotCached { .. }
            | HubError::NotFound { .. }
            | HubError::Offline { .. } => Fault::Caller,
            HubError::Checksum { .. }
            | HubError::Interrupted { .. }
            | HubError::RateLimited { .. }
            | HubError::Redirect { .. }
            | HubError::Reply { .. }
            | HubError::Size { .. }
            | HubError::Status { .. }
            | HubError::Transport { .. }
            | HubError::UnsafePath { .. } => Fault::File,
            HubError::Io { .. } => Fault::Us,
        }
    }

    /// What to try next, when there is something to try.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            HubError::BadName { .. } => {
                "name a folder, or a model as `owner/name`, `owner/name@revision`, `ms:owner/name` for ModelScope".into()
            }
            HubError::BadSetting { .. } | HubError::Redirect { .. } | HubError::Reply { .. } | HubError::Status { .. } => return None,
            HubError::Checksum { .. } | HubError::Size { .. } => {
                "pull again; if it stays wrong, a proxy or mirror in between changes the file".into()
            }
            HubError::Denied { name, status, .. } => match (name.hub, status) {
                (super::Hub::HuggingFace, 401) => {
                    "the name may be misspelt; if the model is private or gated, set `HF_TOKEN` to a token that may read it".into()
                }
                (super::Hub::HuggingFace, _) => {
                    format!(
                        "accept the model's conditions at its page (https://huggingface.co/{}), then pull with your `HF_TOKEN`",
                        name.id()
                    )
                }
                (super::Hub::ModelScope, _) => "set `MODELSCOPE_API_TOKEN` to a token that may read the model".into(),
            },
            HubError::Interrupted { name, .. } => format!("`hua pull {name}` goes on where this stopped"),
            HubError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                "free some space, or point `HF_HOME` (ModelScope: `MODELSCOPE_CACHE`) to a larger disk".into()
            }
            HubError::Io { .. } => "`HF_HOME` (ModelScope: `MODELSCOPE_CACHE`) chooses the folder for models".into(),
            HubError::NoFiles { .. } => "choose files with `--include PATTERN`".into(),
            HubError::NotCached { name, .. } => format!("`hua pull {name}` downloads it"),
            HubError::NotFound { .. } => "check owner, name and revision; small and capital letters differ".into(),
            HubError::Offline { .. } => "unset `HF_HUB_OFFLINE`, or name the folder of a model that is here".into(),
            HubError::RateLimited { .. } => "wait a little; with `HF_TOKEN` set the hub allows more".into(),
            HubError::Transport { .. } => {
                "check the connection and `HTTPS_PROXY`; `HF_ENDPOINT` names a mirror, and `ms:owner/name` asks ModelScope instead".into()
            }
            HubError::UnsafePath { .. } => "do not use this repository".into(),
        })
    }

    /// Builds an [`HubError::Io`] for `map_err`.
    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> HubError {
        let path = path.into();
        move |source| HubError::Io { action, path, source }
    }
}
