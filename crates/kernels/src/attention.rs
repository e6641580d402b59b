//! Multi-head attention of ragged items, without a matrix of scores larger than a block of queries.
//!
//! A task is one head of one item for a block of queries: scores by the tiles of `product.rs`, softmax, then the sum of values.
//! The softmax is divided by its sum last, when the row is only as wide as a head. Sums run over the keys in their order.
use std::cell::RefCell;
use std::ops::Range;

use crate::Cores;
use crate::cores::Shared;
use crate::math::exp;
use crate::product::{Matrix, Target, dots};
use crate::rows::sum;
use crate::simd::{Kernel, Simd};

/// Queries of a task.
const QUERIES: usize = 30;

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
    let mut tasks = vec![];
    let mut next = 0;
    for (item, span) in spans.iter().enumerate() {
        let (queries, keys) = (span.queries.len(), span.keys.len());
        let follows = span.queries.start == next && span.queries.end >= next;
        assert!(follows && rows(q, span.queries.end), "queries {:?}", span.queries);
        assert!(keys > 0 && rows(k, span.keys.end) && rows(v, span.keys.end), "keys {:?}", span.keys);
        assert!(keys.checked_mul(QUERIES).is_some(), "scores of {keys} keys");
        assert!(!causal || queries <= keys.saturating_sub(span.position), "queries at {} of {keys} keys", span.position);
        next = span.queries.end;
        let blocks = (0..queries).step_by(QUERIES).map(move |first| (first, QUERIES.min(queries - first)));
        tasks.extend((0..heads).flat_map(|head| blocks.clone().map(move |(first, count)| Block { item, head, first, count })));
    }
    assert!(size > 0 && Some(out.len()) == next.checked_mul(width), "{next} rows of {width}");
    let shared = Shared::new(out);
    cores.each(tasks.len(), |i| {
        SCRATCH.with_borrow_mut(|scores| cores.isa().run(Task { attention, block: tasks[i], scores, out: shared }));
    });
}

thread_local! {
    /// The scores of a block, kept from task to task.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(vec![]) };
}

#[derive(Clone, Copy)]
struct Block {
    item: usize,
    head: usize,
    /// The first query of the item, and how many.
    first: usize,
    count: usize,
}

struct Task<'a> {
    attention: Attention<'a>,
    block: Block,
    scores: &'a mut Vec<f32>,
    out: Shared,
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { attention: Attention { q, k, v, heads, size, causal, spans }, block, scores, out } = self;
        let span = &spans[block.item];
        let keys = span.keys.len();
        let seen = |i: usize| if causal { span.position + block.first + i + 1 } else { keys };
        let most = seen(block.count - 1);
        scores.resize(scores.len().max(block.count * keys), 0.0);
        let scale = 1.0 / (size as f32).sqrt();
        let mut scales = [0.0; QUERIES];
        // SAFETY: `attention` checked that the rows are there; no other task has these rows of this head.
        unsafe {
            let rows = |of: Heads<'_>, first: usize, rows: usize| Matrix {
                at: of.data.as_ptr().add(first * of.stride + of.offset + block.head * size),
                stride: of.stride,
                rows,
            };
            let target = Target { at: scores.as_mut_ptr(), stride: keys, add: false };
            let queries = rows(q, span.queries.start + block.first, block.count);
            dots::<S>(queries, rows(k, span.keys.start, most), size, target);
            for (i, factor) in scales.iter_mut().enumerate().take(block.count) {
                *factor = 1.0 / exponentials::<S>(&mut scores[i * keys..][..seen(i)], scale);
            }
            let v = rows(v, span.keys.start, keys);
            let out = |i: usize| Target {
                at: out.at((span.queries.start + block.first + i) * heads * size + block.head * size),
                stride: heads * size,
                add: false,
            };
            let mut i = 0;
            while i < block.count {
                let weights = Matrix { at: scores.as_ptr().add(i * keys), stride: keys, rows: seen(i) };
                // Causal rows see different keys, so each has its own sum.
                if !causal && block.count - i >= 6 {
                    mix::<S, 6>(weights, v, &scales[i..], size, out(i));
                    i += 6;
                } else {
                    mix::<S, 1>(weights, v, &scales[i..], size, out(i));
                    i += 1;
                }
            }
        }
    }
}

