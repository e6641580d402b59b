//! Which file of a folder is the checkpoint, and what a file is by its first bytes.
use std::path::{Path, PathBuf};

use super::error::{CheckpointError, Defect};
use super::{safetensors, torch};

/// File names that settle the matter, best first.
const STANDARD: [&str; 4] = ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];
/// Files of trainers that are not weights.
const NOT_WEIGHTS: [&str; 4] = ["optimizer", "rng_state", "scheduler", "training_args"];

/// A web page says what it is within these bytes.
const PAGE_START: usize = 1024;

/// How a file of weights is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// safetensors.
    Safetensors,
    /// The zip archive of `torch.save`.
    Torch,
    /// The chain of pickles of `torch.save` before torch 1.6.
    TorchLegacy,
    /// The zip archive of `torch.jit.save`.
    TorchScript,
}

/// The file of `folder` to open.
pub(super) fn choose(folder: &Path) -> Result<PathBuf, CheckpointError> {
    if let Some(found) = STANDARD.iter().map(|name| folder.join(name)).find(|path| path.is_file()) {
        return Ok(found);
    }
    let (mut candidates, mut foreign) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder).map_err(CheckpointError::io(folder))? {
        let path = entry.map_err(CheckpointError::io(folder))?.path();
        let Some(name) = path.file_name().and_then(|n| n.to_str()).map(str::to_owned) else { continue };
        match path.extension().and_then(|e| e.to_str()) {
            // A folder in a folder is not looked into, whatever it is called.
            Some("safetensors" | "pt" | "pth" | "bin" | "ckpt")
                if !path.is_dir() && !NOT_WEIGHTS.iter().any(|other| name.starts_with(other)) =>
            {
                candidates.push(name)
            }
            Some("msgpack" | "h5" | "onnx" | "gguf") => foreign.push(name),
            _ => {}
        }
    }
    candidates.sort();
    foreign.sort();
    match candidates.as_slice() {
        [only] => Ok(folder.join(only)),
        [] => Err(CheckpointError::NoWeights { path: folder.to_owned(), foreign }),
        _ => Err(CheckpointError::Ambiguous { path: folder.to_owned(), candidates }),
    }
}

/// What `file` is. TorchScript looks like any other archive of torch from here.
pub(super) fn recognise(file: &[u8]) -> Result<Format, Defect> {
    let other = |what, hint| Err(Defect::NotWeights { what, hint });
    let text = file.get(..PAGE_START).unwrap_or(file).trim_ascii_start();
    let starts = |word: &[u8]| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    match file {
        [] => other("an empty file", "download it again"),
        // First of all: the length that a safetensors file begins with can look like another format's mark (640 is a pickle's), but no other
        // format has zeros there.
        _ if safetensors::recognises(file) && file[4..8] == [0; 4] => Ok(Format::Safetensors),
        _ if file.starts_with(b"version https://git-lfs.github.com/spec/") => {
            other("a Git LFS pointer", "fetch what it points to with `git lfs pull`")
        }
        _ if starts(b"<!doctype") || starts(b"<html") || starts(b"<?xml") => other("a web page", "download the file itself, not its page"),
        _ if file.starts_with(b"PK") => Ok(Format::Torch),
        _ if torch::recognises_legacy(file) => Ok(Format::TorchLegacy),
        [0x80, 2..=5, ..] => other("a pickle that `torch.save` did not write", "save a state dict of it with torch or safetensors"),
        _ if file.starts_with(b"\x89HDF") => other("an HDF5 file of TensorFlow or Keras", "use the model's safetensors or PyTorch file"),
        _ if file.starts_with(b"GGUF") => other("a GGUF file", "use the model's safetensors or PyTorch file"),
        _ if file.starts_with(b"\x1f\x8b") => other("a gzip archive", "unpack it first"),
        _ if file.get(257..262) == Some(b"ustar") => {
            other("a tar archive", "unpack it first, or save it again with a torch of this decade")
        }
        _ if safetensors::recognises(file) => Ok(Format::Safetensors),
        [0x81..=0x8f | 0xde | 0xdf, ..] => other("a msgpack file of Flax", "use the model's safetensors or PyTorch file"),
        [b'{', ..] => other("JSON", "an index of shards is named `….index.json`"),
        _ => other("a file that starts like no format of weights", "safetensors and PyTorch files are read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_as_long_as_another_formats_mark_is_a_header() {
        // 640 begins as a pickle does, 19280 as a zip archive, 35615 as gzip.
        for length in [640u64, 19_280, 35_615, 1_152] {
            let file = [&length.to_le_bytes()[..], b"{\"a\"", &[b' '; 600]].concat();
            assert!(matches!(recognise(&file), Ok(Format::Safetensors)), "{length}");
        }
        assert!(recognise(b"\x80\x02}q\x00.{}{}{}").is_err());
    }
}
