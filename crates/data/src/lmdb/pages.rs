//! The pages of an LMDB file, read and never written: LMDB 0.9's format of 64-bit machines with little-endian numbers (`mdb.c`: `MDB_meta`,
//! `MDB_page`, `MDB_node`).
//!
//! The library itself maps the file and trusts it, and its bindings need `unsafe`. This reader walks the tree page by page, each page read
//! once; every offset is checked, a page that is not what its parent says is one error and the walk goes on beside it, and a tree
//! that leads back into itself ends after as many pages as the file has. Only the unnamed database without duplicates is read.
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

const MAGIC: u32 = 0xBEEF_C0DE;
const VERSION: u32 = 1;
/// Number, padding, flags, and where the free space lies (or how many pages a long value takes).
const PAGE_HEADER: usize = 16;
/// Two lengths, flags, the key's length.
const NODE_HEADER: usize = 8;
const BRANCH: u16 = 1;
const LEAF: u16 = 2;
const OVERFLOW: u16 = 4;
/// The value stands on pages of its own.
const BIG_DATA: u16 = 1;
/// The value is a database (2), or many values of one key (4).
const NESTED: u16 = 2 | 4;
/// A tree of 512-byte pages with two keys each would be as deep at 2^48 bytes.
const MAX_DEPTH: usize = 48;

/// Where a value stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub offset: u64,
    pub length: u64,
}

/// The keys of a file in their order, with the places of their values.
#[derive(Debug)]
pub(super) struct Database {
    file: File,
    file_length: u64,
    page_size: usize,
    /// Pages that may still be read.
    pages_left: u64,
    /// The pages from the root to here, with the next node of each.
    path: Vec<(Vec<u8>, usize)>,
    /// The root, until it is read.
    root: Option<u64>,
}

impl Database {
    pub fn open(path: &Path) -> Result<Self, String> {
        let io = |e: std::io::Error| format!("cannot be read: {e}");
        let mut file = File::open(path).map_err(io)?;
        let file_length = file.metadata().map_err(io)?.len();
        let mut head = [0; 168];
        file.read_exact(&mut head).map_err(|_| format!("has only {file_length} bytes"))?;
        let first = Meta::read(&head)?;
        let page_size = first.page_size;
        // The other of the two heads, which take turns; the one that was written last counts.
        let second = file.seek(SeekFrom::Start(page_size as u64)).and_then(|_| file.read_exact(&mut head));
        let second = second.ok().and_then(|()| Meta::read(&head).ok()).filter(|meta| meta.page_size == page_size);
        let meta = second.filter(|second| second.transaction > first.transaction).unwrap_or(first);
        // No key of the tree is on a page of the root twice: `u64::MAX` stands for an empty tree.
        let root = (meta.root != u64::MAX).then_some(meta.root);
        Ok(Self { file, file_length, page_size, pages_left: file_length / page_size as u64 + 1, path: vec![], root })
    }

    /// The value at a place, if it is not longer than `most`.
    pub fn value(&mut self, place: &Place, most: u64) -> Result<Vec<u8>, String> {
        if place.length > most {
            return Err(format!("has a value of {} bytes; at most {most} are read", place.length));
        }
        let mut value = vec![0; place.length as usize];
        self.read_at(place.offset, &mut value)?;
        Ok(value)
    }

    fn read_at(&mut self, offset: u64, to: &mut [u8]) -> Result<(), String> {
        let read = self.file.seek(SeekFrom::Start(offset)).and_then(|_| self.file.read_exact(to));
        read.map_err(|e| format!("cannot be read at byte {offset}: {e}"))
    }

    /// Goes down to page `number`.
    fn enter(&mut self, number: u64) -> Result<(), String> {
        self.pages_left = self.pages_left.checked_sub(1).ok_or("is damaged: its pages lead back to themselves")?;
        if self.path.len() == MAX_DEPTH {
            return Err(format!("is damaged: over {MAX_DEPTH} pages below each other"));
        }
        let at = number.checked_mul(self.page_size as u64).filter(|at| at.saturating_add(self.page_size as u64) <= self.file_length);
        let at = at.ok_or_else(|| format!("is damaged or cut off: it has no page {number}"))?;
        let mut page = vec![0; self.page_size];
        self.read_at(at, &mut page)?;
        let flags = u16_at(&page, 10).unwrap_or_default();
        if u64_at(&page, 0) != Some(number) || !matches!(flags & (BRANCH | LEAF | OVERFLOW), BRANCH | LEAF) || flags & 0x20 != 0 {
            return Err(format!("is damaged: page {number} is no page of the tree"));
        }
        self.path.push((page, 0));
        Ok(())
    }

