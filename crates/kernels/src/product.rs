//! Matrix products `x · wᵀ` with packed weights (`packed.rs`), in every precision.
//!
//! A tile is a few rows of x with one panel of weights: its sums stay in registers for one cut of the inner dimension. Rows of x
//! are prepared once for a block (copied, rounded or quantised) in the order in which tiles read them. Loops, from the outside:
//! blocks of rows; groups of panels; cuts; the panels of the group; tiles. The sums of a group wait in a buffer between the cuts;
//! with the last cut a tile is finished while it is in L1: scale, bias, activation, residual.
//!
//! Each element is computed in one order whatever is computed beside it: cuts depend on the inner dimension alone.
mod numbers;
mod outer;
mod words;

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Cores;
use crate::cores::Shared;
use crate::int8::Int8;
use crate::math::{Activate, Activation};
use crate::packed::{Packed, Precision};
use crate::simd::{Kernel, Simd};
use numbers::{Bf16, F32};
pub use outer::{PartGradient, weight_gradients};
use words::Words;
pub(crate) use words::{Dot, DotKernel, Dots, NoDots};

/// Rows of x that are prepared together, about: a cut of them fills half of L2.
const ROWS: usize = 120;
/// Rows up to which all cuts of them stay in L2, and a panel is read from its beginning to its end.
const FEW: usize = 24;
/// Panels whose sums wait together in L2 for the next cut.
const GROUP: usize = 16;

/// One of the weights whose products with the same rows lie side by side in the result.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// `[out, inner]`.
    pub weight: Packed<'a>,
    /// `[out]`.
    pub bias: Option<&'a [f32]>,
}

/// What happens to each number of a product after its bias was added, in this order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// An activation.
    pub act: Option<Activation>,
    /// Numbers to add, of the shape of the result.
    pub residual: Option<&'a [f32]>,
    /// An activation of the sum.
    pub last: Option<Activation>,
    /// Whether the numbers are added to those of the result that are there, after all else.
    pub add: bool,
}

/// `out = [x · weightᵀ + bias of each part, side by side]`, then the epilogue. `x` is `[rows, inner]`, `out` is
/// `[rows, sum of the parts' out]`. All parts are of one precision.
///
/// # Panics
/// If a length does not fit, precisions differ, or a weight is packed for another instruction set.
pub fn product(cores: &Cores, x: &[f32], inner: usize, parts: &[Part<'_>], epilogue: Epilogue<'_>, out: &mut [f32]) {
    assert!(inner > 0 && x.len().is_multiple_of(inner), "{} numbers are no rows of {inner}", x.len());
    let rows = x.len() / inner;
    let panel = cores.isa().panel();
    let Some(precision) = parts.first().map(|part| part.weight.layout().precision()) else { return };
    let mut width = 0usize;
    for part in parts {
        let layout = part.weight.layout();
        assert_eq!((layout.inner(), layout.panel(), layout.precision()), (inner, panel, precision), "how a weight is packed");
        assert!(part.bias.is_none_or(|b| b.len() == layout.out()), "a bias of {}", layout.out());
        width = width.checked_add(layout.out()).expect("a result of more columns than numbers can count");
    }
    // Checked, since the same weight may be a part many times over.
    assert_eq!(Some(out.len()), rows.checked_mul(width), "{rows} rows of {width}");
    assert!(epilogue.residual.is_none_or(|r| r.len() == out.len()), "a residual of {rows} rows of {width}");

    /// Tells products apart, so that a thread prepares rows once for all its tasks of one.
    static PRODUCTS: AtomicU64 = AtomicU64::new(0);
    let id = PRODUCTS.fetch_add(1, Ordering::Relaxed);
    let tasks = Tasks::new(cores, precision, rows, parts);
    let shared = Shared::new(out);
    cores.each(tasks.count(), |i| {
        let task = tasks.get(i);
        let part = parts[task.part];
        SCRATCH.with_borrow_mut(|scratch| {
            cores.isa().run(Block { x, inner, part, precision, epilogue, out: shared, width, task, id, scratch });
        });
    });
}

/// Some rows and panels of a product; the panels are counted within the part, whose first column is `offset`.
#[derive(Clone, Copy)]
struct Task {
    part: usize,
    offset: usize,
    rows: (usize, usize),
    panels: (usize, usize),
}

/// How a product is cut into tasks: blocks of rows, as equal as whole tiles allow and as many for each thread, and if they are few, a few pieces of
/// the panels.
struct Tasks<'a> {
    parts: &'a [Part<'a>],
    rows: usize,
    /// Rows of a tile, and tiles of all rows.
    tile: usize,
    tiles: usize,
    blocks: usize,
    panel_step: usize,
    /// Pieces of the panels of all parts.
    pieces: usize,
}

