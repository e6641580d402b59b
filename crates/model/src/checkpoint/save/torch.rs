//! Files that `torch.load(path, weights_only=True)` reads: a stored zip archive of a pickle and its storages.
//!
//! Layout as torch 2 writes it: `data.pkl` of protocol 2, one storage a tensor at a multiple of 64 bytes, `byteorder`,
//! `version`. Parts of 4 GiB and beyond have zip64 fields.
use std::path::Path;

use hua_graph::Tensor;

use super::{NewFile, TensorPlan, ask, check_names};
use crate::checkpoint::Scalar;
use crate::checkpoint::element::ElementType;
use crate::checkpoint::error::CheckpointError;

/// What storages start at a multiple of, as torch has it.
const ALIGNMENT: u64 = 64;
/// Numbers from here on are in zip64 fields.
const WIDE: u64 = 0xffff_ffff;
const FOLDER: &str = "archive/";

/// Writes a state dict as torch would: bare, or, if there is anything `beside` it, as
/// `{"epoch": 1, …, "state_dict": {…}}`. `prefix` is put before every name in the file; `fetch` is asked without it.
///
/// # Errors
/// [`CheckpointError::Io`], [`CheckpointError::Plan`], and whatever `fetch` says.
pub fn save_torch<E: From<CheckpointError>>(
    path: &Path,
    plan: &[TensorPlan],
    prefix: &str,
    beside: &[(&str, Scalar)],
    mut fetch: impl FnMut(&str) -> Result<Tensor, E>,
) -> Result<(), E> {
    check_names(path, plan)?;
    let mut archive = Archive { file: NewFile::create(path)?, at: 0, directory: Vec::new(), parts: 0, wide: WIDE };
    archive.add("data.pkl", &pickle(plan, prefix, beside))?;
    archive.add("byteorder", b"little")?;
    for (i, tensor) in plan.iter().enumerate() {
        archive.add(&format!("data/{i}"), ask(path, tensor, &mut fetch)?.bytes())?;
    }
    archive.add("version", b"3\n")?;
    Ok(archive.finish()?)
}

fn pickle(plan: &[TensorPlan], prefix: &str, beside: &[(&str, Scalar)]) -> Vec<u8> {
    let mut out = b"\x80\x02}".to_vec();
    for (key, value) in beside {
        text(&mut out, key);
        match value {
            Scalar::Bool(value) => out.push(if *value { 0x88 } else { 0x89 }),
            Scalar::Float(value) => {
                out.push(b'G');
                out.extend(value.to_be_bytes());
            }
            Scalar::Int(value) => int(&mut out, *value),
            Scalar::Text(value) => text(&mut out, value),
        }
        out.push(b's');
    }
    if !beside.is_empty() {
        text(&mut out, "state_dict");
        out.push(b'}');
    }
    for (i, tensor) in plan.iter().enumerate() {
        text(&mut out, &format!("{prefix}{}", tensor.name));
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage");
        out.extend(format!("ctorch\n{}\n", ElementType::from(tensor.dtype).storage_class()).bytes());
        text(&mut out, &i.to_string());
        text(&mut out, "cpu");
        int(&mut out, tensor.shape.iter().product::<usize>() as i64);
        out.extend(b"tQK\x00(");
        tensor.shape.iter().for_each(|&d| int(&mut out, d as i64));
        out.extend(b"t(");
        for d in 0..tensor.shape.len() {
            // torch's own strides of empty tensors count an empty dimension as one.
            int(&mut out, tensor.shape[d + 1..].iter().map(|&d| d.max(1)).product::<usize>() as i64);
        }
        out.extend(b"t\x89ccollections\nOrderedDict\n)RtRs");
    }
    if !beside.is_empty() {
        out.push(b's');
    }
    out.push(b'.');
    out
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.bytes());
}

fn int(out: &mut Vec<u8>, value: i64) {
    match i32::try_from(value) {
        Ok(value) => {
            out.push(b'J');
            out.extend(value.to_le_bytes());
        }
        Err(_) => {
            out.extend(b"\x8a\x08");
            out.extend(value.to_le_bytes());
        }
    }
}

/// A zip archive being written, front to back.
struct Archive {
    file: NewFile,
    at: u64,
    directory: Vec<u8>,
    parts: u64,
    /// [`WIDE`], or less in tests.
    wide: u64,
}

impl Archive {
    fn write(&mut self, bytes: &[u8]) -> Result<(), CheckpointError> {
        self.at += bytes.len() as u64;
        self.file.write(bytes)
    }

