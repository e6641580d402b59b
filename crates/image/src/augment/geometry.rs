//! Pictures turned, sheared and shifted with Pillow's bytes (`Geometry.c`, `Image.rotate`), by torchvision's matrices.
//!
//! A matrix `[a, b, c, d, e, f]` says where in the picture the pixel at `(x, y)` of the result comes from: `(a x + b y + c, d x + e y + f)`, counted from the
//! corner, pixels half a unit from their edges. Sines come from `libm`, so that they are the same on every machine; as Pillow's, those of a
//! rotation are rounded to 15 places.

use serde::{Deserialize, Serialize};

use crate::picture::{Mode, Picture};

/// How a pixel is read between pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// From 16 pixels: what timm, and so Chinese-CLIP, uses.
    #[default]
    Bicubic,
    /// From four pixels.
    Bilinear,
    /// The pixel that it falls into: torchvision's default.
    Nearest,
}

/// What a picture is drawn on when it is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canvas {
    /// How a pixel is read between pixels.
    pub interpolation: Interpolation,
    /// The colour of what the picture does not cover.
    pub fill: [u8; 3],
}

/// A rotation (in degrees, anticlockwise), a shift (in pixels), a scale and shears (in degrees) about the middle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// Degrees, clockwise as torchvision's `affine` has it.
    pub angle: f64,
    /// Pixels to the right and down.
    pub shift: [f64; 2],
    /// 2 is twice as large.
    pub scale: f64,
    /// Degrees along x and y.
    pub shear: [f64; 2],
}

impl Affine {
    /// torchvision's `_get_inverse_affine_matrix` about `center`.
    pub fn matrix(&self, center: [f64; 2]) -> [f64; 6] {
        let Self { angle, shift, scale, shear } = *self;
        let (rotation, sx, sy) = (angle.to_radians(), shear[0].to_radians(), shear[1].to_radians());
        let (cos, sin, tan) = (libm::cos, libm::sin, libm::tan);
        let a = cos(rotation - sy) / cos(sy);
        let b = -cos(rotation - sy) * tan(sx) / cos(sy) - sin(rotation);
        let c = sin(rotation - sy) / cos(sy);
        let d = -sin(rotation - sy) * tan(sx) / cos(sy) + cos(rotation);
        let mut matrix = [d, -b, 0.0, -c, a, 0.0].map(|x| x / scale);
        let (x, y) = (-center[0] - shift[0], -center[1] - shift[1]);
        matrix[2] += matrix[0] * x + matrix[1] * y;
        matrix[5] += matrix[3] * x + matrix[4] * y;
        matrix[2] += center[0];
        matrix[5] += center[1];
        matrix
    }
}

/// `Image.rotate(degrees)`, anticlockwise. `picture` is RGB.
pub(super) fn rotate(picture: &Picture, degrees: f64, canvas: Canvas) -> Picture {
    let degrees = degrees - 360.0 * (degrees / 360.0).floor();
    let square = picture.width == picture.height;
    if degrees == 0.0 {
        return picture.clone();
    } else if degrees == 180.0 {
        return rearranged(picture, |x, y, w, h| (w - 1 - x, h - 1 - y));
    } else if degrees == 90.0 && square {
        return rearranged(picture, |x, y, w, _| (w - 1 - y, x));
    } else if degrees == 270.0 && square {
        return rearranged(picture, |x, y, _, h| (y, h - 1 - x));
    }
    let angle = -degrees.to_radians();
    let [cos, sin, minus_sin] = [libm::cos(angle), libm::sin(angle), -libm::sin(angle)].map(places);
    let (cx, cy) = (f64::from(picture.width) / 2.0, f64::from(picture.height) / 2.0);
    let c = cos * -cx + sin * -cy + 0.0 + cx;
    let f = minus_sin * -cx + cos * -cy + 0.0 + cy;
    transform(picture, [cos, sin, c, minus_sin, cos, f], canvas)
}

/// Python's `round(x, 15)` of a number of at most 1.
fn places(x: f64) -> f64 {
    format!("{x:.15}").parse().expect("a number that was just written")
}

