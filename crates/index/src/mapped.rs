//! Segments as a reader sees them: mapped, at the lengths of its snapshot.
//!
//! Rows have two numbers. The catalogue's is the segment's number times the rows of a segment plus the row's place in it, and lasts. The
//! scan's has the segment's place among those that there are instead, and fits 32 bits.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hua_kernels::scan::{ScanRows, dot_f16, dot_f32, stride};
use hua_kernels::{Isa, MappedFile};

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
}

#[derive(Debug)]
struct MappedSegment {
    is: Segment,
    files: Arc<Files>,
}

/// Stored rows, codes and scales; they may be longer than what counts.
#[derive(Debug)]
struct Files {
    paths: [PathBuf; 3],
    maps: [MappedFile; 3],
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
            let fits = |files: &Files| files.maps.iter().zip(bytes).all(|(map, bytes)| map.as_ref().len() as u64 >= is.rows * bytes as u64);
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
        Ok(Self { space: space.clone(), rows_each, segments, dead: bits })
    }

    /// What is scanned.
    pub(crate) fn scan_rows(&self) -> Vec<ScanRows<'_>> {
        let stride = stride(self.space.spec.width);
        self.segments
            .iter()
            .enumerate()
            .map(|(i, s)| ScanRows {
                rows: bytemuck::cast_slice(&s.files.maps[1].as_ref()[..s.is.rows as usize * stride]),
                scales: bytemuck::cast_slice(&s.files.maps[2].as_ref()[..s.is.rows as usize * 4]),
                stride,
                first: (i as u64 * self.rows_each) as u32,
                dead: &self.dead,
            })
            .collect()
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

    /// The product of a query with a row as it is stored, by the scan's number.
    pub(crate) fn product(&self, isa: Isa, query: &[f32], row: u32) -> f32 {
        let (i, at) = (u64::from(row) / self.rows_each, u64::from(row) % self.rows_each);
        let bytes = row_bytes(&self.space)[0];
        let stored = &self.segments[i as usize].files.maps[0].as_ref()[at as usize * bytes..][..bytes];
        match self.space.spec.dtype {
            StoredType::F16 => dot_f16(isa, query, bytemuck::cast_slice(stored)),
            StoredType::F32 => dot_f32(isa, query, bytemuck::cast_slice(stored)),
        }
    }

    /// A row as numbers, by the catalogue's number.
    pub(crate) fn numbers(&self, isa: Isa, row: i64) -> Option<Vec<f32>> {
        let row = self.scan_row(row)?;
        let (i, at) = (u64::from(row) / self.rows_each, u64::from(row) % self.rows_each);
        let bytes = row_bytes(&self.space)[0];
        let stored = &self.segments[i as usize].files.maps[0].as_ref()[at as usize * bytes..][..bytes];
        Some(numbers(isa, self.space.spec.dtype, stored))
    }

    /// Whether a row of the scan is dead.
    pub(crate) fn is_dead(&self, row: u32) -> bool {
        self.dead.get(row as usize / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// The bytes of some rows of a segment, in each of its files; `None` if there are not so many. `rows` is first and end.
    pub(crate) fn bytes_of(&self, segment: i64, rows: (u64, u64)) -> Option<[&[u8]; 3]> {
        let s = self.segments.iter().find(|s| s.is.number == segment && rows.0 <= rows.1 && rows.1 <= s.is.rows)?;
        let bytes = row_bytes(&self.space);
        let part = |i: usize| &s.files.maps[i].as_ref()[rows.0 as usize * bytes[i]..rows.1 as usize * bytes[i]];
        Some([part(0), part(1), part(2)])
    }

    /// Lets go of the memory that stored rows take which were read in passing.
    pub(crate) fn release(&self, segment: i64) {
        if let Some(s) = self.segments.iter().find(|s| s.is.number == segment) {
            s.files.maps.iter().for_each(|map| map.release(0..map.as_ref().len()));
        }
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
        let map = |i: usize| {
            let (path, wanted) = (&paths[i], rows * bytes[i] as u64);
            // Looked at first: a map of no bytes is an error of its own.
            let found = match path.metadata() {
                Ok(file) => file.len(),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
                Err(error) => return Err(Error::io(path)(error)),
            };
            let map = if found < wanted { None } else { Some(MappedFile::open(path).map_err(Error::io(path))?) };
            map.filter(|map| map.as_ref().len() as u64 >= wanted).ok_or_else(|| Error::Segment { path: path.clone(), found, wanted })
        };
        Ok(Self { maps: [map(0)?, map(1)?, map(2)?], paths })
    }
}
