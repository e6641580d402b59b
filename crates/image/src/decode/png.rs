//! PNG through the `png` crate, without its transformations: bit depths and transparency become what Pillow makes of them
//! (`PngImagePlugin.py`). Of 16-bit colour the upper half is kept; grey with alpha at 16 bits becomes RGBA.

use std::io::Cursor;

use png::{BitDepth, ColorType, DecodingError, Transformations};

use super::{DecodeOptions, Decoded, Grey16, grey16_picture, stretch, unpack};
use crate::orientation::Orientation;
use crate::{Error, Format, Mode, Palette, Picture, Result};

pub(super) fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<Decoded> {
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), png::Limits { bytes: options.limits.bytes() });
    decoder.set_transformations(Transformations::IDENTITY);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let header = decoder.read_header_info().map_err(error)?;
    // Both the rows as stored and the pixels as wanted; at most eight bytes and four.
    options.limits.check(Format::Png, header.width, header.height, 4 + header.bytes_per_pixel() as u64)?;
    let mut reader = decoder.read_info().map_err(error)?;
    let length = reader.output_buffer_size().ok_or_else(|| error(DecodingError::LimitsExceeded))?;
    let mut stored = vec![0; length];
    reader.next_frame(&mut stored).map_err(error)?;
    // Only for an orientation behind the pixels; whatever is wrong there does not touch them.
    let _ = reader.finish();

    let info = reader.info();
    let orientation = info.exif_metadata.as_deref().map(Orientation::from_exif).unwrap_or_default();
    Ok(Decoded { picture: picture(info, stored, options)?, orientation })
}

/// The stored samples in Pillow's mode for this combination of colour type and depth.
fn picture(info: &png::Info<'_>, stored: Vec<u8>, options: &DecodeOptions) -> Result<Picture> {
    let (width, height) = (info.width, info.height);
    let bits = info.bit_depth as usize;
    let transparent = info.trns.as_deref().unwrap_or_default();
    let short = || Error::Damaged { format: Format::Png, reason: "fewer samples than the header promises".into() };
    let unpacked = |stored: &[u8]| unpack(stored, width as usize, height as usize, bits).ok_or_else(short);
    let upper = |stored: &[u8]| stored.as_chunks::<2>().0.iter().map(|sample| sample[0]).collect::<Vec<u8>>();
    let wide = info.bit_depth == BitDepth::Sixteen;
    match info.color_type {
        ColorType::Grayscale if wide => {
            let samples = stored.as_chunks().0.iter().map(|&sample| u16::from_be_bytes(sample));
            let key = transparent.first_chunk().map(|key| u16::from_be_bytes(*key));
            match (key, options.grey16) {
                (Some(key), Grey16::Scale) => {
                    let pixels = samples.flat_map(|sample| [(sample >> 8) as u8, if sample == key { 0 } else { 255 }]).collect();
                    Picture::from_raw(width, height, Mode::GreyAlpha, pixels)
                }
                (key, grey16) => {
                    let picture = grey16_picture(width, height, samples, grey16)?;
                    Ok(Picture { color_key: key.map(|key| [key as u8; 3]), ..picture })
                }
            }
        }
        ColorType::Grayscale => {
            let mut samples = unpacked(&stored)?;
            stretch(&mut samples, bits);
            let mode = if bits == 1 { Mode::Bilevel } else { Mode::Grey };
            // Pillow compares the key as it stands, also when the samples have been stretched. (The library keeps one
            // byte of a key, two at 16 bits.)
            let key = transparent.first().map(|&key| if bits == 1 && key != 0 { 255 } else { key });
            Ok(Picture { color_key: key.map(|key| [key; 3]), ..Picture::from_raw(width, height, mode, samples)? })
        }
        ColorType::GrayscaleAlpha if wide => {
            let pixels = stored.as_chunks::<4>().0.iter().flat_map(|&[grey, _, alpha, _]| [grey, grey, grey, alpha]).collect();
            Picture::from_raw(width, height, Mode::Rgba, pixels)
        }
        ColorType::GrayscaleAlpha => Picture::from_raw(width, height, Mode::GreyAlpha, stored),
        ColorType::Indexed => {
            let mut palette = Palette::from_rgb(info.palette.as_deref().unwrap_or_default());
            if transparent.iter().any(|&alpha| alpha != 255) {
                let alpha = |index: usize| transparent.get(index).copied().unwrap_or(255);
                palette.alpha = Some(std::array::from_fn(alpha));
            }
            Picture::from_indices(width, height, unpacked(&stored)?, palette)
        }
        ColorType::Rgb => {
            // Of a 16-bit key Pillow compares the lower halves, though of the samples it keeps the upper ones.
            let key = match transparent {
                [red, green, blue] | [_, red, _, green, _, blue] => Some([*red, *green, *blue]),
                _ => None,
            };
            let pixels = if wide { upper(&stored) } else { stored };
            Ok(Picture { color_key: key, ..Picture::from_raw(width, height, Mode::Rgb, pixels)? })
        }
        ColorType::Rgba => Picture::from_raw(width, height, Mode::Rgba, if wide { upper(&stored) } else { stored }),
    }
}

fn error(error: DecodingError) -> Error {
    match error {
        DecodingError::IoError(error) => Error::Truncated { format: Format::Png, reason: error.to_string() },
        other => Error::Damaged { format: Format::Png, reason: other.to_string() },
    }
}
