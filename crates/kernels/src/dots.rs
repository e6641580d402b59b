//! Matrix products `x · wᵀ` of f32. Weights are read where they lie, never packed, so that they stay in the map of their file.
//!
//! Both operands are contiguous along the inner dimension, as every checkpoint stores them. A tile holds one register of partial
//! sums for each of its (few rows of x) × (4 rows of w); each lane adds every 8th or 16th product, and the lanes are added at the
//! end. Each element is so computed in one order whatever is computed beside it: the inner dimension is cut at the same places for
//! every shape, and partial tiles only leave rows out. A product of one row reads w once, at the speed of memory, by the same code.
//!
//! Blocks, from the outside: columns for one task; rows of x that stay in L2; one cut of the inner dimension; 4 rows of w that stay
//! in L1 while the rows of x stream past, and the next 4 are fetched meanwhile. Bias, activation and residual are applied to a
//! block of rows while it is in the cache.
//!
//! Tried on a Zen 3 core at 112 GFLOP/s of peak (G(FL)OP/s of 1576 x 768 x 3072 · 1576 x 3072 x 768): cuts of 1024 in place 85 · 66;
//! with x copied so that its rows do not all meet in the same sets of L1 86 · 79; cuts of 768, copied, 88 · 81, and of 512 82 · 79;
//! 96 rather than 48 rows +0 to 5 %; rows of the copy that begin with a cache line 91 · 85, so that copying pays even where nothing
//! is cut. Fetching w further ahead changes nothing.
use std::cell::RefCell;

use crate::Cores;
use crate::cores::Shared;
use crate::math::Activate;
use crate::product::Epilogue;
use crate::simd::{Kernel, Simd};

/// The inner dimension is cut into equal pieces of at most this: tiles of x and w fit L1, partial sums are seldom added.
const INNER: usize = 768;
/// Rows of x that stay in L2.
const ROWS: usize = 96;
/// Numbers of a cache line.
const LINE: usize = 16;
/// Columns of a task at most.
const COLUMNS: usize = 512;

/// One of the weights whose products with the same rows lie side by side in the result.
#[derive(Clone, Copy, Debug)]
pub struct PartUnpacked<'a> {
    /// `[out, inner]`.
    pub weight: &'a [f32],
    /// `[out]`.
    pub bias: Option<&'a [f32]>,
}

/// `out = [x · weightᵀ + bias of each part, side by side]`, then the epilogue. `x` is `[rows, inner]`, `out` is
/// `[rows, sum of the parts' out]`.
///
/// # Panics
/// If a length does not fit.
pub fn product_unpacked(cores: &Cores, x: &[f32], inner: usize, parts: &[PartUnpacked<'_>], epilogue: Epilogue<'_>, out: &mut [f32]) {
    assert!(inner > 0 && x.len().is_multiple_of(inner), "{} numbers are no rows of {inner}", x.len());
    let rows = x.len() / inner;
    let mut width = 0;
    for part in parts {
        let columns = part.weight.len() / inner;
        assert_eq!(part.weight.len(), columns * inner, "a weight of rows of {inner}");
        assert!(part.bias.is_none_or(|b| b.len() == columns), "a bias of {columns}");
        width = columns.checked_add(width).expect("a result of more columns than numbers can count");
    }
    // Checked, since the same weight may be a part many times over.
    assert_eq!(Some(out.len()), rows.checked_mul(width), "{rows} rows of {width}");
    assert!(epilogue.residual.is_none_or(|r| r.len() == out.len()), "a residual of {rows} rows of {width}");

    let tasks = tasks(cores.threads(), rows, width, parts.iter().map(|p| p.weight.len() / inner));
    let shared = Shared::new(out);
    cores.each(tasks.len(), |i| {
        let task = tasks[i];
        let part = parts[task.part];
        COPY.with_borrow_mut(|copy| cores.isa().run(Block { x, inner, part, epilogue, out: shared, width, task, copy }));
    });
}

thread_local! {
    /// The copy of a block of x, kept from task to task.
    static COPY: RefCell<Vec<Line>> = const { RefCell::new(vec![]) };
}

/// Numbers that begin where a cache line does.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// The first `len` numbers of `rows` rows of `x`, `stride` apart, each at the start of a cache line, and a line apart more than
/// they need, so that they do not all begin in the same set of the cache; and how far apart they are.
fn copied<'a>(x: &[f32], stride: usize, rows: usize, len: usize, copy: &'a mut Vec<Line>) -> (&'a [f32], usize) {
    let apart = len.div_ceil(LINE) + 1;
    copy.resize(copy.len().max(rows * apart), Line([0.0; LINE]));
    // SAFETY: a line is sixteen numbers and nothing else.
    let numbers = unsafe { std::slice::from_raw_parts_mut(copy.as_mut_ptr().cast::<f32>(), copy.len() * LINE) };
    for (from, to) in x.chunks(stride).zip(numbers.chunks_mut(apart * LINE)) {
        to[..len].copy_from_slice(&from[..len]);
    }
    (numbers, apart * LINE)
}

