//! Embeddings of picture files that were computed before, so that a folder is embedded once.
//!
//! One append-only file for each model (its fingerprint is the name): a header line, then records of a picture's path, size and time
//! of change, its vector, and a checksum. A record counts only when it is whole: whatever a killed process left at the end is cut off
//! by the next writer. One process writes; others that come meanwhile read what is there and write nothing. A place that cannot be read
//! or written costs the keeping, never the answer: [`Cache::problem`] tells of it.
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

/// Longest key that is believed, bytes.
const LONGEST_KEY: usize = 1 << 16;

/// What tells whether a file is still the one that was embedded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    path: PathBuf,
    size: u64,
    /// Nanoseconds since 1970.
    changed_ns: u64,
}

impl Stamp {
    /// Of the file at `path`, which is made absolute.
    pub fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        let changed_ns = metadata.modified()?.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
        Ok(Self { path: fs::canonicalize(path)?, size: metadata.len(), changed_ns })
    }

    /// Of what never changes.
    pub fn constant(name: &str) -> Self {
        Self { path: name.into(), size: 0, changed_ns: 0 }
    }
}

/// The vectors of one model.
#[derive(Debug)]
pub(crate) struct Cache {
    width: usize,
    /// By path: the stamp of the newest record and its place in `rows`.
    entries: HashMap<PathBuf, (Stamp, usize)>,
    /// `[records, width]`.
    rows: Vec<f32>,
    /// Open for appending, if this process is the one that writes.
    file: Option<File>,
    path: PathBuf,
    problem: Option<io::Error>,
}

impl Cache {
    /// Opens or begins the cache of the model `fingerprint` in `folder`. A file of another kind or version is replaced; what cannot be
    /// written is read, and what cannot be read is empty.
    pub fn open(folder: &Path, fingerprint: &str, width: usize) -> Self {
        let path = folder.join(format!("{fingerprint}.vectors"));
        let mut cache = Self { path, ..Self::in_memory(width) };
        let header = format!("hua pictures 1 {fingerprint} {width}\n");
        if let Err(problem) = cache.read_and_hold(folder, &header) {
            cache.problem = Some(problem);
        }
        cache
    }

    /// A cache that remembers nothing after this process.
    pub fn in_memory(width: usize) -> Self {
        Self { width, entries: HashMap::new(), rows: vec![], file: None, path: PathBuf::new(), problem: None }
    }

    /// Why not everything is kept: the file and what the operating system said.
    pub fn problem(self) -> Option<(PathBuf, io::Error)> {
        self.problem.map(|problem| (self.path, problem))
    }

    fn read_and_hold(&mut self, folder: &Path, header: &str) -> io::Result<()> {
        let opened = fs::create_dir_all(folder)
            .and_then(|()| OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&self.path));
        let mut file = match opened {
            Ok(file) => file,
            Err(problem) => {
                // What others may write is good to read all the same.
                if let Ok(mut file) = File::open(&self.path) {
                    self.read(&mut file, header)?;
                }
                return Err(problem);
            }
        };
        let lock = file.try_lock();
        let valid = self.read(&mut file, header)?;
        match lock {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(()),
            Err(TryLockError::Error(problem)) => return Err(problem),
        }
        file.set_len(valid as u64)?;
        file.seek(SeekFrom::Start(valid as u64))?;
        if valid == 0 {
            file.write_all(header.as_bytes())?;
        }
        self.file = Some(file);
        Ok(())
    }

    /// Remembers the whole records of a file and returns how many bytes of it they are, its header included.
    fn read(&mut self, file: &mut File, header: &str) -> io::Result<usize> {
        let mut bytes = vec![];
        file.read_to_end(&mut bytes)?;
        if !bytes.starts_with(header.as_bytes()) {
            return Ok(0);
        }
        let mut valid = header.len();
        while let Some((stamp, row, end)) = record(&bytes, valid, self.width) {
            self.remember(stamp, &row);
            valid = end;
        }
        Ok(valid)
    }

    /// The vector of a file that has not changed since.
    pub fn find(&self, stamp: &Stamp) -> Option<&[f32]> {
        let (known, row) = self.entries.get(&stamp.path)?;
        (known == stamp).then(|| &self.rows[row * self.width..][..self.width])
    }

    /// Adds vectors `[stamps, width]`; they are known to this process even if they cannot be kept.
    pub fn add(&mut self, records: &[(Stamp, &[f32])]) {
        let mut bytes = vec![];
        for (stamp, row) in records {
            // A path that is no Unicode has no key.
            if let Ok(key) = serde_json::to_vec(stamp) {
                let start = bytes.len();
                bytes.extend((key.len() as u32).to_le_bytes());
                bytes.extend(key);
                bytes.extend(row.iter().flat_map(|x| x.to_le_bytes()));
                let checksum = crc32fast::hash(&bytes[start..]);
                bytes.extend(checksum.to_le_bytes());
            }
            self.remember(stamp.clone(), row);
        }
        if let Some(file) = &mut self.file
            && let Err(problem) = file.write_all(&bytes)
        {
            // Half a record ends what a reader believes, so nothing may follow it.
            self.file = None;
            self.problem = Some(problem);
        }
    }

    fn remember(&mut self, stamp: Stamp, row: &[f32]) {
        self.entries.insert(stamp.path.clone(), (stamp, self.rows.len() / self.width.max(1)));
        self.rows.extend_from_slice(row);
    }
}

