//! NEON, which every 64-bit Arm has: 32 registers of 4 numbers, taken two at a time, so that all is as with AVX2 and a result is
//! the same to the bit.
use std::arch::aarch64::*;
use std::arch::asm;

use super::Simd;

/// 8 lanes, with fused multiply-add.
#[derive(Clone, Copy)]
pub(crate) struct Neon;

#[inline(always)]
fn each([a, b]: [float32x4_t; 2], [c, d]: [float32x4_t; 2], f: impl Fn(float32x4_t, float32x4_t) -> float32x4_t) -> [float32x4_t; 2] {
    [f(a, c), f(b, d)]
}

// SAFETY, of every block below: the promise of the trait's caller.
#[allow(clippy::undocumented_unsafe_blocks, reason = "said once, above")]
impl Simd for Neon {
    type V = [float32x4_t; 2];
    const LANES: usize = 8;
    const ROWS: usize = 6;
    type Bytes = crate::int8::Plain<8>;
    type Dots = crate::product::NoDots;
    type Rows = crate::scan::Neon;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        unsafe { [vdupq_n_f32(x); 2] }
    }
    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self::V {
        unsafe { [vld1q_f32(at), vld1q_f32(at.add(4))] }
    }
    #[inline(always)]
    unsafe fn load_first(at: *const f32, n: usize) -> Self::V {
        let mut lanes = [0.0; 8];
        unsafe {
            lanes.as_mut_ptr().copy_from_nonoverlapping(at, n);
            Self::load(lanes.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn load_firsts(at: *const u16) -> Self::V {
        unsafe { [at, at.add(8)].map(|at| vreinterpretq_f32_u32(vshlq_n_u32::<16>(vld1q_u32(at.cast())))) }
    }
    #[inline(always)]
    unsafe fn load_seconds(at: *const u16) -> Self::V {
        unsafe { [at, at.add(8)].map(|at| vreinterpretq_f32_u32(vandq_u32(vld1q_u32(at.cast()), vdupq_n_u32(0xffff_0000)))) }
    }
    #[inline(always)]
    unsafe fn store(at: *mut f32, [low, high]: Self::V) {
        unsafe {
            vst1q_f32(at, low);
            vst1q_f32(at.add(4), high);
        }
    }
    #[inline(always)]
    unsafe fn store_first(at: *mut f32, n: usize, v: Self::V) {
        let mut lanes = [0.0; 8];
        unsafe {
            Self::store(lanes.as_mut_ptr(), v);
            at.copy_from_nonoverlapping(lanes.as_ptr(), n);
        }
    }
    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        each(a, b, |a, b| unsafe { vaddq_f32(a, b) })
    }
    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        each(a, b, |a, b| unsafe { vsubq_f32(a, b) })
    }
    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        each(a, b, |a, b| unsafe { vmulq_f32(a, b) })
    }
    #[inline(always)]
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V {
        each(a, b, |a, b| unsafe { vdivq_f32(a, b) })
    }
    #[inline(always)]
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        unsafe { [vfmaq_f32(c[0], a[0], b[0]), vfmaq_f32(c[1], a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        // Not `vmaxq`, of which no number comes whenever one of the two is none.
        each(a, b, |a, b| unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) })
    }
    #[inline(always)]
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
        each(a, b, |a, b| unsafe { vbslq_f32(vcltq_f32(a, b), a, b) })
    }
    #[inline(always)]
    unsafe fn exponent(v: Self::V) -> Self::V {
        v.map(|v| unsafe { vreinterpretq_f32_u32(vshlq_n_u32::<23>(vreinterpretq_u32_f32(v))) })
    }
    #[inline(always)]
    unsafe fn sums([a, b, c, d]: [Self::V; 4]) -> [f32; 4] {
        // Lanes 0 and 2, lanes 1 and 3, of each half; then both pairs; then both halves.
        let pairs = |v: float32x4_t| unsafe { vadd_f32(vget_low_f32(v), vget_high_f32(v)) };
        let half = |i: usize| unsafe { vpaddq_f32(vcombine_f32(pairs(a[i]), pairs(b[i])), vcombine_f32(pairs(c[i]), pairs(d[i]))) };
        let mut sums = [0.0; 4];
        unsafe { vst1q_f32(sums.as_mut_ptr(), vaddq_f32(half(0), half(1))) };
        sums
    }
    #[inline(always)]
    unsafe fn prefetch(at: *const f32) {
        unsafe { asm!("prfm pldl1keep, [{}]", in(reg) at, options(nostack, preserves_flags, readonly)) }
    }
}