/// Replaces `x` by `e^((x - its maximum) · scale)` and returns the sum of that.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
unsafe fn exponentials<S: Simd>(x: &mut [f32], scale: f32) -> f32 {
    let at = x.as_mut_ptr();
    let whole = x.len() / S::LANES * S::LANES;
    let mut most = f32::NEG_INFINITY;
    // SAFETY: all addresses are inside `x`, which has no more lanes than are told.
    unsafe {
        let mut lanes = S::splat(most);
        for i in (0..whole).step_by(S::LANES) {
            lanes = S::max(lanes, S::load(at.add(i)));
        }
        let mut stored = [0.0; 16];
        S::store(stored.as_mut_ptr(), lanes);
        for &x in stored[..S::LANES].iter().chain(&x[whole..]) {
            most = most.max(x);
        }
        let (most, scale) = (S::splat(most), S::splat(scale));
        for i in (0..whole).step_by(S::LANES) {
            S::store(at.add(i), exp::<S>(S::mul(S::sub(S::load(at.add(i)), most), scale)));
        }
        if whole < x.len() {
            let rest = x.len() - whole;
            let last = S::load_first(at.add(whole), rest);
            S::store_first(at.add(whole), rest, exp::<S>(S::mul(S::sub(last, most), scale)));
        }
        sum::<S, false>(x)
    }
}

/// `M` rows of `weights · v`, each times its factor. `weights.rows` is how many rows of `v` take part.
///
/// # Safety
/// As [`Simd`]; the addresses are valid.
#[inline(always)]
unsafe fn mix<S: Simd, const M: usize>(weights: Matrix, v: Matrix, factors: &[f32], size: usize, out: Target) {
    let mut d = 0;
    while d < size {
        // SAFETY: the caller's promise.
        unsafe {
            let (v, out) = (Matrix { at: v.at.add(d), ..v }, Target { at: out.at.add(d), ..out });
            if size - d >= 2 * S::LANES {
                mix_lanes::<S, M, 2>(weights, v, factors, S::LANES, out);
                d += 2 * S::LANES;
            } else {
                let lanes = S::LANES.min(size - d);
                mix_lanes::<S, M, 1>(weights, v, factors, lanes, out);
                d += lanes;
            }
        }
    }
}

