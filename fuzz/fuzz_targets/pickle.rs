//! Any bytes as the pickle of an archive with one storage of 24 bytes, once as `torch.save` writes it and once as TorchScript.
#![no_main]

#[path = "../../crates/model/tests/checkpoint_common/mod.rs"]
mod common;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    common::exhaust(&common::torch(bytes));
    common::exhaust(&common::script(bytes));
});
