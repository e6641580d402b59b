//! Resizing with Pillow's bytes: `Resample.c` and the affine nearest neighbour of `Geometry.c`.
//!
//! What fixes the bytes: filters in f64, the support stretched by the scale when shrinking, weights normalised and
//! then rounded to 22 bits, and 8 bits again between the two passes. The horizontal pass comes first, except (since
//! Pillow 13) where the height shrinks by more than twice as many pixels as the width.
//! Own code, since the order of the passes and every rounding show; `fast_image_resize` promises neither.
//!
//! The sums themselves are kernels (`hua_kernels::resize`), the same to the byte on every instruction set.
//!
//! Only a window of the result is computed, since a centre crop usually follows: each output pixel depends on its own
//! weights alone, so the bytes are the same as cropping afterwards, and a 1×60,000 strip cannot ask for gigabytes.

use std::borrow::Cow;
use std::ops::Range;

use hua_kernels::resize::{self as kernels, WEIGHT_BITS, weigh_along, weigh_down};

use crate::convert::multiply_255;
use crate::picture::{Mode, Picture};

/// How a resize weighs its pixels; the numbers are Pillow's `resample` codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// 0: the nearest pixel, no averaging.
    Nearest = 0,
    /// 1: three-lobed windowed sinc.
    Lanczos = 1,
    /// 2: triangle.
    Bilinear = 2,
    /// 3: cubic with a = -0.5; what CLIP and its relatives use.
    #[default]
    Bicubic = 3,
    /// 4: average of the covered pixels.
    Box = 4,
    /// 5: Hamming-windowed sinc of one lobe.
    Hamming = 5,
}

impl Filter {
    /// All filters, by code.
    pub const ALL: [Self; 6] = [Self::Nearest, Self::Lanczos, Self::Bilinear, Self::Bicubic, Self::Box, Self::Hamming];

    /// The filter of a `resample` code.
    pub fn from_code(code: u64) -> Option<Self> {
        Self::ALL.get(usize::try_from(code).ok()?).copied()
    }

    /// How far the filter reaches, in source pixels at scale 1.
    fn support(self) -> f64 {
        match self {
            Self::Nearest | Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    /// The weight at distance `x`.
    fn weight(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let sinc = |x: f64| if x == 0.0 { 1.0 } else { (x * std::f64::consts::PI).sin() / (x * std::f64::consts::PI) };
        let distance = x.abs();
        match self {
            Self::Nearest | Self::Box => f64::from(x > -0.5 && x <= 0.5),
            Self::Bilinear => (1.0 - distance).max(0.0),
            // The constants are single precision in C.
            Self::Hamming if distance == 0.0 => 1.0,
            Self::Hamming if distance < 1.0 => {
                sinc(distance) * (f64::from(0.54_f32) + f64::from(0.46_f32) * (distance * std::f64::consts::PI).cos())
            }
            Self::Bicubic if distance < 1.0 => ((A + 2.0) * distance - (A + 3.0)) * distance * distance + 1.0,
            Self::Bicubic if distance < 2.0 => (((distance - 5.0) * distance + 8.0) * distance - 4.0) * A,
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Bicubic | Self::Hamming | Self::Lanczos => 0.0,
        }
    }
}

/// The `window` (columns, rows) of `picture` resized to `size` (width, height).
pub(crate) fn resize(picture: &Picture, size: (u32, u32), window: (Range<u32>, Range<u32>), filter: Filter) -> Picture {
    let (columns, rows) = (window.0.start as usize..window.0.end as usize, window.1.start as usize..window.1.end as usize);
    let (width, height) = (window.0.len() as u32, window.1.len() as u32);
    let indexed = matches!(picture.mode, Mode::Bilevel | Mode::Palette);
    let source = Source { width: picture.width as usize, height: picture.height as usize, data: &picture.data };
    let size = (size.0 as usize, size.1 as usize);
    let data = if filter == Filter::Nearest || indexed || size == (source.width, source.height) {
        nearest(&source, picture.mode.bytes(), size, columns, rows)
    } else {
        let lost = (source.width as i64 - size.0 as i64, source.height as i64 - size.1 as i64);
        let axes = Axes {
            columns: Taps::new(source.width, size.0, columns, filter),
            rows: Taps::new(source.height, size.1, rows, filter),
            horizontal_first: lost.1 <= 0 || lost.1 <= lost.0 * 2,
        };
        match picture.mode {
            Mode::Bilevel | Mode::Palette => unreachable!("indices are never averaged"),
            Mode::Cmyk => average::<4>(&source, &axes),
            Mode::Grey => average::<1>(&source, &axes),
            Mode::Grey16 => average_16(&source, &axes),
            Mode::GreyAlpha => unpremultiply::<2>(average::<2>(&source.with(&premultiply::<2>(source.data)), &axes)),
            Mode::Rgb => average::<3>(&source, &axes),
            Mode::Rgba => unpremultiply::<4>(average::<4>(&source.with(&premultiply::<4>(source.data)), &axes)),
        }
    };
    picture.with_data(width, height, picture.mode, data)
}

/// Bytes with a size; how many bytes make a pixel is the callers' business.
struct Source<'a> {
    width: usize,
    height: usize,
    data: &'a [u8],
}

impl Source<'_> {
    fn with<'b>(&self, data: &'b [u8]) -> Source<'b> {
        Source { width: self.width, height: self.height, data }
    }
}

