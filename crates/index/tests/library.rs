//! A library as a stranger uses it: written, read, filtered, searched, opened again.
#![allow(clippy::unwrap_used, reason = "tests")]
use std::path::Path;

use hua_index::{
    Caption, Error, Facts, Filter, ItemError, ItemId, NewItem, Reader, SpaceSpec, SpaceState, StoredType, Tag, Writer, split_path,
};
use hua_kernels::{Cores, Isa};

fn spec(name: &str, width: usize, dtype: StoredType) -> SpaceSpec {
    SpaceSpec { name: name.into(), fingerprint: "model-1".into(), preprocessing: "224".into(), width, dtype }
}

fn item(path: &str) -> NewItem {
    NewItem { path: path.into(), bytes: 10, modified: Some(1), ..NewItem::default() }
}

fn cores() -> Cores {
    Cores::new(2, Isa::best()).unwrap()
}

/// A vector that points along one axis, a little to the next.
fn axis(width: usize, i: usize) -> Vec<f32> {
    let mut vector = vec![0.0; width];
    vector[i % width] = 1.0;
    vector[(i + 1) % width] = 0.1;
    vector
}

/// A library with items `a/0.jpg` ... in segments of 64 rows.
fn filled(path: &Path, count: usize, width: usize) -> Vec<ItemId> {
    let mut writer = Writer::create_with(path, &spec("main", width, StoredType::F16), 64).unwrap();
    let space = writer.spaces().unwrap()[0].id;
    let ids = (0..count)
        .map(|i| {
            let taken = Some(format!("2024-{:02}-01T10:00:00", i % 12 + 1));
            let new = NewItem {
                facts: Facts { taken, camera: Some(format!("camera {}", i % 3)), ..Facts::default() },
                captions: vec![Caption { language: Some("zh".into()), text: format!("第{i}张 海边的日落 number {i}") }],
                tags: if i % 10 == 0 { vec![Tag::new("ten")] } else { vec![] },
                meta: Some(serde_json::json!({ "price": i })),
                ..item(&format!("{}/{i}.jpg", ["a", "a/b", "a-c"][i % 3]))
            };
            let id = writer.upsert(&new).unwrap();
            writer.set_vector(space, id, &axis(width, i)).unwrap();
            id
        })
        .collect();
    writer.commit().unwrap();
    ids
}

#[test]
fn what_was_written_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let ids = filled(folder.path(), 200, 40);
    let reader = Reader::open(folder.path()).unwrap();
    let space = reader.space(None).unwrap().clone();
    assert_eq!((space.spec.name.as_str(), space.state), ("main", SpaceState::Live));
    space.expect("model-1", "224").unwrap();
    let other = space.expect("model-2", "224").unwrap_err();
    assert_eq!(other.to_string(), "space `main` holds vectors of model `model-1`, `model-2` was given");
    let stats = reader.stats().unwrap();
    assert_eq!((stats.items, stats.errors), (200, 0));
    assert_eq!((stats.spaces[0].vectors, stats.spaces[0].dead, stats.spaces[0].segments), (200, 0, 4));
    let read = reader.item(ids[7]).unwrap().unwrap();
    assert_eq!(read.path, "a/b/7.jpg");
    assert_eq!(read.facts.camera.as_deref(), Some("camera 1"));
    assert_eq!(read.captions[0].text, "第7张 海边的日落 number 7");
    assert_eq!(read.meta.unwrap()["price"], 7);
    assert_eq!(reader.item_at("a/b/7.jpg").unwrap(), Some(ids[7]));
    assert_eq!(reader.item(ItemId(10_000)).unwrap(), None);
    let vector = reader.vector(space.id, ids[7]).unwrap().unwrap();
    assert!((vector[7] - 1.0 / 1.01f32.sqrt()).abs() < 1e-3);
    let rows: Vec<_> = reader.rows(space.id).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<_>>(), ids);
    assert_eq!(rows[7].1, vector);
    assert_eq!(reader.check().unwrap().findings, []);
    assert_eq!(reader.check().unwrap().rows, 200);
}

