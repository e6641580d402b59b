//! The data set that `tests/golden/make_data.py` had cn_clip's steps and pyarrow write: every form of it says the same.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

use hua_data::chinese_clip::Split;
use hua_data::{Column, Entry, Error, Failure, Kind, Options, Source, Sources, write_table};
use serde::Deserialize;
use sha2::{Digest, Sha256};

#[derive(Deserialize)]
struct Expected {
    id: String,
    sha256: String,
    texts: Vec<String>,
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/data")
}

fn read(path: &Path) -> Vec<Result<Entry, Failure>> {
    Sources::open(&[path.to_owned()], &Options::default()).unwrap().collect()
}

fn texts(entry: &Entry) -> Vec<&str> {
    entry.captions.iter().map(|caption| &*caption.text).collect()
}

/// Entries as (id, SHA-256, texts), in the order of the ids as texts.
fn seen(entries: &[Result<Entry, Failure>]) -> Vec<(String, String, Vec<String>)> {
    let mut seen: Vec<_> = entries
        .iter()
        .map(|entry| {
            let entry = entry.as_ref().unwrap();
            let bytes = entry.source.read(1 << 20).unwrap();
            let hash = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            (entry.name.rsplit_once('#').unwrap().1.to_owned(), hash, texts(entry).into_iter().map(str::to_owned).collect())
        })
        .collect();
    seen.sort();
    seen
}

fn expected() -> Vec<(String, String, Vec<String>)> {
    let expected: Vec<Expected> = serde_json::from_slice(&std::fs::read(data().join("expected.json")).unwrap()).unwrap();
    let mut expected: Vec<_> = expected.into_iter().map(|e| (e.id, e.sha256, e.texts)).collect();
    expected.sort();
    expected
}

#[test]
fn text_form_and_lmdb_of_a_data_set_say_the_same() {
    let toy = data().join("datasets/toy");
    assert_eq!(Kind::of(&toy).unwrap(), Kind::ChineseClip);
    let text_form = read(&toy);
    assert_eq!(seen(&text_form), expected());
    assert!(matches!(text_form[0].as_ref().unwrap().source, Source::Part { .. }));
    for lmdb in ["lmdb", "lmdb/valid", "lmdb/valid/imgs", "lmdb/valid/pairs", "lmdb/valid/imgs/data.mdb"] {
        assert_eq!(Kind::of(&toy.join(lmdb)).unwrap(), Kind::Lmdb, "{lmdb}");
        assert_eq!(seen(&read(&toy.join(lmdb))), expected(), "{lmdb}");
    }
}

#[test]
fn without_pairs_the_texts_of_the_text_form_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let toy = data().join("datasets/toy");
    std::fs::create_dir_all(folder.path().join("lmdb/valid/imgs")).unwrap();
    for file in ["lmdb/valid/imgs/data.mdb", "valid_texts.jsonl"] {
        std::fs::copy(toy.join(file), folder.path().join(file)).unwrap();
    }
    assert_eq!(seen(&read(&folder.path().join("lmdb"))), expected());
}

#[test]
fn a_split_for_evaluation_has_the_texts_in_their_order() {
    let split = Split::read(&data().join("datasets/toy"), "valid").unwrap();
    assert_eq!((split.texts.len(), split.image_count().unwrap()), (90, 60));
    assert_eq!(split.texts[1].text, "犬 1");
    assert_eq!(split.images().unwrap().filter(Result::is_ok).count(), 60);
}

#[test]
fn the_image_column_of_hugging_face_is_read() {
    let entries = read(&data().join("huggingface.parquet"));
    let hashes: Vec<_> = seen(&entries[..7]).into_iter().map(|(_, hash, _)| hash).collect();
    let all: Vec<_> = expected().into_iter().map(|(_, hash, _)| hash).collect();
    assert!(hashes.iter().all(|hash| all.contains(hash)), "{hashes:?}");
    let first = entries[0].as_ref().unwrap();
    assert!(first.name.ends_with("huggingface.parquet#1"));
    assert_eq!((texts(first), &*first.tags), (vec!["一", "one"], &["0".to_owned()][..]));
    assert_eq!(serde_json::to_string(&first.meta).unwrap(), r#"{"image":{"path":"0.png"},"width":1}"#);
    // The last row has a path alone, to a file that is not there.
    let failure = entries[7].as_ref().unwrap_err();
    assert!(failure.name.ends_with("gone.png") && failure.reason.contains("No such file") || cfg!(windows), "{failure:?}");
}

#[test]
fn the_metadata_of_clip_retrieval_is_read() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    for file in ["a.png", "sub/b.png"] {
        std::fs::write(folder.path().join(file), file).unwrap();
    }
    let list = folder.path().join("metadata_0.parquet");
    std::fs::copy(data().join("paths.parquet"), &list).unwrap();
    let entries = read(&list);
    let first = entries[0].as_ref().unwrap();
    assert_eq!((&first.source, texts(first)), (&Source::File(folder.path().join("a.png")), vec!["eins", "zwei"]));
    assert_eq!(serde_json::to_string(&first.meta).unwrap(), r#"{"nsfw":false,"score":0.5}"#);
    assert_eq!(texts(entries[1].as_ref().unwrap()), ["三"]);
    assert_eq!(entries[2].as_ref().unwrap_err().reason, "no picture in this row");
    assert!(entries[3].as_ref().unwrap_err().reason.starts_with("an address"));
}

#[test]
fn a_codec_that_is_not_read_is_named() {
    let error = Sources::open(&[data().join("zstd.parquet")], &Options::default()).unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }));
    assert!(error.to_string().ends_with("is compressed with zstd; wanted snappy, gzip, lz4 or none"), "{error}");
}

#[test]
fn a_table_that_was_written_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.parquet");
    let rows = 131_080;
    let columns = [
        ("image_path", Column::Text((0..rows).map(|i| Some(format!("{i}.png"))).collect())),
        ("similarity", Column::Float((0..rows).map(|i| (i % 3 > 0).then_some(i as f64 / 4.0)).collect())),
        ("id", Column::Int((0..rows).map(|i| (i % 2 > 0).then_some(i64::MIN + i)).collect())),
    ];
    write_table(&path, &columns).unwrap();
    // Around the end of the first group of rows; nothing lies at the other paths, and failures name them.
    for name in ["131071.png", "131072.png"] {
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    let all = read(&path);
    assert_eq!(all.len() as i64, rows);
    assert!(all[0].as_ref().unwrap_err().name.ends_with("0.png"));
    let found: Vec<_> = all.into_iter().flatten().collect();
    assert_eq!(serde_json::to_string(&found[0].meta).unwrap(), format!("{{\"id\":{},\"similarity\":32767.75}}", i64::MIN + 131_071));
    assert_eq!(serde_json::to_string(&found[1].meta).unwrap(), r#"{"similarity":32768.0}"#);
}
