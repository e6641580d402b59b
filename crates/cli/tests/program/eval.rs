//! `hua eval`: files that other programs read, models beside each other, classes and probes.

use serde_json::Value;

use crate::Place;

/// Twelve pictures of plain colours with captions in two languages.
fn captions(place: &Place) {
    let mut lines = vec![];
    for i in 0..12u8 {
        let name = format!("{i}.png");
        place.picture(&name, [i * 20, 255 - i * 20, (i % 3) * 120]);
        lines.push(format!(r#"{{"path": "{name}", "caption_en": "colour {i}", "caption_zh": "颜色{i}"}}"#));
    }
    place.write("captions.jsonl", lines.join("\n").as_bytes());
}

#[test]
fn any_list_of_pictures_with_captions_is_scored_and_kept_for_others_to_read() {
    let place = Place::new();
    captions(&place);
    let run = place.hua(&["eval", "retrieval", "captions.jsonl", "--json", "--out", "kept", "--features"]);
    let report: Value = serde_json::from_str(&run.ok()).unwrap();
    assert_eq!((&report["images"], &report["texts_per_language"]), (&12.into(), &12.into()));
    let interval = report["intervals"]["languages"]["zh"]["MR"].as_array().unwrap();
    let of = |value: &Value| value.as_f64().unwrap();
    assert!(of(&interval[0]) <= of(&report["languages"]["zh"]["MR"]) && of(&report["languages"]["zh"]["MR"]) <= of(&interval[1]));

    let prediction: Value = serde_json::from_str(place.read("kept/data_predictions.jsonl").lines().next().unwrap()).unwrap();
    assert_eq!((&prediction["text_id"], prediction["image_ids"].as_array().unwrap().len()), (&0.into(), 10));
    assert_eq!(place.read("kept/data_tr_predictions.jsonl").lines().count(), 12);
    let score: Value = serde_json::from_str(&place.read("kept/data_score.json")).unwrap();
    assert!(score["success"] == true && score["scoreJson"]["r10"].is_f64());
    let feature: Value = serde_json::from_str(place.read("kept/data_texts.txt_feat.jsonl").lines().next().unwrap()).unwrap();
    assert_eq!(feature["feature"].as_array().unwrap().len(), 256);

    let beside = place.hua(&["eval", "retrieval", "--compare", "kept/results.json", "kept/results.json", "--json"]).ok();
    let beside: Value = serde_json::from_str(&beside).unwrap();
    assert_eq!((beside["mean"]["difference"][6].as_f64(), &beside["flips"]), (Some(0.0), &Value::Array(vec![])));
    let table = place.hua(&["eval", "retrieval", "captions.jsonl", "--compare", "built-in", "kept/results.json"]).ok();
    assert_eq!(table.lines().map(|line| line.split_whitespace().next().unwrap()).collect::<Vec<_>>(), ["language", "en", "zh", "mean"]);
}

#[test]
fn clip_benchmarks_form_is_an_object_for_each_language() {
    let place = Place::new();
    captions(&place);
    let run = place.hua(&["eval", "retrieval", "captions.jsonl", "--format", "clip-benchmark", "--recall-k", "1,5", "--dataset", "toy"]);
    let objects = run.json_lines();
    assert_eq!(objects.len(), 2);
    assert_eq!(
        (&objects[1]["language"], &objects[1]["dataset"], &objects[1]["task"]),
        (&"zh".into(), &"toy".into(), &"zeroshot_retrieval".into())
    );
    let metrics = objects[0]["metrics"].as_object().unwrap();
    assert_eq!(metrics.len(), 4);
    assert!(metrics["image_retrieval_recall@5"].is_f64() && metrics["text_retrieval_recall@1"].is_f64());
}

#[test]
fn what_cannot_be_scored_or_compared_says_what_to_do() {
    let place = Place::new();
    place.picture("bare/a.png", [1, 2, 3]);
    place.write("other.json", b"{}");
    for (arguments, code, wanted) in [
        (&["retrieval"][..], 2, "no data set to score on"),
        (&["retrieval", "--split", "valid"], 2, "`--split` is part of a data set"),
        (&["retrieval", "none.csv"], 2, "`none.csv` does not exist"),
        (&["retrieval", "bare"], 1, "so there is nothing to score"),
        (&["retrieval", "--compare", "a", "b"], 2, "`a` is no file of results, and there is no data set"),
        (&["retrieval", "--compare", "other.json", "other.json"], 1, "wanted a `results.json`"),
        (&["zeroshot", "bare"], 2, "no picture in `bare` has a class"),
        (&["zeroshot", "bare", "--language", "xx"], 2, "no templates for language `xx`"),
        (&["zeroshot", "bare", "--templates", "nothing"], 2, "as a template wants one `{}`"),
        (&["probe", "--train", "bare", "--test", "none"], 2, "`none` does not exist"),
    ] {
        let run = place.hua(&[&["eval"], arguments].concat());
        assert!(run.code == code && run.stderr.contains(wanted), "{arguments:?}: {} {}", run.code, run.stderr);
    }
}

/// Folders `red`, `green` and `blue` with ten pictures each.
fn classes(place: &Place, folder: &str) {
    for i in 0..10u8 {
        for (class, color) in [("red", [250 - i * 6, i * 4, 9]), ("green", [i * 4, 240 - i * 6, 9]), ("blue", [9, i * 4, 250 - i * 6])] {
            place.picture(&format!("{folder}/{class}/{i}.png"), color);
        }
    }
}

#[test]
fn a_folder_by_class_is_classified_by_names_of_any_language() {
    let place = Place::new();
    classes(&place, "test");
    // Line k is class k in the order of the folders: blue, green, red.
    place.write("label_cn.txt", "蓝色\n绿色\n红色\n".as_bytes());
    place.write("index.json", format!("{:?}", (0..30).rev().collect::<Vec<_>>()).as_bytes());
    let arguments = ["eval", "zeroshot", "test", "--classes", "label_cn.txt", "--language", "zh", "--json"];
    let run = place.hua(&[&arguments[..], &["--elevater", "toy.json", "--index", "index.json", "--dataset", "toy"]].concat());
    let report: Value = serde_json::from_str(&run.ok()).unwrap();
    assert_eq!((&report["samples"], &report["classes"], &report["language"]), (&30.into(), &3.into(), &"zh".into()));
    assert_eq!((&report["per_class"][0]["class"], &report["per_class"][0]["samples"]), (&"蓝色".into(), &10.into()));
    assert!(report["acc1"].is_f64() && report["acc5"].is_null() && report["intervals"]["acc1"].is_array());
    let submission: Value = serde_json::from_str(&place.read("toy.json")).unwrap();
    assert_eq!((&submission["dataset_name"], &submission["num_params"]), (&"toy".into(), &9_434_625.into()));
    let row = submission["predictions"][0][29].as_array().unwrap();
    assert!((row.iter().map(|p| p.as_f64().unwrap()).sum::<f64>() - 1.0).abs() < 1e-5);

    let metrics = &place.hua(&["eval", "zeroshot", "test", "--format", "clip-benchmark"]).json_lines()[0]["metrics"];
    assert!(metrics["acc1"].is_f64() && metrics["acc5"].is_null() && metrics["mean_per_class_recall"].is_f64(), "{metrics}");
    let wrong = place.hua(&["eval", "zeroshot", "test", "--templates", "a {}", "--classes", "index.json"]);
    assert!(wrong.code == 2 && wrong.stderr.contains("wanted a list of texts"), "{}", wrong.stderr);
}

#[test]
fn pictures_with_several_classes_are_scored_by_average_precision() {
    let place = Place::new();
    place.picture("a.png", [250, 10, 10]);
    place.picture("b.png", [10, 250, 10]);
    place.write("labels.jsonl", b"{\"path\": \"a.png\", \"tags\": [\"red\", \"warm\"]}\n{\"path\": \"b.png\", \"tags\": [\"green\"]}\n");
    let report: Value = serde_json::from_str(&place.hua(&["eval", "zeroshot", "labels.jsonl", "--json"]).ok()).unwrap();
    assert!(report["mean_average_precision"].is_f64() && report["map_11_points"].is_f64() && report["acc1"].is_null(), "{report}");
}

#[test]
fn a_probe_learns_colours_and_nothing_of_it_is_random() {
    let place = Place::new();
    classes(&place, "train");
    classes(&place, "test");
    let arguments = ["eval", "probe", "--train", "train", "--test", "test", "--json"];
    let first = place.hua(&arguments).ok();
    let report: Value = serde_json::from_str(&first).unwrap();
    assert_eq!((report["acc1"].as_f64(), &report["trained_on"], &report["validated_on"]), (Some(1.0), &30.into(), &6.into()));
    assert!(report["penalty"].is_f64());
    assert_eq!(place.hua(&[&arguments[..], &["--threads", "1"]].concat()).ok(), first);
    let table = place.hua(&["eval", "probe", "--train", "train", "--test", "test", "--knn", "3"]).ok();
    assert!(table.contains("accuracy, first") && table.contains("100.00"), "{table}");
}

#[test]
fn every_evaluation_has_help_with_examples() {
    for what in ["probe", "retrieval", "zeroshot"] {
        let help = Place::new().hua(&["eval", what, "--help"]).ok();
        assert!(help.contains(&format!("Examples:\n  hua eval {what}")), "{help}");
    }
}
