//! bf16 where the machine multiplies words of two (`vdpbf16ps`): rows of x are rounded as the weights are, and one instruction adds
//! two products to each sum, where widened weights take two instructions and two more to widen them.
//!
//! It is no instruction set of its own: packed weights are the same, and products choose when the program runs. The arithmetic is its own:
//! besides the rounding of x, numbers too small to be normal count as zero. Plain Rust with 16 lanes does the same for tests, but for
//! those small numbers.
//!
//! A tile is as large as with f32, 14 rows: 28 sums, two registers of weights and one of x. A round of four words is as long as one of
//! f32, for the reasons that `numbers.rs` gives. On a Zen 4 core products with 197 rows and more reach 84 to 94 % of what registers alone do
//! (`cargo run --release -p hua-kernels --example products 1 bf16`; 76 to 92 % when rows were rounded number by number).
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;
#[cfg(target_arch = "x86_64")]
use std::mem::transmute;

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

/// How an instruction set multiplies words of two bf16, if it does.
pub(crate) trait Dots {
    /// Whether the machine has instructions for it.
    fn exist() -> bool;

    /// Runs a kernel with them.
    ///
    /// # Safety
    /// The machine must have the instructions, and the kernel's own promises be kept.
    unsafe fn run<K: DotKernel>(kernel: K) -> K::Output;
}

/// As [`Kernel`](crate::simd::Kernel), for instruction sets that multiply words of two bf16.
pub(crate) trait DotKernel {
    type Output;

    /// # Safety
    /// As `Kernel::run`.
    unsafe fn run<S: Dot>(self) -> Self::Output;
}

/// The instructions. Words are the bits of what the registers of an instruction set hold, and never looked at as f32.
///
/// # Safety
/// Of every function: as [`Simd`].
pub(crate) trait Dot: Simd {
    /// `sum + x[0] · w[0] + x[1] · w[1]` of each lane.
    unsafe fn dot(sum: Self::V, x: Self::V, w: Self::V) -> Self::V;

    /// In each lane the word of both numbers, rounded.
    unsafe fn word(first: Self::V, second: Self::V) -> Self::V;

    /// Writes the numbers, rounded, eight by eight, of which each begins `stride` after the one before.
    unsafe fn store_rounded(at: *mut u16, stride: usize, v: Self::V);
}

/// Instruction sets that widen weights instead.
pub(crate) struct NoDots;

impl Dots for NoDots {
    #[inline(always)]
    fn exist() -> bool {
        false
    }

    unsafe fn run<K: DotKernel>(_kernel: K) -> K::Output {
        unreachable!("there are no such instructions")
    }
}

impl<S: Dot> Format<S> for Words {
    const ROWS: usize = S::ROWS;
    const CUT: usize = CUT;

    fn row_bytes(_inner: usize, cuts: Cuts) -> usize {
        cuts.count * cuts.len * 2
    }

    /// Rows of x as `[cut][words of the cut / WORDS][row][WORDS]`, zeros at the end.
    #[inline(always)]
    unsafe fn prepare(x: *const f32, inner: usize, rows: usize, cuts: Cuts, to: *mut u8) {
        const NUMBERS: usize = 2 * WORDS;
        let to = to.cast::<u16>();
        for row in 0..rows {
            let x = x.wrapping_add(row * inner);
            for k in (0..cuts.count * cuts.len).step_by(S::LANES) {
                // SAFETY: the caller's promise; a row's numbers end at `inner`.
                unsafe {
                    let x = x.wrapping_add(k);
                    let numbers = if k + S::LANES <= inner { S::load(x) } else { S::load_first(x, inner.saturating_sub(k)) };
                    S::store_rounded(to.add((k / NUMBERS * rows + row) * NUMBERS), rows * NUMBERS, numbers);
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
        // SAFETY: the caller's promise; the last word of an odd row ends with a zero.
        unsafe {
            let (x, panel) = (x.cast::<f32>().add(words * M), panel.cast::<f32>().add(words * width));
            // As with f32: said here, that one line is fetched a round is no branch between them.
            let ahead = Ahead::new(ahead, step, WORDS * width * 4);
            let values = match ahead.lines {
                1 => rounds::<S, M>(x, panel, len, Ahead { lines: 1, ..ahead }),
                _ => rounds::<S, M>(x, panel, len, ahead),
            };
            keep::<S, M>(values, cut == 0, sums);
        }
    }

    #[inline(always)]
    unsafe fn scale(_x: *const u8, _panel: *const u8, _inner: usize, _cuts: Cuts, _rows: usize, _sums: *mut f32) {}
}

/// The sums of `len` words.
///
/// # Safety
/// As [`Format::tile`].
#[inline(always)]
unsafe fn rounds<S: Dot, const M: usize>(mut x: *const f32, mut panel: *const f32, len: usize, mut ahead: Ahead) -> [[S::V; 2]; M] {
    let width = 2 * S::LANES;
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[S::splat(0.0); 2]; M];
        for _ in 0..len / WORDS {
            ahead.fetch::<S>();
            for k in 0..WORDS {
                step::<S, M>(x.add(k), panel.add(k * width), &mut sums);
            }
            (x, panel) = (x.add(M * WORDS), panel.add(WORDS * width));
        }
        for k in 0..len % WORDS {
            step::<S, M>(x.add(k), panel.add(k * width), &mut sums);
        }
        sums
    }
}

/// One word of each row with the words of a panel.
///
/// # Safety
/// As [`Format::tile`].
#[inline(always)]
unsafe fn step<S: Dot, const M: usize>(x: *const f32, panel: *const f32, sums: &mut [[S::V; 2]; M]) {
    // SAFETY: the caller's promise.
    unsafe {
        let w = [S::load(panel), S::load(panel.add(S::LANES))];
        for (row, sums) in sums.iter_mut().enumerate() {
            let x = S::splat(*x.add(row * WORDS));
            *sums = [S::dot(sums[0], x, w[0]), S::dot(sums[1], x, w[1])];
        }
    }
}

#[cfg(target_arch = "x86_64")]
// SAFETY, of every block below: the promise of the trait's caller; a register of words or halves is one of as many bits.
#[allow(clippy::undocumented_unsafe_blocks, reason = "said once, above")]
impl Dot for Avx512 {
    #[inline(always)]
    unsafe fn dot(sum: __m512, x: __m512, w: __m512) -> __m512 {
        unsafe { _mm512_dpbf16_ps(sum, transmute::<__m512, __m512bh>(x), transmute::<__m512, __m512bh>(w)) }
    }

