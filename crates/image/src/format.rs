//! Which kind of file these bytes are: told by the content, never by the name.
//!
//! Web crawls are full of pages saved as `.jpg`, so the refusal names what was found instead.

use std::fmt;

use crate::{Error, Result};

/// The file formats this crate reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Format {
    Bmp,
    Gif,
    Jpeg,
    Png,
    Tiff,
    WebP,
}

impl Format {
    /// The format of a file that begins with `bytes`, or an error that says what they look like.
    pub fn of(bytes: &[u8]) -> Result<Self> {
        Ok(match bytes {
            [0xFF, 0xD8, 0xFF, ..] => Self::Jpeg,
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Self::Png,
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Self::Gif,
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Self::WebP,
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Self::Tiff,
            // Two letters are little proof: the two reserved words behind the file size must be there as well.
            [b'B', b'M', _, _, _, _, _, _, _, _, _, _, _, _, 12 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0, ..] => Self::Bmp,
            _ => return Err(Error::NotAPicture { found: resemblance(bytes) }),
        })
    }
}

impl Format {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bmp => "BMP",
            Self::Gif => "GIF",
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::Tiff => "TIFF",
            Self::WebP => "WebP",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A guess good enough for an error message.
fn resemblance(bytes: &[u8]) -> &'static str {
    let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes).trim_ascii_start();
    let starts = |word: &str| text.len() >= word.len() && text[..word.len()].eq_ignore_ascii_case(word.as_bytes());
    match bytes {
        [] => return "an empty file",
        [b'%', b'P', b'D', b'F', ..] => return "PDF",
        [b'P', b'K', 3 | 5, ..] => return "a ZIP archive",
        [0x1F, 0x8B, ..] => return "gzip",
        [_, _, _, _, b'f', b't', b'y', b'p', b'a', b'v', b'i', b'f' | b's', ..] => return "AVIF",
        [_, _, _, _, b'f', b't', b'y', b'p', b'h' | b'm', ..] => return "HEIC",
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => return "a film (MP4)",
        [0xFF, 0x0A, ..] | [0, 0, 0, 12, b'J', b'X', b'L', b' ', ..] => return "JPEG XL",
        [0, 0, 0, 12, b'j', b'P', ..] | [0xFF, 0x4F, 0xFF, 0x51, ..] => return "JPEG 2000",
        [0, 0, 1, 0, ..] => return "a Windows icon",
        [b'8', b'B', b'P', b'S', ..] => return "Photoshop",
        _ => {}
    }
    let head = &text[..text.len().min(1024)];
    let contains = |word: &[u8]| head.windows(word.len()).any(|w| w.eq_ignore_ascii_case(word));
    if starts("<!doctype html") || starts("<html") || (starts("<") && contains(b"<html")) {
        "HTML"
    } else if starts("<svg") || (starts("<?xml") && contains(b"<svg")) {
        "SVG"
    } else if starts("<?xml") || starts("<!") {
        "XML"
    } else if starts("{") || starts("[") {
        "JSON"
    } else if starts("version https://git-lfs") {
        "a Git LFS pointer"
    } else if bytes.iter().take(512).all(|&b| b == 0) {
        "zeros"
    } else if bytes.iter().take(512).all(|&b| b >= 0x20 || matches!(b, b'\t' | b'\n' | b'\r')) && std::str::from_utf8(head).is_ok() {
        "text"
    } else {
        "unknown binary data"
    }
}
