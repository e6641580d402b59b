//! Every mode to RGB, with Pillow's integer arithmetic (`Convert.c`, `AlphaComposite.c`).

use crate::picture::{Alpha, Mode, Picture};

/// `picture` as RGB. On white the result is `Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")`,
/// otherwise `picture.convert("RGB")`.
pub(crate) fn to_rgb8(picture: &Picture, alpha: Alpha) -> Picture {
    let white = alpha == Alpha::OverWhite && picture.has_transparency();
    let data = &picture.data;
    let mut rgb = match picture.mode {
        Mode::Bilevel | Mode::Grey => pixels(data, |[grey]: [u8; 1]| [grey; 3]),
        Mode::Cmyk => pixels(data, cmyk),
        // Pillow clips: whatever is brighter than 255 of 65,535 is white.
        Mode::Grey16 => pixels(data, |bytes: [u8; 2]| [u16::from_le_bytes(bytes).min(255) as u8; 3]),
        Mode::GreyAlpha if white => pixels(data, |[grey, alpha]: [u8; 2]| [over_white(grey, alpha); 3]),
        Mode::GreyAlpha => pixels(data, |[grey, _]: [u8; 2]| [grey; 3]),
        Mode::Palette => palette(picture, white),
        Mode::Rgb => data.clone(),
        Mode::Rgba if white => pixels(data, |[r, g, b, a]: [u8; 4]| [r, g, b].map(|color| over_white(color, a))),
        Mode::Rgba => pixels(data, |[r, g, b, _]: [u8; 4]| [r, g, b]),
    };
    if let (true, Some(key)) = (white, picture.color_key) {
        rgb.as_chunks_mut().0.iter_mut().filter(|pixel| **pixel == key).for_each(|pixel| *pixel = [255; 3]);
    }
    Picture { width: picture.width, height: picture.height, mode: Mode::Rgb, data: rgb, palette: None, color_key: None }
}

/// Applies `f` to each pixel of `N` bytes.
fn pixels<const N: usize>(data: &[u8], f: impl Fn([u8; N]) -> [u8; 3]) -> Vec<u8> {
    let mut out = vec![0; data.len() / N * 3];
    for (pixel, rgb) in data.as_chunks::<N>().0.iter().zip(out.as_chunks_mut::<3>().0) {
        *rgb = f(*pixel);
    }
    out
}

fn palette(picture: &Picture, white: bool) -> Vec<u8> {
    let palette = picture.palette().expect("a palette picture is only made with its palette");
    let mut table = palette.colors;
    if let (true, Some(alpha)) = (white, &palette.alpha) {
        for (color, &a) in table.iter_mut().zip(alpha) {
            *color = color.map(|c| over_white(c, a));
        }
    }
    pixels(&picture.data, |[index]: [u8; 1]| table[usize::from(index)])
}

fn cmyk([c, m, y, k]: [u8; 4]) -> [u8; 3] {
    let light = 255 - k;
    [c, m, y].map(|ink| light.saturating_sub(multiply_255(ink, light)))
}

/// `a * b / 255`, rounded, without a division.
pub(crate) fn multiply_255(a: u8, b: u8) -> u8 {
    let product = u32::from(a) * u32::from(b) + 128;
    (((product >> 8) + product) >> 8) as u8
}

/// One channel of a pixel with this `alpha` put on white, with Pillow's seven extra bits.
fn over_white(color: u8, alpha: u8) -> u8 {
    if alpha == 0 {
        return 255;
    }
    let weight = u32::from(alpha) << 7;
    let sum = u32::from(color) * weight + 255 * ((255 << 7) - weight) + (0x80 << 7);
    ((((sum >> 8) + sum) >> 8) >> 7) as u8
}
