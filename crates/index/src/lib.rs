//! A library of pictures in one folder: a SQLite catalogue of what is known about each picture, and segments of vectors beside it.
//!
//! Decided here: the catalogue's transaction is the commit. Rows of vectors are appended and synced first, the catalogue then says how
//! many of them count, and whatever lies behind is garbage that the next writer cuts off; so a kill at any moment leaves the last commit
//! whole. There is one [`Writer`] at a time and any number of [`Reader`]s, each with a snapshot. Search is exact: a scan of an int8 copy
//! finds candidates, the stored rows rank them. `SCHEMA.md` documents the catalogue for any SQLite client.
mod catalogue;
mod disk;
mod error;
#[cfg(test)]
mod faults;
mod filter;
mod items;
mod mapped;
mod reader;
mod segments;
mod store;
mod types;
mod words;
mod writer;

pub use error::{Blame, Error, Result};
pub use filter::Filter;
pub use items::split_path;
pub use reader::{Finding, Hit, Reader, Report, Rows, WordHit};
pub use store::{Library, Store};
pub use types::{
    Caption, Facts, Item, ItemError, ItemId, Known, NewItem, Space, SpaceId, SpaceSpec, SpaceState, SpaceStats, Stats, StoredType, Tag,
};
pub use writer::{Compaction, Writer};

/// The file in a folder that makes it a library.
pub const CATALOGUE: &str = "catalogue.sqlite";
