//! From bytes to a [`Picture`]: one file a format, each giving the mode that Pillow gives.
//!
//! The decoders are the ones that the `image` crate is made of, used directly: `image` itself turns palettes, CMYK
//! and bit depths into something else on the way. BMP is read by our own code, since the library for it would
//! bring a colour management system along.

mod bmp;
mod gif;
mod jpeg;
mod png;
mod tiff;
mod webp;

use std::path::Path;

use crate::orientation::Orientation;
use crate::{Error, Format, Limits, Picture, Result, Size};

/// How to read a picture file. The default is what a person wants to see; [`DecodeOptions::upstream`] is what the
/// reference pipelines feed to their models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeOptions {
    /// Bounds that are checked before decoding.
    pub limits: Limits,
    /// Turn the picture as its EXIF orientation says. TIFF files are always turned, as Pillow does.
    pub orient: bool,
    /// What to do with 16-bit grey.
    pub grey16: Grey16,
    /// The size that is enough for what follows: a JPEG may be decoded at a half, a quarter or an eighth, as long as it stays as large. That is
    /// quicker, and no longer the same picture: its small details are averaged by the transform instead of the filter.
    pub shrink_on_load: Option<Size>,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self { limits: Limits::default(), orient: true, grey16: Grey16::Scale, shrink_on_load: None }
    }
}

impl DecodeOptions {
    /// As `PIL.Image.open` and nothing more: EXIF ignored, 16-bit grey clipped when it becomes RGB.
    pub fn upstream() -> Self {
        Self { limits: Limits::default(), orient: false, grey16: Grey16::Clip, shrink_on_load: None }
    }
}

/// Pillow keeps 16-bit grey and clips it to 255 when it becomes RGB, so that such pictures turn nearly white; it
/// halves 16-bit colour properly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Grey16 {
    /// Keep [`Mode::Grey16`](crate::Mode::Grey16), which clips later: upstream exactly.
    Clip,
    /// Keep the upper eight bits, as for 16-bit colour.
    #[default]
    Scale,
}

/// A picture as stored, and how it is to be turned.
pub(crate) struct Decoded {
    pub picture: Picture,
    pub orientation: Orientation,
}

pub(crate) use jpeg::decode as decode_jpeg;

impl Picture {
    /// Decodes a whole picture file. The format is told from the content; of a camera's RAW file the preview is decoded.
    pub fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<Self> {
        if let Some(preview) = crate::preview::decode(bytes, options) {
            let Decoded { picture, orientation } = preview?;
            return Ok(if options.orient { orientation.apply(picture) } else { picture });
        }
        let format = Format::of(bytes)?;
        let Decoded { picture, orientation } = match format {
            Format::Bmp => bmp::decode(bytes, options)?,
            Format::Gif => gif::decode(bytes, options)?,
            Format::Jpeg => jpeg::decode(bytes, options)?,
            Format::Png => png::decode(bytes, options)?,
            Format::Tiff => tiff::decode(bytes, options)?,
            Format::WebP => webp::decode(bytes, options)?,
        };
        Ok(if options.orient || format == Format::Tiff { orientation.apply(picture) } else { picture })
    }

    /// Reads and decodes a file; every error names the path.
    pub fn open(path: impl AsRef<Path>, options: &DecodeOptions) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| Error::Io { path: path.into(), source })?;
        Self::decode(&bytes, options).map_err(|error| Error::InFile { path: path.into(), source: Box::new(error) })
    }
}

/// Spreads packed samples of 1, 2, 4 or 8 bits to a byte each; rows begin on a byte. `None` when `data` is too short.
fn unpack(data: &[u8], width: usize, height: usize, bits: usize) -> Option<Vec<u8>> {
    let stride = (width * bits).div_ceil(8);
    let mask = ((1_u32 << bits) - 1) as u8;
    let per_byte = 8 / bits;
    let mut out = Vec::with_capacity(width * height);
    for row in data.get(..stride * height)?.chunks_exact(stride) {
        out.extend((0..width).map(|x| row[x / per_byte] >> (8 - bits - bits * (x % per_byte)) & mask));
    }
    Some(out)
}

/// Stretches samples of 1, 2 or 4 bits over 0 … 255.
fn stretch(samples: &mut [u8], bits: usize) {
    let factor = (255 / ((1_u32 << bits) - 1)) as u8;
    samples.iter_mut().for_each(|sample| *sample *= factor);
}

/// 16-bit grey samples in the mode that `grey16` asks for.
fn grey16_picture(width: u32, height: u32, samples: impl Iterator<Item = u16>, grey16: Grey16) -> Result<Picture> {
    match grey16 {
        Grey16::Clip => Picture::from_raw(width, height, crate::Mode::Grey16, samples.flat_map(u16::to_le_bytes).collect()),
        Grey16::Scale => Picture::from_raw(width, height, crate::Mode::Grey, samples.map(|sample| (sample >> 8) as u8).collect()),
    }
}
