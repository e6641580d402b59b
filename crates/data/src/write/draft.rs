//! Files and folders that get their names when they are whole; removed if they are dropped before.
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::{failed, free};
use crate::{Error, Result};

/// A file being written.
pub(super) struct Draft {
    path: PathBuf,
    part: PathBuf,
    file: Option<BufWriter<File>>,
}

impl Draft {
    pub fn begin(path: &Path) -> Result<Self> {
        free(path)?;
        let part = part(path);
        let file = File::create(&part).map_err(failed(path))?;
        Ok(Self { path: path.to_owned(), part, file: Some(BufWriter::with_capacity(1 << 20, file)) })
    }

    /// Makes the file last; it keeps its other name.
    pub fn complete(&mut self) -> Result<()> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let file = file.into_inner().map_err(io::IntoInnerError::into_error).map_err(failed(&self.path))?;
        file.sync_all().map_err(failed(&self.path))
    }

    /// Makes the file last and gives it its name.
    pub fn finish(mut self) -> Result<PathBuf> {
        self.complete()?;
        fs::rename(&self.part, &self.path).map_err(failed(&self.path))?;
        Ok(self.path.clone())
    }

    /// What failed, with the file's final name.
    pub fn failed(&self) -> impl FnOnce(io::Error) -> Error + use<> {
        failed(&self.path)
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_mut().expect("there until it is complete").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().expect("there until it is complete").flush()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After `finish` there is none of that name.
        let _ = fs::remove_file(&self.part);
    }
}

/// A folder being filled.
pub(super) struct DraftFolder {
    path: PathBuf,
    part: PathBuf,
}

impl DraftFolder {
    pub fn begin(path: &Path) -> Result<Self> {
        free(path)?;
        let part = part(path);
        // What a run that was killed has left.
        if part.is_dir() {
            fs::remove_dir_all(&part).map_err(failed(path))?;
        }
        fs::create_dir(&part).map_err(failed(path))?;
        Ok(Self { path: path.to_owned(), part })
    }

    /// Where it is until it has its name.
    pub fn part(&self) -> &Path {
        &self.part
    }

    /// Its name to be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file below it, with the folders that it lies in.
    pub fn write(&self, name: &Path, bytes: &[u8]) -> Result<()> {
        let (part, path) = (self.part.join(name), self.path.join(name));
        if let Some(folder) = part.parent() {
            fs::create_dir_all(folder).map_err(failed(&path))?;
        }
        fs::write(&part, bytes).map_err(failed(&path))
    }

    pub fn finish(self) -> Result<PathBuf> {
        if let Ok(folder) = File::open(&self.part) {
            // Where folders cannot be synced, the file system does it in its own time.
            let _ = folder.sync_all();
        }
        fs::rename(&self.part, &self.path).map_err(failed(&self.path))?;
        Ok(self.path.clone())
    }
}

impl Drop for DraftFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.part);
    }
}

/// `folder/.name.part`.
fn part(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".part");
    path.with_file_name(name)
}
