//! What a header may ask for before anything is decoded.
//!
//! A picture of 60,000×60,000 pixels fits into a file of a few hundred bytes; the only moment to refuse it cheaply is
//! after its header and before its pixels.

use crate::{Error, Format, Result};

/// Bounds that are checked against the header, before any pixel buffer exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Width times height, in pixels. Default 178,956,970: where Pillow stops with `DecompressionBombError`.
    pub max_pixels: u64,
    /// Bytes for the decoder's buffers and the pixels together, estimated from above. Default 1 GiB.
    pub max_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_pixels: 178_956_970, max_bytes: 1 << 30 }
    }
}

impl Limits {
    /// Accepts a header that announces `width`×`height` pixels, each costing `bytes_per_pixel` bytes at the peak.
    pub(crate) fn check(&self, format: Format, width: u32, height: u32, bytes_per_pixel: u64) -> Result<()> {
        if width == 0 || height == 0 {
            return Err(Error::Empty { format, width, height });
        }
        let pixels = u64::from(width) * u64::from(height);
        if pixels > self.max_pixels {
            return Err(Error::TooManyPixels { width, height, limit: self.max_pixels });
        }
        let needed = pixels.saturating_mul(bytes_per_pixel);
        if needed > self.max_bytes {
            return Err(Error::TooManyBytes { width, height, needed, limit: self.max_bytes });
        }
        Ok(())
    }

    /// The limit on memory as the decoders want it.
    pub(crate) fn bytes(&self) -> usize {
        usize::try_from(self.max_bytes).unwrap_or(usize::MAX)
    }
}
