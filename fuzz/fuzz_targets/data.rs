//! Any bytes as a file that lists pictures: an archive, a table, Chinese-CLIP's files.
#![no_main]

#[path = "../../crates/data/tests/hostile_common/mod.rs"]
#[expect(dead_code, reason = "the other target's")]
mod common;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| common::data(bytes));
