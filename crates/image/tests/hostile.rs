//! Files that lie, stop short or are no pictures: an error, never a panic, and before any large buffer exists.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../../../tests/golden/difficult/mod.rs"]
mod difficult;

use std::path::{Path, PathBuf};

use hua_image::{DecodeOptions, Error, Limits, Picture, Preprocess, Size};
use proptest::prelude::*;

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn pictures() -> Vec<PathBuf> {
    files("../../tests/golden/image/files")
}

fn decode(bytes: &[u8]) -> hua_image::Result<Picture> {
    // Small bounds: whatever a mutated header asks for stays cheap.
    let limits = Limits { max_pixels: 1 << 20, max_bytes: 1 << 24 };
    let _ = Picture::decode(bytes, &DecodeOptions { limits, shrink_on_load: Some(Size::square(16)), ..DecodeOptions::default() });
    Picture::decode(bytes, &DecodeOptions { limits, ..DecodeOptions::default() })
}

#[test]
fn each_file_of_the_corpus_is_refused_for_its_own_reason() {
    let mut refusals = String::new();
    for file in files("tests/corpus") {
        let name = file.file_name().unwrap().to_str().unwrap();
        let error = Picture::open(&file, &DecodeOptions::default()).expect_err(name);
        let Error::InFile { path, source } = error else { panic!("{name}: {error}") };
        assert_eq!(path, file);
        refusals += &format!("{name}: {source}\n");
    }
    insta::assert_snapshot!(refusals);
}

#[test]
fn a_difficult_file_is_a_picture_or_refused_as_is_said_of_it() {
    let folder = tempfile::tempdir().unwrap();
    for file in difficult::make(folder.path()) {
        // The name of one is no UTF-8; its bytes are those of others.
        if !file.name.contains("\\x") {
            let picture = Picture::open(folder.path().join(file.name), &DecodeOptions::default());
            assert_eq!(picture.is_ok(), file.sound, "{}: {:?}", file.name, picture.err());
        }
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = Picture::open("no/such/picture.png", &DecodeOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "cannot read `no/such/picture.png`");
}

#[test]
fn a_truncated_file_is_an_error_wherever_it_ends() {
    for file in pictures() {
        let bytes = std::fs::read(&file).unwrap();
        for sixteenth in 0..16 {
            let cut = &bytes[..bytes.len() * sixteenth / 16];
            if let Ok(picture) = Picture::decode(cut, &DecodeOptions::default()) {
                // What follows the pixels may be missing: later frames and metadata.
                let whole = Picture::decode(&bytes, &DecodeOptions { orient: false, ..DecodeOptions::default() }).unwrap();
                assert_eq!(picture.data(), whole.data(), "{} cut at {sixteenth}/16 decodes to something else", file.display());
            }
        }
    }
}

#[test]
fn limits_are_checked_before_decoding() {
    let picture = Picture::from_rgb8(20, 30, vec![0; 1800]).unwrap().encode_png();
    let with = |limits| Picture::decode(&picture, &DecodeOptions { limits, ..DecodeOptions::default() }).map_err(|error| error.to_string());
    assert!(with(Limits { max_pixels: 600, ..Limits::default() }).is_ok());
    assert_eq!(with(Limits { max_pixels: 599, ..Limits::default() }).unwrap_err(), "the picture is 20×30, 600 pixels; the limit is 599");
    assert!(with(Limits { max_bytes: 1000, ..Limits::default() }).unwrap_err().contains("the limit is 1000"));
}

#[test]
fn a_strip_of_one_by_sixty_thousand_becomes_an_input_without_its_enlargement() {
    // Enlarged whole it would be 224 × 13,440,000 pixels.
    let strip = Picture::from_rgb8(60_000, 1, (0..180_000).map(|i| (i % 251) as u8).collect()).unwrap();
    assert_eq!(Preprocess::clip(224).apply(&strip).data.len(), 3 * 224 * 224);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), start in 0..7_usize) {
        let starts: [&[u8]; 7] = [b"", b"\xFF\xD8\xFF", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\0\0\0\0WEBPVP8 ", b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", b"II*\0\x08\0\0\0"];
        let _ = decode(&[starts[start], &bytes].concat());
    }

    #[test]
    fn a_picture_with_flipped_bytes_never_panics(which in any::<prop::sample::Index>(), flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let files = pictures();
        let mut bytes = std::fs::read(which.get(&files)).unwrap();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = decode(&bytes);
    }

    #[test]
    fn random_configurations_never_panic(json in "[\\[\\]{}\":,0-9a-z_ ]{0,60}") {
        let _ = Preprocess::from_config(json.as_bytes());
    }
}
