//! Backward through an attention: all of a head in one task, weights found again from queries and keys.
//!
//! With weights P = softmax(q kᵀ / √size) and dP = dO vᵀ: dV = Pᵀ dO, dS = P · (dP - the row's sum of P · dP) / √size, dQ = dS k, dK = dSᵀ q
//! (Dao et al., "FlashAttention", arXiv 2205.14135, appendix B). A block of queries has its scores and dP against all keys that it sees
//! in scratch, so that a row's greatest score and sum are found at once: nothing is kept of the forward pass but q, k and v. Five products
//! where the forward pass has two, all by the tile that it has. A head is one task, and blocks are cut for the item alone: no sum depends on
//! the number of threads.
#![allow(clippy::needless_range_loop, reason = "an index runs through rows, registers and addresses alike")]
use std::cell::RefCell;
use std::ops::Range;

use super::head::{Line, greatest, panel, powers, sized};
use super::tile::{ROWS, Rows, tile};
use super::{Attention, Heads, Span};
use crate::Cores;
use crate::cores::Shared;
use crate::simd::{Kernel, Simd};

/// Queries of a block at most.
const QUERIES: usize = 6 * ROWS;
/// Numbers of a cache line.
const LINE: usize = 16;

/// Where the gradients of the heads of queries, keys or values go: row `i` of buffer `buffer` begins at `i · stride + offset`.
#[derive(Clone, Copy, Debug)]
pub struct HeadsGradient {
    /// Which of the buffers.
    pub buffer: usize,
    /// Numbers from one row to the next.
    pub stride: usize,
    /// Where the first head begins in a row.
    pub offset: usize,
}

/// Gradients of q, k and v, in this order, given `d_out` `[queries, heads · size]`, that of the attention's result. All numbers of the heads of
/// rows that the spans name are written, no others.
///
/// # Panics
/// If a row is not there, if the spans' queries or keys do not follow one another, if a query sees no key or one that its item lacks, or if
/// two of the gradients share numbers.
pub fn attention_backward(cores: &Cores, attention: Attention<'_>, d_out: &[f32], buffers: &mut [&mut [f32]], to: [HeadsGradient; 3]) {
    let Attention { q, k, v, heads, size, causal, spans } = attention;
    let width = heads.checked_mul(size).expect("rows of more numbers than numbers can count");
    let fits = |len: usize, stride: usize, offset: usize, end: usize| {
        let last = end.checked_sub(1).map(|row| row.checked_mul(stride)?.checked_add(offset)?.checked_add(width));
        last.is_none_or(|end| end.is_some_and(|end| end <= len))
    };
    let (mut next, mut next_key) = (0, 0);
    for span in spans {
        let (queries, keys) = (span.queries.len(), span.keys.len());
        assert!(span.queries.start == next && span.queries.end >= next, "queries {:?}", span.queries);
        assert!(keys > 0 && span.keys.start >= next_key, "keys {:?}", span.keys);
        assert!(!causal || queries <= keys.saturating_sub(span.position), "queries at {} of {keys} keys", span.position);
        (next, next_key) = (span.queries.end, span.keys.end);
    }
    let ends = [next, next_key, next_key];
    for ((from, to), end) in [q, k, v].into_iter().zip(to).zip(ends) {
        assert!(fits(from.data.len(), from.stride, from.offset, end), "{end} rows");
        assert!(fits(buffers[to.buffer].len(), to.stride, to.offset, end), "gradients of {end} rows");
        assert!(to.offset.checked_add(width).is_some_and(|end| end <= to.stride), "gradients of rows apart");
    }
    for (i, j) in [(0, 1), (0, 2), (1, 2)] {
        let (a, b) = (to[i], to[j]);
        let apart = a.stride == b.stride && (a.offset + width <= b.offset || b.offset + width <= a.offset);
        assert!(a.buffer != b.buffer || apart, "gradients apart from each other");
    }
    assert!(size > 0 && Some(d_out.len()) == next.checked_mul(width), "{next} rows of {width}");
    let shared: Vec<Shared> = buffers.iter_mut().map(|buffer| Shared::new(buffer)).collect();
    let to = to.map(|to| To { out: shared[to.buffer], stride: to.stride, offset: to.offset });
    let tasks = tasks(cores.threads(), heads, size, spans);
    cores.each(tasks.len(), |i| {
        SCRATCH.with_borrow_mut(|scratch| cores.isa().run(Task { attention, d_out, heads: tasks[i].clone(), scratch, to }));
    });
}

