//! Colours changed pixel by pixel with Pillow's bytes: `ImageOps` (tables for each channel), `ImageEnhance` (blends with a dull picture) and the
//! hue of torchvision (through Pillow's HSV).

use crate::picture::{Mode, Picture};

/// `image.point(table)`, a table for each channel. `picture` is RGB.
fn through(picture: &Picture, tables: &[[u8; 256]; 3]) -> Picture {
    map(picture, |pixel| std::array::from_fn(|channel| tables[channel][usize::from(pixel[channel])]))
}

fn map(picture: &Picture, f: impl Fn([u8; 3]) -> [u8; 3]) -> Picture {
    let data = picture.data.as_chunks::<3>().0.iter().flat_map(|&pixel| f(pixel)).collect();
    picture.with_data(picture.width, picture.height, Mode::Rgb, data)
}

/// One table for all channels.
fn all(f: impl Fn(u8) -> u8) -> [[u8; 256]; 3] {
    [std::array::from_fn(|byte| f(byte as u8)); 3]
}

/// How often each byte occurs in each channel.
fn histograms(picture: &Picture) -> [[u64; 256]; 3] {
    let mut counts = [[0; 256]; 3];
    for pixel in picture.data.as_chunks::<3>().0 {
        (0..3).for_each(|channel| counts[channel][usize::from(pixel[channel])] += 1);
    }
    counts
}

/// `ImageOps.posterize`: the upper `bits` bits stay.
pub(super) fn posterize(picture: &Picture, bits: u32) -> Picture {
    let mask = !(((1_u16 << 8_u32.saturating_sub(bits)) - 1) as u8);
    through(picture, &all(|byte| byte & mask))
}

/// `ImageOps.solarize`: bytes of `threshold` and above are inverted.
pub(super) fn solarize(picture: &Picture, threshold: f64) -> Picture {
    through(picture, &all(|byte| if f64::from(byte) < threshold { byte } else { 255 - byte }))
}

/// `ImageOps.invert`.
pub(super) fn invert(picture: &Picture) -> Picture {
    through(picture, &all(|byte| 255 - byte))
}

/// `ImageOps.autocontrast` without a cutoff: each channel stretched over 0 to 255.
pub(super) fn auto_contrast(picture: &Picture) -> Picture {
    let tables = histograms(picture).map(|counts| {
        let low = counts.iter().position(|&count| count > 0).unwrap_or(0);
        let high = counts.iter().rposition(|&count| count > 0).unwrap_or(0);
        if high <= low {
            return std::array::from_fn(|byte| byte as u8);
        }
        let scale = 255.0 / (high - low) as f64;
        let offset = -(low as f64) * scale;
        // The cast keeps within 0 and 255, and cuts towards zero.
        std::array::from_fn(|byte| (byte as f64 * scale + offset) as u8)
    });
    through(picture, &tables)
}

/// `ImageOps.equalize`: each channel with as even a histogram as a table can give.
pub(super) fn equalize(picture: &Picture) -> Picture {
    let tables = histograms(picture).map(|counts| {
        let same = std::array::from_fn(|byte| byte as u8);
        let Some(last) = counts.iter().rev().find(|&&count| count > 0) else { return same };
        let step = (counts.iter().sum::<u64>() - last) / 255;
        if step == 0 {
            return same;
        }
        let mut sum = step / 2;
        std::array::from_fn(|byte| {
            let level = (sum / step).min(255) as u8;
            sum += counts[byte];
            level
        })
    });
    through(picture, &tables)
}

/// What each byte becomes between (factor below 1) or beyond (above 1) a dull byte: `Image.blend(dull, byte, factor)`, in f32.
fn blend(dull: u8, byte: u8, factor: f32) -> u8 {
    // The cast keeps within 0 and 255, and cuts towards zero.
    (f32::from(dull) + factor * f32::from(i16::from(byte) - i16::from(dull))) as u8
}

/// `picture` between or beyond `dull` by `factor`; 1 is `picture`.
fn blend_with(dull: impl IntoIterator<Item = [u8; 3]>, picture: &Picture, factor: f64) -> Picture {
    let factor = factor as f32;
    let pixels = picture.data.as_chunks::<3>().0;
    let data = match factor {
        1.0 => picture.data.clone(),
        _ => dull.into_iter().zip(pixels).flat_map(|(dull, pixel)| [0, 1, 2].map(|c| blend(dull[c], pixel[c], factor))).collect(),
    };
    picture.with_data(picture.width, picture.height, Mode::Rgb, data)
}

