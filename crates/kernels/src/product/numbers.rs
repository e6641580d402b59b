//! The tiles of f32 and bf16. Rows of x are copied so that a tile reads them as one run of memory; bf16 weights are widened in
//! registers, two steps of a word at a time.
//!
//! What was tried with f32 on a Zen 3 core, in % of 112 GFLOP/s (1536 x 768 x 768 in L2; and 12 x 3072 x 768 from memory, which
//! alone reads at what would be 117 %):
//!
//! | tile of 6 x 16 | in cache | from memory |
//! | --- | --- | --- |
//! | rows of x copied as they are, one step a round, a fetch in each | 97 · | 86 |
//! | the same without fetches | 98 | 61 |
//! | x step by step | 98 | 86 |
//! | x in blocks of 8 steps, 8 a round, fetches between | 98, or 43 where the loop falls badly | 90 |
//! | x in blocks of 4 steps, 4 a round, fetches before them | 98 | 95 |
//!
//! A round of 8 steps is so long (1 KB) that how it lies in memory decides. Cuts of 384 gain 1 to 2 % over 256 and lose nothing to
//! 768. Fetching into L2 rather than L1, or further ahead than the next cut, changes nothing.
use super::{Cuts, Format};
use crate::simd::Simd;

/// Numbers of a cut: with it a panel takes 24 KB of f32.
const CUT: usize = 384;

/// Steps of the inner dimension that are taken at once.
const STEPS: usize = 4;

/// f32 weights.
pub(super) struct F32;

/// bf16 weights, f32 inputs.
pub(super) struct Bf16;

/// Rows of x as `[cut][steps of the cut / STEPS][row][STEPS]`, zeros at the end.
///
/// # Safety
/// As [`Format::prepare`].
#[inline(always)]
unsafe fn copy(x: *const f32, inner: usize, rows: usize, cuts: Cuts, to: *mut u8) {
    let mut to = to.cast::<[f32; STEPS]>();
    let mut k = 0;
    while k < cuts.count * cuts.len {
        for row in 0..rows {
            // SAFETY: the caller's promise; a row's numbers end at `inner`.
            unsafe {
                let from = x.add(row * inner + k);
                to.write(if k + STEPS <= inner {
                    from.cast::<[f32; STEPS]>().read_unaligned()
                } else {
                    std::array::from_fn(|i| if k + i < inner { from.add(i).read() } else { 0.0 })
                });
                to = to.add(1);
            }
        }
        k += STEPS;
    }
}

/// Asks for as many lines of what is `ahead` as are due while `bytes` of a panel are read, and returns what comes then.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
unsafe fn fetch<S: Simd>(ahead: *const u8, bytes: usize, step: usize) -> *const u8 {
    let lines = (bytes / 64 * step).div_ceil(64);
    for line in 0..lines {
        // SAFETY: an address to fetch from need not be valid.
        unsafe { S::prefetch(ahead.wrapping_add(64 * line).cast()) };
    }
    ahead.wrapping_add(64 * lines)
}

/// One step of the inner dimension: a number of each row with the weights of a panel.
///
/// # Safety
/// As [`Format::tile`].
#[inline(always)]
unsafe fn multiply<S: Simd, const M: usize>(x: *const f32, w: [S::V; 2], sums: &mut [[S::V; 2]; M]) {
    for (row, sums) in sums.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        unsafe {
            let x = S::splat(*x.add(row * STEPS));
            *sums = [S::fma(x, w[0], sums[0]), S::fma(x, w[1], sums[1])];
        }
    }
}

/// Writes the sums, or adds them to what is there.
///
/// # Safety
/// As [`Format::tile`].
#[inline(always)]
unsafe fn keep<S: Simd, const M: usize>(values: [[S::V; 2]; M], first: bool, sums: *mut f32) {
    for (i, row) in values.into_iter().enumerate() {
        for (j, v) in row.into_iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe {
                let at = sums.add((2 * i + j) * S::LANES);
                S::store(at, if first { v } else { S::add(S::load(at), v) });
            }
        }
    }
}

impl<S: Simd> Format<S> for F32 {
    const ROWS: usize = S::ROWS;
    const CUT: usize = CUT;

    fn row_bytes(_inner: usize, cuts: Cuts) -> usize {
        cuts.count * cuts.len * 4
    }

