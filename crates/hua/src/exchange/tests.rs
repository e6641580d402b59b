//! Files that numpy, pandas and safetensors made are read, and what is written is read again.
use std::path::{Path, PathBuf};

use half::f16;
use hua_index::{Caption, Facts, Filter, NewItem, Reader, SpaceSpec, StoredType, Tag, Writer};
use serde_json::json;

use super::*;
use crate::NoProgress;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/exchange").join(name)
}

fn rows(opened: Opened) -> Vec<Row> {
    opened.rows.map(|row| row.unwrap()).collect()
}

/// The vectors of the goldens, to the bit, as numpy wrote them in f64.
fn wanted() -> Vec<Vec<f32>> {
    rows(npy::open(&golden("f64.npy")).unwrap()).into_iter().map(|row| row.vector).collect()
}

fn rounded(vector: &[f32]) -> Vec<f32> {
    vector.iter().map(|&x| f16::from_f32(x).to_f32()).collect()
}

#[test]
fn a_folder_of_clip_retrieval_is_read_row_by_row_with_its_metadata() {
    let opened = clip_retrieval::open(&golden("clip_retrieval")).unwrap();
    assert_eq!(opened.total, Some(5));
    let rows = rows(opened);
    let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["photos/cat.jpg", "photos/海/日落.png", "photos/غروب.jpg", "photos/no caption.jpg", "other/5.jpg"]);
    let captions: Vec<_> = rows.iter().map(|row| row.captions.first().map(|caption| caption.text.as_str())).collect();
    assert_eq!(captions, [Some("a cat"), Some("海边的日落"), Some("غروب الشمس"), None, Some("last")]);
    assert_eq!(rows[0].meta.as_ref().unwrap()["NSFW"], "UNLIKELY");
    assert_eq!(rows[1].meta.as_ref().unwrap()["width"], 800);
    assert_eq!(rows[2].meta.as_ref().unwrap().get("NSFW"), None);
    for (row, wanted) in rows.iter().zip(wanted()) {
        assert_eq!(row.vector, rounded(&wanted));
    }
}

#[test]
fn the_other_formats_give_the_same_rows() {
    let of = |opened: Opened| rows(opened).into_iter().map(|row| row.vector).collect::<Vec<_>>();
    assert_eq!(of(safetensors::open(&golden("f32.safetensors")).unwrap()), wanted());
    let half: Vec<_> = wanted().iter().map(|row| rounded(row)).collect();
    assert_eq!(of(safetensors::open(&golden("f16.safetensors")).unwrap()), half);
    let features = rows(features::open(&golden("valid_imgs.img_feat.jsonl"), Some(Path::new("/data/valid_imgs.tsv"))).unwrap());
    assert_eq!(features[4].name, "/data/valid_imgs.tsv#104");
    assert_eq!(features.into_iter().map(|row| row.vector).collect::<Vec<_>>(), wanted());
    let named = safetensors::open(&golden("f32.safetensors")).unwrap();
    assert_eq!(named.fingerprint.as_deref(), Some("a-model"));
    assert_eq!(rows(named)[2].name, "photos/غروب.jpg");
}

