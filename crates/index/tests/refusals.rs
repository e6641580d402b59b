//! Libraries that cannot be opened, read or written: an error that names the file, what was found and what was wanted.
#![allow(clippy::unwrap_used, reason = "tests")]
use std::fs;
use std::path::Path;
use std::process::Command;

use hua_index::{Error, Filter, NewItem, Reader, SpaceSpec, StoredType, Writer};

fn spec() -> SpaceSpec {
    SpaceSpec { name: "main".into(), fingerprint: "f".into(), preprocessing: "p".into(), width: 8, dtype: StoredType::F16 }
}

fn filled(path: &Path) {
    let mut writer = Writer::create(path, &spec()).unwrap();
    let space = writer.spaces().unwrap()[0].id;
    for i in 0..10 {
        let id = writer.upsert(&NewItem { path: format!("{i}"), ..NewItem::default() }).unwrap();
        let mut vector = [0.1; 8];
        vector[i % 8] = 1.0;
        writer.set_vector(space, id, &vector).unwrap();
    }
    writer.commit().unwrap();
}

#[test]
fn a_second_writer_is_told_who_writes() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    let first = Writer::open(folder.path()).unwrap();
    let Err(Error::Locked { pid, .. }) = Writer::open(folder.path()) else { panic!("two writers") };
    if cfg!(unix) {
        assert_eq!(pid, Some(std::process::id()));
    }
    assert!(matches!(Writer::create(folder.path(), &spec()), Err(Error::Locked { .. })));
    Reader::open(folder.path()).unwrap();
    drop(first);
    Writer::open(folder.path()).unwrap();
}

#[test]
fn what_is_no_library_is_told_from_what_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for result in [Reader::open(path).map(drop), Writer::open(path).map(drop), Reader::open(&path.join("none")).map(drop)] {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::NotALibrary { .. }) && error.hint().is_some(), "{error}");
    }
    assert!(!path.join("lock").exists());
    // One that was stopped while it was made.
    fs::write(path.join("catalogue.sqlite"), "").unwrap();
    assert!(matches!(Reader::open(path), Err(Error::NotALibrary { .. })));
    filled(path);
    let error = Writer::create(path, &spec()).unwrap_err();
    assert!(matches!(error, Error::Exists { .. }), "{error}");
    // A file that is no database.
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("catalogue.sqlite"), vec![7; 5000]).unwrap();
    let error = Reader::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("catalogue.sqlite") && error.to_string().contains("not a database"), "{error}");
}

#[test]
fn catalogues_of_others_and_of_newer_versions_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = folder.path().join("catalogue.sqlite");
    let db = rusqlite::Connection::open(&catalogue).unwrap();
    db.execute_batch("CREATE TABLE theirs (x); PRAGMA application_id = 7").unwrap();
    drop(db);
    let before = fs::read(&catalogue).unwrap();
    for result in
        [Reader::open(folder.path()).map(drop), Writer::open(folder.path()).map(drop), Writer::create(folder.path(), &spec()).map(drop)]
    {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Foreign { found: 7, .. }), "{error}");
        assert!(error.hint().is_some());
    }
    assert_eq!(fs::read(&catalogue).unwrap(), before);

    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    let db = rusqlite::Connection::open(folder.path().join("catalogue.sqlite")).unwrap();
    db.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(db);
    for result in [Reader::open(folder.path()).map(drop), Writer::open(folder.path()).map(drop)] {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Version { found: 99, wanted: 1, .. }), "{error}");
        assert!(error.hint().unwrap().contains("newer"));
    }
}

#[test]
fn segments_that_are_short_or_gone_are_named_with_both_lengths() {
    for gone in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path());
        let file = folder.path().join("vectors/1/000000.i8");
        if gone {
            fs::remove_file(&file).unwrap();
        } else {
            fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(100).unwrap();
        }
        for result in [Reader::open(folder.path()).map(drop), Writer::open(folder.path()).map(drop)] {
            let Err(Error::Segment { path, found, wanted }) = result else { panic!("it opened") };
            assert_eq!((path, found, wanted), (file.clone(), if gone { 0 } else { 100 }, 320));
        }
    }
}

