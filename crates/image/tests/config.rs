//! `preprocessor_config.json`: what is understood, what is refused and in which words.

use hua_image::{Alpha, ConvertOrder, Filter, Geometry, MAX_SIDE, Preprocess, Size};

fn parse(json: &str) -> Result<Preprocess, String> {
    Preprocess::from_config(json.as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn an_empty_configuration_is_clip_at_224() {
    assert_eq!(parse("{}"), Ok(Preprocess::clip(224)));
    assert_eq!(parse(r#"{"size": null, "do_resize": null, "image_mean": null}"#), Ok(Preprocess::clip(224)));
}

#[test]
fn the_old_scalar_sizes_are_a_shortest_edge_and_a_square() {
    assert_eq!(parse(r#"{"size": 336, "crop_size": 336}"#), Ok(Preprocess::clip(336)));
    let geometry = |json| parse(json).unwrap().geometry;
    assert_eq!(geometry(r#"{"size": 256}"#), Geometry::ShortestEdge { edge: 256, crop: Size::square(224) });
    assert_eq!(geometry(r#"{"size": [20, 30], "do_center_crop": false}"#), {
        let to = Size { height: 20, width: 30 };
        Geometry::Squash { to, crop: to }
    });
    assert_eq!(geometry(r#"{"do_resize": false, "crop_size": {"height": 5, "width": 6}}"#), Geometry::Crop(Size { height: 5, width: 6 }));
}

#[test]
fn keys_that_only_inform_are_passed_over() {
    let json =
        r#"{"processor_class": "AltCLIPProcessor", "image_processor_type": "CLIPImageProcessorFast", "device": "cpu", "do_pad": false}"#;
    assert_eq!(parse(json), Ok(Preprocess::clip(224)));
}

#[test]
fn values_that_cannot_be_honoured_are_refused() {
    let refusals: Vec<String> = [
        r#"[]"#,
        r#"{"size": 0}"#,
        r#"{"size": 1000000000}"#,
        r#"{"size": {"shortest_edge": 224, "longest_edge": 500}}"#,
        r#"{"size": {"height": 224}}"#,
        r#"{"crop_size": "large"}"#,
        r#"{"resample": 7}"#,
        r#"{"do_resize": "yes"}"#,
        r#"{"do_center_crop": false}"#,
        r#"{"do_center_crop": false, "do_resize": false}"#,
        r#"{"do_pad": true}"#,
        r#"{"image_mean": [0.5, 0.5]}"#,
        r#"{"image_std": [0.5, 0, 0.5]}"#,
        r#"{"rescale_factor": "1/255"}"#,
        r#"{"image_processor_type": "SiglipImageProcessor"}"#,
    ]
    .map(|json| format!("{json}: {}", parse(json).unwrap_err()))
    .into();
    insta::assert_snapshot!(refusals.join("\n"));
}

#[test]
fn a_preprocess_survives_json_to_the_last_bit() {
    let mut odd = Preprocess::cn_clip(31);
    odd.rescale = Some(0.1 + 0.2);
    for preprocess in
        [odd, Preprocess::clip(224), Preprocess::chinese_clip(336), Preprocess { filter: Filter::Lanczos, normalize: None, ..odd }]
    {
        let json = serde_json::to_string(&preprocess).unwrap();
        assert_eq!(serde_json::from_str::<Preprocess>(&json).unwrap(), preprocess, "{json}");
    }
    assert_eq!((odd.order, odd.alpha), (ConvertOrder::ResizeFirst, Alpha::Drop));
}

#[test]
fn an_output_always_has_the_promised_size() {
    use hua_image::{Mode, Picture};
    for (width, height) in [(1, 1), (7, 3), (3, 7), (50, 20), (1, 90)] {
        for mode in [Mode::Bilevel, Mode::Cmyk, Mode::Grey, Mode::Grey16, Mode::GreyAlpha, Mode::Palette, Mode::Rgb, Mode::Rgba] {
            let picture = Picture::from_raw(width, height, mode, vec![77; (width * height) as usize * mode.bytes()]).unwrap();
            for preprocess in [Preprocess::clip(9), Preprocess::chinese_clip(9), Preprocess::cn_clip(9)] {
                assert_eq!(preprocess.apply(&picture).data.len(), 3 * 9 * 9);
            }
        }
    }
}

/// As `fuzz/fuzz_targets/config.rs`, whose seeds are configurations of pictures and of models.
#[test]
fn what_fuzzing_found_stays_found() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/config");
    let mut accepted = 0;
    for input in std::fs::read_dir(corpus).unwrap() {
        if let Ok(preprocess) = Preprocess::from_config(&std::fs::read(input.unwrap().path()).unwrap()) {
            let size = preprocess.output_size();
            assert!((1..=MAX_SIDE).contains(&size.height) && (1..=MAX_SIDE).contains(&size.width));
            accepted += 1;
        }
    }
    assert!(accepted > 2);
}