/// The weights along both axes, and the order of the passes.
struct Axes {
    columns: Taps,
    rows: Taps,
    horizontal_first: bool,
}

/// Which source pixels make each output pixel along one axis, and with which weights.
struct Taps {
    /// First source pixel and number of pixels, for each output pixel.
    bounds: Vec<(usize, usize)>,
    /// `stride` weights for each output pixel, those beyond its number are zero.
    weights: Vec<f64>,
    stride: usize,
    /// Source and output have the same size: Pillow skips the pass.
    identity: bool,
}

impl Taps {
    /// `precompute_coeffs` for the output pixels in `range` of `output`.
    fn new(input: usize, output: usize, range: Range<usize>, filter: Filter) -> Self {
        let scale = input as f64 / output as f64;
        let stretch = scale.max(1.0);
        let support = filter.support() * stretch;
        let stride = (support.ceil() as usize * 2 + 1).min(input);
        let mut bounds = Vec::with_capacity(range.len());
        let mut weights = vec![0.0; range.len() * stride];
        let identity = input == output;
        for (position, weights) in range.zip(weights.chunks_exact_mut(stride)) {
            if identity {
                weights[0] = 1.0;
                bounds.push((position, 1));
                continue;
            }
            let center = (position as f64 + 0.5) * scale;
            // Both casts cut towards zero, as C does.
            let first = (center - support + 0.5).max(0.0) as usize;
            let last = ((center + support + 0.5) as usize).min(input);
            let count = last - first;
            let mut total = 0.0;
            for (i, weight) in weights[..count].iter_mut().enumerate() {
                *weight = filter.weight(((i + first) as f64 - center + 0.5) * (1.0 / stretch));
                total += *weight;
            }
            if total != 0.0 {
                weights[..count].iter_mut().for_each(|weight| *weight /= total);
            }
            bounds.push((first, count));
        }
        Self { bounds, weights, stride, identity }
    }

    /// The weights as fixed point, rounded half away from zero, for inputs that are counted from `offset`.
    fn fixed(&self, offset: usize) -> kernels::Taps {
        let one = f64::from(1 << WEIGHT_BITS);
        let fixed = |&w: &f64| if w < 0.0 { (w * one - 0.5) as i32 } else { (w * one + 0.5) as i32 };
        let bounds = self.bounds.iter().map(|&(first, count)| (first - offset, count)).collect();
        kernels::Taps::new(bounds, self.weights.iter().map(fixed).collect(), self.stride)
    }

    /// The source pixels that any output pixel needs.
    fn needed(&self) -> Range<usize> {
        match (self.bounds.first(), self.bounds.last()) {
            (Some(first), Some(last)) => first.0..last.0 + last.1,
            _ => 0..0,
        }
    }
}

/// The affine nearest neighbour: coordinates are summed step by step, as Pillow does, since the rounding shows.
fn nearest(source: &Source<'_>, bytes: usize, size: (usize, usize), columns: Range<usize>, rows: Range<usize>) -> Vec<u8> {
    let pick = |input: usize, output: usize, range: Range<usize>| -> Vec<usize> {
        let step = input as f64 / output as f64;
        let coordinates = std::iter::successors(Some(step * 0.5), |at| Some(at + step));
        coordinates.skip(range.start).take(range.len()).map(|at| (at as usize).min(input - 1)).collect()
    };
    let columns = pick(source.width, size.0, columns);
    let rows = pick(source.height, size.1, rows);
    let mut out = Vec::with_capacity(columns.len() * rows.len() * bytes);
    for y in rows {
        let row = &source.data[y * source.width * bytes..][..source.width * bytes];
        columns.iter().for_each(|&x| out.extend_from_slice(&row[x * bytes..][..bytes]));
    }
    out
}

