//! WebP, lossy and lossless, through `image-webp`; of an animation the first frame. RGB or RGBA, as Pillow gives it.

use std::io::Cursor;

use image_webp::{DecodingError, WebPDecoder};

use super::{DecodeOptions, Decoded};
use crate::orientation::Orientation;
use crate::{Error, Format, Mode, Picture, Result};

pub(super) fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<Decoded> {
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(error)?;
    decoder.set_memory_limit(options.limits.bytes());
    let (width, height) = decoder.dimensions();
    // The pixels, the decoder's planes or ARGB words, and the canvas of an animation.
    options.limits.check(Format::WebP, width, height, if decoder.is_animated() { 12 } else { 8 })?;
    let length = decoder.output_buffer_size().ok_or_else(|| error(DecodingError::ImageTooLarge))?;
    let mut data = vec![0; length];
    if decoder.is_animated() {
        decoder.read_frame(&mut data).map_err(error)?;
    } else {
        decoder.read_image(&mut data).map_err(error)?;
    }
    let mode = if decoder.has_alpha() { Mode::Rgba } else { Mode::Rgb };
    let orientation = decoder.exif_metadata().ok().flatten().map(|exif| Orientation::from_exif(&exif)).unwrap_or_default();
    Ok(Decoded { picture: Picture::from_raw(width, height, mode, data)?, orientation })
}

fn error(error: DecodingError) -> Error {
    match error {
        DecodingError::IoError(error) => Error::Truncated { format: Format::WebP, reason: error.to_string() },
        other => Error::Damaged { format: Format::WebP, reason: other.to_string() },
    }
}
