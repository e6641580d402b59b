//! Each form is read back as it was written, whatever way it has gone.
use std::fs;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{Caption, Options, Source, Sources};

/// What is to be equal: id, bytes, captions, tags, fields.
type Content = Vec<(String, Vec<u8>, Vec<Caption>, Vec<String>, Option<serde_json::Value>)>;

fn content(path: &Path) -> Content {
    let entries = Sources::open(&[path.to_owned()], &Options::default()).unwrap();
    let mut content: Content = entries
        .map(|entry| {
            let entry = entry.unwrap();
            let sample = Sample::of(&entry, 1 << 20, false).unwrap();
            let mut captions = entry.captions.clone();
            captions.sort();
            let meta = (!sample.meta.is_empty()).then(|| serde_json::Value::Object(sample.meta.clone()));
            (sample.id.clone(), sample.bytes.to_vec(), captions, entry.tags.clone(), meta)
        })
        .collect();
    content.sort_by(|a, b| a.0.cmp(&b.0));
    content
}

fn write(entries: &[Entry], target: Target, path: &Path, pictures: Pictures) -> Written {
    let options = WriteOptions { pictures, shard: 3, ..WriteOptions::default() };
    let mut writer = DatasetWriter::begin(target, path, &options).unwrap();
    for entry in entries {
        writer.add(entry).unwrap().unwrap();
    }
    writer.finish().unwrap()
}

/// Reads one form and writes it as another.
fn convert(from: &Path, target: Target, to: &Path, pictures: Pictures) -> Written {
    let entries: Vec<_> = Sources::open(&[from.to_owned()], &Options::default()).unwrap().map(|entry| entry.unwrap()).collect();
    write(&entries, target, to, pictures)
}

fn entry(id: &str, bytes: &[u8]) -> Entry {
    let mut entry = Entry::new(format!("x_imgs.tsv#{id}"), Source::Bytes([b"\x89PNG\r\n\x1a\n", bytes].concat()));
    entry.captions = vec![
        Caption { language: Some("zh".into()), text: "一只“猫”, \"cat\"".into() },
        Caption { language: None, text: "[\"no list\"]".into() },
        Caption { language: Some("zh".into()), text: "二".into() },
    ];
    entry.tags = vec!["pet, indoor".into(), "7".into()];
    entry.meta = json!({"width": 640, "caption_note": [1, {"a": null}], "score": 0.5, "meta": {"x": 1}}).as_object().cloned();
    entry
}

fn forms() -> Vec<(Target, &'static str, Pictures)> {
    vec![
        (Target::Webdataset, "one.tar", Pictures::Auto),
        (Target::Webdataset, "shards", Pictures::Auto),
        (Target::Parquet, "bytes.parquet", Pictures::Auto),
        (Target::Parquet, "paths.parquet", Pictures::Paths),
        (Target::Jsonl, "list.jsonl", Pictures::Auto),
        (Target::Jsonl, "bytes.jsonl", Pictures::Bytes),
        (Target::Csv, "comma.csv", Pictures::Auto),
        (Target::Csv, "bytes.csv", Pictures::Bytes),
        (Target::Csv, "tab.tsv", Pictures::Paths),
        (Target::Folders, "folders", Pictures::Auto),
    ]
}

#[test]
fn every_form_keeps_everything_on_the_way_through_every_other() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    let entries = [entry("b/1", b"one"), entry("a", b"two"), entry("0012", b"three"), entry("7", b"four")];
    write(&entries, Target::Webdataset, &path("first.tar"), Pictures::Auto);
    let wanted = content(&path("first.tar"));
    assert_eq!(wanted.iter().map(|c| &*c.0).collect::<Vec<_>>(), ["0012", "7", "a", "b/1"]);
    assert_eq!((wanted[0].2.len(), wanted[0].3.len(), wanted[0].4.clone()), (3, 2, entries[0].meta.clone().map(Into::into)));
    let mut before = path("first.tar");
    for (target, name, pictures) in forms() {
        let written = convert(&before, target, &path(name), pictures);
        assert_eq!((written.pictures, written.captions, written.lost.len(), written.renamed), (4, 12, 0, 0), "{name}");
        assert_eq!(content(&path(name)), wanted, "{name}");
        before = path(name);
    }
}

#[test]
fn a_text_of_several_pictures_is_one_line_and_what_has_no_place_is_counted() {
    let place = tempfile::tempdir().unwrap();
    let written = write(&[entry("1", b"a"), entry("x", b"b")], Target::ChineseClip, &place.path().join("set"), Pictures::Auto);
    assert_eq!(written.lost, BTreeMap::from([("fields", 2), ("tags", 2)]));
    let texts = fs::read_to_string(place.path().join("set/train_texts.jsonl")).unwrap();
    let first: serde_json::Value = serde_json::from_str(texts.lines().next().unwrap()).unwrap();
    assert_eq!(first, json!({"text_id": 0, "text": "一只“猫”, \"cat\"", "image_ids": [1, "x"], "lang": "zh"}));
    assert_eq!(texts.lines().count(), 3);
}