thread_local! {
    /// What tasks keep for the next on their thread.
    static SCRATCH: RefCell<Vec<Line>> = const { RefCell::new(vec![]) };
}

/// Heads, counted through the items, gathered to a few tasks for each thread.
fn tasks(threads: usize, heads: usize, size: usize, spans: &[Span]) -> Vec<Range<usize>> {
    /// Multiplications of a task at least.
    const LEAST: usize = 1 << 20;
    let work = |span: &Span| (span.queries.len() + 4).saturating_mul(span.keys.len()).saturating_mul(5 * size);
    let all = spans.iter().fold(0usize, |all, span| all.saturating_add(work(span).saturating_mul(heads)));
    let wanted = if threads == 1 { usize::MAX } else { (all / (4 * threads)).max(LEAST) };
    let (mut tasks, mut first, mut gathered) = (vec![], 0, 0usize);
    for head in 0..spans.len() * heads {
        gathered = gathered.saturating_add(work(&spans[head / heads]));
        if gathered >= wanted {
            tasks.push(first..head + 1);
            (first, gathered) = (head + 1, 0);
        }
    }
    if first < spans.len() * heads {
        tasks.push(first..spans.len() * heads);
    }
    tasks
}

/// Where a gradient goes.
#[derive(Clone, Copy)]
struct To {
    out: Shared,
    stride: usize,
    offset: usize,
}

struct Task<'a> {
    attention: Attention<'a>,
    d_out: &'a [f32],
    heads: Range<usize>,
    scratch: &'a mut Vec<Line>,
    to: [To; 3],
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { attention, d_out, heads, scratch, to } = self;
        for head in heads {
            let span = &attention.spans[head / attention.heads];
            // SAFETY: the caller's promise; `attention_backward` checked that all rows are there, and no other task has this head.
            unsafe { one::<S>(attention, d_out, span, head % attention.heads, scratch, to) };
        }
    }
}

/// How a head lies in the scratch, in numbers; all begin on a cache line.
struct Plan {
    /// Keys, or values, as columns: panels of registers of rows, for each number of a row.
    columns: usize,
    /// Rows of keys, rows of queries and rows of d_out, copied where a row is not whole registers.
    keys: usize,
    queries: usize,
    /// Numbers of a copied row.
    wide: usize,
    /// Scores of a block, or dP; and from one row of them to the next.
    scores: usize,
    stride: usize,
}

impl Plan {
    fn new(lanes: usize, keys: usize, queries: usize, size: usize) -> Self {
        let lines = |n: usize| n.next_multiple_of(LINE);
        let wide = size.next_multiple_of(lanes);
        let copied = |rows: usize| if wide == size { 0 } else { lines(rows * wide) };
        // An odd number of lines, so that rows do not all begin in the same sets of the cache.
        let stride = (keys.next_multiple_of(2 * lanes).div_ceil(LINE) | 1) * LINE;
        let columns = lines(keys.next_multiple_of(lanes) * size);
        Self { columns, keys: copied(keys), queries: copied(queries), wide, scores: QUERIES * stride, stride }
    }

    fn len(&self) -> usize {
        2 * self.columns + self.keys + 2 * self.queries + 2 * self.scores
    }
}

