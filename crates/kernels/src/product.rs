//! Matrix products `x · wᵀ` with packed weights (`packed.rs`), in every precision.
//!
//! A tile is a few rows of x with one panel of weights: its sums stay in registers for one cut of the inner dimension. Rows of x
//! are prepared once for a block (copied, rounded or quantised) in the order in which tiles read them. Loops, from the outside:
//! blocks of rows; groups of panels; cuts; the panels of the group; tiles. The sums of a group wait in a buffer between the cuts;
//! with the last cut a tile is finished while it is in L1: scale, bias, activation, residual.
//!
//! Each element is computed in one order whatever is computed beside it: cuts depend on the inner dimension alone.
mod numbers;

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Cores;
use crate::cores::Shared;
pub(crate) use crate::dots::{Matrix, Target, dots};
use crate::int8::Int8;
use crate::math::{Activate, Activation};
use crate::packed::{Packed, Precision};
use crate::simd::{Kernel, Simd};
use numbers::{Bf16, F32};

/// Rows of x that are prepared together.
const ROWS: usize = 96;
/// Panels whose sums wait together.
const GROUP: usize = 16;
/// Panels of a task at most.
const PANELS: usize = 32;

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
    let tasks = tasks(cores.threads(), rows, parts);
    let shared = Shared::new(out);
    cores.each(tasks.len(), |i| {
        let task = tasks[i];
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

/// Cuts a product into tasks, a few for each thread, larger ones where there are enough.
fn tasks(threads: usize, rows: usize, parts: &[Part<'_>]) -> Vec<Task> {
    let row_step = if threads > 1 { 2 * ROWS } else { rows.max(1) };
    let panels: usize = parts.iter().map(|part| part.weight.layout().panels()).sum();
    let wanted = (4 * threads).div_ceil(rows.div_ceil(row_step).max(1));
    let panel_step = if threads > 1 { panels.div_ceil(wanted).clamp(1, PANELS) } else { panels.max(1) };
    let (mut tasks, mut offset) = (vec![], 0);
    for (part, layout) in parts.iter().map(|part| part.weight.layout()).enumerate() {
        for m in (0..rows).step_by(row_step) {
            for n in (0..layout.panels()).step_by(panel_step) {
                let (rows, panels) = ((m, rows.min(m + row_step)), (n, layout.panels().min(n + panel_step)));
                tasks.push(Task { part, offset, rows, panels });
            }
        }
        offset += layout.out();
    }
    tasks
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
    /// added to with the others. What is `ahead` will be read soon: a line in `step` bytes of it may be fetched for each step.
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
                Precision::Bf16 => self.run_as::<S, Bf16>(),
                Precision::F32 => self.run_as::<S, F32>(),
                Precision::Int8 => self.run_as::<S, Int8>(),
            }
        }
    }
}