/// Some rows and columns of a product; the columns are counted within the part, which starts at `offset`.
#[derive(Clone, Copy)]
struct Task {
    part: usize,
    offset: usize,
    rows: (usize, usize),
    columns: (usize, usize),
}

/// Cuts a product into tasks, a few for each thread, larger ones where there are enough.
fn tasks(threads: usize, rows: usize, width: usize, columns: impl Iterator<Item = usize>) -> Vec<Task> {
    let row_step = if threads > 1 { 2 * ROWS } else { rows.max(1) };
    let wanted = (4 * threads).div_ceil(rows.div_ceil(row_step).max(1));
    let column_step = if threads > 1 { (width / wanted).next_multiple_of(16).clamp(32, COLUMNS) } else { COLUMNS };
    let (mut tasks, mut offset) = (vec![], 0);
    for (part, count) in columns.enumerate() {
        for n in (0..count).step_by(column_step) {
            for m in (0..rows).step_by(row_step) {
                let (rows, columns) = ((m, rows.min(m + row_step)), (n, count.min(n + column_step)));
                tasks.push(Task { part, offset, rows, columns });
            }
        }
        offset += count;
    }
    tasks
}

struct Block<'a> {
    x: &'a [f32],
    inner: usize,
    part: PartUnpacked<'a>,
    epilogue: Epilogue<'a>,
    out: Shared,
    width: usize,
    task: Task,
    copy: &'a mut Vec<Line>,
}

impl Kernel for Block<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { x, inner, part, epilogue, out, width, task, copy } = self;
        let columns = task.columns.1 - task.columns.0;
        let piece = inner.div_ceil(inner.div_ceil(INNER)).next_multiple_of(LINE);
        for m in (task.rows.0..task.rows.1).step_by(ROWS) {
            let rows = ROWS.min(task.rows.1 - m);
            let at = m * width + task.offset + task.columns.0;
            for k in (0..inner).step_by(piece) {
                let end = inner.min(k + piece);
                let (from, len) = (&x[m * inner + k..(m + rows - 1) * inner + end], end - k);
                let (x, stride) = if rows > 1 { copied(from, inner, rows, len, copy) } else { (from, inner) };
                // SAFETY: `product` checked all lengths, and the rows and columns are inside; no other task has these.
                unsafe {
                    let x = Matrix { at: x.as_ptr(), stride, rows };
                    let w = Matrix { at: part.weight.as_ptr().add(task.columns.0 * inner + k), stride: inner, rows: columns };
                    dots::<S>(x, w, len, Target { at: out.at(at), stride: width, add: k > 0 });
                }
            }
            for row in 0..rows {
                let at = at + row * width;
                // SAFETY: as above.
                let out = unsafe { std::slice::from_raw_parts_mut(out.at(at), columns) };
                // SAFETY: the caller's promise.
                unsafe {
                    if let Some(bias) = part.bias {
                        add::<S>(out, &bias[task.columns.0..task.columns.1]);
                    }
                    if let Some(act) = epilogue.act {
                        Activate { act, x: out }.run::<S>();
                    }
                    if let Some(residual) = epilogue.residual {
                        add::<S>(out, &residual[at..at + columns]);
                    }
                    if let Some(act) = epilogue.last {
                        Activate { act, x: out }.run::<S>();
                    }
                }
            }
        }
    }
}

/// Rows that need not follow one another.
#[derive(Clone, Copy)]
pub(crate) struct Matrix {
    pub(crate) at: *const f32,
    pub(crate) stride: usize,
    pub(crate) rows: usize,
}