    /// What the next node of the lowest page is; nothing at the end of the page.
    fn node(&mut self) -> Option<Result<Node, String>> {
        let (page, next) = self.path.last_mut()?;
        let index = *next;
        *next += 1;
        let lower = usize::from(u16_at(page, 12)?);
        // Two bytes for each node stand between the header and the free space.
        if index >= lower.min(page.len()).saturating_sub(PAGE_HEADER) / 2 {
            return None;
        }
        let number = u64_at(page, 0)?;
        let is_leaf = u16_at(page, 10)? & LEAF != 0;
        let start = number.saturating_mul(self.page_size as u64);
        Some(Node::read(page, index, is_leaf, start).ok_or_else(|| format!("is damaged: record {index} of page {number}")))
    }

    /// Where the value of a node stands.
    fn place(&mut self, value: Value) -> Result<Place, String> {
        match value {
            Value::Here(place) => Ok(place),
            Value::Pages { first, length } => {
                let wanted = (PAGE_HEADER as u64 + length).div_ceil(self.page_size as u64);
                let at = first.checked_mul(self.page_size as u64).filter(|at| {
                    let end = wanted.checked_mul(self.page_size as u64).and_then(|bytes| at.checked_add(bytes));
                    end.is_some_and(|end| end <= self.file_length)
                });
                let at = at.ok_or_else(|| format!("is damaged or cut off: it has no page {first}"))?;
                let mut header = [0; PAGE_HEADER];
                self.read_at(at, &mut header)?;
                let pages = u32_at(&header, 12).unwrap_or_default();
                if u64_at(&header, 0) != Some(first) || u16_at(&header, 10) != Some(OVERFLOW) || u64::from(pages) < wanted {
                    return Err(format!("is damaged: page {first} holds no long value"));
                }
                Ok(Place { offset: at + PAGE_HEADER as u64, length })
            }
        }
    }
}

impl Iterator for Database {
    type Item = Result<(Vec<u8>, Place), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(root) = self.root.take()
            && let Err(reason) = self.enter(root)
        {
            return Some(Err(reason));
        }
        while !self.path.is_empty() {
            match self.node() {
                None => _ = self.path.pop(),
                Some(Err(reason)) => return Some(Err(reason)),
                Some(Ok(Node::Branch(page))) => {
                    if let Err(reason) = self.enter(page) {
                        return Some(Err(reason));
                    }
                }
                Some(Ok(Node::Leaf(key, value))) => return Some(self.place(value).map(|place| (key, place))),
            }
        }
        None
    }
}

/// What a head says.
struct Meta {
    page_size: usize,
    root: u64,
    transaction: u64,
}

impl Meta {
    fn read(page: &[u8]) -> Result<Self, String> {
        let meta = &page[PAGE_HEADER..];
        // Magic, version, address, size of the map, then the free list and the database of 48 bytes each, the last page, the transaction.
        let fields = || {
            let (magic, version) = (u32_at(meta, 0)?, u32_at(meta, 4)?);
            Some((magic, version, u32_at(meta, 24)?, u16_at(meta, 72 + 4)?, u64_at(meta, 72 + 40)?, u64_at(meta, 128)?))
        };
        let (magic, version, page_size, flags, root, transaction) = fields().ok_or("is too short")?;
        if magic != MAGIC {
            return Err("does not begin as one".into());
        }
        if version != VERSION {
            return Err(format!("is of version {version}, not {VERSION}"));
        }
        if !page_size.is_power_of_two() || !(256..=65536).contains(&page_size) {
            return Err(format!("is damaged: pages of {page_size} bytes"));
        }
        // Values of fixed length or in order among equal keys.
        if flags & 0x04 != 0 {
            return Err("has many values for one key, which no data set of Chinese-CLIP has".into());
        }
        Ok(Self { page_size: page_size as usize, root, transaction })
    }
}

enum Node {
    Branch(u64),
    Leaf(Vec<u8>, Value),
}

enum Value {
    Here(Place),
    Pages { first: u64, length: u64 },
}

impl Node {
    /// Node `index` of a page that begins at byte `start` of the file.
    fn read(page: &[u8], index: usize, is_leaf: bool, start: u64) -> Option<Self> {
        let at = usize::from(u16_at(page, PAGE_HEADER + 2 * index)?);
        let (low, high, flags) = (u16_at(page, at)?, u16_at(page, at + 2)?, u16_at(page, at + 4)?);
        let key_length = usize::from(u16_at(page, at + 6)?);
        let low_and_high = u64::from(low) | u64::from(high) << 16;
        if !is_leaf {
            return Some(Self::Branch(low_and_high | u64::from(flags) << 32));
        }
        if flags & NESTED != 0 {
            return None;
        }
        let data = at + NODE_HEADER + key_length;
        let key = page.get(at + NODE_HEADER..data)?.to_vec();
        let value = if flags & BIG_DATA != 0 {
            Value::Pages { first: u64_at(page, data)?, length: low_and_high }
        } else {
            page.get(data..data.checked_add(usize::try_from(low_and_high).ok()?)?)?;
            Value::Here(Place { offset: start.checked_add(data as u64)?, length: low_and_high })
        };
        Some(Self::Leaf(key, value))
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