/// `N` registers of columns of `M` rows; `lanes` of the last are there.
///
/// # Safety
/// As [`mix`].
#[inline(always)]
unsafe fn mix_lanes<S: Simd, const M: usize, const N: usize>(weights: Matrix, v: Matrix, factors: &[f32], lanes: usize, out: Target) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[S::splat(0.0); N]; M];
        for j in 0..weights.rows {
            let row = v.at.add(j * v.stride);
            let values: [S::V; N] =
                std::array::from_fn(|n| if lanes == S::LANES { S::load(row.add(n * S::LANES)) } else { S::load_first(row, lanes) });
            for (i, sums) in sums.iter_mut().enumerate() {
                let weight = S::splat(*weights.at.add(i * weights.stride + j));
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum = S::fma(weight, value, *sum);
                }
            }
        }
        for (i, sums) in sums.into_iter().enumerate() {
            for (n, sum) in sums.into_iter().enumerate() {
                let at = out.at.add(i * out.stride + n * S::LANES);
                let value = S::mul(sum, S::splat(factors[i]));
                if lanes == S::LANES { S::store(at, value) } else { S::store_first(at, lanes, value) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;

    fn numbers(n: usize, seed: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 500.0 - 2.0).collect()
    }

    /// One head of one query, in f64.
    fn plain(q: &[f32], k: &[&[f32]], v: &[&[f32]]) -> Vec<f64> {
        let dot = |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum() };
        let weights: Vec<f64> = k.iter().map(|k| (dot(q, k) / (q.len() as f64).sqrt()).exp()).collect();
        let sum: f64 = weights.iter().sum();
        (0..q.len()).map(|d| weights.iter().zip(v).map(|(w, v)| w / sum * f64::from(v[d])).sum()).collect()
    }

    #[test]
    fn ragged_heads_equal_their_definition() {
        for isa in Isa::available() {
            for (heads, size, lengths) in [(1, 1, vec![1]), (2, 5, vec![3, 1, 40]), (3, 64, vec![70, 9]), (2, 80, vec![31, 7])] {
                let (width, total) = (heads * size, lengths.iter().sum::<usize>());
                let data = numbers(total * width * 3, size);
                let part = |i| Heads { data: &data, stride: 3 * width, offset: i * width };
                let row = |of: usize, i: usize, head: usize| &data[i * 3 * width + of * width + head * size..][..size];
                for causal in [false, true] {
                    let mut start = 0;
                    let spans: Vec<Span> = lengths
                        .iter()
                        .map(|&n| {
                            start += n;
                            Span { queries: start - n..start, keys: start - n..start, position: 0 }
                        })
                        .collect();
                    let of = Attention { q: part(0), k: part(1), v: part(2), heads, size, causal, spans: &spans };
                    for threads in [1, 2] {
                        let mut out = vec![f32::NAN; total * width];
                        attention(&Cores::new(threads, isa).unwrap(), of, &mut out);
                        for span in &spans {
                            for i in span.queries.clone() {
                                for head in 0..heads {
                                    let keys = span.keys.start..if causal { i + 1 } else { span.keys.end };
                                    let k: Vec<_> = keys.clone().map(|j| row(1, j, head)).collect();
                                    let v: Vec<_> = keys.map(|j| row(2, j, head)).collect();
                                    let found = &out[i * width + head * size..][..size];
                                    for (&found, wanted) in found.iter().zip(plain(row(0, i, head), &k, &v)) {
                                        assert!((f64::from(found) - wanted).abs() < 1e-5, "{isa:?} {heads} x {size}, causal {causal}");
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn spans_and_strides_that_lie_are_refused_before_anything_is_read() {
        let cores = Cores::new(2, Isa::best()).unwrap();
        let data = numbers(64, 1);
        let row = |stride, offset| Heads { data: &data, stride, offset };
        let span = |queries: Range<usize>, keys: Range<usize>, position| Span { queries, keys, position };
        let refused = |q, heads, size, causal, spans: &[Span], rows: usize| {
            let run = || {
                let mut out = vec![0.0; rows];
                attention(&cores, Attention { q, k: row(4, 0), v: row(4, 0), heads, size, causal, spans }, &mut out);
            };
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err()
        };
        let one = [span(0..2, 0..2, 0)];
        assert!(!refused(row(4, 0), 2, 2, true, &one, 8));
        // Backwards, so that rows have two tasks or the result is too short for the first.
        #[allow(clippy::reversed_empty_ranges, reason = "that is the point")]
        let back = [span(0..4, 0..2, 0), span(4..2, 0..2, 0)];
        assert!(refused(row(4, 0), 2, 2, false, &back, 8));
        assert!(refused(row(4, 0), 2, 2, false, &[span(1..2, 0..2, 0)], 8));
        // Numbers that overflow to small ones.
        let half = 1 << (usize::BITS - 1);
        assert!(refused(row(half, 0), 2, 2, false, &[span(0..3, 0..2, 0)], 12));
        assert!(refused(row(4, usize::MAX - 3), 2, 2, false, &one, 8));
        assert!(refused(row(4, 0), half, 2, false, &one, 0));
        assert!(refused(row(4, 0), 2, 2, true, &[span(0..1, 0..2, usize::MAX)], 4));
        assert!(refused(row(4, 0), 2, 2, true, &[span(0..2, 0..2, 1)], 8));
        assert!(refused(row(4, 0), 2, 2, false, &[span(0..2, 0..0, 0)], 8));
    }

    #[test]
    fn a_query_alone_gives_what_it_gives_among_others() {
        for isa in Isa::available() {
            let (cores, width, n) = (Cores::new(1, isa).unwrap(), 48, 77);
            let data = numbers(n * width, 3);
            let rows = |first| Heads { data: &data[first * width..], stride: width, offset: 0 };
            for causal in [false, true] {
                let run = |first: usize, count: usize| {
                    let spans = [Span { queries: 0..count, keys: 0..n, position: first }];
                    let mut out = vec![0.0; count * width];
                    let of = Attention { q: rows(first), k: rows(0), v: rows(0), heads: 2, size: 24, causal, spans: &spans };
                    attention(&cores, of, &mut out);
                    out
                };
                let all = run(0, n);
                for (first, count) in [(0, 1), (76, 1), (30, 7)] {
                    assert_eq!(run(first, count), all[first * width..(first + count) * width], "{isa:?} causal {causal} {first}");
                }
            }
        }
    }
}
