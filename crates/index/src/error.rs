//! What can go wrong with a library, whose fault it is, and what to do about it.
use std::io;
use std::path::{Path, PathBuf};

use crate::{ItemId, SpaceId};

/// What functions of this crate give.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who has to act on an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The caller asked for something that cannot be.
    Caller,
    /// The files are damaged, or the system does not give them.
    File,
}

/// Why a library cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// SQLite failed.
    #[error("cannot use the catalogue `{}`: {source}", path.display())]
    Catalogue {
        /// The catalogue.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// There is a library already.
    #[error("`{}` is a library already", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// A filter that SQLite does not take, or that does more than read.
    #[error("cannot filter by `{filter}`: {reason}")]
    Filter {
        /// The SQL.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A SQLite file that is somebody else's.
    #[error("`{}` is a database of another program (application id {found:#010x}, wanted {wanted:#010x})", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its application id.
        found: i32,
        /// Ours.
        wanted: i32,
    },
    /// The operating system refused.
    #[error("cannot use `{}`: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another process writes.
    #[error("`{}` is being written by another process{}", path.display(), pid.map_or(String::new(), |pid| format!(" (process {pid})")))]
    Locked {
        /// The folder.
        path: PathBuf,
        /// Which process, if it says so.
        pid: Option<u32>,
    },
    /// There is no item of that id.
    #[error("there is no item {item}")]
    NoItem {
        /// The id.
        item: ItemId,
    },
    /// There is no such space.
    #[error("there is no embedding space {}", space.0)]
    NoSpace {
        /// The id.
        space: SpaceId,
    },
    /// A folder without a catalogue.
    #[error("`{}` is not a library: it has no `catalogue.sqlite`", path.display())]
    NotALibrary {
        /// The folder.
        path: PathBuf,
    },
    /// A vector that has no direction.
    #[error("the vector of {of} cannot be compared: it is zero, or holds infinite numbers or none")]
    NotFinite {
        /// An item or a query.
        of: String,
    },
    /// A catalogue written by another version of hua than this one reads.
    #[error("the catalogue `{}` has format {found}, wanted {wanted}", path.display())]
    Version {
        /// The catalogue.
        path: PathBuf,
        /// Its format.
        found: i32,
        /// The format of this version.
        wanted: i32,
    },
    /// Vectors of another model, or of other preprocessing, than a space is made of.
    #[error("space `{space}` holds vectors of {what} `{wanted}`, `{found}` was given")]
    OtherModel {
        /// The space.
        space: String,
        /// `model` or `preprocessing`.
        what: &'static str,
        /// Of the caller.
        found: String,
        /// Of the space.
        wanted: String,
    },
    /// Two items cannot have one path.
    #[error("`{path}` is another item's path already")]
    PathTaken {
        /// The path.
        path: String,
    },
    /// Files of vectors that are not there, or shorter than the catalogue says.
    #[error("`{}` is damaged: it has {found} bytes, the catalogue counts on {wanted}", path.display())]
    Segment {
        /// The file.
        path: PathBuf,
        /// Its length; 0 if it is not there.
        found: u64,
        /// What the catalogue counts on.
        wanted: u64,
    },
    /// A space of that name is there already.
    #[error("there is a space named `{name}` already")]
    SpaceExists {
        /// The name.
        name: String,
    },
    /// A write failed before, and what was written since the last commit is lost.
    #[error("nothing was committed: an earlier write to `{}` failed", path.display())]
    Undone {
        /// The folder.
        path: PathBuf,
    },
    /// A catalogue whose tables say what cannot be.
    #[error("the catalogue `{}` is damaged: {what}", path.display())]
    Damaged {
        /// The catalogue.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A vector of another length than the space has.
    #[error("a vector of {found} numbers was given, the space has {wanted}")]
    Width {
        /// The vector's.
        found: usize,
        /// The space's.
        wanted: usize,
    },
}

impl Error {
    /// Who has to act.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Catalogue { .. } | Self::Damaged { .. } | Self::Io { .. } | Self::Segment { .. } | Self::Undone { .. } => Blame::File,
            _ => Blame::Caller,
        }
    }

    /// What the caller may try.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Catalogue { source, .. } if is_full(source) => "the disk is full; free some space and run the command again".into(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "the disk is full; free some space and run the command again".into()
            }
            Self::Io { source, .. } if matches!(source.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => {
                "a library that cannot be written can still be searched".into()
            }
            Self::Exists { .. } => "open it, or choose another folder".into(),
            Self::Filter { .. } => "a filter is what follows `WHERE` in `SELECT id FROM items WHERE ...`, such as `taken >= '2024'`".into(),
            Self::Foreign { .. } => "a library needs a folder of its own".into(),
            Self::Locked { .. } => "wait until it has finished; searching is possible meanwhile".into(),
            Self::NotALibrary { .. } => "`hua index DIR -o LIBRARY` makes one".into(),
            Self::OtherModel { .. } => {
                "vectors of two models cannot be compared; use the library's model, or `hua index migrate` to fill a second space".into()
            }
            Self::Segment { .. } | Self::Damaged { .. } => {
                "`hua index check` lists what is damaged; index the pictures anew, or restore a copy".into()
            }
            Self::Undone { .. } => "what was committed before is whole; call `rollback`, or open the library again".into(),
            Self::Version { found, wanted, .. } if found > wanted => "a newer hua wrote it; use that version".into(),
            Self::Version { .. } => "open it once for writing to bring it to this version's format".into(),
            _ => return None,
        })
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }
}

fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
}
