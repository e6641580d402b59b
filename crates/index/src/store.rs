//! What any store of vectors can do: the seam where one for tens of millions will fit.
//!
//! `tests/store.rs` holds the properties that every store has to have.
use crate::{Filter, Hit, ItemId, NewItem, Reader, Result, SpaceId, Stats, Writer};

/// Items with one vector each, found by vector and filter. What is written is seen by searches once it is committed.
pub trait Store {
    /// Writes an item and its vector, or replaces those of its path; its id.
    ///
    /// # Errors
    /// If it cannot be written or the vector does not fit.
    fn upsert(&mut self, item: &NewItem, vector: &[f32]) -> Result<ItemId>;

    /// Gives an item another path.
    ///
    /// # Errors
    /// If there is no such item, or another has that path.
    fn rename(&mut self, item: ItemId, path: &str) -> Result<()>;

    /// Removes an item; whether it was there.
    ///
    /// # Errors
    /// If it cannot be written.
    fn delete(&mut self, item: ItemId) -> Result<bool>;

    /// Makes all that was written last, and visible, at once.
    ///
    /// # Errors
    /// If it cannot be written; then nothing of it is.
    fn commit(&mut self) -> Result<()>;

    /// Gives back the room of what was removed.
    ///
    /// # Errors
    /// If it cannot be written; then all is as it was.
    fn compact(&mut self) -> Result<()>;

    /// The `k` nearest of the items that are meant, by cosine: the nearest first, those at the same distance by id.
    ///
    /// # Errors
    /// If the vector or the filter does not fit.
    fn search(&self, vector: &[f32], filter: &Filter, k: usize) -> Result<Vec<Hit>>;

    /// How much there is.
    ///
    /// # Errors
    /// If it cannot be read.
    fn stats(&self) -> Result<Stats>;
}

/// A library folder as a [`Store`]: its writer, a reader that follows, and one of its spaces.
#[derive(Debug)]
pub struct Library {
    /// Writes.
    pub writer: Writer,
    /// Reads what is committed.
    pub reader: Reader,
    /// Where vectors go.
    pub space: SpaceId,
    /// What searches run on.
    pub cores: hua_kernels::Cores,
}

impl Store for Library {
    fn upsert(&mut self, item: &NewItem, vector: &[f32]) -> Result<ItemId> {
        let id = self.writer.upsert(item)?;
        self.writer.set_vector(self.space, id, vector)?;
        Ok(id)
    }

    fn rename(&mut self, item: ItemId, path: &str) -> Result<()> {
        let modified = self.writer.item(item)?.and_then(|item| item.modified);
        self.writer.rename(item, path, modified)
    }

    fn delete(&mut self, item: ItemId) -> Result<bool> {
        self.writer.remove(item)
    }

    fn commit(&mut self) -> Result<()> {
        self.writer.commit()?;
        self.reader.refresh()?;
        Ok(())
    }

    fn compact(&mut self) -> Result<()> {
        self.writer.compact(true)?;
        self.reader.refresh()?;
        Ok(())
    }

    fn search(&self, vector: &[f32], filter: &Filter, k: usize) -> Result<Vec<Hit>> {
        Ok(self.reader.search(&self.cores, self.space, &[vector], filter, k)?.pop().unwrap_or_default())
    }

    fn stats(&self) -> Result<Stats> {
        self.reader.stats()
    }
}