/// The picture with the pixel at `from(x, y, width, height)` at each `(x, y)`; the size stays.
fn rearranged(picture: &Picture, from: impl Fn(usize, usize, usize, usize) -> (usize, usize)) -> Picture {
    let (width, height) = (picture.width as usize, picture.height as usize);
    let pixels = picture.data.as_chunks::<3>().0;
    let mut data = Vec::with_capacity(picture.data.len());
    for y in 0..height {
        for x in 0..width {
            let (from_x, from_y) = from(x, y, width, height);
            data.extend(pixels[from_y * width + from_x]);
        }
    }
    picture.with_data(picture.width, picture.height, Mode::Rgb, data)
}

/// The picture mirrored from left to right. `picture` is RGB.
pub(super) fn mirror(picture: &Picture) -> Picture {
    rearranged(picture, |x, y, width, _| (width - 1 - x, y))
}

/// The part of `size` (width, height) at `(left, top)`, which must lie inside. `picture` is RGB.
pub(super) fn part(picture: &Picture, (left, top): (u32, u32), (width, height): (u32, u32)) -> Picture {
    let row = picture.width as usize * 3;
    let columns = left as usize * 3..(left + width) as usize * 3;
    let rows = picture.data.chunks_exact(row).skip(top as usize).take(height as usize);
    let data = rows.flat_map(|row| &row[columns.clone()]).copied().collect();
    picture.with_data(width, height, Mode::Rgb, data)
}

/// `Image.transform(size, AFFINE, matrix, fillcolor)`: the size stays. `picture` is RGB.
pub(super) fn transform(picture: &Picture, matrix: [f64; 6], canvas: Canvas) -> Picture {
    let source = Source { width: picture.width as usize, height: picture.height as usize, pixels: picture.data.as_chunks().0 };
    let data = match canvas.interpolation {
        Interpolation::Nearest => nearest(&source, matrix, canvas.fill),
        Interpolation::Bilinear => between(&source, matrix, canvas.fill, bilinear),
        Interpolation::Bicubic => between(&source, matrix, canvas.fill, bicubic),
    };
    picture.with_data(picture.width, picture.height, Mode::Rgb, data)
}

/// RGB pixels, `[height, width]`.
struct Source<'a> {
    width: usize,
    height: usize,
    pixels: &'a [[u8; 3]],
}

impl Source<'_> {
    fn row(&self, y: i64) -> &[[u8; 3]] {
        let y = y.clamp(0, self.height as i64 - 1) as usize;
        &self.pixels[y * self.width..][..self.width]
    }

    /// The row `y` if there is one.
    fn real_row(&self, y: i64) -> Option<&[[u8; 3]]> {
        (0..self.height as i64).contains(&y).then(|| self.row(y))
    }

    /// Four neighbouring columns from `x` on, those outside taken to the edge.
    fn columns<const N: usize>(&self, x: i64) -> [usize; N] {
        std::array::from_fn(|i| (x + i as i64).clamp(0, self.width as i64 - 1) as usize)
    }
}

/// Reads each pixel with `filter`, which is given the place half a pixel up and left of it: `ImagingGenericTransform`.
fn between(source: &Source<'_>, m: [f64; 6], fill: [u8; 3], filter: impl Fn(&Source<'_>, f64, f64) -> [u8; 3]) -> Vec<u8> {
    let (width, height) = (source.width as f64, source.height as f64);
    let mut out = Vec::with_capacity(source.pixels.len() * 3);
    for y in 0..source.height {
        for x in 0..source.width {
            let (x, y) = (x as f64 + 0.5, y as f64 + 0.5);
            let (x, y) = (m[0] * x + m[1] * y + m[2], m[3] * x + m[4] * y + m[5]);
            let inside = (0.0..width).contains(&x) && (0.0..height).contains(&y);
            out.extend(if inside { filter(source, x - 0.5, y - 0.5) } else { fill });
        }
    }
    out
}

/// `bilinear_filter32RGB`: weighted in f64, cut towards zero.
fn bilinear(source: &Source<'_>, x: f64, y: f64) -> [u8; 3] {
    let (left, top) = (x.floor(), y.floor());
    let (dx, dy) = (x - left, y - top);
    let columns = source.columns::<2>(left as i64);
    let mix = |a: f64, b: f64, at: f64| a + (b - a) * at;
    std::array::from_fn(|channel| {
        let along = |row: &[[u8; 3]]| {
            let [a, b] = columns.map(|x| f64::from(row[x][channel]));
            mix(a, b, dx)
        };
        let first = along(source.row(top as i64));
        let second = source.real_row(top as i64 + 1).map_or(first, along);
        mix(first, second, dy) as u8
    })
}

