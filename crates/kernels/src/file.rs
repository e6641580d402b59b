//! Files as bytes without reading them: memory maps.
use std::fs::File;
use std::io;
use std::ops::Range;
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

    /// Lets go of the memory that whole pages of these bytes take: they are read from the file again when they are next looked at.
    /// A wish: systems that know none of it keep them, and so does every system what lies outside.
    pub fn release(&self, bytes: Range<usize>) {
        /// As large as pages are anywhere.
        const PAGE: usize = 64 << 10;
        let len = self.0.len();
        let (start, end) = (bytes.start.min(len).next_multiple_of(PAGE), bytes.end.min(len) / PAGE * PAGE);
        #[cfg(unix)]
        if start < end {
            // SAFETY: the map is private, read-only and of a file, so that the bytes are the same when they are read again.
            let _ = unsafe { self.0.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, end - start) };
        }
        #[cfg(not(unix))]
        let _ = (start, end);
    }

    /// Asks the system to have all pages at hand before they are looked at. A wish, too.
    pub fn fetch(&self) {
        #[cfg(target_os = "linux")]
        let _ = self.0.advise(memmap2::Advice::PopulateRead);
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_were_released_are_there_again() {
        let path = std::env::temp_dir().join(format!("hua-file-{}", std::process::id()));
        let bytes: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let file = MappedFile::open(&path).unwrap();
        for range in [0..300_000, 1..2, 70_000..200_000, 0..usize::MAX, 400_000..500_000] {
            file.release(range);
            file.fetch();
            assert_eq!(file.as_ref(), bytes);
        }
        std::fs::remove_file(&path).unwrap();
    }
}
