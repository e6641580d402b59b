//! `hua index`: libraries as a stranger makes, follows and tends them.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use insta::assert_snapshot;
use serde_json::Value;

use crate::Place;

impl Place {
    /// Pictures that differ, `photos/000.png` and so on.
    fn photos(&self, count: u8) {
        for number in 0..count {
            self.picture(&format!("photos/{number:03}.png"), [number, number.wrapping_mul(7), 99]);
        }
    }

    fn info(&self) -> Value {
        self.hua(&["index", "info", "library", "--json"]).json_lines().remove(0)
    }

    /// What `hua` says on stderr, without this place's name and the time it took.
    fn told(&self, arguments: &[&str]) -> String {
        let run = self.hua(arguments);
        let home = self.0.path().canonicalize().unwrap();
        let told = run.stderr.replace(home.to_str().unwrap(), "HOME");
        let lines = told.lines().filter(|line| !line.starts_with("the built-in model"));
        lines
            .map(|line| line.rsplit_once("; ").filter(|(_, end)| end.ends_with(" s")).map_or(line, |(line, _)| line))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

#[test]
fn a_folder_becomes_a_library_and_the_library_follows_it() {
    let place = Place::new();
    place.photos(3);
    place.write("photos/bad.jpg", b"<html>");
    assert_snapshot!(place.told(&["index", "photos", "-o", "library"]), @"
    warning: left out `HOME/photos/bad.jpg`: not a picture: the content looks like HTML; wanted JPEG, PNG, WebP, GIF, BMP or TIFF
    pictures: 3 new, 1 failed in `library`
    ");
    place.picture("photos/new.png", [1, 2, 3]);
    std::fs::rename(place.path("photos/000.png"), place.path("photos/zzz.png")).unwrap();
    std::fs::remove_file(place.path("photos/001.png")).unwrap();
    assert_snapshot!(place.told(&["index", "-o", "library"]), @"pictures: 1 new, 1 renamed, 1 gone, 1 as they were, 1 that failed before (`--retry` tries them again) in `library`");
    let info = place.info();
    assert_eq!((&info["items"], &info["errors"]), (&3.into(), &1.into()));
    assert_eq!(info["spaces"][0]["space"]["spec"]["name"], "hua-emoji-9l");
    assert!(info["sources"][0].as_str().unwrap().ends_with("photos"));
    let errors = place.hua(&["index", "errors", "library", "--json"]).json_lines();
    assert!(errors.len() == 1 && errors[0]["path"].as_str().unwrap().ends_with("photos/bad.jpg"), "{errors:?}");
    assert!(place.hua(&["index", "errors", "library"]).ok().contains("not a picture"));
    let table = place.hua(&["index", "info", "library"]).ok();
    assert!(table.contains("hua-emoji-9l") && table.contains("photos"), "{table}");
    assert_eq!(place.hua(&["index", "check", "library"]).ok(), "");
    assert_eq!(place.hua(&["index", "compact", "library", "--json"]).json_lines()[0]["rows"], 1);
    assert_eq!(place.info()["items"], 3);
}

#[test]
fn a_run_says_what_it_did_as_json() {
    let place = Place::new();
    place.photos(2);
    std::fs::copy(place.path("photos/000.png"), place.path("photos/copy.png")).unwrap();
    let done = place.hua(&["index", "photos", "-o", "library", "--json"]).json_lines().remove(0);
    assert_eq!((&done["added"], &done["shared"], &done["failed"], &done["stopped"]), (&3.into(), &1.into(), &0.into(), &false.into()));
    assert!(done["seconds"].as_f64().unwrap() > 0.0 && done["pictures_per_second"].is_number());
}

#[test]
fn calls_that_make_no_sense_say_so() {
    let place = Place::new();
    place.photos(1);
    assert_snapshot!(place.told(&["index", "photos/none", "-o", "library"]), @"error: cannot use `HOME/photos/none`: No such file or directory (os error 2)");
    assert_snapshot!(place.told(&["index", "photos", "-o", "photos"]), @"
    error: `photos` is no library, and has files in it already

    hint: a library needs a folder of its own: name one that is empty or not there yet
    ");
    assert_snapshot!(place.told(&["index", "info", "photos"]), @"
    error: `photos` is not a library: it has no `catalogue.sqlite`

    hint: `hua index DIR -o LIBRARY` makes one
    ");
    for arguments in [&["index", "photos"][..], &["index"], &["index", "-o", "new"], &["index", "--watch", "-o", "library"]] {
        let run = place.hua(arguments);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{arguments:?} {}", run.stderr);
    }
}

#[test]
fn another_model_is_refused_and_a_migration_lets_it_in() {
    let place = Place::new();
    place.photos(3);
    place.hua(&["index", "photos", "-o", "library"]).ok();
    let refused = place.told(&["index", "photos", "-o", "library", "--compat"]);
    assert!(refused.contains("error: the library `library` has vectors of model `hua-emoji-9l`"), "{refused}");
    assert!(
        refused
            .contains("hint: use the built-in model (no `--model`), or give it the other model with `hua index migrate library --compat`")
    );
    let done = place.hua(&["index", "migrate", "library", "--compat", "--remove-old", "--json"]).json_lines().remove(0);
    assert_eq!((&done["embedded"], &done["switched"]), (&3.into(), &true.into()));
    place.hua(&["index", "photos", "-o", "library", "--compat"]).ok();
    assert_eq!(place.info()["spaces"].as_array().unwrap().len(), 1);
}

#[test]
fn a_folder_that_is_gone_is_told_and_its_pictures_stay() {
    let place = Place::new();
    place.photos(2);
    place.hua(&["index", "photos", "-o", "library"]).ok();
    std::fs::rename(place.path("photos"), place.path("away")).unwrap();
    assert_snapshot!(place.told(&["index", "-o", "library"]), @"
    warning: `HOME/photos` is not there; its 2 pictures stay in the library: `--forget` takes them out
    no pictures in `library`
    ");
    assert_eq!(place.info()["items"], 2);
    place.hua(&["index", "-o", "library", "--forget"]).ok();
    assert_eq!(place.info()["items"], 0);
}

fn start(place: &Place, arguments: &[&str]) -> Child {
    place.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_run_that_is_killed_at_any_moment_leaves_a_whole_library_and_the_next_goes_on() {
    let place = Place::new();
    place.photos(250);
    let arguments = ["index", "photos", "-o", "library"];
    let begun = Instant::now();
    place.hua(&["index", "photos", "-o", "measure"]).ok();
    let takes = begun.elapsed();
    let mut before = 0;
    for turn in 1..=12 {
        let mut child = start(&place, &arguments);
        std::thread::sleep(takes * turn / 12);
        child.kill().unwrap();
        child.wait().unwrap();
        if !place.path("library/catalogue.sqlite").exists() {
            continue;
        }
        let report = place.hua(&["index", "check", "library", "--json"]);
        // The catalogue may be there before it is a library.
        if report.code != 0 && before == 0 {
            continue;
        }
        assert_eq!(report.json_lines()[0]["findings"], Value::Array(vec![]), "turn {turn}");
        let items = place.info()["items"].as_u64().unwrap();
        assert!(items >= before, "{items} pictures after turn {turn}, {before} before");
        before = items;
    }
    place.hua(&arguments).ok();
    assert_eq!(place.info()["items"], 250);
    assert_eq!(place.info()["spaces"][0]["vectors"], 250);
}

#[cfg(unix)]
#[test]
fn following_ends_at_a_signal_and_keeps_what_came() {
    let place = Place::new();
    place.photos(1);
    let mut child = start(&place, &["index", "photos", "-o", "library", "--watch", "--json"]);
    let begun = Instant::now();
    let mut wait = |items: u64| {
        while !place.path("library/catalogue.sqlite").exists()
            || place.hua(&["index", "info", "library", "--json"]).stdout.find(&format!("\"items\":{items},")).is_none()
        {
            assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", child.try_wait());
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    wait(1);
    place.photos(2);
    wait(2);
    std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<Value> = String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().map(|line| line["added"].as_u64().unwrap()).sum::<u64>(), 2);
}
