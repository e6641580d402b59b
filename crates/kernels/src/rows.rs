//! Norms of rows, three times through each while it is in L1: the mean, the variance about it, the result.
//!
//! Cycles a number on a Zen 3 core (`--example attention`), and before four sums were kept in registers and differences no longer stored:
//! layer norm of 768 numbers 0.81, 1.81; division by the length 0.62, 0.95.
mod backward;

use crate::simd::{Kernel, Simd};
use crate::{Cores, Isa};

pub use backward::{LayerNormGradients, l2_normalize_backward, layer_norm_backward, scatter_add};

/// `(x - mean) / √(var + eps) · weight + bias` of each row. `x` and `out` are `[rows, width]`, the others `[width]`.
///
/// # Panics
/// If a length does not fit.
pub fn layer_norm(cores: &Cores, x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    let width = weight.len();
    assert!(width > 0 && bias.len() == width && x.len() == out.len() && x.len().is_multiple_of(width), "layer norm of width {width}");
    cores.each_rows(out, width, |first, out| {
        let x = &x[first * width..][..out.len()];
        cores.isa().run(LayerNorm { x, weight, bias, eps, out });
    });
}

/// Each row of `x` `[rows, width]` divided by its Euclidean length, in place.
///
/// # Panics
/// If `x` is not whole rows.
pub fn l2_normalize(isa: Isa, x: &mut [f32], width: usize) {
    assert!(width > 0 && x.len().is_multiple_of(width), "rows of width {width}");
    isa.run(L2Normalize { x, width });
}

struct LayerNorm<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    eps: f32,
    out: &'a mut [f32],
}

impl Kernel for LayerNorm<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { x, weight, bias, eps, out } = self;
        let width = weight.len();
        for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            // SAFETY: all are `width` long.
            unsafe {
                let mean = sum::<S, false>(x, 0.0) / width as f32;
                let scale = 1.0 / (sum::<S, true>(x, mean) / width as f32 + eps).sqrt();
                let (mean, scale) = (S::splat(mean), S::splat(scale));
                let (x, weight, bias, out) = (x.as_ptr(), weight.as_ptr(), bias.as_ptr(), out.as_mut_ptr());
                let whole = width / S::LANES * S::LANES;
                for i in (0..whole).step_by(S::LANES) {
                    let y = S::mul(S::sub(S::load(x.add(i)), mean), scale);
                    S::store(out.add(i), S::fma(y, S::load(weight.add(i)), S::load(bias.add(i))));
                }
                let rest = width - whole;
                if rest > 0 {
                    let y = S::mul(S::sub(S::load_first(x.add(whole), rest), mean), scale);
                    let (weight, bias) = (S::load_first(weight.add(whole), rest), S::load_first(bias.add(whole), rest));
                    S::store_first(out.add(whole), rest, S::fma(y, weight, bias));
                }
            }
        }
    }
}

struct L2Normalize<'a> {
    x: &'a mut [f32],
    width: usize,
}

impl Kernel for L2Normalize<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for row in self.x.chunks_exact_mut(self.width) {
            // SAFETY: all addresses are inside the row.
            unsafe {
                let length = S::splat(sum::<S, true>(row, 0.0).sqrt());
                let (at, whole) = (row.as_mut_ptr(), row.len() / S::LANES * S::LANES);
                for i in (0..whole).step_by(S::LANES) {
                    S::store(at.add(i), S::div(S::load(at.add(i)), length));
                }
                let rest = row.len() - whole;
                if rest > 0 {
                    S::store_first(at.add(whole), rest, S::div(S::load_first(at.add(whole), rest), length));
                }
            }
        }
    }
}

/// The sum of `x`, or of the squares of its differences from `mean`.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
unsafe fn sum<S: Simd, const SQUARES: bool>(x: &[f32], mean: f32) -> f32 {
    // SAFETY: all addresses are inside `x`, or inside `last`, which is as long as any register.
    unsafe {
        let (at, mean) = (x.as_ptr(), S::splat(mean));
        let mut sums = [S::splat(0.0); 4];
        let registers = x.len() / S::LANES;
        for four in 0..registers / 4 {
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = added::<S, SQUARES>(S::load(at.add((4 * four + i) * S::LANES)), mean, *sum);
            }
        }
        for register in registers / 4 * 4..registers {
            sums[0] = added::<S, SQUARES>(S::load(at.add(register * S::LANES)), mean, sums[0]);
        }
        let rest = x.len() - registers * S::LANES;
        if rest > 0 {
            // What is not there is not to differ from the mean.
            let mut last = [0.0; 16];
            S::store(last.as_mut_ptr(), mean);
            last[..rest].copy_from_slice(&x[x.len() - rest..]);
            if !SQUARES {
                last[rest..].fill(0.0);
            }
            sums[1] = added::<S, SQUARES>(S::load(last.as_ptr()), mean, sums[1]);
        }
        let [a, b, c, d] = S::sums(sums);
        (a + b) + (c + d)
    }
}

/// `sum + x`, or `sum + (x - mean)²`.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
unsafe fn added<S: Simd, const SQUARES: bool>(x: S::V, mean: S::V, sum: S::V) -> S::V {
    // SAFETY: the caller's promise.
    unsafe {
        if SQUARES {
            let x = S::sub(x, mean);
            S::fma(x, x, sum)
        } else {
            S::add(x, sum)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 7919 + 13) % 1000) as f32 / 250.0 - 2.0).collect()
    }

    #[test]
    fn norms_equal_their_definitions_at_every_width() {
        for isa in Isa::available() {
            let cores = Cores::new(1, isa).unwrap();
            for width in (1..40).chain([768, 1000]) {
                let (x, weight, bias) = (numbers(3 * width), numbers(width), numbers(2 * width)[width..].to_vec());
                let mut out = vec![0.0; x.len()];
                layer_norm(&cores, &x, &weight, &bias, 1e-5, &mut out);
                let mut unit = x.clone();
                l2_normalize(isa, &mut unit, width);
                for row in 0..3 {
                    let x: Vec<f64> = x[row * width..][..width].iter().map(|&x| x.into()).collect();
                    let mean = x.iter().sum::<f64>() / width as f64;
                    let var = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
                    let length = x.iter().map(|x| x * x).sum::<f64>().sqrt();
                    for (i, x) in x.iter().enumerate() {
                        let wanted = (x - mean) / (var + 1e-5).sqrt() * f64::from(weight[i]) + f64::from(bias[i]);
                        assert!((f64::from(out[row * width + i]) - wanted).abs() < 1e-5, "{isa:?} width {width}");
                        assert!((f64::from(unit[row * width + i]) - x / length).abs() < 1e-6, "{isa:?} width {width}");
                    }
                }
            }
        }
    }
}
