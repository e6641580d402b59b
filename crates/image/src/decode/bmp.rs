//! BMP, read by hand: Windows and OS/2 headers, 1 to 32 bits, bit fields, run lengths; modes as `BmpImagePlugin.py` gives them.
//!
//! A palette that is the grey ramp is dropped and the picture is grey or bilevel; 32-bit files have alpha only if a bit
//! field says so.

use super::{DecodeOptions, Decoded, unpack};
use crate::orientation::Orientation;
use crate::{Error, Format, Mode, Palette, Picture, Result};

/// Bytes before the second header, the one with the size of the picture.
const FILE_HEADER: usize = 14;
/// Where the bit field masks are, inside the newer headers and behind the older one.
const MASKS: usize = FILE_HEADER + 40;

pub(super) fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<Decoded> {
    let header = Header::read(bytes)?;
    // The unpacked samples, the pixels, and the file beside them.
    options.limits.check(Format::Bmp, header.width, header.height, 8)?;
    let stored = bytes.get(header.offset..).unwrap_or_default();
    let (width, height) = (header.width as usize, header.height as usize);
    let picture = match (header.compression, header.bits) {
        (0, 1 | 4 | 8) => {
            let stride = (width * header.bits).div_ceil(32) * 4;
            let padded = stride * 8 / header.bits;
            let samples = unpack(stored, padded, height, header.bits).ok_or_else(truncated)?;
            indexed(bytes, &header, samples.chunks_exact(padded).flat_map(|row| &row[..width]).copied().collect())?
        }
        (1, 8) | (2, 4) => indexed(bytes, &header, run_lengths(stored, width, height, header.bits == 4).ok_or_else(truncated)?)?,
        (0 | 3, 16 | 24 | 32) => {
            let stride = (width * header.bits).div_ceil(32) * 4;
            let rows = stored.get(..stride * height).ok_or_else(truncated)?.chunks_exact(stride);
            colors(bytes, &header, rows)?
        }
        (compression, bits) => {
            return Err(unsupported(format!(
                "{bits} bits with compression {compression}; wanted 1, 4, 8, 16, 24 or 32 bits, plain, run lengths or bit fields"
            )));
        }
    };
    Ok(Decoded { picture: if header.from_top { picture } else { flip(picture) }, orientation: Orientation::default() })
}

/// The fields that matter.
struct Header {
    size: usize,
    width: u32,
    height: u32,
    from_top: bool,
    bits: usize,
    compression: u32,
    colors: usize,
    /// Where the pixels begin.
    offset: usize,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self> {
        let size = u32_at(bytes, FILE_HEADER)? as usize;
        let at = FILE_HEADER + 4;
        let offset = u32_at(bytes, 10)? as usize;
        if size == 12 {
            let [width, height, _, bits] = [0, 2, 4, 6].map(|field| u16_at(bytes, at + field));
            let bits = usize::from(bits?);
            let colors = if bits <= 8 { 1 << bits } else { 0 };
            return Ok(Self { size, width: width?.into(), height: height?.into(), from_top: false, bits, compression: 0, colors, offset });
        }
        let height = u32_at(bytes, at + 4)?;
        let bits = usize::from(u16_at(bytes, at + 10)?);
        let from_top = height >> 24 == 0xFF;
        let colors = match u32_at(bytes, at + 28)? as usize {
            0 if bits <= 8 => 1 << bits,
            n => n.min(1 << 16),
        };
        Ok(Self {
            size,
            width: u32_at(bytes, at)?,
            height: if from_top { height.wrapping_neg() } else { height },
            from_top,
            bits,
            compression: u32_at(bytes, at + 12)?,
            colors,
            offset,
        })
    }
}

/// One byte a pixel, as a palette picture or as what its palette makes of it.
fn indexed(bytes: &[u8], header: &Header, samples: Vec<u8>) -> Result<Picture> {
    let step = if header.size == 12 { 3 } else { 4 };
    let start = FILE_HEADER + header.size;
    let table = bytes.get(start..).unwrap_or_default();
    let entries: Vec<[u8; 3]> = table.chunks_exact(step).take(header.colors).map(|entry| [entry[2], entry[1], entry[0]]).collect();
    let ramp =
        |grey: &dyn Fn(usize) -> u8| entries.len() == header.colors && entries.iter().enumerate().all(|(i, color)| *color == [grey(i); 3]);
    let (width, height) = (header.width, header.height);
    if header.bits == 1 && header.colors == 2 && ramp(&|i| if i == 0 { 0 } else { 255 }) {
        let black_white = samples.into_iter().map(|sample| sample * 255).collect();
        return Picture::from_raw(width, height, Mode::Bilevel, black_white);
    }
    if header.colors != 2 && ramp(&|i| i as u8) {
        return Picture::from_raw(width, height, Mode::Grey, samples);
    }
    Picture::from_indices(width, height, samples, Palette::from_rgb(entries.as_flattened()))
}

