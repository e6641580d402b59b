//! The walk-through: every command that the READMEs and `docs/library.md` show about libraries runs, in its order, in a folder like the one they
//! speak of, and so does every query in SQL.

use std::path::Path;
use std::process::Command;

use crate::{Place, Run};

#[path = "../../examples/photos.rs"]
mod photos;

/// Documents, and the heading of the part that is about libraries; empty for all of it.
const DOCUMENTS: [(&str, &str); 4] =
    [("README.md", "## Search a library"), ("README.zh.md", "## 搜索图库"), ("docs/library.md", ""), ("docs/library.zh.md", "")];

pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The part of a document under `heading`, up to the next of its level.
fn part(document: &str, heading: &str) -> String {
    let text = std::fs::read_to_string(root().join(document)).unwrap();
    if heading.is_empty() {
        return text;
    }
    let from = text.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("`{document}` has no `{heading}`")) + 1;
    let to = text[from + 3..].find("\n## ").map_or(text.len(), |at| from + 3 + at);
    text[from..to].to_owned()
}

/// The code in fences of one language, in order.
pub fn blocks(text: &str, language: &str) -> Vec<String> {
    let (mut found, mut inside): (Vec<String>, Option<String>) = (vec![], None);
    for line in text.lines() {
        match (line.strip_prefix("```"), &mut inside) {
            (Some(_), Some(_)) => found.extend(inside.take()),
            (Some(name), none) if name == language => *none = Some(String::new()),
            (None, Some(block)) => *block += &format!("{line}\n"),
            _ => {}
        }
    }
    found
}

/// A place with `photos` in it.
fn place() -> Place {
    let place = Place::new();
    photos::make(&place.path("photos"), &root().join("data/emoji-9l")).unwrap();
    place
}

pub fn run_shell(place: &Place, script: &str) -> Run {
    let hua = Path::new(env!("CARGO_BIN_EXE_hua"));
    let path = std::env::join_paths([hua.parent().unwrap(), Path::new("/usr/bin"), Path::new("/bin")]).unwrap();
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", script]).current_dir(place.path("")).env_clear();
    shell.env("PATH", path).env("HOME", place.path("")).env("HUA_CACHE", place.path("cache")).env("LC_ALL", "C.UTF-8");
    Run::of(shell.stdin(std::process::Stdio::null()).output().unwrap())
}

#[test]
fn every_command_of_the_walk_through_runs() {
    for (document, heading) in DOCUMENTS {
        let place = place();
        let scripts = blocks(&part(document, heading), "sh");
        assert!(!scripts.is_empty(), "{document}");
        for script in scripts {
            let run = run_shell(&place, &script);
            assert_eq!(run.code, 0, "{document}:\n{script}\n{}", run.stderr);
        }
    }
}

#[test]
fn every_query_of_the_catalogue_runs_and_finds_something() {
    for document in ["docs/library.md", "docs/library.zh.md"] {
        let place = place();
        std::fs::write(place.path("labels.txt"), "cat\nviolin\n").unwrap();
        place.hua(&["index", "photos", "-o", "library"]).ok();
        place.hua(&["index", "tag", "library", "--labels", "labels.txt"]).ok();
        let catalogue = rusqlite::Connection::open(place.path("library/catalogue.sqlite")).unwrap();
        let queries = blocks(&part(document, ""), "sql");
        assert!(!queries.is_empty(), "{document}");
        for query in queries.iter().flat_map(|block| block.split(';')).filter(|query| !query.trim().is_empty()) {
            let found = catalogue.prepare(query).and_then(|mut statement| statement.exists([])).unwrap();
            assert!(found, "{document}: {query}");
        }
    }
}

#[test]
fn the_two_languages_show_the_same_commands() {
    let commands = |document: &str, heading: &str| -> Vec<String> {
        let scripts = blocks(&part(document, heading), "sh").join("");
        // Remarks are in the language of the document.
        scripts.lines().map(|line| line.split("  #").next().unwrap().trim_end().to_owned()).filter(|line| !line.starts_with('#')).collect()
    };
    assert_eq!(commands(DOCUMENTS[0].0, DOCUMENTS[0].1), commands(DOCUMENTS[1].0, DOCUMENTS[1].1));
    assert_eq!(commands(DOCUMENTS[2].0, ""), commands(DOCUMENTS[3].0, ""));
}
