//! What a picture file says of itself in its headers: size, format, and from EXIF when, where and with which camera it was taken.
//!
//! No pixel is decoded. What is missing, damaged or absurd is not said; nothing is an error.
use serde::Serialize;

use crate::Format;
use crate::preview::{self, Raw};
use crate::tags::{Tags, Value};

const ORIENTATION: u16 = 0x0112;

/// What is known of a picture without decoding it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Facts {
    /// Pixels, as it is to be shown: turned by its EXIF orientation.
    pub width: Option<u32>,
    /// Pixels, the same.
    pub height: Option<u32>,
    /// `JPEG`, `PNG`, ..., `CR2`, `HEIC`.
    pub format: Option<&'static str>,
    /// When it was taken, in the camera's own time, as `2024-05-31T18:20:00`.
    pub taken: Option<String>,
    /// Maker and model.
    pub camera: Option<String>,
    /// Degrees, north positive.
    pub latitude: Option<f64>,
    /// Degrees, east positive.
    pub longitude: Option<f64>,
    /// EXIF's number, 1 to 8, if it says one.
    pub orientation: Option<u8>,
}

/// What the headers of a picture file say.
pub fn facts(bytes: &[u8]) -> Facts {
    let mut facts = Facts::default();
    let mut size = None;
    if let Some(raw) = Raw::of(bytes) {
        facts.format = Some(raw.name());
        // The preview's size is that of the picture within a few pixels, where it is not smaller; it is also what is embedded.
        let preview = preview::largest(bytes);
        size = preview.as_ref().map(|preview| (preview.width, preview.height));
        for tags in raw.tags(bytes) {
            facts.add(tags);
        }
        // Fujifilm says all of it in the preview alone.
        if let Some(tags) = preview.as_ref().and_then(|preview| jpeg(&bytes[preview.at..]).1) {
            facts.add(tags);
        }
    } else {
        let (own, exif) = match Format::of(bytes) {
            Ok(Format::Jpeg) => jpeg(bytes),
            Ok(Format::Png) => png(bytes),
            Ok(Format::WebP) => webp(bytes),
            Ok(Format::Gif) => (pair(bytes, 6, 2, false), None),
            // A negative height is that of a picture from top to bottom.
            Ok(Format::Bmp) if bytes.get(14) == Some(&12) => (pair(bytes, 18, 2, false), None),
            Ok(Format::Bmp) => (pair(bytes, 18, 4, false).map(|(width, height)| (width, (height as i32).unsigned_abs())), None),
            Ok(Format::Tiff) => tiff(bytes),
            Err(_) => preview::undecoded(bytes).map(|found| heif(bytes, found.name, &mut facts)).unwrap_or_default(),
        };
        size = own.or(size);
        if let Ok(format) = Format::of(bytes) {
            facts.format = Some(format.name());
        }
        if let Some(tags) = exif {
            facts.add(tags);
        }
    }
    if let Some((width, height)) = size.filter(|&(width, height)| width > 0 && height > 0) {
        let turned = facts.orientation.is_some_and(|orientation| orientation >= 5);
        (facts.width, facts.height) = if turned { (Some(height), Some(width)) } else { (Some(width), Some(height)) };
    }
    facts
}

type Header<'a> = (Option<(u32, u32)>, Option<Tags<'a>>);