    #[inline(always)]
    unsafe fn prepare(x: *const f32, inner: usize, rows: usize, cuts: Cuts, to: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe { copy(x, inner, rows, cuts, to) }
    }

    #[inline(always)]
    unsafe fn tile<const M: usize>(
        x: *const u8,
        panel: *const u8,
        inner: usize,
        cuts: Cuts,
        cut: usize,
        sums: *mut f32,
        ahead: *const u8,
        step: usize,
    ) {
        let width = 2 * S::LANES;
        let len = cuts.len.min(inner - cut * cuts.len);
        // SAFETY: the caller's promise.
        unsafe {
            let load = |at: *const f32| [S::load(at), S::load(at.add(S::LANES))];
            let (mut x, mut w) = (x.cast::<f32>().add(cut * M * cuts.len), panel.cast::<f32>().add(cut * cuts.len * width));
            let mut ahead = ahead;
            let mut values = [[S::splat(0.0); 2]; M];
            for _ in 0..len / STEPS {
                ahead = fetch::<S>(ahead, STEPS * width * 4, step);
                for k in 0..STEPS {
                    multiply::<S, M>(x.add(k), load(w.add(k * width)), &mut values);
                }
                (x, w) = (x.add(M * STEPS), w.add(STEPS * width));
            }
            for k in 0..len % STEPS {
                multiply::<S, M>(x.add(k), load(w.add(k * width)), &mut values);
            }
            keep::<S, M>(values, cut == 0, sums);
        }
    }

    #[inline(always)]
    unsafe fn scale(_x: *const u8, _panel: *const u8, _inner: usize, _cuts: Cuts, _rows: usize, _sums: *mut f32) {}
}

impl<S: Simd> Format<S> for Bf16 {
    const ROWS: usize = S::ROWS;
    const CUT: usize = CUT;

    fn row_bytes(_inner: usize, cuts: Cuts) -> usize {
        cuts.count * cuts.len * 4
    }

    #[inline(always)]
    unsafe fn prepare(x: *const f32, inner: usize, rows: usize, cuts: Cuts, to: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe { copy(x, inner, rows, cuts, to) }
    }

    #[inline(always)]
    unsafe fn tile<const M: usize>(
        x: *const u8,
        panel: *const u8,
        inner: usize,
        cuts: Cuts,
        cut: usize,
        sums: *mut f32,
        ahead: *const u8,
        step: usize,
    ) {
        let width = 2 * S::LANES;
        let len = cuts.len.min(inner - cut * cuts.len);
        // SAFETY: the caller's promise; x has zeros where the last word of an odd channel has its second number.
        unsafe {
            let (mut x, mut w) = (x.cast::<f32>().add(cut * M * cuts.len), panel.cast::<u16>().add(cut * cuts.len * width));
            let mut ahead = ahead;
            let mut values = [[S::splat(0.0); 2]; M];
            for _ in 0..len / STEPS {
                ahead = fetch::<S>(ahead, STEPS * width * 2, step);
                for k in (0..STEPS).step_by(2) {
                    two_steps::<S, M>(x.add(k), w.add(k * width), &mut values);
                }
                (x, w) = (x.add(M * STEPS), w.add(STEPS * width));
            }
            for k in (0..len % STEPS).step_by(2) {
                two_steps::<S, M>(x.add(k), w.add(k * width), &mut values);
            }
            keep::<S, M>(values, cut == 0, sums);
        }
    }

    #[inline(always)]
    unsafe fn scale(_x: *const u8, _panel: *const u8, _inner: usize, _cuts: Cuts, _rows: usize, _sums: *mut f32) {}
}

/// Two steps of bf16 weights, the words of a panel.
///
/// # Safety
/// As [`Format::tile`].
#[inline(always)]
unsafe fn two_steps<S: Simd, const M: usize>(x: *const f32, w: *const u16, sums: &mut [[S::V; 2]; M]) {
    // SAFETY: the caller's promise.
    unsafe {
        let right = w.add(2 * S::LANES);
        multiply::<S, M>(x, [S::load_firsts(w), S::load_firsts(right)], sums);
        multiply::<S, M>(x.add(1), [S::load_seconds(w), S::load_seconds(right)], sums);
    }
}
