//! Files that make trouble: each is taken in or reported, and none ends the run.

use std::fs;

use hua::image::Picture;

use crate::{Place, picture, vectors};

#[test]
fn files_that_make_trouble_are_taken_in_or_reported() {
    let place = Place::new();
    let good = picture(7);
    place.write("cut.png", &good[..good.len() / 2]);
    place.write("empty.png", b"");
    place.write("really a png.jpg", &good);
    place.write("צילום בחוף.png", &good);
    place.write("e\u{301}.png", &good);
    place.write("é.png", &good);
    place.write("new\nline!and#marks.png", &good);
    place.write("bomb.png", &bomb());
    let wide = Picture::from_rgb8(4000, 1, [9, 9, 9].repeat(4000)).unwrap();
    place.write("wide.png", &wide.encode_png());
    fs::create_dir(place.photo("folder.png")).unwrap();
    let (mut good_ones, mut bad) = (6, 3);
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        std::os::unix::fs::symlink(place.photos(), place.photo("round")).unwrap();
        std::os::unix::fs::symlink("nowhere.png", place.photo("dangling.png")).unwrap();
        bad += 1;
        let odd = std::ffi::OsStr::from_bytes(b"no \xff unicode.png");
        if fs::write(place.photos().join(odd), &good).is_ok() {
            good_ones += 1;
        }
    }
    let done = place.ingest();
    let told: Vec<_> = place.reader().errors().unwrap().into_iter().map(|error| (error.path, error.reason)).collect();
    assert_eq!((done.added, done.failed), (good_ones, bad), "{told:?}");
    assert!(told.iter().all(|(_, reason)| !reason.is_empty()), "{told:?}");
    assert_eq!(vectors(&place.reader()).len() as u64, good_ones);
    let done = place.ingest();
    assert_eq!((done.unchanged, done.added, done.renamed, done.removed), (good_ones, 0, 0, 0), "{done:?}");
}

/// A picture that says it has 65,535 × 65,535 pixels.
fn bomb() -> Vec<u8> {
    let mut png = picture(1);
    png[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
    png
}

#[path = "../../../../tests/golden/difficult/mod.rs"]
mod corpus;

#[test]
fn each_of_the_difficult_files_is_in_the_library_or_among_its_errors() {
    let place = Place::new();
    let files = corpus::make(&place.photos());
    let done = place.ingest();
    let reader = place.reader();
    let errors: Vec<String> = reader.errors().unwrap().into_iter().map(|error| error.path).collect();
    for file in &files {
        let name = place.name(file.name);
        let found = (reader.item_at(&name).unwrap().is_some(), errors.contains(&name));
        assert_eq!(found, (file.sound, !file.sound), "`{name}`, {done:?}, {errors:#?}");
    }
    assert_eq!(done.added + done.failed, files.len() as u64);
}
