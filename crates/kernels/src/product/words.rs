//! bf16 where the machine multiplies words of two (`vdpbf16ps`): rows of x are rounded as the weights are, and one instruction adds
//! two products to each sum, where widened weights take two instructions and two more to widen them.
//!
//! It is no instruction set of its own: packed weights are the same, and products choose when the program runs. The arithmetic is its own:
//! besides the rounding of x, numbers too small to be normal count as zero. Plain Rust with 16 lanes does the same for tests, but for
//! those small numbers.
//!
//! A tile is as large as with f32, 14 rows: 28 sums, two registers of weights and one of x. A round of four words is as long as one of
//! f32, for the reasons that `numbers.rs` gives. A step of training with it takes 0.87 to 0.89 of that in f32 (Zen 4, `bench/peers/notes.md`); it was written
//! with an emulator, for sums of exact numbers, and the tile was never tuned.
use std::hint::black_box;

use super::numbers::{Ahead, keep};
use super::{Cuts, Format};
use crate::packed::to_bf16;
#[cfg(target_arch = "x86_64")]
use crate::simd::Avx512;
use crate::simd::{Plain, Simd};

/// Numbers of a cut at most.
const CUT: usize = 768;

/// Words that are taken at once.
const WORDS: usize = 4;

/// bf16 weights, and inputs rounded to bf16.
pub(super) struct Words;

/// Words of x with words of a panel.
#[derive(Clone, Copy)]
pub(crate) struct Cut {
    /// `[len / WORDS][rows][WORDS]`.
    x: *const f32,
    /// `[len][channels]`.
    panel: *const f32,
    /// In words.
    len: usize,
    /// `[rows][channels]`.
    sums: *mut f32,
    /// Whether the sums are new.
    first: bool,
    ahead: Ahead,
}

/// How an instruction set multiplies words of two bf16, if it does.
pub(crate) trait Dots {
    /// Whether the machine has instructions for it.
    fn exist() -> bool;

    /// `M` rows with a panel.
    ///
    /// # Safety
    /// The machine must have the instructions; all addresses but those ahead are valid, and nothing else uses those of the sums.
    unsafe fn tile<const M: usize>(cut: Cut);

    /// `steps` times what a tile does with twelve registers: how many multiplications and additions that were.
    ///
    /// # Safety
    /// The machine must have the instructions.
    unsafe fn registers(steps: usize) -> usize;
}

/// Instruction sets that widen weights instead.
pub(crate) struct NoDots;

impl Dots for NoDots {
    #[inline(always)]
    fn exist() -> bool {
        false
    }

    unsafe fn tile<const M: usize>(_cut: Cut) {
        unreachable!("there are no such instructions")
    }

    unsafe fn registers(_steps: usize) -> usize {
        unreachable!("there are no such instructions")
    }
}

impl<S: Simd> Format<S> for Words {
    const ROWS: usize = S::ROWS;
    const CUT: usize = CUT;

    fn row_bytes(_inner: usize, cuts: Cuts) -> usize {
        cuts.count * cuts.len * 2
    }

    /// Rows of x as `[cut][words of the cut / WORDS][row][WORDS]`, zeros at the end.
    #[inline(always)]
    unsafe fn prepare(x: *const f32, inner: usize, rows: usize, cuts: Cuts, to: *mut u8) {
        const NUMBERS: usize = 2 * WORDS;
        let mut to = to.cast::<[u16; NUMBERS]>();
        for k in (0..cuts.count * cuts.len).step_by(NUMBERS) {
            for row in 0..rows {
                // SAFETY: the caller's promise; a row's numbers end at `inner`.
                unsafe {
                    let from = x.wrapping_add(row * inner + k);
                    let numbers = if k + NUMBERS <= inner {
                        from.cast::<[f32; NUMBERS]>().read_unaligned()
                    } else {
                        std::array::from_fn(|i| if k + i < inner { from.add(i).read() } else { 0.0 })
                    };
                    to.write(std::array::from_fn(|i| to_bf16(numbers[i])));
                    to = to.add(1);
                }
            }
        }
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
        let len = cuts.len.min(inner - cut * cuts.len).div_ceil(2);
        let words = cut * cuts.len / 2;
        let ahead = Ahead::new(ahead, step, WORDS * width * 4);
        // SAFETY: the caller's promise, and that of whoever chose this format; the last word of an odd row ends with a zero.
        unsafe {
            let (x, panel) = (x.cast::<f32>().add(words * M), panel.cast::<f32>().add(words * width));
            S::Dots::tile::<M>(Cut { x, panel, len, sums, first: cut == 0, ahead });
        }
    }

    #[inline(always)]
    unsafe fn scale(_x: *const u8, _panel: *const u8, _inner: usize, _cuts: Cuts, _rows: usize, _sums: *mut f32) {}
}

/// The instruction. Words are the bits of what the registers of an instruction set hold, and never looked at as f32.
trait Dot: Simd {
    /// `sum + x[0] · w[0] + x[1] · w[1]` of each lane.
    ///
    /// # Safety
    /// As [`Simd`].
    unsafe fn dot(sum: Self::V, x: Self::V, w: Self::V) -> Self::V;
}