impl<'a> Tasks<'a> {
    fn new(cores: &Cores, precision: Precision, rows: usize, parts: &'a [Part<'a>]) -> Self {
        let (tile, threads) = (cores.isa().run(TileRows(precision)), cores.threads());
        let tiles = rows.div_ceil(tile);
        let least = tiles.div_ceil(ROWS.div_ceil(tile));
        let blocks = if least > threads { least.next_multiple_of(threads).min(tiles) } else { least };
        let panels: usize = parts.iter().map(|part| part.weight.layout().panels()).sum();
        let pieces = if threads > 1 { (4 * threads).div_ceil(blocks.max(1)) } else { 1 };
        let panel_step = panels.div_ceil(pieces).max(1);
        let pieces = parts.iter().map(|part| part.weight.layout().panels().div_ceil(panel_step)).sum();
        Self { parts, rows, tile, tiles, blocks, panel_step, pieces }
    }

    fn count(&self) -> usize {
        self.blocks * self.pieces
    }

    /// Task `i`: pieces of one block of rows follow one another.
    fn get(&self, i: usize) -> Task {
        let (block, mut piece, mut offset) = (i / self.pieces, i % self.pieces, 0);
        let [first, end] = [block, block + 1].map(|block| self.rows.min(self.tiles * block / self.blocks * self.tile));
        for (part, layout) in self.parts.iter().map(|part| part.weight.layout()).enumerate() {
            let pieces = layout.panels().div_ceil(self.panel_step);
            if piece < pieces {
                let n = piece * self.panel_step;
                let panels = (n, layout.panels().min(n + self.panel_step));
                return Task { part, offset, rows: (first, end), panels };
            }
            (piece, offset) = (piece - pieces, offset + layout.out());
        }
        unreachable!("task {i} of {}", self.count())
    }
}

/// The rows of a tile.
struct TileRows(Precision);

