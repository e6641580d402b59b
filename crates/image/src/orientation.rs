//! The EXIF orientation: finding the one tag that matters, and turning the pixels.
//!
//! Eight values, of which 2 to 8 flip or turn (`PIL.ImageOps.exif_transpose`). Reading one tag of the first directory
//! takes thirty lines; a library for all of EXIF would be larger than this crate.

use crate::Picture;

/// How the stored pixels are to be shown, in the numbers of EXIF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Orientation(u8);

impl Orientation {
    /// The orientation with this EXIF number; unknown numbers mean upright.
    pub fn from_exif_number(number: u64) -> Self {
        Self(if (2..=8).contains(&number) { number as u8 } else { 1 })
    }

    /// Tag 0x0112 of the first directory in `exif`, which is a TIFF file in small, with or without `Exif\0\0` before it.
    pub fn from_exif(exif: &[u8]) -> Self {
        Self::find(exif.strip_prefix(b"Exif\0\0").unwrap_or(exif)).unwrap_or_default()
    }

    fn find(tiff: &[u8]) -> Option<Self> {
        let entry = Entry::find(tiff, 0x0112)?;
        match entry.kind {
            Entry::SHORT => Some(Self::from_exif_number(entry.short(tiff)?.into())),
            _ => None,
        }
    }

    /// The picture as it is to be shown.
    pub fn apply(self, picture: Picture) -> Picture {
        let (width, height) = (picture.width as usize, picture.height as usize);
        // Where the pixel shown at (x, y) is stored.
        let from: fn(usize, usize, usize, usize) -> (usize, usize) = match self.0 {
            2 => |x, y, w, _| (w - 1 - x, y),
            3 => |x, y, w, h| (w - 1 - x, h - 1 - y),
            4 => |x, y, _, h| (x, h - 1 - y),
            5 => |x, y, _, _| (y, x),
            6 => |x, y, _, h| (y, h - 1 - x),
            7 => |x, y, w, h| (w - 1 - y, h - 1 - x),
            8 => |x, y, w, _| (w - 1 - y, x),
            _ => return picture,
        };
        let bytes = picture.mode.bytes();
        let (out_width, out_height) = if self.0 >= 5 { (height, width) } else { (width, height) };
        let mut data = Vec::with_capacity(picture.data.len());
        for y in 0..out_height {
            for x in 0..out_width {
                let (from_x, from_y) = from(x, y, width, height);
                data.extend_from_slice(&picture.data[(from_y * width + from_x) * bytes..][..bytes]);
            }
        }
        picture.with_data(out_width as u32, out_height as u32, picture.mode, data)
    }
}

/// One entry in the first directory of a TIFF file (not of the 64-bit kind).
pub(crate) struct Entry {
    little: bool,
    /// TIFF's number for the type of the value.
    kind: u16,
    /// Where the value is, if it fits into four bytes.
    pub value_at: usize,
}

impl Entry {
    /// The type of a 16-bit value.
    const SHORT: u16 = 3;

    /// The entry of this tag.
    pub fn find(tiff: &[u8], tag: u16) -> Option<Self> {
        let little = match tiff.get(..4)? {
            b"II*\0" => true,
            b"MM\0*" => false,
            _ => return None,
        };
        let offset = *tiff.get(4..)?.first_chunk()?;
        let directory = if little { u32::from_le_bytes(offset) } else { u32::from_be_bytes(offset) } as usize;
        let count = usize::from(short(tiff, directory, little)?);
        let entries = tiff.get(directory.checked_add(2)?..)?.chunks_exact(12).take(count);
        let (index, entry) = entries.enumerate().find(|(_, entry)| short(entry, 0, little) == Some(tag))?;
        Some(Self { little, kind: short(entry, 2, little)?, value_at: directory + 2 + 12 * index + 8 })
    }

    /// The value, of two bytes.
    fn short(&self, tiff: &[u8]) -> Option<u16> {
        short(tiff, self.value_at, self.little)
    }

    /// `value` as two bytes in the order of this file.
    pub fn short_bytes(&self, value: u16) -> [u8; 2] {
        if self.little { value.to_le_bytes() } else { value.to_be_bytes() }
    }
}

fn short(bytes: &[u8], at: usize, little: bool) -> Option<u16> {
    let bytes = *bytes.get(at..)?.first_chunk()?;
    Some(if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
}
