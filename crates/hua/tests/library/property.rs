//! Whatever happens to a folder between runs, the library is then what a new one would be: the same paths with the same contents, words and
//! vectors, and the same failures.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use hua::NoProgress;
use hua::index::Reader;
use hua::library::{IngestOptions, ingest};
use proptest::prelude::*;

use crate::{Place, embedder, items, picture, vectors};

const NAMES: [&str; 7] = ["a.png", "b.png", "sub/a.png", "sub/c.png", "sub/deeper/d.png", "木/é.png", "שלום.png"];

/// What a file holds.
#[derive(Clone, Copy, Debug)]
enum Content {
    Picture(u8),
    Nonsense(u8),
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Add(usize, Content),
    Caption(usize, Option<u8>),
    Delete(usize),
    Index,
    Rename(usize, usize),
    RenameFolder,
    Touch(usize),
}

fn content() -> impl Strategy<Value = Content> {
    prop_oneof![4 => (0..5_u8).prop_map(Content::Picture), 1 => (0..2_u8).prop_map(Content::Nonsense)]
}

fn change() -> impl Strategy<Value = Change> {
    let name = || 0..NAMES.len();
    prop_oneof![
        5 => (name(), content()).prop_map(|(name, content)| Change::Add(name, content)),
        1 => (name(), proptest::option::of(0..3_u8)).prop_map(|(name, words)| Change::Caption(name, words)),
        2 => name().prop_map(Change::Delete),
        3 => Just(Change::Index),
        3 => (name(), name()).prop_map(|(from, to)| Change::Rename(from, to)),
        1 => Just(Change::RenameFolder),
        1 => name().prop_map(Change::Touch),
    ]
}

fn apply(place: &Place, change: Change) {
    let beside = |name: &str| Path::new(name).with_extension("txt").to_str().unwrap().to_owned();
    match change {
        Change::Add(name, Content::Picture(number)) => place.write(NAMES[name], &picture(number)),
        Change::Add(name, Content::Nonsense(number)) => place.write(NAMES[name], &[number; 40]),
        Change::Caption(name, Some(words)) => place.write(&beside(NAMES[name]), format!("words {words}").as_bytes()),
        Change::Caption(name, None) => drop(fs::remove_file(place.photo(&beside(NAMES[name])))),
        Change::Delete(name) => drop(fs::remove_file(place.photo(NAMES[name]))),
        Change::Index => drop(place.ingest_with(|options| options.forget = true).unwrap()),
        Change::Rename(from, to) => {
            let to = place.photo(NAMES[to]);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            drop(fs::rename(place.photo(NAMES[from]), to));
        }
        Change::RenameFolder => drop(fs::rename(place.photo("sub"), place.photo("木/sub"))),
        Change::Touch(name) if place.photo(NAMES[name]).exists() => place.touch(NAMES[name]),
        Change::Touch(_) => {}
    }
}

/// All that a library says of its pictures, but for ids and times.
#[derive(Debug, PartialEq)]
struct Said {
    items: BTreeMap<String, String>,
    vectors: BTreeMap<String, Vec<f32>>,
    errors: Vec<(String, u64, String)>,
}

fn said(reader: &Reader) -> Said {
    let about =
        |item: hua::index::Item| format!("{:?}", (item.bytes, item.modified, item.hash, item.facts, item.captions, item.tags, item.meta));
    Said {
        items: items(reader).into_iter().map(|(path, item)| (path, about(item))).collect(),
        vectors: vectors(reader),
        errors: reader.errors().unwrap().into_iter().map(|error| (error.path, error.bytes, error.reason)).collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_library_that_follows_a_folder_is_what_a_new_one_would_be(changes in proptest::collection::vec(change(), 1..25)) {
        let place = Place::new();
        for change in changes {
            apply(&place, change);
        }
        place.ingest_with(|options| options.forget = true).unwrap();
        let fresh = place.library().with_file_name("fresh");
        let stop = AtomicBool::new(false);
        ingest(&fresh, embedder(), &[place.photos()], &IngestOptions::new(&stop), &NoProgress).unwrap();
        let reader = place.reader();
        prop_assert_eq!(said(&reader), said(&Reader::open(&fresh).unwrap()));
        prop_assert!(reader.check().unwrap().findings.is_empty());
        // And there is nothing left to do.
        let again = place.ingest();
        prop_assert_eq!(again.added + again.changed + again.renamed + again.described + again.removed + again.failed, 0);
    }
}
