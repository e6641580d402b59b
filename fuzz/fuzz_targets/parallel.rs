//! Any bytes as parallel text: a table, a list, Tatoeba's exports.
#![no_main]

#[path = "../../crates/data/tests/hostile_common/mod.rs"]
#[expect(dead_code, reason = "the other target's")]
mod common;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| common::texts(bytes));
