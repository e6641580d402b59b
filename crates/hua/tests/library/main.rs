//! Libraries as their users see them: a folder of pictures goes in, changes, and goes in again.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod difficult;
mod follow;
mod migrate;
mod property;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use hua::image::Picture;
use hua::index::{Filter, Item, Reader, SpaceState, Writer};
use hua::library::{IngestOptions, Ingested, ingest};
use hua::{Embedder, Error, NoProgress, OpenOptions, Progress};

/// The built-in model, with two threads so that there is something to get out of order.
pub(crate) fn embedder() -> &'static Embedder {
    static EMBEDDER: OnceLock<Embedder> = OnceLock::new();
    EMBEDDER.get_or_init(|| Embedder::embedded(&OpenOptions { threads: 2, ..OpenOptions::default() }).unwrap())
}

/// The same model, which makes other vectors of the same pictures.
pub(crate) fn other() -> &'static Embedder {
    static EMBEDDER: OnceLock<Embedder> = OnceLock::new();
    EMBEDDER.get_or_init(|| Embedder::embedded(&OpenOptions { threads: 2, compat: true, ..OpenOptions::default() }).unwrap())
}

/// A folder of pictures and a library of them.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir(place.photos()).unwrap();
        place
    }

    pub(crate) fn photos(&self) -> PathBuf {
        self.0.path().join("photos")
    }

    pub(crate) fn library(&self) -> PathBuf {
        self.0.path().join("library")
    }

    pub(crate) fn photo(&self, name: &str) -> PathBuf {
        self.photos().join(name)
    }

    /// The name under which a library knows a picture.
    pub(crate) fn name(&self, name: &str) -> String {
        self.photos().canonicalize().unwrap().join(name).to_str().unwrap().to_owned()
    }

    /// Writes a file that was changed later than every other.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.photo(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        self.touch(name);
    }

    /// A picture of its own for each number.
    pub(crate) fn picture(&self, name: &str, number: u8) {
        self.write(name, &picture(number));
    }

    pub(crate) fn touch(&self, name: &str) {
        static CLOCK: AtomicU64 = AtomicU64::new(1_700_000_000);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(CLOCK.fetch_add(1, Ordering::Relaxed));
        File::options().write(true).open(self.photo(name)).unwrap().set_modified(time).unwrap();
    }

    pub(crate) fn ingest(&self) -> Ingested {
        self.ingest_with(|_| {}).unwrap()
    }

    pub(crate) fn ingest_with(&self, change: impl FnOnce(&mut IngestOptions<'_>)) -> Result<Ingested, Error> {
        let stop = AtomicBool::new(false);
        let mut options = IngestOptions::new(&stop);
        change(&mut options);
        ingest(&self.library(), embedder(), &[self.photos()], &options, &NoProgress)
    }

    pub(crate) fn reader(&self) -> Reader {
        Reader::open(&self.library()).unwrap()
    }

    pub(crate) fn items(&self) -> BTreeMap<String, Item> {
        items(&self.reader())
    }
}

pub(crate) fn picture(number: u8) -> Vec<u8> {
    let pixels: Vec<u8> = (0..64_u32).flat_map(|at| [number.wrapping_mul(37), (at * u32::from(number) % 256) as u8, 200]).collect();
    Picture::from_rgb8(8, 8, pixels).unwrap().encode_png()
}

/// All items by path.
pub(crate) fn items(reader: &Reader) -> BTreeMap<String, Item> {
    let ids = reader.items(&Filter::all()).unwrap();
    ids.into_iter().map(|id| reader.item(id).unwrap().unwrap()).map(|item| (item.path.clone(), item)).collect()
}

/// The vectors that answer, by path.
pub(crate) fn vectors(reader: &Reader) -> BTreeMap<String, Vec<f32>> {
    let space = reader.spaces().iter().find(|space| space.state == SpaceState::Live).unwrap().id;
    let row = |(path, item): (String, Item)| Some((path, reader.vector(space, item.id).unwrap()?));
    items(reader).into_iter().filter_map(row).collect()
}

#[test]
fn pictures_come_in_in_the_order_of_their_paths_with_what_stands_beside_them() {
    let place = Place::new();
    for (number, name) in ["b.png", "a.png", "c/虹.png", "d.png"].into_iter().enumerate() {
        place.picture(name, number as u8);
    }
    place.picture("a copy.png", 3);
    place.write("a.txt", b"a red one");
    let done = place.ingest();
    assert_eq!((done.added, done.shared, done.failed), (5, 1, 0), "{done:?}");
    let items = place.items();
    let mut by_id: Vec<&Item> = items.values().collect();
    by_id.sort_by_key(|item| item.id);
    assert!(by_id.windows(2).all(|pair| pair[0].path < pair[1].path));
    assert_eq!(items[&place.name("a.png")].captions[0].text, "a red one");
    let facts = &items[&place.name("c/虹.png")].facts;
    assert_eq!((facts.width, facts.height, facts.format.as_deref()), (Some(8), Some(8), Some("png")));
    let vectors = vectors(&place.reader());
    assert_eq!(vectors[&place.name("a copy.png")], vectors[&place.name("d.png")]);
    assert_ne!(vectors[&place.name("a.png")], vectors[&place.name("b.png")]);
    assert_eq!(hua::library::sources(&place.reader()).unwrap(), [place.photos().canonicalize().unwrap()]);
}

