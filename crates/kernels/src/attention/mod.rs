//! Multi-head attention of ragged items, in one pass over the keys of each head.
//!
//! A task packs the keys of a head into panels of two registers of keys for each number of it, times log2 e / √size, and copies the
//! values into panels of columns where many queries read them. Then, for two tiles of queries at a time: scores, weights (two to
//! the power of each score less the greatest), and the sum of values, divided by the sum of the weights last. Long items are cut
//! into blocks of keys of about equal length, with the greatest score and both sums carried from block to block (Milakov and
//! Gimelshein, "Online normalizer calculation for softmax", 2018; Dao et al., "FlashAttention", 2022), so that scores never leave
//! L1. Each score and each sum is one chain of fused multiply-adds in the order of numbers or keys; where blocks are cut depends on
//! the item alone. So a query has the same result to the bit whatever is computed beside it.
//!
//! Tried on a Zen 3 core, in % of its peak for the arithmetic that is needed, at 197 tokens of 12 heads of 64 · 50 of 12 · 257 of
//! 16 · 577 of 16: dot products of whole registers, as the products of unpacked weights have, 47 · 41 · 37 · 39; tiles of 6 rows by 2
//! registers on packed keys, blocks of 24 queries 64 · 41 · 68 · 70; of 12 queries 66 · 42 · - · 69; the last odd register alone, instead
//! of 4 rows by 3, 69 · 48 · 68 · 71; the exponential's polynomial in pairs, keys fetched a panel ahead, and values while the keys
//! are packed, 70 · 46 · 73 · 74; no divisions, and nothing counted twice, for each tile 73 · 56 · 74 · 76. Tiles of 4 rows by 3 registers
//! throughout, and loops of four steps, need more registers than there are: 45 and 43 at 197.
//! Fetching the next head's rows while one is computed changes nothing. Texts of 12 tokens: 29 before, 33 now; packing and tiles that
//! are half empty are what is left there.
mod backward;
mod head;
#[cfg(test)]
mod tests;
mod tile;

use std::cell::RefCell;
use std::ops::Range;

use crate::Cores;
use crate::cores::Shared;
pub use backward::{HeadsGradient, attention_backward};
use head::{Scratch, Task};

/// Queries of a task that is less than a head, at least.
const QUERIES: usize = 48;

/// Rows whose heads lie side by side, among other things: row `i` starts at `i · stride + offset`.
#[derive(Clone, Copy, Debug)]
pub struct Heads<'a> {
    /// All rows.
    pub data: &'a [f32],
    /// Numbers from one row to the next.
    pub stride: usize,
    /// Where the first head begins in a row.
    pub offset: usize,
}

/// The rows of one item.
#[derive(Clone, Debug)]
pub struct Span {
    /// Rows of the queries, which are the rows of the result.
    pub queries: Range<usize>,
    /// Rows of the keys and values.
    pub keys: Range<usize>,
    /// The position of the first query among the keys: only a causal attention asks.
    pub position: usize,
}

/// An attention of queries, keys and values.
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a> {
    /// Queries.
    pub q: Heads<'a>,
    /// Keys.
    pub k: Heads<'a>,
    /// Values.
    pub v: Heads<'a>,
    /// Number of heads.
    pub heads: usize,
    /// Numbers of a head.
    pub size: usize,
    /// Whether a query sees only the keys up to its own position.
    pub causal: bool,
    /// The items.
    pub spans: &'a [Span],
}

/// `out = softmax(q kᵀ / √size) v`, per item and head. `out` is `[queries, heads · size]`.
///
/// # Panics
/// If a row is not there, if the spans' queries do not follow one another, or a query sees no key or one that its item lacks.
pub fn attention(cores: &Cores, attention: Attention<'_>, out: &mut [f32]) {
    let Attention { q, k, v, heads, size, causal, spans } = attention;
    // Checked, since whoever calls chooses strides and spans freely, and what follows trusts them.
    let width = heads.checked_mul(size).expect("rows of more numbers than numbers can count");
    let end_of = |of: Heads<'_>, row: usize| row.checked_mul(of.stride)?.checked_add(of.offset)?.checked_add(width);
    let rows = |of: Heads<'_>, end: usize| end == 0 || end_of(of, end - 1).is_some_and(|end| end <= of.data.len());
    let mut next = 0;
    for span in spans {
        let (queries, keys) = (span.queries.len(), span.keys.len());
        let follows = span.queries.start == next && span.queries.end >= next;
        assert!(follows && rows(q, span.queries.end), "queries {:?}", span.queries);
        assert!(keys > 0 && rows(k, span.keys.end) && rows(v, span.keys.end), "keys {:?}", span.keys);
        assert!(!causal || queries <= keys.saturating_sub(span.position), "queries at {} of {keys} keys", span.position);
        next = span.queries.end;
    }
    assert!(size > 0 && Some(out.len()) == next.checked_mul(width), "{next} rows of {width}");
    // Taken out, since this thread may begin another attention while it waits for the tasks of this one.
    let mut tasks = TASKS.take();
    set_tasks(&mut tasks, cores.threads(), heads, size, spans);
    let shared = Shared::new(out);
    cores.each(tasks.len(), |i| {
        let (heads, queries) = tasks[i].clone();
        SCRATCH.with_borrow_mut(|scratch| cores.isa().run(Task { attention, heads, queries, scratch, out: shared }));
    });
    TASKS.set(tasks);
}

/// Cuts the work into tasks, some for each thread and none of a few microseconds: heads, counted through the items, and queries of
/// each. Many heads are a task where items are short, and some queries of one where there are few heads.
fn set_tasks(tasks: &mut Vec<(Range<usize>, Range<usize>)>, threads: usize, heads: usize, size: usize, spans: &[Span]) {
    /// Multiplications of a task at least.
    const LEAST: usize = 1 << 20;
    // Packing the keys and values of a head is about as much work as ten queries.
    let work = |span: &Span, queries: usize| (queries + 10).saturating_mul(span.keys.len()).saturating_mul(2 * size);
    let all = spans.iter().fold(0usize, |all, span| all.saturating_add(work(span, span.queries.len()).saturating_mul(heads)));
    let wanted = if threads == 1 { usize::MAX } else { (all / (4 * threads)).max(LEAST) };
    tasks.clear();
    let (mut first, mut gathered) = (0, 0usize);
    for (item, span) in spans.iter().enumerate() {
        let one = work(span, span.queries.len());
        for head in item * heads..(item + 1) * heads {
            // A head of more than a task is cut, but not so that it is packed for next to nothing.
            let pieces = (one / wanted).min(span.queries.len() / QUERIES).max(1);
            if gathered > 0 && (pieces > 1 || gathered.saturating_add(one) > wanted) {
                tasks.push((first..head, 0..usize::MAX));
                (first, gathered) = (head, 0);
            }
            if pieces > 1 {
                let cut = |i: usize| span.queries.len() * i / pieces;
                tasks.extend((0..pieces).map(|i| (head..head + 1, cut(i)..cut(i + 1))));
                first = head + 1;
            } else {
                gathered = gathered.saturating_add(one);
            }
        }
    }
    if gathered > 0 {
        tasks.push((first..spans.len() * heads, 0..usize::MAX));
    }
}

thread_local! {
    /// What tasks keep for the next on their thread.
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(vec![]) };
    /// The list of tasks of the last attention that began on this thread.
    static TASKS: RefCell<Vec<(Range<usize>, Range<usize>)>> = const { RefCell::new(vec![]) };
}
