//! Text in HTML: escaped, without marks that turn the direction, and its language as far as the script tells it.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hua::shown::{escaped, is_tag, language};
use hua_image::{DecodeOptions, Filter, Picture};

/// Bytes up to which a picture stands in the report as it is.
const SMALL: usize = 24 << 10;
/// Longest side of one that is made small, pixels.
const SIDE: u32 = 128;

/// Appends to a page; writing into a string cannot fail.
pub fn put(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text).expect("a string takes everything");
}

/// A text of the data in an element that isolates its direction, with its language: the one that is known, else what the script tells.
pub fn text(text: &str, known: Option<&str>) -> String {
    let known = known.filter(|tag| is_tag(tag));
    format!("<bdi dir=\"auto\" lang=\"{}\">{}</bdi>", known.unwrap_or_else(|| language(text)), escaped(text))
}

/// An address that is the picture itself: a small PNG or JPEG as it is, others made small. None for what is no picture.
pub fn picture(bytes: &[u8]) -> Option<String> {
    let kind = if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        "png"
    } else if bytes.starts_with(b"\xff\xd8\xff") {
        "jpeg"
    } else {
        ""
    };
    if !kind.is_empty() && bytes.len() <= SMALL {
        return Some(format!("data:image/{kind};base64,{}", STANDARD.encode(bytes)));
    }
    let picture = Picture::decode(bytes, &DecodeOptions::default()).ok()?.to_rgb8();
    let (width, height) = (picture.width(), picture.height());
    let long = width.max(height).max(SIDE);
    let side = |length: u32| ((u64::from(length) * u64::from(SIDE) / u64::from(long)) as u32).max(1);
    let small = if long > SIDE { picture.resize(side(width), side(height), Filter::Bicubic) } else { picture };
    Some(format!("data:image/png;base64,{}", STANDARD.encode(small.encode_png())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_language_is_named_and_a_hostile_one_is_not() {
        assert_eq!(text("東京", Some("ja")), "<bdi dir=\"auto\" lang=\"ja\">東京</bdi>");
        assert_eq!(text("東京", Some("\"><b>")), "<bdi dir=\"auto\" lang=\"zh\">東京</bdi>");
        assert_eq!(text("قطة", None), "<bdi dir=\"auto\" lang=\"\">قطة</bdi>");
    }

    #[test]
    fn a_small_picture_is_embedded_as_it_is_and_a_large_one_made_small() {
        let byte = |n: u64| (((n * n) ^ ((n * n) >> 7)).wrapping_mul(0xd6e8_feb8_6659_fd93) >> 56) as u8;
        let noise = |side: u64| (0..side * side * 3).map(byte).collect();
        let small = Picture::from_rgb8(40, 40, noise(40)).unwrap().encode_png();
        assert_eq!(picture(&small).unwrap(), format!("data:image/png;base64,{}", STANDARD.encode(&small)));
        let large = picture(&Picture::from_rgb8(400, 400, noise(400)).unwrap().encode_png()).unwrap();
        let bytes = STANDARD.decode(large.strip_prefix("data:image/png;base64,").unwrap()).unwrap();
        assert_eq!(Picture::decode(&bytes, &DecodeOptions::default()).unwrap().width(), SIDE);
        assert_eq!(picture(b"no picture"), None);
    }
}
