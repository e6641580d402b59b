//! hua's figures beside those of cn_clip, clip_benchmark, ELEVATER, scikit-learn, numpy and torch: `tests/golden/eval/`, made by `make_eval.py`.
//! Equal means equal to the last printed digit, and files to the byte.
use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::classification::{Figures, Logits};
use super::elevater::probabilities;
use super::retrieval::{LanguageQueries, Pairs, QueryText, Retrieval, score};
use super::sums::{numpy_sum, torch_sum};
use super::zeroshot::ensembled;
use super::{Bootstrap, chinese_clip, clip_benchmark};
use crate::{Embeddings, similarity};

pub(super) fn golden(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

pub(super) fn integers(of: &Value) -> Vec<Vec<i64>> {
    serde_json::from_value(of.clone()).unwrap()
}

pub(super) fn indices(of: &Value) -> Vec<usize> {
    serde_json::from_value(of.clone()).unwrap()
}

/// Rows of whole numbers, divided by their length.
pub(super) fn normalized(of: &Value) -> Embeddings {
    let rows = integers(of);
    Embeddings::normalized("golden", rows[0].len(), rows.concat().iter().map(|&x| x as f32).collect())
}

fn run(texts: Embeddings, images: Embeddings, ids: [Vec<String>; 2], positives: Vec<Vec<usize>>) -> Retrieval {
    let languages = vec!["all".to_owned(); texts.len()];
    let pairs = Pairs { positives: &positives, languages: &languages };
    let scored = score(&texts, &images, pairs, &Bootstrap { resamples: 0, ..Bootstrap::default() }).unwrap().unwrap();
    let [text_ids, image_ids] = ids;
    let texts_of =
        text_ids.into_iter().zip(positives).map(|(id, positives)| QueryText { id, text: String::new(), language: "all".into(), positives });
    Retrieval {
        report: scored.report,
        queries: scored.queries,
        texts: texts_of.collect(),
        text_embeddings: texts,
        images: image_ids,
        image_embeddings: images,
    }
}

/// Figures as they are printed.
fn printed(metrics: &Map<String, Value>) -> BTreeMap<&str, String> {
    metrics.iter().map(|(name, value)| (&**name, value.to_string())).collect()
}

const RETRIEVAL: &str = include_str!("../../../../tests/golden/eval/retrieval.json");
const CLASSIFICATION: &str = include_str!("../../../../tests/golden/eval/classification.json");
const ZEROSHOT: &str = include_str!("../../../../tests/golden/eval/zeroshot.json");
const SUMS: &str = include_str!("../../../../tests/golden/eval/sums.json");

#[test]
fn predictions_features_and_scores_are_the_files_of_cn_clips_scripts_to_the_byte() {
    let golden = &golden(RETRIEVAL)["chinese_clip"];
    let [texts, images] = [0, 1].map(|i| normalized(&golden["signs"][i]));
    assert_eq!(texts.row(0)[0].abs(), 0.25);
    let ids = |of: &Value| indices(of).iter().map(ToString::to_string).collect();
    let positives: Vec<Vec<usize>> = serde_json::from_value(golden["positives"].clone()).unwrap();
    let run = run(texts, images, [ids(&golden["text_ids"]), ids(&golden["image_ids"])], positives);
    let folder = tempfile::tempdir().unwrap();
    let written = chinese_clip::write(&run, folder.path(), "s", true).unwrap();
    let files = golden["files"].as_object().unwrap();
    assert_eq!(written.len(), files.len());
    for (name, wanted) in files {
        let found = std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(found.trim_end(), wanted.as_str().unwrap().trim_end(), "{name}");
    }
}

#[test]
fn recalls_are_clip_benchmarks_with_several_captions_and_a_picture_without_any() {
    let golden = &golden(RETRIEVAL)["clip_benchmark"];
    let [texts, images] = ["texts", "images"].map(|name| normalized(&golden[name]));
    let (texts_count, images_count) = (texts.len(), images.len());
    let positives = indices(&golden["of_text"]).into_iter().map(|image| vec![image]).collect();
    let ids = [texts_count, images_count].map(|n| (0..n).map(|i| i.to_string()).collect());
    let run = run(texts, images, ids, positives);
    let queries: &LanguageQueries = &run.queries["all"];
    let found = clip_benchmark::retrieval_metrics(queries, texts_count, images_count, &[1, 5, 10]);
    assert_eq!(printed(&found), printed(golden["metrics"].as_object().unwrap()));
}

#[test]
fn classification_figures_are_clip_benchmarks_and_elevaters() {
    for (name, case) in golden(CLASSIFICATION).as_object().unwrap() {
        let rows = integers(&case["logits"]);
        let data: Vec<f32> = rows.concat().iter().map(|&x| x as f32).collect();
        let logits = Logits { classes: rows[0].len(), data: &data };
        let found = match name.as_str() {
            "several" => Figures::of_many(logits, &serde_json::from_value::<Vec<Vec<usize>>>(case["targets"].clone()).unwrap()),
            _ => Figures::of(logits, &indices(&case["targets"])),
        };
        let found = serde_json::to_value(&found).unwrap();
        for (figure, wanted) in case["metrics"].as_object().unwrap() {
            let found = found.get(figure).unwrap_or(&Value::Null);
            assert_eq!(found.to_string(), wanted.to_string(), "{name} {figure}");
        }
    }
}

#[test]
fn the_classifier_of_several_templates_and_elevaters_file_are_cn_clips() {
    let golden = golden(ZEROSHOT);
    let templates = golden["templates"].as_u64().unwrap() as usize;
    let found = ensembled(&normalized(&golden["texts"]), templates);
    let wanted: Vec<Vec<f32>> = serde_json::from_value(golden["classifier"].clone()).unwrap();
    let most = found.as_slice().iter().zip(wanted.concat()).map(|(found, wanted)| (found - wanted).abs()).fold(0.0, f32::max);
    assert!(found.as_slice().len() == wanted.concat().len() && most < 2e-7, "{most}");

    let [classes, pictures] = [0, 1].map(|i| normalized(&golden["signs"][i]));
    let cosines = similarity(&pictures, &classes).unwrap();
    let logits = Logits { classes: classes.len(), data: &cosines.data };
    let found = probabilities(logits, Some(&indices(&golden["index"])));
    // Python writes 1e-06, and some numbers are whole.
    let wanted: Vec<Vec<f64>> = serde_json::from_value(golden["predictions"].clone()).unwrap();
    assert_eq!(found, wanted);
    let acc1 = Figures::of(logits, &indices(&golden["targets"])).acc1;
    assert_eq!(acc1, golden["top1"].as_f64());
}

#[test]
fn sums_are_numpys_and_torchs_to_the_last_bit_whatever_their_length() {
    let golden = golden(SUMS);
    let single: Vec<f32> = (0..40_000).map(|i| (i * 7919 % 1009) as f32 / 1009.0).collect();
    let double: Vec<f64> = (0..40_000).map(|i| f64::from(i * 7919 % 1009) / 1009.0).collect();
    for (place, length) in indices(&golden["lengths"]).into_iter().enumerate() {
        assert_eq!(f64::from(torch_sum(&single[..length])), golden["torch"][place].as_f64().unwrap(), "torch, {length}");
        assert_eq!(numpy_sum(&double[..length]), golden["numpy"][place].as_f64().unwrap(), "numpy, {length}");
    }
}