/// # Safety
/// As [`Dots::tile`], and the caller must have the features.
#[inline(always)]
unsafe fn tile<S: Dot, const M: usize>(cut: Cut) {
    // SAFETY: the caller's promise.
    unsafe {
        // As with f32: said here, that one line is fetched a round is no branch between them.
        match cut.ahead.lines {
            1 => rounds::<S, M>(Cut { ahead: Ahead { lines: 1, ..cut.ahead }, ..cut }),
            _ => rounds::<S, M>(cut),
        }
    }
}

/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn rounds<S: Dot, const M: usize>(cut: Cut) {
    let Cut { mut x, mut panel, len, sums, first, mut ahead } = cut;
    let width = 2 * S::LANES;
    // SAFETY: the caller's promise.
    unsafe {
        let mut totals = [[S::splat(0.0); 2]; M];
        for _ in 0..len / WORDS {
            ahead.fetch::<S>();
            for k in 0..WORDS {
                step::<S, M>(x.add(k), panel.add(k * width), &mut totals);
            }
            (x, panel) = (x.add(M * WORDS), panel.add(WORDS * width));
        }
        for k in 0..len % WORDS {
            step::<S, M>(x.add(k), panel.add(k * width), &mut totals);
        }
        keep::<S, M>(totals, first, sums);
    }
}

/// One word of each row with the words of a panel.
///
/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn step<S: Dot, const M: usize>(x: *const f32, panel: *const f32, totals: &mut [[S::V; 2]; M]) {
    // SAFETY: the caller's promise.
    unsafe {
        let w = [S::load(panel), S::load(panel.add(S::LANES))];
        for (row, totals) in totals.iter_mut().enumerate() {
            let x = S::splat(*x.add(row * WORDS));
            *totals = [S::dot(totals[0], x, w[0]), S::dot(totals[1], x, w[1])];
        }
    }
}

/// # Safety
/// As [`Dots::registers`], and the caller must have the features.
#[inline(always)]
unsafe fn registers<S: Dot>(steps: usize) -> usize {
    // SAFETY: the caller's promise.
    unsafe {
        let (x, w) = (S::splat(black_box(0.5)), S::splat(black_box(0.25)));
        let mut sums = [x; 12];
        for _ in 0..steps {
            for sum in &mut sums {
                *sum = S::dot(*sum, x, w);
            }
        }
        black_box(sums);
        steps * 12 * S::LANES * 4
    }
}

#[cfg(target_arch = "x86_64")]
impl Dot for Avx512 {
    #[inline(always)]
    unsafe fn dot(sum: Self::V, x: Self::V, w: Self::V) -> Self::V {
        use std::arch::x86_64::*;
        // SAFETY: the caller's promise; a register of words is one of as many bits.
        unsafe { _mm512_dpbf16_ps(sum, std::mem::transmute::<__m512, __m512bh>(x), std::mem::transmute::<__m512, __m512bh>(w)) }
    }
}

#[cfg(target_arch = "x86_64")]
impl Dots for Avx512 {
    #[inline(always)]
    fn exist() -> bool {
        is_x86_feature_detected!("avx512bf16")
    }

    #[inline(always)]
    unsafe fn tile<const M: usize>(cut: Cut) {
        #[target_feature(enable = "avx512f,avx512bf16")]
        unsafe fn with_feature<const M: usize>(cut: Cut) {
            // SAFETY: the caller's promise, and this function has the features.
            unsafe { tile::<Avx512, M>(cut) }
        }
        // SAFETY: the caller's promise.
        unsafe { with_feature::<M>(cut) }
    }

    unsafe fn registers(steps: usize) -> usize {
        #[target_feature(enable = "avx512f,avx512bf16")]
        unsafe fn with_feature(steps: usize) -> usize {
            // SAFETY: the caller's promise, and this function has the features.
            unsafe { registers::<Avx512>(steps) }
        }
        // SAFETY: the caller's promise.
        unsafe { with_feature(steps) }
    }
}

impl<const LANES: usize> Dot for Plain<LANES> {
    #[inline(always)]
    unsafe fn dot(sum: Self::V, x: Self::V, w: Self::V) -> Self::V {
        let halves = |word: f32| {
            let [a, b, c, d] = word.to_ne_bytes();
            [[a, b], [c, d]].map(|half| f32::from_bits(u32::from(u16::from_ne_bytes(half)) << 16))
        };
        std::array::from_fn(|i| {
            let (x, w) = (halves(x[i]), halves(w[i]));
            sum[i] + x[0] * w[0] + x[1] * w[1]
        })
    }
}

/// With 16 lanes, for tests: the other plain Rust widens weights.
impl<const LANES: usize> Dots for Plain<LANES> {
    #[inline(always)]
    fn exist() -> bool {
        LANES > 8
    }

    #[inline(always)]
    unsafe fn tile<const M: usize>(cut: Cut) {
        // SAFETY: the caller's promise.
        unsafe { tile::<Self, M>(cut) }
    }

    unsafe fn registers(steps: usize) -> usize {
        // SAFETY: as above.
        unsafe { registers::<Self>(steps) }
    }
}
