//! Files as bytes without reading them: memory maps.
use std::fs::File;
use std::io;
use std::path::Path;

/// The bytes of a file, mapped read-only.
#[derive(Debug)]
pub struct MappedFile(memmap2::Mmap);

impl MappedFile {
    /// Maps the whole file at `path`.
    ///
    /// # Errors
    /// What the operating system says; an empty file cannot be mapped on every system.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: the map is private and read-only. Another process that truncates the file while it is mapped ends this
        // one with SIGBUS, and one that writes to it changes numbers: the price of every memory-mapped checkpoint, which
        // the field accepts. No Rust invariant rests on the bytes: they are only ever read as plain numbers.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        Ok(Self(map))
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
