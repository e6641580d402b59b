//! A picture on its way into a library, and what becomes of it.
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use hua_data::{Entry, Source};
use hua_index::{Caption, Facts, Item, Known, NewItem, Tag};
use ring::digest;

use crate::Error;

/// What tells contents apart: their SHA-256.
pub(super) type Hash = [u8; 32];

/// A picture that is new, changed, or was not finished.
#[derive(Debug)]
pub(super) struct Job {
    pub entry: Entry,
    /// What the library knows of its path.
    pub known: Option<Known>,
    /// What was read, once it was.
    pub content: Option<Content>,
    /// Whether it is to be embedded whatever is known.
    pub anew: bool,
}

/// What the bytes of a picture say before they are decoded.
#[derive(Clone, Debug)]
pub(super) struct Content {
    pub hash: Hash,
    pub bytes: u64,
    pub facts: Facts,
}

/// Why a picture is not embedded.
#[derive(Debug)]
pub(super) enum Left {
    /// Another picture has its content.
    Copy,
    /// It cannot be read or decoded.
    Failed(Error),
    /// Its content is what the library has for its path.
    Same,
}

impl From<Error> for Left {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Job {
    /// Reads the picture's bytes, `most` at most, and notes what they say.
    pub fn read(&mut self, most: u64) -> Result<Vec<u8>, Error> {
        let io = |source| Error::Io { path: PathBuf::from(&self.entry.name), source };
        let bytes = match &self.entry.source {
            Source::File(path) if path.is_dir() => return Err(io(io::ErrorKind::IsADirectory.into())),
            source => source.read(most).map_err(io)?.into_owned(),
        };
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, &bytes).as_ref());
        self.content = Some(Content { hash, bytes: bytes.len() as u64, facts: facts(&bytes) });
        Ok(bytes)
    }

    /// The item that the library is to have, once the picture was read.
    pub fn item(&self) -> NewItem {
        let facts = self.content.as_ref().map(|content| content.facts.clone()).unwrap_or_default();
        let read = self.content.as_ref().map_or(0, |content| content.bytes);
        NewItem {
            path: self.entry.name.clone(),
            bytes: self.entry.bytes.unwrap_or(read),
            modified: self.entry.modified,
            hash: self.content.as_ref().map(|content| content.hash),
            facts,
            captions: captions(&self.entry),
            tags: self.entry.tags.iter().map(Tag::new).collect(),
            meta: self.entry.meta.clone().map(Into::into),
        }
    }
}

/// Whether `bytes` and `modified` of a file say that it is still `entry`. Times of change alone would miss a file that came from elsewhere.
pub(super) fn same_stamp(entry: &Entry, bytes: u64, modified: Option<i64>) -> bool {
    entry.modified.is_some() && entry.modified == modified && entry.bytes == Some(bytes)
}

/// `item` as it is to be written if what stands beside its picture is not what the library has.
pub(super) fn redescribed(item: Item, entry: &Entry) -> Option<NewItem> {
    let listed = captions(entry);
    let tags: BTreeSet<&str> = entry.tags.iter().map(|tag| &**tag).collect();
    let had: BTreeSet<&str> = item.tags.iter().filter(|tag| tag.source == Tag::DATA).map(|tag| &*tag.tag).collect();
    // Of facts that a source does not tell, another command may have told some.
    let meta = entry.meta.clone().map(serde_json::Value::from).or_else(|| item.meta.clone());
    if same_captions(&item.captions, &listed) && tags == had && meta == item.meta {
        return None;
    }
    let Item { path, bytes, modified, hash, facts, .. } = item;
    let tags = entry.tags.iter().map(Tag::new).collect();
    Some(NewItem { path, bytes, modified, hash, facts, captions: listed, tags, meta })
}

fn captions(entry: &Entry) -> Vec<Caption> {
    entry.captions.iter().map(|caption| Caption { language: caption.language.clone(), text: caption.text.clone() }).collect()
}

fn same_captions(a: &[Caption], b: &[Caption]) -> bool {
    let set = |captions: &[Caption]| captions.iter().map(|c| (c.language.clone(), c.text.clone())).collect::<BTreeSet<_>>();
    set(a) == set(b)
}

/// What a picture file says of itself.
fn facts(bytes: &[u8]) -> Facts {
    let hua_image::Facts { width, height, format, taken, camera, latitude, longitude, .. } = hua_image::facts(bytes);
    Facts { width, height, format: format.map(str::to_ascii_lowercase), taken, camera, latitude, longitude }
}
