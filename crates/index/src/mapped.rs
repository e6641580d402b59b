//! Segments as a reader sees them: at the lengths of its snapshot.
//!
//! Decided here: what is scanned is mapped, and stored rows are read one by one where they are wanted. A map of those would bring in, and
//! keep, sixteen pages for each row that a search looks at.
//!
//! Rows have two numbers. The catalogue's is the segment's number times the rows of a segment plus the row's place in it, and lasts. The
//! scan's has the segment's place among those that there are instead, and fits 32 bits.
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use hua_kernels::scan::{Best, ScanQuery, ScanRows, dot_f16, dot_f32, scan, scan_segments, stride};
use hua_kernels::{Cores, Isa, MappedFile};

use crate::catalogue::Catalogue;
use crate::segments::{Segment, dead, files, list, numbers, row_bytes, rows_each, space_folder};
use crate::{Error, Result, Space, StoredType};

/// The rows of a space.
#[derive(Debug)]
pub(crate) struct Mapped {
    pub(crate) space: Space,
    rows_each: u64,
    segments: Vec<MappedSegment>,
    /// A bit for each dead row, by the scan's numbers.
    dead: Vec<u64>,
    /// How many rows filters have looked up, and what spares them that once they are many.
    looked_up: AtomicUsize,
    rows_of_items: OnceLock<Option<Vec<u32>>>,
}

/// No row.
pub(crate) const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct MappedSegment {
    is: Segment,
    files: Arc<Files>,
}

/// Files of a segment; they may be longer than what counts.
#[derive(Debug)]
struct Files {
    paths: [PathBuf; 3],
    stored: File,
    codes: File,
    /// Codes and scales.
    maps: [MappedFile; 2],
}

impl Mapped {
    /// Maps the segments of a space, but for those that an older snapshot has mapped already, and long enough.
    pub(crate) fn load(catalogue: &Catalogue, library: &Path, space: &Space, old: &[Self]) -> Result<Self> {
        let rows_each = rows_each(catalogue, space)?;
        let folder = space_folder(library, space);
        let bytes = row_bytes(space);
        let old = old.iter().find(|old| old.space.id == space.id);
        let (mut segments, mut bits) = (vec![], vec![]);
        for is in list(catalogue, space)?.into_iter().filter(|s| s.rows > 0) {
            let fits =
                |files: &Files| files.maps.iter().zip(&bytes[1..]).all(|(map, bytes)| map.as_ref().len() as u64 >= is.rows * *bytes as u64);
            let known = old.and_then(|old| old.segments.iter().find(|s| s.is.number == is.number && fits(&s.files)));
            let files = match known {
                Some(known) => known.files.clone(),
                None => Arc::new(Files::open(files(&folder, is.number, space.spec.dtype), is.rows, bytes)?),
            };
            if is.dead > 0 {
                bits.resize(segments.len() * rows_each as usize / 64, 0);
                bits.extend(dead(catalogue, space, is.number, rows_each)?);
            }
            segments.push(MappedSegment { is, files });
        }
        if segments.len() as u64 * rows_each > u64::from(u32::MAX) {
            return Err(catalogue.damaged(format!("space `{}` has more rows than can be searched", space.spec.name)));
        }
        let (looked_up, rows_of_items) = (AtomicUsize::new(0), OnceLock::new());
        Ok(Self { space: space.clone(), rows_each, segments, dead: bits, looked_up, rows_of_items })
    }

    /// The best `k` rows for each query, of all or of the picked ones, the best first.
    pub(crate) fn scan(&self, cores: &Cores, queries: &[ScanQuery], picked: Option<&[u32]>, k: usize) -> Result<Vec<Vec<(f32, u32)>>> {
        match picked {
            Some(picked) if self.are_few(picked) => self.scan_few(cores, queries, picked, k),
            _ => Ok(scan_segments(cores, queries, &self.scan_rows(), picked, k).into_iter().map(Best::into_sorted).collect()),
        }
    }