impl Kernel for TileRows {
    type Output = usize;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> usize {
        match self.0 {
            // Of words of bf16 as many.
            Precision::Bf16 => <Bf16 as Format<S>>::ROWS,
            Precision::F32 => <F32 as Format<S>>::ROWS,
            Precision::Int8 => <Int8 as Format<S>>::ROWS,
        }
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What a thread keeps from task to task.
#[derive(Default)]
struct Scratch {
    prepared: Vec<Line>,
    /// The product and the first of the rows that are prepared.
    of: Option<(u64, usize)>,
    sums: Vec<Line>,
}

/// A cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code, reason = "read and written through pointers")] [u8; 64]);

/// Room for so many bytes.
fn room(lines: &mut Vec<Line>, bytes: usize) -> *mut u8 {
    lines.resize(lines.len().max(bytes.div_ceil(64)), Line([0; 64]));
    lines.as_mut_ptr().cast()
}

/// Where the inner dimension is cut: pieces of `len`, a multiple of 16; the last may be shorter.
#[derive(Clone, Copy)]
pub(crate) struct Cuts {
    pub(crate) count: usize,
    pub(crate) len: usize,
}

impl Cuts {
    fn new(inner: usize, most: usize) -> Self {
        let len = inner.div_ceil(inner.div_ceil(most)).next_multiple_of(16);
        Self { count: inner.div_ceil(len), len }
    }
}

/// What one precision does. Prepared rows of a tile lie together; a panel is `2 · LANES` channels as `packed.rs` lays them out.
pub(crate) trait Format<S: Simd> {
    /// Rows of a tile at most.
    const ROWS: usize;
    /// Numbers of a cut at most: a multiple of 16.
    const CUT: usize;

    /// Bytes of a prepared row.
    fn row_bytes(inner: usize, cuts: Cuts) -> usize;

    /// Prepares the rows of one tile.
    ///
    /// # Safety
    /// As [`Simd`]; `x` has `rows` rows of `inner` numbers, and `to` room for as many of `row_bytes`.
    unsafe fn prepare(x: *const f32, inner: usize, rows: usize, cuts: Cuts, to: *mut u8);

    /// Multiplies `M` prepared rows with a panel, for one cut; `sums`, `[M, panel]` words, takes the sums of the first cut and is
    /// added to with the others. What is `ahead` will be read soon: for each line of the panel that is read, `step` bytes of it are to be
    /// fetched.
    ///
    /// # Safety
    /// As [`Simd`]; `x` was prepared, `panel` is whole, `sums` has room and begins on a cache line.
    #[allow(clippy::too_many_arguments, reason = "all of them in registers")]
    unsafe fn tile<const M: usize>(
        x: *const u8,
        panel: *const u8,
        inner: usize,
        cuts: Cuts,
        cut: usize,
        sums: *mut f32,
        ahead: *const u8,
        step: usize,
    );

    /// Makes f32 of the sums of all cuts, where they are not.
    ///
    /// # Safety
    /// As of `tile`.
    unsafe fn scale(x: *const u8, panel: *const u8, inner: usize, cuts: Cuts, rows: usize, sums: *mut f32);
}

struct Block<'a> {
    x: &'a [f32],
    inner: usize,
    part: Part<'a>,
    precision: Precision,
    epilogue: Epilogue<'a>,
    out: Shared,
    width: usize,
    task: Task,
    id: u64,
    scratch: &'a mut Scratch,
}

impl Kernel for Block<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's promise.
        unsafe {
            match self.precision {
                Precision::Bf16 if S::Dots::exist() => S::Dots::run(self),
                Precision::Bf16 => self.run_as::<S, Bf16>(),
                Precision::F32 => self.run_as::<S, F32>(),
                Precision::Int8 => self.run_as::<S, Int8>(),
            }
        }
    }
}

impl DotKernel for Block<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Dot>(self) {
        // SAFETY: the caller's promise.
        unsafe { self.run_as::<S, Words>() }
    }
}

