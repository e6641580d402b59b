//! A few numbers at once: the operations that the kernels are written in, for each instruction set.
//!
//! All functions are inlined into a function that has the features (`isa.rs`); on their own they are only called there. The order
//! in which `sums` adds the lanes is part of the contract: the same for one value as for four.
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// A kernel, generic over the instruction set. `run` must be `#[inline(always)]`, and call only what is: a closure that is called
/// twice is a function of its own, without the features, and ten times as slow.
pub(crate) trait Kernel {
    type Output;

    /// # Safety
    /// The machine must have the instruction set of `S`, and the caller its features.
    unsafe fn run<S: Simd>(self) -> Self::Output;
}

/// # Safety
/// Of every function: the machine must have the instruction set. Pointers must be valid for [`Simd::LANES`] numbers, or for the
/// `n < LANES` numbers that are told; they need no alignment.
pub(crate) trait Simd: Copy {
    type V: Copy;
    const LANES: usize;
    /// Rows of x in a tile of a product, at most 6: with 4 rows of w, as many sums as there are registers for.
    const TILE_ROWS: usize;

    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(at: *const f32) -> Self::V;
    /// The first `n`, and zeros.
    unsafe fn load_first(at: *const f32, n: usize) -> Self::V;
    unsafe fn store(at: *mut f32, v: Self::V);
    unsafe fn store_first(at: *mut f32, n: usize, v: Self::V);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    /// `a · b + c`.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The greater; `b` if either is not a number.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// The lesser; `b` if either is not a number.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// The bits, 23 places to the left: a small whole number becomes an exponent.
    unsafe fn exponent(v: Self::V) -> Self::V;
    /// The sum of the lanes of each.
    unsafe fn sums(v: [Self::V; 4]) -> [f32; 4];
    /// Asks for the cache line at an address, which need not be valid.
    unsafe fn prefetch(at: *const f32);
}

/// Plain Rust: the law for the others, and what the compiler makes of it on machines without its own code here. It has 8 lanes, or
/// 16 to test what kernels do with as many where no machine has them.
#[derive(Clone, Copy)]
pub(crate) struct Plain<const LANES: usize, const TILE_ROWS: usize>;

/// 8 lanes.
pub(crate) type Scalar = Plain<8, 2>;

#[inline(always)]
fn each<const LANES: usize>(f: impl Fn(usize) -> f32) -> [f32; LANES] {
    std::array::from_fn(f)
}

impl<const LANES: usize, const TILE_ROWS: usize> Simd for Plain<LANES, TILE_ROWS> {
    type V = [f32; LANES];
    const LANES: usize = LANES;
    const TILE_ROWS: usize = TILE_ROWS;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        [x; LANES]
    }
    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self::V {
        // SAFETY: the caller's promise.
        unsafe { at.cast::<Self::V>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn load_first(at: *const f32, n: usize) -> Self::V {
        // SAFETY: only lanes below `n` are read.
        each(|i| if i < n { unsafe { at.add(i).read() } } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn store(at: *mut f32, v: Self::V) {
        // SAFETY: the caller's promise.
        unsafe { at.cast::<Self::V>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn store_first(at: *mut f32, n: usize, v: Self::V) {
        for (i, x) in v.into_iter().enumerate().take(n) {
            // SAFETY: the caller's promise.
            unsafe { at.add(i).write(x) }
        }
    }
    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        each(|i| a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        each(|i| a[i] - b[i])
    }
    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        each(|i| a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V {
        each(|i| a[i] / b[i])
    }
    #[inline(always)]
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // A fused multiply-add only where it is one instruction.
        let fused = cfg!(any(target_arch = "aarch64", target_feature = "fma"));
        each(|i| if fused { a[i].mul_add(b[i], c[i]) } else { a[i] * b[i] + c[i] })
    }
    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        each(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
        each(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn exponent(v: Self::V) -> Self::V {
        each(|i| f32::from_bits(v[i].to_bits() << 23))
    }
    #[inline(always)]
    unsafe fn sums(v: [Self::V; 4]) -> [f32; 4] {
        v.map(|v| {
            let v: [f32; 8] = each(|i| if LANES > 8 { v[i] + v[i + 8] } else { v[i] });
            let half = |i: usize| (v[i] + v[i + 2]) + (v[i + 1] + v[i + 3]);
            half(0) + half(4)
        })
    }
    #[inline(always)]
    unsafe fn prefetch(_at: *const f32) {}
}

/// 8 lanes, with fused multiply-add.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct Avx2;

/// Bit `i` of lane `i` set below `n`.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn mask8(n: usize) -> __m256i {
    const MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    // SAFETY: `n <= 8`, so that eight numbers are read of the sixteen.
    unsafe { _mm256_loadu_si256(MASKS.as_ptr().add(8 - n).cast()) }
}

// SAFETY, of every block below: the promise of the trait's caller.
#[cfg(target_arch = "x86_64")]
#[allow(clippy::undocumented_unsafe_blocks, reason = "said once, above")]
impl Simd for Avx2 {
    type V = __m256;
    const LANES: usize = 8;
    const TILE_ROWS: usize = 3;

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
    unsafe fn prefetch(at: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}

/// 16 lanes.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct Avx512;

// SAFETY, of every block below: the promise of the trait's caller.
#[cfg(target_arch = "x86_64")]
#[allow(clippy::undocumented_unsafe_blocks, reason = "said once, above")]
impl Simd for Avx512 {
    type V = __m512;
    const LANES: usize = 16;
    const TILE_ROWS: usize = 6;

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
    unsafe fn prefetch(at: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}
