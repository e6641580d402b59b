//! Norms of rows.
use crate::simd::{Kernel, Simd};
use crate::{Cores, Isa};

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
                let mean = sum::<S, false>(x) / width as f32;
                offset::<S>(x, -mean, out);
                let scale = 1.0 / (sum::<S, true>(out) / width as f32 + eps).sqrt();
                for i in (0..width).step_by(S::LANES) {
                    let n = width - i;
                    let y = S::mul(load::<S>(&out[i..]), S::splat(scale));
                    let y = S::fma(y, load::<S>(&weight[i..]), load::<S>(&bias[i..]));
                    if n >= S::LANES { S::store(out[i..].as_mut_ptr(), y) } else { S::store_first(out[i..].as_mut_ptr(), n, y) }
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
            // SAFETY: the caller's promise.
            let length = unsafe { sum::<S, true>(row) }.sqrt();
            for x in row {
                *x /= length;
            }
        }
    }
}

/// The first lanes of `x`, zeros behind its end.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
unsafe fn load<S: Simd>(x: &[f32]) -> S::V {
    // SAFETY: no more is read than there is.
    unsafe { if x.len() >= S::LANES { S::load(x.as_ptr()) } else { S::load_first(x.as_ptr(), x.len()) } }
}

/// The sum of `x`, or of its squares.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
pub(crate) unsafe fn sum<S: Simd, const SQUARES: bool>(x: &[f32]) -> f32 {
    // SAFETY: the caller's promise.
    unsafe {
        let zero = S::splat(0.0);
        let mut sums = [zero; 4];
        for (i, lanes) in x.chunks(S::LANES).enumerate() {
            let v = load::<S>(lanes);
            sums[i % 4] = if SQUARES { S::fma(v, v, sums[i % 4]) } else { S::add(v, sums[i % 4]) };
        }
        let [a, b, c, d] = S::sums(sums);
        (a + b) + (c + d)
    }
}

/// # Safety
/// As [`Simd`], and `out` is as long as `x`.
#[inline(always)]
unsafe fn offset<S: Simd>(x: &[f32], by: f32, out: &mut [f32]) {
    let whole = x.len() / S::LANES * S::LANES;
    // SAFETY: all addresses are inside `x` and `out`.
    unsafe {
        for i in (0..whole).step_by(S::LANES) {
            S::store(out.as_mut_ptr().add(i), S::add(S::load(x.as_ptr().add(i)), S::splat(by)));
        }
    }
    for i in whole..x.len() {
        out[i] = x[i] + by;
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