/// `convert("L")`: ITU-R 601-2 in 16 bits of fixed point.
fn luma([r, g, b]: [u8; 3]) -> u8 {
    ((u32::from(r) * 19595 + u32::from(g) * 38470 + u32::from(b) * 7471 + 0x8000) >> 16) as u8
}

fn lumas(picture: &Picture) -> impl Iterator<Item = u8> {
    picture.data.as_chunks::<3>().0.iter().map(|&pixel| luma(pixel))
}

/// `ImageEnhance.Brightness`: 0 is black.
pub(super) fn brightness(picture: &Picture, factor: f64) -> Picture {
    blend_with(std::iter::repeat([0; 3]), picture, factor)
}

/// `ImageEnhance.Color`: 0 is grey.
pub(super) fn color(picture: &Picture, factor: f64) -> Picture {
    blend_with(lumas(picture).map(|grey| [grey; 3]), picture, factor)
}

/// `ImageEnhance.Contrast`: 0 is the mean grey.
pub(super) fn contrast(picture: &Picture, factor: f64) -> Picture {
    let pixels = picture.data.len() / 3;
    let mean = lumas(picture).map(u64::from).sum::<u64>() as f64 / pixels as f64;
    blend_with(std::iter::repeat([(mean + 0.5) as u8; 3]), picture, factor)
}

/// `ImageEnhance.Sharpness`: 0 is `ImageFilter.SMOOTH`, which leaves the outermost pixels as they are.
pub(super) fn sharpness(picture: &Picture, factor: f64) -> Picture {
    let (width, height) = (picture.width as usize, picture.height as usize);
    let pixels = picture.data.as_chunks::<3>().0;
    let smooth = (0..pixels.len()).map(|at| {
        let (x, y) = (at % width, at / width);
        if x == 0 || y == 0 || x + 1 == width || y + 1 == height {
            return pixels[at];
        }
        std::array::from_fn(|channel| {
            // Rows from below, sums in f32, in the order of `ImagingFilter3x3`: every rounding shows.
            let mut sum = 0.5_f32;
            for (row, middle) in [(at + width, 1.0_f32), (at, 5.0), (at - width, 1.0)] {
                let value = |at: usize, weight: f32| f32::from(pixels[at][channel]) * (weight / 13.0);
                sum += value(row - 1, 1.0) + value(row, middle) + value(row + 1, 1.0);
            }
            sum as u8
        })
    });
    blend_with(smooth, picture, factor)
}

/// torchvision's `adjust_hue` of a PIL picture: the hue turned by `turns` of a circle, in steps of 1/255 cut towards zero.
pub(super) fn hue(picture: &Picture, turns: f64) -> Picture {
    let shift = (turns * 255.0) as i32 as u8;
    map(picture, |pixel| {
        let [h, s, v] = hsv(pixel);
        rgb([h.wrapping_add(shift), s, v])
    })
}

/// `rgb2hsv_row` of Pillow: f32 where C has `float`.
fn hsv([r, g, b]: [u8; 3]) -> [u8; 3] {
    let (high, low) = (r.max(g).max(b), r.min(g).min(b));
    if high == low {
        return [0, 0, high];
    }
    let range = f32::from(high - low);
    let [rc, gc, bc] = [r, g, b].map(|channel| f32::from(high - channel) / range);
    let hue = if r == high {
        bc - gc
    } else if g == high {
        (2.0 + f64::from(rc) - f64::from(bc)) as f32
    } else {
        (4.0 + f64::from(gc) - f64::from(rc)) as f32
    };
    let hue = ((f64::from(hue) / 6.0 + 1.0) % 1.0) as f32;
    [(f64::from(hue) * 255.0) as u8, (f64::from(range / f32::from(high)) * 255.0) as u8, high]
}

/// `hsv2rgb` of Pillow.
fn rgb([h, s, v]: [u8; 3]) -> [u8; 3] {
    if s == 0 {
        return [v; 3];
    }
    let sector = f64::from(h) * 6.0 / 255.0;
    let f = (sector - sector.floor()) as f32;
    let fs = (f64::from(s) / 255.0) as f32;
    let value = f64::from(v);
    let p = (value * (1.0 - f64::from(fs))).round() as u8;
    let q = (value * (1.0 - f64::from(fs * f))).round() as u8;
    let t = (value * (1.0 - f64::from(fs) * (1.0 - f64::from(f)))).round() as u8;
    match sector as u8 % 6 {
        0 => [v, t, p],
        1 => [q, v, p],
        2 => [p, v, t],
        3 => [p, q, v],
        4 => [t, p, v],
        _ => [v, p, q],
    }
}
