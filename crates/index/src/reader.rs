//! Reading a library: a snapshot of it, which stays as it is until it is refreshed.
use std::path::{Path, PathBuf};

use hua_kernels::Cores;

use crate::{Filter, Item, ItemError, ItemId, Result, Space, SpaceId, Stats};

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
}

/// The vectors of a space, each with its item, in the order of the files.
#[derive(Debug)]
pub struct Rows<'a> {
    reader: &'a Reader,
}

impl Iterator for Rows<'_> {
    type Item = Result<(ItemId, Vec<f32>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let _ = self.reader;
        unimplemented!()
    }
}

#[expect(unused_variables, reason = "to be filled")]
impl Reader {
    /// Opens the library in the folder `path` as it was committed last.
    ///
    /// # Errors
    /// If it is none, of another version, damaged or not to be read.
    pub fn open(path: &Path) -> Result<Self> {
        unimplemented!()
    }

    /// Goes to the last commit; whether there was a new one.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn refresh(&mut self) -> Result<bool> {
        unimplemented!()
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The embedding spaces, by id.
    pub fn spaces(&self) -> &[Space] {
        unimplemented!()
    }

    /// The space of that name; without a name the first that is live.
    pub fn space(&self, name: Option<&str>) -> Option<&Space> {
        unimplemented!()
    }

    /// How much there is.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn stats(&self) -> Result<Stats> {
        unimplemented!()
    }

    /// An item, if it is there.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn item(&self, item: ItemId) -> Result<Option<Item>> {
        unimplemented!()
    }

    /// The item of that path.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn item_at(&self, path: &str) -> Result<Option<ItemId>> {
        unimplemented!()
    }

    /// The items that are meant, by id.
    ///
    /// # Errors
    /// If the filter is wrong or the catalogue cannot be read.
    pub fn items(&self, filter: &Filter) -> Result<Vec<ItemId>> {
        unimplemented!()
    }

    /// How many items are meant.
    ///
    /// # Errors
    /// If the filter is wrong or the catalogue cannot be read.
    pub fn count(&self, filter: &Filter) -> Result<u64> {
        unimplemented!()
    }

    /// Files that could not be indexed, by path.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn errors(&self) -> Result<Vec<ItemError>> {
        unimplemented!()
    }

    /// All tags and how many items have each, the most frequent first.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn tags(&self) -> Result<Vec<(String, u64)>> {
        unimplemented!()
    }

    /// A value of the library itself that [`crate::Writer::set_value`] wrote.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn value(&self, key: &str) -> Result<Option<String>> {
        unimplemented!()
    }

    /// The vector of an item, if it has one in that space.
    ///
    /// # Errors
    /// If there is no such space or the catalogue cannot be read.
    pub fn vector(&self, space: SpaceId, item: ItemId) -> Result<Option<Vec<f32>>> {
        unimplemented!()
    }

    /// All vectors of a space, each with its item, in the order of the files.
    ///
    /// # Errors
    /// If there is no such space.
    pub fn rows(&self, space: SpaceId) -> Result<Rows<'_>> {
        unimplemented!()
    }

    /// Up to `limit` items without a vector in that space, by id, behind `after`.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn missing(&self, space: SpaceId, after: Option<ItemId>, limit: usize) -> Result<Vec<ItemId>> {
        unimplemented!()
    }

    /// For each query (`[width]`, of any length but zero) the `k` nearest of the items that are meant: the nearest first, those at the
    /// same distance by id.
    ///
    /// # Errors
    /// If there is no such space, a query does not fit it, the filter is wrong or the catalogue cannot be read.
    pub fn search(&self, cores: &Cores, space: SpaceId, queries: &[&[f32]], filter: &Filter, k: usize) -> Result<Vec<Vec<Hit>>> {
        unimplemented!()
    }

    /// The `k` items of those that are meant in whose name, captions and tags all the words stand, the best first.
    ///
    /// # Errors
    /// If the filter is wrong or the catalogue cannot be read.
    pub fn words(&self, words: &str, filter: &Filter, k: usize) -> Result<Vec<WordHit>> {
        unimplemented!()
    }

    /// Reads everything and reports what is wrong.
    ///
    /// # Errors
    /// If the catalogue cannot be read at all.
    pub fn check(&self) -> Result<Report> {
        unimplemented!()
    }
}
