//! Another model for a library's pictures.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64};

use hua::index::{SpaceState, StoredType};
use hua::library::{IngestOptions, MigrateOptions, Migrated, ingest, migrate};
use hua::{Embedder, Error, NoProgress, Progress};

use crate::{Place, StopAfter, embedder, other, vectors};

fn options(stop: &AtomicBool) -> MigrateOptions<'_> {
    MigrateOptions { remove_old: false, leave_missing: false, dtype: StoredType::F16, data: hua::data::Options::default(), stop }
}

fn migrate_to(place: &Place, embedder: &Embedder, progress: &dyn Progress, stop: &AtomicBool) -> Migrated {
    migrate(&place.library(), embedder, &options(stop), progress).unwrap()
}

fn refused(place: &Place, embedder: &Embedder) -> bool {
    let stop = AtomicBool::new(false);
    let outcome = ingest(&place.library(), embedder, &[place.photos()], &IngestOptions::new(&stop), &NoProgress);
    matches!(outcome, Err(Error::LibraryModel { .. }))
}

#[test]
fn the_old_model_answers_until_every_picture_has_its_new_vector() {
    let place = Place::new();
    for number in 0..200 {
        place.picture(&format!("{number}.png"), number % 150);
    }
    place.ingest();
    let before = vectors(&place.reader());
    let stop = AtomicBool::new(false);
    let done = migrate_to(&place, other(), &StopAfter(AtomicU64::new(2), &stop), &stop);
    assert!(done.stopped && !done.switched && done.embedded > 0 && done.missing > 0, "{done:?}");
    assert_eq!(vectors(&place.reader()), before);
    assert!(refused(&place, other()) && !refused(&place, embedder()));

    // What comes meanwhile is filled in too.
    place.picture("late.png", 180);
    place.ingest();
    let stop = AtomicBool::new(false);
    let rest = migrate_to(&place, other(), &NoProgress, &stop);
    assert!(rest.switched, "{rest:?}");
    assert_eq!((done.embedded + rest.embedded, rest.missing), (201, 0));
    assert!(refused(&place, embedder()) && !refused(&place, other()));

    // The new vectors are those that the other model makes.
    let fresh = place.library().with_file_name("fresh");
    ingest(&fresh, other(), &[place.photos()], &IngestOptions::new(&stop), &NoProgress).unwrap();
    assert_eq!(vectors(&place.reader()), vectors(&hua::index::Reader::open(&fresh).unwrap()));
    assert!(place.reader().check().unwrap().findings.is_empty());

    // And back, which costs only what came since: nothing.
    let back = migrate_to(&place, embedder(), &NoProgress, &stop);
    assert_eq!((back.embedded, back.switched), (0, true), "{back:?}");
}

#[test]
fn a_picture_that_cannot_be_read_holds_the_switch_back_unless_it_is_left() {
    let place = Place::new();
    place.picture("a.png", 1);
    place.picture("b.png", 2);
    place.ingest();
    fs::remove_file(place.photo("b.png")).unwrap();
    let stop = AtomicBool::new(false);
    let done = migrate_to(&place, other(), &NoProgress, &stop);
    assert_eq!((done.embedded, done.missing, done.switched, done.failures.len()), (1, 1, false, 1), "{done:?}");
    let options = MigrateOptions { leave_missing: true, remove_old: true, ..options(&stop) };
    let done = migrate(&place.library(), other(), &options, &NoProgress).unwrap();
    assert_eq!((done.embedded, done.missing, done.switched, done.removed.len()), (0, 1, true, 1), "{done:?}");
    let reader = place.reader();
    assert_eq!(reader.spaces().iter().map(|space| space.state).collect::<Vec<_>>(), [SpaceState::Live]);
    assert_eq!(vectors(&reader).keys().collect::<Vec<_>>(), [&place.name("a.png")]);
}
