//! Files made by hand, honest and otherwise, and what may be done with any of them.
#![allow(dead_code, reason = "each test file uses its part")]
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hua_model::checkpoint::{Checkpoint, CheckpointError, Defect};

pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

pub fn open(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
    Checkpoint::from_storage(Path::new("strange.bin"), Arc::new(bytes.to_vec()))
}

/// What is wrong with a file. Its name must be in the message.
pub fn defect(bytes: &[u8]) -> Defect {
    let error = open(bytes).expect_err("a hostile file was opened");
    assert!(error.to_string().starts_with("`strange.bin`: "), "{error}");
    match error {
        CheckpointError::File { defect, .. } => defect,
        error => panic!("{error}"),
    }
}

/// Opens a file and, if that works, looks at everything in it. Neither may panic, and no tensor may be great.
pub fn exhaust(bytes: &[u8]) -> bool {
    let Ok(checkpoint) = open(bytes) else { return false };
    for name in checkpoint.names() {
        assert!(checkpoint.shape(name).is_some() && checkpoint.element(name).is_some() && checkpoint.is_view(name).is_some());
        if let Ok(tensor) = checkpoint.tensor(name) {
            assert!(tensor.bytes().len() <= bytes.len().max(1 << 20), "{name} was blown up");
        }
    }
    checkpoint.total_bytes();
    true
}

/// A zip archive of stored parts.
pub fn zip(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in parts {
        let start = file.len() as u32;
        let middle =
            [&[20, 0, 0, 8, 0, 0, 0, 0, 0x21, 0, 0, 0, 0, 0][..], &len(content), &len(content), &len(name.as_bytes())[..2], &[0; 2]]
                .concat();
        file.extend([b"PK\x03\x04", &middle[..], name.as_bytes(), content].concat());
        directory.extend([b"PK\x01\x02\x14\0", &middle[..], &[0; 10], &start.to_le_bytes(), name.as_bytes()].concat());
    }
    end(&mut file, &directory, parts.len() as u16);
    file
}

/// Ends an archive with its table.
pub fn end(file: &mut Vec<u8>, directory: &[u8], count: u16) {
    let start = file.len() as u32;
    file.extend(directory);
    let counts = [count.to_le_bytes(), count.to_le_bytes()].concat();
    file.extend([b"PK\x05\x06\0\0\0\0", &counts[..], &len(directory), &start.to_le_bytes(), &[0, 0]].concat());
}

pub fn len(bytes: &[u8]) -> [u8; 4] {
    (bytes.len() as u32).to_le_bytes()
}

/// A torch archive of a pickle and one storage of 24 bytes.
pub fn torch(pickle: &[u8]) -> Vec<u8> {
    zip(&[("archive/data.pkl", pickle), ("archive/data/0", &[0; 24]), ("archive/version", b"3\n")])
}

/// A TorchScript archive of a pickle and one storage of 24 bytes.
pub fn script(pickle: &[u8]) -> Vec<u8> {
    zip(&[("archive/data.pkl", pickle), ("archive/constants.pkl", b"\x80\x02)."), ("archive/data/0", &[0; 24])])
}

/// The pickle of `{"t": tensor}`, all parts of the tensor free.
pub fn tensor(class: &str, numel: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let long = |n: &i64| [b"\x8a\x08", &n.to_le_bytes()[..]].concat();
    let tuple = |ns: &[i64]| [b"(", &ns.iter().flat_map(long).collect::<Vec<_>>()[..], b"t"].concat();
    let class = format!("c{}\n", class.replace(' ', "\n"));
    [
        b"\x80\x02}X\x01\0\0\0tctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storage",
        class.as_bytes(),
        b"X\x01\0\0\x000X\x03\0\0\0cpu",
        &long(&numel),
        b"tQ",
        &long(&offset),
        &tuple(shape),
        &tuple(strides),
        b"\x89ccollections\nOrderedDict\n)RtRs.",
    ]
    .concat()
}

/// A safetensors file.
pub fn safetensors(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data]].concat()
}
