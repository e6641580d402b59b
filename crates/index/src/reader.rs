//! Reading a library: a snapshot of it, which stays as it is until it is refreshed.
//!
//! Decided here: a reader is a read transaction of the catalogue that stays open, and maps of the segments that it counts on. Opening
//! reads nothing that grows with the number of items; which item a row is of is looked up for the rows that are answers.
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use hua_kernels::{Cores, Isa};
use rusqlite::params_from_iter;

use crate::catalogue::Catalogue;
use crate::mapped::Mapped;
use crate::{Error, Filter, Item, ItemError, ItemId, Result, Space, SpaceId, SpaceStats, Stats, items, words};

mod check;
mod search;

/// An answer to a query by vector.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Hit {
    /// Which item.
    pub item: ItemId,
    /// The cosine of the item's vector and the query; greater is closer.
    pub score: f32,
}

/// An answer to a query by words.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct WordHit {
    /// Which item.
    pub item: ItemId,
    /// How well the words fit (BM25); greater is better.
    pub rank: f64,
}

/// What [`Reader::check`] looked at and found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Items looked at.
    pub items: u64,
    /// Rows of vectors looked at, dead ones too.
    pub rows: u64,
    /// What is wrong; empty if all is well.
    pub findings: Vec<Finding>,
}

/// Something that is wrong with a library.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// The file it was found in.
    pub file: String,
    /// What is wrong.
    pub what: String,
}

/// A snapshot of a library. It can be shared by threads.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    catalogue: Mutex<Catalogue>,
    generation: i64,
    spaces: Vec<Space>,
    /// Of each space.
    mapped: Vec<Mapped>,
    isa: Isa,
}

/// The vectors of a space, each with its item, in the order of the files.
#[derive(Debug)]
pub struct Rows<'a> {
    reader: &'a Reader,
    mapped: &'a Mapped,
    /// Rows and items that were looked up, the next one last.
    ahead: Vec<(i64, i64)>,
    /// The row behind those, unless there is none.
    next: Option<i64>,
}

impl Iterator for Rows<'_> {
    type Item = Result<(ItemId, Vec<f32>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ahead.is_empty() {
            match self.look_up(self.next?) {
                Ok(rows) => self.ahead = rows,
                Err(error) => {
                    self.next = None;
                    return Some(Err(error));
                }
            }
        }
        let (row, item) = self.ahead.pop()?;
        let numbers = self.mapped.numbers(self.reader.isa, row).transpose();
        Some(numbers.unwrap_or_else(|| Err(self.reader.lock().damaged(lost(row, self.mapped)))).map(|numbers| (ItemId(item), numbers)))
    }
}

impl Rows<'_> {
    fn look_up(&mut self, from: i64) -> Result<Vec<(i64, i64)>> {
        const AHEAD: usize = 4096;
        let sql = "SELECT row, item FROM vectors WHERE space = ?1 AND row >= ?2 ORDER BY row LIMIT ?3";
        let values = [self.mapped.space.id.0, from, AHEAD as i64];
        let mut rows: Vec<(i64, i64)> = self.reader.lock().all(sql, values, |row| Ok((row.get(0)?, row.get(1)?)))?;
        self.next = rows.last().filter(|_| rows.len() == AHEAD).map(|last| last.0 + 1);
        rows.reverse();
        Ok(rows)
    }
}

fn lost(row: i64, mapped: &Mapped) -> String {
    format!("row {row} of space `{}` is in no segment", mapped.space.spec.name)
}

impl Reader {
    /// Opens the library in the folder `path` as it was committed last.
    ///
    /// # Errors
    /// If it is none, of another version, damaged or not to be read.
    pub fn open(path: &Path) -> Result<Self> {
        let catalogue = Catalogue::read(path)?;
        let mut reader =
            Self { path: path.into(), catalogue: Mutex::new(catalogue), generation: -1, spaces: vec![], mapped: vec![], isa: Isa::best() };
        reader.load()?;
        Ok(reader)
    }

