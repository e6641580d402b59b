//! int8: how channels of weights and rows of inputs become integers, and the tile that multiplies them.
//!
//! A row of inputs is 8 bits without sign, with a scale and a zero point of its own; a channel of weights 8 bits with sign, with a
//! scale. `y = sx · sw · (Σ x w - zx · Σ w)`, the sums in integers, so that they are the same on every instruction set.
use crate::product::{Cuts, Format};
use crate::simd::Simd;

/// Weights of a channel in memory: whole groups of 8, of zeros at the end.
pub(crate) fn inner(inner: usize) -> usize {
    inner.next_multiple_of(8)
}

/// Makes a channel of weights integers, and returns its scale.
///
/// Two products of a byte with a weight must not overflow 16 bits, nor two such sums: of the weights k, k + 1, k + 4, k + 5 of each
/// group of 8, and of the others, the positive ones sum to at most 128, and the negative ones to at least -128.
pub(crate) fn quantise_channel(row: &[f32], to: &mut [i8]) -> f32 {
    let most = row.iter().fold(0f32, |most, x| most.max(x.abs()));
    let mut scale = most / 127.0;
    if scale < f32::MIN_POSITIVE || !scale.is_finite() {
        to.fill(0);
        return if scale.is_finite() { 0.0 } else { f32::NAN };
    }
    loop {
        for (to, x) in to.iter_mut().zip(row) {
            *to = (x / scale).round_ties_even() as i8;
        }
        let mut worst = 128;
        for group in to.chunks(8) {
            for half in [[0, 1, 4, 5], [2, 3, 6, 7]] {
                let weights = half.map(|i| i32::from(group.get(i).copied().unwrap_or(0)));
                worst = worst.max(weights.iter().filter(|&&w| w > 0).sum()).max(-weights.iter().filter(|&&w| w < 0).sum::<i32>());
            }
        }
        if worst <= 128 {
            return scale;
        }
        scale *= (worst as f32 / 128.0).max(1.001);
    }
}

/// Rows and panels of int8. A prepared row is its bytes, as many as [`inner`] says, then its scale (f32) and zero point (i32).
pub(crate) struct Int8;

impl<S: Simd> Format<S> for Int8 {
    const ROWS: usize = 4;
    const CUT: usize = 1024;

    fn row_bytes(inner: usize, _cuts: Cuts) -> usize {
        self::inner(inner) + 8
    }

    #[inline(always)]
    unsafe fn prepare(x: *const f32, inner: usize, rows: usize, _cuts: Cuts, to: *mut u8) {
        let bytes = self::inner(inner);
        for row in 0..rows {
            // SAFETY: the caller's promise.
            let (x, to) = unsafe {
                let to = to.add(row * (bytes + 8));
                (std::slice::from_raw_parts(x.add(row * inner), inner), std::slice::from_raw_parts_mut(to, bytes + 8))
            };
            let (low, high) = x.iter().fold((0f32, 0f32), |(low, high), &x| (low.min(x), high.max(x)));
            let scale = (high - low) / 255.0;
            let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
            let zero = (-low * inverse).round_ties_even();
            for (to, x) in to.iter_mut().zip(x) {
                *to = ((x * inverse).round_ties_even() + zero).clamp(0.0, 255.0) as u8;
            }
            to[inner..bytes].fill(0);
            to[bytes..][..4].copy_from_slice(&scale.to_ne_bytes());
            to[bytes + 4..].copy_from_slice(&(zero as i32).to_ne_bytes());
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
        _ahead: *const u8,
        _step: usize,
    ) {
        let bytes = self::inner(inner);
        let (start, end) = (cut * cuts.len, bytes.min((cut + 1) * cuts.len));
        let width = 2 * S::LANES;
        let sums = sums.cast::<i32>();
        for m in 0..M {
            for n in 0..width {
                // SAFETY: the caller's promise.
                unsafe {
                    let mut sum = if cut > 0 { sums.add(m * width + n).read() } else { 0 };
                    for k in start..end {
                        let w = panel.add((k / 4 * width + n) * 4 + k % 4).cast::<i8>().read();
                        sum += i32::from(x.add(m * (bytes + 8) + k).read()) * i32::from(w);
                    }
                    sums.add(m * width + n).write(sum);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn scale(x: *const u8, panel: *const u8, inner: usize, _cuts: Cuts, rows: usize, sums: *mut f32) {
        let bytes = self::inner(inner);
        let width = 2 * S::LANES;
        for m in 0..rows {
            for n in 0..width {
                // SAFETY: the caller's promise.
                unsafe {
                    let of_row = x.add(m * (bytes + 8) + bytes);
                    let (scale, zero) = (of_row.cast::<f32>().read_unaligned(), of_row.add(4).cast::<i32>().read_unaligned());
                    let of_panel = panel.add(bytes * width);
                    let (factor, sum) = (of_panel.cast::<f32>().add(n).read(), of_panel.cast::<i32>().add(width + n).read());
                    let at = sums.add(m * width + n);
                    let total = at.cast::<i32>().read() - zero * sum;
                    at.write(scale * factor * total as f32);
                }
            }
        }
    }
}
