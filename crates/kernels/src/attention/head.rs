//! Queries of one head of one item: what a task does, again and again.
#![allow(clippy::needless_range_loop, reason = "an index runs through rows, registers and addresses alike")]
use std::ops::Range;

use super::tile::{ROWS, Rows, tile};
use super::{Attention, Heads, Span};
use crate::cores::Shared;
use crate::math::exp2;
use crate::simd::{Kernel, Simd};

/// Queries of a block, two tiles: their scores, the queries themselves and a panel of keys or values stay in L1.
const QUERIES: usize = 2 * ROWS;
/// Keys of a block at most.
const KEYS: usize = 320;
/// Queries up to which values are read where they lie.
const FEW: usize = 24;
/// Numbers of a cache line.
const LINE: usize = 16;

/// Numbers that begin where a cache line does.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line([f32; LINE]);

impl Line {
    pub(super) const ZERO: Self = Self([0.0; LINE]);
}

/// What a task keeps for the next: room for one head, and for the scores of a block.
pub(super) type Scratch = Vec<Line>;

/// Whole heads of whole items, or some queries of one.
pub(super) struct Task<'a> {
    pub(super) attention: Attention<'a>,
    /// Heads, counted through the items.
    pub(super) heads: Range<usize>,
    /// Which queries of each item, of those that there are.
    pub(super) queries: Range<usize>,
    pub(super) scratch: &'a mut Scratch,
    pub(super) out: Shared,
}

/// How many keys each query sees.
#[derive(Clone, Copy)]
struct Sight {
    /// If the mask is causal: the position of the first query.
    position: Option<usize>,
    keys: usize,
}

impl Sight {
    #[inline(always)]
    fn of(self, query: usize) -> usize {
        self.position.map_or(self.keys, |position| position + query + 1)
    }
}

/// How a head lies in the scratch: keys, values, scores. All but `keys` are in numbers, whole lines of them.
struct Plan {
    /// Keys that any query sees.
    keys: usize,
    /// Keys of a block.
    step: usize,
    /// Of the packed keys.
    packed: usize,
    /// Of the copied values; none if they are read where they lie.
    copied: usize,
    /// From the scores of a query to those of the next.
    stride: usize,
}

impl Plan {
    /// For `keys` of `all`, and so many queries. None if numbers do not suffice to count it.
    fn new(lanes: usize, keys: usize, all: usize, size: usize, queries: usize) -> Option<Self> {
        let lines = |n: usize| n.checked_next_multiple_of(LINE);
        // Blocks are cut where they are for all queries of an item, so that each has the same sums whatever others there are.
        let step = all.div_ceil(all.div_ceil(KEYS)).next_multiple_of(2 * lanes);
        let packed = lines(keys.checked_next_multiple_of(lanes)?.checked_mul(size)?)?;
        let copied =
            if queries > FEW || !size.is_multiple_of(lanes) { lines(keys.checked_mul(size.checked_next_multiple_of(lanes)?)?)? } else { 0 };
        // An odd number of lines, so that rows do not all begin in the same sets of the cache.
        let stride = (step.div_ceil(LINE) | 1) * LINE;
        packed.checked_add(copied)?.checked_add(QUERIES * stride)?;
        Some(Self { keys, step, packed, copied, stride })
    }

    fn len(&self) -> usize {
        self.packed + self.copied + QUERIES * self.stride
    }
}

/// Columns of one operand, a few registers of all rows after the other; or where they lie.
#[derive(Clone, Copy)]
struct Panels {
    at: *const f32,
    /// Rows.
    depth: usize,
    /// From row to row, where they lie.
    stride: Option<usize>,
}

impl Panels {
    /// The panel of `count` registers that begins with register `first`.
    ///
    /// # Safety
    /// It is there.
    #[inline(always)]
    unsafe fn panel<S: Simd>(self, first: usize, count: usize) -> Rows {
        let depth = if self.stride.is_some() { 1 } else { self.depth };
        // SAFETY: the caller's promise.
        Rows { at: unsafe { self.at.add(first * S::LANES * depth) }, stride: self.stride.unwrap_or(count * S::LANES) }
    }
}