#[test]
fn the_nearest_come_first_and_those_at_the_same_distance_by_id() {
    let folder = tempfile::tempdir().unwrap();
    let ids = filled(folder.path(), 200, 40);
    let reader = Reader::open(folder.path()).unwrap();
    let space = reader.space(None).unwrap().id;
    let queries = [axis(40, 3), axis(40, 39)];
    let queries: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
    let hits = reader.search(&cores(), space, &queries, &Filter::all(), 7).unwrap();
    let found: Vec<_> = hits[0].iter().map(|hit| hit.item).collect();
    assert_eq!(found[..5], [3, 43, 83, 123, 163].map(|i: usize| ids[i]));
    assert!((hits[0][0].score - 1.0).abs() < 1e-3 && (hits[0][5].score - 0.1 / 1.01).abs() < 1e-3);
    assert_eq!(hits[1][0].item, ids[39]);
    let few = Filter::all().and_items(&[ids[4], ids[43]]);
    let hits = reader.search(&cores(), space, &queries[..1], &few, 7).unwrap();
    assert_eq!(hits[0].iter().map(|hit| hit.item).collect::<Vec<_>>(), [ids[43], ids[4]]);
    assert!(matches!(reader.search(&cores(), space, &[&[1.0; 3]], &few, 7), Err(Error::Width { found: 3, wanted: 40 })));
    assert!(matches!(reader.search(&cores(), space, &[&[0.0; 40]], &few, 7), Err(Error::NotFinite { .. })));
    assert_eq!(reader.search(&cores(), space, &queries, &few, 0).unwrap(), [vec![], vec![]]);
}

#[test]
fn filters_are_folders_tags_times_items_and_expressions() {
    let folder = tempfile::tempdir().unwrap();
    let ids = filled(folder.path(), 120, 16);
    let reader = Reader::open(folder.path()).unwrap();
    let count = |filter: Filter| reader.count(&filter).unwrap();
    assert_eq!(count(Filter::all()), 120);
    assert_eq!(count(Filter::all().and_folder("a")), 80);
    assert_eq!(count(Filter::all().and_folder("a/b/")), 40);
    assert_eq!(count(Filter::all().and_folder("")), 0);
    assert_eq!(count(Filter::all().and_tag("ten")), 12);
    assert_eq!(count(Filter::all().and_taken(Some("2024-03"), Some("2024-05"))), 20);
    assert_eq!(count(Filter::all().and_where("meta ->> 'price' < 10 -- cheap")), 10);
    assert_eq!(count(Filter::all().and_where("camera = 'camera 1'").and_tag("ten").and_folder("a")), 4);
    assert_eq!(count(Filter::all().and_where("EXISTS (SELECT 1 FROM captions WHERE item = id AND text LIKE '%number 7')")), 1);
    assert_eq!(reader.items(&Filter::all().and_items(&[ids[3], ids[1], ItemId(999)])).unwrap(), [ids[1], ids[3]]);
}

#[test]
fn an_expression_reads_the_catalogue_and_does_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), 5, 16);
    let reader = Reader::open(folder.path()).unwrap();
    for sql in [
        "1) OR (1",
        "1; DELETE FROM items",
        "id = ?1",
        "id = 5 LIMIT 1",
        "1 UNION SELECT 1",
        "nothing = 1",
        "load_extension('x')",
        "id IN (SELECT rowid FROM sqlite_schema)",
        "id IN (WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t) SELECT x FROM t)",
        "id IN (SELECT 1 FROM pragma_table_info('items'))",
        "",
        "json_extract('{', '$') = 1",
        "abs(-9223372036854775807 - id) = 1",
        "id = 1\0",
        "/*",
    ] {
        let error = reader.count(&Filter::all().and_where(sql)).unwrap_err();
        assert!(matches!(error, Error::Filter { .. }), "{sql}: {error:?}");
        assert!(error.hint().is_some());
    }
    assert_eq!(reader.count(&Filter::all()).unwrap(), 5);
}

#[test]
fn an_expression_that_takes_for_ever_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), 200, 16);
    let reader = Reader::open(folder.path()).unwrap();
    let for_ever = "(SELECT sum(a.id * b.id * c.id * d.id) FROM items a, items b, items c, items d) > 0";
    let filter = Filter::all().and_where(for_ever).within(std::time::Duration::from_millis(30));
    let error = reader.count(&filter).unwrap_err();
    assert!(error.to_string().contains("longer than 30ms"), "{error}");
    assert_eq!(reader.count(&Filter::all().and_where("id > 0")).unwrap(), 200);
}

