//! Any bytes as a file of weights: format sniffing, zip tables, the legacy chain of pickles.
#![no_main]

#[path = "../../crates/model/tests/checkpoint_common/mod.rs"]
mod common;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    common::exhaust(bytes);
});
