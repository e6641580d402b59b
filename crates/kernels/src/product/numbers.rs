//! The tiles of f32 and bf16: rows of x are copied, cut by cut, so that a tile reads them as one run of memory; bf16 weights are
//! widened in registers, two steps of a word at a time.
use super::{Cuts, Format};
use crate::simd::Simd;

/// Numbers of a cut.
const CUT: usize = 256;

/// f32 weights.
pub(super) struct F32;

/// bf16 weights, f32 inputs.
pub(super) struct Bf16;

/// Rows of x as `[cut][row][cuts.len]`, zeros at the end.
///
/// # Safety
/// As [`Format::prepare`].
#[inline(always)]
unsafe fn copy(x: *const f32, inner: usize, rows: usize, cuts: Cuts, to: *mut u8) {
    let to = to.cast::<f32>();
    for cut in 0..cuts.count {
        let len = cuts.len.min(inner - cut * cuts.len);
        for row in 0..rows {
            // SAFETY: the caller's promise.
            unsafe {
                let to = to.add((cut * rows + row) * cuts.len);
                to.copy_from_nonoverlapping(x.add(row * inner + cut * cuts.len), len);
                to.add(len).write_bytes(0, cuts.len - len);
            }
        }
    }
}

/// Writes the sums, or adds them to what is there.
///
/// # Safety
/// As [`Format::tile`].
#[inline(always)]
unsafe fn keep<S: Simd, const M: usize>(values: [[S::V; 2]; M], first: bool, sums: *mut f32) {
    for (i, row) in values.into_iter().enumerate() {
        for (j, v) in row.into_iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe {
                let at = sums.add((2 * i + j) * S::LANES);
                S::store(at, if first { v } else { S::add(S::load(at), v) });
            }
        }
    }
}

impl<S: Simd> Format<S> for F32 {
    const ROWS: usize = S::ROWS;
    const CUT: usize = CUT;

    fn row_bytes(_inner: usize, cuts: Cuts) -> usize {
        cuts.count * cuts.len * 4
    }

    #[inline(always)]
    unsafe fn prepare(x: *const f32, inner: usize, rows: usize, cuts: Cuts, to: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe { copy(x, inner, rows, cuts, to) }
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
        // SAFETY: the caller's promise.
        unsafe {
            let x = x.cast::<f32>().add(cut * M * cuts.len);
            let w = panel.cast::<f32>().add(cut * cuts.len * 2 * S::LANES);
            let mut values = [[S::splat(0.0); 2]; M];
            for k in 0..cuts.len.min(inner - cut * cuts.len) {
                S::prefetch(ahead.wrapping_add(k * step).cast());
                let w: [S::V; 2] = [S::load(w.add(2 * k * S::LANES)), S::load(w.add((2 * k + 1) * S::LANES))];
                for (i, values) in values.iter_mut().enumerate() {
                    let x = S::splat(*x.add(i * cuts.len + k));
                    *values = [S::fma(x, w[0], values[0]), S::fma(x, w[1], values[1])];
                }
            }
            keep::<S, M>(values, cut == 0, sums);
        }
    }

    #[inline(always)]
    unsafe fn scale(_x: *const u8, _panel: *const u8, _inner: usize, _cuts: Cuts, _rows: usize, _sums: *mut f32) {}
}

impl<S: Simd> Format<S> for Bf16 {
    const ROWS: usize = S::ROWS;
    const CUT: usize = CUT;

    fn row_bytes(_inner: usize, cuts: Cuts) -> usize {
        cuts.count * cuts.len * 4
    }

    #[inline(always)]
    unsafe fn prepare(x: *const f32, inner: usize, rows: usize, cuts: Cuts, to: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe { copy(x, inner, rows, cuts, to) }
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
        // SAFETY: the caller's promise.
        unsafe {
            let x = x.cast::<f32>().add(cut * M * cuts.len);
            let w = panel.cast::<u16>().add(cut * cuts.len * 2 * S::LANES);
            let mut values = [[S::splat(0.0); 2]; M];
            for k in (0..cuts.len.min(inner - cut * cuts.len)).step_by(2) {
                S::prefetch(ahead.wrapping_add(k * step / 2).cast());
                let [left, right] = [S::load_pairs(w.add(2 * k * S::LANES)), S::load_pairs(w.add((2 * k + 2) * S::LANES))];
                for (step, w) in [[left[0], right[0]], [left[1], right[1]]].into_iter().enumerate() {
                    for (i, values) in values.iter_mut().enumerate() {
                        let x = S::splat(*x.add(i * cuts.len + k + step));
                        *values = [S::fma(x, w[0], values[0]), S::fma(x, w[1], values[1])];
                    }
                }
            }
            keep::<S, M>(values, cut == 0, sums);
        }
    }

    #[inline(always)]
    unsafe fn scale(_x: *const u8, _panel: *const u8, _inner: usize, _cuts: Cuts, _rows: usize, _sums: *mut f32) {}
}
