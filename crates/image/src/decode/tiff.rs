//! The first page of a TIFF through the `tiff` crate, in Pillow's modes (`TiffImagePlugin.py`).
//!
//! Samples that are no bytes or 16-bit words (32-bit integers, floats) are refused: Pillow clips them to 0 … 255,
//! which is never what such files mean.

use std::io::Cursor;

use tiff::decoder::{BufferLayoutPreference, Decoder, DecodingResult};
use tiff::tags::Tag;
use tiff::{ColorType, TiffError};

use super::{DecodeOptions, Decoded, grey16_picture, stretch, unpack};
use crate::orientation::{Entry, Orientation};
use crate::{Error, Format, Mode, Palette, Picture, Result};

/// The photometric interpretation of grey that is brighter the greater it is, and of a palette.
const GREY: u16 = 1;
const PALETTE: u64 = 3;

pub(super) fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<Decoded> {
    let mut decoder = open(bytes, options)?;
    let grey_bytes;
    let mut colors = None;
    if number(&mut decoder, Tag::PhotometricInterpretation) == Some(PALETTE) {
        // The library reads no palettes. Indices are stored exactly as greys are, so they are read as greys.
        let unsupported = || Error::Unsupported { format: Format::Tiff, reason: "a palette in a 64-bit TIFF".into() };
        let entry = Entry::find(bytes, Tag::PhotometricInterpretation.to_u16()).ok_or_else(unsupported)?;
        colors = Some(decoder.get_tag_u16_vec(Tag::ColorMap).map_err(error)?);
        let mut copy = bytes.to_vec();
        copy[entry.value_at..][..2].copy_from_slice(&entry.short_bytes(GREY));
        grey_bytes = copy;
        decoder = open(&grey_bytes, options)?;
    }
    let (width, height) = decoder.dimensions().map_err(error)?;
    let color = decoder.colortype().map_err(error)?;
    let sample_bytes = u64::from(color.bit_depth().div_ceil(8));
    options.limits.check(Format::Tiff, width, height, 2 * sample_bytes * u64::from(color.num_samples()) + 1)?;

    let orientation = number(&mut decoder, Tag::Orientation).map(Orientation::from_exif_number).unwrap_or_default();
    // 1: the colours are already multiplied by alpha.
    let premultiplied =
        decoder.find_tag_unsigned_vec::<u16>(Tag::ExtraSamples).ok().flatten().is_some_and(|extra| extra.first() == Some(&1));
    let mut result = DecodingResult::U8(Vec::new());
    let layout = decoder.read_image_to_buffer(&mut result).map_err(error)?;
    let picture = picture((width, height), color, colors.as_deref(), result, &layout, options)?;
    Ok(Decoded { picture: if premultiplied { divide_by_alpha(picture) } else { picture }, orientation })
}

fn open<'a>(bytes: &'a [u8], options: &DecodeOptions) -> Result<Decoder<Cursor<&'a [u8]>>> {
    let mut limits = tiff::decoder::Limits::default();
    limits.decoding_buffer_size = options.limits.bytes();
    Ok(Decoder::new(Cursor::new(bytes)).map_err(error)?.with_limits(limits))
}

fn number(decoder: &mut Decoder<Cursor<&[u8]>>, tag: Tag) -> Option<u64> {
    decoder.find_tag_unsigned(tag).ok().flatten()
}