/// How many of the registers from `first` on make a panel: two, the last alone if their number is odd.
#[inline(always)]
pub(super) fn panel(all: usize, first: usize) -> usize {
    2.min(all - first)
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { attention, heads, queries, scratch, out } = self;
        for head in heads {
            let span = &attention.spans[head / attention.heads];
            let queries = queries.start..queries.end.min(span.queries.len());
            if !queries.is_empty() {
                // SAFETY: the caller's promise.
                unsafe { one::<S>(attention, span, head % attention.heads, queries, scratch, out) };
            }
        }
    }
}

/// Some queries of one head.
///
/// # Safety
/// As [`Simd`]; the rows are there, and no other task has those of the result.
#[inline(always)]
unsafe fn one<S: Simd>(attention: Attention<'_>, span: &Span, head: usize, queries: Range<usize>, scratch: &mut Scratch, out: Shared) {
    let Attention { q, k, v, heads, size, causal, .. } = attention;
    let all = span.keys.len();
    let sight = Sight { position: causal.then_some(span.position), keys: all };
    let plan = Plan::new(S::LANES, sight.of(queries.end - 1), all, size, queries.len()).expect("a head that memory can hold");
    let lines = plan.len() / LINE;
    if scratch.len() < lines {
        scratch.resize(lines, Line::ZERO);
    }
    let rows = |of: Heads<'_>, first: usize| Rows {
        // SAFETY: the rows are there.
        at: unsafe { of.data.as_ptr().add(first * of.stride + of.offset + head * size) },
        stride: of.stride,
    };
    // SAFETY: the rows are there, and the scratch is as long as it must be.
    unsafe {
        let packed = scratch.as_mut_ptr().cast::<f32>();
        let (copied, scores) = (packed.add(plan.packed), packed.add(plan.packed + plan.copied));
        pack::<S>(rows(k, span.keys.start), rows(v, span.keys.start), &plan, size, packed);
        let mut values = Panels { at: rows(v, span.keys.start).at, depth: plan.keys, stride: Some(v.stride) };
        if plan.copied > 0 {
            copy::<S>(rows(v, span.keys.start), plan.keys, size, copied);
            values = Panels { at: copied, stride: None, ..values };
        }
        let out = Rows { at: out.at(span.queries.start * heads * size + head * size), stride: heads * size };
        // Whole tiles, so that their lengths differ by one at most.
        let tiles = queries.len().div_ceil(ROWS);
        for tile in (0..tiles).step_by(QUERIES / ROWS) {
            let first = queries.start + queries.len() * tile / tiles;
            let count = queries.start + queries.len() * tiles.min(tile + QUERIES / ROWS) / tiles - first;
            let block = Block { size, first, count, sight, scores: Rows { at: scores, stride: plan.stride } };
            block.run::<S>(rows(q, span.queries.start).from(first), packed, &plan, values, out.from(first));
        }
    }
}

/// The keys, times log2 e / √size: of each block panels of the registers that [`panel`] says, for each number of a head. What is
/// not there is zero.
///
/// # Safety
/// As [`Simd`]; the rows are there, and so is room.
#[inline(always)]
unsafe fn pack<S: Simd>(k: Rows, v: Rows, plan: &Plan, size: usize, to: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe {
        let scale = S::splat((std::f64::consts::LOG2_E / (size as f64).sqrt()) as f32);
        for begin in (0..plan.keys).step_by(plan.step) {
            let registers = plan.step.min(plan.keys - begin).div_ceil(S::LANES);
            let mut first = 0;
            while first < registers {
                let count = panel(registers, first);
                let to = to.add((begin + first * S::LANES) * size);
                for n in 0..count {
                    let row = begin + (first + n) * S::LANES;
                    let there = S::LANES.min(plan.keys - row);
                    for i in 0..S::LANES {
                        fetch::<S>(k, row + S::LANES + i, size);
                        fetch::<S>(v, row + i, size);
                    }
                    for d in (0..size).step_by(S::LANES) {
                        let mut square = [S::splat(0.0); 16];
                        let columns = S::LANES.min(size - d);
                        for i in 0..S::LANES {
                            if i < there {
                                let at = k.from(row + i).at.add(d);
                                let numbers = if columns == S::LANES { S::load(at) } else { S::load_first(at, columns) };
                                square[i] = S::mul(numbers, scale);
                            }
                        }
                        S::transpose(&mut square[..S::LANES]);
                        for i in 0..S::LANES {
                            if i < columns {
                                S::store(to.add(((d + i) * count + n) * S::LANES), square[i]);
                            }
                        }
                    }
                }
                first += count;
            }
        }
    }
}

