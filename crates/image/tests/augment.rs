//! Augmentation against Pillow 13.0.0 as timm and torchvision call it: bytes, from `tests/golden/augment/` (made by `make_augment.py` there).

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;

use hua_image::augment::{
    Affine, Augment, AutoAugment, Canvas, ColorJitter, Fill, Found, Interpolation, Operation, Policy, Random, RandomAffine,
    RandomBackground,
};
use hua_image::{Error, Filter, Mode, Picture, Preprocess};
use sha2::{Digest, Sha256};

/// The lines of a table, without its heading.
fn table<const N: usize>(name: &str) -> Vec<[String; N]> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/augment").join(name)).unwrap();
    text.lines().skip(1).map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>().try_into().unwrap()).collect()
}

fn sha(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `formula` of `make_image.py`, RGB.
fn rough(width: u32, height: u32) -> Picture {
    let mut bytes = vec![];
    for y in 0..height {
        for x in 0..width {
            for c in 0..3_u32 {
                let waves = x.wrapping_mul(2654435761).wrapping_add(y.wrapping_mul(2246822519)).wrapping_add(c.wrapping_mul(3266489917));
                bytes.push((x * 5 + y * 3 + c * 85 + ((x * y) >> 4) + (waves >> 13 & 63)) as u8);
            }
        }
    }
    Picture::from_rgb8(width, height, bytes).unwrap()
}

/// `rough WxH` or `smooth WxH`.
fn picture(name: &str) -> Picture {
    let (kind, size) = name.split_once(' ').unwrap();
    let (width, height) = size.split_once('x').unwrap();
    let (width, height) = (width.parse().unwrap(), height.parse().unwrap());
    if kind == "rough" { rough(width, height) } else { rough(6, 5).resize(width, height, Filter::Bicubic) }
}

fn operation(name: &str, n: &[f64]) -> Operation {
    match name {
        "Affine" => Operation::Affine(Affine { angle: n[0], shift: [n[1], n[2]], scale: n[3], shear: [n[4], n[5]] }),
        "AutoContrast" => Operation::AutoContrast,
        "Brightness" => Operation::Brightness(n[0]),
        "Color" => Operation::Color(n[0]),
        "Contrast" => Operation::Contrast(n[0]),
        "Equalize" => Operation::Equalize,
        "Flip" => Operation::Flip,
        "Hue" => Operation::Hue(n[0]),
        "Invert" => Operation::Invert,
        "Posterize" => Operation::Posterize(n[0] as u32),
        "Rotate" => Operation::Rotate(n[0]),
        "Sharpness" => Operation::Sharpness(n[0]),
        "ShearX" => Operation::ShearX(n[0]),
        "ShearY" => Operation::ShearY(n[0]),
        "Solarize" => Operation::Solarize(n[0]),
        "TranslateX" => Operation::TranslateX(n[0]),
        "TranslateY" => Operation::TranslateY(n[0]),
        other => panic!("no operation for {other}"),
    }
}

#[test]
fn every_operation_gives_pillows_bytes() {
    let cases = table::<6>("operations.tsv");
    assert!(cases.len() > 500, "{} cases", cases.len());
    let mut wrong = vec![];
    for [name, kind, numbers, interpolation, fill, expected] in &cases {
        let numbers: Vec<f64> = numbers.split_whitespace().map(|n| n.parse().unwrap()).collect();
        let interpolation = match &**interpolation {
            "nearest" => Interpolation::Nearest,
            "bilinear" => Interpolation::Bilinear,
            _ => Interpolation::Bicubic,
        };
        let fill: Vec<u8> = fill.split(' ').map(|n| n.parse().unwrap()).collect();
        let canvas = Canvas { interpolation, fill: fill.try_into().unwrap() };
        if sha(operation(kind, &numbers).apply(&picture(name), canvas).data()) != *expected {
            wrong.push(format!("{name}: {kind} {numbers:?} {interpolation:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn every_pair_of_both_policies_gives_the_bytes_of_timm_and_torchvision() {
    let cases = table::<5>("policies.tsv");
    assert_eq!(cases.len(), 2 * 2 * 25 * 2);
    let canvas = Canvas { interpolation: Interpolation::Bicubic, fill: hua_image::augment::FILL };
    let mut wrong = vec![];
    for [name, policy, pair, sign, expected] in &cases {
        let policy = if policy == "torchvision" { Policy::Torchvision } else { Policy::ChineseClip };
        let pair = policy.pairs(sign == "-1")[pair.parse::<usize>().unwrap()];
        let out = pair.iter().fold(picture(name), |picture, (operation, _)| operation.apply(&picture, canvas));
        if sha(out.data()) != *expected {
            wrong.push(format!("{name}: {policy:?} {pair:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Everything at once.
fn all() -> Augment {
    Augment {
        background: Some(RandomBackground::default()),
        flip: 0.5,
        affine: Some(RandomAffine {
            degrees: 15.0,
            translate: [0.1, 0.1],
            scale: [0.8, 1.2],
            shear: 5.0,
            fill: Fill::Found(Found::Random),
            ..RandomAffine::default()
        }),
        color_jitter: Some(ColorJitter { brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1, ..ColorJitter::default() }),
        ..Augment::chinese_clip()
    }
}

#[test]
fn the_same_seed_gives_the_same_pixels_on_every_machine() {
    let preprocess = Preprocess::chinese_clip(24);
    let bytes: Vec<u8> =
        (0..40).flat_map(|seed| all().apply(&picture("smooth 37x31"), &preprocess, &mut Random::new(seed)).data().to_vec()).collect();
    // Changes only when the random choices change: then every run that is resumed changes too, which the changelog must say.
    insta::assert_snapshot!(sha(&bytes));
}

#[test]
fn nothing_is_mirrored_unless_asked_and_nothing_changes_by_default() {
    let none = Augment::default();
    assert!(none.is_none() && !Augment::chinese_clip().is_none());
    for (preprocess, name) in [(Preprocess::clip(24), "rough 41x33"), (Preprocess::chinese_clip(24), "smooth 64x48")] {
        assert_eq!(none.pixels(&picture(name), &preprocess, &mut Random::new(1)), preprocess.apply(&picture(name)));
    }
    // A picture that is darker to the right stays so.
    let ramp = Picture::from_rgb8(32, 32, (0..32 * 32).flat_map(|at| [(at % 32) as u8 * 8; 3]).collect()).unwrap();
    let cropped = Augment { auto_augment: None, ..Augment::chinese_clip() };
    for seed in 0..50 {
        let pixels = cropped.apply(&ramp, &Preprocess::chinese_clip(16), &mut Random::new(seed));
        assert!(pixels.data()[0] < pixels.data()[45]);
    }
}

#[test]
fn a_step_that_is_turned_on_leaves_the_choices_of_the_others() {
    let preprocess = Preprocess::chinese_clip(16);
    let crop = Augment { auto_augment: None, ..Augment::chinese_clip() };
    let with_idle_flip = Augment { color_jitter: Some(ColorJitter::default()), ..crop.clone() };
    for seed in 0..20 {
        let apply = |augment: &Augment| augment.apply(&picture("smooth 40x40"), &preprocess, &mut Random::new(seed));
        assert_eq!(apply(&crop), apply(&with_idle_flip));
    }
}

#[test]
fn pictures_of_every_mode_and_size_can_be_changed() {
    let preprocess = Preprocess::clip(16);
    for mode in [Mode::Grey, Mode::GreyAlpha, Mode::Rgba, Mode::Cmyk, Mode::Bilevel] {
        for (width, height) in [(1, 1), (1, 300), (300, 1), (17, 16)] {
            let data = (0..width * height * mode.bytes() as u32).map(|i| i as u8).collect();
            let picture = Picture::from_raw(width, height, mode, data).unwrap();
            for seed in 0..10 {
                assert_eq!(all().pixels(&picture, &preprocess, &mut Random::new(seed)).data.len(), 3 * 16 * 16);
            }
        }
    }
}

#[test]
fn a_recipe_says_what_it_wants_and_numbers_without_sense_are_refused() {
    let read = |json: &str| serde_json::from_str::<Augment>(json);
    let recipe = r#"{"crop": {"scale": [0.5, 1.0]}, "auto_augment": {"policy": "torchvision", "fill": "random"}, "affine": {"fill": [255, 255, 255], "degrees": 10}}"#;
    let augment = read(recipe).unwrap();
    assert_eq!(augment.crop.unwrap().scale, [0.5, 1.0]);
    assert_eq!(
        augment.auto_augment.unwrap(),
        AutoAugment { policy: Policy::Torchvision, fill: Fill::Found(Found::Random), probability: 1.0 }
    );
    assert_eq!(augment.affine.unwrap().fill, Fill::Color([255; 3]));
    augment.check().unwrap();
    all().check().unwrap();
    assert!(read(r#"{"mirror": 0.5}"#).unwrap_err().to_string().contains("unknown field `mirror`"));
    for (json, key) in [
        (r#"{"flip": 1.5}"#, "flip"),
        (r#"{"crop": {"scale": [0.5, 0.1]}}"#, "crop.scale"),
        (r#"{"crop": {"ratio": [0, 1]}}"#, "crop.ratio"),
        (r#"{"affine": {"scale": [0, 1]}}"#, "affine.scale"),
        (r#"{"affine": {"shear": 90}}"#, "affine.shear"),
        (r#"{"color_jitter": {"hue": 0.7}}"#, "color_jitter.hue"),
    ] {
        assert!(matches!(read(json).unwrap().check(), Err(Error::Config { key: found, .. }) if found == key), "{json}");
    }
}