#[test]
fn words_are_found_in_names_and_captions_of_any_language() {
    let folder = tempfile::tempdir().unwrap();
    let ids = filled(folder.path(), 30, 16);
    let mut writer = Writer::open(folder.path()).unwrap();
    let cat = NewItem { captions: vec![Caption { language: None, text: "一只小白猫 in Zürich".into() }], ..item("cats/Félix.png") };
    let cat = writer.upsert(&cat).unwrap();
    writer.commit().unwrap();
    let reader = Reader::open(folder.path()).unwrap();
    let find = |words: &str| -> Vec<ItemId> { reader.words(words, &Filter::all(), 100).unwrap().iter().map(|hit| hit.item).collect() };
    for words in ["felix", "FÉLIX", "白猫", "猫", "小白猫", "zurich 猫", "cats png"] {
        assert_eq!(find(words), [cat], "{words}");
    }
    assert_eq!(find("海边的日落").len(), 30);
    assert_eq!(find("number 7"), [ids[7]]);
    assert_eq!(find("海日"), []);
    assert_eq!(find("\" OR *"), []);
    assert_eq!(reader.words("日落", &Filter::all().and_tag("ten"), 100).unwrap().len(), 3);
    writer.rename(cat, "dogs/x.png", None).unwrap();
    writer.commit().unwrap();
    let reader = Reader::open(folder.path()).unwrap();
    assert!(reader.words("felix", &Filter::all(), 9).unwrap().is_empty());
    assert_eq!(reader.words("dogs 猫", &Filter::all(), 9).unwrap().len(), 1);
    assert_eq!(reader.check().unwrap().findings, []);
}

#[test]
fn a_reader_stays_where_it_was_until_it_is_refreshed() {
    let folder = tempfile::tempdir().unwrap();
    let ids = filled(folder.path(), 150, 16);
    let mut reader = Reader::open(folder.path()).unwrap();
    let space = reader.space(None).unwrap().id;
    let mut writer = Writer::open(folder.path()).unwrap();
    for id in &ids[..149] {
        assert!(writer.remove(*id).unwrap());
    }
    assert!(!writer.remove(ids[0]).unwrap());
    assert!(!reader.refresh().unwrap());
    writer.commit().unwrap();
    let done = writer.compact(false).unwrap();
    assert_eq!((done.segments, done.rows), (3, 149));
    let search = |reader: &Reader| reader.search(&cores(), space, &[&axis(16, 149)], &Filter::all(), 1000).unwrap().remove(0).len();
    assert_eq!((search(&reader), reader.count(&Filter::all()).unwrap()), (150, 150));
    assert!(reader.refresh().unwrap());
    assert_eq!((search(&reader), reader.count(&Filter::all()).unwrap()), (1, 1));
    assert_eq!(reader.check().unwrap().findings, []);
    assert_eq!(reader.stats().unwrap().spaces[0].dead, 0);
}

#[test]
fn content_that_changed_loses_its_vectors_and_a_rename_keeps_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(folder.path(), &spec("main", 8, StoredType::F32)).unwrap();
    let space = writer.spaces().unwrap()[0].id;
    let first = NewItem { hash: Some([1; 32]), ..item("x.jpg") };
    let id = writer.upsert(&first).unwrap();
    writer.set_vector(space, id, &axis(8, 1)).unwrap();
    writer.rename(id, "y.jpg", Some(5)).unwrap();
    assert_eq!(writer.known("y.jpg").unwrap().unwrap().modified, Some(5));
    assert!(writer.has_vector(space, id).unwrap() && writer.known("x.jpg").unwrap().is_none());
    let copy = writer.upsert(&NewItem { path: "z.jpg".into(), ..first.clone() }).unwrap();
    assert_eq!(writer.by_hash(&[1; 32]).unwrap(), [id, copy]);
    writer.copy_vectors(id, copy).unwrap();
    assert!(matches!(writer.rename(id, "z.jpg", None), Err(Error::PathTaken { .. })));
    assert_eq!(writer.upsert(&NewItem { path: "y.jpg".into(), modified: None, ..first.clone() }).unwrap(), id);
    assert!(writer.has_vector(space, id).unwrap());
    assert_eq!(writer.missing(space, None, 10).unwrap(), []);
    writer.upsert(&NewItem { path: "y.jpg".into(), hash: Some([2; 32]), ..first }).unwrap();
    assert_eq!(writer.missing(space, None, 10).unwrap(), [id]);
    writer.touch(id, Some(9)).unwrap();
    assert_eq!(writer.paths_under("").unwrap(), [(id, "y.jpg".into()), (copy, "z.jpg".into())]);
    assert_eq!(writer.paths_under("z").unwrap().len(), 1);
    writer.commit().unwrap();
    let reader = Reader::open(folder.path()).unwrap();
    assert_eq!(reader.vector(space, id).unwrap(), None);
    let unit = reader.vector(space, copy).unwrap().unwrap();
    assert!((unit[1] - 1.0 / 1.01f32.sqrt()).abs() < 1e-6);
    assert_eq!(reader.check().unwrap().findings, []);
}

