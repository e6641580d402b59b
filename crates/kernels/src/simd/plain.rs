//! Plain Rust, for every machine.
use super::Simd;

/// Plain Rust: the law for the others, and what the compiler makes of it on machines without its own code here. It has 8 lanes, or
/// 16 to test what kernels do with as many where no machine has them.
#[derive(Clone, Copy)]
pub(crate) struct Plain<const LANES: usize>;

/// 8 lanes.
pub(crate) type Scalar = Plain<8>;

#[inline(always)]
fn each<const LANES: usize>(f: impl Fn(usize) -> f32) -> [f32; LANES] {
    std::array::from_fn(f)
}

impl<const LANES: usize> Simd for Plain<LANES> {
    type V = [f32; LANES];
    const LANES: usize = LANES;
    const ROWS: usize = if LANES > 8 { 14 } else { 2 };
    type Bytes = crate::int8::Plain<LANES>;
    type Dots = Self;
    type Rows = crate::scan::Plain;

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
    unsafe fn load_firsts(at: *const u16) -> Self::V {
        // SAFETY: the caller's promise.
        each(|i| f32::from_bits(u32::from(unsafe { at.add(2 * i).read() }) << 16))
    }
    #[inline(always)]
    unsafe fn load_seconds(at: *const u16) -> Self::V {
        // SAFETY: the caller's promise.
        each(|i| f32::from_bits(u32::from(unsafe { at.add(2 * i + 1).read() }) << 16))
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