impl Block<'_> {
    #[inline(always)]
    unsafe fn run_as<S: Simd, F: Format<S>>(self) {
        let Self { x, inner, part, epilogue, out, width, task, id, scratch, .. } = self;
        let panel_width = 2 * S::LANES;
        let cuts = Cuts::new(inner, F::CUT);
        let row_bytes = F::row_bytes(inner, cuts);
        let layout = part.weight.layout();
        let panel_bytes = layout.panel_bytes();
        for first in (task.rows.0..task.rows.1).step_by(ROWS) {
            let rows = ROWS.min(task.rows.1 - first);
            let tiles = rows.div_ceil(F::ROWS);
            // The rows are shared out evenly: tile `t` begins at this row of the block.
            let begin = |t: usize| t * rows / tiles;
            let prepared = room(&mut scratch.prepared, rows * row_bytes);
            if scratch.of != Some((id, first)) {
                for t in 0..tiles {
                    // SAFETY: `product` checked that the rows are there; there is room for all of them.
                    unsafe {
                        let x = x.as_ptr().add((first + begin(t)) * inner);
                        F::prepare(x, inner, begin(t + 1) - begin(t), cuts, prepared.add(begin(t) * row_bytes));
                    }
                }
                scratch.of = Some((id, first));
            }
            let group = if rows <= 24 { 1 } else { GROUP };
            let sums = room(&mut scratch.sums, group * rows * panel_width * 4).cast::<f32>();
            let (from, step) = (part.weight.bytes().as_ptr(), 64usize.div_ceil(tiles));
            let cut_bytes = panel_bytes / cuts.count;
            for n in (task.panels.0..task.panels.1).step_by(group) {
                let panels = n..task.panels.1.min(n + group);
                for cut in 0..cuts.count {
                    for p in panels.clone() {
                        // SAFETY: the panel is one of the weight's; an address to fetch from need not be valid.
                        let panel = unsafe { from.add(p * panel_bytes) };
                        let next = if group == 1 || p + 1 < panels.end {
                            panel.wrapping_add(if group == 1 { (cut + 1) * cut_bytes } else { panel_bytes + cut * cut_bytes })
                        } else if cut + 1 < cuts.count {
                            from.wrapping_add(panels.start * panel_bytes + (cut + 1) * cut_bytes)
                        } else {
                            panel.wrapping_add(panel_bytes)
                        };
                        for t in 0..tiles {
                            let (begin, count) = (begin(t), begin(t + 1) - begin(t));
                            // SAFETY: `product` checked all lengths; the rows were prepared, there is room for the group's sums, and no
                            // other task has these rows and columns of the result.
                            unsafe {
                                let x = prepared.add(begin * row_bytes);
                                let sums = sums.add(((p - n) * rows + begin) * panel_width);
                                let ahead = next.wrapping_add(t * cut_bytes / tiles);
                                tile::<S, F>(count, x, panel, inner, cuts, cut, sums, ahead, step);
                                if cut + 1 == cuts.count {
                                    F::scale(x, panel, inner, cuts, count, sums);
                                    let column = p * panel_width;
                                    let columns = panel_width.min(layout.out() - column);
                                    let at = (first + begin) * width + task.offset + column;
                                    let bias = part.bias.map(|bias| &bias[column..column + columns]);
                                    finish::<S>(sums, count, columns, bias, epilogue, Place { out, at, width });
                                }
                            }
                        }
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
unsafe fn tile<S: Simd, F: Format<S>>(
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
    macro_rules! by_rows {
        ($($rows:literal)*) => {
            match rows {
                // SAFETY: the caller's promise.
                $($rows if F::ROWS >= $rows => unsafe { F::tile::<$rows>(x, panel, inner, cuts, cut, sums, ahead, step) },)*
                _ => unreachable!("a tile has 1 to {} rows", F::ROWS),
            }
        };
    }
    by_rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14)
}

/// Where the numbers of a tile go: the index of the first, and how wide rows are.
#[derive(Clone, Copy)]
struct Place {
    out: Shared,
    at: usize,
    width: usize,
}

/// Bias, activation and residual of a tile, `[rows, panel]`, of which the first `columns` columns are there.
///
/// # Safety
/// As [`Simd`]; the numbers are inside the result, and no other task has them.
#[inline(always)]
unsafe fn finish<S: Simd>(sums: *mut f32, rows: usize, columns: usize, bias: Option<&[f32]>, epilogue: Epilogue<'_>, to: Place) {
    let panel_width = 2 * S::LANES;
    for row in 0..rows {
        let at = to.at + row * to.width;
        // SAFETY: the caller's promise.
        unsafe {
            let numbers = std::slice::from_raw_parts_mut(sums.add(row * panel_width), columns);
            if let Some(bias) = bias {
                add::<S>(numbers, bias);
            }
            if let Some(act) = epilogue.act {
                Activate { act, x: numbers }.run::<S>();
            }
            if let Some(residual) = epilogue.residual {
                add::<S>(numbers, &residual[at..at + columns]);
            }
            if let Some(act) = epilogue.last {
                Activate { act, x: numbers }.run::<S>();
            }
            to.out.at(at).copy_from_nonoverlapping(numbers.as_ptr(), columns);
        }
    }
}

/// `out += other`.
///
/// # Safety
/// As [`Simd`]; both are as long.
#[inline(always)]
unsafe fn add<S: Simd>(out: &mut [f32], other: &[f32]) {
    let (to, from) = (out.as_mut_ptr(), other.as_ptr());
    let whole = out.len() / S::LANES * S::LANES;
    let rest = out.len() - whole;
    // SAFETY: all addresses are inside both slices.
    unsafe {
        for i in (0..whole).step_by(S::LANES) {
            S::store(to.add(i), S::add(S::load(to.add(i)), S::load(from.add(i))));
        }
        if rest > 0 {
            let sum = S::add(S::load_first(to.add(whole), rest), S::load_first(from.add(whole), rest));
            S::store_first(to.add(whole), rest, sum);
        }
    }
}

#[cfg(test)]
mod tests;
