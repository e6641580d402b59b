//! Exact search: the greatest products of a query with every row of a library, found in a copy of the rows in int8.
//!
//! Reading rows from memory is what a scan costs, so that a row is a byte a number with one scale. The query, which costs nothing to
//! read, has 16 bits a number: what the scan says differs from the exact product by the rounding of the row alone. Sums are integers, the
//! same on every instruction set (`scan/dots.rs`), and fit 32 bits whatever the bytes are, since the query is made so. What follows is a
//! conversion and a multiplication in single precision, never fused. The best of a scan are candidates: their products with the stored
//! rows (`scan/stored.rs`) decide.
//!
//! Several queries share one pass over memory: rows go by in blocks that the nearest cache holds, and each block meets every query.
//!
//! Tried on two cores of a Zen 3, milliseconds for 1,000,000 rows of 512 bytes from the page cache, the least of 60, by two
//! threads (by one): four rows at once, all their lines asked for before the first is read, 15.2 (31); nothing asked for 27.5 (54); the next
//! four rows asked for instead 14.8 (31), but for two queries 22.3 where there were 16.6; four to sixteen KB ahead 15.7 (31). That is 34 GB/s.
//! Prefetches that leave the farther caches alone change nothing. Eight queries take 42 (82): by then instructions are the limit, 10 ns a row
//! and query.
mod best;
mod dots;
mod stored;

use std::ops::Range;
use std::sync::Mutex;

use crate::simd::{Kernel, Simd};
use crate::{Cores, Isa};
pub use best::Best;
#[cfg(target_arch = "x86_64")]
pub(crate) use dots::Avx2;
#[cfg(target_arch = "aarch64")]
pub(crate) use dots::Neon;
pub(crate) use dots::{Dots, Plain};
pub use stored::{dot_f16, dot_f32, from_f16_row, to_f16_row};

/// Bytes of a row in memory are a multiple of this.
const STEP: usize = 32;
/// The greatest sum of the words of a query, all without their signs: times -128, the least byte, it fits 32 bits.
const MOST_SIZE: f64 = (i32::MAX / 128) as f64;
/// Numbers of a row at most; a query keeps 10 bits for each of so many.
const MOST_WIDTH: usize = 1 << 14;

/// Rows that are scanned: a segment, or a part of one.
#[derive(Clone, Copy, Debug)]
pub struct ScanRows<'a> {
    /// `[rows, stride]`, each as [`quantise_row`] made it.
    pub rows: &'a [i8],
    /// `[rows]`: what [`quantise_row`] returned.
    pub scales: &'a [f32],
    /// As [`stride`] says.
    pub stride: usize,
    /// The number of the first row: rows are told by `first + i`.
    pub first: u32,
    /// A bit for each row that is not to be found: of row `r` (counted as they are told, from 0 and not from `first`) bit `r % 64` of word
    /// `r / 64`. Rows behind its end are alive.
    pub dead: &'a [u64],
}

impl<'a> ScanRows<'a> {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.scales.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.scales.is_empty()
    }

    /// Some of them, counted from 0.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn part(&self, rows: Range<usize>) -> Self {
        let bytes = &self.rows[rows.start * self.stride..rows.end * self.stride];
        Self { rows: bytes, scales: &self.scales[rows.clone()], first: self.first + rows.start as u32, ..*self }
    }

    /// # Panics
    /// If lengths do not fit.
    fn check(&self, queries: &[ScanQuery]) {
        assert_eq!(self.rows.len(), self.len() * self.stride, "bytes of {} rows, {} bytes each", self.len(), self.stride);
        assert!(u32::try_from(self.len()).is_ok_and(|rows| self.first.checked_add(rows).is_some()), "rows are numbered in 32 bits");
        assert!(
            queries.iter().all(|query| query.words.len() == self.stride),
            "a query of another width than rows of {} bytes",
            self.stride
        );
    }

    fn is_dead(&self, row: u32) -> bool {
        self.dead.get(row as usize / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }
}

/// Bytes of a row of `width` numbers: whole groups of 32, of zeros at the end.
pub fn stride(width: usize) -> usize {
    width.next_multiple_of(STEP)
}

/// Makes a row bytes, and returns its scale: a number is its byte times the scale, about. `to` may be longer than `x`, and is filled with
/// zeros. A row with numbers that are none, or infinite, is zeros with a scale that is no number: it is never found.
///
/// # Panics
/// If `to` is shorter than `x`.
pub fn quantise_row(x: &[f32], to: &mut [i8]) -> f32 {
    let (to, rest) = to.split_at_mut(x.len());
    rest.fill(0);
    let greatest = x.iter().fold(0f32, |most, x| if x.abs() > most { x.abs() } else { most });
    if !(greatest.is_finite() && x.iter().all(|x| !x.is_nan())) {
        to.fill(0);
        return f32::NAN;
    }
    // A normal number, so that its inverse is one.
    let scale = (greatest / 127.0).max(f32::MIN_POSITIVE);
    let inverse = 1.0 / scale;
    for (to, &x) in to.iter_mut().zip(x) {
        // To the nearest integer, of two the even one: the addition leaves no bits behind the point.
        const SHIFT: f32 = 12_582_912.0;
        *to = (x * inverse + SHIFT).to_bits() as i8;
    }
    scale
}

