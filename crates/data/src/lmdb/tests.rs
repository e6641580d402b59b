//! Damaged files; `tests/golden.rs` has the sound ones.
use super::*;
use crate::Sources;

fn golden(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/data/datasets/toy/lmdb/valid").join(name);
    fs::read(path.join("data.mdb")).unwrap()
}

/// A split of these files.
fn split(images: &[u8], pairs: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in [("imgs", images), ("pairs", pairs)] {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join("data.mdb"), bytes).unwrap();
    }
    folder
}

/// How many pictures could be read, and what was wrong.
fn read(folder: &Path) -> (usize, Vec<String>) {
    let (mut sound, mut failures) = (0, vec![]);
    for entry in Sources::open(&[folder.to_owned()], &Options::default()).unwrap() {
        match entry {
            Ok(entry) => sound += usize::from(entry.source.read(1 << 20).is_ok()),
            Err(failure) => failures.push(failure.reason),
        }
    }
    (sound, failures)
}

#[test]
fn what_is_damaged_costs_no_more_than_itself() {
    let (images, pairs) = (golden("imgs"), golden("pairs"));
    assert_eq!(read(split(&images, &pairs).path()), (60, vec![]));
    let (sound, failures) = read(split(&images, b"not an LMDB file").path());
    assert_eq!((sound, &*failures), (60, &["has only 16 bytes".to_owned()][..]));
    let (sound, failures) = read(split(&images[..images.len() / 2], &pairs).path());
    assert!(sound < 60 && !failures.is_empty() && failures[0].starts_with("is damaged or cut off"), "{sound} {failures:?}");
    let (sound, failures) = read(split(&[0; 8192], &pairs).path());
    assert_eq!(sound, 0);
    assert!(failures[0].ends_with("does not begin as one; wanted an LMDB file of a 64-bit machine"), "{failures:?}");
}

#[test]
fn no_byte_of_the_file_makes_it_panic_or_run_for_ever() {
    for (name, other) in [("imgs", "pairs"), ("pairs", "imgs")] {
        let (sound, other) = (golden(name), golden(other));
        let folder = if name == "imgs" { split(&sound, &other) } else { split(&other, &sound) };
        let path = folder.path().join(name).join("data.mdb");
        let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
        for _ in 0..300 {
            let mut changed = sound.clone();
            // A few bytes, mostly in headers of pages and nodes: at the beginning and the end of a page.
            for _ in 0..3 {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let (page, within) = ((seed >> 33) as usize % (sound.len() / 4096), (seed >> 20) as usize % 4096);
                let within = if seed >> 63 == 0 { within % 160 } else { within };
                changed[page * 4096 + within] = (seed >> 12) as u8;
            }
            fs::write(&path, &changed).unwrap();
            read(folder.path());
        }
        for length in (0..sound.len()).step_by(1021) {
            fs::write(&path, &sound[..length]).unwrap();
            if name == "pairs" || length > 0 {
                read(folder.path());
            }
        }
    }
}

#[test]
fn a_tree_that_leads_back_into_itself_ends() {
    let sound = golden("pairs");
    let mut changed = sound.clone();
    // Every child of a branch page is the page itself.
    for branch in (0..sound.len() / 4096).filter(|page| sound[page * 4096 + 10] == 1) {
        let children = (usize::from(sound[branch * 4096 + 12]) - 16) / 2;
        for child in 0..children {
            let at = branch * 4096 + 16 + 2 * child;
            let node = branch * 4096 + usize::from(u16::from_le_bytes([sound[at], sound[at + 1]]));
            changed[node..node + 2].copy_from_slice(&(branch as u16).to_le_bytes());
        }
    }
    let (sound, failures) = read(split(&golden("imgs"), &changed).path());
    assert_eq!(sound, 60);
    assert!(
        failures.iter().any(|reason| reason.starts_with("is damaged: over 48 pages") || reason.ends_with("back to themselves")),
        "{failures:?}"
    );
}