/// The samples in Pillow's mode for this colour type.
fn picture(
    (width, height): (u32, u32),
    color: ColorType,
    colors: Option<&[u16]>,
    result: DecodingResult,
    layout: &BufferLayoutPreference,
    options: &DecodeOptions,
) -> Result<Picture> {
    let unsupported = |reason: String| Error::Unsupported { format: Format::Tiff, reason };
    let short = || Error::Damaged { format: Format::Tiff, reason: "fewer samples than the header promises".into() };
    let samples = usize::from(color.num_samples());
    let pixels = width as usize * height as usize;
    let planar = layout.planes > 1;
    let bytes = match (result, color.bit_depth()) {
        (DecodingResult::U8(bytes), 1..=8) => bytes,
        (DecodingResult::U16(words), 16) if matches!(color, ColorType::Gray(_)) => {
            return grey16_picture(width, height, words.into_iter().take(pixels), options.grey16);
        }
        (DecodingResult::U16(words), 16) => words.into_iter().map(|word| (word >> 8) as u8).collect(),
        (_, bits) => {
            return Err(unsupported(format!("samples of {bits} bits or of another kind; wanted unsigned samples of 1 to 8 or 16 bits")));
        }
    };
    let bytes = if planar { interleave(&bytes, pixels, samples).ok_or_else(short)? } else { bytes };
    let unpacked = |bits: u8| unpack(&bytes, width as usize, height as usize, bits.into()).ok_or_else(short);
    if let (Some(colors), ColorType::Gray(bits @ (1 | 2 | 4 | 8))) = (colors, color) {
        // All reds, then all greens, then all blues, 16 bits each.
        let third = colors.len() / 3;
        let rgb: Vec<u8> = (0..third).flat_map(|i| [i, third + i, 2 * third + i]).map(|i| (colors[i] >> 8) as u8).collect();
        return Picture::from_indices(width, height, unpacked(bits)?, Palette::from_rgb(&rgb));
    }
    match color {
        ColorType::Gray(bits @ (1 | 2 | 4)) => {
            let mut grey = unpacked(bits)?;
            stretch(&mut grey, bits.into());
            Picture::from_raw(width, height, if bits == 1 { Mode::Bilevel } else { Mode::Grey }, grey)
        }
        ColorType::Gray(8) => exactly(width, height, Mode::Grey, bytes),
        ColorType::GrayA(8 | 16) | ColorType::Multiband { bit_depth: 8 | 16, num_samples: 2 } => {
            exactly(width, height, Mode::GreyAlpha, bytes)
        }
        ColorType::RGB(8 | 16) => exactly(width, height, Mode::Rgb, bytes),
        ColorType::RGBA(8 | 16) => exactly(width, height, Mode::Rgba, bytes),
        ColorType::CMYK(8 | 16) => exactly(width, height, Mode::Cmyk, bytes),
        // JPEG inside TIFF arrives converted; anything else of this kind does not.
        ColorType::YCbCr(8) if bytes.len() == pixels * 3 => exactly(width, height, Mode::Rgb, bytes),
        other => Err(unsupported(format!("colours are {other:?}; wanted grey, palette, RGB or CMYK"))),
    }
}

/// A picture of these bytes; a wrong length is the file's fault.
fn exactly(width: u32, height: u32, mode: Mode, bytes: Vec<u8>) -> Result<Picture> {
    Picture::from_raw(width, height, mode, bytes).map_err(|error| Error::Damaged { format: Format::Tiff, reason: error.to_string() })
}

/// Planes one after another to pixels one after another.
fn interleave(planes: &[u8], pixels: usize, samples: usize) -> Option<Vec<u8>> {
    let planes = planes.get(..pixels * samples)?;
    Some((0..pixels * samples).map(|i| planes[i % samples * pixels + i / samples]).collect())
}

/// Premultiplied RGBA to plain RGBA, rounded as Pillow's unpacker does.
fn divide_by_alpha(mut picture: Picture) -> Picture {
    if picture.mode == Mode::Rgba {
        for [r, g, b, a] in picture.data.as_chunks_mut().0 {
            let alpha = u32::from(*a);
            for color in [r, g, b] {
                *color = (u32::from(*color) * 255).checked_div(alpha).unwrap_or(0).min(255) as u8;
            }
        }
    }
    picture
}

fn error(error: TiffError) -> Error {
    match error {
        TiffError::IoError(error) => Error::Truncated { format: Format::Tiff, reason: error.to_string() },
        TiffError::UnsupportedError(error) => Error::Unsupported { format: Format::Tiff, reason: error.to_string() },
        other => Error::Damaged { format: Format::Tiff, reason: other.to_string() },
    }
}