#[test]
fn what_is_known_is_not_read_again() {
    let place = Place::new();
    place.picture("a.png", 1);
    place.picture("b.png", 2);
    place.ingest();
    let before = place.items();
    let done = place.ingest();
    assert_eq!((done.unchanged, done.added + done.changed + done.removed + done.described), (2, 0), "{done:?}");
    // Another time of change and the same content: nothing is embedded.
    place.touch("a.png");
    let done = place.ingest();
    assert_eq!((done.unchanged, done.changed), (2, 0), "{done:?}");
    let after = place.items();
    assert_ne!(before[&place.name("a.png")].modified, after[&place.name("a.png")].modified);
    assert_eq!(before[&place.name("b.png")], after[&place.name("b.png")]);
    // Other words beside it.
    place.write("b.txt", "ein Haus".as_bytes());
    let done = place.ingest();
    assert_eq!((done.unchanged, done.described), (2, 1), "{done:?}");
    assert_eq!(place.items()[&place.name("b.png")].captions[0].text, "ein Haus");
    assert_eq!(place.ingest().described, 0);
}

#[test]
fn a_renamed_file_keeps_its_item_and_its_vector() {
    let place = Place::new();
    place.picture("old/a.png", 1);
    place.picture("b.png", 2);
    place.ingest();
    let (before, vectors_before) = (place.items(), vectors(&place.reader()));
    fs::rename(place.photo("old"), place.photo("new")).unwrap();
    let done = place.ingest();
    assert_eq!((done.renamed, done.added, done.removed), (1, 0, 0), "{done:?}");
    let (after, vectors_after) = (place.items(), vectors(&place.reader()));
    assert_eq!(after.len(), 2);
    assert_eq!(before[&place.name("old/a.png")].id, after[&place.name("new/a.png")].id);
    assert_eq!(vectors_before[&place.name("old/a.png")], vectors_after[&place.name("new/a.png")]);
}

#[test]
fn a_picture_that_fails_is_noted_and_tried_again_when_it_changes_or_on_demand() {
    let place = Place::new();
    place.picture("a.png", 1);
    place.write("b.png", b"no picture");
    place.write("c.png", b"no picture");
    let done = place.ingest();
    assert_eq!((done.added, done.failed, done.failures.len()), (1, 2, 2), "{done:?}");
    let done = place.ingest();
    assert_eq!((done.failed, done.failed_before), (0, 2), "{done:?}");
    assert_eq!(place.ingest_with(|options| options.retry = true).unwrap().failed, 2);
    let paths: Vec<String> = place.reader().errors().unwrap().into_iter().map(|error| error.path).collect();
    assert_eq!(paths, [place.name("b.png"), place.name("c.png")]);
    place.picture("b.png", 2);
    fs::remove_file(place.photo("c.png")).unwrap();
    // A picture that was good and is no more.
    place.write("a.png", b"spilt milk");
    let done = place.ingest();
    assert_eq!((done.added, done.failed), (1, 1), "{done:?}");
    let paths: Vec<String> = place.reader().errors().unwrap().into_iter().map(|error| error.path).collect();
    assert_eq!(paths, [place.name("a.png")]);
    assert_eq!(place.items().keys().collect::<Vec<_>>(), [&place.name("b.png")]);
}

#[test]
fn a_folder_that_is_gone_or_empty_keeps_its_pictures_until_it_is_to_be_forgotten() {
    let place = Place::new();
    place.picture("a.png", 1);
    place.write("bad.png", b"");
    place.ingest();
    let aside = place.photos().with_file_name("aside");
    fs::rename(place.photos(), &aside).unwrap();
    // The folder of a disk that is not mounted.
    for empty in [false, true] {
        if empty {
            fs::create_dir(place.photos()).unwrap();
        }
        let done = place.ingest();
        assert_eq!((done.removed, done.kept.len()), (0, 1), "{done:?}");
        assert_eq!((done.kept[0].pictures, done.kept[0].empty), (1, empty));
        assert_eq!(place.items().len(), 1);
    }
    let done = place.ingest_with(|options| options.forget = true).unwrap();
    assert_eq!((done.removed, done.kept.len(), place.items().len()), (1, 0, 0), "{done:?}");
    assert!(place.reader().errors().unwrap().is_empty());
}

