//! Searching folders and files.

use insta::assert_snapshot;
use serde_json::json;

use crate::Place;

/// Red, green and blue pictures in a folder, with a web page that calls itself a picture.
fn photos() -> Place {
    let place = Place::new();
    place.picture("photos/red.png", [230, 20, 20]);
    place.picture("photos/deep/grün.png", [20, 200, 20]);
    place.picture("photos/deep/蓝.png", [20, 20, 230]);
    place.write("photos/page.jpg", b"<!DOCTYPE html><html><body>Not found</body></html>");
    place.write("photos/notes.txt", b"not a picture, and not called one");
    place
}

#[test]
fn json_has_a_line_for_each_query_and_bad_pictures_stop_nothing() {
    let place = photos();
    let run = place.hua(&["search", "photos", "red", "蓝", "--json", "-k", "2"]);
    assert!(run.stderr.contains("warning: left out `photos/page.jpg`: "), "{}", run.stderr);
    assert!(!run.stderr.contains("notes.txt"));
    let answers = run.json_lines();
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[1]["query"], "蓝");
    for answer in answers {
        let mut keys: Vec<_> = answer.as_object().unwrap().keys().collect();
        keys.sort();
        assert_eq!(keys, ["hits", "query"]);
        let hits = answer["hits"].as_array().unwrap();
        assert_eq!(hits.len(), 2);
        assert!(hits[0]["path"].as_str().unwrap().starts_with("photos/"));
        assert!(hits[0]["score"].as_f64() >= hits[1]["score"].as_f64());
    }
}

#[test]
fn data_goes_to_stdout_and_talk_to_stderr() {
    let place = photos();
    let run = place.hua(&["search", "photos", "红色"]);
    assert_snapshot!(run.stderr, @"
    the built-in model `hua-emoji-9l` answers; name another with `--model NAME-OR-PATH` or HUA_MODEL
    `photos` exists, so it is searched in; `--` before it makes it a query
    warning: left out `photos/page.jpg`: not a picture: the content looks like HTML; wanted JPEG, PNG, WebP, GIF, BMP or TIFF
    3 pictures in `photos`
    ");
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!((lines.len(), lines[0]), (4, "红色"));
    assert!(lines[1].starts_with("  1  0."), "{}", lines[1]);
    let quiet = place.hua(&["search", "photos", "红色", "--quiet"]);
    assert!(quiet.stderr.starts_with("warning: left out `photos/page.jpg`: ") && quiet.stderr.lines().count() == 1, "{}", quiet.stderr);
    assert_eq!(quiet.stdout, run.stdout);
}

#[test]
fn a_picture_finds_itself_and_a_second_search_finds_the_same() {
    let place = photos();
    let arguments = ["search", "--in", "photos", "--image", "photos/red.png", "--json", "-k", "1"];
    let first = place.hua(&arguments).json_lines();
    assert_eq!(first[0]["query"], "photos/red.png");
    assert_eq!(first[0]["hits"][0]["path"], "photos/red.png");
    assert!((first[0]["hits"][0]["score"].as_f64().unwrap() - 1.0).abs() < 1e-5);
    assert!(place.path("cache").is_dir());
    assert_eq!(place.hua(&arguments).json_lines(), first);
    // A picture that changed is embedded again.
    place.picture("photos/red.png", [0, 0, 0]);
    place.picture("query.png", [0, 0, 0]);
    let again = place.hua(&["search", "photos", "--image", "query.png", "--json", "-k", "1"]).json_lines();
    assert_eq!(again[0]["hits"][0]["path"], "photos/red.png");
}

#[test]
fn without_cache_nothing_is_kept() {
    let place = photos();
    place.hua(&["search", "photos", "red", "--no-cache"]).ok();
    assert!(!place.path("cache").exists());
}

#[test]
fn a_cache_that_cannot_be_used_costs_the_keeping_only() {
    let place = photos();
    place.write("cache", b"a file where a folder should be");
    let run = place.hua(&["search", "photos", "red", "--json", "-k", "1", "--quiet"]);
    let warnings: Vec<&str> = run.stderr.lines().filter(|line| line.contains("not kept")).collect();
    assert_eq!(warnings.len(), 1, "{}", run.stderr);
    assert!(warnings[0].starts_with("warning: vectors of pictures are not kept: cannot use `"), "{warnings:?}");
    assert_eq!(run.json_lines()[0]["hits"][0]["path"], "photos/red.png");
    assert_eq!(place.read("cache"), "a file where a folder should be");
}

#[test]
fn a_search_in_which_no_picture_can_be_used_fails() {
    let place = Place::new();
    place.write("photos/page.jpg", b"<html>");
    let run = place.hua(&["search", "photos", "dog"]);
    assert!(run.stderr.contains("error: no picture that can be used in `photos`"), "{}", run.stderr);
    assert_eq!((run.code != 0, run.stdout.as_str()), (true, ""));
}

#[test]
fn a_sheet_is_a_picture_of_all_bands() {
    let place = photos();
    let arguments = ["search", "photos", "ألوان", "彩虹 🌈", "--image", "photos/red.png", "--sheet", "out.png", "--json"];
    assert_eq!(place.hua(&arguments).json_lines().len(), 3);
    let sheet = crate::decode(&place.path("out.png"));
    assert!(sheet.width() > 600 && sheet.height() > 900, "{}×{}", sheet.width(), sheet.height());
    let colors: std::collections::HashSet<&[u8]> = sheet.data().chunks_exact(3).collect();
    assert!(colors.contains(&[230u8, 20, 20][..]) && colors.contains(&[20u8, 20, 230][..]));
}

#[test]
fn a_sheet_that_cannot_be_written_is_known_before_the_work() {
    let place = photos();
    for (sheet, message) in [
        ("photos", "error: `photos` does not end in `.png`, and a contact sheet is a PNG\n"),
        ("none/out.png", "error: `none` does not exist, wanted a folder to write into\n"),
        ("folder.png", "error: `folder.png` is a folder, wanted a file to write\n"),
    ] {
        std::fs::create_dir_all(place.path("folder.png")).unwrap();
        let run = place.hua(&["search", "photos", "red", "--sheet", sheet]);
        assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (2, "", message));
    }
    assert!(!place.path("cache").exists());
}

#[test]
fn similarity_puts_texts_beside_pictures() {
    let place = photos();
    let arguments = ["similarity", "--text", "red", "--text", "rot", "--image", "photos/red.png", "--json"];
    let answer = place.hua(&arguments).json_lines().remove(0);
    assert_eq!((&answer["rows"], &answer["columns"]), (&json!(["red", "rot"]), &json!(["photos/red.png"])));
    assert_eq!(answer["cosines"].as_array().unwrap().len(), 2);
    let table = place.hua(&["similarity", "--text", "虹", "--text", "rainbow"]).ok();
    assert!(table.contains("1.000"), "{table}");
}
