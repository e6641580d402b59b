//! Operations on images, each with its gradient. An image is `[channels, height, width]`, one row of all its numbers.
use hua_graph::Kind;

use super::number::{Number, Values};

/// The sizes of an image.
#[derive(Clone, Copy)]
pub(super) struct Sides {
    channels: usize,
    height: usize,
    width: usize,
}

impl Sides {
    /// Of a value that the builder made sure is an image.
    pub(super) fn of(kind: Kind) -> Self {
        match kind {
            Kind::Image { channels, height, width } => Self { channels, height, width },
            _ => unreachable!("the builder gives this operation an image"),
        }
    }

    fn pixels(self) -> usize {
        self.height * self.width
    }
}

/// Calls `each` with every pixel of the result and every pixel of its square: their places.
fn each_pooled(from: Sides, to: Sides, size: usize, mut each: impl FnMut(usize, usize)) {
    for c in 0..to.channels {
        for y in 0..to.height {
            for x in 0..to.width {
                for i in 0..size * size {
                    let at = (c * from.height + y * size + i / size) * from.width + x * size + i % size;
                    each((c * to.height + y) * to.width + x, at);
                }
            }
        }
    }
}

/// `[channels, height, width]` to `[channels, height / size, width / size]`.
pub(super) fn avg_pool<T: Number>(x: &Values<T>, from: Sides, to: Sides, size: usize) -> Vec<T> {
    let one = |image: &[T]| {
        let mut sums = vec![0.0; to.channels * to.pixels()];
        each_pooled(from, to, size, |out, at| sums[out] += image[at].wide());
        sums.into_iter().map(|sum| T::of(sum / (size * size) as f64))
    };
    x.rows().flat_map(one).collect()
}

/// Each pixel of a square has an equal part of the gradient of their mean.
pub(super) fn avg_pool_backward(dy: &[f64], from: Sides, to: Sides, size: usize, dx: &mut [f64]) {
    let (of_dx, of_dy) = (from.channels * from.pixels(), to.channels * to.pixels());
    for (dx, dy) in dx.chunks_exact_mut(of_dx).zip(dy.chunks_exact(of_dy)) {
        each_pooled(from, to, size, |out, at| dx[at] += dy[out] / (size * size) as f64);
    }
}

/// The recorded statistics of a batch norm, and its gain and offset: `[channels]` each.
#[derive(Clone, Copy)]
pub(super) struct Norm<'a, T> {
    pub(super) weight: &'a [T],
    pub(super) bias: &'a [T],
    pub(super) mean: &'a [T],
    pub(super) var: &'a [T],
    pub(super) eps: f32,
}

impl<T: Number> Norm<'_, T> {
    fn scale(&self, c: usize) -> f64 {
        1.0 / (self.var[c].wide() + f64::from(self.eps)).sqrt()
    }
}

/// `(x - mean) / √(var + eps) · weight + bias` per channel.
pub(super) fn batch_norm<T: Number>(x: &Values<T>, sides: Sides, norm: Norm<'_, T>) -> Vec<T> {
    let one = |(i, x): (usize, &T)| {
        let c = i / sides.pixels() % sides.channels;
        let scale = norm.weight[c].wide() * norm.scale(c);
        T::of((x.wide() - norm.mean[c].wide()) * scale + norm.bias[c].wide())
    };
    x.data.iter().enumerate().map(one).collect()
}

/// The statistics stay as recorded, so this is the gradient of an affine map of each channel.
pub(super) fn batch_norm_backward(
    x: &Values<f64>,
    sides: Sides,
    norm: Norm<'_, f64>,
    dy: &[f64],
    [mut dx, mut d_weight, mut d_bias]: [Option<&mut [f64]>; 3],
) {
    for (i, (x, dy)) in x.data.iter().zip(dy).enumerate() {
        let c = i / sides.pixels() % sides.channels;
        if let Some(dx) = &mut dx {
            dx[i] += dy * norm.weight[c] * norm.scale(c);
        }
        if let Some(d_weight) = &mut d_weight {
            d_weight[c] += dy * (x - norm.mean[c]) * norm.scale(c);
        }
        if let Some(d_bias) = &mut d_bias {
            d_bias[c] += dy;
        }
    }
}

