//! Sums of products of rows of bytes with queries of 16 bits, in i32, exactly.
//!
//! Bytes are widened to 16 bits, and pairs of products summed in 32 (`vpmaddwd`, `vmlal`): no step can overflow (`scan.rs`). With bytes on both
//! sides (`vpmaddubsw`) there would be half as many instructions, but a core waits for memory long before that matters.
#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use super::ROWS;

/// How an instruction set multiplies rows with queries.
pub(crate) trait Dots {
    /// `[query][row]`: the sums of the products of `len` bytes of each row with as many words of each query.
    ///
    /// # Safety
    /// The machine must have the instruction set, and the caller its features. All addresses are valid for `len`, a multiple of 32.
    unsafe fn sums<const Q: usize>(rows: [*const i8; ROWS], queries: [*const i16; Q], len: usize) -> [[i32; ROWS]; Q];
}

/// The instructions of it.
///
/// # Safety
/// Of every function: the machine must have the instruction set, and the caller its features. Addresses must be valid.
trait Lanes {
    /// A register of words of 16 bits.
    type Words: Copy;
    /// A register of sums.
    type Sums: Copy;
    /// Words of a register: 32 are whole registers.
    const WORDS: usize;

    unsafe fn zero() -> Self::Sums;
    unsafe fn words(at: *const i16) -> Self::Words;
    /// Bytes, as words.
    unsafe fn bytes(at: *const i8) -> Self::Words;
    /// The products of words, added to sums in any order.
    unsafe fn add_products(sums: Self::Sums, a: Self::Words, b: Self::Words) -> Self::Sums;
    /// The sum of each.
    unsafe fn totals(sums: [Self::Sums; ROWS]) -> [i32; ROWS];
}

/// # Safety
/// As [`Dots::sums`], for `L`.
#[inline(always)]
unsafe fn sums<L: Lanes, const Q: usize>(rows: [*const i8; ROWS], queries: [*const i16; Q], len: usize) -> [[i32; ROWS]; Q] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[L::zero(); ROWS]; Q];
        for at in (0..len).step_by(L::WORDS) {
            let rows: [L::Words; ROWS] =
                [L::bytes(rows[0].add(at)), L::bytes(rows[1].add(at)), L::bytes(rows[2].add(at)), L::bytes(rows[3].add(at))];
            for (sums, query) in sums.iter_mut().zip(&queries) {
                let query = L::words(query.add(at));
                for (sum, row) in sums.iter_mut().zip(rows) {
                    *sum = L::add_products(*sum, row, query);
                }
            }
        }
        let mut totals = [[0; ROWS]; Q];
        for (totals, sums) in totals.iter_mut().zip(sums) {
            *totals = L::totals(sums);
        }
        totals
    }
}

/// Plain Rust: the law for the others.
pub(crate) struct Plain;

impl Lanes for Plain {
    type Words = [i16; 16];
    type Sums = [i32; 8];
    const WORDS: usize = 16;

    #[inline(always)]
    unsafe fn zero() -> [i32; 8] {
        [0; 8]
    }
    #[inline(always)]
    unsafe fn words(at: *const i16) -> [i16; 16] {
        // SAFETY: the caller's promise.
        unsafe { at.cast::<[i16; 16]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn bytes(at: *const i8) -> [i16; 16] {
        // SAFETY: the caller's promise.
        unsafe { at.cast::<[i8; 16]>().read() }.map(i16::from)
    }
    #[inline(always)]
    unsafe fn add_products(mut sums: [i32; 8], a: [i16; 16], b: [i16; 16]) -> [i32; 8] {
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum += i32::from(a[2 * i]) * i32::from(b[2 * i]) + i32::from(a[2 * i + 1]) * i32::from(b[2 * i + 1]);
        }
        sums
    }
    #[inline(always)]
    unsafe fn totals(sums: [[i32; 8]; ROWS]) -> [i32; ROWS] {
        sums.map(|sums| sums.iter().sum())
    }
}

impl Dots for Plain {
    #[inline(always)]
    unsafe fn sums<const Q: usize>(rows: [*const i8; ROWS], queries: [*const i16; Q], len: usize) -> [[i32; ROWS]; Q] {
        // SAFETY: the caller's promise.
        unsafe { sums::<Self, Q>(rows, queries, len) }
    }
}

/// AVX2: 16 products an instruction.
#[cfg(target_arch = "x86_64")]
pub(crate) struct Avx2;

// SAFETY, of every block below: the promise of the trait's caller.
#[cfg(target_arch = "x86_64")]
#[allow(clippy::undocumented_unsafe_blocks, reason = "said once, above")]
impl Lanes for Avx2 {
    type Words = __m256i;
    type Sums = __m256i;
    const WORDS: usize = 16;

