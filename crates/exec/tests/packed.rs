//! Files of packed weights: used in place, and made anew whenever they are not what they should be.
#![allow(clippy::unwrap_used, reason = "tests")]
mod common;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use common::{Random, VitSizes, vit};
use hua_exec::{Batch, Cpu, Device, PackedCache, Precision, Rows};
use hua_graph::{Graph, Weights};

struct Case {
    graph: Graph,
    weights: Weights,
    pixels: Vec<f32>,
    folder: tempfile::TempDir,
}

impl Case {
    fn new() -> Self {
        let graph = vit(&VitSizes { side: 16, patch: 4, width: 24, layers: 1, heads: 2, out: 4 });
        let mut random = Random(3);
        let (weights, pixels) = (random.weights(&graph), random.normals(2 * 3 * 16 * 16, 1.0));
        Self { graph, weights, pixels, folder: tempfile::tempdir().unwrap() }
    }

    fn cache(&self) -> PackedCache {
        PackedCache { folder: self.folder.path().join("packed"), model: "a model".into(), write: true }
    }

    fn run(&self, precision: Precision, packed: Option<PackedCache>) -> Rows {
        let device = Cpu { threads: 1, precision, packed, ..Cpu::default() };
        let program = device.load(&self.graph, &self.weights).unwrap();
        program.run(&Batch::Images(&self.pixels), &["embedding"]).unwrap().remove(0)
    }

    fn files(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.folder.path().join("packed"));
        files.map(|files| files.map(|file| file.unwrap().path()).collect()).unwrap_or_default()
    }

    /// The only file.
    fn file(&self) -> PathBuf {
        let files = self.files();
        assert_eq!(files.len(), 1, "{files:?}");
        files.into_iter().next().unwrap()
    }
}

fn write_at(path: &Path, at: usize, change: impl Fn(&mut [u8])) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes[at..]);
    fs::write(path, bytes).unwrap();
}

#[test]
fn weights_of_a_file_give_the_same_bits_and_are_used_where_they_lie() {
    for precision in Precision::ALL {
        let case = Case::new();
        let law = case.run(precision, None);
        assert_eq!(case.run(precision, Some(case.cache())), law);
        let (path, bytes) = (case.file(), fs::read(case.file()).unwrap());
        assert!(bytes.starts_with(b"hua packed weights, version "));
        assert_eq!(case.run(precision, Some(case.cache())), law);
        assert_eq!(fs::read(case.file()).unwrap(), bytes);
        // Who only reads finds it too. That it is read in place shows when its matrices are others.
        let reader = PackedCache { write: false, ..case.cache() };
        assert_eq!(case.run(precision, Some(reader.clone())), law);
        write_at(&path, bytes.len() / 2, |bytes| bytes.fill(0));
        assert_ne!(case.run(precision, Some(reader)), law);
    }
}

#[test]
fn a_file_that_is_stale_foreign_cut_or_damaged_is_made_anew() {
    let case = Case::new();
    let law = case.run(Precision::Int8, Some(case.cache()));
    let (path, good) = (case.file(), fs::read(case.file()).unwrap());
    let text = good.windows(4).position(|bytes| bytes == b"end\n").unwrap() + 4;
    let mut random = Random(11);
    let mut damaged: Vec<Vec<u8>> = vec![vec![], b"hua packed weights".to_vec(), good[..text].to_vec(), [&good[..], b"\0"].concat()];
    damaged.extend((0..20).map(|_| good[..random.size(0, good.len() - 1)].to_vec()));
    damaged.extend((0..60).map(|_| {
        let mut bytes = good.clone();
        bytes[random.size(0, text - 1)] ^= 1 << random.size(0, 7);
        bytes
    }));
    for bytes in damaged {
        fs::write(&path, &bytes).unwrap();
        // A reader does without.
        assert_eq!(case.run(Precision::Int8, Some(PackedCache { write: false, ..case.cache() })), law);
        assert!(fs::read(&path).unwrap() == bytes);
        assert_eq!(case.run(Precision::Int8, Some(case.cache())), law);
        assert!(fs::read(case.file()).unwrap() == good);
    }
}

#[test]
fn models_and_precisions_have_files_of_their_own() {
    let case = Case::new();
    let laws = Precision::ALL.map(|precision| case.run(precision, Some(case.cache())));
    case.run(Precision::Int8, Some(PackedCache { model: "another\nmodel".into(), ..case.cache() }));
    assert_eq!(case.files().len(), 4);
    assert_eq!(Precision::ALL.map(|precision| case.run(precision, Some(case.cache()))), laws);
    // A file under another's name is foreign, whatever it holds.
    let [first, second] = [&case.files()[0], &case.files()[1]];
    fs::copy(first, second).unwrap();
    assert_eq!(Precision::ALL.map(|precision| case.run(precision, Some(case.cache()))), laws);
}

#[test]
fn what_cannot_be_written_is_done_without() {
    let case = Case::new();
    let law = case.run(Precision::Int8, None);
    // The folder is a file; the file is a folder.
    let blocked = case.folder.path().join("blocked");
    fs::write(&blocked, b"").unwrap();
    for folder in [blocked.clone(), blocked.join("deeper")] {
        assert_eq!(case.run(Precision::Int8, Some(PackedCache { folder, ..case.cache() })), law);
    }
    case.run(Precision::Int8, Some(case.cache()));
    let path = case.file();
    fs::remove_file(&path).unwrap();
    fs::create_dir_all(path.join("inside")).unwrap();
    assert_eq!(case.run(Precision::Int8, Some(case.cache())), law);
    assert_eq!(case.files(), [path]);
}

#[test]
fn what_killed_processes_left_is_never_read_and_goes_in_time() {
    let case = Case::new();
    let folder = case.cache().folder;
    fs::create_dir_all(&folder).unwrap();
    for (name, age) in [("old.1-1.unfinished", 7200), ("new.2-1.unfinished", 10), ("other", 7200)] {
        let file = File::create(folder.join(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
    }
    case.run(Precision::Int8, Some(case.cache()));
    let mut names: Vec<_> = case.files().iter().map(|path| path.extension().map(|e| e.to_string_lossy().into_owned())).collect();
    names.sort();
    assert_eq!(names, [None, Some("packed".into()), Some("unfinished".into())]);
    assert!(!folder.join("old.1-1.unfinished").exists());
}
