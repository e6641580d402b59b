//! A file that gets its name when it is whole.
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::io as failed;
use crate::Error;

/// Written beside its place, then renamed; removed if it is dropped before.
pub(super) struct Draft {
    path: PathBuf,
    part: PathBuf,
    file: Option<BufWriter<File>>,
}

impl Draft {
    pub fn begin(path: &Path) -> Result<Self, Error> {
        let part = part(path);
        let file = File::create(&part).map_err(failed(&part))?;
        Ok(Self { path: path.to_owned(), part, file: Some(BufWriter::with_capacity(1 << 20, file)) })
    }

    /// Writes `head` over the first bytes, makes all last and gives the file its name.
    pub fn finish(mut self, head: &[u8]) -> Result<(), Error> {
        let path = self.path.clone();
        let mut complete = || -> io::Result<()> {
            let file = self.file.take().expect("taken here alone");
            let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            io::Seek::rewind(&mut file)?;
            file.write_all(head)?;
            file.sync_all()?;
            std::fs::rename(&self.part, &self.path)
        };
        complete().map_err(failed(path))
    }

    /// What was written, from its beginning.
    pub fn reread(&mut self) -> io::Result<File> {
        self.flush()?;
        File::open(&self.part)
    }

    /// What failed, with the file's name.
    pub fn failed(&self) -> impl FnOnce(io::Error) -> Error + use<> {
        failed(self.path.clone())
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_mut().expect("there until it is finished").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().expect("there until it is finished").flush()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After `finish` there is none of that name.
        let _ = std::fs::remove_file(&self.part);
    }
}

/// `folder/.name.part`.
pub(super) fn part(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".part");
    path.with_file_name(name)
}
