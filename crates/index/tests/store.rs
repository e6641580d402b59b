//! What every store of vectors has to do, as properties: the same as a plain list in memory, whatever is done to both in whatever order.
//!
//! [`behaves_as_a_list`] takes any [`Store`]: one for another kind of store calls it with a function that opens it in a folder.
#![allow(clippy::unwrap_used, reason = "tests")]
use std::collections::BTreeMap;
use std::path::Path;

use hua_index::{Error, Facts, Filter, Library, NewItem, Reader, Result, SpaceSpec, Store, StoredType, Tag, Writer};
use hua_kernels::{Cores, Isa};
use proptest::prelude::*;

const WIDTH: usize = 20;

/// Something that is done to a store. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Act {
    Commit,
    Compact,
    Delete(usize),
    Open,
    Rename(usize, usize),
    Search(Vec<i8>, Which, usize),
    Upsert(Vec<(usize, Vec<i8>)>),
}

/// A filter that both sides know.
#[derive(Clone, Debug)]
enum Which {
    All,
    Both(usize, bool),
    Even,
    Folder(usize),
    Listed(Vec<usize>),
    Taken(usize, usize),
}

/// An item of the list.
#[derive(Clone, Debug)]
struct Listed {
    id: hua_index::ItemId,
    number: usize,
    vector: Vec<f32>,
}

/// By path.
type List = BTreeMap<String, Listed>;

fn path(number: usize) -> String {
    format!("{}/{number}.jpg", ["a", "a/b", "c"][number % 3])
}

fn taken(number: usize) -> String {
    format!("20{:02}-06-15T12:00:00", number % 20)
}

fn item(number: usize) -> NewItem {
    NewItem {
        path: path(number),
        bytes: number as u64,
        facts: Facts { taken: Some(taken(number)), ..Facts::default() },
        tags: if number.is_multiple_of(2) { vec![Tag::new("even")] } else { vec![] },
        ..NewItem::default()
    }
}

/// Few different numbers, so that there are vectors at the same distance; never zero.
fn vector(numbers: &[i8]) -> Vec<f32> {
    let mut vector: Vec<f32> = numbers.iter().map(|&x| f32::from(x)).collect();
    vector[0] += 5.0;
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.iter().map(|x| x / length).collect()
}

impl Which {
    fn filter(&self, list: &List) -> Filter {
        let all = Filter::all();
        match self {
            Self::All => all,
            Self::Both(folder, tagged) => {
                let tagged = if *tagged { "" } else { "NOT " };
                all.and_folder(["a", "a/b", "c"][folder % 3])
                    .and_where(format!("{tagged}EXISTS (SELECT 1 FROM tags WHERE tags.item = items.id AND tag = 'even')"))
            }
            Self::Even => all.and_tag("even"),
            Self::Folder(i) => all.and_folder(["a", "a/b", "c", "none"][i % 4]),
            Self::Listed(chosen) => {
                let ids: Vec<_> = list.values().map(|item| item.id).collect();
                all.and_items(&chosen.iter().filter_map(|i| ids.get(i % ids.len().max(1)).copied()).collect::<Vec<_>>())
            }
            Self::Taken(from, to) => all.and_taken(Some(&format!("20{from:02}")), Some(&format!("20{to:02}"))),
        }
    }

    fn holds(&self, path: &str, item: &Listed, list: &List) -> bool {
        let below = |folder: &str| path.starts_with(&format!("{folder}/"));
        match self {
            Self::All => true,
            Self::Both(folder, tagged) => below(["a", "a/b", "c"][folder % 3]) && (item.number.is_multiple_of(2)) == *tagged,
            Self::Even => item.number.is_multiple_of(2),
            Self::Folder(i) => below(["a", "a/b", "c", "none"][i % 4]),
            Self::Listed(chosen) => {
                let ids: Vec<_> = list.values().map(|item| item.id).collect();
                chosen.iter().any(|i| ids.get(i % ids.len().max(1)) == Some(&item.id))
            }
            Self::Taken(from, to) => {
                let taken = taken(item.number);
                taken >= format!("20{from:02}") && taken < format!("20{to:02}")
            }
        }
    }
}