#[test]
fn what_is_there_is_not_replaced_and_what_was_not_finished_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    for (target, name, pictures) in forms().into_iter().chain([(Target::ChineseClip, "set", Pictures::Auto)]) {
        let options = WriteOptions { pictures, ..WriteOptions::default() };
        let mut writer = DatasetWriter::begin(target, &path(name), &options).unwrap();
        writer.add(&entry("1", b"a")).unwrap().unwrap();
        assert!(!path(name).is_file() && !path(name).join("train_imgs.tsv").exists(), "no name before it is whole");
        drop(writer);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "{name}");
        fs::write(path(name), "mine").unwrap();
        let refused = DatasetWriter::begin(target, &path(name), &options);
        assert!(matches!(refused, Err(Error::Exists { .. } | Error::Write { .. })), "{name}");
        assert_eq!(fs::read(path(name)).unwrap(), b"mine");
        fs::remove_file(path(name)).unwrap();
    }
}

#[test]
fn pictures_that_cannot_be_read_or_named_are_failures_of_their_own() {
    let place = tempfile::tempdir().unwrap();
    let bad = [
        ("gone.png", Source::File(place.path().join("gone.png")), "No such file"),
        ("empty.png", Source::Bytes(vec![]), "the picture file is empty"),
        ("page", Source::Bytes(b"<html>".to_vec()), "in no format"),
        ("big.png", Source::Bytes(vec![0; 200]), "over 100 bytes"),
    ];
    let options = WriteOptions { max_bytes: 100, ..WriteOptions::default() };
    let mut writer = DatasetWriter::begin(Target::Folders, &place.path().join("out"), &options).unwrap();
    for (name, source, reason) in bad {
        let failure = writer.add(&Entry::new(name, source)).unwrap().unwrap_err();
        assert!(failure.name == name && (failure.reason.contains(reason) || cfg!(windows)), "{failure:?}");
    }
    writer.add(&Entry::new("a.png", Source::Bytes(b"\x89PNG".to_vec()))).unwrap().unwrap();
    let written = writer.finish().unwrap();
    assert_eq!((written.pictures, written.bytes), (1, 4));
    assert_eq!(fs::read(place.path().join("out/a.png")).unwrap(), b"\x89PNG");
}

#[test]
fn pictures_in_files_stay_where_they_are() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("photos")).unwrap();
    fs::write(place.path().join("photos/猫.png"), b"\x89PNG").unwrap();
    let written = convert(&place.path().join("photos"), Target::Csv, &place.path().join("list.csv"), Pictures::Auto);
    assert_eq!(written.files, [place.path().join("list.csv")]);
    assert_eq!(
        fs::read_to_string(place.path().join("list.csv")).unwrap(),
        "id,filepath,caption,language,tags,meta\n猫,photos/猫.png,,,,\n"
    );
}

fn captions() -> impl Strategy<Value = Vec<(Option<String>, String)>> {
    let language = prop::option::of(prop::sample::select(vec!["en", "zh", "pt-BR", "und"]).prop_map(str::to_owned));
    let text = "[a-c一二 \",;\n\\[{|虹]{0,6}[x-z]";
    prop::collection::vec((language, text), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn from_tsv_to_tar_to_parquet_to_tsv_nothing_changes(
        pictures in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40), captions()), 1..8),
        text_ids in any::<bool>(),
    ) {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        let mut entries = vec![];
        for (number, (bytes, captions)) in pictures.iter().enumerate() {
            let id = if text_ids { format!("p/{number}.x") } else { (number * 7).to_string() };
            let mut entry = Entry::new(format!("x_imgs.tsv#{id}"), Source::Bytes([b"\xff\xd8\xff", &**bytes].concat()));
            for (language, text) in captions {
                // One text of a picture has one language or none.
                if !entry.captions.iter().any(|known| known.text == text.trim()) {
                    entry.captions.push(Caption { language: language.clone(), text: text.trim().to_owned() });
                }
            }
            entries.push(entry);
        }
        write(&entries, Target::ChineseClip, &path("a"), Pictures::Auto);
        let wanted = content(&path("a"));
        prop_assert_eq!(wanted.len(), entries.len());
        convert(&path("a"), Target::Webdataset, &path("b"), Pictures::Auto);
        prop_assert_eq!(&content(&path("b")), &wanted);
        convert(&path("b"), Target::Parquet, &path("c.parquet"), Pictures::Auto);
        prop_assert_eq!(&content(&path("c.parquet")), &wanted);
        convert(&path("c.parquet"), Target::ChineseClip, &path("d"), Pictures::Auto);
        prop_assert_eq!(&content(&path("d")), &wanted);
        // Not the content alone: the same bytes.
        for file in ["train_imgs.tsv", "train_texts.jsonl"] {
            prop_assert_eq!(fs::read(path("a").join(file)).unwrap(), fs::read(path("d").join(file)).unwrap());
        }
    }
}