#[test]
fn spaces_lie_side_by_side_and_go_alone() {
    let folder = tempfile::tempdir().unwrap();
    let ids = filled(folder.path(), 70, 16);
    let mut writer = Writer::open(folder.path()).unwrap();
    let old = writer.spaces().unwrap()[0].id;
    let new = writer.add_space(&spec("new", 24, StoredType::F32)).unwrap();
    assert!(matches!(writer.add_space(&spec("new", 24, StoredType::F32)), Err(Error::SpaceExists { .. })));
    for (i, id) in writer.missing(new, None, 1000).unwrap().into_iter().enumerate() {
        writer.set_vector(new, id, &axis(24, i)).unwrap();
    }
    writer.set_state(new, SpaceState::Live).unwrap();
    writer.commit().unwrap();
    let reader = Reader::open(folder.path()).unwrap();
    assert_eq!(reader.search(&cores(), new, &[&axis(24, 5)], &Filter::all(), 1).unwrap()[0][0].item, ids[5]);
    writer.remove_space(old).unwrap();
    assert!(matches!(writer.set_vector(old, ids[0], &axis(16, 0)), Err(Error::NoSpace { .. })));
    assert!(!folder.path().join("vectors").join(old.0.to_string()).exists());
    let reader = Reader::open(folder.path()).unwrap();
    assert_eq!(reader.space(None).unwrap().id, new);
    assert_eq!((reader.spaces().len(), reader.check().unwrap().findings), (1, vec![]));
}

#[test]
fn tags_errors_and_values_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let ids = filled(folder.path(), 20, 16);
    let mut writer = Writer::open(folder.path()).unwrap();
    let tag = |tag: &str, score| Tag { tag: tag.into(), score: Some(score), source: String::new() };
    writer.set_tags(ids[0], "zero-shot", &[tag("cat", 0.5), tag("dog", 0.25)]).unwrap();
    writer.set_tags(ids[1], "zero-shot", &[tag("cat", 1.0)]).unwrap();
    writer.set_value("roots", Some("[]")).unwrap();
    let error = ItemError { path: "bad.png".into(), bytes: 0, modified: None, reason: "it is empty".into(), at: 0 };
    writer.record_error(&error).unwrap();
    writer.record_error(&ItemError { path: "worse.png".into(), ..error.clone() }).unwrap();
    assert!(writer.clear_error("worse.png").unwrap());
    writer.commit().unwrap();
    let reader = Reader::open(folder.path()).unwrap();
    assert_eq!(reader.tags().unwrap(), [("cat".into(), 2), ("ten".into(), 2), ("dog".into(), 1)]);
    assert_eq!(reader.item(ids[0]).unwrap().unwrap().tags.len(), 3);
    assert_eq!(reader.value("roots").unwrap().as_deref(), Some("[]"));
    let errors = reader.errors().unwrap();
    assert_eq!((errors.len(), errors[0].reason.as_str()), (1, "it is empty"));
    assert!(errors[0].at > 0 && writer.error("bad.png").unwrap().is_some());
    writer.upsert(&item("bad.png")).unwrap();
    assert!(writer.error("bad.png").unwrap().is_none());
    assert_eq!(writer.clear_tags("zero-shot").unwrap(), 3);
}

#[test]
fn what_is_taken_back_or_never_committed_never_was() {
    let folder = tempfile::tempdir().unwrap();
    let ids = filled(folder.path(), 100, 16);
    for finish in [true, false] {
        let mut writer = Writer::open(folder.path()).unwrap();
        let space = writer.spaces().unwrap()[0].id;
        for i in 0..200 {
            let id = writer.upsert(&item(&format!("new/{i}"))).unwrap();
            writer.set_vector(space, id, &axis(16, i)).unwrap();
        }
        writer.remove(ids[0]).unwrap();
        if finish {
            writer.rollback().unwrap();
            let id = writer.upsert(&item("kept")).unwrap();
            writer.set_vector(space, id, &axis(16, 1)).unwrap();
            writer.commit().unwrap();
        }
    }
    let _ = Writer::open(folder.path()).unwrap();
    let reader = Reader::open(folder.path()).unwrap();
    assert_eq!(reader.count(&Filter::all()).unwrap(), 101);
    assert_eq!(reader.check().unwrap().findings, []);
    let files = std::fs::read_dir(folder.path().join("vectors/1")).unwrap().count();
    assert_eq!(files, 6);
}

#[test]
fn a_path_is_divided_where_people_see_a_folder() {
    for (path, folder, name) in [
        ("x.jpg", "", "x.jpg"),
        ("a/b/x.jpg", "a/b", "x.jpg"),
        ("a/wow!.jpg", "a", "wow!.jpg"),
        ("a/1.tar!x.jpg", "a/1.tar", "x.jpg"),
        ("a/1.tar!b/x.jpg", "a/1.tar!b", "x.jpg"),
        ("a/#1.jpg", "a", "#1.jpg"),
        ("a/list.TSV#17", "a/list.TSV", "17"),
    ] {
        assert_eq!(split_path(path), (folder, name));
    }
}
