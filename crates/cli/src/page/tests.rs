//! The page as text: whole, closed, and safe whatever names and captions say.

use hua::image::Picture;

use super::*;
use crate::sheet::Caption;

fn picture() -> Picture {
    Picture::from_rgb8(4, 2, [200, 30, 60].repeat(8)).unwrap()
}

fn hit(name: &str, caption: &str) -> Hit {
    let captions = vec![Caption { language: None, text: caption.into() }];
    Hit {
        picture: Some(picture()),
        score: 0.75,
        name: name.into(),
        path: Some(Path::new("/photos").join(name)),
        captions,
        ..Hit::default()
    }
}

fn band(words: &str, hits: Vec<Hit>) -> Band {
    Band { asked: Asked::Words(words.into()), note: None, hits }
}

/// The names of the elements of `page` in order, with `/` before those that close; fails on anything that is no tag.
fn tags(page: &str) -> Vec<String> {
    let body = page.split(SCRIPT).collect::<String>().replace(STYLE, "");
    body.split('<')
        .skip(1)
        .map(|tag| tag.split(|c: char| !c.is_ascii_alphanumeric() && c != '/' && c != '!').next().unwrap().to_owned())
        .collect()
}

/// What a name, a query or a caption could try.
const HOSTILE: [&str; 8] = [
    "<script>alert(1)</script>.png",
    "\"><img src=x onerror=alert(1)>.jpg",
    "' onclick='alert(1)",
    "</title></style></bdi></p><iframe src=https://example.com>",
    "<!--",
    "]]>&lt;&#60;script&#62;",
    "javascript:alert(1)",
    "photo\u{202e}gpj.exe\0\r\n\u{2069}<b>",
];

#[test]
fn hostile_text_adds_no_element_and_no_attribute() {
    let page = |text: &str| {
        let mut band = band(text, vec![hit(text, text), Hit { picture: None, notes: vec![text.into()], ..hit(text, text) }]);
        band.note = Some(text.into());
        let asked = Asked::Picture { picture: picture(), name: text.into() };
        draw(text, &[band, Band { asked, note: None, hits: vec![] }], Path::new("/photos"))
    };
    let plain = page("cat");
    for text in HOSTILE {
        let hostile = page(text);
        assert_eq!(tags(&hostile), tags(&plain), "{text}");
        assert_eq!(hostile.matches('"').count(), plain.matches('"').count(), "{text}");
        assert!(!hostile.contains(['\u{202e}', '\u{2069}', '\0']));
        assert!(!hostile.contains("href=\"javascript"));
    }
}

#[test]
fn every_element_is_closed() {
    let hits = vec![hit("a.png", "قطة"), Hit { path: None, ..hit("b.png", "猫") }];
    let composed = Asked::Composed { pictures: vec![picture(), picture()], words: "a.png + 海".into() };
    let page = draw("model", &[band("ネコ", hits), Band { asked: composed, note: Some("in 2023".into()), hits: vec![] }], Path::new("."));
    let mut open: Vec<String> = Vec::new();
    for tag in tags(&page) {
        match tag.strip_prefix('/') {
            Some(closed) => assert_eq!(open.pop().as_deref(), Some(closed)),
            None if ["!DOCTYPE", "meta", "img"].contains(&tag.as_str()) => {}
            None => open.push(tag),
        }
    }
    assert_eq!(open, Vec::<String>::new());
}

#[test]
fn each_text_has_a_direction_and_the_language_that_its_script_tells() {
    let mut known = hit("c.png", "東京");
    known.captions[0].language = Some("ja".into());
    known.captions.push(Caption { language: Some("\"><b>".into()), text: "東京".into() });
    let page = draw("model", &[band("ネコ", vec![hit("a.png", "قطة على أريكة"), known])], Path::new("."));
    assert!(page.contains("<bdi dir=\"auto\" lang=\"ja\">ネコ</bdi>"));
    assert!(page.contains("<p class=\"caption\" dir=\"auto\" lang=\"\">قطة على أريكة</p>"));
    assert!(page.contains("<p class=\"caption\" dir=\"auto\" lang=\"ja\">東京</p><p class=\"caption\" dir=\"auto\" lang=\"zh\">東京</p>"));
}

#[test]
fn the_page_asks_for_nothing_from_elsewhere() {
    let page = draw("model", &[band("x", vec![hit("a.png", "")])], Path::new("/photos"));
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("@import") && !page.contains("url("));
}

#[test]
fn the_policy_lets_the_script_run_and_no_other() {
    use base64::Engine;
    let digest = ring::digest::digest(&ring::digest::SHA256, SCRIPT.as_bytes());
    assert_eq!(SCRIPT_HASH, base64::engine::general_purpose::STANDARD.encode(digest), "the script changed: this is its hash now");
}