/// One head of one item.
///
/// # Safety
/// As [`Simd`]; the rows are there, and no other task has those of the results.
#[inline(always)]
unsafe fn one<S: Simd>(attention: Attention<'_>, d_out: &[f32], span: &Span, head: usize, scratch: &mut Vec<Line>, to: [To; 3]) {
    let Attention { q, k, v, heads, size, causal, .. } = attention;
    let (queries, keys) = (span.queries.len(), span.keys.len());
    let plan = Plan::new(S::LANES, keys, queries, size);
    let lines = plan.len() / LINE;
    if scratch.len() < lines {
        scratch.resize(lines, Line::ZERO);
    }
    // SAFETY: the rows are there, and the scratch is as long as it must be.
    unsafe {
        let d_out = Rows { at: d_out.as_ptr().add(span.queries.start * heads * size + head * size), stride: heads * size };
        let (q, k, v) =
            (rows(q, span.queries.start, head * size), rows(k, span.keys.start, head * size), rows(v, span.keys.start, head * size));
        let (dq, dk) = (to[0].rows(span.queries.start, head * size), to[1].rows(span.keys.start, head * size));
        let dv = to[2].rows(span.keys.start, head * size);
        let scale = 1.0 / (size as f64).sqrt();
        let key_columns = scratch.as_mut_ptr().cast::<f32>();
        let value_columns = key_columns.add(plan.columns);
        columns::<S>(k, keys, size, (std::f64::consts::LOG2_E * scale) as f32, key_columns);
        columns::<S>(v, keys, size, 1.0, value_columns);
        let free = value_columns.add(plan.columns);
        let k = whole::<S>(k, keys, size, &plan, free);
        let q = whole::<S>(q, queries, size, &plan, free.add(plan.keys));
        let d_out = whole::<S>(d_out, queries, size, &plan, free.add(plan.keys + plan.queries));
        let scores = Rows { at: free.add(plan.keys + 2 * plan.queries), stride: plan.stride };
        let weights = Rows { at: scores.at.add(plan.scores), ..scores };
        let numbers = size.div_ceil(S::LANES);
        let mut touched = 0;
        let blocks = queries.div_ceil(QUERIES);
        for block in 0..blocks {
            let (first, end) = (queries * block / blocks, queries * (block + 1) / blocks);
            let count = end - first;
            let seen = if causal { span.position + end } else { keys };
            for Tile { row, rows, n, registers } in Tiles::of_panels(count, seen.div_ceil(S::LANES), keys.div_ceil(S::LANES)) {
                let (at, panel) = (n * S::LANES, registers * S::LANES);
                let to = Product { to: scores.from(row).at.cast_mut().add(at), stride: plan.stride, columns: panel, add: false };
                let columns = Rows { at: key_columns.add(at * size), stride: panel };
                sized!(product, rows, registers, (q.from(first + row), columns, size, to));
                let to = Product { to: weights.from(row).at.cast_mut().add(at), ..to };
                let columns = Rows { at: value_columns.add(at * size), stride: panel };
                sized!(product, rows, registers, (d_out.from(first + row), columns, size, to));
            }
            for row in 0..count {
                let sight = if causal { span.position + first + row + 1 } else { keys };
                soften::<S>(scores.from(row).at.cast_mut(), weights.from(row).at.cast_mut(), sight, seen, scale as f32);
            }
            for Tile { row, rows, n, registers } in Tiles::new(count, numbers) {
                let to = Product::new::<S>(dq.from(first + row), n, size, false);
                sized!(product, rows, registers, (weights.from(row), k.right::<S>(n), seen, to));
            }
            // Keys that an earlier block has seen, and those that it has not.
            for (begin, end, add) in [(0, touched, true), (touched, seen, false)] {
                for Tile { row, rows, n, registers } in Tiles::new(end - begin, numbers) {
                    let key = begin + row;
                    let (p, ds) = (Rows { at: scores.at.add(key), ..scores }, Rows { at: weights.at.add(key), ..weights });
                    let to = Product::new::<S>(dv.from(key), n, size, add);
                    sized!(product_of_columns, rows, registers, (p, d_out.from(first).right::<S>(n), count, to));
                    let to = Product::new::<S>(dk.from(key), n, size, add);
                    sized!(product_of_columns, rows, registers, (ds, q.from(first).right::<S>(n), count, to));
                }
            }
            touched = seen;
        }
        for key in touched..keys {
            for of in [dk, dv] {
                std::slice::from_raw_parts_mut(of.from(key).at.cast_mut(), size).fill(0.0);
            }
        }
    }
}

/// The rows of a head from `first` on.
///
/// # Safety
/// They are there.
#[inline(always)]
unsafe fn rows(of: Heads<'_>, first: usize, column: usize) -> Rows {
    // SAFETY: the caller's promise.
    Rows { at: unsafe { of.data.as_ptr().add(first * of.stride + of.offset + column) }, stride: of.stride }
}

impl To {
    /// # Safety
    /// As [`rows`].
    #[inline(always)]
    unsafe fn rows(self, first: usize, column: usize) -> Rows {
        // SAFETY: the caller's promise.
        Rows { at: unsafe { self.out.at(first * self.stride + self.offset + column) }, stride: self.stride }
    }
}

impl Rows {
    /// The rows from register `n` on.
    ///
    /// # Safety
    /// As [`rows`].
    #[inline(always)]
    unsafe fn right<S: Simd>(self, n: usize) -> Self {
        // SAFETY: the caller's promise.
        Self { at: unsafe { self.at.add(n * S::LANES) }, ..self }
    }
}

