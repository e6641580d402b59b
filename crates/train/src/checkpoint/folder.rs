//! Folders that are replaced as a whole.
//!
//! The new one is written as `.NAME.new` and synced, file by file and itself. If there is one of that name, the two change places: at once
//! where the system can (`renameat2` with `RENAME_EXCHANGE`, `renamex_np` with `RENAME_SWAP`), otherwise by way of `.NAME.old`. [`find`] knows what is
//! left when a process dies between the two renames.
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use hua_model::ModelError;
use hua_model::checkpoint::CheckpointError;

use crate::{Error, Result};

/// What holds a run's folder for one process.
const LOCK: &str = ".lock";

/// Replaces the folder `run/name` by what `fill` writes. Returns its path.
pub(super) fn replace(run: &Path, name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    fs::create_dir_all(run).map_err(Error::io(run))?;
    let path = find(run, name)?.unwrap_or_else(|| run.join(name));
    let [new, old] = beside(run, name);
    remove(&new)?;
    step(&new)?;
    fs::create_dir(&new).map_err(Error::io(&new))?;
    let written = fill(&new).and_then(|()| sync(&new));
    if let Err(error) = written {
        // Makes room at once; what cannot be removed now is removed by the next.
        let _ = fs::remove_dir_all(&new);
        return Err(error);
    }
    step(&path)?;
    if !path.exists() {
        fs::rename(&new, &path).map_err(Error::io(&path))?;
    } else if exchange(&new, &path).is_err() {
        fs::rename(&path, &old).map_err(Error::io(&path))?;
        step(&path)?;
        fs::rename(&new, &path).map_err(Error::io(&path))?;
    }
    sync_folder(run).map_err(Error::io(run))?;
    step(&new)?;
    remove(&new)?;
    remove(&old)?;
    Ok(path)
}

/// The folder `run/name`, if there is one; one that a process left half replaced is put back first.
///
/// # Errors
/// [`Error::Io`].
pub fn find(run: &Path, name: &str) -> Result<Option<PathBuf>> {
    let path = run.join(name);
    let [_, old] = beside(run, name);
    if !path.exists() && old.exists() {
        fs::rename(&old, &path).map_err(Error::io(&path))?;
    }
    Ok(path.is_dir().then_some(path))
}

/// A run's folder, held by this process until the value is dropped, or the process ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "an open file is a lock that is held")] File);

impl Lock {
    /// Takes the folder, which is made if it is not there.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process has it.
    pub fn take(run: &Path) -> Result<Self> {
        fs::create_dir_all(run).map_err(Error::io(run))?;
        let path = run.join(LOCK);
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(Error::io(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(Error::Busy { path: run.to_owned() }),
            // Some network file systems have no locks; people who share one are asked to look after themselves.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(Self(file)),
            Err(TryLockError::Error(error)) => Err(Error::io(&path)(error)),
        }
    }
}

/// A model that could not be written, as an error of the disk if it is one.
pub(super) fn model_error(error: ModelError) -> Error {
    match error {
        ModelError::Io { path, source } | ModelError::Checkpoint(CheckpointError::Io { path, source }) => Error::io(path)(source),
        other => other.into(),
    }
}

/// The new folder and the old one, while they change places.
fn beside(run: &Path, name: &str) -> [PathBuf; 2] {
    ["new", "old"].map(|which| run.join(format!(".{name}.{which}")))
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(folder)(error)),
        _ => Ok(()),
    }
}

/// All files of a folder and itself are on the disk.
fn sync(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        step(&path)?;
        File::open(&path).and_then(|file| file.sync_all()).map_err(Error::io(&path))?;
    }
    sync_folder(folder).map_err(Error::io(folder))
}

/// Systems that cannot open folders need none of it.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(any(target_os = "linux", target_os = "macos"))]
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    step(one).map_err(io::Error::other)?;
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn exchange(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(test))]
#[inline]
fn step(_: &Path) -> Result<()> {
    Ok(())
}

#[cfg(test)]
use tests::step;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// Steps until the disk is full; none if negative.
        static ROOM: Cell<i32> = const { Cell::new(-1) };
        /// Steps taken.
        static STEPS: Cell<u32> = const { Cell::new(0) };
    }

    pub(super) fn step(path: &Path) -> Result<()> {
        STEPS.set(STEPS.get() + 1);
        match ROOM.get() {
            0 => Err(Error::io(path)(io::ErrorKind::StorageFull.into())),
            n => {
                ROOM.set(n - 1);
                Ok(())
            }
        }
    }

    fn put(run: &Path, content: &str) -> Result<PathBuf> {
        replace(run, "last", |new| {
            for name in ["a", "b"] {
                fs::write(new.join(name), content).map_err(Error::io(new))?;
            }
            Ok(())
        })
    }

    fn content(run: &Path) -> Option<String> {
        let folder = find(run, "last").unwrap()?;
        let [a, b] = ["a", "b"].map(|name| fs::read_to_string(folder.join(name)).unwrap());
        assert_eq!(a, b);
        Some(a)
    }

    #[test]
    fn at_every_step_at_which_the_disk_is_full_the_older_or_the_newer_folder_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path();
        put(run, "one").unwrap();
        STEPS.set(0);
        put(run, "two").unwrap();
        let steps = STEPS.get() as i32;
        assert!(steps > 4, "{steps}");
        for room in 0..steps {
            fs::remove_dir_all(run).unwrap();
            put(run, "one").unwrap();
            ROOM.set(room);
            let result = put(run, "two");
            ROOM.set(-1);
            let found = content(run).expect("one of them is there");
            match result {
                Ok(_) => assert_eq!(found, "two"),
                Err(error) => assert!(matches!(error, Error::Full { .. }), "{error}"),
            }
            assert!(found == "one" || found == "two");
            // Whatever was left does not stand in the way.
            put(run, "three").unwrap();
            assert_eq!(content(run).unwrap(), "three");
            let names: Vec<_> = fs::read_dir(run).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(names, ["last"]);
        }
    }

    #[test]
    fn a_folder_that_is_half_replaced_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path();
        put(run, "one").unwrap();
        // As a process leaves it that dies between two renames, where there is no exchange.
        fs::rename(run.join("last"), run.join(".last.old")).unwrap();
        fs::create_dir(run.join(".last.new")).unwrap();
        assert_eq!(content(run).unwrap(), "one");
        put(run, "two").unwrap();
        assert_eq!(content(run).unwrap(), "two");
    }

    #[test]
    fn two_processes_do_not_train_into_one_folder() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::take(folder.path()).unwrap();
        assert!(matches!(Lock::take(folder.path()), Err(Error::Busy { .. })));
        drop(lock);
        Lock::take(folder.path()).unwrap();
    }
}
