//! The tags of TIFF directories, in which cameras say what they know: EXIF is a TIFF file in small, and most RAW files are TIFF files.
//!
//! Nothing is trusted: every offset is checked, and what does not fit is not there. (`kamadak-exif` reads EXIF too, but no RAW file's directories.)

/// A TIFF file, or what looks like one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tags<'a> {
    bytes: &'a [u8],
    little: bool,
}

/// The value of a tag.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'a> {
    tags: Tags<'a>,
    kind: u16,
    data: &'a [u8],
}

impl<'a> Tags<'a> {
    /// The tags in `exif`, with or without `Exif\0\0` before them; also of the RAW files of Olympus and Panasonic, which have other magic numbers.
    pub fn of(exif: &'a [u8]) -> Option<Self> {
        let bytes = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
        let little = match bytes.get(..4)? {
            b"II*\0" | b"IIRO" | b"IIRS" | b"IIU\0" => true,
            b"MM\0*" | b"MMOR" => false,
            _ => return None,
        };
        Some(Self { bytes, little })
    }

    /// Where the first directory is.
    pub fn first(&self) -> Option<usize> {
        self.u32(4).map(|at| at as usize)
    }

    /// The value of a tag of a directory.
    pub fn get(&self, directory: usize, tag: u16) -> Option<Value<'a>> {
        let count = usize::from(self.u16(directory)?);
        let entries = self.bytes.get(directory.checked_add(2)?..)?.chunks_exact(12).take(count);
        let index = entries.into_iter().position(|entry| self.number(entry, 2) == Some(tag.into()))?;
        let at = directory + 2 + 12 * index;
        let (kind, count) = (self.u16(at + 2)?, self.u32(at + 4)? as usize);
        let length = count.checked_mul(size(kind)?)?;
        let from = if length <= 4 { at + 8 } else { self.u32(at + 8)? as usize };
        Some(Value { tags: *self, kind, data: self.bytes.get(from..from.checked_add(length)?)? })
    }

    fn u16(&self, at: usize) -> Option<u16> {
        self.number(self.bytes.get(at..)?, 2).map(|number| number as u16)
    }

    fn u32(&self, at: usize) -> Option<u32> {
        self.number(self.bytes.get(at..)?, 4)
    }

    /// The first bytes as a number.
    fn number(&self, bytes: &[u8], count: usize) -> Option<u32> {
        let bytes = bytes.get(..count)?;
        let add = |number: u32, byte: &u8| number << 8 | u32::from(*byte);
        Some(if self.little { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) })
    }
}

impl<'a> Value<'a> {
    /// Whole number `index`.
    pub fn number(&self, index: usize) -> Option<u32> {
        let size = size(self.kind).filter(|_| matches!(self.kind, 1 | 3 | 4 | 7 | 13))?;
        self.tags.number(self.data.get(index.checked_mul(size)?..)?, size)
    }

    /// Fraction `index`.
    pub fn ratio(&self, index: usize) -> Option<f64> {
        let data = self.data.get(index.checked_mul(8)?..).filter(|_| self.kind == 5)?;
        let (above, below) = (self.tags.number(data, 4)?, self.tags.number(data.get(4..)?, 4)?);
        (below != 0).then(|| f64::from(above) / f64::from(below))
    }

    /// Text, without the zeros and spaces around it.
    pub fn text(&self) -> Option<String> {
        let text = self.data.split(|&byte| byte == 0).next().filter(|_| matches!(self.kind, 2 | 7 | 129))?;
        let text = String::from_utf8_lossy(text).trim().to_owned();
        (!text.is_empty() && text.len() <= 256).then_some(text)
    }
}

/// Bytes of one value of a type.
fn size(kind: u16) -> Option<usize> {
    match kind {
        1 | 2 | 6 | 7 | 129 => Some(1),
        3 | 8 => Some(2),
        4 | 9 | 11 | 13 => Some(4),
        5 | 10 | 12 => Some(8),
        _ => None,
    }
}