    /// Goes to the last commit; whether there was a new one.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn refresh(&mut self) -> Result<bool> {
        self.lock().run("COMMIT; BEGIN")?;
        let before = self.generation;
        self.load()?;
        Ok(self.generation != before)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The embedding spaces, by id.
    pub fn spaces(&self) -> &[Space] {
        &self.spaces
    }

    /// The space of that name; without a name the first that is live.
    pub fn space(&self, name: Option<&str>) -> Option<&Space> {
        self.spaces.iter().find(|space| match name {
            Some(name) => space.spec.name == name,
            None => space.state == crate::SpaceState::Live,
        })
    }

    /// How much there is.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn stats(&self) -> Result<Stats> {
        let catalogue = self.lock();
        let count = |table| -> Result<u64> {
            let count: Option<i64> = catalogue.first(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?;
            Ok(count.unwrap_or(0) as u64)
        };
        let spaces = self.mapped.iter().map(|m| SpaceStats {
            space: m.space.clone(),
            vectors: m.rows() - m.dead_rows(),
            dead: m.dead_rows(),
            segments: m.segments() as u64,
            bytes: m.bytes(),
        });
        Ok(Stats {
            items: count("items")?,
            errors: count("errors")?,
            catalogue_bytes: catalogue.path.metadata().map_or(0, |file| file.len()),
            spaces: spaces.collect(),
        })
    }