#[test]
fn a_bit_that_flipped_is_found() {
    for name in ["000000.f16", "000000.i8", "000000.scale"] {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path());
        let file = folder.path().join("vectors/1").join(name);
        let mut bytes = fs::read(&file).unwrap();
        bytes[17] ^= 4;
        fs::write(&file, &bytes).unwrap();
        let findings = Reader::open(folder.path()).unwrap().check().unwrap().findings;
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].file.ends_with(name) && findings[0].what.contains("0..10"), "{findings:?}");
    }
}

#[test]
fn what_does_not_fit_together_is_found() {
    for (sql, what) in [
        ("DELETE FROM items WHERE id = 3", "item 3 is not there, but has vectors"),
        ("DELETE FROM vectors WHERE item = 3", "9 rows have an item, 10 should"),
        ("UPDATE vectors SET row = 77 WHERE item = 3", "row 77 of space 1 is in no segment"),
        ("DELETE FROM batches", "batches have 0 rows, 10 wanted"),
        ("DELETE FROM words WHERE rowid = 4", "item 4 is there with no words"),
        ("INSERT INTO captions VALUES (99, 0, NULL, 'x')", "item 99 is not there, but has captions"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path());
        let db = rusqlite::Connection::open(folder.path().join("catalogue.sqlite")).unwrap();
        db.execute_batch(sql).unwrap();
        let findings = Reader::open(folder.path()).unwrap().check().unwrap().findings;
        assert!(findings.iter().any(|finding| finding.what.contains(what)), "{sql}: {findings:?}");
    }
}

#[test]
fn a_catalogue_that_says_what_cannot_be_is_damaged_and_not_believed() {
    for sql in [
        "UPDATE spaces SET width = 1000000000",
        "UPDATE spaces SET segment_rows = 0",
        "UPDATE segments SET rows = -1",
        "UPDATE segments SET rows = 1000000000000",
        "UPDATE segments SET number = -5",
        "UPDATE segments SET dead = 11",
    ] {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path());
        let db = rusqlite::Connection::open(folder.path().join("catalogue.sqlite")).unwrap();
        db.execute_batch(sql).unwrap();
        for result in [Reader::open(folder.path()).map(drop), Writer::open(folder.path()).map(drop)] {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Damaged { .. }), "{sql}: {error}");
        }
    }
}

/// What a user without rights finds. Folders say nothing to root, so that it needs a process of another user.
#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_written_is_read_and_not_written() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    if let Ok(path) = std::env::var("HUA_INDEX_TEST_READ_ONLY") {
        let path = Path::new(&path);
        let error = Writer::open(path).unwrap_err();
        assert!(error.to_string().contains("lock") && error.hint().is_some_and(|hint| hint.contains("searched")), "{error}");
        let reader = Reader::open(path).unwrap();
        assert_eq!(reader.count(&Filter::all()).unwrap(), 10);
        assert_eq!(reader.check().unwrap().findings, []);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("ro?#%20");
    filled(&library);
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // Nobody can run this very program if it lies in a folder of one's own.
    let program = folder.path().join("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let modes = |folder_mode, file_mode| {
        for path in walk(&library) {
            fs::set_permissions(&path, fs::Permissions::from_mode(if path.is_dir() { folder_mode } else { file_mode })).unwrap();
        }
    };
    modes(0o555, 0o444);
    let mut command = Command::new(&program);
    command.args(["--exact", "a_folder_that_cannot_be_written_is_read_and_not_written", "--nocapture"]);
    command.env("HUA_INDEX_TEST_READ_ONLY", &library).current_dir("/");
    // Only root may; others have no rights to lose.
    if fs::write(library.join("probe"), "").is_ok() {
        fs::remove_file(library.join("probe")).unwrap();
        command.uid(65_534).gid(65_534);
    }
    let output = command.output().unwrap();
    modes(0o755, 0o644);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[cfg(unix)]
fn walk(path: &Path) -> Vec<std::path::PathBuf> {
    let mut all = vec![path.to_path_buf()];
    if path.is_dir() {
        all.extend(fs::read_dir(path).unwrap().flat_map(|entry| walk(&entry.unwrap().path())));
    }
    all
}