impl Block<'_> {
    /// # Safety
    /// As [`Simd`]; `product` checked all lengths, and no other task has these rows and columns of the result.
    #[inline(always)]
    unsafe fn run_as<S: Simd, F: Format<S>>(self) {
        let Self { x, inner, part, precision, epilogue, out, width, task, id, scratch } = self;
        let panel_width = 2 * S::LANES;
        let cuts = Cuts::new(inner, F::CUT);
        let row_bytes = F::row_bytes(inner, cuts);
        let layout = part.weight.layout();
        let panel_bytes = layout.panel_bytes();
        // What one cut takes of a panel.
        let cut_bytes = cuts.len * panel_width * precision.bits() / 8;
        let (first, rows) = (task.rows.0, task.rows.1 - task.rows.0);
        // Tiles share the rows out evenly: the first `more` of them have one more than the others.
        let tiles = rows.div_ceil(F::ROWS);
        let (least, more) = (rows / tiles, rows % tiles);
        let rows_of = |tile: usize| least + usize::from(tile < more);

        let prepared = room(&mut scratch.prepared, rows * row_bytes);
        let fresh = scratch.of.replace((id, first)) != Some((id, first));
        let group = if rows <= FEW { 1 } else { GROUP };
        let sums = room(&mut scratch.sums, group * rows * panel_width * 4).cast::<f32>();
        let weights = part.weight.bytes().as_ptr();
        // What each tile asks for with each line of a panel: its share of the next panel, or one line a round, which is most of its share of rows.
        let step = 64usize.div_ceil(tiles).max(16);
        for n in (task.panels.0..task.panels.1).step_by(group) {
            let end = task.panels.1.min(n + group);
            for cut in 0..cuts.count {
                for p in n..end {
                    // What comes after this cut of this panel, of which each tile asks for its share.
                    let (next, next_cut) = match (p + 1 < end, cut + 1 < cuts.count) {
                        (true, _) => (p + 1, cut),
                        (false, true) => (n, cut + 1),
                        (false, false) => (end, 0),
                    };
                    let mut ahead = weights.wrapping_add(next * panel_bytes + next_cut * cut_bytes);
                    let mut stride = cut_bytes / tiles / 64 * 64;
                    // Rows are prepared when the first panel comes to them, and those after them are asked for meanwhile.
                    let prepare = fresh && p == task.panels.0 && cut == 0;
                    if prepare {
                        stride = least * inner * 4;
                        ahead = x.as_ptr().wrapping_add(first * inner).cast::<u8>().wrapping_add(stride);
                    }
                    let column = p * panel_width;
                    let columns = panel_width.min(layout.out() - column);
                    let mut row = 0;
                    for tile in 0..tiles {
                        let count = rows_of(tile);
                        // SAFETY: the caller's promise; the rows were prepared or are now, the panel is one of the weight's, and there is room for the
                        // group's sums.
                        unsafe {
                            let (prepared, panel) = (prepared.add(row * row_bytes), weights.add(p * panel_bytes));
                            let sums = sums.add(((p - n) * rows + row) * panel_width);
                            if prepare {
                                F::prepare(x.as_ptr().add((first + row) * inner), inner, count, cuts, prepared);
                            }
                            let ahead = ahead.wrapping_add(tile * stride);
                            let to = Place { out, at: (first + row) * width + task.offset + column, width, rows: count, columns };
                            let last = cut + 1 == cuts.count;
                            if last {
                                to.fetch::<S>(epilogue);
                            }
                            by_rows::<S, F>(count, prepared, panel, inner, cuts, cut, sums, ahead, step);
                            if last {
                                F::scale(prepared, panel, inner, cuts, count, sums);
                                to.finish::<S>(sums, part.bias.map(|bias| &bias[column..column + columns]), epilogue);
                            }
                        }
                        row += count;
                    }
                }
            }
        }
    }
}

/// # Safety
/// As [`Format::tile`].
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "as `tile`")]
unsafe fn by_rows<S: Simd, F: Format<S>>(
    rows: usize,
    x: *const u8,
    panel: *const u8,
    inner: usize,
    cuts: Cuts,
    cut: usize,
    sums: *mut f32,
    ahead: *const u8,
    step: usize,
) {
    macro_rules! tile {
        ($($rows:literal)*) => {
            match rows {
                // SAFETY: the caller's promise.
                $($rows if F::ROWS >= $rows => unsafe { F::tile::<$rows>(x, panel, inner, cuts, cut, sums, ahead, step) },)*
                _ => unreachable!("a tile has 1 to {} rows", F::ROWS),
            }
        };
    }
    tile!(1 2 3 4 5 6 7 8 9 10 11 12 13 14)
}

/// Where the numbers of a tile go: the index of the first, and how wide rows of the result are.
#[derive(Clone, Copy)]
struct Place {
    out: Shared,
    at: usize,
    width: usize,
    rows: usize,
    /// At most as many as a panel has.
    columns: usize,
}

impl Place {
    /// Asks for what `finish` will read and write.
    ///
    /// # Safety
    /// As [`Simd`].
    #[inline(always)]
    unsafe fn fetch<S: Simd>(self, epilogue: Epilogue<'_>) {
        for row in 0..self.rows {
            let at = self.at + row * self.width;
            // SAFETY: the numbers are inside the result.
            unsafe {
                S::prefetch(self.out.at(at));
                S::prefetch(self.out.at(at + self.columns - 1));
                if let Some(residual) = epilogue.residual {
                    S::prefetch(&raw const residual[at]);
                    S::prefetch(&raw const residual[at + self.columns - 1]);
                }
            }
        }
    }

