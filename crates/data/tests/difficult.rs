//! Each file of the folder of difficult files comes out once, as an entry or as a failure.
#[path = "../../../tests/golden/difficult/mod.rs"]
mod difficult;

use hua_data::{Options, Sources};

#[test]
fn each_difficult_file_comes_out_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut expected: Vec<_> = difficult::make(folder.path()).into_iter().map(|file| file.name).collect();
    let below = format!("{}/", hua_data::name_of(folder.path()));
    let mut found = vec![];
    for entry in Sources::open(&[folder.path().to_owned()], &Options::default()).unwrap() {
        let name = match &entry {
            Ok(entry) => {
                entry.source.read(1 << 20).unwrap();
                &entry.name
            }
            Err(failure) => &failure.name,
        };
        found.push(name.strip_prefix(&below).unwrap().to_owned());
    }
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);
}
