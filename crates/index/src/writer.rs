//! Writing a library.
use std::path::{Path, PathBuf};

use crate::{Item, ItemError, ItemId, Known, NewItem, Result, Space, SpaceId, SpaceSpec, SpaceState, Tag};

/// The one who writes a library. What it writes is seen by readers, and survives, once it is committed; what is not committed when
/// it is dropped never was.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
}

/// What [`Writer::compact`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Compaction {
    /// Segments written anew.
    pub segments: u64,
    /// Dead rows that are gone.
    pub rows: u64,
    /// Bytes given back.
    pub bytes: u64,
}

#[expect(unused_variables, reason = "to be filled")]
impl Writer {
    /// Makes a library in the folder `path` with one live space.
    ///
    /// # Errors
    /// If there is one, or the folder cannot be written.
    pub fn create(path: &Path, space: &SpaceSpec) -> Result<Self> {
        unimplemented!()
    }

    /// Opens the library in the folder `path` for writing.
    ///
    /// # Errors
    /// If another process writes it, it is none, of a newer version, damaged or not to be written.
    pub fn open(path: &Path) -> Result<Self> {
        unimplemented!()
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The embedding spaces, by id.
    ///
    /// # Errors
    /// If the catalogue cannot be read; so it is with all that follows.
    pub fn spaces(&self) -> Result<Vec<Space>> {
        unimplemented!()
    }

    /// Adds an empty space beside the others, in state [`SpaceState::Filling`].
    ///
    /// # Errors
    /// If there is one of that name.
    pub fn add_space(&mut self, space: &SpaceSpec) -> Result<SpaceId> {
        unimplemented!()
    }

    /// Says whether a space is to be searched.
    ///
    /// # Errors
    /// If there is no such space.
    pub fn set_state(&mut self, space: SpaceId, state: SpaceState) -> Result<()> {
        unimplemented!()
    }

    /// Removes a space and its vectors. Commits what was written before, and this.
    ///
    /// # Errors
    /// If there is no such space.
    pub fn remove_space(&mut self, space: SpaceId) -> Result<()> {
        unimplemented!()
    }

    /// What is known of the file at `path`.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn known(&self, path: &str) -> Result<Option<Known>> {
        unimplemented!()
    }

    /// The items of that content, by id.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn by_hash(&self, hash: &[u8; 32]) -> Result<Vec<ItemId>> {
        unimplemented!()
    }

    /// An item, if it is there.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn item(&self, item: ItemId) -> Result<Option<Item>> {
        unimplemented!()
    }

    /// Items and their paths, of all paths that begin with `prefix`, by path.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn paths_under(&self, prefix: &str) -> Result<Vec<(ItemId, String)>> {
        unimplemented!()
    }

    /// Writes an item: a new one, or the one of that path, which keeps its id. If its content is another (by hash, else by length and
    /// time), its vectors are gone, in every space. Its captions are replaced, and its tags of [`Tag::DATA`] and of the sources given. An
    /// error recorded for the path is cleared.
    ///
    /// # Errors
    /// If the catalogue cannot be written.
    pub fn upsert(&mut self, item: &NewItem) -> Result<ItemId> {
        unimplemented!()
    }

    /// Gives an item its vector in a space, instead of the one it has. `vector` is `[width]`; it is divided by its length, unless that is
    /// 1 already.
    ///
    /// # Errors
    /// If there is no such item or space, or the vector has another width or no direction.
    pub fn set_vector(&mut self, space: SpaceId, item: ItemId, vector: &[f32]) -> Result<()> {
        unimplemented!()
    }

    /// Whether an item has a vector in a space.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn has_vector(&self, space: SpaceId, item: ItemId) -> Result<bool> {
        unimplemented!()
    }

    /// Gives `to` the vectors of `from`, to the bit, in every space where `from` has one: for two files of one content.
    ///
    /// # Errors
    /// If there is no such item.
    pub fn copy_vectors(&mut self, from: ItemId, to: ItemId) -> Result<()> {
        unimplemented!()
    }

    /// Up to `limit` items without a vector in that space, by id, behind `after`.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn missing(&self, space: SpaceId, after: Option<ItemId>, limit: usize) -> Result<Vec<ItemId>> {
        unimplemented!()
    }

    /// Says that an item's file has another path now, and was changed at `modified`. Its vectors, captions and tags stay.
    ///
    /// # Errors
    /// If there is no such item, or another has that path.
    pub fn rename(&mut self, item: ItemId, path: &str, modified: Option<i64>) -> Result<()> {
        unimplemented!()
    }

    /// Says that an item's file has the same content, though it was changed at `modified`.
    ///
    /// # Errors
    /// If there is no such item.
    pub fn touch(&mut self, item: ItemId, modified: Option<i64>) -> Result<()> {
        unimplemented!()
    }

    /// Removes an item and all that belongs to it; whether it was there.
    ///
    /// # Errors
    /// If the catalogue cannot be written.
    pub fn remove(&mut self, item: ItemId) -> Result<bool> {
        unimplemented!()
    }

    /// Sets an item's tags of one source, whatever source they name themselves.
    ///
    /// # Errors
    /// If there is no such item.
    pub fn set_tags(&mut self, item: ItemId, source: &str, tags: &[Tag]) -> Result<()> {
        unimplemented!()
    }

    /// Removes all tags of one source; how many there were.
    ///
    /// # Errors
    /// If the catalogue cannot be written.
    pub fn clear_tags(&mut self, source: &str) -> Result<u64> {
        unimplemented!()
    }

    /// Notes that a file could not be indexed. The item of that path, if there is one, stays.
    ///
    /// # Errors
    /// If the catalogue cannot be written.
    pub fn record_error(&mut self, error: &ItemError) -> Result<()> {
        unimplemented!()
    }

    /// The error recorded for a path.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn error(&self, path: &str) -> Result<Option<ItemError>> {
        unimplemented!()
    }

    /// Forgets the error recorded for a path; whether there was one.
    ///
    /// # Errors
    /// If the catalogue cannot be written.
    pub fn clear_error(&mut self, path: &str) -> Result<bool> {
        unimplemented!()
    }

    /// A value of the library itself.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn value(&self, key: &str) -> Result<Option<String>> {
        unimplemented!()
    }

    /// Sets a value of the library itself (which folders it was made of, say), or removes it.
    ///
    /// # Errors
    /// If the catalogue cannot be written.
    pub fn set_value(&mut self, key: &str, value: Option<&str>) -> Result<()> {
        unimplemented!()
    }

    /// Makes all that was written since the last commit last, and visible, at once. When it returns, it is on the disk.
    ///
    /// # Errors
    /// If it cannot be written; then nothing of it is.
    pub fn commit(&mut self) -> Result<()> {
        unimplemented!()
    }

    /// Takes back all that was written since the last commit.
    ///
    /// # Errors
    /// If the catalogue cannot be read again.
    pub fn rollback(&mut self) -> Result<()> {
        unimplemented!()
    }

    /// Commits, then writes the segments anew of which a third is dead, or with `all` those with any dead row, and commits that.
    ///
    /// # Errors
    /// If it cannot be written; then all is as it was.
    pub fn compact(&mut self, all: bool) -> Result<Compaction> {
        unimplemented!()
    }
}
