//! Classification and evaluation.

use serde_json::Value;

use crate::Place;

#[test]
fn classify_gives_cosines_and_probabilities_best_first() {
    let place = Place::new();
    place.picture("red.png", [230, 20, 20]);
    place.write("page.jpg", b"<html>");
    place.write("labels.txt", "\u{feff}red\r\n\r\n蓝色\ngreen\n".as_bytes());
    let run = place.hua(&["classify", "page.jpg", "red.png", "--labels", "labels.txt", "--templates", "a {} thing", "--json"]);
    assert!(run.stderr.contains("left out `page.jpg`"), "{}", run.stderr);
    let answers = run.json_lines();
    assert_eq!((answers.len(), &answers[0]["path"]), (1, &Value::from("red.png")));
    let labels = answers[0]["labels"].as_array().unwrap();
    let mut names: Vec<&str> = labels.iter().map(|label| label["label"].as_str().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["green", "red", "蓝色"]);
    let probabilities: Vec<f64> = labels.iter().map(|label| label["probability"].as_f64().unwrap()).collect();
    assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-5);
    assert!(probabilities.is_sorted_by(|a, b| a >= b) && labels[0]["cosine"].is_f64());
    let table = place.hua(&["classify", "red.png", "--labels", "red, 蓝色，green", "-k", "1"]).ok();
    assert_eq!(table.lines().count(), 3, "{table}");
}

#[test]
fn classify_refuses_labels_and_templates_that_make_no_sense() {
    let place = Place::new();
    place.picture("red.png", [230, 20, 20]);
    assert_eq!(place.hua(&["classify", "red.png", "--labels", ","]).code, 2);
    assert_eq!(place.hua(&["classify", "red.png", "--labels", "a,a"]).code, 2);
    let missing = place.hua(&["classify", "red.png", "--labels", "labels.txt"]);
    assert!(missing.code == 2 && missing.stderr.starts_with("error: `labels.txt` is no file"), "{}", missing.stderr);
    assert_eq!(place.hua(&["classify", "red.png", "--labels", "a,b", "--templates", "no place"]).code, 2);
    assert_eq!(place.hua(&["classify", "none.png", "--labels", "a,b"]).code, 2);
}

/// `bytes` in standard base64.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[test]
fn retrieval_scores_have_the_keys_of_the_published_figures() {
    let place = Place::new();
    place.picture("a.png", [230, 20, 20]);
    place.picture("b.png", [20, 20, 230]);
    let file = |name: &str| base64(&std::fs::read(place.path(name)).unwrap());
    place.write("data/tiny_imgs.tsv", format!("1\t{}\n2\t{}\n", file("a.png"), file("b.png")).as_bytes());
    let texts = [
        r#"{"text_id": 1, "text": "red", "image_ids": [1], "lang": "en"}"#,
        r#"{"text_id": 2, "text": "blue", "image_ids": [2], "lang": "en"}"#,
        r#"{"text_id": 3, "text": "红", "image_ids": [1], "lang": "zh"}"#,
        r#"{"text_id": 4, "text": "蓝", "image_ids": [2], "lang": "zh"}"#,
    ];
    place.write("data/tiny_texts.jsonl", texts.join("\n").as_bytes());
    let report: Value =
        serde_json::from_str(&place.hua(&["eval", "retrieval", "--data", "data", "--split", "tiny", "--json"]).ok()).unwrap();
    assert_eq!(report["languages"]["zh"]["text_to_image"]["R@5"], 100.0);
    assert!(report["languages"]["en"]["image_to_text"]["R@1"].is_f64() && report["languages"]["en"]["MR"].is_f64());
    assert_eq!((&report["images"], &report["texts_per_language"]), (&2.into(), &2.into()));
    let table = place.hua(&["eval", "retrieval", "--data", "data", "--split", "tiny"]).ok();
    assert_eq!(table.lines().map(|line| line.split_whitespace().next().unwrap()).collect::<Vec<_>>(), ["language", "en", "zh", "mean"]);
    assert_eq!(place.hua(&["eval", "retrieval", "--data", "data", "--split", "none"]).code, 2);
}
