//! Segments: the files that rows of vectors are in, and how they grow.
//!
//! Decided here: three files without headers a segment (`NNNNNN.f16` or `.f32`, `NNNNNN.i8`, `NNNNNN.scale`), each a plain little-endian
//! array, so that any program can map them; how many of their rows count is in the catalogue. A row is written once and never again.
//! Rows are appended through buffers; [`Segments::seal`] makes them last and gives the catalogue their number and checksums, which count
//! only when it commits.
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use hua_kernels::Isa;
use hua_kernels::scan::{from_f16_row, quantise_row, stride, to_f16_row};
use rusqlite::params;

use crate::catalogue::Catalogue;
use crate::{Error, Result, Space, StoredType, disk};

/// Rows of a segment, unless a library was made with another number.
pub(crate) const ROWS: u64 = 1 << 18;
/// Bytes that are gathered before they are written.
const BUFFER: usize = 1 << 20;

/// Where vectors of all spaces lie.
pub(crate) fn folder(library: &Path) -> PathBuf {
    library.join("vectors")
}

/// Where vectors of a space lie.
pub(crate) fn space_folder(library: &Path, space: &Space) -> PathBuf {
    folder(library).join(space.id.0.to_string())
}

/// The files of a segment: stored rows, codes, scales.
pub(crate) fn files(folder: &Path, number: i64, dtype: StoredType) -> [PathBuf; 3] {
    [dtype.name(), "i8", "scale"].map(|kind| folder.join(format!("{number:06}.{kind}")))
}

/// Bytes of a row in each of these files.
pub(crate) fn row_bytes(space: &Space) -> [usize; 3] {
    [space.spec.width * space.spec.dtype.bytes(), stride(space.spec.width), 4]
}

/// A segment as the catalogue has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) number: i64,
    pub(crate) rows: u64,
    pub(crate) dead: u64,
}

