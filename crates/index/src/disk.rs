//! Every change that this crate makes to files of its own, in one place, so that tests can fail each of them.
//!
//! Decided here: what is appended lasts only after `sync`, a new file only after `sync_folder` of its folder too. In tests each function
//! counts as a step at which the disk may be full or the power may go (`faults.rs`); otherwise they are the plain calls.
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;

use crate::{Error, Result};

#[cfg(test)]
use crate::faults::step;

/// What is about to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Bytes are appended to a file that has `len`.
    Append { len: u64, bytes: usize },
    /// The catalogue commits.
    Commit,
    /// The catalogue has committed.
    Committed,
    /// A file comes to be, empty.
    Create,
    /// A folder comes to be.
    CreateFolder,
    /// A file or folder goes.
    Remove,
    /// What was appended is to last.
    Sync,
    /// Files that were made are to last.
    SyncFolder,
    /// What lies behind `len` goes.
    Truncate { len: u64 },
}

#[cfg(not(test))]
#[inline]
fn step(_: Step, _: &Path) -> std::io::Result<()> {
    Ok(())
}

/// A step of the catalogue, which is SQLite's to take.
pub(crate) fn mark(what: Step, path: &Path) -> Result<()> {
    step(what, path).map_err(Error::io(path))
}

pub(crate) fn create_folder(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    step(Step::CreateFolder, path).and_then(|()| fs::create_dir_all(path)).map_err(Error::io(path))?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// A new file, or one that is emptied.
pub(crate) fn create(path: &Path) -> Result<File> {
    let open = || OpenOptions::new().write(true).create(true).truncate(true).open(path);
    step(Step::Create, path).and_then(|()| open()).map_err(Error::io(path))
}

/// A file that is there, to be appended to behind its first `len` bytes; whatever lies there is gone.
pub(crate) fn open(path: &Path, len: u64) -> Result<File> {
    let open = || {
        let mut file = OpenOptions::new().write(true).open(path)?;
        if file.metadata()?.len() > len {
            step(Step::Truncate { len }, path)?;
            file.set_len(len)?;
        }
        std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(len))?;
        Ok(file)
    };
    open().map_err(Error::io(path))
}

/// Appends to a file that has `len` bytes.
pub(crate) fn append(mut file: &File, path: &Path, len: u64, bytes: &[u8]) -> Result<()> {
    let whole = step(Step::Append { len, bytes: bytes.len() }, path);
    // A disk that is full takes a part.
    let part = if whole.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
    file.write_all(part).and(whole).map_err(Error::io(path))
}

pub(crate) fn sync(file: &File, path: &Path) -> Result<()> {
    step(Step::Sync, path).and_then(|()| file.sync_data()).map_err(Error::io(path))
}

/// Files made in a folder, or removed, are so after a loss of power too. Systems that cannot open folders need none of it.
pub(crate) fn sync_folder(path: &Path) -> Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let sync = || if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) };
    step(Step::SyncFolder, path).and_then(|()| sync()).map_err(Error::io(path))
}

/// Removes files that nobody needs; those that cannot be removed now are left to the next writer.
pub(crate) fn remove(path: &Path) -> Result<()> {
    step(Step::Remove, path).map_err(Error::io(path))?;
    let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    Ok(())
}
