//! The register tile of both products of an attention: a few rows of numbers, each times a row of registers, summed in their order.
#![allow(clippy::needless_range_loop, reason = "an index runs through rows, registers and addresses alike")]
use crate::simd::Simd;

/// Rows of a tile at most; it has two registers in each: with 12 sums, as many as keep both multipliers of a core busy.
pub(super) const ROWS: usize = 6;

/// Rows of one operand, `stride` numbers apart.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    pub(super) at: *const f32,
    pub(super) stride: usize,
}

impl Rows {
    /// # Safety
    /// The row is there, or the one behind the last.
    #[inline(always)]
    pub(super) unsafe fn from(self, row: usize) -> Self {
        // SAFETY: the caller's promise.
        Self { at: unsafe { self.at.add(row * self.stride) }, ..self }
    }
}

/// `sums[i] += a[i][k] · b[k]` for `k` below `inner`, one after the other. `a` has `M` rows of `inner` numbers, `b` has `inner`
/// rows of `N` registers.
///
/// # Safety
/// As [`Simd`]; all that is there.
#[inline(always)]
pub(super) unsafe fn tile<S: Simd, const M: usize, const N: usize>(
    a: Rows,
    b: Rows,
    inner: usize,
    mut sums: [[S::V; N]; M],
) -> [[S::V; N]; M] {
    // SAFETY: the caller's promise.
    unsafe {
        for k in 0..inner {
            step::<S, M, N>(a, b, k, &mut sums);
        }
        sums
    }
}

/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn step<S: Simd, const M: usize, const N: usize>(a: Rows, b: Rows, k: usize, sums: &mut [[S::V; N]; M]) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut row = [S::splat(0.0); N];
        for n in 0..N {
            row[n] = S::load(b.from(k).at.add(n * S::LANES));
        }
        for i in 0..M {
            let a = S::splat(*a.from(i).at.add(k));
            for n in 0..N {
                sums[i][n] = S::fma(a, row[n], sums[i][n]);
            }
        }
    }
}