/// A query as a scan wants it: 16 bits a number, and a scale.
#[derive(Clone, Debug)]
pub struct ScanQuery {
    /// As many as a row has bytes.
    words: Vec<i16>,
    scale: f32,
}

impl ScanQuery {
    /// A query with numbers that are none, or infinite, finds nothing.
    ///
    /// # Panics
    /// If it is longer than 16,384 numbers, with which sums would keep too few bits.
    pub fn new(query: &[f32]) -> Self {
        assert!(query.len() <= MOST_WIDTH, "a query of {} numbers", query.len());
        let mut words = vec![0; stride(query.len())];
        if query.iter().any(|x| !x.is_finite()) {
            return Self { words, scale: f32::NAN };
        }
        let greatest = query.iter().fold(0f32, |most, x| most.max(x.abs()));
        let size: f64 = query.iter().map(|x| f64::from(x.abs())).sum();
        // Rounding adds half a step a number at most, and the scale is rounded itself.
        let room = MOST_SIZE - query.len() as f64 - 2.0;
        let scale = (f64::from(greatest) / f64::from(i16::MAX)).max(size / room).max(f64::from(f32::MIN_POSITIVE)) as f32;
        for (word, &x) in words.iter_mut().zip(query) {
            *word = (f64::from(x) / f64::from(scale)).round_ties_even() as i16;
        }
        Self { words, scale }
    }
}

/// Adds the rows to the best of each query.
///
/// # Panics
/// If a length does not fit.
pub fn scan(isa: Isa, queries: &[ScanQuery], rows: &ScanRows<'_>, best: &mut [Best]) {
    rows.check(queries);
    assert_eq!(queries.len(), best.len(), "queries, and the best of each");
    isa.run(Scan { queries, rows, picked: None, best });
}

/// Adds to the best of each query those of the rows that are `picked`, by the numbers that they are told by.
///
/// # Panics
/// If a length does not fit, or a row is none of `rows`.
pub fn scan_picked(isa: Isa, queries: &[ScanQuery], rows: &ScanRows<'_>, picked: &[u32], best: &mut [Best]) {
    rows.check(queries);
    assert_eq!(queries.len(), best.len(), "queries, and the best of each");
    assert!(picked.iter().all(|&row| (row.wrapping_sub(rows.first) as usize) < rows.len()), "a picked row that is not there");
    isa.run(Scan { queries, rows, picked: Some(picked), best });
}

/// The best `k` rows of all segments for each query, by all threads: of all rows, or of those that are picked, in rising order.
///
/// # Panics
/// If a length does not fit, or a row that is picked is in no segment.
pub fn scan_segments(cores: &Cores, queries: &[ScanQuery], segments: &[ScanRows<'_>], picked: Option<&[u32]>, k: usize) -> Vec<Best> {
    let pieces = pieces(segments, picked);
    // Best rows of the work done so far, as many as there were threads at once.
    let idle: Mutex<Vec<Vec<Best>>> = Mutex::new(vec![]);
    let lock = || idle.lock().expect("nobody panics with it");
    let none = || queries.iter().map(|_| Best::new(k)).collect::<Vec<_>>();
    cores.each(pieces.len(), |i| {
        let mut best = lock().pop().unwrap_or_else(none);
        let (rows, picked) = &pieces[i];
        match picked {
            Some(picked) => scan_picked(cores.isa(), queries, rows, picked, &mut best),
            None => scan(cores.isa(), queries, rows, &mut best),
        }
        lock().push(best);
    });
    let mut all = lock().drain(..).reduce(|mut all, more| {
        all.iter_mut().zip(more).for_each(|(all, more)| all.merge(more));
        all
    });
    all.take().unwrap_or_else(none)
}

/// What is to be scanned, in pieces for threads.
fn pieces<'a>(segments: &[ScanRows<'a>], picked: Option<&'a [u32]>) -> Vec<(ScanRows<'a>, Option<&'a [u32]>)> {
    /// Rows of a piece: half a millisecond or less, and many to a thread.
    const PIECE: usize = 4096;
    /// Rows of a piece if they are picked: each waits for memory, so that fewer take as long.
    const PICKED: usize = 1024;
    let mut pieces = vec![];
    let Some(mut picked) = picked else {
        for rows in segments {
            pieces.extend((0..rows.len()).step_by(PIECE).map(|i| (rows.part(i..rows.len().min(i + PIECE)), None)));
        }
        return pieces;
    };
    for rows in segments {
        let end = picked.partition_point(|&row| u64::from(row) < u64::from(rows.first) + rows.len() as u64);
        let of = picked.split_off(..end).expect("so many are left");
        pieces.extend(of.chunks(PICKED).map(|of| (*rows, Some(of))));
    }
    assert!(picked.is_empty(), "a picked row that is in no segment");
    pieces
}

