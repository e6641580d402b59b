//! Calls and files that are wrong: what is said, and whose fault it is.

use std::process::Stdio;

use insta::assert_snapshot;

use crate::Place;

#[test]
fn a_folder_that_is_not_there_is_the_callers_fault() {
    assert_snapshot!(Place::new().hua(&["search", "./none", "dog"]).failed(), @"
    exit code 2
    error: `./none` does not exist, wanted a folder or a picture

    hint: to search for these words, write `hua search -- './none'`
    ");
}

#[test]
fn a_model_that_is_not_here_is_told_with_what_to_do() {
    let place = Place::new();
    let told = place.hua(&["search", "dog", "--model", "nobody/nothing"]).failed();
    assert_snapshot!(told.replace(&place.0.path().display().to_string(), "HOME"), @"
    exit code 2
    error: `nobody/nothing` is not in `HOME/.cache/huggingface/hub/models--nobody--nothing`

    hint: `hua pull nobody/nothing` downloads it
    ");
}

#[test]
fn a_folder_that_is_no_model_is_told() {
    let place = Place::new();
    place.write("model/notes.txt", b"nothing");
    let run = place.hua(&["inspect", "model"]);
    assert!(run.stderr.starts_with("error: ") && run.stderr.contains("model"), "{}", run.stderr);
    assert_ne!(run.code, 0);
    assert_eq!(run.stdout, "");
}

#[test]
fn a_search_without_a_query_is_the_callers_fault() {
    let place = Place::new();
    place.picture("photos/red.png", [255, 0, 0]);
    assert_snapshot!(place.hua(&["search", "photos"]).failed(), @"
    exit code 2
    error: no query: `photos` exists, so it was taken as a place to search in

    hint: add words to search for, or `--image FILE`; to search for the word, write `hua search -- 'photos'`
    ");
}

#[test]
fn a_setting_of_the_environment_that_cannot_be_read_is_told() {
    let output = Place::new().command(&["inspect"]).env("HUA_DEVICE", "gpu").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "error: `HUA_DEVICE` is `gpu`, not `cpu` or `reference`\n");
}

#[test]
fn options_of_the_model_count_for_the_built_in_one_too() {
    let place = Place::new();
    let told = place.hua(&["search", "a very long query", "--context-length", "3"]);
    assert!(told.stderr.contains("is longer than the model reads"), "{}", told.stderr);
    assert_eq!(place.hua(&["search", "dog", "--family", "nonsense"]).code, 2);
}

#[test]
fn an_unknown_option_is_the_callers_fault() {
    assert_eq!(Place::new().hua(&["search", "--nonsense"]).code, 2);
}

#[test]
fn colour_comes_only_when_asked_for() {
    let place = Place::new();
    assert!(!place.hua(&["search"]).stderr.contains('\x1b'));
    assert!(place.hua(&["search", "--color", "always"]).stderr.contains('\x1b'));
    assert!(place.hua(&["search", "--color", "never"]).stderr.starts_with("error: no query"));
}

#[test]
fn a_reader_that_goes_away_ends_the_program_quietly() {
    let place = Place::new();
    let mut child = place.command(&["inspect", "--presets"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(0), ""));
}

#[test]
fn a_pull_without_network_is_told() {
    let run = Place::new().hua(&["pull", "nobody/nothing"]);
    assert!(run.code == 1 || run.code == 2);
    assert!(run.stderr.starts_with("error: ") && run.stderr.contains("nobody/nothing"), "{}", run.stderr);
    let run = Place::new().hua(&["pull", "nobody/nothing@v1", "--revision", "v2"]);
    assert_eq!(run.code, 2);
}