    /// What is scanned.
    fn scan_rows(&self) -> Vec<ScanRows<'_>> {
        let stride = stride(self.space.spec.width);
        self.segments
            .iter()
            .enumerate()
            .map(|(i, s)| ScanRows {
                rows: bytemuck::cast_slice(&s.files.maps[0].as_ref()[..s.is.rows as usize * stride]),
                scales: bytemuck::cast_slice(&s.files.maps[1].as_ref()[..s.is.rows as usize * 4]),
                stride,
                first: (i as u64 * self.rows_each) as u32,
                dead: &self.dead,
            })
            .collect()
    }

    /// Whether so few rows are better read than mapped: each would bring in sixteen pages of its neighbours, once. Not any more once many
    /// were wanted.
    fn are_few(&self, picked: &[u32]) -> bool {
        self.rows_of_items.get().is_none() && picked.len() * 32 <= self.rows() as usize
    }

    /// The best `k` of a few rows for each query, from codes that are read for it.
    fn scan_few(&self, cores: &Cores, queries: &[ScanQuery], picked: &[u32], k: usize) -> Result<Vec<Vec<(f32, u32)>>> {
        /// Rows that are read together.
        const PIECE: usize = 512;
        let stride = stride(self.space.spec.width);
        let pieces: Vec<&[u32]> = picked.chunks(PIECE).collect();
        let all = Mutex::new(Ok(queries.iter().map(|_| Best::new(k)).collect::<Vec<_>>()));
        let lock = || all.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        cores.each(pieces.len(), |i| {
            let (mut codes, mut scales) = (vec![0; pieces[i].len() * stride], vec![]);
            let mut done = 0;
            // Neighbours are read at once.
            for run in pieces[i].chunk_by(|a, b| a + 1 == *b && u64::from(*b) % self.rows_each != 0) {
                let (segment, at) = ((u64::from(run[0]) / self.rows_each) as usize, u64::from(run[0]) % self.rows_each);
                let files = &self.segments[segment].files;
                let to = &mut codes[done * stride..(done + run.len()) * stride];
                if let Err(error) = read_at(&files.codes, to, at * stride as u64) {
                    *lock() = Err(Error::io(&files.paths[1])(error));
                    return;
                }
                let known: &[f32] = bytemuck::cast_slice(files.maps[1].as_ref());
                scales.extend_from_slice(&known[at as usize..at as usize + run.len()]);
                done += run.len();
            }
            // Told by their places among the picked, and none is dead.
            let rows = ScanRows { rows: bytemuck::cast_slice(&codes), scales: &scales, stride, first: (i * PIECE) as u32, dead: &[] };
            let mut best: Vec<Best> = queries.iter().map(|_| Best::new(k)).collect();
            scan(cores.isa(), queries, &rows, &mut best);
            if let Ok(all) = lock().as_mut() {
                all.iter_mut().zip(best).for_each(|(all, best)| all.merge(best));
            }
        });
        let all = all.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())?;
        let rows = |best: Best| best.into_sorted().into_iter().map(|(score, i)| (score, picked[i as usize])).collect();
        Ok(all.into_iter().map(rows).collect())
    }

    /// The scan's number of a row of the catalogue; `None` if it is in no segment.
    pub(crate) fn scan_row(&self, row: i64) -> Option<u32> {
        let (number, at) = (row.div_euclid(self.rows_each as i64), row.rem_euclid(self.rows_each as i64));
        let i = self.segments.binary_search_by_key(&number, |s| s.is.number).ok()?;
        ((at as u64) < self.segments[i].is.rows).then_some((i as u64 * self.rows_each) as u32 + at as u32)
    }

    /// The catalogue's number of a row of the scan.
    pub(crate) fn catalogue_row(&self, row: u32) -> i64 {
        let (i, at) = (u64::from(row) / self.rows_each, u64::from(row) % self.rows_each);
        self.segments[i as usize].is.number * self.rows_each as i64 + at as i64
    }

    /// The product of a query with a row as it is stored, by the scan's number. `buffer` is for the row.
    pub(crate) fn product(&self, isa: Isa, query: &[f32], row: u32, buffer: &mut Vec<u32>) -> Result<f32> {
        let bytes = row_bytes(&self.space)[0];
        buffer.resize(bytes.div_ceil(4), 0);
        let stored = &mut bytemuck::cast_slice_mut(buffer)[..bytes];
        self.read(row, stored)?;
        Ok(match self.space.spec.dtype {
            StoredType::F16 => dot_f16(isa, query, bytemuck::cast_slice(stored)),
            StoredType::F32 => dot_f32(isa, query, bytemuck::cast_slice(stored)),
        })
    }

    /// A row as numbers, by the catalogue's number; `None` if it is in no segment.
    pub(crate) fn numbers(&self, isa: Isa, row: i64) -> Result<Option<Vec<f32>>> {
        let Some(row) = self.scan_row(row) else { return Ok(None) };
        let mut stored = vec![0; row_bytes(&self.space)[0]];
        self.read(row, &mut stored)?;
        Ok(Some(numbers(isa, self.space.spec.dtype, &stored)))
    }

    fn read(&self, row: u32, to: &mut [u8]) -> Result<()> {
        let (i, at) = (u64::from(row) / self.rows_each, u64::from(row) % self.rows_each);
        let files = &self.segments[i as usize].files;
        read_at(&files.stored, to, at * to.len() as u64).map_err(Error::io(&files.paths[0]))
    }

    /// So many rows looked up one by one cost about as much as to read the rows of all items.
    pub(crate) fn worth_knowing(&self) -> usize {
        self.rows() as usize / 8 + 1
    }

    /// The rows of items that a filter chose, by the scan's numbers, once so many were looked up one by one that it is worth to know all:
    /// `None` before that. `more` rows are wanted now.
    pub(crate) fn rows_of_items(&self, catalogue: &Catalogue, more: usize) -> Result<Option<&[u32]>> {
        if let Some(known) = self.rows_of_items.get() {
            return Ok(known.as_deref());
        }
        let before = self.looked_up.fetch_add(more, Ordering::Relaxed);
        if before + more < self.worth_knowing() {
            return Ok(None);
        }
        // A number an item, unless items are many more than rows.
        let last: Option<i64> = catalogue.first("SELECT max(id) FROM items", [], |row| row.get(0))?.flatten();
        let len = last.and_then(|last| usize::try_from(last).ok()).map_or(0, |last| last + 1);
        if len / 8 > self.rows() as usize {
            return Ok(self.rows_of_items.get_or_init(|| None).as_deref());
        }
        let mut rows = vec![NONE; len];
        let sql = "SELECT item, row FROM vectors WHERE space = ?1";
        let mut fill = || -> rusqlite::Result<()> {
            let mut statement = catalogue.db.prepare_cached(sql)?;
            let mut all = statement.query([self.space.id.0])?;
            while let Some(row) = all.next()? {
                if let (Ok(item), Some(at)) = (usize::try_from(row.get::<_, i64>(0)?), self.scan_row(row.get(1)?))
                    && let Some(to) = rows.get_mut(item)
                {
                    *to = at;
                }
            }
            Ok(())
        };
        fill().map_err(catalogue.error())?;
        Ok(self.rows_of_items.get_or_init(|| Some(rows)).as_deref())
    }

    /// Whether a row of the scan is dead.
    pub(crate) fn is_dead(&self, row: u32) -> bool {
        self.dead.get(row as usize / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// The segments and the paths of their files.
    pub(crate) fn each(&self) -> impl Iterator<Item = (Segment, &[PathBuf; 3])> {
        self.segments.iter().map(|s| (s.is, &s.files.paths))
    }

    pub(crate) fn rows(&self) -> u64 {
        self.segments.iter().map(|s| s.is.rows).sum()
    }

    pub(crate) fn dead_rows(&self) -> u64 {
        self.segments.iter().map(|s| s.is.dead).sum()
    }

    pub(crate) fn segments(&self) -> usize {
        self.segments.len()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.rows() * row_bytes(&self.space).iter().sum::<usize>() as u64
    }
}

impl Files {
    fn open(paths: [PathBuf; 3], rows: u64, bytes: [usize; 3]) -> Result<Self> {
        let sized = |i: usize| {
            let (path, wanted): (&PathBuf, u64) = (&paths[i], rows * bytes[i] as u64);
            // Looked at first: a map of no bytes is an error of its own.
            let found = match path.metadata() {
                Ok(file) => file.len(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                Err(error) => return Err(Error::io(path)(error)),
            };
            if found < wanted { Err(Error::Segment { path: path.clone(), found, wanted }) } else { Ok(path) }
        };
        let gone = |path: &PathBuf, error: io::Error, i: usize| match error.kind() {
            io::ErrorKind::NotFound => Error::Segment { path: path.clone(), found: 0, wanted: rows * bytes[i] as u64 },
            _ => Error::io(path)(error),
        };
        let map = |i: usize| sized(i).and_then(|path| MappedFile::open(path).map_err(|error| gone(path, error, i)));
        let file = |i: usize| sized(i).and_then(|path| File::open(path).map_err(|error| gone(path, error, i)));
        Ok(Self { stored: file(0)?, codes: file(1)?, maps: [map(1)?, map(2)?], paths })
    }
}

#[cfg(unix)]
fn read_at(file: &File, to: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, to, at)
}

#[cfg(windows)]
fn read_at(file: &File, mut to: &mut [u8], mut at: u64) -> io::Result<()> {
    while !to.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, to, at)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => (to, at) = (&mut to[read..], at + read as u64),
        }
    }
    Ok(())
}
