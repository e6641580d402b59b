//! The built-in model against what the reference code recorded of it: `models/hua-emoji-9l`.
use std::path::{Path, PathBuf};

use hua::evaluate::{self, LanguageScores, Recalls};
use hua::model::checkpoint::Checkpoint;
use hua::{Embedder, NoProgress, OpenOptions};
use serde_json::Value;

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn json(path: &str) -> Value {
    serde_json::from_slice(&std::fs::read(root(path)).expect("the file is there")).expect("it is JSON")
}

fn embedder() -> Embedder {
    Embedder::embedded(&OpenOptions::default()).expect("the built-in model opens")
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn it_is_the_model_of_the_repository_and_has_its_sizes() {
    let built_in = embedder();
    let folder = Embedder::open(&root("models/hua-emoji-9l").to_string_lossy()).unwrap();
    assert_eq!(built_in.fingerprint(), folder.fingerprint());
    assert_eq!(built_in.model().parameter_count(), 9_434_625);
    assert_eq!((built_in.width(), built_in.spec().context_length), (256, 64));
    let recorded = json("models/hua-emoji-9l/reference.json")["logit_scale_exp"].as_f64().unwrap();
    assert!((f64::from(built_in.logit_scale()) - recorded).abs() < 1e-4);
}

#[test]
fn embeddings_equal_the_reference_codes() {
    let embedder = embedder();
    let reference = json("models/hua-emoji-9l/reference.json");
    let recorded = Checkpoint::open(&root("models/hua-emoji-9l/reference_embeddings.safetensors")).unwrap();
    let rows = |name: &str| recorded.tensor(name).unwrap().to_f32().unwrap().into_owned();

    let texts: Vec<&str> = reference["texts"].as_array().unwrap().iter().map(|t| t["text"].as_str().unwrap()).collect();
    for (text, record) in texts.iter().zip(reference["texts"].as_array().unwrap()) {
        let ids: Vec<u64> = record["input_ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
        let found: Vec<u64> = embedder.tokenizer().encode(text).unwrap().ids.into_iter().map(u64::from).collect();
        assert_eq!(found, ids, "{text}");
    }
    let found = embedder.embed_texts(&texts).unwrap();
    let least = found.rows().zip(rows("text_embeds").chunks_exact(256)).map(|(a, b)| cosine(a, b)).fold(1.0, f64::min);
    assert!(least >= 0.99999, "texts: {least}");

    let wanted: Vec<String> = reference["images"].as_array().unwrap().iter().map(ToString::to_string).collect();
    let pictures: Vec<_> = wanted.iter().map(|id| picture(&embedder, id)).collect();
    let found = embedder.embed_images(&pictures).unwrap();
    let least = found.rows().zip(rows("image_embeds").chunks_exact(256)).map(|(a, b)| cosine(a, b)).fold(1.0, f64::min);
    assert!(least >= 0.99999, "pictures: {least}");

    let pixels: Vec<f32> = pictures[..2].iter().flat_map(|p| embedder.preprocess().apply(p).data).collect();
    let most = pixels.iter().zip(rows("pixel_values_first2")).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(most <= 1e-6, "pixels: {most}");
}

fn picture(embedder: &Embedder, id: &str) -> hua::image::Picture {
    let dataset = evaluate::Dataset::read(&root("data/emoji-9l"), "valid").expect("the data set is there");
    let mut images = dataset.images().expect("its pictures are there");
    let (_, bytes) = images.find_map(|image| image.ok().filter(|(found, _)| found == id)).expect("the picture is there");
    embedder.decode_picture(id, &bytes).expect("it decodes")
}

#[test]
fn what_is_recorded_is_what_is_wanted_of_a_default_model() {
    // R@1 from text to picture, percent; in each language that of the built-in model before hua trained one.
    const BEFORE: [(&str, f64); 9] = [
        ("en", 49.82),
        ("zh", 50.43),
        ("es", 49.94),
        ("fr", 48.47),
        ("ru", 47.68),
        ("ja", 48.41),
        ("ko", 50.98),
        ("ar", 48.66),
        ("it", 50.37),
    ];
    let metrics = json("models/hua-emoji-9l/metrics.json");
    let mean = |split: &str| metrics[split]["all"]["mean_text_to_image"]["R@1"].as_f64().unwrap();
    assert!(mean("valid") >= 70.0, "{}", mean("valid"));
    assert!((mean("dev") + mean("test")) / 2.0 >= 28.0, "{} {}", mean("dev"), mean("test"));
    for (language, before) in BEFORE {
        let found = metrics["valid"]["all"]["languages"][language]["text_to_image"]["R@1"].as_f64().unwrap();
        assert!(found > before, "{language}: {found}");
    }
}

#[test]
fn retrieval_scores_are_the_recorded_ones_in_every_language_and_direction() {
    let embedder = embedder();
    let metrics = json("models/hua-emoji-9l/metrics.json");
    for split in ["valid", "dev", "test"] {
        let report = evaluate::retrieval(&embedder, &root("data/emoji-9l"), split, &NoProgress).unwrap();
        let recorded = &metrics[split]["all"];
        assert_eq!(report.images as u64, recorded["images"].as_u64().unwrap());
        assert_eq!(report.languages.len(), 9);
        for (language, scores) in &report.languages {
            let LanguageScores { text_to_image, image_to_text, mean_recall } = scores;
            let recorded = &recorded["languages"][language];
            check(&format!("{split} {language} text to image"), *text_to_image, &recorded["text_to_image"]);
            check(&format!("{split} {language} image to text"), *image_to_text, &recorded["image_to_text"]);
            assert!((mean_recall - recorded["MR"].as_f64().unwrap()).abs() <= 0.1, "{split} {language} MR");
        }
        assert!((report.mean_mean_recall - recorded["mean_MR"].as_f64().unwrap()).abs() <= 0.1);
    }
}

/// Within 0.1 point of what was recorded.
fn check(what: &str, found: Recalls, recorded: &Value) {
    for (k, found) in ["R@1", "R@5", "R@10"].into_iter().zip(found.values()) {
        let recorded = recorded[k].as_f64().expect("the record has it");
        assert!((found - recorded).abs() <= 0.1, "{what} {k}: {found}, recorded {recorded}");
    }
}
