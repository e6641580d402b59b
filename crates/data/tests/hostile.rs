//! What fuzzing found, its seeds, and seeds with damage: an error or a failure, never a panic, never more memory than was allowed.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "hostile_common/mod.rs"]
mod common;

use std::path::Path;

use proptest::prelude::*;

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

#[test]
fn the_corpora_are_read_to_their_ends() {
    corpus("data").iter().for_each(|input| common::data(input));
    corpus("parallel").iter().for_each(|input| common::texts(input));
}

/// An input with some bytes changed and its end cut off.
fn damaged(mut input: Vec<u8>, changes: &[(usize, u8)], cut: usize) -> Vec<u8> {
    for (at, byte) in changes {
        let at = 1 + at % (input.len() - 1);
        input[at] = *byte;
    }
    let length = input.len();
    input.truncate(length - (cut % length).min(length - 2));
    input
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn damaged_files_are_read_to_their_ends(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..4),
        cut in prop_oneof![3 => Just(0_usize), 1 => any::<usize>()],
    ) {
        for (name, read) in [("data", common::data as fn(&[u8])), ("parallel", common::texts)] {
            let seeds = corpus(name);
            read(&damaged(which.get(&seeds).clone(), &changes, cut));
        }
    }
}