    fn add(&mut self, name: &str, content: &[u8]) -> Result<(), CheckpointError> {
        let (name, start, len) = (format!("{FOLDER}{name}"), self.at, content.len() as u64);
        let (is_long, is_far) = (len >= self.wide, start >= self.wide);
        let version: u16 = if is_long || is_far { 45 } else { 20 };
        let short = |wide: bool, n: u64| if wide { u32::MAX } else { n as u32 };
        // Version, flags (UTF-8 names), no compression, midnight of 1 January 1980, checksum, lengths, length of the name.
        let mut common = Vec::new();
        for n in [version, 0x0800, 0, 0, 0x0021] {
            common.extend(n.to_le_bytes());
        }
        for n in [crc32fast::hash(content), short(is_long, len), short(is_long, len)] {
            common.extend(n.to_le_bytes());
        }
        common.extend((name.len() as u16).to_le_bytes());

        let mut wide = Vec::new();
        if is_long {
            wide.extend([len.to_le_bytes(), len.to_le_bytes()].concat());
        }
        let mut extra = zip64_field(&wide);
        let unpadded = start + 30 + name.len() as u64 + extra.len() as u64 + 4;
        let padding = (unpadded.next_multiple_of(ALIGNMENT) - unpadded) as usize;
        extra.extend([b"FB", &(padding as u16).to_le_bytes()[..]].concat());
        extra.resize(extra.len() + padding, b'Z');
        let header = [b"PK\x03\x04", &common[..], &(extra.len() as u16).to_le_bytes(), name.as_bytes(), &extra].concat();
        self.write(&header)?;
        self.write(content)?;

        if is_far {
            wide.extend(start.to_le_bytes());
        }
        let extra = zip64_field(&wide);
        self.directory.extend(b"PK\x01\x02");
        self.directory.extend(version.to_le_bytes());
        self.directory.extend(common);
        self.directory.extend((extra.len() as u16).to_le_bytes());
        // No comment, first disk, no attributes.
        self.directory.extend([0; 10]);
        self.directory.extend(short(is_far, start).to_le_bytes());
        self.directory.extend(name.bytes());
        self.directory.extend(extra);
        self.parts += 1;
        Ok(())
    }

    fn finish(mut self) -> Result<(), CheckpointError> {
        let (start, directory) = (self.at, std::mem::take(&mut self.directory));
        let len = directory.len() as u64;
        self.write(&directory)?;
        let is_wide = start >= self.wide || len >= self.wide || self.parts >= 0xffff;
        if is_wide {
            let end = self.at;
            self.write(b"PK\x06\x06")?;
            self.write(&44u64.to_le_bytes())?;
            self.write(&[45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
            for n in [self.parts, self.parts, len, start] {
                self.write(&n.to_le_bytes())?;
            }
            self.write(b"PK\x06\x07\0\0\0\0")?;
            self.write(&end.to_le_bytes())?;
            self.write(&1u32.to_le_bytes())?;
        }
        self.write(b"PK\x05\x06\0\0\0\0")?;
        let parts = if is_wide { u16::MAX } else { self.parts as u16 };
        self.write(&[parts.to_le_bytes(), parts.to_le_bytes()].concat())?;
        let [len, start] = if is_wide { [u32::MAX; 2] } else { [len as u32, start as u32] };
        self.write(&[len.to_le_bytes(), start.to_le_bytes()].concat())?;
        self.write(&[0, 0])?;
        self.file.finish()
    }
}

/// The extra field that holds what is too great for 32 bits; nothing if nothing is.
fn zip64_field(numbers: &[u8]) -> Vec<u8> {
    match numbers {
        [] => Vec::new(),
        _ => [&1u16.to_le_bytes(), &(numbers.len() as u16).to_le_bytes(), numbers].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::zip;

    #[test]
    fn parts_beyond_four_gibibytes_are_found_again() {
        let folder = tempfile::tempdir().unwrap();
        // As if 4 GiB were nothing, and as if they were 70 bytes: all fields wide, then some.
        for wide in [0, 70, 200] {
            let path = folder.path().join("wide.zip");
            let mut archive = Archive { file: NewFile::create(&path).unwrap(), at: 0, directory: Vec::new(), parts: 0, wide };
            let parts = [("a", vec![1; 9]), ("b", vec![2; 70]), ("c", vec![]), ("d", vec![3; 300])];
            for (name, content) in &parts {
                archive.add(name, content).unwrap();
            }
            archive.finish().unwrap();
            let bytes = std::fs::read(&path).unwrap();
            let archive = zip::open(&bytes).unwrap();
            for (name, content) in &parts {
                let range = archive[format!("{FOLDER}{name}").as_str()].stored(name).unwrap();
                assert_eq!((&bytes[range.clone()], range.start % 64), (&content[..], 0), "{name} {wide}");
            }
        }
    }
}