    #[inline(always)]
    unsafe fn word(first: __m512, second: __m512) -> __m512 {
        unsafe {
            // All first numbers, then all second ones.
            let halves = transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(second, first));
            let order = transmute::<[u16; 32], __m512i>(std::array::from_fn(|i| (i / 2 + i % 2 * 16) as u16));
            _mm512_castsi512_ps(_mm512_permutexvar_epi16(order, halves))
        }
    }

    #[inline(always)]
    unsafe fn store_rounded(at: *mut u16, stride: usize, v: __m512) {
        unsafe {
            let halves = transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(v));
            _mm_storeu_si128(at.cast(), _mm256_castsi256_si128(halves));
            _mm_storeu_si128(at.add(stride).cast(), _mm256_extracti128_si256::<1>(halves));
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Dots for Avx512 {
    #[inline(always)]
    fn exist() -> bool {
        // Every machine that multiplies bf16 has instructions for halves of words too, but for those that emulators make up.
        is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512bw")
    }

    #[inline(always)]
    unsafe fn run<K: DotKernel>(kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512bf16")]
        unsafe fn with_features<K: DotKernel>(kernel: K) -> K::Output {
            // SAFETY: the caller's promise, and this function has the features.
            unsafe { kernel.run::<Avx512>() }
        }
        // SAFETY: the caller's promise.
        unsafe { with_features(kernel) }
    }
}

impl<const LANES: usize> Dot for Plain<LANES> {
    #[inline(always)]
    unsafe fn dot(sum: Self::V, x: Self::V, w: Self::V) -> Self::V {
        std::array::from_fn(|i| {
            let (x, w) = (halves(x[i]), halves(w[i]));
            sum[i] + x[0] * w[0] + x[1] * w[1]
        })
    }

    #[inline(always)]
    unsafe fn word(first: Self::V, second: Self::V) -> Self::V {
        std::array::from_fn(|i| f32::from_bits(u32::from(to_bf16(first[i])) | u32::from(to_bf16(second[i])) << 16))
    }

    #[inline(always)]
    unsafe fn store_rounded(at: *mut u16, stride: usize, v: Self::V) {
        for (i, x) in v.into_iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { at.add(i / 8 * stride + i % 8).write(to_bf16(x)) };
        }
    }
}

/// Both numbers of a word.
fn halves(word: f32) -> [f32; 2] {
    [word.to_bits() << 16, word.to_bits() & 0xffff_0000].map(f32::from_bits)
}

/// With 16 lanes, for tests: the other plain Rust widens weights.
impl<const LANES: usize> Dots for Plain<LANES> {
    #[inline(always)]
    fn exist() -> bool {
        LANES > 8
    }

    #[inline(always)]
    unsafe fn run<K: DotKernel>(kernel: K) -> K::Output {
        // SAFETY: the caller's promise.
        unsafe { kernel.run::<Self>() }
    }
}
