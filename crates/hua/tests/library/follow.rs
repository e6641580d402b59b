//! A library that follows its folder.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hua::NoProgress;
use hua::index::{Reader, Writer};
use hua::library::{IngestOptions, Watched, watch};

use crate::{Place, embedder, items, picture};

/// Waits until the library has what is wanted; the system takes its time to tell of changes.
fn wait(place: &Place, wanted: &[&str]) {
    let begun = Instant::now();
    let mut wanted: Vec<String> = wanted.iter().map(|name| place.name(name)).collect();
    wanted.sort();
    loop {
        let found: Vec<String> = Reader::open(&place.library()).map(|reader| items(&reader).into_keys().collect()).unwrap_or_default();
        if found == wanted {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "found {found:?}, wanted {wanted:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_happens_in_a_followed_folder_happens_in_the_library() {
    let place = Place::new();
    place.picture("a.png", 1);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut renamed = 0;
            let each = |watched: Watched<'_>| {
                if let Watched::Ingested(done) = watched {
                    renamed += done.renamed;
                }
            };
            watch(&place.library(), embedder(), &[place.photos()], &IngestOptions::new(&stop), &NoProgress, each).unwrap();
            renamed
        });
        wait(&place, &["a.png"]);
        place.picture("b.png", 2);
        place.write(".hidden.png", &picture(3));
        place.write("notes.txt", b"no picture");
        wait(&place, &["a.png", "b.png"]);
        fs::rename(place.photo("b.png"), place.photo("c.png")).unwrap();
        wait(&place, &["a.png", "c.png"]);
        fs::create_dir_all(place.photos().with_file_name("aside/sub")).unwrap();
        fs::write(place.photos().with_file_name("aside/sub/d.png"), picture(4)).unwrap();
        fs::rename(place.photos().with_file_name("aside"), place.photo("new")).unwrap();
        wait(&place, &["a.png", "c.png", "new/sub/d.png"]);
        place.write("a.txt", b"words");
        let begun = Instant::now();
        while place.items()[&place.name("a.png")].captions.is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(50));
        }
        // While somebody else writes, changes wait.
        let writer = Writer::open(&place.library()).unwrap();
        fs::remove_dir_all(place.photo("new")).unwrap();
        std::thread::sleep(Duration::from_millis(900));
        assert_eq!(place.items().len(), 3);
        drop(writer);
        wait(&place, &["a.png", "c.png"]);
        stop.store(true, Ordering::Relaxed);
        assert_eq!(watcher.join().unwrap(), 1);
    });
}