/// Where a block of dot products goes.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// `[rows of x, rows of w]`, its rows `stride` apart.
    pub(crate) at: *mut f32,
    pub(crate) stride: usize,
    /// Whether to add to what is there.
    pub(crate) add: bool,
}

/// The dot products, `inner` numbers long, of every row of `x` with every row of `w`.
///
/// # Safety
/// As [`Simd`]; the addresses are valid, and nothing else uses those of `out`.
#[inline(always)]
pub(crate) unsafe fn dots<S: Simd>(x: Matrix, w: Matrix, inner: usize, out: Target) {
    // The next tile of w is asked for in equal shares, one with each tile of x.
    let row_lines = inner.div_ceil(16);
    let share = (4 * row_lines).div_ceil(x.rows.div_ceil(S::TILE_ROWS));
    for n in (0..w.rows).step_by(4) {
        let columns = 4.min(w.rows - n);
        let mut line = 0;
        for m in (0..x.rows).step_by(S::TILE_ROWS) {
            let next = if n + 4 < w.rows { 4 * row_lines } else { 0 };
            for line in line..next.min(line + share) {
                // SAFETY: an address to fetch from need not be valid.
                unsafe { S::prefetch(w.at.wrapping_add((n + 4 + line / row_lines) * w.stride + line % row_lines * 16)) };
            }
            line += share;
            // SAFETY: the caller's promise.
            unsafe {
                let tile = Tile {
                    x: Matrix { at: x.at.add(m * x.stride), ..x },
                    w: Matrix { at: w.at.add(n * w.stride), rows: columns, ..w },
                    inner,
                    out: Target { at: out.at.add(m * out.stride + n), ..out },
                };
                match S::TILE_ROWS.min(x.rows - m) {
                    1 => tile.run::<S, 1>(),
                    2 => tile.run::<S, 2>(),
                    3 => tile.run::<S, 3>(),
                    4 => tile.run::<S, 4>(),
                    5 => tile.run::<S, 5>(),
                    _ => tile.run::<S, 6>(),
                }
            }
        }
    }
}

struct Tile {
    x: Matrix,
    w: Matrix,
    inner: usize,
    out: Target,
}

impl Tile {
    /// `M` rows of x with up to 4 of w.
    ///
    /// # Safety
    /// As [`dots`].
    #[inline(always)]
    unsafe fn run<S: Simd, const M: usize>(self) {
        let Self { x, w, inner, out } = self;
        let whole = inner / S::LANES * S::LANES;
        // SAFETY: the caller's promise; a row of w that there is not is replaced by the last that there is.
        unsafe {
            let xs: [*const f32; M] = std::array::from_fn(|i| x.at.add(i * x.stride));
            let ws: [*const f32; 4] = std::array::from_fn(|j| w.at.add(j.min(w.rows - 1) * w.stride));
            let mut sums = [[S::splat(0.0); 4]; M];
            let mut k = 0;
            while k < whole {
                let xv: [S::V; M] = std::array::from_fn(|i| S::load(xs[i].add(k)));
                for j in 0..4 {
                    let wv = S::load(ws[j].add(k));
                    for i in 0..M {
                        sums[i][j] = S::fma(xv[i], wv, sums[i][j]);
                    }
                }
                k += S::LANES;
            }
            if whole < inner {
                let rest = inner - whole;
                for j in 0..4 {
                    let wv = S::load_first(ws[j].add(k), rest);
                    for i in 0..M {
                        sums[i][j] = S::fma(S::load_first(xs[i].add(k), rest), wv, sums[i][j]);
                    }
                }
            }
            for (i, sums) in sums.into_iter().enumerate() {
                let sums = S::sums(sums);
                let at = out.at.add(i * out.stride);
                if w.rows == 4 {
                    let at = at.cast::<[f32; 4]>();
                    let old = if out.add { at.read_unaligned() } else { [0.0; 4] };
                    at.write_unaligned(std::array::from_fn(|j| old[j] + sums[j]));
                } else {
                    for (j, sum) in sums.into_iter().enumerate().take(w.rows) {
                        let old = if out.add { at.add(j).read() } else { 0.0 };
                        at.add(j).write(old + sum);
                    }
                }
            }
        }
    }
}

