//! AVX2 with FMA: 16 registers of 8 numbers.
use std::arch::x86_64::*;

use super::Simd;

/// 8 lanes, with fused multiply-add.
#[derive(Clone, Copy)]
pub(crate) struct Avx2;

/// Bit `i` of lane `i` set below `n`.
#[inline(always)]
unsafe fn mask8(n: usize) -> __m256i {
    const MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    // SAFETY: `n <= 8`, so that eight numbers are read of the sixteen.
    unsafe { _mm256_loadu_si256(MASKS.as_ptr().add(8 - n).cast()) }
}

// SAFETY, of every block below: the promise of the trait's caller.
#[allow(clippy::undocumented_unsafe_blocks, reason = "said once, above")]
impl Simd for Avx2 {
    type V = __m256;
    const LANES: usize = 8;
    const ROWS: usize = 6;
    type Bytes = crate::int8::Avx2;
    type Dots = crate::product::NoDots;
    type Rows = crate::scan::Avx2;

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m256 {
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(at: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(at) }
    }
    #[inline(always)]
    unsafe fn load_first(at: *const f32, n: usize) -> __m256 {
        unsafe { _mm256_maskload_ps(at, mask8(n)) }
    }
    #[inline(always)]
    unsafe fn load_firsts(at: *const u16) -> __m256 {
        unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_loadu_si256(at.cast()))) }
    }
    #[inline(always)]
    unsafe fn load_seconds(at: *const u16) -> __m256 {
        // From the second number on, so that a shift clears what is beside it: a mask would want a register, and a tile has none left.
        unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_loadu_si256(at.add(1).cast()))) }
    }
    #[inline(always)]
    unsafe fn store(at: *mut f32, v: __m256) {
        unsafe { _mm256_storeu_ps(at, v) }
    }
    #[inline(always)]
    unsafe fn store_first(at: *mut f32, n: usize, v: __m256) {
        unsafe { _mm256_maskstore_ps(at, mask8(n), v) }
    }
    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn div(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_div_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn max(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_min_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn exponent(v: __m256) -> __m256 {
        unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(v))) }
    }
    #[inline(always)]
    unsafe fn sums([a, b, c, d]: [__m256; 4]) -> [f32; 4] {
        unsafe {
            // Lanes 0 and 2, lanes 1 and 3, of two values each; then both pairs; then both halves.
            let ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            let abcd = _mm256_add_ps(_mm256_shuffle_ps::<0x44>(ab, cd), _mm256_shuffle_ps::<0xee>(ab, cd));
            let sums = _mm_add_ps(_mm256_castps256_ps128(abcd), _mm256_extractf128_ps::<1>(abcd));
            std::mem::transmute(sums)
        }
    }
    #[inline(always)]
    unsafe fn maxima([a, b, c, d]: [__m256; 4]) -> [f32; 4] {
        unsafe {
            let ab = _mm256_max_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let cd = _mm256_max_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            let abcd = _mm256_max_ps(_mm256_shuffle_ps::<0x44>(ab, cd), _mm256_shuffle_ps::<0xee>(ab, cd));
            let maxima = _mm_max_ps(_mm256_castps256_ps128(abcd), _mm256_extractf128_ps::<1>(abcd));
            std::mem::transmute(maxima)
        }
    }
    #[inline(always)]
    unsafe fn transpose(v: &mut [__m256]) {
        unsafe {
            /// Of both halves of two rows: the lower two and the upper two of their four numbers, in turn.
            #[inline(always)]
            unsafe fn pairs(a: __m256, b: __m256) -> [__m256; 2] {
                unsafe { [_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b)] }
            }
            /// The same of pairs of numbers.
            #[inline(always)]
            unsafe fn fours(a: __m256, b: __m256) -> [__m256; 2] {
                unsafe { [_mm256_shuffle_ps::<0x44>(a, b), _mm256_shuffle_ps::<0xee>(a, b)] }
            }
            let v: &mut [__m256; 8] = v.try_into().expect("as many values as lanes");
            let [a, b, c, d, e, f, g, h] = *v;
            let ([ab0, ab2], [cd0, cd2], [ef0, ef2], [gh0, gh2]) = (pairs(a, b), pairs(c, d), pairs(e, f), pairs(g, h));
            let ([a0, a1], [a2, a3]) = (fours(ab0, cd0), fours(ab2, cd2));
            let ([e0, e1], [e2, e3]) = (fours(ef0, gh0), fours(ef2, gh2));
            for (i, (a, e)) in [(a0, e0), (a1, e1), (a2, e2), (a3, e3)].into_iter().enumerate() {
                v[i] = _mm256_permute2f128_ps::<0x20>(a, e);
                v[i + 4] = _mm256_permute2f128_ps::<0x31>(a, e);
            }
        }
    }
    #[inline(always)]
    unsafe fn prefetch(at: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}