impl Facts {
    /// Adds what the tags say and is not known yet.
    fn add(&mut self, tags: Tags<'_>) {
        let Some(first) = tags.first() else { return };
        // Where they are apart: in a directory of EXIF's own, and one of GPS. Canon's CR3 has each as a first directory.
        let pointer = |tag| tags.get(first, tag).and_then(|value| value.number(0)).map(|at| at as usize);
        let (exif, gps) = (pointer(0x8769).unwrap_or(first), pointer(0x8825).unwrap_or(first));
        let text = |directory, tag| tags.get(directory, tag).and_then(|value: Value<'_>| value.text());
        let taken = [(exif, 0x9003), (exif, 0x9004), (first, 0x0132)];
        let taken = || taken.into_iter().find_map(|(directory, tag)| text(directory, tag).and_then(|text| iso_8601(&text)));
        self.taken = self.taken.take().or_else(taken);
        self.camera = self.camera.take().or_else(|| camera(text(first, 0x010F), text(first, 0x0110)));
        let orientation = || tags.get(first, ORIENTATION)?.number(0).filter(|number| (1..=8).contains(number));
        self.orientation = self.orientation.or_else(|| orientation().map(|number| number as u8));
        if self.latitude.is_none()
            && let Some(latitude) = degrees(tags, gps, 1, 'S', 90.0)
            && let Some(longitude) = degrees(tags, gps, 3, 'W', 180.0)
            // Where a camera without a fix believes to be.
            && (latitude, longitude) != (0.0, 0.0)
        {
            (self.latitude, self.longitude) = (Some(latitude), Some(longitude));
        }
    }
}

/// `2024:05:31 18:20:00` as ISO 8601, if it is a time.
fn iso_8601(text: &str) -> Option<String> {
    let digits = |from: usize, to: usize| text.get(from..to).filter(|part| part.bytes().all(|b| b.is_ascii_digit()))?.parse::<u32>().ok();
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
    let (hour, minute, second) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?);
    let sound = year > 0 && (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    sound.then(|| format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"))
}

/// Maker and model, the maker once: `Canon` and `Canon EOS R5`, `NIKON CORPORATION` and `NIKON D90`.
fn camera(make: Option<String>, model: Option<String>) -> Option<String> {
    let (make, model) = match (make, model) {
        (Some(make), Some(model)) => (make, model),
        (make, model) => return make.or(model),
    };
    let first = make.split_whitespace().next().unwrap_or(&make);
    let named = model.get(..first.len()).is_some_and(|start| start.eq_ignore_ascii_case(first));
    Some(if named { model } else { format!("{make} {model}") })
}

/// Degrees, minutes and seconds of a directory of GPS; the reference stands before them.
fn degrees(tags: Tags<'_>, gps: usize, reference: u16, negative: char, most: f64) -> Option<f64> {
    let sign = tags.get(gps, reference)?.text()?;
    let value = tags.get(gps, reference + 1)?;
    let degrees = value.ratio(0)? + value.ratio(1).unwrap_or(0.0) / 60.0 + value.ratio(2).unwrap_or(0.0) / 3600.0;
    (degrees <= most).then_some(if sign.starts_with(negative) { -degrees } else { degrees })
}

/// Two numbers of `bytes` bytes each, one behind the other.
fn pair(file: &[u8], at: usize, bytes: usize, big: bool) -> Option<(u32, u32)> {
    let number = |at: usize| {
        let part = file.get(at..at + bytes)?;
        let add = |number: u32, byte: &u8| number << 8 | u32::from(*byte);
        Some(if big { part.iter().fold(0, add) } else { part.iter().rev().fold(0, add) })
    };
    Some((number(at)?, number(at + bytes)?))
}

/// Segment by segment up to the first scan.
pub(crate) fn jpeg(bytes: &[u8]) -> Header<'_> {
    let (mut size, mut exif, mut at) = (None, None, 2);
    while let Some(&[0xFF, marker]) = bytes.get(at..at + 2) {
        match marker {
            // Filled up, or without a length.
            0xFF => at += 1,
            0x01 | 0xD0..=0xD8 => at += 2,
            0xD9 | 0xDA => break,
            _ => {
                let Some(length) = bytes.get(at + 2..at + 4).map(|b| usize::from(u16::from_be_bytes([b[0], b[1]]))) else { break };
                let Some(segment) = bytes.get(at + 4..at + 2 + length) else { break };
                if matches!(marker, 0xC0..=0xCF) && !matches!(marker, 0xC4 | 0xC8 | 0xCC) && size.is_none() {
                    size = pair(segment, 1, 2, true).map(|(height, width)| (width, height));
                } else if marker == 0xE1 && segment.starts_with(b"Exif\0\0") && exif.is_none() {
                    exif = Tags::of(segment);
                }
                at += 2 + length;
            }
        }
    }
    (size, exif)
}

fn png(bytes: &[u8]) -> Header<'_> {
    let (mut exif, mut at) = (None, 8);
    while let Some((length, chunk)) =
        bytes.get(at..).and_then(|rest| Some((u32::from_be_bytes(*rest.first_chunk()?) as usize, rest.get(4..)?)))
    {
        match chunk.get(..4) {
            Some(b"eXIf") => exif = chunk.get(4..).and_then(|data| data.get(..length)).and_then(Tags::of),
            Some(b"IEND") | None => break,
            _ => {}
        }
        at = at.saturating_add(length).saturating_add(12);
    }
    (pair(bytes, 16, 4, true), exif)
}

fn webp(bytes: &[u8]) -> Header<'_> {
    let (mut size, mut exif, mut at) = (None, None, 12);
    while let Some(length) = bytes.get(at..).and_then(|rest| rest.get(4..8)).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize)
    {
        let data = &bytes[at + 8..bytes.len().min((at + 8).saturating_add(length))];
        let own = match &bytes[at..at + 4] {
            b"VP8X" => pair(data, 4, 3, false).map(|(width, height)| (width + 1, height + 1)),
            b"VP8 " => pair(data, 6, 2, false).map(|(width, height)| (width & 0x3FFF, height & 0x3FFF)),
            b"VP8L" => {
                data.get(1..5).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).map(|n| ((n & 0x3FFF) + 1, (n >> 14 & 0x3FFF) + 1))
            }
            b"EXIF" => {
                exif = Tags::of(data);
                None
            }
            _ => None,
        };
        size = size.or(own);
        at = at.saturating_add(8).saturating_add(length).saturating_add(length % 2);
    }
    (size, exif)
}

fn tiff(bytes: &[u8]) -> Header<'_> {
    let tags = Tags::of(bytes);
    let number = |tag| tags.and_then(|tags| tags.get(tags.first()?, tag)?.number(0));
    (number(0x0100).zip(number(0x0101)), tags)
}

/// HEIC and AVIF keep sizes in boxes `ispe` (the largest is the picture's, others are tiles and thumbnails), and EXIF as an item. Neither is looked up
/// by way of the boxes around it: no file was met in which this finds anything else.
fn heif<'a>(bytes: &'a [u8], name: &'static str, facts: &mut Facts) -> Header<'a> {
    facts.format = Some(name);
    let head = &bytes[..bytes.len().min(1 << 20)];
    let sizes = head.windows(4).enumerate().filter(|(_, word)| word == b"ispe").filter_map(|(at, _)| pair(head, at + 8, 4, true));
    let size = sizes.max_by_key(|&(width, height)| u64::from(width) * u64::from(height));
    // Quarter turns against the clock, said again by EXIF or instead of it.
    let turns = head.windows(4).position(|word| word == b"irot").and_then(|at| head.get(at + 4)).map(|turns| usize::from(turns & 3));
    // With `Exif` before it or not; the first directory follows at once.
    let exif = bytes.windows(8).position(|word| matches!(word, b"II*\0\x08\0\0\0" | b"MM\0*\0\0\0\x08"));
    let exif = exif.and_then(|at| Tags::of(&bytes[at..]));
    let own = exif.and_then(|tags| tags.get(tags.first()?, ORIENTATION));
    facts.orientation = turns.filter(|&turns| turns > 0 && own.is_none()).map(|turns| [1, 8, 3, 6][turns]);
    (size, exif)
}