#[test]
fn a_folder_that_was_never_there_is_the_callers_fault() {
    let place = Place::new();
    let stop = AtomicBool::new(false);
    let missing = place.photo("none");
    let outcome = ingest(&place.library(), embedder(), std::slice::from_ref(&missing), &IngestOptions::new(&stop), &NoProgress);
    assert!(matches!(outcome.unwrap_err(), Error::Io { path, .. } if path.ends_with("photos/none")));
}

#[test]
fn only_what_was_walked_can_be_gone() {
    let place = Place::new();
    place.picture("a/1.png", 1);
    place.picture("b/2.png", 2);
    place.picture("b/3.png", 3);
    place.ingest();
    fs::remove_file(place.photo("a/1.png")).unwrap();
    fs::remove_file(place.photo("b/2.png")).unwrap();
    let stop = AtomicBool::new(false);
    let done = ingest(&place.library(), embedder(), &[place.photo("b")], &IngestOptions::new(&stop), &NoProgress).unwrap();
    assert_eq!((done.removed, done.unchanged), (1, 1));
    assert_eq!(place.items().keys().collect::<Vec<_>>(), [&place.name("a/1.png"), &place.name("b/3.png")]);
    // Without a source, all that it was made from.
    let done = ingest(&place.library(), embedder(), &[], &IngestOptions::new(&stop), &NoProgress).unwrap();
    assert_eq!((done.removed, done.unchanged), (1, 1));
}

/// Asks for the end after so many pictures.
struct StopAfter<'a>(AtomicU64, &'a AtomicBool);

impl Progress for StopAfter<'_> {
    fn start(&self, _: &str, _: u64) {}
    fn advance(&self, steps: u64) {
        if self.0.fetch_sub(steps, Ordering::Relaxed) <= steps {
            self.1.store(true, Ordering::Relaxed);
        }
    }
    fn finish(&self) {}
}

#[test]
fn a_run_that_is_stopped_loses_nothing_and_takes_nothing_out() {
    let place = Place::new();
    for number in 0..119 {
        place.picture(&format!("{number:03}.png"), number);
    }
    place.picture("gone.png", 250);
    place.ingest();
    fs::remove_file(place.photo("gone.png")).unwrap();
    for number in 0..200 {
        place.picture(&format!("more/{number:03}.png"), number);
    }
    let stop = AtomicBool::new(false);
    let options = IngestOptions::new(&stop);
    let done = ingest(&place.library(), embedder(), &[place.photos()], &options, &StopAfter(AtomicU64::new(3), &stop)).unwrap();
    assert!(done.stopped && done.removed == 0, "{done:?}");
    let taken = done.added as usize;
    assert_eq!(place.items().len(), 120 + taken);
    let done = place.ingest();
    assert!(!done.stopped);
    assert_eq!((done.added as usize, done.removed), (200 - taken, 1));
    assert_eq!(vectors(&place.reader()).len(), 319);
}

#[test]
fn a_second_writer_is_told_that_there_is_one() {
    let place = Place::new();
    place.picture("a.png", 1);
    place.ingest();
    let writer = Writer::open(&place.library()).unwrap();
    let error = place.ingest_with(|_| {}).unwrap_err();
    assert!(matches!(error, Error::Index(hua::index::Error::Locked { .. })), "{error}");
    assert!(error.hint().is_some());
    drop(writer);
    place.ingest();
}

#[test]
fn another_model_is_refused_with_both_names_and_what_to_do() {
    let place = Place::new();
    place.picture("a.png", 1);
    place.ingest();
    let stop = AtomicBool::new(false);
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/models/chinese-clip-hf");
    let golden = Embedder::open(model).unwrap();
    for (embedder, name) in [(&golden, "chinese-clip-hf"), (other(), "compat")] {
        let error = ingest(&place.library(), embedder, &[place.photos()], &IngestOptions::new(&stop), &NoProgress).unwrap_err();
        let told = error.to_string();
        assert!(told.contains("hua-emoji-9l") && told.contains(name), "{told}");
        assert!(error.hint().unwrap().contains("hua index migrate"), "{:?}", error.hint());
    }
}

#[test]
fn a_folder_with_other_files_does_not_become_a_library() {
    let place = Place::new();
    place.picture("a.png", 1);
    let stop = AtomicBool::new(false);
    let outcome = ingest(&place.photos(), embedder(), &[place.photos()], &IngestOptions::new(&stop), &NoProgress);
    assert!(matches!(outcome.unwrap_err(), Error::NotEmpty { .. }));
    // Nor does one that cannot be made.
    let outcome = ingest(&place.photo("a.png/library"), embedder(), &[place.photos()], &IngestOptions::new(&stop), &NoProgress);
    assert!(outcome.is_err());
}