/// Tiles of rows and registers, panel after panel; rows are shared out evenly.
struct Tiles {
    rows: usize,
    registers: usize,
    /// Registers that panels were made of.
    all: usize,
    tile: usize,
    n: usize,
}

/// So many rows from `row` on, and so many registers from `n` on.
struct Tile {
    row: usize,
    rows: usize,
    n: usize,
    registers: usize,
}

impl Tiles {
    #[inline(always)]
    fn new(rows: usize, registers: usize) -> Self {
        Self::of_panels(rows, registers, registers)
    }

    /// The first of panels of `all` registers, as many as hold `registers`.
    #[inline(always)]
    fn of_panels(rows: usize, registers: usize, all: usize) -> Self {
        Self { rows, registers, all, tile: 0, n: if rows == 0 { registers } else { 0 } }
    }
}

impl Iterator for Tiles {
    type Item = Tile;

    #[inline(always)]
    fn next(&mut self) -> Option<Tile> {
        if self.n >= self.registers {
            return None;
        }
        let (tiles, registers) = (self.rows.div_ceil(ROWS), panel(self.all, self.n));
        let (row, end) = (self.rows * self.tile / tiles, self.rows * (self.tile + 1) / tiles);
        let tile = Tile { row, rows: end - row, n: self.n, registers };
        self.tile += 1;
        if self.tile == tiles {
            (self.tile, self.n) = (0, self.n + registers);
        }
        Some(tile)
    }
}

/// Rows of whole registers: copied, with zeros, where `size` is none.
///
/// # Safety
/// As [`Simd`]; the rows are there, and so is room.
#[inline(always)]
unsafe fn whole<S: Simd>(from: Rows, rows: usize, size: usize, plan: &Plan, to: *mut f32) -> Rows {
    if size == plan.wide {
        return from;
    }
    let to = Rows { at: to, stride: plan.wide };
    // SAFETY: the caller's promise.
    unsafe { copy::<S>(from, rows, size, to) };
    to
}

/// Rows as columns, times `scale`: for each panel of registers of rows, every number of a row. What is not there is zero.
///
/// # Safety
/// As [`Simd`]; the rows are there, and so is room.
#[inline(always)]
unsafe fn columns<S: Simd>(from: Rows, rows: usize, size: usize, scale: f32, to: *mut f32) {
    let registers = rows.div_ceil(S::LANES);
    let mut first = 0;
    while first < registers {
        let count = panel(registers, first);
        for n in 0..count {
            let row = (first + n) * S::LANES;
            let there = S::LANES.min(rows - row);
            for d in (0..size).step_by(S::LANES) {
                let numbers = S::LANES.min(size - d);
                // SAFETY: the caller's promise.
                unsafe {
                    let scale = S::splat(scale);
                    let mut square = [S::splat(0.0); 16];
                    for i in 0..S::LANES {
                        if i < there {
                            let at = from.from(row + i).at.add(d);
                            square[i] = S::mul(if numbers == S::LANES { S::load(at) } else { S::load_first(at, numbers) }, scale);
                        }
                    }
                    S::transpose(&mut square[..S::LANES]);
                    for i in 0..S::LANES {
                        if i < numbers {
                            S::store(to.add((first * size + (d + i) * count + n) * S::LANES), square[i]);
                        }
                    }
                }
            }
        }
        first += count;
    }
}

/// Rows with zeros up to whole registers.
///
/// # Safety
/// As [`columns`].
#[inline(always)]
unsafe fn copy<S: Simd>(from: Rows, rows: usize, size: usize, to: Rows) {
    for row in 0..rows {
        for d in (0..size).step_by(S::LANES) {
            // SAFETY: the caller's promise.
            unsafe {
                let (from, to) = (from.from(row).at.add(d), to.from(row).at.cast_mut().add(d));
                S::store(to, if size - d >= S::LANES { S::load(from) } else { S::load_first(from, size - d) });
            }
        }
    }
}

