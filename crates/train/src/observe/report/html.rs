//! Text in HTML: escaped, without marks that turn the direction, and its language as far as the script tells it.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hua_image::{DecodeOptions, Filter, Picture};

/// Bytes up to which a picture stands in the report as it is.
const SMALL: usize = 24 << 10;
/// Longest side of one that is made small, pixels.
const SIDE: u32 = 128;

/// Appends to a page; writing into a string cannot fail.
pub fn put(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text).expect("a string takes everything");
}

/// `text` as it may stand in an element and in an attribute between double quotes; control characters and marks of direction, which could
/// make a text look like another, are left out.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            control if control.is_control() && control != '\n' => {}
            other => out.push(other),
        }
    }
    out
}

/// A text of the data in an element that isolates its direction, with its language: the one that is known, else what the script tells.
pub fn text(text: &str, language: Option<&str>) -> String {
    let known = language.filter(|tag| is_tag(tag));
    format!("<bdi dir=\"auto\" lang=\"{}\">{}</bdi>", known.unwrap_or_else(|| script_language(text)), escaped(text))
}

/// The language that the script of `text` tells; empty (unknown) where many languages share it. Without one, Chinese and Japanese get each
/// other's glyphs.
fn script_language(text: &str) -> &'static str {
    let mut han = false;
    for character in text.chars() {
        match character {
            '\u{3041}'..='\u{30ff}' => return "ja",
            '\u{1100}'..='\u{11ff}' | '\u{ac00}'..='\u{d7a3}' => return "ko",
            '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{323af}' => han = true,
            _ => {}
        }
    }
    if han { "zh" } else { "" }
}

/// Whether `tag` looks like a language tag (BCP 47), which needs no escaping.
fn is_tag(tag: &str) -> bool {
    (2..=35).contains(&tag.len()) && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
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
    fn nothing_that_html_gives_a_meaning_survives_the_escaping() {
        let text: String = (0..0x2100).filter_map(char::from_u32).collect();
        assert!(!escaped(&text).contains(['<', '>', '"', '\'', '\u{202e}', '\0', '\u{7f}']));
        assert_eq!(escaped("a<b>&\"c'"), "a&lt;b&gt;&amp;&quot;c&#39;");
    }

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
