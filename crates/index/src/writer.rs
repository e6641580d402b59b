//! Writing a library: one writer at a time, who holds the lock.
//!
//! Decided here: all changes since the last commit are one transaction of the catalogue, begun by the first of them. A commit has rows of
//! vectors synced, then the catalogue. If anything fails that is not the caller's mistake, all of it is undone and nothing more is taken
//! until [`Writer::rollback`]. Rows that do not count are cut off only behind a new commit of the catalogue: one that failed may still lie
//! in SQLite's log, and must not come to life without its rows.
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use hua_kernels::Isa;
use rusqlite::params;

use crate::catalogue::{self, Catalogue};
use crate::disk::{self, Step};
use crate::segments::{self, Garbage, Segments};
use crate::{Error, Item, ItemError, ItemId, Known, NewItem, Result, Space, SpaceId, SpaceSpec, SpaceState, Tag, items};

mod compact;

/// The one who writes a library. What it writes is seen by readers, and survives, once it is committed; what is not committed when
/// it is dropped never was.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    catalogue: Catalogue,
    /// Of each space that exists, rows as this writer left them.
    segments: BTreeMap<SpaceId, Segments>,
    isa: Isa,
    /// Whether a transaction is open.
    changed: bool,
    /// Whether a write failed, so that nothing may be written.
    undone: bool,
    /// Let go of last: it lets others write.
    _lock: File,
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

impl Writer {
    /// Makes a library in the folder `path` with one live space.
    ///
    /// # Errors
    /// If there is one, or the folder cannot be written.
    pub fn create(path: &Path, space: &SpaceSpec) -> Result<Self> {
        Self::create_with(path, space, segments::ROWS)
    }

    /// Opens the library in the folder `path` for writing.
    ///
    /// # Errors
    /// If another process writes it, it is none, of a newer version, damaged or not to be written.
    pub fn open(path: &Path) -> Result<Self> {
        let lock = match path.join(crate::CATALOGUE).try_exists() {
            Ok(false) => return Err(Error::NotALibrary { path: path.into() }),
            _ => catalogue::lock(path)?,
        };
        Self::begin_with(path, Catalogue::open(path)?, lock)
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
        self.catalogue.spaces()
    }

    /// Adds an empty space beside the others, in state [`SpaceState::Filling`].
    ///
    /// # Errors
    /// If there is one of that name.
    pub fn add_space(&mut self, space: &SpaceSpec) -> Result<SpaceId> {
        let id = self.change(|w| w.catalogue.add_space(space, SpaceState::Filling, segments::ROWS))?;
        self.load(id)?;
        Ok(id)
    }

    /// Says whether a space is to be searched.
    ///
    /// # Errors
    /// If there is no such space.
    pub fn set_state(&mut self, space: SpaceId, state: SpaceState) -> Result<()> {
        self.segments(space)?;
        self.change(|w| {
            w.catalogue.execute("UPDATE spaces SET state = ?2 WHERE id = ?1", params![space.0, state.name()])?;
            Ok(())
        })
    }

    /// Removes a space and its vectors. Commits what was written before, and this.
    ///
    /// # Errors
    /// If there is no such space.
    pub fn remove_space(&mut self, space: SpaceId) -> Result<()> {
        self.segments(space)?;
        self.commit()?;
        self.change(|w| {
            for table in ["vectors", "dead", "batches", "segments"] {
                w.catalogue.execute(&format!("DELETE FROM {table} WHERE space = ?1"), [space.0])?;
            }
            w.catalogue.execute("DELETE FROM spaces WHERE id = ?1", [space.0])?;
            w.segments.remove(&space);
            Ok(())
        })?;
        self.commit()?;
        disk::remove(&segments::folder(&self.path).join(space.0.to_string()))
    }