/// Asks for a row, which need not be there.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
unsafe fn fetch<S: Simd>(rows: Rows, row: usize, size: usize) {
    let at = rows.at.wrapping_add(row * rows.stride);
    for i in (0..size).step_by(LINE) {
        // SAFETY: the caller's promise.
        unsafe { S::prefetch(at.wrapping_add(i)) };
    }
}

/// The values in panels of the registers that [`panel`] says, zeros behind the end of a row.
///
/// # Safety
/// As [`pack`].
#[inline(always)]
unsafe fn copy<S: Simd>(v: Rows, keys: usize, size: usize, to: *mut f32) {
    let registers = size.div_ceil(S::LANES);
    // SAFETY: the caller's promise.
    unsafe {
        for row in 0..keys {
            let from = v.from(row).at;
            let mut first = 0;
            while first < registers {
                let count = panel(registers, first);
                let to = to.add((first * keys + row * count) * S::LANES);
                for n in 0..count {
                    let d = (first + n) * S::LANES;
                    let numbers = if size - d >= S::LANES { S::load(from.add(d)) } else { S::load_first(from.add(d), size - d) };
                    S::store(to.add(n * S::LANES), numbers);
                }
                first += count;
            }
        }
    }
}

/// Some queries that follow one another.
struct Block {
    size: usize,
    first: usize,
    count: usize,
    sight: Sight,
    /// `[count, keys of a block]`.
    scores: Rows,
}

/// What is known of the softmax of each query.
struct State {
    /// The greatest score so far.
    most: [f32; QUERIES],
    /// The sum of the weights so far.
    sum: [f32; QUERIES],
    /// What the sums of values so far are to be multiplied by, since the greatest score has changed.
    before: [f32; QUERIES],
    /// What they are to be multiplied by once the keys of a block are in them: to be an average, after the last.
    after: [f32; QUERIES],
}

/// Calls a function for as many rows and registers as there are.
macro_rules! sized {
    ($function:ident, $rows:expr, $registers:expr, $arguments:tt) => {
        match ($rows, $registers) {
            (0, _) => {}
            (1, 1) => sized!(@ $function, 1, 1, $arguments),
            (2, 1) => sized!(@ $function, 2, 1, $arguments),
            (3, 1) => sized!(@ $function, 3, 1, $arguments),
            (4, 1) => sized!(@ $function, 4, 1, $arguments),
            (5, 1) => sized!(@ $function, 5, 1, $arguments),
            (6, 1) => sized!(@ $function, 6, 1, $arguments),
            (1, 2) => sized!(@ $function, 1, 2, $arguments),
            (2, 2) => sized!(@ $function, 2, 2, $arguments),
            (3, 2) => sized!(@ $function, 3, 2, $arguments),
            (4, 2) => sized!(@ $function, 4, 2, $arguments),
            (5, 2) => sized!(@ $function, 5, 2, $arguments),
            (6, 2) => sized!(@ $function, 6, 2, $arguments),
            _ => unreachable!("tiles are no larger"),
        }
    };
    (@ $function:ident, $rows:literal, $registers:literal, ($($argument:expr),*)) => {
        $function::<S, $rows, $registers>($($argument),*)
    };
}
pub(super) use sized;