#[test]
fn a_file_that_is_not_what_it_says_is_refused_by_name() {
    let error = npy::open(&golden("fortran.npy")).err().unwrap().to_string();
    assert!(error.contains("fortran.npy") && error.contains("'fortran_order': True") && error.contains("wanted"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let whole = std::fs::read(golden("f64.npy")).unwrap();
    let tensors = std::fs::read(golden("f32.safetensors")).unwrap();
    for length in [0, 5, 9, 60, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(npy::open(&path).is_err(), "{length}");
        std::fs::write(&path, &tensors[..length.min(tensors.len() - 1)]).unwrap();
        assert!(safetensors::open(&path).is_err(), "{length}");
    }
    std::fs::write(&path, [&u64::MAX.to_le_bytes()[..], b"{}"].concat()).unwrap();
    assert!(safetensors::open(&path).is_err());
    assert!(clip_retrieval::open(folder.path()).is_err());
}

#[test]
fn a_bad_line_is_told_and_the_next_one_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jsonl");
    let lines = "{\"image_id\": 7, \"feature\": [1, 0]}\nnot json\n\n{\"image_id\": 8}\n{\"id\":\"t\",\"kind\":\"text\",\"embedding\":[1,0]}\n{\"path\":\"a.jpg\",\"embedding\":[0,1]}";
    std::fs::write(&path, lines).unwrap();
    let found: Vec<_> = features::open(&path, None).unwrap().rows.map(|row| row.map(|row| row.name).map_err(|f| f.name)).collect();
    let named = |end: &str| format!("{}{end}", path.display());
    assert_eq!(found, [Ok(named("#7")), Err(named(" line 2")), Err(named(" line 4")), Ok("a.jpg".into())]);
}

/// Three items, one of them without a vector.
fn library(folder: &Path) -> Reader {
    let spec = SpaceSpec { name: "m".into(), fingerprint: "f".into(), preprocessing: "p".into(), width: 4, dtype: StoredType::F16 };
    let mut writer = Writer::create(folder, &spec).unwrap();
    let space = writer.spaces().unwrap()[0].id;
    let caption = Caption { language: Some("zh".into()), text: "海, \"蓝\"\n=1+1".into() };
    let facts = Facts { width: Some(640), latitude: Some(31.25), taken: Some("2024-05-31T18:20:00".into()), ..Facts::default() };
    let item = NewItem {
        path: "/p/海.jpg".into(),
        bytes: 12,
        facts,
        captions: vec![caption],
        tags: vec![Tag::new("sea"), Tag { source: "zero-shot".into(), score: Some(0.5), ..Tag::new("sea") }],
        meta: Some(json!({"stars": 5})),
        ..NewItem::default()
    };
    for (item, vector) in [
        (item, Some([1.0, 0.0, 0.0, 0.0])),
        (NewItem { path: "/p/none.jpg".into(), ..NewItem::default() }, None),
        (NewItem { path: "/p/b\n.jpg".into(), ..NewItem::default() }, Some([0.0, 0.6, 0.8, 0.0])),
    ] {
        let id = writer.upsert(&item).unwrap();
        if let Some(vector) = vector {
            writer.set_vector(space, id, &vector).unwrap();
        }
    }
    writer.commit().unwrap();
    Reader::open(folder).unwrap()
}

#[test]
fn what_is_exported_with_vectors_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let reader = library(&folder.path().join("library"));
    let space = &reader.spaces()[0];
    let options = ExportOptions { filter: &Filter::all(), vectors: true };
    for (format, name) in [
        (Format::ChineseClip, "x_feat.jsonl"),
        (Format::ClipRetrieval, "x"),
        (Format::Jsonl, "x.jsonl"),
        (Format::Npy, "x.npy"),
        (Format::Safetensors, "x.safetensors"),
    ] {
        let to = folder.path().join(name);
        let done = export(&reader, space, &to, format, &options, &NoProgress).unwrap();
        assert_eq!(done, Exported { items: 2, without_vector: 1 }, "{name}");
        assert_eq!(Format::of(&to), Some(format));
        let opened = match format {
            Format::ClipRetrieval => clip_retrieval::open(&to),
            Format::Npy => npy::open(&to),
            Format::Safetensors => safetensors::open(&to),
            _ => features::open(&to, None),
        };
        let rows = rows(opened.unwrap());
        assert_eq!(rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), ["/p/海.jpg", "/p/b\n.jpg"], "{name}");
        assert_eq!(rows[0].vector, [1.0, 0.0, 0.0, 0.0]);
        assert!(rows[1].vector.iter().zip([0.0, 0.6, 0.8, 0.0]).all(|(a, b)| (a - b).abs() < 1e-3), "{:?}", rows[1].vector);
    }
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().ends_with(".part"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn tables_say_all_that_is_known_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let reader = library(&folder.path().join("library"));
    let space = &reader.spaces()[0];
    let options = ExportOptions { filter: &Filter::all().and_tag("sea"), vectors: false };
    for (format, name) in [(Format::Csv, "x.csv"), (Format::Parquet, "x.parquet")] {
        let to = folder.path().join(name);
        export(&reader, space, &to, format, &options, &NoProgress).unwrap();
        let rows: Vec<_> = hua_data::read_table(&to, &hua_data::Options::default()).unwrap().map(|row| row.unwrap()).collect();
        assert_eq!(rows.len(), 1, "{name}");
        let text = |name: &str| match &rows[0][name] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        assert_eq!((text("path"), text("caption")), ("/p/海.jpg".into(), "海, \"蓝\"\n=1+1".into()));
        assert_eq!((text("tags"), text("meta")), (r#"["sea"]"#.into(), r#"{"stars":5}"#.into()));
        assert_eq!((text("width"), text("latitude"), text("taken")), ("640".into(), "31.25".into(), "2024-05-31T18:20:00".into()));
    }
    let to = folder.path().join("x.jsonl");
    export(&reader, space, &to, Format::Jsonl, &options, &NoProgress).unwrap();
    let line: Value = serde_json::from_str(&std::fs::read_to_string(&to).unwrap()).unwrap();
    assert_eq!((&line["captions"][0]["language"], &line["meta"]["stars"], &line["width"]), (&json!("zh"), &json!(5), &json!(640)));
    assert_eq!((line.get("embedding"), line["tags"].as_array().unwrap().len()), (None, 2));
}