/// 16, 24 and 32 bits.
fn colors<'a>(bytes: &[u8], header: &Header, rows: impl Iterator<Item = &'a [u8]>) -> Result<Picture> {
    let (width, height) = (header.width, header.height);
    let take = width as usize * header.bits / 8;
    let pixels = rows.flat_map(|row| &row[..take]).copied().collect::<Vec<u8>>();
    let masks = if header.compression == 3 {
        let mask = |i: usize| u32_at(bytes, MASKS + 4 * i);
        [mask(0)?, mask(1)?, mask(2)?, if header.size >= 56 { mask(3)? } else { 0 }]
    } else if header.bits == 16 {
        [0x7C00, 0x3E0, 0x1F, 0]
    } else {
        [0xFF_0000, 0xFF00, 0xFF, 0]
    };
    let wrong = || unsupported(format!("bit fields {masks:08x?} at {} bits; wanted 5-5-5, 5-6-5 or whole bytes", header.bits));
    match (header.bits, masks) {
        (16, [0x7C00, 0x3E0, 0x1F, _] | [0xF800, 0x7E0, 0x1F, _]) => {
            let (green_bits, red_shift) = if masks[0] == 0x7C00 { (0x1F, 10) } else { (0x3F, 11) };
            let color = |&pixel: &[u8; 2]| {
                let pixel = u32::from(u16::from_le_bytes(pixel));
                let (red, green, blue) = (pixel >> red_shift & 0x1F, pixel >> 5 & green_bits, pixel & 0x1F);
                [(red * 255 / 31) as u8, (green * 255 / green_bits) as u8, (blue * 255 / 31) as u8]
            };
            Picture::from_rgb8(width, height, pixels.as_chunks().0.iter().flat_map(color).collect())
        }
        (24, [0xFF_0000, 0xFF00, 0xFF, _]) => {
            Picture::from_rgb8(width, height, pixels.as_chunks().0.iter().flat_map(|&[b, g, r]| [r, g, b]).collect())
        }
        (32, masks) => {
            let masks = if masks == [0; 4] { [0xFF_0000, 0xFF00, 0xFF, 0xFF00_0000] } else { masks };
            let byte = |mask: u32| (0..4).find(|i| mask == 0xFF << (8 * i)).ok_or_else(wrong);
            let [red, green, blue] = [byte(masks[0])?, byte(masks[1])?, byte(masks[2])?];
            let pixels = pixels.as_chunks::<4>().0.iter();
            if masks[3] == 0 {
                return Picture::from_rgb8(width, height, pixels.flat_map(|p| [p[red], p[green], p[blue]]).collect());
            }
            let alpha = byte(masks[3])?;
            Picture::from_raw(width, height, Mode::Rgba, pixels.flat_map(|p| [p[red], p[green], p[blue], p[alpha]]).collect())
        }
        _ => Err(wrong()),
    }
}

/// Run-length coding of 8 or (`nibbles`) 4 bits: one byte a pixel, `None` when the file ends before the picture is full.
fn run_lengths(data: &[u8], width: usize, height: usize, nibbles: bool) -> Option<Vec<u8>> {
    let length = width * height;
    let mut out: Vec<u8> = Vec::new();
    // The column; a row that is full stays so until its end is marked.
    let mut x = 0;
    let mut at = 0;
    while out.len() < length {
        let &[count, value] = data.get(at..)?.first_chunk()?;
        at += 2;
        let sample = |byte: u8, i: usize| if !nibbles { byte } else { byte >> (4 - 4 * (i % 2)) & 15 };
        match (count, value) {
            (0, 0) => {
                out.resize(out.len().next_multiple_of(width), 0);
                x = 0;
            }
            // The end, perhaps before the last row is full.
            (0, 1) => break,
            (0, 2) => {
                let &[right, up] = data.get(at..)?.first_chunk()?;
                at += 2;
                out.resize((out.len() + usize::from(right) + usize::from(up) * width).min(length), 0);
                x = out.len() % width;
            }
            (0, count) => {
                let count = usize::from(count);
                let taken = if nibbles { count.div_ceil(2) } else { count };
                let run = data.get(at..at + taken)?;
                out.extend((0..count).map(|i| sample(run[if nibbles { i / 2 } else { i }], i)));
                // Runs begin on an even byte.
                at += taken + taken % 2;
                x += count;
            }
            (count, value) => {
                let count = usize::from(count).min(width.saturating_sub(x));
                out.extend((0..count).map(|i| sample(value, i)));
                x += count;
            }
        }
    }
    out.truncate(length);
    (out.len() == length).then_some(out)
}

/// The rows in the other order: most BMP files begin with the lowest.
fn flip(mut picture: Picture) -> Picture {
    let row = picture.width as usize * picture.mode.bytes();
    picture.data = picture.data.chunks_exact(row).rev().flatten().copied().collect();
    picture
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map(|bytes| u16::from_le_bytes(*bytes)).ok_or_else(truncated)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map(|bytes| u32::from_le_bytes(*bytes)).ok_or_else(truncated)
}

fn truncated() -> Error {
    Error::Truncated { format: Format::Bmp, reason: "fewer bytes than the header promises".into() }
}

fn unsupported(reason: String) -> Error {
    Error::Unsupported { format: Format::Bmp, reason }
}
