//! Operations on each number or each row by itself, each with its gradient: activations, dense layers, norms.
use hua_graph::Act;

use super::number::{Number, Values, add, dot};

/// An activation of one number.
pub(super) fn activate(act: Act, x: f64) -> f64 {
    match act {
        Act::Gelu => x * normal_cdf(x),
        Act::GeluTanh => 0.5 * x * (1.0 + gelu_inner(x).tanh()),
        Act::QuickGelu => x * sigmoid(1.702 * x),
        // Not `max`: a NaN stays one.
        Act::Relu if x < 0.0 => 0.0,
        Act::Relu => x,
        Act::Tanh => x.tanh(),
    }
}

/// Its derivative; relu's is 0 at 0, as in PyTorch.
pub(super) fn slope(act: Act, x: f64) -> f64 {
    match act {
        Act::Gelu => normal_cdf(x) + x * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt(),
        Act::GeluTanh => {
            let t = gelu_inner(x).tanh();
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (1.0 + 3.0 * 0.044715 * x * x);
            0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner
        }
        Act::QuickGelu => {
            let s = sigmoid(1.702 * x);
            s + 1.702 * x * s * (1.0 - s)
        }
        Act::Relu if x <= 0.0 => 0.0,
        Act::Relu => 1.0,
        Act::Tanh => 1.0 - x.tanh().powi(2),
    }
}

fn normal_cdf(x: f64) -> f64 {
    0.5 * (1.0 + libm::erf(x / std::f64::consts::SQRT_2))
}

fn gelu_inner(x: f64) -> f64 {
    (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Input `[rows, inner]`, `weight` `[out, inner]`, `bias` `[out]`; returns `[rows, out]`.
pub(super) fn linear<T: Number>(x: &Values<T>, out: usize, weight: &[T], bias: Option<&[T]>) -> Vec<T> {
    let one = |row: &[T], o: usize| T::of(dot(row, &weight[o * x.width..][..x.width]) + bias.map_or(0.0, |b| b[o].wide()));
    x.rows().flat_map(|row| (0..out).map(move |o| one(row, o))).collect()
}

/// `dx = dy · weight`; `dweight = dyᵀ · x`; `dbias` is the sum of `dy`. `dy` is `[rows, out]`.
pub(super) fn linear_backward(x: &Values<f64>, out: usize, weight: &[f64], dy: &[f64], [dx, d_weight, d_bias]: [Option<&mut [f64]>; 3]) {
    let width = x.width;
    if let Some(dx) = dx {
        for (dx, dy) in dx.chunks_exact_mut(width).zip(dy.chunks_exact(out)) {
            for (&d, weight) in dy.iter().zip(weight.chunks_exact(width)) {
                dx.iter_mut().zip(weight).for_each(|(dx, w)| *dx += d * w);
            }
        }
    }
    if let Some(d_weight) = d_weight {
        for (x, dy) in x.rows().zip(dy.chunks_exact(out)) {
            for (&d, d_weight) in dy.iter().zip(d_weight.chunks_exact_mut(width)) {
                d_weight.iter_mut().zip(x).for_each(|(dw, x)| *dw += d * x);
            }
        }
    }
    if let Some(d_bias) = d_bias {
        dy.chunks_exact(out).for_each(|dy| add(d_bias, dy));
    }
}

/// A row, divided by its length.
pub(super) fn l2_normalize<T: Number>(row: &[T]) -> Vec<T> {
    let length = dot(row, row).sqrt();
    row.iter().map(|&x| T::of(x.wide() / length)).collect()
}

/// With `y = x / |x|`: `dx = (dy - y (y · dy)) / |x|`.
pub(super) fn l2_normalize_backward(x: &[f64], dy: &[f64], dx: &mut [f64]) {
    let square = dot(x, x);
    let along = dot(x, dy) / square;
    for ((dx, x), dy) in dx.iter_mut().zip(x).zip(dy) {
        *dx += (dy - x * along) / square.sqrt();
    }
}

/// The mean of a row and what its distance from it is multiplied with.
fn moments<T: Number>(row: &[T], eps: f64) -> (f64, f64) {
    let n = row.len() as f64;
    let mean = row.iter().map(|x| x.wide()).sum::<f64>() / n;
    let var = row.iter().map(|x| (x.wide() - mean).powi(2)).sum::<f64>() / n;
    (mean, 1.0 / (var + eps).sqrt())
}

/// A row `[width]` with mean 0 and variance 1, times `weight`, plus `bias`, both `[width]`.
pub(super) fn layer_norm<T: Number>(row: &[T], weight: &[T], bias: &[T], eps: f32) -> Vec<T> {
    let (mean, scale) = moments(row, eps.into());
    let norm = |((&x, &w), &b): ((&T, &T), &T)| T::of((x.wide() - mean) * scale * w.wide() + b.wide());
    row.iter().zip(weight).zip(bias).map(norm).collect()
}

/// With `h = (x - mean) · scale` and `g = dy · weight`: `dx = scale · (g - mean(g) - h · mean(g · h))`, `dweight = Σ dy · h`, `dbias = Σ dy`
/// (arXiv 1607.06450). `x`, `dy` and `dx` are one row.
pub(super) fn layer_norm_backward(x: &[f64], weight: &[f64], eps: f32, dy: &[f64], [dx, d_weight, d_bias]: [Option<&mut [f64]>; 3]) {
    let n = x.len() as f64;
    let (mean, scale) = moments(x, eps.into());
    let normed: Vec<f64> = x.iter().map(|x| (x - mean) * scale).collect();
    if let Some(dx) = dx {
        let g: Vec<f64> = dy.iter().zip(weight).map(|(dy, w)| dy * w).collect();
        let (of_g, of_gh) = (g.iter().sum::<f64>() / n, dot(&g, &normed) / n);
        for ((dx, g), h) in dx.iter_mut().zip(&g).zip(&normed) {
            *dx += scale * (g - of_g - h * of_gh);
        }
    }
    if let Some(d_weight) = d_weight {
        d_weight.iter_mut().zip(dy.iter().zip(&normed)).for_each(|(dw, (dy, h))| *dw += dy * h);
    }
    if let Some(d_bias) = d_bias {
        add(d_bias, dy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_have_their_textbook_values() {
        let near = |found: f64, wanted: f64| assert!((found - wanted).abs() < 5e-7, "{found} for {wanted}");
        near(activate(Act::Gelu, 1.0), 0.841_344_8);
        near(activate(Act::GeluTanh, 1.0), 0.841_192);
        near(activate(Act::QuickGelu, 1.0), 0.845_795_8);
        near(activate(Act::Relu, -1.0), 0.0);
        near(activate(Act::Tanh, 0.5), 0.462_117_16);
        assert!(activate(Act::Relu, f64::NAN).is_nan());
    }
}
