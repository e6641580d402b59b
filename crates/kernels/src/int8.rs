//! int8: weights and inputs of 8 bits, sums in integers, so that they are the same on every instruction set.
//!
//! A row of inputs is bytes without sign, with a scale and a zero point of its own (`int8/inputs.rs`); a channel of weights is bytes
//! with sign, with a scale (`int8/weights.rs`). `y = (Σ x w - zx · Σ w) · (sx · sw)`: the sums are exact (`int8/dots.rs`), and what
//! follows is one conversion and two multiplications in single precision, never fused.
mod dots;
mod inputs;
mod weights;

use crate::Isa;
use crate::product::{Cuts, Format};
use crate::simd::{Kernel, Simd};
use dots::Bytes;
#[cfg(target_arch = "x86_64")]
pub(crate) use dots::{Avx2, Avx512};
pub(crate) use dots::{Plain, Tile};
use weights::MOST_INNER;

/// Weights of a channel in memory: whole groups of 8, of zeros at the end.
pub(crate) fn inner(inner: usize) -> usize {
    inner.next_multiple_of(8)
}

/// Packs a channel of weights into its column of a panel of zeros, with its scale and the sum of its bytes.
pub(crate) fn pack(isa: Isa, row: &[f32], column: usize, panel: usize, to: &mut [u8]) {
    let mut bytes = vec![0; inner(row.len())];
    let scale = quantise_channel(isa, row, &mut bytes[..row.len()]);
    let (weights, after) = to.split_at_mut(bytes.len() * panel);
    for (four, to) in bytes.as_chunks::<4>().0.iter().zip(weights.chunks_exact_mut(4 * panel)) {
        to[4 * column..][..4].copy_from_slice(&four.map(i8::cast_unsigned));
    }
    let sum: i32 = bytes.iter().map(|&byte| i32::from(byte)).sum();
    after[4 * column..][..4].copy_from_slice(&scale.to_ne_bytes());
    after[4 * (panel + column)..][..4].copy_from_slice(&sum.to_ne_bytes());
}

/// Makes a channel of weights bytes, and returns its scale.
fn quantise_channel(isa: Isa, row: &[f32], to: &mut [i8]) -> f32 {
    struct Channel<'a>(&'a [f32], &'a mut [i8]);
    impl Kernel for Channel<'_> {
        type Output = f32;

        #[inline(always)]
        unsafe fn run<S: Simd>(self) -> f32 {
            weights::quantise(self.0, self.1)
        }
    }
    isa.run(Channel(row, to))
}

/// Rows and panels of int8. A prepared row is its bytes, as many as [`inner`] says, then its scale (f32) and zero point (i32).
pub(crate) struct Int8;

/// Bytes of the scale and the zero point of a row. They also keep rows from beginning in the same sets of the cache.
const AFTER_ROW: usize = 8;

impl<S: Simd> Format<S> for Int8 {
    const ROWS: usize = S::Bytes::ROWS;
    /// It is not cut, but for lengths that no model has.
    const CUT: usize = MOST_INNER;

    fn row_bytes(inner: usize, _cuts: Cuts) -> usize {
        self::inner(inner) + AFTER_ROW
    }

    #[inline(always)]
    unsafe fn prepare(x: *const f32, inner: usize, rows: usize, _cuts: Cuts, to: *mut u8) {
        let bytes = self::inner(inner);
        for row in 0..rows {
            // SAFETY: the caller's promise.
            let (x, to) = unsafe {
                let to = to.add(row * (bytes + AFTER_ROW));
                (std::slice::from_raw_parts(x.add(row * inner), inner), std::slice::from_raw_parts_mut(to, bytes + AFTER_ROW))
            };
            let (to, after) = to.split_at_mut(bytes);
            to[inner..].fill(0);
            let (scale, zero) = inputs::quantise(x, to);
            after[..4].copy_from_slice(&scale.to_ne_bytes());
            after[4..].copy_from_slice(&zero.to_ne_bytes());
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
        let bytes = self::inner(inner);
        let width = 2 * S::LANES;
        let start = cut * cuts.len;
        // SAFETY: the caller's promise.
        unsafe {
            S::Bytes::tile::<M>(Bytes {
                x: x.add(start),
                stride: bytes + AFTER_ROW,
                panel: panel.add(start * width).cast(),
                len: cuts.len.min(bytes - start),
                sums: sums.cast(),
                add: cut > 0,
                ahead,
                // `step` is for 64 bytes of weights.
                step: step * width / 8,
            });
        }
    }

    #[inline(always)]
    unsafe fn scale(x: *const u8, panel: *const u8, inner: usize, _cuts: Cuts, rows: usize, sums: *mut f32) {
        /// Numbers that are read before as many are written, so that the compiler treats them together.
        const TOGETHER: usize = 8;
        let bytes = self::inner(inner);
        let width = 2 * S::LANES;
        for row in 0..rows {
            // SAFETY: the caller's promise: a row has its scale and zero point, and a panel its scales and sums, where they are read.
            unsafe {
                let after_row = x.add(row * (bytes + AFTER_ROW) + bytes);
                let (scale, zero) = (after_row.cast::<f32>().read_unaligned(), after_row.add(4).cast::<i32>().read_unaligned());
                for column in (0..width).step_by(TOGETHER) {
                    let scales: [f32; TOGETHER] = panel.add(bytes * width + 4 * column).cast::<[f32; TOGETHER]>().read_unaligned();
                    let of_weights: [i32; TOGETHER] =
                        panel.add(bytes * width + 4 * (width + column)).cast::<[i32; TOGETHER]>().read_unaligned();
                    let at = sums.add(row * width + column);
                    let totals: [i32; TOGETHER] = at.cast::<[i32; TOGETHER]>().read_unaligned();
                    let y: [f32; TOGETHER] = std::array::from_fn(|i| (totals[i] - zero * of_weights[i]) as f32 * (scale * scales[i]));
                    at.cast::<[f32; TOGETHER]>().write_unaligned(y);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
