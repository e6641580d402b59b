//! Tables of all kinds, sound and damaged; `tests/golden.rs` has those that pyarrow wrote.
use std::io::Write;

use super::*;
use crate::{Caption, Sources};

/// A folder with `a.png`, `b.png` and a table of this name.
fn folder(name: &str, content: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for picture in ["a.png", "b.png"] {
        std::fs::write(folder.path().join(picture), picture).unwrap();
    }
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    (folder, path)
}

fn read_with(name: &str, content: &[u8], options: &Options) -> Result<Vec<Item>> {
    let (_folder, path) = folder(name, content);
    Ok(Sources::open(&[path], options)?.collect())
}

fn read(name: &str, content: impl AsRef<[u8]>) -> Vec<Item> {
    read_with(name, content.as_ref(), &Options::default()).unwrap()
}

fn refused(name: &str, content: impl AsRef<[u8]>) -> String {
    read_with(name, content.as_ref(), &Options::default()).unwrap_err().to_string()
}

fn captions(item: &Item) -> Vec<(Option<&str>, &str)> {
    item.as_ref().unwrap().captions.iter().map(|Caption { language, text }| (language.as_deref(), &**text)).collect()
}

/// What is behind the last slash of a name, or the reason.
fn names(items: &[Item]) -> Vec<&str> {
    let last = |name| str::rsplit(name, '/').next().unwrap_or(name);
    items.iter().map(|item| item.as_ref().map_or_else(|failure| &*failure.reason, |entry| last(&entry.name))).collect()
}

#[test]
fn rows_name_files_against_the_folder_of_the_table() {
    for (name, table) in [
        ("t.csv", "filepath,title,score\na.png,\"eine, Katze\",0.5\nb.png,二,x\n"),
        ("t.tsv", "filepath\ttitle\tscore\na.png\teine, Katze\t0.5\nb.png\t二\tx\n"),
        ("t.csv", "\u{feff}Image_Path;Caption;score\r\na.png;eine, Katze;0.5\r\nb.png;二;x"),
        (
            "t.jsonl",
            "{\"image\": \"a.png\", \"text\": \"eine, Katze\", \"score\": 0.5}\n\n{\"image\": \"b.png\", \"captions\": [\"二\"], \"score\": \"x\"}",
        ),
    ] {
        let items = read(name, table);
        assert_eq!(names(&items), ["a.png", "b.png"], "{table}");
        assert_eq!((captions(&items[0]), captions(&items[1])), (vec![(None, "eine, Katze")], vec![(None, "二")]), "{table}");
        let scores: Vec<_> = items.iter().map(|item| item.as_ref().unwrap().meta.as_ref().unwrap()["score"].to_string()).collect();
        assert_eq!(scores, ["0.5", "\"x\""]);
        let first = items[0].as_ref().unwrap();
        assert!(matches!(first.source, Source::File(_)) && first.bytes == Some(5) && first.modified.is_some());
    }
}

#[test]
fn rows_hold_pictures_in_base64() {
    for (name, table) in [
        ("t.csv", "image_base64,caption_zh,tags\n+/8=,虹,\"a, b\"\n"),
        ("t.jsonl", "{\"image\": {\"bytes\": \"-_8\", \"path\": null}, \"caption_zh\": \"虹\", \"tags\": [\"a\", \"b\"]}\n"),
        ("t.jsonl", "{\"image\": \"data:image/png;base64,+/8=\", \"caption\": {\"zh\": \"虹\"}, \"tags\": \"a;b\"}\n"),
    ] {
        let items = read(name, table);
        let entry = items[0].as_ref().unwrap();
        assert_eq!((names(&items)[0], &entry.source), (&*format!("{name}#1"), &Source::Bytes(vec![251, 255])));
        assert_eq!((captions(&items[0]), &*entry.tags), (vec![(Some("zh"), "虹")], &["a".to_owned(), "b".to_owned()][..]));
    }
}

#[test]
fn a_picture_with_several_captions_is_one_entry() {
    let items = read("t.csv", "file,caption\na.png,1\na.png,2\na.png,1\nb.png,3\na.png,4\n");
    assert_eq!(names(&items), ["a.png", "b.png", "a.png"]);
    assert_eq!(captions(&items[0]), [(None, "1"), (None, "2")]);
}