/// Does all to a store and to a list, and compares whenever something is asked.
fn behaves_as_a_list<S: Store>(open: impl Fn(&Path) -> S, stored_error: f32, acts: &[Act]) {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    // What was written, and what is committed.
    let (mut list, mut committed) = (List::new(), List::new());
    for act in acts {
        match act {
            Act::Commit => {
                store.commit().unwrap();
                committed = list.clone();
            }
            Act::Compact => {
                store.compact().unwrap();
                committed = list.clone();
            }
            Act::Delete(which) => {
                if let Some(path) = list.keys().nth(which % list.len().max(1)).cloned() {
                    let gone = list.remove(&path).unwrap();
                    assert!(store.delete(gone.id).unwrap());
                    assert!(!store.delete(gone.id).unwrap());
                }
            }
            Act::Open => {
                // One that is closed forgets what it did not commit.
                drop(store);
                store = open(folder.path());
                list = committed.clone();
            }
            Act::Rename(which, to) => {
                if let Some(from) = list.keys().nth(which % list.len().max(1)).cloned() {
                    let (to, id) = (path(*to), list[&from].id);
                    if list.get(&to).is_some_and(|other| other.id != id) {
                        assert!(matches!(store.rename(id, &to), Err(Error::PathTaken { .. })));
                    } else {
                        store.rename(id, &to).unwrap();
                        let item = list.remove(&from).unwrap();
                        list.insert(to, item);
                    }
                }
            }
            Act::Search(query, which, k) => compare(&store, &committed, &vector(query), which, *k, stored_error),
            Act::Upsert(items) => {
                for (number, numbers) in items {
                    let vector = vector(numbers);
                    let id = store.upsert(&item(*number), &vector).unwrap();
                    if let Some(old) = list.insert(path(*number), Listed { id, number: *number, vector }) {
                        assert_eq!(old.id, id, "an item keeps its id");
                    }
                }
            }
        }
    }
    store.commit().unwrap();
    let stats = store.stats().unwrap();
    assert_eq!(stats.items, list.len() as u64);
    assert_eq!(stats.spaces[0].vectors, list.len() as u64);
    compare(&store, &list, &vector(&[1; WIDTH]), &Which::All, 1000, stored_error);
}

fn compare(store: &impl Store, list: &List, query: &[f32], which: &Which, k: usize, stored_error: f32) {
    let hits = store.search(query, &which.filter(list), k).unwrap();
    let score = |vector: &[f32]| query.iter().zip(vector).map(|(a, b)| a * b).sum::<f32>();
    let mut wanted: Vec<_> =
        list.iter().filter(|(path, item)| which.holds(path, item, list)).map(|(_, item)| (score(&item.vector), item.id)).collect();
    wanted.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    assert_eq!(hits.len(), k.min(wanted.len()), "{which:?}");
    for (hit, wanted) in hits.iter().zip(&wanted) {
        assert!((hit.score - wanted.0).abs() <= stored_error, "{hit:?}, {wanted:?} wanted; {which:?}");
    }
    let scores: BTreeMap<_, _> = wanted.iter().map(|(score, id)| (*id, *score)).collect();
    for pair in hits.windows(2) {
        assert!(pair[0].score > pair[1].score || pair[0].score == pair[1].score && pair[0].item < pair[1].item, "{pair:?}");
    }
    for hit in &hits {
        let score = scores.get(&hit.item).unwrap_or_else(|| panic!("{hit:?} is not meant by {which:?}"));
        assert!((hit.score - score).abs() <= stored_error);
    }
}

fn numbers() -> impl Strategy<Value = Vec<i8>> {
    prop::collection::vec(-2..=2i8, WIDTH)
}

fn act() -> impl Strategy<Value = Act> {
    let which = prop_oneof![
        2 => Just(Which::All),
        1 => (0..3usize, any::<bool>()).prop_map(|(folder, tagged)| Which::Both(folder, tagged)),
        1 => Just(Which::Even),
        1 => (0..4usize).prop_map(Which::Folder),
        1 => prop::collection::vec(0..500usize, 0..8).prop_map(Which::Listed),
        1 => (0..20usize, 0..20usize).prop_map(|(from, to)| Which::Taken(from, to)),
    ];
    prop_oneof![
        4 => prop::collection::vec((0..200usize, numbers()), 1..40).prop_map(Act::Upsert),
        4 => (0..500usize).prop_map(Act::Delete),
        2 => (0..500usize, 0..200usize).prop_map(|(which, to)| Act::Rename(which, to)),
        3 => Just(Act::Commit),
        1 => Just(Act::Compact),
        1 => Just(Act::Open),
        5 => (numbers(), which, 0..40usize).prop_map(|(query, which, k)| Act::Search(query, which, k)),
    ]
}

fn library(dtype: StoredType) -> impl Fn(&Path) -> Library {
    move |path| {
        let make = || -> Result<Library> {
            let writer = match Writer::open(path) {
                Err(Error::NotALibrary { .. }) => {
                    let (fingerprint, preprocessing) = (String::new(), String::new());
                    Writer::create_with(path, &SpaceSpec { name: "one".into(), fingerprint, preprocessing, width: WIDTH, dtype }, 64)?
                }
                other => other?,
            };
            let reader = Reader::open(path)?;
            assert_eq!(reader.check()?.findings, []);
            let space = reader.spaces()[0].id;
            Ok(Library { writer, reader, space, cores: Cores::new(1, Isa::best()).unwrap() })
        };
        make().unwrap()
    }
}

fn cases(count: u32) -> ProptestConfig {
    ProptestConfig { cases: count, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn a_library_in_f32_behaves_as_a_list(acts in prop::collection::vec(act(), 1..60)) {
        behaves_as_a_list(library(StoredType::F32), 1e-6, &acts);
    }

    #[test]
    fn a_library_in_f16_behaves_as_a_list(acts in prop::collection::vec(act(), 1..60)) {
        behaves_as_a_list(library(StoredType::F16), 5e-4, &acts);
    }
}