impl Block {
    /// # Safety
    /// As [`one`]; `q` and `out` begin with the first query of the block.
    #[inline(always)]
    unsafe fn run<S: Simd>(self, q: Rows, packed: *const f32, plan: &Plan, values: Panels, out: Rows) {
        let mut state = State { most: [0.0; QUERIES], sum: [0.0; QUERIES], before: [1.0; QUERIES], after: [1.0; QUERIES] };
        let seen = self.sight.of(self.first + self.count - 1);
        let first = if self.count > ROWS { self.count / 2 } else { self.count };
        let tiles = [(0, first), (first, self.count - first)];
        // SAFETY: the caller's promise.
        unsafe {
            for begin in (0..seen).step_by(plan.step) {
                let end = plan.keys.min(begin + plan.step);
                let keys = Panels { at: packed.add(begin * self.size), depth: self.size, stride: None };
                let registers = (end.min(seen) - begin).div_ceil(S::LANES);
                let all = (end - begin).div_ceil(S::LANES);
                let mut n = 0;
                while n < registers {
                    let count = panel(all, n);
                    let k = keys.panel::<S>(n, count);
                    for (row, rows) in tiles {
                        let to = self.scores.from(row).at.cast_mut().add(n * S::LANES);
                        sized!(dots, rows, count, (q.from(row), k, self.size, to, self.scores.stride));
                    }
                    n += count;
                }
                self.soften::<S>(begin, end, &mut state);
                let registers = self.size.div_ceil(S::LANES);
                let mut n = 0;
                while n < registers {
                    let count = panel(registers, n);
                    let v = values.panel::<S>(n, count).from(begin);
                    let columns = self.size - n * S::LANES;
                    for (row, rows) in tiles {
                        let out = Rows { at: out.from(row).at.add(n * S::LANES), ..out };
                        let mix = Mix {
                            weights: self.scores.from(row),
                            seen: self.seen(row, begin, end),
                            most: self.seen(row + rows - 1, begin, end),
                            begin,
                            reach: self.sight.of(self.first + row),
                            before: state.before.as_ptr().add(row),
                            after: state.after.as_ptr().add(row),
                        };
                        sized!(mixed, rows, count, (mix, v, columns, out));
                    }
                    n += count;
                }
            }
        }
    }

    /// How many keys of those from `begin` to `end` query `row` of the block sees.
    #[inline(always)]
    fn seen(&self, row: usize, begin: usize, end: usize) -> usize {
        self.sight.of(self.first + row).clamp(begin, end) - begin
    }

    /// Scores of the keys from `begin` to `end` become weights: two to the power of how far they are below the greatest.
    ///
    /// # Safety
    /// As [`Simd`]; the scores are there.
    #[inline(always)]
    unsafe fn soften<S: Simd>(&self, begin: usize, end: usize, state: &mut State) {
        for four in (0..self.count).step_by(4) {
            let rows = 4.min(self.count - four);
            // SAFETY: the caller's promise.
            unsafe {
                let mut most = [S::splat(f32::NEG_INFINITY); 4];
                for i in 0..rows {
                    let seen = self.seen(four + i, begin, end);
                    if seen > 0 {
                        most[i] = greatest::<S>(self.scores.from(four + i).at, seen);
                    }
                }
                let most = S::maxima(most);
                let mut sums = [S::splat(0.0); 4];
                for i in 0..rows {
                    let (row, seen) = (four + i, self.seen(four + i, begin, end));
                    (state.before[row], state.after[row]) = (1.0, 1.0);
                    if seen > 0 {
                        let now = if begin == 0 || most[i] > state.most[row] { most[i] } else { state.most[row] };
                        if begin > 0 {
                            state.before[row] = first::<S>(exp2::<S>(S::splat(state.most[row] - now)));
                        }
                        state.most[row] = now;
                        sums[i] = powers::<S>(self.scores.from(row).at.cast_mut(), seen, now);
                    }
                }
                let sums = S::sums(sums);
                for i in 0..rows {
                    let row = four + i;
                    state.sum[row] = state.sum[row] * state.before[row] + sums[i];
                    // A row that sees nothing of a block has been an average before.
                    let reach = self.sight.of(self.first + row);
                    if begin < reach && reach <= end {
                        state.after[row] = 1.0 / state.sum[row];
                    }
                }
            }
        }
    }
}

/// The first lane.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
unsafe fn first<S: Simd>(v: S::V) -> f32 {
    let mut lane = [0.0];
    // SAFETY: the caller's promise.
    unsafe { S::store_first(lane.as_mut_ptr(), 1, v) };
    lane[0]
}

/// The lanes of the last register of `n` numbers that are there, all others minus infinity.
///
/// # Safety
/// As [`Simd`]; whole registers are there.
#[inline(always)]
unsafe fn last<S: Simd>(x: *const f32, n: usize) -> S::V {
    /// The greatest that a lane may be.
    const BOUNDS: [f32; 32] = {
        let mut bounds = [f32::INFINITY; 32];
        let mut i = 16;
        while i < 32 {
            bounds[i] = f32::NEG_INFINITY;
            i += 1;
        }
        bounds
    };
    // SAFETY: the caller's promise; there are at most 16 lanes.
    unsafe {
        let whole = (n - 1) / S::LANES * S::LANES;
        S::min(S::load(x.add(whole)), S::load(BOUNDS.as_ptr().add(16 - (n - whole))))
    }
}