struct Scan<'a> {
    queries: &'a [ScanQuery],
    rows: &'a ScanRows<'a>,
    picked: Option<&'a [u32]>,
    best: &'a mut [Best],
}

/// Rows that are multiplied together.
const ROWS: usize = 4;
/// Bytes of a block of rows, which the nearest cache holds while several queries meet it.
const BLOCK: usize = 16 << 10;
/// So many rows ahead are asked for if they are picked, and so from anywhere.
const AHEAD: usize = 16;
const CACHE_LINE: usize = 64;

impl Kernel for Scan<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        // SAFETY: the caller's promise.
        unsafe {
            if self.picked.is_some() {
                self.blocks::<S, true>();
            } else {
                self.blocks::<S, false>();
            }
        }
    }
}

impl Scan<'_> {
    /// The row, counted from 0, that is the `i`th to scan.
    #[inline(always)]
    fn row<const PICKED: bool>(&self, i: usize) -> usize {
        match self.picked {
            Some(picked) if PICKED => (picked[i] - self.rows.first) as usize,
            _ => i,
        }
    }

    /// # Safety
    /// As [`Simd`].
    #[inline(always)]
    unsafe fn blocks<S: Simd, const PICKED: bool>(&mut self) {
        let count = self.picked.map_or(self.rows.len(), <[u32]>::len);
        let block = if self.queries.len() > 2 { (BLOCK / self.rows.stride.max(1)).max(1).next_multiple_of(ROWS) } else { ROWS };
        for start in (0..count).step_by(block) {
            let end = count.min(start + block);
            let mut query = 0;
            // SAFETY: the caller's promise.
            unsafe {
                while query + 2 <= self.queries.len() {
                    self.block::<S, PICKED, 2>(start..end, query);
                    query += 2;
                }
                if query < self.queries.len() {
                    self.block::<S, PICKED, 1>(start..end, query);
                }
            }
        }
    }

    /// `Q` queries with the rows that are the `block`th to scan.
    ///
    /// # Safety
    /// As [`Simd`].
    #[inline(always)]
    unsafe fn block<S: Simd, const PICKED: bool, const Q: usize>(&mut self, block: Range<usize>, query: usize) {
        let (rows, stride) = (self.rows.rows.as_ptr(), self.rows.stride);
        for start in block.clone().step_by(ROWS) {
            // What is missing of the last rows is the last one again, which is not looked at.
            let at: [usize; ROWS] = std::array::from_fn(|i| self.row::<PICKED>((start + i).min(block.end - 1)));
            if query == 0 {
                self.ask::<S, PICKED>(start);
            }
            // SAFETY: the caller's promise; rows and queries are `stride` long, as was checked.
            let sums = unsafe {
                let words: [*const i16; Q] = std::array::from_fn(|j| self.queries[query + j].words.as_ptr());
                S::Rows::sums(at.map(|row| rows.add(row * stride)), words, stride)
            };
            let scales = at.map(|row| self.rows.scales[row]);
            let count = ROWS.min(block.end - start);
            for (j, sums) in sums.into_iter().enumerate() {
                let scale = self.queries[query + j].scale;
                let scores: [f32; ROWS] = std::array::from_fn(|i| sums[i] as f32 * (scale * scales[i]));
                let floor = self.best[query + j].floor();
                if scores[0] >= floor || scores[1] >= floor || scores[2] >= floor || scores[3] >= floor {
                    self.offer(query + j, &at[..count], &scores);
                }
            }
        }
    }

    /// Asks for the rows that will be read now, all their lines at once, or for those that are picked a little later.
    #[inline(always)]
    fn ask<S: Simd, const PICKED: bool>(&self, start: usize) {
        let (rows, stride) = (self.rows.rows.as_ptr(), self.rows.stride);
        let last = self.picked.map_or(self.rows.len(), <[u32]>::len) - 1;
        for i in start..start + ROWS {
            let at = self.row::<PICKED>((if PICKED { i + AHEAD } else { i }).min(last)) * stride;
            for line in (0..stride).step_by(CACHE_LINE) {
                // SAFETY: the address need not be valid.
                unsafe { S::prefetch(rows.wrapping_add(at + line).cast()) };
            }
        }
    }

    /// Rows of which one at least is good enough, unless it is dead.
    #[cold]
    #[inline(never)]
    fn offer(&mut self, query: usize, at: &[usize], scores: &[f32; ROWS]) {
        for (&row, &score) in at.iter().zip(scores) {
            let row = self.rows.first + row as u32;
            if !self.rows.is_dead(row) {
                self.best[query].offer(score, row);
            }
        }
    }
}

#[cfg(test)]
mod tests;