/// `out += other`.
///
/// # Safety
/// As [`Simd`]; both are as long.
#[inline(always)]
unsafe fn add<S: Simd>(out: &mut [f32], other: &[f32]) {
    let whole = out.len() / S::LANES * S::LANES;
    // SAFETY: all addresses are inside.
    unsafe {
        for i in (0..whole).step_by(S::LANES) {
            let sum = S::add(S::load(out.as_ptr().add(i)), S::load(other.as_ptr().add(i)));
            S::store(out.as_mut_ptr().add(i), sum);
        }
    }
    for i in whole..out.len() {
        out[i] += other[i];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Activation, Isa};

    fn numbers(n: usize, seed: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
    }

    #[test]
    fn products_of_every_shape_equal_the_plain_sum() {
        for isa in Isa::available() {
            for threads in [1, 2] {
                let cores = Cores::new(threads, isa).unwrap();
                for (rows, inner, outs) in [
                    (1, 1, vec![1]),
                    (2, 7, vec![3]),
                    (3, 8, vec![4, 5]),
                    (7, 33, vec![17, 1, 6]),
                    (50, 100, vec![300]),
                    (13, 2100, vec![9]),
                ] {
                    let x = numbers(rows * inner, 1);
                    let weights: Vec<_> = outs.iter().map(|&o| (numbers(o * inner, o), numbers(o, o + 1))).collect();
                    let parts: Vec<_> = weights.iter().map(|(w, b)| PartUnpacked { weight: w, bias: Some(b) }).collect();
                    let width: usize = outs.iter().sum();
                    let residual = numbers(rows * width, 5);
                    let mut out = vec![f32::NAN; rows * width];
                    let epilogue = Epilogue { act: Some(Activation::Relu), residual: Some(&residual), last: Some(Activation::Relu) };
                    product_unpacked(&cores, &x, inner, &parts, epilogue, &mut out);
                    for (m, x) in x.chunks(inner).enumerate() {
                        let sums = weights.iter().flat_map(|(w, b)| {
                            let dot = |w: &[f32]| -> f64 { x.iter().zip(w).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum() };
                            w.chunks(inner).zip(b).map(move |(w, &b)| dot(w) + f64::from(b)).collect::<Vec<_>>()
                        });
                        for (n, sum) in sums.enumerate() {
                            let wanted = (sum.max(0.0) + f64::from(residual[m * width + n])).max(0.0);
                            let found = f64::from(out[m * width + n]);
                            assert!((found - wanted).abs() < 1e-5 * (inner as f64).sqrt(), "{isa:?} {rows} {inner}: {found} for {wanted}");
                        }
                    }
                }
            }
        }
    }

    /// Lengths whose product is the result's only where overflow goes unseen, as it does in other programs' release builds.
    #[test]
    #[should_panic(expected = "16777216 rows of 1099511627776")]
    fn a_result_too_long_to_count_is_refused() {
        let (x, w) = (vec![0.0; 1 << 24], vec![0.0; 1 << 24]);
        let parts = vec![PartUnpacked { weight: &w, bias: None }; 1 << 16];
        product_unpacked(&Cores::new(1, Isa::best()).unwrap(), &x, 1, &parts, Epilogue::default(), &mut []);
    }

    #[test]
    fn a_row_does_not_depend_on_the_rows_beside_it_nor_on_threads() {
        for isa in Isa::available() {
            let (inner, out) = (1111, 37);
            let (x, w) = (numbers(100 * inner, 1), numbers(out * inner, 2));
            let run = |threads, rows: std::ops::Range<usize>| {
                let mut y = vec![0.0; rows.len() * out];
                let x = &x[rows.start * inner..rows.end * inner];
                let parts = [PartUnpacked { weight: &w, bias: None }];
                product_unpacked(&Cores::new(threads, isa).unwrap(), x, inner, &parts, Epilogue::default(), &mut y);
                y
            };
            let all = run(1, 0..100);
            for (threads, rows) in [(1, 0..1), (2, 0..100), (3, 5..12), (1, 98..100), (2, 50..51), (4, 20..70)] {
                assert_eq!(run(threads, rows.clone()), all[rows.start * out..rows.end * out], "{isa:?} {threads} {rows:?}");
            }
        }
    }
}