    /// Scaled sums `[rows, panel]` become numbers of the result: bias, activation, residual.
    ///
    /// # Safety
    /// As [`Simd`]; the numbers are inside the result, and no other task has them.
    #[inline(always)]
    unsafe fn finish<S: Simd>(self, sums: *mut f32, bias: Option<&[f32]>, epilogue: Epilogue<'_>) {
        let Self { out, at, width, rows, columns } = self;
        let panel_width = 2 * S::LANES;
        // SAFETY: the caller's promise: a tile of sums, `columns` of the bias, of the residual, and of the result in each row.
        unsafe {
            let tile = std::slice::from_raw_parts_mut(sums, rows * panel_width);
            let mut bias = bias.map_or([S::splat(0.0); 2], |bias| load::<S>(bias.as_ptr(), columns));
            if let Some(act) = epilogue.act {
                for row in 0..rows {
                    let sums = sums.add(row * panel_width);
                    store::<S>(sums, panel_width, add::<S>(load::<S>(sums, panel_width), bias));
                }
                Activate { act, x: &mut *tile }.run::<S>();
                bias = [S::splat(0.0); 2];
            }
            for row in 0..rows {
                let (sums, at) = (sums.add(row * panel_width), at + row * width);
                let mut values = add::<S>(load::<S>(sums, panel_width), bias);
                if let Some(residual) = epilogue.residual {
                    values = add::<S>(values, load::<S>(residual.as_ptr().add(at), columns));
                }
                if epilogue.last.is_some() {
                    store::<S>(sums, panel_width, values);
                } else {
                    if epilogue.add {
                        values = add::<S>(values, load::<S>(out.at(at), columns));
                    }
                    store::<S>(out.at(at), columns, values);
                }
            }
            if let Some(act) = epilogue.last {
                Activate { act, x: tile }.run::<S>();
                for row in 0..rows {
                    let (out, mut values) = (out.at(at + row * width), load::<S>(sums.add(row * panel_width), panel_width));
                    if epilogue.add {
                        values = add::<S>(values, load::<S>(out, columns));
                    }
                    store::<S>(out, columns, values);
                }
            }
        }
    }
}

/// # Safety
/// As [`Simd`].
#[inline(always)]
unsafe fn add<S: Simd>(a: [S::V; 2], b: [S::V; 2]) -> [S::V; 2] {
    // SAFETY: the caller's promise.
    unsafe { [S::add(a[0], b[0]), S::add(a[1], b[1])] }
}

/// The first `columns` numbers of a row of a panel, and zeros.
///
/// # Safety
/// As [`Simd`]; as many are there.
#[inline(always)]
unsafe fn load<S: Simd>(at: *const f32, columns: usize) -> [S::V; 2] {
    // SAFETY: the caller's promise.
    unsafe {
        if columns == 2 * S::LANES {
            [S::load(at), S::load(at.add(S::LANES))]
        } else if columns >= S::LANES {
            [S::load(at), S::load_first(at.add(S::LANES), columns - S::LANES)]
        } else {
            [S::load_first(at, columns), S::splat(0.0)]
        }
    }
}

/// Writes the first `columns` numbers of a row of a panel.
///
/// # Safety
/// As [`Simd`]; there is room for as many.
#[inline(always)]
unsafe fn store<S: Simd>(at: *mut f32, columns: usize, [first, second]: [S::V; 2]) {
    // SAFETY: the caller's promise.
    unsafe {
        if columns == 2 * S::LANES {
            S::store(at, first);
            S::store(at.add(S::LANES), second);
        } else if columns >= S::LANES {
            S::store(at, first);
            S::store_first(at.add(S::LANES), columns - S::LANES, second);
        } else {
            S::store_first(at, columns, first);
        }
    }
}

#[cfg(test)]
mod tests;