    /// An item, if it is there.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn item(&self, item: ItemId) -> Result<Option<Item>> {
        items::item(&self.lock(), item)
    }

    /// The item of that path.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn item_at(&self, path: &str) -> Result<Option<ItemId>> {
        Ok(items::known(&self.lock(), path)?.map(|known| known.id))
    }

    /// The items that are meant, by id.
    ///
    /// # Errors
    /// If the filter is wrong or the catalogue cannot be read.
    pub fn items(&self, filter: &Filter) -> Result<Vec<ItemId>> {
        let catalogue = self.lock();
        let (sql, values) = filter.select(&catalogue)?;
        let all = || -> rusqlite::Result<_> {
            catalogue
                .db
                .prepare(&format!("{sql} ORDER BY id"))?
                .query_map(params_from_iter(values), |row| row.get(0).map(ItemId))?
                .collect()
        };
        filter.run(&catalogue, all)
    }

    /// How many items are meant.
    ///
    /// # Errors
    /// If the filter is wrong or the catalogue cannot be read.
    pub fn count(&self, filter: &Filter) -> Result<u64> {
        let catalogue = self.lock();
        let (sql, values) = filter.select(&catalogue)?;
        let sql = format!("SELECT count(*) FROM ({sql})");
        let count = || catalogue.db.query_row(&sql, params_from_iter(values), |row| row.get::<_, i64>(0));
        Ok(filter.run(&catalogue, count)? as u64)
    }

    /// Files that could not be indexed, by path.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn errors(&self) -> Result<Vec<ItemError>> {
        items::errors(&self.lock(), None)
    }

    /// All tags and how many items have each, the most frequent first.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn tags(&self) -> Result<Vec<(String, u64)>> {
        let sql = "SELECT tag, count(DISTINCT item) AS items FROM tags GROUP BY tag ORDER BY items DESC, tag";
        self.lock().all(sql, [], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))
    }

    /// A value of the library itself that [`crate::Writer::set_value`] wrote.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn value(&self, key: &str) -> Result<Option<String>> {
        self.lock().value(key)
    }

    /// The vector of an item, if it has one in that space.
    ///
    /// # Errors
    /// If there is no such space or the catalogue cannot be read.
    pub fn vector(&self, space: SpaceId, item: ItemId) -> Result<Option<Vec<f32>>> {
        let mapped = self.mapped(space)?;
        let sql = "SELECT row FROM vectors WHERE item = ?1 AND space = ?2";
        let row: Option<i64> = self.lock().first(sql, [item.0, space.0], |row| row.get(0))?;
        let Some(row) = row else { return Ok(None) };
        let numbers = mapped.numbers(self.isa, row)?;
        numbers.map(Some).ok_or_else(|| self.lock().damaged(lost(row, mapped)))
    }

    /// All vectors of a space, each with its item, in the order of the files.
    ///
    /// # Errors
    /// If there is no such space.
    pub fn rows(&self, space: SpaceId) -> Result<Rows<'_>> {
        Ok(Rows { reader: self, mapped: self.mapped(space)?, ahead: vec![], next: Some(0) })
    }

    /// Up to `limit` items without a vector in that space, by id, behind `after`.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn missing(&self, space: SpaceId, after: Option<ItemId>, limit: usize) -> Result<Vec<ItemId>> {
        items::missing(&self.lock(), space.0, after, limit)
    }

    /// For each query (`[width]`, of any length but zero) the `k` nearest of the items that are meant: the nearest first, those at the
    /// same distance by id.
    ///
    /// # Errors
    /// If there is no such space, a query does not fit it, the filter is wrong or the catalogue cannot be read.
    pub fn search(&self, cores: &Cores, space: SpaceId, queries: &[&[f32]], filter: &Filter, k: usize) -> Result<Vec<Vec<Hit>>> {
        self.search_space(cores, self.mapped(space)?, queries, filter, k)
    }

    /// The `k` items of those that are meant in whose name, captions and tags all the words stand, the best first.
    ///
    /// # Errors
    /// If the filter is wrong or the catalogue cannot be read.
    pub fn words(&self, words: &str, filter: &Filter, k: usize) -> Result<Vec<WordHit>> {
        let (Some(words), catalogue) = (words::query(words), self.lock()) else { return Ok(vec![]) };
        let (select, mut values) = filter.select(&catalogue)?;
        let only = if filter.is_all() { String::new() } else { format!("AND rowid IN ({select})") };
        values.push(words.into());
        values.push((k as i64).into());
        let (m, n) = (values.len() - 1, values.len());
        let sql = format!("SELECT rowid, rank FROM words WHERE words MATCH ?{m} {only} ORDER BY rank, rowid LIMIT ?{n}");
        let read = |row: &rusqlite::Row<'_>| Ok(WordHit { item: ItemId(row.get(0)?), rank: -row.get::<_, f64>(1)? });
        let all = || -> rusqlite::Result<_> { catalogue.db.prepare(&sql)?.query_map(params_from_iter(values), read)?.collect() };
        filter.run(&catalogue, all)
    }

    /// Reads everything and reports what is wrong.
    ///
    /// # Errors
    /// If the catalogue cannot be read at all.
    pub fn check(&self) -> Result<Report> {
        self.check_all()
    }

    /// Reads what a snapshot is made of, and maps its segments.
    fn load(&mut self) -> Result<()> {
        /// A writer that compacts removes files between our look into the catalogue and at them; so often in a row it does not.
        const TRIES: usize = 5;
        let mut tries = 0;
        loop {
            let catalogue = self.catalogue.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
            let generation = catalogue.generation()?;
            if generation == self.generation {
                return Ok(());
            }
            let spaces = catalogue.spaces()?;
            let map = |space| Mapped::load(catalogue, &self.path, space, &self.mapped);
            match spaces.iter().map(map).collect::<Result<_>>() {
                Ok(mapped) => {
                    (self.generation, self.spaces, self.mapped) = (generation, spaces, mapped);
                    return Ok(());
                }
                Err(Error::Segment { .. }) if tries < TRIES => {
                    tries += 1;
                    catalogue.run("COMMIT; BEGIN")?;
                    if catalogue.generation()? == generation {
                        tries = TRIES;
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Catalogue> {
        self.catalogue.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn mapped(&self, space: SpaceId) -> Result<&Mapped> {
        self.mapped.iter().find(|m| m.space.id == space).ok_or(Error::NoSpace { space })
    }
}
