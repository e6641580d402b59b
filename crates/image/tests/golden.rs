//! Against Pillow 13.0.0 and transformers 5.23.0: bytes and bits, from `tests/golden/image/` (made by `make_image.py` there).

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

use hua_image::{Alpha, DecodeOptions, Filter, Mode, Picture, Preprocess};
use sha2::{Digest, Sha256};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/image")
}

/// The lines of a table, without its heading.
fn table<const N: usize>(name: &str) -> Vec<[String; N]> {
    let text = std::fs::read_to_string(folder().join(name)).unwrap();
    text.lines().skip(1).map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>().try_into().unwrap()).collect()
}

fn sha(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn mode(name: &str) -> Mode {
    match name {
        "1" => Mode::Bilevel,
        "CMYK" => Mode::Cmyk,
        "I;16" => Mode::Grey16,
        "L" => Mode::Grey,
        "LA" => Mode::GreyAlpha,
        "P" => Mode::Palette,
        "RGB" => Mode::Rgb,
        "RGBA" => Mode::Rgba,
        other => panic!("no mode for {other}"),
    }
}

fn open(name: &str, options: DecodeOptions) -> Picture {
    Picture::open(folder().join("files").join(name), &options).unwrap()
}

/// `formula` of `make_image.py`: bytes `[height, width, channels]`.
fn formula(width: u32, height: u32, channels: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for y in 0..height {
        for x in 0..width {
            for c in 0..channels {
                let waves = x.wrapping_mul(2654435761).wrapping_add(y.wrapping_mul(2246822519)).wrapping_add(c.wrapping_mul(3266489917));
                bytes.push((x * 5 + y * 3 + c * 85 + ((x * y) >> 4) + (waves >> 13 & 63)) as u8);
            }
        }
    }
    bytes
}

fn source(name: &str, width: u32, height: u32) -> Picture {
    let mode = mode(name);
    let mut data = formula(width, height, mode.bytes() as u32);
    if mode == Mode::Bilevel {
        data.iter_mut().for_each(|byte| *byte = if *byte > 127 { 255 } else { 0 });
    }
    Picture::from_raw(width, height, mode, data).unwrap()
}

fn pair(text: &str) -> (u32, u32) {
    let (width, height) = text.split_once('x').unwrap();
    (width.parse().unwrap(), height.parse().unwrap())
}

/// Maximum and mean difference of two pictures of one size.
fn difference(a: &[u8], b: &[u8]) -> (u8, f64) {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(a, b)| a.abs_diff(*b));
    (differences.clone().max().unwrap(), differences.map(f64::from).sum::<f64>() / a.len() as f64)
}

#[test]
fn a_resize_gives_pillows_bytes_in_every_mode_and_filter() {
    let cases = table::<5>("resize.tsv");
    assert!(cases.len() >= 200, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for [mode, from, to, filter, expected] in &cases {
        let ((width, height), (to_width, to_height)) = (pair(from), pair(to));
        let filter = Filter::from_code(filter.parse().unwrap()).unwrap();
        let resized = source(mode, width, height).resize(to_width, to_height, filter);
        if sha(resized.data()) != *expected {
            wrong.push(format!("{mode} {from} to {to} {filter:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn every_lossless_file_has_pillows_mode_and_bytes() {
    let mut wrong = Vec::new();
    for [name, mode_name, width, height, raw, on_white, dropped, turned] in table::<8>("files.tsv") {
        if name.ends_with(".jpg") {
            continue;
        }
        let picture = match Picture::open(folder().join("files").join(&name), &DecodeOptions::upstream()) {
            Ok(picture) => picture,
            Err(error) => {
                wrong.push(error.to_string());
                continue;
            }
        };
        let mut check = |what: &str, right: bool| {
            if !right {
                wrong.push(format!("{name}: {what}"));
            }
        };
        check("mode", picture.mode() == mode(&mode_name));
        check("size", (picture.width(), picture.height()) == (width.parse().unwrap(), height.parse().unwrap()));
        check("bytes", sha(picture.data()) == raw);
        check("bytes on white", sha(picture.to_rgb8().data()) == on_white);
        check("bytes without alpha", sha(picture.to_rgb8_with(Alpha::Drop).data()) == dropped);
        let upright = open(&name, DecodeOptions { orient: true, ..DecodeOptions::upstream() }).to_rgb8();
        check("turned", format!("{}x{}:{}", upright.width(), upright.height(), sha(upright.data())) == turned);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_jpeg_differs_from_pillow_in_the_last_place_only() {
    let mut report = Vec::new();
    let mut wrong = false;
    for [name, mode_name, ..] in table::<8>("files.tsv") {
        let Some(stem) = name.strip_suffix(".jpg") else { continue };
        let picture = open(&name, DecodeOptions::default());
        let suffix = if mode_name == "CMYK" { "tif" } else { "png" };
        let expected = Picture::open(folder().join(format!("expected/{stem}.{suffix}")), &DecodeOptions::default()).unwrap();
        let same_shape = (picture.mode(), picture.width(), picture.height()) == (expected.mode(), expected.width(), expected.height());
        let (max, mean) = difference(picture.data(), expected.data());
        wrong |= !same_shape || max > 6 || mean > 0.4;
        report.push(format!("{name}: max {max}, mean {mean:.3}, mode {:?}, wanted {mode_name}", picture.mode()));
    }
    assert!(!wrong, "{}", report.join("\n"));
}

#[test]
fn preprocessing_gives_the_numbers_of_transformers_to_the_last_bit() {
    let mut wrong = Vec::new();
    for [name, config, expected, first] in table::<4>("preprocess.tsv") {
        let json = std::fs::read(folder().join(format!("configs/{config}.json"))).unwrap();
        let preprocess = Preprocess::from_config(&json).unwrap();
        let pixels = preprocess.apply(&open(&name, DecodeOptions::upstream()));
        let bytes: Vec<u8> = pixels.data.iter().flat_map(|value| value.to_le_bytes()).collect();
        if sha(&bytes) != expected {
            wrong.push(format!("{name} with {config}: begins {:?}, wanted {first}", &pixels.data[..4]));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn resizing_first_gives_the_bytes_of_cn_clip() {
    for [name, size, expected] in table::<3>("squash.tsv") {
        let squashed = Preprocess::cn_clip(size.parse().unwrap()).resized(&open(&name, DecodeOptions::upstream()));
        assert_eq!(sha(squashed.data()), expected, "{name}");
    }
}

#[test]
fn a_jpeg_that_shrinks_on_load_is_the_same_picture_in_small() {
    let shrinking = DecodeOptions { shrink_on_load: Some(hua_image::Size::square(36)), ..DecodeOptions::default() };
    let mut shrunk = 0;
    for [name, mode_name, ..] in table::<8>("files.tsv").into_iter().filter(|[name, ..]| name.ends_with(".jpg")) {
        let (exact, small) = (open(&name, DecodeOptions::default()), open(&name, shrinking));
        let size = (small.width(), small.height());
        if size == (exact.width(), exact.height()) {
            assert_eq!(exact, small, "{name} is not to shrink");
            continue;
        }
        assert_ne!(mode_name, "CMYK");
        assert!(size.0.min(size.1) >= 36, "{name} is {size:?}");
        // A box over each block of pixels is what the transform comes near to.
        let (_, mean) = difference(exact.resize(size.0, size.1, Filter::Box).data(), small.data());
        assert!(mean < 4.0, "{name}: {mean}");
        shrunk += 1;
    }
    assert!(shrunk > 0, "no golden JPEG is large enough");
}
