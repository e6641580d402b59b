//! AVX-512: 32 registers of 16 numbers.
use std::arch::x86_64::*;

use super::{Avx2, Simd};

/// 16 lanes.
#[derive(Clone, Copy)]
pub(crate) struct Avx512;

// SAFETY, of every block below: the promise of the trait's caller.
#[allow(clippy::undocumented_unsafe_blocks, reason = "said once, above")]
impl Simd for Avx512 {
    type V = __m512;
    const LANES: usize = 16;
    const ROWS: usize = 14;
    type Bytes = crate::int8::Avx512;
    type Dots = Self;
    type Rows = crate::scan::Avx2;

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m512 {
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(at: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(at) }
    }
    #[inline(always)]
    unsafe fn load_first(at: *const f32, n: usize) -> __m512 {
        unsafe { _mm512_maskz_loadu_ps((1u16 << n) - 1, at) }
    }
    #[inline(always)]
    unsafe fn load_firsts(at: *const u16) -> __m512 {
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_loadu_si512(at.cast()))) }
    }
    #[inline(always)]
    unsafe fn load_seconds(at: *const u16) -> __m512 {
        unsafe {
            let seconds = _mm512_set1_epi32(0xffff_0000_u32 as i32);
            _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(at.cast()), seconds))
        }
    }
    #[inline(always)]
    unsafe fn store(at: *mut f32, v: __m512) {
        unsafe { _mm512_storeu_ps(at, v) }
    }
    #[inline(always)]
    unsafe fn store_first(at: *mut f32, n: usize, v: __m512) {
        unsafe { _mm512_mask_storeu_ps(at, (1u16 << n) - 1, v) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn div(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn exponent(v: __m512) -> __m512 {
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_castps_si512(v))) }
    }
    #[inline(always)]
    unsafe fn sums(v: [__m512; 4]) -> [f32; 4] {
        unsafe {
            let halves = |v: __m512| {
                let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(v)));
                _mm256_add_ps(_mm512_castps512_ps256(v), high)
            };
            let [a, b, c, d] = v;
            Avx2::sums([halves(a), halves(b), halves(c), halves(d)])
        }
    }
    #[inline(always)]
    unsafe fn maxima(v: [__m512; 4]) -> [f32; 4] {
        unsafe {
            let halves = |v: __m512| {
                let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(v)));
                _mm256_max_ps(_mm512_castps512_ps256(v), high)
            };
            let [a, b, c, d] = v;
            Avx2::maxima([halves(a), halves(b), halves(c), halves(d)])
        }
    }
    #[inline(always)]
    unsafe fn transpose(v: &mut [__m512]) {
        unsafe {
            #[inline(always)]
            unsafe fn low(v: __m512) -> __m256 {
                unsafe { _mm512_castps512_ps256(v) }
            }
            #[inline(always)]
            unsafe fn high(v: __m512) -> __m256 {
                unsafe { _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(v))) }
            }
            #[inline(always)]
            unsafe fn whole(low: __m256, high: __m256) -> __m512 {
                unsafe { _mm512_castpd_ps(_mm512_insertf64x4::<1>(_mm512_castps_pd(_mm512_castps256_ps512(low)), _mm256_castps_pd(high))) }
            }
            // Four squares of 8 by 8; two of them change places.
            let (upper, lower) = v.split_at(8);
            let mut squares = [[_mm256_setzero_ps(); 8]; 4];
            for i in 0..8 {
                squares[0][i] = low(upper[i]);
                squares[1][i] = low(lower[i]);
                squares[2][i] = high(upper[i]);
                squares[3][i] = high(lower[i]);
            }
            for square in &mut squares {
                Avx2::transpose(square);
            }
            let [a, b, c, d] = squares;
            for i in 0..8 {
                v[i] = whole(a[i], b[i]);
                v[i + 8] = whole(c[i], d[i]);
            }
        }
    }
    #[inline(always)]
    unsafe fn prefetch(at: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}