/// The segments of a space, by number.
pub(crate) fn list(catalogue: &Catalogue, space: &Space) -> Result<Vec<Segment>> {
    let sql = "SELECT number, rows, dead FROM segments WHERE space = ?1 ORDER BY number";
    let all: Vec<(i64, i64, i64)> = catalogue.all(sql, [space.id.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let most = rows_each(catalogue, space)? as i64;
    if all.iter().any(|&(number, rows, dead)| !(0..1 << 31).contains(&number) || !(0..=most).contains(&rows) || !(0..=rows).contains(&dead))
    {
        return Err(catalogue.damaged(format!("a segment of space `{}` counts more rows than a segment has", space.spec.name)));
    }
    Ok(all.into_iter().map(|(number, rows, dead)| Segment { number, rows: rows as u64, dead: dead as u64 }).collect())
}

/// Rows of a segment of a space: whole words of bits.
pub(crate) fn rows_each(catalogue: &Catalogue, space: &Space) -> Result<u64> {
    let rows: Option<i64> = catalogue.first("SELECT segment_rows FROM spaces WHERE id = ?1", [space.id.0], |row| row.get(0))?;
    match rows {
        Some(rows) if (64..=1 << 24).contains(&rows) && rows % 64 == 0 => Ok(rows as u64),
        _ => Err(catalogue.damaged(format!("segments of space `{}` have an impossible number of rows", space.spec.name))),
    }
}

/// Bits of dead rows as the catalogue keeps them, as words.
pub(crate) fn words_of(bits: &[u8]) -> Vec<u64> {
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
    bits.chunks(8).map(word).collect()
}

/// Rows of a space as its writer sees them.
#[derive(Debug)]
pub(crate) struct Segments {
    pub(crate) space: Space,
    pub(crate) folder: PathBuf,
    pub(crate) rows_each: u64,
    next: i64,
    /// The last committed segment, if rows are to be appended to it; `open` once they are.
    last: Option<Segment>,
    open: Option<Open>,
    /// Dead rows of segments that were looked at, and those that changed.
    dead: BTreeMap<i64, Vec<u64>>,
    changed: BTreeSet<i64>,
    codes: Vec<i8>,
    halves: Vec<u16>,
}

/// A segment that is being appended to.
#[derive(Debug)]
struct Open {
    number: i64,
    /// Rows, and of these the rows before this batch.
    rows: u64,
    first: u64,
    files: [Part; 3],
}

/// One of its files.
#[derive(Debug)]
struct Part {
    path: PathBuf,
    file: File,
    /// Bytes that were written to the file.
    written: u64,
    buffer: Vec<u8>,
    /// Of the batch.
    sum: crc32fast::Hasher,
}

impl Segments {
    /// The rows of a space as they were committed.
    pub(crate) fn load(catalogue: &Catalogue, library: &Path, space: Space) -> Result<Self> {
        let next = catalogue.first("SELECT next_segment FROM spaces WHERE id = ?1", [space.id.0], |row| row.get(0))?.unwrap_or(0);
        let rows_each = rows_each(catalogue, &space)?;
        let last = list(catalogue, &space)?.last().copied().filter(|s| s.rows < rows_each);
        let folder = space_folder(library, &space);
        let codes = vec![0; stride(space.spec.width)];
        let halves = vec![0; space.spec.width];
        let (dead, changed) = (BTreeMap::new(), BTreeSet::new());
        Ok(Self { space, folder, rows_each, next, last, open: None, dead, changed, codes, halves })
    }

    /// Appends a vector of length 1; its row.
    pub(crate) fn push(&mut self, catalogue: &Catalogue, isa: Isa, vector: &[f32]) -> Result<i64> {
        let scale = quantise_row(vector, &mut self.codes);
        let (codes, mut halves) = (std::mem::take(&mut self.codes), std::mem::take(&mut self.halves));
        let stored: &[u8] = match self.space.spec.dtype {
            StoredType::F16 => {
                to_f16_row(isa, vector, &mut halves);
                bytemuck::cast_slice(&halves)
            }
            StoredType::F32 => bytemuck::cast_slice(vector),
        };
        let row = self.append(catalogue, [stored, bytemuck::cast_slice(&codes), &scale.to_le_bytes()]);
        (self.codes, self.halves) = (codes, halves);
        row
    }

    /// Appends a row as it lies in the files; its number.
    pub(crate) fn append(&mut self, catalogue: &Catalogue, parts: [&[u8]; 3]) -> Result<i64> {
        if self.open.as_ref().is_some_and(|open| open.rows == self.rows_each) {
            self.end_segment(catalogue)?;
        }
        if self.open.is_none() {
            self.open = Some(self.open_segment()?);
        }
        let open = self.open.as_mut().expect("opened above");
        for (part, bytes) in open.files.iter_mut().zip(parts) {
            part.buffer.extend_from_slice(bytes);
            if part.buffer.len() >= BUFFER {
                part.flush()?;
            }
        }
        open.rows += 1;
        Ok(open.number * self.rows_each as i64 + open.rows as i64 - 1)
    }

    /// The segment that the next row goes to: the last one, or a new one.
    fn open_segment(&mut self) -> Result<Open> {
        let last = self.last.take();
        let number = last.map_or(self.next, |last| last.number);
        let rows = last.map_or(0, |last| last.rows);
        disk::create_folder(&self.folder)?;
        let part = |(path, bytes): (PathBuf, usize)| {
            let written = rows * bytes as u64;
            let file = if last.is_some() { disk::open(&path, written)? } else { disk::create(&path)? };
            Ok(Part { path, file, written, buffer: Vec::with_capacity(BUFFER + bytes), sum: crc32fast::Hasher::new() })
        };
        let [a, b, c] = files(&self.folder, number, self.space.spec.dtype);
        let [x, y, z] = row_bytes(&self.space);
        let files = [part((a, x))?, part((b, y))?, part((c, z))?];
        if last.is_none() {
            disk::sync_folder(&self.folder)?;
            self.next = number + 1;
        }
        Ok(Open { number, rows, first: rows, files })
    }

    /// Makes the rows appended since the last time last on the disk, and tells the catalogue of them.
    pub(crate) fn seal(&mut self, catalogue: &Catalogue) -> Result<()> {
        self.write_dead(catalogue)?;
        let Some(open) = self.open.as_mut().filter(|open| open.rows > open.first) else { return Ok(()) };
        let mut sums = [0; 3];
        for (part, sum) in open.files.iter_mut().zip(&mut sums) {
            part.flush()?;
            disk::sync(&part.file, &part.path)?;
            *sum = i64::from(std::mem::take(&mut part.sum).finalize());
        }
        let (space, first, rows) = (self.space.id.0, open.first as i64, open.rows as i64);
        catalogue.execute(
            "INSERT INTO batches VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![space, open.number, first, rows - first, sums[0], sums[1], sums[2]],
        )?;
        catalogue.execute(
            "INSERT INTO segments (space, number, rows) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET rows = excluded.rows",
            params![space, open.number, rows],
        )?;
        catalogue.execute("UPDATE spaces SET next_segment = ?2 WHERE id = ?1", params![space, self.next])?;
        open.first = open.rows;
        Ok(())
    }

    /// The segment that the next row goes to, if it is there already.
    pub(crate) fn current(&self) -> Option<i64> {
        self.open.as_ref().map(|open| open.number).or(self.last.map(|last| last.number))
    }

    /// Ends the segment, so that the next row begins another.
    pub(crate) fn end_segment(&mut self, catalogue: &Catalogue) -> Result<()> {
        self.seal(catalogue)?;
        (self.open, self.last) = (None, None);
        Ok(())
    }

    /// Marks a row as dead.
    pub(crate) fn kill(&mut self, catalogue: &Catalogue, row: i64) -> Result<()> {
        let (segment, at) = (row / self.rows_each as i64, (row % self.rows_each as i64) as usize);
        let bits = match self.dead.entry(segment) {
            std::collections::btree_map::Entry::Occupied(bits) => bits.into_mut(),
            std::collections::btree_map::Entry::Vacant(none) => none.insert(dead(catalogue, &self.space, segment, self.rows_each)?),
        };
        bits[at / 64] |= 1 << (at % 64);
        self.changed.insert(segment);
        Ok(())
    }

    /// Forgets a segment that is no more.
    pub(crate) fn forget(&mut self, segment: i64) {
        self.dead.remove(&segment);
        self.changed.remove(&segment);
    }

    fn write_dead(&mut self, catalogue: &Catalogue) -> Result<()> {
        for segment in std::mem::take(&mut self.changed) {
            let words = &self.dead[&segment];
            let bits: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let count: u32 = words.iter().map(|word| word.count_ones()).sum();
            let space = self.space.id.0;
            catalogue.execute("INSERT OR REPLACE INTO dead (space, segment, bits) VALUES (?1, ?2, ?3)", params![space, segment, bits])?;
            catalogue.execute(
                "INSERT INTO segments (space, number, rows, dead) VALUES (?1, ?2, 0, ?3) ON CONFLICT DO UPDATE SET dead = excluded.dead",
                params![space, segment, count],
            )?;
        }
        Ok(())
    }

    /// The bytes of a row in the three files, whether it was committed or not.
    pub(crate) fn read(&mut self, row: i64) -> Result<[Vec<u8>; 3]> {
        let (number, at) = (row / self.rows_each as i64, (row % self.rows_each as i64) as u64);
        if let Some(open) = self.open.as_mut().filter(|open| open.number == number) {
            open.files.iter_mut().try_for_each(Part::flush)?;
        }
        let read = |(path, bytes): (&PathBuf, usize)| -> Result<Vec<u8>> {
            let mut to = vec![0; bytes];
            let mut file = File::open(path).map_err(Error::io(path))?;
            file.seek(SeekFrom::Start(at * bytes as u64)).and_then(|_| file.read_exact(&mut to)).map_err(Error::io(path))?;
            Ok(to)
        };
        let paths = files(&self.folder, number, self.space.spec.dtype);
        let [a, b, c] = row_bytes(&self.space);
        Ok([read((&paths[0], a))?, read((&paths[1], b))?, read((&paths[2], c))?])
    }
}

impl Part {
    fn flush(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        disk::append(&self.file, &self.path, self.written, &self.buffer)?;
        self.sum.update(&self.buffer);
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// The dead rows of a segment.
pub(crate) fn dead(catalogue: &Catalogue, space: &Space, segment: i64, rows: u64) -> Result<Vec<u64>> {
    let sql = "SELECT bits FROM dead WHERE space = ?1 AND segment = ?2";
    let mut words = catalogue.first(sql, [space.id.0, segment], |row| Ok(words_of(row.get_ref(0)?.as_blob()?)))?.unwrap_or_default();
    words.resize(rows.div_ceil(64) as usize, 0);
    Ok(words)
}

/// A stored row as numbers.
pub(crate) fn numbers(isa: Isa, dtype: StoredType, bytes: &[u8]) -> Vec<f32> {
    match dtype {
        StoredType::F16 => {
            let halves: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(|&b| u16::from_le_bytes(b)).collect();
            let mut numbers = vec![0.0; halves.len()];
            from_f16_row(isa, &halves, &mut numbers);
            numbers
        }
        StoredType::F32 => bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
    }
}

/// Files of segments that are longer than the catalogue counts on, or that it does not know: what a writer left that was stopped.
pub(crate) struct Garbage {
    longer: Vec<(PathBuf, u64)>,
    unknown: Vec<PathBuf>,
}

impl Garbage {
    /// Looks for it.
    ///
    /// # Errors
    /// If files are shorter than the catalogue counts on, or not there.
    pub(crate) fn find(catalogue: &Catalogue, library: &Path, spaces: &[Space]) -> Result<Self> {
        let mut garbage = Self { longer: vec![], unknown: vec![] };
        let mut known = BTreeSet::new();
        for space in spaces {
            let folder = space_folder(library, space);
            for segment in list(catalogue, space)? {
                for (path, bytes) in files(&folder, segment.number, space.spec.dtype).into_iter().zip(row_bytes(space)) {
                    let wanted = segment.rows * bytes as u64;
                    let found = path.metadata().map_or(0, |file| file.len());
                    if found < wanted {
                        return Err(Error::Segment { path, found, wanted });
                    }
                    if found > wanted {
                        garbage.longer.push((path.clone(), wanted));
                    }
                    known.insert(path);
                }
            }
        }
        let entries = |folder: &Path| -> Vec<PathBuf> {
            fs::read_dir(folder).map_or_else(|_| vec![], |all| all.flatten().map(|entry| entry.path()).collect())
        };
        for path in entries(&folder(library)).into_iter().filter(|path| is_number(path.file_name())) {
            let ours = spaces.iter().any(|space| space_folder(library, space) == path);
            if ours {
                garbage.unknown.extend(entries(&path).into_iter().filter(|file| is_number(file.file_stem()) && !known.contains(file)));
            } else {
                garbage.unknown.push(path);
            }
        }
        Ok(garbage)
    }

    pub(crate) fn is_none(&self) -> bool {
        self.longer.is_empty() && self.unknown.is_empty()
    }

    pub(crate) fn remove(self) -> Result<()> {
        self.longer.iter().try_for_each(|(path, len)| disk::open(path, *len).map(drop))?;
        self.unknown.iter().try_for_each(|path| disk::remove(path))
    }
}

/// Names that only we give.
fn is_number(name: Option<&std::ffi::OsStr>) -> bool {
    name.and_then(|name| name.to_str()).is_some_and(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit()))
}