/// A row of scores becomes weights P, and dP becomes dS; a query sees `seen` of the `all` keys of its block.
///
/// # Safety
/// As [`Simd`]; both have whole registers of numbers.
#[inline(always)]
unsafe fn soften<S: Simd>(scores: *mut f32, weights: *mut f32, seen: usize, all: usize, scale: f32) {
    // SAFETY: the caller's promise.
    unsafe {
        let nothing = S::splat(f32::NEG_INFINITY);
        let [most, ..] = S::maxima([greatest::<S>(scores, seen), nothing, nothing, nothing]);
        let sum = powers::<S>(scores, seen, most);
        // Numbers behind the last are zero from here on.
        for i in seen..all.next_multiple_of(S::LANES) {
            (*scores.add(i), *weights.add(i)) = (0.0, 0.0);
        }
        let registers = seen.div_ceil(S::LANES);
        let mut along = S::splat(0.0);
        for i in 0..registers {
            let at = i * S::LANES;
            along = S::fma(S::load(scores.add(at)), S::load(weights.add(at)), along);
        }
        let [sum, along, ..] = S::sums([sum, along, sum, along]);
        let (inverse, along, scale) = (S::splat(1.0 / sum), S::splat(along / sum), S::splat(scale));
        for i in 0..registers {
            let (p, dp) = (scores.add(i * S::LANES), weights.add(i * S::LANES));
            let weight = S::mul(S::load(p), inverse);
            S::store(p, weight);
            S::store(dp, S::mul(S::mul(weight, scale), S::sub(S::load(dp), along)));
        }
    }
}

/// Where a tile of a product goes: `columns` numbers of each row, or whole registers.
#[derive(Clone, Copy)]
struct Product {
    to: *mut f32,
    stride: usize,
    columns: usize,
    /// Whether it is added to what is there.
    add: bool,
}

impl Product {
    /// To rows of `size` numbers, from register `n` on.
    ///
    /// # Safety
    /// As [`rows`].
    #[inline(always)]
    unsafe fn new<S: Simd>(rows: Rows, n: usize, size: usize, add: bool) -> Self {
        let column = n * S::LANES;
        // SAFETY: the caller's promise.
        Self { to: unsafe { rows.at.cast_mut().add(column) }, stride: rows.stride, columns: size - column, add }
    }

    /// # Safety
    /// As [`tile`]; there is room.
    #[inline(always)]
    unsafe fn begin<S: Simd, const M: usize, const N: usize>(self) -> [[S::V; N]; M] {
        // SAFETY: the caller's promise.
        unsafe {
            let mut sums = [[S::splat(0.0); N]; M];
            if self.add {
                for i in 0..M {
                    for n in 0..N {
                        let (at, rest) = (self.to.add(i * self.stride + n * S::LANES), self.columns - n * S::LANES);
                        sums[i][n] = if rest >= S::LANES { S::load(at) } else { S::load_first(at, rest) };
                    }
                }
            }
            sums
        }
    }

    /// # Safety
    /// As `begin`.
    #[inline(always)]
    unsafe fn end<S: Simd, const M: usize, const N: usize>(self, sums: [[S::V; N]; M]) {
        for i in 0..M {
            for n in 0..N {
                // SAFETY: the caller's promise.
                unsafe {
                    let (at, rest) = (self.to.add(i * self.stride + n * S::LANES), self.columns - n * S::LANES);
                    if rest >= S::LANES { S::store(at, sums[i][n]) } else { S::store_first(at, rest, sums[i][n]) }
                }
            }
        }
    }
}

/// A tile of `a · b`: `a` has `M` rows of `inner` numbers, `b` has `inner` rows of `N` registers.
///
/// # Safety
/// As [`tile`]; there is room for the result.
#[inline(always)]
unsafe fn product<S: Simd, const M: usize, const N: usize>(a: Rows, b: Rows, inner: usize, to: Product) {
    // SAFETY: the caller's promise.
    unsafe { to.end::<S, M, N>(tile::<S, M, N>(a, b, inner, to.begin::<S, M, N>())) }
}

/// A tile of `aᵀ · b`: `a` has `inner` rows of `M` numbers.
///
/// # Safety
/// As [`product`].
#[inline(always)]
unsafe fn product_of_columns<S: Simd, const M: usize, const N: usize>(a: Rows, b: Rows, inner: usize, to: Product) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = to.begin::<S, M, N>();
        for k in 0..inner {
            let (a, b) = (a.from(k).at, b.from(k).at);
            let mut row = [S::splat(0.0); N];
            for n in 0..N {
                row[n] = S::load(b.add(n * S::LANES));
            }
            for i in 0..M {
                let a = S::splat(*a.add(i));
                for n in 0..N {
                    sums[i][n] = S::fma(a, row[n], sums[i][n]);
                }
            }
        }
        to.end::<S, M, N>(sums);
    }
}
