//! One picture of a source: its name, where its bytes are, and what stands beside it.
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::decode_base64;

/// A picture that a source lists. Whether it can be decoded is not known yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// A path, `archive.tar!member`, `train_imgs.tsv#id` or `list.csv#row`: the same in every run as long as the source is the same.
    pub name: String,
    /// Where its bytes are.
    pub source: Source,
    /// The texts that describe it.
    pub captions: Vec<Caption>,
    /// Words of a closed set: classes, keywords.
    pub tags: Vec<String>,
    /// Whatever else the source says of it.
    pub meta: Option<Map<String, Value>>,
    /// How long its file is, where that is known before it is read.
    pub bytes: Option<u64>,
    /// When its file, or the archive or list that holds it, was last changed, in nanoseconds since 1970 (UTC).
    pub modified: Option<i64>,
}

impl Entry {
    /// A picture of which nothing else is known.
    pub fn new(name: impl Into<String>, source: Source) -> Self {
        Self { name: name.into(), source, captions: vec![], tags: vec![], meta: None, bytes: None, modified: None }
    }
}

/// A text that describes a picture.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Caption {
    /// A tag of BCP 47 (`zh`, `pt-BR`), if the source says one.
    pub language: Option<String>,
    /// The text, without spaces around it.
    pub text: String,
}

/// Something that a source lists and that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The name that its [`Entry`] would have had, or the file that is damaged.
    pub name: String,
    /// Why, in one line.
    pub reason: String,
}

/// Where the bytes of a picture are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Here.
    Bytes(Vec<u8>),
    /// A file of its own.
    File(PathBuf),
    /// A part of a file: a member of an archive, a field of a table.
    Part {
        /// The file, which many entries share.
        file: Arc<Path>,
        /// Where the part begins, in bytes.
        offset: u64,
        /// How long it is, in bytes.
        length: u64,
        /// What it is written in.
        coding: Coding,
    },
}

/// How a part of a file holds the bytes of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// In base64 of either alphabet.
    Base64,
    /// As they are.
    Plain,
}

impl Source {
    /// The bytes, if they are no more than `most`.
    ///
    /// # Errors
    /// What the operating system says; [`io::ErrorKind::FileTooLarge`], [`io::ErrorKind::UnexpectedEof`] if a file has become shorter,
    /// [`io::ErrorKind::InvalidData`] for broken base64.
    pub fn read(&self, most: u64) -> io::Result<Cow<'_, [u8]>> {
        match self {
            Self::Bytes(bytes) => {
                check(bytes.len() as u64, most)?;
                Ok(Cow::Borrowed(bytes))
            }
            Self::File(path) => {
                let mut bytes = vec![];
                File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
                check(bytes.len() as u64, most)?;
                Ok(Cow::Owned(bytes))
            }
            Self::Part { file, offset, length, coding } => {
                // Four characters of base64 are three bytes.
                let decoded = if *coding == Coding::Base64 { length / 4 * 3 } else { *length };
                check(decoded, most)?;
                let mut part = File::open(file)?;
                part.seek(SeekFrom::Start(*offset))?;
                let mut bytes = vec![];
                part.take(*length).read_to_end(&mut bytes)?;
                if (bytes.len() as u64) < *length {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("`{}` ends within it", file.display())));
                }
                if *coding == Coding::Base64 {
                    bytes = decode_base64(bytes.trim_ascii())
                        .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("bad base64 ({e})")))?;
                }
                Ok(Cow::Owned(bytes))
            }
        }
    }
}

fn check(found: u64, most: u64) -> io::Result<()> {
    if found > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("over {most} bytes are too many for a picture")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(file: &Path, offset: u64, length: u64, coding: Coding) -> Source {
        Source::Part { file: file.into(), offset, length, coding }
    }

    #[test]
    fn bytes_are_the_same_wherever_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, "7\t+/8=\n\u{fb}").unwrap();
        assert_eq!(part(&path, 2, 4, Coding::Base64).read(3).unwrap().as_ref(), [251, 255]);
        assert_eq!(part(&path, 0, 1, Coding::Plain).read(1).unwrap().as_ref(), b"7");
        assert_eq!(Source::File(path).read(100).unwrap().len(), 9);
        assert_eq!(Source::Bytes(vec![1]).read(1).unwrap().as_ref(), [1]);
    }

    #[test]
    fn what_is_too_long_or_cut_off_is_refused_before_it_takes_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, [0; 100]).unwrap();
        let kind = |source: Source| source.read(50).unwrap_err().kind();
        assert_eq!(kind(Source::File(path.clone())), io::ErrorKind::FileTooLarge);
        assert_eq!(kind(Source::Bytes(vec![0; 51])), io::ErrorKind::FileTooLarge);
        assert_eq!(kind(part(&path, 0, u64::MAX, Coding::Plain)), io::ErrorKind::FileTooLarge);
        assert_eq!(kind(part(&path, 0, u64::MAX, Coding::Base64)), io::ErrorKind::FileTooLarge);
        assert_eq!(kind(part(&path, 90, 11, Coding::Plain)), io::ErrorKind::UnexpectedEof);
        assert_eq!(kind(part(&path, 0, 8, Coding::Base64)), io::ErrorKind::InvalidData);
        assert_eq!(kind(Source::File(folder.path().join("none"))), io::ErrorKind::NotFound);
    }
}