/// Both passes over 8-bit samples, `CHANNELS` to a pixel.
fn average<const CHANNELS: usize>(source: &Source<'_>, axes: &Axes) -> Vec<u8> {
    let Axes { columns, rows, horizontal_first } = axes;
    let needed = rows.needed();
    let row_bytes = source.width * CHANNELS;
    let input = &source.data[needed.start * row_bytes..needed.end * row_bytes];
    if *horizontal_first {
        let middle = horizontal::<CHANNELS>(input, source.width, columns);
        vertical(middle.into(), columns.bounds.len() * CHANNELS, needed.start, rows)
    } else {
        let middle = vertical(input.into(), row_bytes, needed.start, rows);
        horizontal::<CHANNELS>(&middle, source.width, columns)
    }
}

/// The horizontal pass: `input` is `[rows, width, CHANNELS]`; returns `[rows, columns, CHANNELS]`.
fn horizontal<const CHANNELS: usize>(input: &[u8], width: usize, columns: &Taps) -> Vec<u8> {
    let row_bytes = width * CHANNELS;
    if columns.identity {
        let needed = columns.needed();
        return input.chunks_exact(row_bytes).flat_map(|row| &row[needed.start * CHANNELS..needed.end * CHANNELS]).copied().collect();
    }
    let mut out = vec![0; input.len() / row_bytes * columns.bounds.len() * CHANNELS];
    weigh_along::<CHANNELS>(input, width, &columns.fixed(0), &mut out);
    out
}

/// The vertical pass: `input` is `[source rows from offset, row_bytes]`; returns `[rows, row_bytes]`.
fn vertical(input: Cow<'_, [u8]>, row_bytes: usize, offset: usize, rows: &Taps) -> Vec<u8> {
    if rows.identity {
        return input.into_owned();
    }
    let mut out = vec![0; rows.bounds.len() * row_bytes];
    weigh_down(&input, row_bytes, &rows.fixed(offset), &mut out);
    out
}

/// Both passes over 16-bit samples: sums in f64, rounded and clipped after each pass.
fn average_16(source: &Source<'_>, axes: &Axes) -> Vec<u8> {
    let Axes { columns, rows, horizontal_first } = axes;
    let input: Vec<u16> = source.data.as_chunks().0.iter().map(|&sample| u16::from_le_bytes(sample)).collect();
    // `[height, width]` in; each output is the weighted sum of samples `step` apart.
    let weigh = |line: &[u16], step: usize, taps: &Taps, out: usize| {
        let (first, count) = taps.bounds[out];
        let samples = line[first * step..].iter().step_by(step).take(count);
        let sum: f64 = samples.zip(&taps.weights[out * taps.stride..]).map(|(&sample, weight)| f64::from(sample) * weight).sum();
        (sum + 0.5).floor().clamp(0.0, f64::from(u16::MAX)) as u16
    };
    let across = |input: &[u16]| -> Vec<u16> {
        let lines = input.chunks_exact(source.width);
        lines.flat_map(|line| (0..columns.bounds.len()).map(move |x| weigh(line, 1, columns, x))).collect()
    };
    let down = |input: &[u16], width: usize| -> Vec<u16> {
        (0..rows.bounds.len()).flat_map(|y| (0..width).map(move |x| weigh(&input[x..], width, rows, y))).collect()
    };
    let out = if *horizontal_first { down(&across(&input), columns.bounds.len()) } else { across(&down(&input, source.width)) };
    out.into_iter().flat_map(u16::to_le_bytes).collect()
}

/// Colours times alpha; alpha is the last of `N` channels.
fn premultiply<const N: usize>(data: &[u8]) -> Vec<u8> {
    let mut out = data.to_vec();
    for pixel in out.as_chunks_mut::<N>().0 {
        let alpha = pixel[N - 1];
        pixel[..N - 1].iter_mut().for_each(|color| *color = multiply_255(*color, alpha));
    }
    out
}

/// Colours divided by alpha, cut towards zero.
fn unpremultiply<const N: usize>(mut data: Vec<u8>) -> Vec<u8> {
    for pixel in data.as_chunks_mut::<N>().0 {
        let alpha = u32::from(pixel[N - 1]);
        if alpha != 0 && alpha != 255 {
            pixel[..N - 1].iter_mut().for_each(|color| *color = (255 * u32::from(*color) / alpha).min(255) as u8);
        }
    }
    data
}
