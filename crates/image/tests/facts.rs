//! What headers say, and the previews of RAW files: the files of `tests/golden/facts/` (made by `make_facts.py` there), sound and damaged.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

use hua_image::{DecodeOptions, Error, Facts, Limits, Picture, facts};
use serde_json::{Map, Value};

const RAW: [&str; 8] = ["x.arw", "x.cr2", "x.cr3", "x.dng", "x.nef", "x.orf", "x.raf", "x.rw2"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/facts")
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).unwrap()
}

fn files() -> Map<String, Value> {
    serde_json::from_slice(&read("facts.json")).unwrap()
}

/// What is said, without what is not; places to a millionth of a degree.
fn said(facts: &Facts) -> Map<String, Value> {
    let Value::Object(said) = serde_json::to_value(facts).unwrap() else { panic!("facts are an object") };
    said.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name, rounded(value))).collect()
}

fn rounded(value: Value) -> Value {
    match value.as_f64().filter(|_| value.is_f64()) {
        Some(degrees) => ((degrees * 1e6).round() as i64).into(),
        None => value,
    }
}

#[test]
fn each_file_says_what_it_was_given_to_say() {
    let files = files();
    assert!(files.len() >= 20);
    for (name, expected) in files {
        let expected: Map<_, _> = expected.as_object().unwrap().clone().into_iter().map(|(name, value)| (name, rounded(value))).collect();
        assert_eq!(said(&facts(&read(&name))), expected, "{name}");
    }
}

#[test]
fn the_largest_preview_stands_for_a_raw_file_and_is_turned() {
    let options = DecodeOptions { orient: false, ..DecodeOptions::default() };
    let expected = Picture::open(folder().join("raw.jpg"), &options).unwrap();
    for name in RAW {
        let turned = Picture::decode(&read(name), &DecodeOptions::default()).unwrap();
        assert_eq!((turned.width(), turned.height()), (240, 320), "{name}");
        let stored = Picture::decode(&read(name), &options).unwrap();
        assert_eq!((stored.width(), stored.height()), (320, 240), "{name}");
        if name != "x.raf" {
            assert_eq!(stored.data(), expected.data(), "{name}");
        }
    }
}

#[test]
fn what_hua_does_not_decode_is_named_with_what_to_do() {
    let reason = |name: &str| Picture::decode(&read(name), &DecodeOptions::default()).unwrap_err().to_string();
    assert_eq!(reason("plain.heic"), "HEIC pictures are coded as HEVC, which hua does not decode; export the picture as JPEG");
    assert_eq!(reason("plain.avif"), "AVIF pictures are coded as AV1, which hua does not decode; export the picture as JPEG");
    let error = Picture::decode(&read("small.dng"), &DecodeOptions::default()).unwrap_err();
    assert!(matches!(error, Error::NoPreview { name: "DNG" }), "{error}");
}

#[test]
fn absurd_values_are_not_said() {
    // The time, the sign of the latitude and the number of the orientation, each overwritten in place.
    let replaced = |from: &[u8], to: &[u8]| {
        let mut bytes = read("exif.jpg");
        let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
        bytes[at..at + to.len()].copy_from_slice(to);
        facts(&bytes)
    };
    assert_eq!(replaced(b"2024:05:31", b"0000:00:00").taken, None);
    assert_eq!(replaced(b"2024:05:31", b"    :  :  ").taken, None);
    assert_eq!(replaced(b"2024:05:31", b"2024:13:31").taken, None);
    assert_eq!(replaced(b"NIKON D90\0", b"\0\0\0\0\0\0\0\0\0\0").camera.as_deref(), Some("NIKON CORPORATION"));
    assert_eq!(facts(b""), Facts::default());
    assert_eq!(facts(b"<html>"), Facts::default());
}

#[test]
fn no_byte_of_a_file_makes_it_panic() {
    let options = DecodeOptions { limits: Limits { max_pixels: 1 << 20, max_bytes: 1 << 24 }, ..DecodeOptions::default() };
    for name in files().keys() {
        let sound = read(name);
        // What is behind the headers is the decoders' own and tested with them.
        let step = if sound.len() > 2000 { 23 } else { 1 };
        for at in (0..sound.len()).step_by(step) {
            for change in [0xFF, 0x01] {
                let mut changed = sound.clone();
                changed[at] ^= change;
                facts(&changed);
                if RAW.contains(&&**name) && at % 5 == 0 {
                    let _ = Picture::decode(&changed, &options);
                }
            }
            facts(&sound[..at]);
        }
    }
}
