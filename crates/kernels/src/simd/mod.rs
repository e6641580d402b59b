//! A few numbers at once: the operations that the kernels are written in, for each instruction set.
//!
//! All functions are inlined into a function that has the features (`isa.rs`); on their own they are only called there. The order
//! in which `sums` adds the lanes is part of the contract: the same for one value as for four.
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod plain;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;
pub(crate) use plain::{Plain, Scalar};

use crate::int8::Tile;
use crate::product::Dots;
use crate::scan;

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
    /// Rows of x in a tile of a product, at most 14: with the two registers of a panel, as many sums as there are registers for.
    const ROWS: usize;
    /// How tiles of int8 are multiplied.
    type Bytes: Tile;
    /// How words of two bf16 are multiplied, where they are.
    type Dots: Dots;
    /// How rows of int8 are multiplied with queries.
    type Rows: scan::Dots;

    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(at: *const f32) -> Self::V;
    /// The first `n`, and zeros.
    unsafe fn load_first(at: *const f32, n: usize) -> Self::V;
    /// Of as many words of two bf16 each the first ones.
    unsafe fn load_firsts(at: *const u16) -> Self::V;
    /// Of as many words of two bf16 each the second ones. May read two bytes beyond the last word.
    unsafe fn load_seconds(at: *const u16) -> Self::V;
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
    /// The greatest lane of each; if one is not a number, that or another.
    #[inline(always)]
    unsafe fn maxima(v: [Self::V; 4]) -> [f32; 4] {
        v.map(|v| {
            let mut lanes = [f32::NEG_INFINITY; 16];
            // SAFETY: no instruction set has more lanes.
            unsafe { Self::store(lanes.as_mut_ptr(), v) };
            lanes.into_iter().fold(f32::NEG_INFINITY, |most, x| if x > most { x } else { most })
        })
    }
    /// Exchanges rows and columns of the square that `v` is: `LANES` values.
    #[inline(always)]
    unsafe fn transpose(v: &mut [Self::V]) {
        let mut square = [[0.0; 16]; 16];
        for (row, v) in square.iter_mut().zip(v.iter()) {
            // SAFETY: no instruction set has more lanes.
            unsafe { Self::store(row.as_mut_ptr(), *v) };
        }
        for (i, v) in v.iter_mut().enumerate() {
            let column = square.map(|row| row[i]);
            // SAFETY: as above.
            *v = unsafe { Self::load(column.as_ptr()) };
        }
    }
    /// Asks for the cache line at an address, which need not be valid.
    unsafe fn prefetch(at: *const f32);
}