#[test]
fn columns_may_be_told() {
    let columns = Columns { path: Some("x".into()), bytes: None, captions: vec!["about".into(), "title_ja".into()] };
    let options = Options { columns, ..Options::default() };
    let items = read_with("t.csv", "x,path,about,title_ja,text\na.png,?,1,2,3\n".as_bytes(), &options).unwrap();
    assert_eq!((names(&items), captions(&items[0])), (vec!["a.png"], vec![(None, "1"), (Some("ja"), "2")]));
    assert_eq!(serde_json::to_string(&items[0].as_ref().unwrap().meta).unwrap(), r#"{"path":"?","text":"3"}"#);
    let error = read_with("t.csv", "path\na.png\n".as_bytes(), &options).unwrap_err().to_string();
    assert!(error.ends_with("t.csv` has the columns `path`, none with pictures; wanted a column `x`"), "{error}");
}

#[test]
fn a_bad_row_is_one_failure() {
    let lines = "{\"path\": \"a.png\"}\nno JSON\n[1]\n{\"path\": 5}\n{\"path\": \"none.png\"}\n{\"path\": \"http://x/a.png\"}\n{\"path\": \"b.png\"}";
    let items = read("t.jsonl", lines);
    let found = names(&items);
    assert_eq!((found[0], found[6], found.len()), ("a.png", "b.png", 7));
    assert!(found[1].starts_with("expected") && found[1].ends_with("wanted a JSON object"), "{}", found[1]);
    assert_eq!((found[3], found[5]), ("no picture in this row", "an address; hua reads files and downloads no pictures"));
    assert!(items[1].as_ref().unwrap_err().name.ends_with("t.jsonl#2"));
    assert!(items[4].as_ref().unwrap_err().name.ends_with("none.png"));
    let items = read("t.csv", "image_base64,caption\n+/8=,a\n!!!,b\n,c\n+/8=\n+/8=,d,\n+/8=,e, f\n");
    assert_eq!(names(&items)[1..3], ["bad base64 in `image_base64` (Invalid symbol 33, offset 0.)", "no picture in this row"]);
    assert!(items[3].is_ok() && items[4].is_ok());
    assert_eq!(items[5].as_ref().unwrap_err().reason, "3 cells, wanted 2");
}

#[test]
fn a_table_without_pictures_is_refused_as_a_whole() {
    assert!(
        refused("t.csv", "a,b\n1,2\n")
            .ends_with("has the columns `a`, `b`, none with pictures; wanted a column like `filepath`, `image` or `image_bytes`")
    );
    let error = refused("t.jsonl", "hello\nworld\n");
    assert!(
        error.contains("t.jsonl` has no sound row; row 1: expected") && error.ends_with("like `path`, `image` or `image_bytes`"),
        "{error}"
    );
    assert!(refused("t.parquet", "PAR1 and then nothing").contains("t.parquet` cannot be read: "));
    // No rows are nothing to complain of.
    assert!(read("t.csv", "").is_empty() && read("t.csv", "path\n").is_empty() && read("t.jsonl", "\n").is_empty());
}

#[test]
fn a_quote_that_is_never_closed_ends_the_reading() {
    let table = format!("path,caption\na.png,ok\nb.png,\"{}", "x,\n".repeat(100_000));
    let options = Options { max_bytes: 1 << 12, ..Options::default() };
    let items = read_with("t.csv", table.as_bytes(), &options).unwrap();
    assert_eq!(names(&items), ["a.png", "row 2: it is too long; is a quote not closed?"]);
    let long = format!("{{\"path\": \"a.png\"}}\n\"{}\"\n{{\"path\": \"b.png\"}}", "x".repeat(10_000));
    let items = read_with("t.jsonl", long.as_bytes(), &options).unwrap();
    assert_eq!(names(&items), ["a.png", "a line of over 4096 bytes", "b.png"]);
}

#[test]
fn tables_are_read_out_of_gzip() {
    let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    encoder.write_all("path\na.png\n".as_bytes()).unwrap();
    let compressed = encoder.finish().unwrap();
    assert_eq!(names(&read("t.csv.gz", &compressed)), ["a.png"]);
    let items = read("t.csv.gz", &compressed[..compressed.len() - 9]);
    assert!(items.iter().any(|item| item.is_err()) || items.len() == 1);
}

#[test]
fn no_byte_of_a_table_makes_it_panic() {
    let golden = |name: &str| std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/data").join(name)).unwrap();
    let exhaust = |path: &Path, bytes: &[u8]| {
        std::fs::write(path, bytes).unwrap();
        if let Ok(entries) = Sources::open(&[path.to_owned()], &Options::default()) {
            // A damaged count of rows may be any number.
            entries.take(10_000).for_each(drop);
        }
    };
    for (name, sound) in [
        ("t.csv", b"path,caption\na.png,\"x\"\"y\"\nb.png,\xe8\x99\xb9\n".to_vec()),
        ("t.jsonl", "{\"path\": \"a.png\", \"tags\": [\"虹\"]}\n{\"image\": {\"bytes\": \"+/8=\"}}\n".as_bytes().to_vec()),
        ("t.parquet", golden("paths.parquet")),
    ] {
        let (_folder, path) = folder(name, b"");
        for at in 0..sound.len() {
            let mut changed = sound.clone();
            changed[at] ^= if at % 2 == 0 { 0x01 } else { 0x80 };
            exhaust(&path, &changed);
            if sound.len() < 200 || at % 10 == 0 {
                exhaust(&path, &sound[..at]);
            }
        }
    }
}