/// The record at `at` and where it ends, if it is whole.
fn record(bytes: &[u8], at: usize, width: usize) -> Option<(Stamp, Vec<f32>, usize)> {
    let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    let key_len = word(at)? as usize;
    if key_len > LONGEST_KEY {
        return None;
    }
    let key = bytes.get(at + 4..at + 4 + key_len)?;
    let row_at = at + 4 + key_len;
    let row = bytes.get(row_at..row_at + 4 * width)?;
    let end = row_at + row.len();
    if word(end)? != crc32fast::hash(&bytes[at..end]) {
        return None;
    }
    let stamp = serde_json::from_slice(key).ok()?;
    let row = row.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    Some((stamp, row, end + 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(name: &str, size: u64) -> Stamp {
        Stamp { path: name.into(), size, changed_ns: 7 }
    }

    fn filled(folder: &Path) {
        let mut cache = Cache::open(folder, "m", 2);
        cache.add(&[(stamp("a", 1), &[1.0, 2.0]), (stamp("b", 1), &[3.0, 4.0])]);
        cache.add(&[(stamp("a", 2), &[5.0, 6.0])]);
    }

    #[test]
    fn vectors_are_found_again_and_changed_files_are_not() {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path());
        let cache = Cache::open(folder.path(), "m", 2);
        assert_eq!(cache.find(&stamp("a", 2)), Some(&[5.0, 6.0][..]));
        assert_eq!(cache.find(&stamp("b", 1)), Some(&[3.0, 4.0][..]));
        assert_eq!(cache.find(&stamp("a", 1)), None);
        assert!(Cache::open(folder.path(), "other", 2).entries.is_empty());
    }

    #[test]
    fn a_file_cut_at_any_byte_keeps_what_was_whole_and_takes_more() {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path());
        let path = folder.path().join("m.vectors");
        let whole = fs::read(&path).unwrap();
        let mut most = 0;
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let mut cache = Cache::open(folder.path(), "m", 2);
            assert!(cache.rows.len() >= most, "cut at {cut}");
            most = cache.rows.len();
            cache.add(&[(stamp("c", 9), &[7.0, 8.0])]);
            drop(cache);
            let cache = Cache::open(folder.path(), "m", 2);
            assert_eq!(cache.find(&stamp("c", 9)), Some(&[7.0, 8.0][..]));
            assert_eq!(cache.rows.len(), most + 2);
        }
        assert_eq!(most, 4);
    }

    #[test]
    fn a_flipped_bit_ends_what_is_believed() {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path());
        let path = folder.path().join("m.vectors");
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 6;
        bytes[last] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let cache = Cache::open(folder.path(), "m", 2);
        assert_eq!(cache.find(&stamp("a", 1)), Some(&[1.0, 2.0][..]));
        assert_eq!(cache.find(&stamp("a", 2)), None);
    }

    #[test]
    fn a_second_process_reads_and_does_not_write() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = Cache::open(folder.path(), "m", 1);
        first.add(&[(stamp("a", 1), &[1.0])]);
        let mut second = Cache::open(folder.path(), "m", 1);
        assert_eq!(second.find(&stamp("a", 1)), Some(&[1.0][..]));
        second.add(&[(stamp("b", 1), &[2.0])]);
        drop((first, second));
        assert!(Cache::open(folder.path(), "m", 1).find(&stamp("b", 1)).is_none());
    }

    #[test]
    fn a_place_that_cannot_be_used_costs_the_keeping_only() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        fs::create_dir(folder.path().join("m.vectors")).unwrap();
        for place in [folder.path().join("file"), folder.path().to_owned()] {
            let mut cache = Cache::open(&place, "m", 1);
            cache.add(&[(stamp("a", 1), &[1.0])]);
            assert_eq!(cache.find(&stamp("a", 1)), Some(&[1.0][..]));
            assert_eq!(cache.problem().unwrap().0, place.join("m.vectors"));
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_told_once_and_nothing_more_is_written() {
        let mut cache = Cache::in_memory(1);
        cache.file = Some(OpenOptions::new().write(true).open("/dev/full").unwrap());
        for name in ["a", "b"] {
            cache.add(&[(stamp(name, 1), &[1.0])]);
            assert!(cache.file.is_none() && cache.find(&stamp(name, 1)).is_some());
        }
        assert_eq!(cache.problem().unwrap().1.kind(), io::ErrorKind::StorageFull);
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_no_unicode_is_known_and_not_kept() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().unwrap();
        let odd = Stamp { path: std::ffi::OsStr::from_bytes(b"\xff.png").into(), size: 1, changed_ns: 7 };
        let mut cache = Cache::open(folder.path(), "m", 1);
        cache.add(&[(odd.clone(), &[1.0]), (stamp("b", 1), &[2.0])]);
        assert!(cache.find(&odd).is_some() && cache.problem().is_none());
        assert_eq!(Cache::open(folder.path(), "m", 1).find(&stamp("b", 1)), Some(&[2.0][..]));
    }
}
