//! What a path is: told by the content where the content says so, else by the name.
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::walk::is_picture;
use crate::{Error, Result};

/// The kinds of sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Chinese-CLIP's `SPLIT_imgs.tsv` with `SPLIT_texts.jsonl` beside it, or a folder of such files.
    ChineseClip,
    /// A table of commas, or of tabs, with a line of column names.
    Csv,
    /// A folder of picture files.
    Folder,
    /// An object a line.
    Jsonl,
    /// Chinese-CLIP's LMDB: an environment of pictures, a split (`imgs` and `pairs`), or a folder of splits.
    Lmdb,
    /// A table in columns.
    Parquet,
    /// Anything else is taken for a picture file.
    Picture,
    /// A folder of archives and no pictures, as img2dataset leaves it.
    Shards,
    /// An archive, perhaps compressed with gzip.
    Tar,
}

impl Kind {
    /// What is at `path`.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read.
    pub fn of(path: &Path) -> Result<Self> {
        if fs::metadata(path).map_err(Error::io(path))?.is_dir() { Self::of_folder(path) } else { Self::of_file(path) }
    }

    fn of_folder(path: &Path) -> Result<Self> {
        let (mut archives, mut pictures) = (false, false);
        for entry in fs::read_dir(path).map_err(Error::io(path))?.flatten() {
            let path = entry.path();
            if is_chinese_clip(&path) {
                return Ok(Self::ChineseClip);
            }
            pictures |= is_picture(&path) || path.is_dir();
            archives |= is_tar(&path);
        }
        Ok(match (archives, pictures) {
            // The text form of a data set, if it was there, was as good.
            _ if !lmdb_pictures(path).is_empty() => Self::Lmdb,
            (true, false) => Self::Shards,
            _ => Self::Folder,
        })
    }

    fn of_file(path: &Path) -> Result<Self> {
        let mut head = vec![];
        File::open(path).and_then(|file| file.take(512).read_to_end(&mut head)).map_err(Error::io(path))?;
        let compressed = head.starts_with(b"\x1f\x8b");
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let name = if compressed { name.strip_suffix(".gz").unwrap_or(&name) } else { &name };
        let ends = |ending: &str| name.ends_with(ending);
        Ok(match &*head {
            _ if head.starts_with(b"PAR1") => Self::Parquet,
            _ if head.get(257..262) == Some(b"ustar") => Self::Tar,
            _ if head.get(16..20) == Some(&LMDB_MAGIC) => Self::Lmdb,
            _ if is_chinese_clip(path) => Self::ChineseClip,
            _ if ends(".csv") || ends(".tsv") => Self::Csv,
            _ if ends(".jsonl") || ends(".ndjson") => Self::Jsonl,
            // Of an archive's own name the end may be missing (`.tgz`), and the oldest archives have no mark.
            _ if ends(".tar") || ends(".tgz") => Self::Tar,
            _ if ends(".parquet") => Self::Parquet,
            _ => Self::Picture,
        })
    }
}

/// What stands in the first page of every LMDB file that a 64-bit machine of the usual byte order wrote, behind 16 bytes.
const LMDB_MAGIC: [u8; 4] = 0xBEEF_C0DE_u32.to_le_bytes();

/// Whether a file has Chinese-CLIP's name for pictures.
pub(crate) fn is_chinese_clip(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().ends_with(b"_imgs.tsv"))
}

/// Whether a file has the name of an archive.
pub(crate) fn is_tar(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    [".tar", ".tar.gz", ".tgz"].iter().any(|ending| name.ends_with(ending.as_bytes())) && !name.starts_with(b".")
}

/// The environments of pictures that a folder is or has: itself, its `imgs`, the `imgs` of its splits, or of the splits in its `lmdb`.
pub(crate) fn lmdb_pictures(path: &Path) -> Vec<PathBuf> {
    let has_data = |folder: &Path| folder.join("data.mdb").is_file();
    if has_data(path) {
        // The texts alone are no pictures, but they lie beside them.
        let pictures = path.with_file_name("imgs");
        let is_texts = path.file_name().is_some_and(|name| name == "pairs") && has_data(&pictures);
        return vec![if is_texts { pictures } else { path.to_owned() }];
    }
    if has_data(&path.join("imgs")) {
        return vec![path.join("imgs")];
    }
    for folder in [path.to_owned(), path.join("lmdb")] {
        let Ok(splits) = fs::read_dir(&folder) else { continue };
        let mut pictures: Vec<_> = splits.flatten().map(|split| split.path().join("imgs")).filter(|path| has_data(path)).collect();
        pictures.sort();
        if !pictures.is_empty() {
            return pictures;
        }
    }
    vec![]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_what_its_content_says_and_else_what_its_name_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        let mut mdb = vec![0; 512];
        mdb[16..20].copy_from_slice(&[0xDE, 0xC0, 0xEF, 0xBE]);
        for (name, content, kind) in [
            ("list.csv", &b"a,b"[..], Kind::Csv),
            ("list.csv.gz", b"\x1f\x8b", Kind::Csv),
            ("list.csv.gzip", b"\x1f\x8b", Kind::Picture),
            ("LIST.TSV", b"a\tb", Kind::Csv),
            ("valid_imgs.tsv", b"1\t", Kind::ChineseClip),
            ("x.jsonl", b"{}", Kind::Jsonl),
            ("x.parquet", b"", Kind::Parquet),
            ("x.csv.bin", b"PAR1....", Kind::Parquet),
            ("x.bin", &tar, Kind::Tar),
            ("old.tar", b"", Kind::Tar),
            ("x.tgz", b"\x1f\x8b", Kind::Tar),
            ("x.mdb", &mdb, Kind::Lmdb),
            ("notes.txt", b"hello", Kind::Picture),
            ("cat.jpg", b"\xff\xd8\xff", Kind::Picture),
        ] {
            fs::write(path(name), content).unwrap();
            assert_eq!(Kind::of(&path(name)).unwrap(), kind, "{name}");
        }
        assert!(matches!(Kind::of(&path("none")), Err(Error::Io { .. })));
    }

    #[test]
    fn a_folder_is_what_lies_in_it() {
        for (files, kind) in [
            (&["a.png", "00000.tar"][..], Kind::Folder),
            (&["00000.tar", "00000.parquet", "00000_stats.json"], Kind::Shards),
            (&["old.tar", "sub/a.png"], Kind::Folder),
            (&["train_imgs.tsv", "train_texts.jsonl"], Kind::ChineseClip),
            (&["data.mdb", "lock.mdb"], Kind::Lmdb),
            (&["imgs/data.mdb", "pairs/data.mdb"], Kind::Lmdb),
            (&["valid/imgs/data.mdb", "train/imgs/data.mdb"], Kind::Lmdb),
            (&["lmdb/valid/imgs/data.mdb"], Kind::Lmdb),
            (&[], Kind::Folder),
        ] {
            let folder = tempfile::tempdir().unwrap();
            for file in files {
                let path = folder.path().join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
            assert_eq!(Kind::of(folder.path()).unwrap(), kind, "{files:?}");
        }
    }
}
