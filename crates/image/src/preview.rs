//! Pictures inside files that hua does not decode: the JPEG that cameras put into their RAW files.
//!
//! Where each maker keeps it is told in seven different ways (tags of TIFF, makers' notes, boxes), and some files have several; all of them are
//! plain JPEG files within. So they are found by looking through the file for what begins as one, with a sound header of a kind
//! that pictures have (RAW data in lossless JPEG has another), and the largest is taken. A thumbnail of 160 pixels, which EXIF has
//! anyway and pads with black, is not taken for the picture.
//!
//! HEIC (HEVC) and AVIF (AV1) are refused by name: there is no decoder for them that is both pure Rust and maintained. They too are looked
//! through for a JPEG.
use crate::decode::{DecodeOptions, Decoded, decode_jpeg};
use crate::orientation::Orientation;
use crate::tags::Tags;
use crate::{Error, Result};

/// The longer side of EXIF's thumbnails.
const THUMBNAIL: u32 = 160;
/// Previews that are looked at; each costs a walk over a header.
const MOST: usize = 1 << 12;

/// A kind of RAW file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Raw {
    Cr2,
    Cr3,
    Orf,
    Raf,
    Rw2,
    /// Told by its tags: DNG, NEF, ARW, PEF.
    Tiff(&'static str),
}

impl Raw {
    /// The kind of RAW file that begins with `bytes`, if it is one.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes.get(..16)? {
            [b'I', b'I', 42, 0, _, _, _, _, b'C', b'R', ..] => Some(Self::Cr2),
            [b'I', b'I', b'U', 0, ..] => Some(Self::Rw2),
            [b'I', b'I', b'R', b'O' | b'S', ..] | [b'M', b'M', b'O', b'R', ..] => Some(Self::Orf),
            [_, _, _, _, b'f', b't', b'y', b'p', b'c', b'r', b'x', b' ', ..] => Some(Self::Cr3),
            head if head.starts_with(b"FUJIFILMCCD-RAW") => Some(Self::Raf),
            [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Self::of_tiff(Tags::of(bytes)?),
            _ => None,
        }
    }

    /// DNG says so; others have, in their first directory or below it, colours of a filter before each pixel (CFA).
    fn of_tiff(tags: Tags<'_>) -> Option<Self> {
        let first = tags.first()?;
        if tags.get(first, 0xC612).is_some() {
            return Some(Self::Tiff("DNG"));
        }
        let below = tags.get(first, 0x014A);
        let below = (0..4).filter_map(|index| below?.number(index)).map(|at| at as usize);
        let is_raw = |directory| tags.get(directory, 0x0106).and_then(|value| value.number(0)) == Some(32803);
        if !std::iter::once(first).chain(below).any(is_raw) {
            return None;
        }
        let make = tags.get(first, 0x010F).and_then(|value| value.text()).unwrap_or_default().to_ascii_uppercase();
        let of_make = [("NIKON", "NEF"), ("SONY", "ARW"), ("PENTAX", "PEF"), ("RICOH", "PEF")].into_iter();
        Some(Self::Tiff(of_make.into_iter().find(|(start, _)| make.starts_with(start)).map_or("RAW", |(_, name)| name)))
    }

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cr2 => "CR2",
            Self::Cr3 => "CR3",
            Self::Orf => "ORF",
            Self::Raf => "RAF",
            Self::Rw2 => "RW2",
            Self::Tiff(name) => name,
        }
    }

    /// The tags of the file itself, apart from those in its preview. CR3 has boxes `CMT1` (the first directory), `CMT2` (EXIF) and `CMT4` (GPS).
    pub fn tags(self, bytes: &[u8]) -> Vec<Tags<'_>> {
        if self != Self::Cr3 {
            return Tags::of(bytes).into_iter().collect();
        }
        let head = &bytes[..bytes.len().min(1 << 16)];
        let within = |name: &[u8; 4]| head.windows(4).position(|word| word == name).and_then(|at| Tags::of(&bytes[at + 4..]));
        [b"CMT1", b"CMT2", b"CMT4"].into_iter().filter_map(within).collect()
    }
}

/// A kind of file that is known and not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Undecoded {
    pub name: &'static str,
    codec: &'static str,
}

