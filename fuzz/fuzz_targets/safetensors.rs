//! Any bytes as the header of a safetensors file with 64 bytes of tensors.
#![no_main]

#[path = "../../crates/model/tests/checkpoint_common/mod.rs"]
mod common;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(header) = std::str::from_utf8(bytes) {
        common::exhaust(&common::safetensors(header, 64));
    }
});