    /// What is known of the file at `path`.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn known(&self, path: &str) -> Result<Option<Known>> {
        items::known(&self.catalogue, path)
    }

    /// The items of that content, by id.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn by_hash(&self, hash: &[u8; 32]) -> Result<Vec<ItemId>> {
        let sql = "SELECT id FROM items WHERE hash = ?1 ORDER BY id";
        self.catalogue.all(sql, [hash.as_slice()], |row| Ok(ItemId(row.get(0)?)))
    }

    /// An item, if it is there.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn item(&self, item: ItemId) -> Result<Option<Item>> {
        items::item(&self.catalogue, item)
    }

    /// Items and their paths, of all paths that begin with `prefix`, by path.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn paths_under(&self, prefix: &str) -> Result<Vec<(ItemId, String)>> {
        // All that begins with the prefix: from it on, and before what follows all of that.
        let end = format!("{prefix}\u{10ffff}");
        let sql = "SELECT id, path FROM items WHERE path >= ?1 AND path < ?2 ORDER BY path";
        self.catalogue.all(sql, [prefix, &end], |row| Ok((ItemId(row.get(0)?), row.get(1)?)))
    }

    /// Writes an item: a new one, or the one of that path, which keeps its id. If its content is another (by hash, else by length and
    /// time), its vectors are gone, in every space. Its captions are replaced, and its tags of [`Tag::DATA`] and of the sources given. An
    /// error recorded for the path is cleared.
    ///
    /// # Errors
    /// If the catalogue cannot be written.
    pub fn upsert(&mut self, item: &NewItem) -> Result<ItemId> {
        self.change(|w| {
            let id = match items::known(&w.catalogue, &item.path)? {
                None => items::insert(&w.catalogue, item)?,
                Some(known) => {
                    let same = match (known.hash, item.hash) {
                        (Some(a), Some(b)) => a == b,
                        _ => (known.bytes, known.modified) == (item.bytes, item.modified),
                    };
                    if !same {
                        w.drop_vectors(known.id)?;
                    }
                    items::update(&w.catalogue, known.id, item)?;
                    known.id
                }
            };
            w.catalogue.execute("DELETE FROM errors WHERE path = ?1", [&item.path])?;
            Ok(id)
        })
    }

    /// Gives an item its vector in a space, instead of the one it has. `vector` is `[width]`; it is divided by its length, unless that is
    /// 1 already.
    ///
    /// # Errors
    /// If there is no such item or space, or the vector has another width or no direction.
    pub fn set_vector(&mut self, space: SpaceId, item: ItemId, vector: &[f32]) -> Result<()> {
        let width = self.segments(space)?.space.spec.width;
        if vector.len() != width {
            return Err(Error::Width { found: vector.len(), wanted: width });
        }
        let unit = unit(vector).ok_or_else(|| Error::NotFinite { of: format!("item {item}") })?;
        items::expect(&self.catalogue, item)?;
        self.change(|w| {
            w.drop_vector(space, item)?;
            let (isa, segments) = (w.isa, w.segments.get_mut(&space).ok_or(Error::NoSpace { space })?);
            let row = segments.push(&w.catalogue, isa, &unit)?;
            w.place(space, item, row)
        })
    }

    /// Whether an item has a vector in a space.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn has_vector(&self, space: SpaceId, item: ItemId) -> Result<bool> {
        Ok(self.row(space, item)?.is_some())
    }

    /// Gives `to` the vectors of `from`, to the bit, in every space where `from` has one: for two files of one content.
    ///
    /// # Errors
    /// If there is no such item.
    pub fn copy_vectors(&mut self, from: ItemId, to: ItemId) -> Result<()> {
        items::expect(&self.catalogue, from)?;
        items::expect(&self.catalogue, to)?;
        if from == to {
            return Ok(());
        }
        self.change(|w| {
            for space in w.segments.keys().copied().collect::<Vec<_>>() {
                let Some(row) = w.row(space, from)? else { continue };
                w.drop_vector(space, to)?;
                let segments = w.segments.get_mut(&space).expect("one of the keys");
                let [stored, codes, scale] = segments.read(row)?;
                let row = segments.append(&w.catalogue, [&stored, &codes, &scale])?;
                w.place(space, to, row)?;
            }
            Ok(())
        })
    }

    /// Up to `limit` items without a vector in that space, by id, behind `after`.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn missing(&self, space: SpaceId, after: Option<ItemId>, limit: usize) -> Result<Vec<ItemId>> {
        items::missing(&self.catalogue, space.0, after, limit)
    }

    /// Says that an item's file has another path now, and was changed at `modified`. Its vectors, captions and tags stay.
    ///
    /// # Errors
    /// If there is no such item, or another has that path.
    pub fn rename(&mut self, item: ItemId, path: &str, modified: Option<i64>) -> Result<()> {
        items::expect(&self.catalogue, item)?;
        if items::known(&self.catalogue, path)?.is_some_and(|other| other.id != item) {
            return Err(Error::PathTaken { path: path.into() });
        }
        self.change(|w| items::rename(&w.catalogue, item, path, modified))
    }

    /// Says that an item's file has the same content, though it was changed at `modified`.
    ///
    /// # Errors
    /// If there is no such item.
    pub fn touch(&mut self, item: ItemId, modified: Option<i64>) -> Result<()> {
        items::expect(&self.catalogue, item)?;
        self.change(|w| w.catalogue.execute("UPDATE items SET modified = ?2 WHERE id = ?1", params![item.0, modified]).map(drop))
    }

    /// Removes an item and all that belongs to it; whether it was there.
    ///
    /// # Errors
    /// If the catalogue cannot be written.
    pub fn remove(&mut self, item: ItemId) -> Result<bool> {
        match items::expect(&self.catalogue, item) {
            Err(Error::NoItem { .. }) => return Ok(false),
            other => other?,
        }
        self.change(|w| {
            w.drop_vectors(item)?;
            items::remove(&w.catalogue, item)?;
            Ok(true)
        })
    }

    /// Sets an item's tags of one source, whatever source they name themselves.
    ///
    /// # Errors
    /// If there is no such item.
    pub fn set_tags(&mut self, item: ItemId, source: &str, tags: &[Tag]) -> Result<()> {
        items::expect(&self.catalogue, item)?;
        self.change(|w| {
            w.catalogue.execute("DELETE FROM tags WHERE item = ?1 AND source = ?2", params![item.0, source])?;
            items::write_tags(&w.catalogue, item, Some(source), tags)
        })
    }

    /// Removes all tags of one source; how many there were.
    ///
    /// # Errors
    /// If the catalogue cannot be written.
    pub fn clear_tags(&mut self, source: &str) -> Result<u64> {
        self.change(|w| Ok(w.catalogue.execute("DELETE FROM tags WHERE source = ?1", [source])? as u64))
    }

    /// Notes that a file could not be indexed. The item of that path, if there is one, stays.
    ///
    /// # Errors
    /// If the catalogue cannot be written.
    pub fn record_error(&mut self, error: &ItemError) -> Result<()> {
        self.change(|w| {
            let values = params![error.path, error.bytes as i64, error.modified, error.reason, catalogue::now()];
            w.catalogue.execute("INSERT OR REPLACE INTO errors VALUES (?1, ?2, ?3, ?4, ?5)", values).map(drop)
        })
    }

    /// The error recorded for a path.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn error(&self, path: &str) -> Result<Option<ItemError>> {
        Ok(items::errors(&self.catalogue, Some(path))?.pop())
    }

    /// Forgets the error recorded for a path; whether there was one.
    ///
    /// # Errors
    /// If the catalogue cannot be written.
    pub fn clear_error(&mut self, path: &str) -> Result<bool> {
        self.change(|w| Ok(w.catalogue.execute("DELETE FROM errors WHERE path = ?1", [path])? > 0))
    }

    /// A value of the library itself.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn value(&self, key: &str) -> Result<Option<String>> {
        self.catalogue.value(key)
    }

    /// Sets a value of the library itself (which folders it was made of, say), or removes it.
    ///
    /// # Errors
    /// If the catalogue cannot be written.
    pub fn set_value(&mut self, key: &str, value: Option<&str>) -> Result<()> {
        self.change(|w| {
            match value {
                Some(value) => w.catalogue.execute("INSERT OR REPLACE INTO library VALUES ('user.' || ?1, ?2)", [key, value])?,
                None => w.catalogue.execute("DELETE FROM library WHERE key = 'user.' || ?1", [key])?,
            };
            Ok(())
        })
    }

    /// Makes all that was written since the last commit last, and visible, at once. When it returns, it is on the disk.
    ///
    /// # Errors
    /// If it cannot be written; then nothing of it is.
    pub fn commit(&mut self) -> Result<()> {
        if !self.changed && !self.undone {
            return Ok(());
        }
        self.change(|w| {
            w.segments.values_mut().try_for_each(|s| s.seal(&w.catalogue))?;
            w.catalogue.count_commit()?;
            disk::mark(Step::Commit, &w.catalogue.path)?;
            w.catalogue.run("COMMIT")?;
            w.changed = false;
            disk::mark(Step::Committed, &w.catalogue.path)
        })
    }

    /// Takes back all that was written since the last commit.
    ///
    /// # Errors
    /// If the catalogue cannot be read again.
    pub fn rollback(&mut self) -> Result<()> {
        if !self.catalogue.db.is_autocommit() {
            self.catalogue.run("ROLLBACK")?;
        }
        self.changed = false;
        self.undone = true;
        self.recover()
    }

    /// Commits, then writes the segments anew of which a third is dead, or with `all` those with any dead row, and commits that.
    ///
    /// # Errors
    /// If it cannot be written; then all is as it was.
    pub fn compact(&mut self, all: bool) -> Result<Compaction> {
        self.commit()?;
        let done = self.change(|w| w.compact_segments(all))?;
        if self.changed {
            // There was nothing to do.
            self.catalogue.run("ROLLBACK")?;
            self.changed = false;
        }
        Ok(done)
    }

    /// As [`Writer::create`], with segments of `rows` rows, a multiple of 64: tests fill several.
    #[doc(hidden)]
    pub fn create_with(path: &Path, space: &SpaceSpec, rows: u64) -> Result<Self> {
        disk::create_folder(path)?;
        let lock = catalogue::lock(path)?;
        let catalogue = Catalogue::create(path)?;
        catalogue.transaction(|| {
            catalogue.fill()?;
            catalogue.add_space(space, SpaceState::Live, rows)?;
            disk::mark(Step::Commit, &catalogue.path)
        })?;
        disk::sync_folder(path)?;
        disk::create_folder(&segments::folder(path))?;
        Self::begin_with(path, catalogue, lock)
    }

    fn begin_with(path: &Path, catalogue: Catalogue, lock: File) -> Result<Self> {
        let (segments, isa) = (BTreeMap::new(), Isa::best());
        let mut writer = Self { path: path.into(), catalogue, segments, isa, changed: false, undone: true, _lock: lock };
        writer.recover()?;
        Ok(writer)
    }

    #[cfg(test)]
    pub(crate) fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Goes back to what is committed, and cuts off what is not.
    fn recover(&mut self) -> Result<()> {
        self.segments.clear();
        let spaces = self.catalogue.spaces()?;
        let garbage = Garbage::find(&self.catalogue, &self.path, &spaces)?;
        if !garbage.is_none() {
            // Whatever a commit that failed left in the log is overwritten before its rows go.
            disk::mark(Step::Commit, &self.catalogue.path)?;
            self.catalogue.transaction(|| self.catalogue.count_commit())?;
            garbage.remove()?;
        }
        for space in spaces {
            self.segments.insert(space.id, Segments::load(&self.catalogue, &self.path, space)?);
        }
        self.undone = false;
        Ok(())
    }

    fn load(&mut self, id: SpaceId) -> Result<()> {
        let space = self.catalogue.spaces()?.into_iter().find(|s| s.id == id).ok_or(Error::NoSpace { space: id })?;
        self.segments.insert(id, Segments::load(&self.catalogue, &self.path, space)?);
        Ok(())
    }

    /// Does `work` within the transaction of the next commit. What fails by no mistake of the caller undoes all of that.
    fn change<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.undone {
            return Err(Error::Undone { path: self.path.clone() });
        }
        if !self.changed {
            self.catalogue.run("BEGIN IMMEDIATE")?;
            self.changed = true;
        }
        let done = work(self);
        self.undone = done.as_ref().is_err_and(|error| error.blame() == crate::Blame::File);
        done
    }

    fn segments(&self, space: SpaceId) -> Result<&Segments> {
        self.segments.get(&space).ok_or(Error::NoSpace { space })
    }

    fn row(&self, space: SpaceId, item: ItemId) -> Result<Option<i64>> {
        let sql = "SELECT row FROM vectors WHERE item = ?1 AND space = ?2";
        self.catalogue.first(sql, [item.0, space.0], |row| row.get(0))
    }

    fn place(&mut self, space: SpaceId, item: ItemId, row: i64) -> Result<()> {
        let sql = "INSERT INTO vectors (space, row, item) VALUES (?1, ?2, ?3)";
        self.catalogue.execute(sql, [space.0, row, item.0]).map(drop)
    }

    fn drop_vector(&mut self, space: SpaceId, item: ItemId) -> Result<()> {
        let Some(row) = self.row(space, item)? else { return Ok(()) };
        self.catalogue.execute("DELETE FROM vectors WHERE space = ?1 AND row = ?2", [space.0, row])?;
        self.segments.get_mut(&space).ok_or(Error::NoSpace { space })?.kill(&self.catalogue, row)
    }

    fn drop_vectors(&mut self, item: ItemId) -> Result<()> {
        self.segments.keys().copied().collect::<Vec<_>>().into_iter().try_for_each(|space| self.drop_vector(space, item))
    }
}

/// The vector at length 1, as it is if its length is that already; `None` if it has no direction.
pub(crate) fn unit(vector: &[f32]) -> Option<std::borrow::Cow<'_, [f32]>> {
    /// What normalising in f32 leaves.
    const CLOSE: f64 = 1e-4;
    let length = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    if !length.is_finite() || length == 0.0 {
        None
    } else if (length - 1.0).abs() <= CLOSE {
        Some(vector.into())
    } else {
        Some(vector.iter().map(|&x| (f64::from(x) / length) as f32).collect())
    }
}
