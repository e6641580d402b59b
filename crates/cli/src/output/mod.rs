//! Files of embeddings: npy, safetensors, JSON lines. Rows are written as they come, so that a hundred thousand pictures need no memory,
//! and nothing carries the final name before it is whole.

mod jsonl;
mod npy;
mod safetensors;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use tempfile::NamedTempFile;

pub use self::safetensors::Growing;
use crate::complaint::Complaint;

/// Whether an embedding is a text's or a picture's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Image,
    Text,
}

impl Kind {
    /// As it is written into files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Text => "text",
        }
    }
}

/// What is known of the embeddings before the first of them.
#[derive(Clone, Debug)]
pub struct About {
    /// Numbers of a row.
    pub width: usize,
    pub model: String,
    pub fingerprint: String,
}

/// A file of embeddings being written.
pub trait Writer {
    /// Adds a row of `width` numbers.
    fn add(&mut self, kind: Kind, id: &str, row: &[f32]) -> io::Result<()>;

    /// Completes the files and gives them their names.
    fn finish(self: Box<Self>) -> anyhow::Result<()>;
}

/// Kinds of files, told by the name's extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Jsonl,
    Npy,
    Safetensors,
}

impl Format {
    /// The format that `path` asks for.
    pub fn of(path: &Path) -> Result<Self, Complaint> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("jsonl") => Ok(Self::Jsonl),
            Some("npy") => Ok(Self::Npy),
            Some("safetensors") => Ok(Self::Safetensors),
            other => {
                let found = other.map_or("no extension".to_owned(), |extension| format!("the extension `{extension}`"));
                let message = format!("`{}` has {found}, wanted `npy`, `safetensors` or `jsonl`", path.display());
                Err(Complaint::caller(message).hint("the extension of `-o` says what is written"))
            }
        }
    }

    /// Begins a file at `path`.
    pub fn begin(self, path: &Path, about: About) -> anyhow::Result<Box<dyn Writer>> {
        Ok(match self {
            Self::Jsonl => Box::new(jsonl::Jsonl::begin(path, about)?),
            Self::Npy => Box::new(npy::Npy::begin(path, about)?),
            Self::Safetensors => Box::new(safetensors::Embeddings::begin(path, about)?),
        })
    }
}

/// A file that gets its name when it is whole: written beside its place, then renamed.
pub struct Draft {
    file: NamedTempFile,
    path: PathBuf,
}

impl Draft {
    pub fn begin(path: &Path) -> anyhow::Result<Self> {
        let folder = folder(path);
        if !folder.is_dir() {
            return Err(Complaint::caller(format!("`{}` does not exist, wanted a folder to write into", folder.display())).into());
        }
        if path.is_dir() {
            return Err(Complaint::caller(format!("`{}` is a folder, wanted a file to write", path.display())).into());
        }
        let file = tempfile::Builder::new()
            .prefix(".hua-")
            .suffix(".part")
            .tempfile_in(folder)
            .with_context(|| format!("cannot write into `{}`", folder.display()))?;
        Ok(Self { file, path: path.to_owned() })
    }

    pub fn file(&mut self) -> &mut std::fs::File {
        self.file.as_file_mut()
    }

    /// Where the file is until then, for those who write by name.
    pub fn part(&self) -> &Path {
        self.file.path()
    }

    /// Gives the file its name; one that was there is replaced.
    pub fn finish(self) -> anyhow::Result<()> {
        let path = self.path;
        // A temporary file is the user's alone; a result is as open as any file the user makes.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = path.metadata().map_or(0o644, |metadata| metadata.permissions().mode());
            self.file.as_file().set_permissions(std::fs::Permissions::from_mode(mode & 0o777))?;
        }
        self.file.persist(&path).with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(())
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file().flush()
    }
}

/// The folder that `path` lies in.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// `vectors.npy` → `vectors.ids.txt`: what lies beside an output.
pub fn beside(path: &Path, extension: &str) -> PathBuf {
    path.with_extension(extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about() -> About {
        About { width: 2, model: "m".into(), fingerprint: "f".into() }
    }

    fn write(format: Format, name: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let mut writer = format.begin(&path, about()).unwrap();
        writer.add(Kind::Text, "虹\nbow", &[0.5, -1.0]).unwrap();
        assert!(!path.exists(), "no name before it is whole");
        writer.add(Kind::Image, "a.jpg", &[1.0, 0.25]).unwrap();
        writer.finish().unwrap();
        (folder, path)
    }

    #[test]
    fn npy_has_the_shape_at_its_head_and_the_ids_beside() {
        let (_folder, path) = write(Format::Npy, "v.npy");
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
        let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        assert_eq!((10 + header) % 64, 0);
        let text = std::str::from_utf8(&bytes[10..10 + header]).unwrap();
        assert_eq!(text.trim_end(), "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }");
        assert!(text.ends_with('\n'));
        let numbers: Vec<f32> = bytes[10 + header..].chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        assert_eq!(numbers, [0.5, -1.0, 1.0, 0.25]);
        assert_eq!(std::fs::read_to_string(beside(&path, "ids.txt")).unwrap(), "虹\\nbow\na.jpg\n");
    }

    #[test]
    fn safetensors_carries_ids_and_model_in_its_metadata() {
        let (_folder, path) = write(Format::Safetensors, "v.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        assert_eq!((8 + header) % 8, 0);
        let json: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
        assert_eq!(json["embeddings"], serde_json::json!({"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}));
        let ids: Vec<String> = serde_json::from_str(json["__metadata__"]["ids"].as_str().unwrap()).unwrap();
        assert_eq!(ids, ["虹\nbow", "a.jpg"]);
        assert_eq!(json["__metadata__"]["kinds"], r#"["text","image"]"#);
        assert_eq!(json["__metadata__"]["model"], "m");
        assert_eq!(bytes.len(), 8 + header + 16);
    }

    #[test]
    fn jsonl_has_an_object_a_line() {
        let (_folder, path) = write(Format::Jsonl, "v.jsonl");
        let text = std::fs::read_to_string(path).unwrap();
        insta::assert_snapshot!(text, @r#"
        {"id":"虹\nbow","kind":"text","embedding":[0.5,-1.0]}
        {"id":"a.jpg","kind":"image","embedding":[1.0,0.25]}
        "#);
    }

    #[test]
    fn a_writer_that_is_dropped_leaves_nothing_behind() {
        for name in ["v.npy", "v.safetensors", "v.jsonl"] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(name);
            let mut writer = Format::of(&path).unwrap().begin(&path, about()).unwrap();
            writer.add(Kind::Text, "x", &[0.0, 1.0]).unwrap();
            drop(writer);
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn an_unknown_extension_is_the_callers_fault() {
        let complaint = Format::of(Path::new("v.csv")).unwrap_err();
        assert_eq!(complaint.to_string(), "`v.csv` has the extension `csv`, wanted `npy`, `safetensors` or `jsonl`");
    }
}