/// The windows of a convolution, in pixels.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub(super) size: usize,
    pub(super) stride: usize,
    pub(super) pad: usize,
}

/// Calls `each` with every number of the result, every weight and every number of the image that are multiplied: their places. What the
/// padding would be multiplied with is left out.
fn each_product(from: Sides, to: Sides, window: Window, mut each: impl FnMut(usize, usize, usize)) {
    let Window { size, stride, pad } = window;
    for o in 0..to.channels {
        for y in 0..to.height {
            for x in 0..to.width {
                for w in 0..from.channels * size * size {
                    let (c, i, j) = (w / (size * size), w / size % size, w % size);
                    let inside = |at: usize, side: usize| at.checked_sub(pad).filter(|&at| at < side);
                    if let Some((y_in, x_in)) = inside(y * stride + i, from.height).zip(inside(x * stride + j, from.width)) {
                        let out = (o * to.height + y) * to.width + x;
                        each(out, o * from.channels * size * size + w, (c * from.height + y_in) * from.width + x_in);
                    }
                }
            }
        }
    }
}

/// Input `[channels, height, width]`, `weight` `[out, channels, size, size]`, `bias` `[out]`; returns `[out, height, width]` of the windows.
pub(super) fn conv<T: Number>(x: &Values<T>, from: Sides, to: Sides, weight: &[T], bias: Option<&[T]>, window: Window) -> Vec<T> {
    let one = |image: &[T]| {
        let bias = |o: usize| bias.map_or(0.0, |b| b[o].wide());
        let mut sums: Vec<f64> = (0..to.channels * to.pixels()).map(|i| bias(i / to.pixels())).collect();
        each_product(from, to, window, |out, w, at| sums[out] += weight[w].wide() * image[at].wide());
        sums.into_iter().map(T::of)
    };
    x.rows().flat_map(one).collect()
}

/// Each product gives its factors the other's share of the gradient of the sum it is in.
pub(super) fn conv_backward(
    x: &Values<f64>,
    (from, to): (Sides, Sides),
    weight: &[f64],
    window: Window,
    dy: &[f64],
    [mut dx, mut d_weight, mut d_bias]: [Option<&mut [f64]>; 3],
) {
    for (item, (image, dy)) in x.rows().zip(dy.chunks_exact(to.channels * to.pixels())).enumerate() {
        let start = item * x.width;
        each_product(from, to, window, |out, w, at| {
            if let Some(dx) = &mut dx {
                dx[start + at] += dy[out] * weight[w];
            }
            if let Some(d_weight) = &mut d_weight {
                d_weight[w] += dy[out] * image[at];
            }
        });
        if let Some(d_bias) = &mut d_bias {
            dy.iter().enumerate().for_each(|(i, dy)| d_bias[i / to.pixels()] += dy);
        }
    }
}

/// `[channels, height, width]` to `[pixels, channels]`.
pub(super) fn flatten<T: Number>(x: &Values<T>, channels: usize) -> Vec<T> {
    let mut out = Vec::with_capacity(x.data.len());
    for image in x.rows() {
        let pixels = image.len() / channels;
        out.extend((0..image.len()).map(|i| image[i % channels * pixels + i / channels]));
    }
    out
}

/// Back to `[channels, height, width]`.
pub(super) fn flatten_backward(dy: &[f64], sides: Sides, dx: &mut [f64]) {
    let (channels, size) = (sides.channels, sides.channels * sides.pixels());
    for (dx, dy) in dx.chunks_exact_mut(size).zip(dy.chunks_exact(size)) {
        dy.iter().enumerate().for_each(|(i, dy)| dx[i % channels * sides.pixels() + i / channels] += dy);
    }
}