/// `bicubic_filter32RGB`: a cubic with a = -1 through four rows of four, clipped and cut towards zero.
fn bicubic(source: &Source<'_>, x: f64, y: f64) -> [u8; 3] {
    let (left, top) = (x.floor(), y.floor());
    let (dx, dy) = (x - left, y - top);
    let columns = source.columns::<4>(left as i64 - 1);
    let cubic = |[v1, v2, v3, v4]: [f64; 4], d: f64| {
        let p2 = -v1 + v3;
        let p3 = 2.0 * (v1 - v2) + v3 - v4;
        let p4 = -v1 + v2 - v3 + v4;
        v2 + d * (p2 + d * (p3 + d * p4))
    };
    let first = top as i64 - 1;
    std::array::from_fn(|channel| {
        let along = |row: &[[u8; 3]]| cubic(columns.map(|x| f64::from(row[x][channel])), dx);
        let mut rows = [along(source.row(first)); 4];
        for i in 1..4 {
            // Below the picture the row above is used again, whatever it was made of.
            rows[i] = source.real_row(first + i as i64).map_or(rows[i - 1], along);
        }
        // A cast keeps within 0 and 255, and cuts towards zero.
        cubic(rows, dy) as u8
    })
}

/// `ImagingTransformAffine` without a filter: sums of steps where nothing turns, else fixed point of 16 bits, as far as that reaches.
fn nearest(source: &Source<'_>, m: [f64; 6], fill: [u8; 3]) -> Vec<u8> {
    let (width, height) = (source.width as i64, source.height as i64);
    let pixel = |x: i64, y: i64| {
        let inside = (0..width).contains(&x) && (0..height).contains(&y);
        if inside { source.pixels[(y * width + x) as usize] } else { fill }
    };
    let whole = |v: f64| if v < 0.0 { -1 } else { v as i64 };
    let mut out = Vec::with_capacity(source.pixels.len() * 3);
    if m[1] == 0.0 && m[3] == 0.0 {
        let steps = |start: f64, step: f64| std::iter::successors(Some(start), move |at| Some(at + step)).map(whole);
        let columns: Vec<i64> = steps(m[2] + m[0] * 0.5, m[0]).take(source.width).collect();
        for y in steps(m[5] + m[4] * 0.5, m[4]).take(source.height) {
            columns.iter().for_each(|&x| out.extend(pixel(x, y)));
        }
        return out;
    }
    let reaches = |x: f64, y: f64| (x * m[0] + y * m[1] + m[2]).abs() < 32768.0 && (x * m[3] + y * m[4] + m[5]).abs() < 32768.0;
    let (w, h) = (width as f64, height as f64);
    if reaches(0.0, 0.0) && reaches(w, h) && reaches(0.0, h) && reaches(w, 0.0) {
        // i32 in C, which wraps where nobody looks.
        let fixed = |v: f64| (v * 65536.0 + 0.5).floor() as i64;
        let [a0, a1, a3, a4] = [m[0], m[1], m[3], m[4]].map(fixed);
        let (mut a2, mut a5) = (fixed(m[2] + m[0] * 0.5 + m[1] * 0.5), fixed(m[5] + m[3] * 0.5 + m[4] * 0.5));
        for _ in 0..height {
            let (mut x, mut y) = (a2, a5);
            for _ in 0..width {
                out.extend(pixel(x >> 16, y >> 16));
                (x, y) = (x + a0, y + a3);
            }
            (a2, a5) = (a2 + a1, a5 + a4);
        }
        return out;
    }
    let (mut row_x, mut row_y) = (m[2] + m[1] * 0.5 + m[0] * 0.5, m[5] + m[4] * 0.5 + m[3] * 0.5);
    for _ in 0..height {
        let (mut x, mut y) = (row_x, row_y);
        for _ in 0..width {
            out.extend(pixel(whole(x), whole(y)));
            (x, y) = (x + m[0], y + m[3]);
        }
        (row_x, row_y) = (row_x + m[1], row_y + m[4]);
    }
    out
}
