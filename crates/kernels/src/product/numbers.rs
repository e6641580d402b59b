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
//! A round of 8 steps is so long (1 KB) that how it lies in memory decides. Cuts of 768 rather than 384 or 256 gain 1 to 3 %, although
//! a panel is then larger than L1: it streams from L2, and half as many tiles begin and end. Fetching into L2 rather than L1, or
//! further ahead than the next cut, changes nothing. In whole products, with bias and result: 93 to 94 % at 197 rows and more, 89 to
//! 91 % (17 GB/s) with 12 rows from memory, where reading alone reaches 22 GB/s; bf16 94 % and 93 to 94 %.
//!
//! bf16: whatever second halves want beside two registers of weights makes the compiler spill sums: the words kept for them, 63 %; the words read
//! again and a mask, 43 to 94 %, as it falls; the mask read from memory too, 86 %. Words read from their second half on, so that a shift does, 93 %.
use super::{Cuts, Format};
use crate::simd::Simd;

/// Numbers of a cut at most.
const CUT: usize = 768;

/// Steps of the inner dimension that are taken at once.
const STEPS: usize = 4;

/// f32 weights.
pub(super) struct F32;

/// bf16 weights, f32 inputs: where the machine does not multiply bf16 (`words.rs`).
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

/// What is asked for ahead: from where on, and in each round how many lines, and how many bytes further the next ones are. Where
/// tiles are many, a round moves on by less than a line, and asks for it again: that costs nothing.
#[derive(Clone, Copy)]
pub(super) struct Ahead {
    pub(super) at: *const u8,
    pub(super) lines: usize,
    pub(super) bytes: usize,
}

impl Ahead {
    /// `step` bytes for each line of the panel, of which a round reads `bytes`.
    pub(super) fn new(at: *const u8, step: usize, bytes: usize) -> Self {
        let bytes = bytes / 64 * step;
        Self { at, lines: bytes.div_ceil(64), bytes }
    }

    /// # Safety
    /// As [`Simd`].
    #[inline(always)]
    pub(super) unsafe fn fetch<S: Simd>(&mut self) {
        for line in 0..self.lines {
            // SAFETY: an address to fetch from need not be valid.
            unsafe { S::prefetch(self.at.wrapping_add(64 * line).cast()) };
        }
        self.at = self.at.wrapping_add(self.bytes);
    }
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
pub(super) unsafe fn keep<S: Simd, const M: usize>(values: [[S::V; 2]; M], first: bool, sums: *mut f32) {
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
            let (x, w) = (x.cast::<f32>().add(cut * M * cuts.len), panel.cast::<f32>().add(cut * cuts.len * width));
            // One line a round where there are many tiles: said here, it is no branch between the rounds, and the end is foreseen.
            let ahead = Ahead::new(ahead, step, STEPS * width * 4);
            let values = match ahead.lines {
                1 => f32_rounds::<S, M>(x, w, len, Ahead { lines: 1, ..ahead }),
                _ => f32_rounds::<S, M>(x, w, len, ahead),
            };
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
            let (x, w) = (x.cast::<f32>().add(cut * M * cuts.len), panel.cast::<u16>().add(cut * cuts.len * width));
            let ahead = Ahead::new(ahead, step, STEPS * width * 2);
            let values = match ahead.lines {
                1 => bf16_rounds::<S, M>(x, w, len, Ahead { lines: 1, ..ahead }),
                _ => bf16_rounds::<S, M>(x, w, len, ahead),
            };
            keep::<S, M>(values, cut == 0, sums);
        }
    }

    #[inline(always)]
    unsafe fn scale(_x: *const u8, _panel: *const u8, _inner: usize, _cuts: Cuts, _rows: usize, _sums: *mut f32) {}
}

/// The sums of `len` steps.
///
/// # Safety
/// As [`Format::tile`].
#[inline(always)]
unsafe fn f32_rounds<S: Simd, const M: usize>(mut x: *const f32, mut w: *const f32, len: usize, mut ahead: Ahead) -> [[S::V; 2]; M] {
    let width = 2 * S::LANES;
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[S::splat(0.0); 2]; M];
        for _ in 0..len / STEPS {
            ahead.fetch::<S>();
            for k in 0..STEPS {
                step::<S, M>(x.add(k), w.add(k * width), &mut sums);
            }
            (x, w) = (x.add(M * STEPS), w.add(STEPS * width));
        }
        for k in 0..len % STEPS {
            step::<S, M>(x.add(k), w.add(k * width), &mut sums);
        }
        sums
    }
}

/// The same of bf16 weights.
///
/// # Safety
/// As [`Format::tile`].
#[inline(always)]
unsafe fn bf16_rounds<S: Simd, const M: usize>(mut x: *const f32, mut w: *const u16, len: usize, mut ahead: Ahead) -> [[S::V; 2]; M] {
    let width = 2 * S::LANES;
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[S::splat(0.0); 2]; M];
        for _ in 0..len / STEPS {
            ahead.fetch::<S>();
            for k in (0..STEPS).step_by(2) {
                two_steps::<S, M>(x.add(k), w.add(k * width), &mut sums);
            }
            (x, w) = (x.add(M * STEPS), w.add(STEPS * width));
        }
        for k in (0..len % STEPS).step_by(2) {
            two_steps::<S, M>(x.add(k), w.add(k * width), &mut sums);
        }
        sums
    }
}

/// One step of f32 weights.
///
/// # Safety
/// As [`Format::tile`].
#[inline(always)]
unsafe fn step<S: Simd, const M: usize>(x: *const f32, w: *const f32, sums: &mut [[S::V; 2]; M]) {
    // SAFETY: the caller's promise.
    unsafe { multiply::<S, M>(x, [S::load(w), S::load(w.add(S::LANES))], sums) };
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