/// What kind of undecoded picture begins with `bytes`.
pub(crate) fn undecoded(bytes: &[u8]) -> Option<Undecoded> {
    let (name, codec) = match bytes {
        [_, _, _, _, b'f', b't', b'y', b'p', b'a', b'v', b'i', b'f' | b's', ..] => ("AVIF", "AV1"),
        [_, _, _, _, b'f', b't', b'y', b'p', b'h', b'e', ..] => ("HEIC", "HEVC"),
        // The brand of any such file; most are of phones.
        [_, _, _, _, b'f', b't', b'y', b'p', b'm', b'i' | b's', b'f', b'1', ..] => ("HEIC", "HEVC"),
        _ => return None,
    };
    Some(Undecoded { name, codec })
}

/// A JPEG inside a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Preview {
    /// Where it begins.
    pub at: usize,
    pub width: u32,
    pub height: u32,
}

/// The largest JPEG inside a file.
pub(crate) fn largest(bytes: &[u8]) -> Option<Preview> {
    let mut largest: Option<Preview> = None;
    let (mut from, mut looked_at) = (1, 0);
    while let Some(at) = bytes.get(from..).and_then(next_start).map(|at| from + at) {
        from = at + 1;
        looked_at += 1;
        if looked_at > MOST {
            break;
        }
        if let Some((width, height)) = header(&bytes[at..])
            && largest.is_none_or(|known| u64::from(width) * u64::from(height) > u64::from(known.width) * u64::from(known.height))
        {
            largest = Some(Preview { at, width, height });
        }
    }
    largest.filter(|preview| preview.width.max(preview.height) > THUMBNAIL)
}

/// Where something may begin as JPEG files do: start of image, then a segment that files have there.
fn next_start(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        // Byte by byte only where the first one fits: RAW files are large.
        let at = from + bytes[from..].iter().position(|&byte| byte == 0xFF)?;
        if let Some([0xD8, 0xFF, 0xC0..=0xC2 | 0xC4 | 0xDB | 0xE0..=0xEF | 0xFE]) = bytes.get(at + 1..at + 4) {
            return Some(at);
        }
        from = at + 1;
    }
}

/// The size in the frame header of a JPEG, if it has one of the usual kinds with grey or colours of 8 bits, and its tables before it.
fn header(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut at = 2;
    for _ in 0..256 {
        let &[0xFF, marker] = bytes.get(at..at + 2)? else { return None };
        let length = usize::from(u16::from_be_bytes(*bytes.get(at + 2..)?.first_chunk()?));
        match marker {
            0xFF => {
                at += 1;
                continue;
            }
            0xC0..=0xC2 => {
                let &[8, h1, h0, w1, w0, 1 | 3, ..] = bytes.get(at + 4..at + 2 + length)? else { return None };
                let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
                return (width > 0 && height > 0).then_some((width.into(), height.into()));
            }
            0xC4 | 0xDB | 0xDD | 0xE0..=0xEF | 0xFE if length >= 2 => at += 2 + length,
            _ => return None,
        }
    }
    None
}

/// The largest preview of a RAW file, turned as the file says where it does not say so itself; nothing if it is no RAW file.
pub(crate) fn decode(bytes: &[u8], options: &DecodeOptions) -> Option<Result<Decoded>> {
    let (name, codec, tags) = match (Raw::of(bytes), undecoded(bytes)) {
        (Some(raw), _) => (raw.name(), None, raw.tags(bytes)),
        (None, Some(undecoded)) => (undecoded.name, Some(undecoded.codec), vec![]),
        (None, None) => return None,
    };
    let Some(preview) = largest(bytes) else {
        return Some(Err(match codec {
            Some(codec) => Error::Undecoded { name, codec },
            None => Error::NoPreview { name },
        }));
    };
    let jpeg = &bytes[preview.at..];
    let says_itself = crate::facts::jpeg(jpeg).1.is_some_and(|tags| tags.first().is_some_and(|at| tags.get(at, 0x0112).is_some()));
    let number = tags.first().and_then(|tags| tags.get(tags.first()?, 0x0112)?.number(0));
    Some(decode_jpeg(jpeg, options).map(|decoded| match number {
        Some(number) if !says_itself => Decoded { orientation: Orientation::from_exif_number(number.into()), ..decoded },
        _ => decoded,
    }))
}