/// The greatest of `n` numbers, each lane for itself. There is at least one.
///
/// # Safety
/// As [`last`].
#[inline(always)]
pub(super) unsafe fn greatest<S: Simd>(x: *const f32, n: usize) -> S::V {
    // SAFETY: the caller's promise.
    unsafe {
        let (mut a, mut b) = (last::<S>(x, n), S::splat(f32::NEG_INFINITY));
        let registers = (n - 1) / S::LANES;
        for pair in 0..registers / 2 {
            a = S::max(a, S::load(x.add(2 * pair * S::LANES)));
            b = S::max(b, S::load(x.add((2 * pair + 1) * S::LANES)));
        }
        if registers % 2 == 1 {
            b = S::max(b, S::load(x.add((registers - 1) * S::LANES)));
        }
        S::max(a, b)
    }
}

/// Replaces `n` numbers by two to the power of (themselves minus `most`), and returns their sum, each lane for itself.
///
/// # Safety
/// As [`last`].
#[inline(always)]
pub(super) unsafe fn powers<S: Simd>(x: *mut f32, n: usize, most: f32) -> S::V {
    // SAFETY: the caller's promise.
    unsafe {
        let most = S::splat(most);
        let whole = (n - 1) / S::LANES * S::LANES;
        let mut sum = S::splat(0.0);
        for i in (0..whole).step_by(S::LANES) {
            let power = exp2::<S>(S::sub(S::load(x.add(i)), most));
            S::store(x.add(i), power);
            sum = S::add(sum, power);
        }
        let power = exp2::<S>(S::sub(last::<S>(x, n), most));
        S::store(x.add(whole), power);
        S::add(sum, power)
    }
}

/// A tile of scores.
///
/// # Safety
/// As [`tile`]; there is room for the result.
#[inline(always)]
unsafe fn dots<S: Simd, const M: usize, const N: usize>(q: Rows, k: Rows, size: usize, to: *mut f32, stride: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let sums = tile::<S, M, N>(q, k, size, [[S::splat(0.0); N]; M]);
        for i in 0..M {
            for n in 0..N {
                S::store(to.add(i * stride + n * S::LANES), sums[i][n]);
            }
        }
    }
}

/// What becomes of a tile of weighted values.
struct Mix {
    /// Of the keys of a block.
    weights: Rows,
    /// How many the first row has, and how many the last.
    seen: usize,
    most: usize,
    /// The first key of the block.
    begin: usize,
    /// The key up to which the first row sees; under a causal mask each sees one more than the one before.
    reach: usize,
    /// What the sums so far are multiplied by, if there are any: they are where the result goes.
    before: *const f32,
    /// What the sums are multiplied by at last.
    after: *const f32,
}

/// A tile of weighted values, `columns` of which are there.
///
/// # Safety
/// As [`tile`]; there is room for the result.
#[inline(always)]
unsafe fn mixed<S: Simd, const M: usize, const N: usize>(mix: Mix, v: Rows, columns: usize, out: Rows) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[S::splat(0.0); N]; M];
        let whole = columns >= N * S::LANES;
        let rest = S::LANES.min(columns - (N - 1) * S::LANES);
        if mix.begin > 0 {
            for i in 0..M {
                for n in 0..N {
                    let at = out.from(i).at.add(n * S::LANES);
                    let there = if whole || n + 1 < N { S::load(at) } else { S::load_first(at, rest) };
                    sums[i][n] = S::mul(there, S::splat(*mix.before.add(i)));
                }
            }
        }
        sums = tile::<S, M, N>(mix.weights, v, mix.seen, sums);
        for key in mix.seen..mix.most {
            for i in 0..M {
                if mix.begin + key < mix.reach + i {
                    let weight = S::splat(*mix.weights.from(i).at.add(key));
                    for n in 0..N {
                        sums[i][n] = S::fma(weight, S::load(v.from(key).at.add(n * S::LANES)), sums[i][n]);
                    }
                }
            }
        }
        for i in 0..M {
            for n in 0..N {
                let at = out.from(i).at.cast_mut().add(n * S::LANES);
                let value = S::mul(sums[i][n], S::splat(*mix.after.add(i)));
                if whole || n + 1 < N { S::store(at, value) } else { S::store_first(at, rest, value) }
            }
        }
    }
}