    #[inline(always)]
    unsafe fn zero() -> __m256i {
        unsafe { _mm256_setzero_si256() }
    }
    #[inline(always)]
    unsafe fn words(at: *const i16) -> __m256i {
        unsafe { _mm256_loadu_si256(at.cast()) }
    }
    #[inline(always)]
    unsafe fn bytes(at: *const i8) -> __m256i {
        unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(at.cast())) }
    }
    #[inline(always)]
    unsafe fn add_products(sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_add_epi32(sums, _mm256_madd_epi16(a, b)) }
    }
    #[inline(always)]
    unsafe fn totals([a, b, c, d]: [__m256i; ROWS]) -> [i32; ROWS] {
        unsafe {
            let halves = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
            let totals = _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves));
            std::mem::transmute(totals)
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Dots for Avx2 {
    #[inline(always)]
    unsafe fn sums<const Q: usize>(rows: [*const i8; ROWS], queries: [*const i16; Q], len: usize) -> [[i32; ROWS]; Q] {
        // SAFETY: the caller's promise.
        unsafe { sums::<Self, Q>(rows, queries, len) }
    }
}

/// NEON: 4 products an instruction.
#[cfg(target_arch = "aarch64")]
pub(crate) struct Neon;

// SAFETY, of every block below: the promise of the trait's caller.
#[cfg(target_arch = "aarch64")]
#[allow(clippy::undocumented_unsafe_blocks, reason = "said once, above")]
impl Lanes for Neon {
    type Words = int16x8_t;
    type Sums = int32x4_t;
    const WORDS: usize = 8;

    #[inline(always)]
    unsafe fn zero() -> int32x4_t {
        unsafe { vdupq_n_s32(0) }
    }
    #[inline(always)]
    unsafe fn words(at: *const i16) -> int16x8_t {
        unsafe { vld1q_s16(at) }
    }
    #[inline(always)]
    unsafe fn bytes(at: *const i8) -> int16x8_t {
        unsafe { vmovl_s8(vld1_s8(at)) }
    }
    #[inline(always)]
    unsafe fn add_products(sums: int32x4_t, a: int16x8_t, b: int16x8_t) -> int32x4_t {
        unsafe { vmlal_high_s16(vmlal_s16(sums, vget_low_s16(a), vget_low_s16(b)), a, b) }
    }
    #[inline(always)]
    unsafe fn totals([a, b, c, d]: [int32x4_t; ROWS]) -> [i32; ROWS] {
        let mut totals = [0; ROWS];
        unsafe { vst1q_s32(totals.as_mut_ptr(), vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d))) };
        totals
    }
}

#[cfg(target_arch = "aarch64")]
impl Dots for Neon {
    #[inline(always)]
    unsafe fn sums<const Q: usize>(rows: [*const i8; ROWS], queries: [*const i16; Q], len: usize) -> [[i32; ROWS]; Q] {
        // SAFETY: the caller's promise.
        unsafe { sums::<Self, Q>(rows, queries, len) }
    }
}
