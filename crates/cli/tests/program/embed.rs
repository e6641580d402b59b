//! Files of embeddings.

use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use crate::{Place, Run};

fn rows(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

#[test]
fn jsonl_has_texts_then_pictures_and_failures_lie_beside() {
    let place = Place::new();
    place.picture("photos/a.png", [200, 0, 0]);
    place.picture("photos/b.png", [0, 0, 200]);
    place.write("photos/c.jpg", b"<html>");
    let run = place.hua(&["embed", "photos", "--text", "虹", "-o", "v.jsonl"]);
    assert!(run.stderr.contains("left out `photos/c.jpg`"), "{}", run.stderr);
    assert_eq!(run.ok(), "");
    let text = place.read("v.jsonl");
    let rows: Vec<Value> = text.lines().map(rows).collect();
    let ids: Vec<&str> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["虹", "photos/a.png", "photos/b.png"]);
    assert_eq!((&rows[0]["kind"], &rows[1]["kind"]), (&"text".into(), &"image".into()));
    for row in &rows {
        let length: f64 = row["embedding"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap().powi(2)).sum();
        assert!((length - 1.0).abs() < 1e-5);
    }
    let failure: Value = serde_json::from_str(place.read("v.errors.jsonl").trim()).unwrap();
    assert_eq!(failure["path"], "photos/c.jpg");
    assert!(failure["reason"].is_string());
    // A later run without failures takes the old list away.
    place.hua(&["embed", "photos/a.png", "-o", "v.jsonl"]).ok();
    assert!(!place.path("v.errors.jsonl").exists());
}

#[test]
fn texts_come_from_stdin_line_by_line() {
    let place = Place::new();
    let mut command = place.command(&["embed", "--texts", "-", "-o", "v.npy"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all("\u{feff}彩虹\r\n\nrainbow".as_bytes()).unwrap();
    Run::of(child.wait_with_output().unwrap()).ok();
    assert_eq!(place.read("v.ids.txt"), "彩虹\n\nrainbow\n");
    let bytes = std::fs::read(place.path("v.npy")).unwrap();
    let header = String::from_utf8_lossy(&bytes[10..128]).into_owned();
    assert!(header.contains("'shape': (3, "), "{header}");
    assert_eq!((bytes.len() - 128) % 12, 0);
}

#[test]
fn a_text_towers_other_output_has_a_row_a_token() {
    let place = Place::new();
    let run = place.hua(&["embed", "--text", "a violin", "--text", "虹", "--output", "projection_state", "-o", "v.safetensors"]);
    assert_eq!(run.ok(), "");
    let bytes = std::fs::read(place.path("v.safetensors")).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let shape = header["projection_state"]["shape"].as_array().unwrap();
    assert!(shape[0].as_u64().unwrap() >= 6, "two texts of at least three tokens: {header}");
    assert_eq!(header["offsets"]["shape"][0], 3);
    let end = header["projection_state"]["data_offsets"][1].as_u64().unwrap().max(header["offsets"]["data_offsets"][1].as_u64().unwrap());
    assert_eq!(bytes.len(), 8 + length + end as usize);
}

#[test]
fn calls_that_make_no_sense_write_nothing() {
    let place = Place::new();
    place.write("page.jpg", b"<html>");
    for (arguments, code) in [
        (&["embed", "-o", "v.npy"][..], 2),
        (&["embed", "--text", "x", "-o", "v.csv"], 2),
        (&["embed", "--text", "x", "-o", "none/v.npy"], 2),
        (&["embed", "--text", "x", "--output", "projection_state", "-o", "v.npy"], 2),
        (&["embed", "--text", "x", "--output", "nonsense", "-o", "v.safetensors"], 2),
        (&["embed", "missing.png", "-o", "v.npy"], 2),
        (&["embed", "--texts", "missing.txt", "-o", "v.npy"], 2),
        (&["embed", "--texts", ".", "-o", "v.npy"], 2),
        (&["embed", "page.jpg", "-o", "v.npy"], 1),
    ] {
        let run = place.hua(arguments);
        assert_eq!((run.code, run.stdout.as_str()), (code, ""), "{arguments:?} {}", run.stderr);
    }
    let mut left: Vec<_> = std::fs::read_dir(place.0.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["page.jpg", "v.errors.jsonl"]);
}
