//! safetensors: an eight-byte length, a JSON header, the numbers. Ids, kinds and the model's name stand in the header's metadata, as JSON
//! in strings, since the format allows only strings there.
//!
//! The header comes first and knows the ids, which are complete at the end: numbers gather in a file of their own and are copied behind it.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use serde::Serialize;

use super::{About, Draft, Kind, Writer};

/// Types of numbers written here.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DType {
    F32,
    I64,
}

/// A tensor in the header; offsets are bytes after it.
#[derive(Clone, Debug, Serialize)]
pub struct TensorEntry {
    pub dtype: DType,
    pub shape: Vec<usize>,
    pub data_offsets: [usize; 2],
}

/// The header.
#[derive(Clone, Debug, Serialize)]
pub struct Header {
    #[serde(rename = "__metadata__")]
    pub metadata: BTreeMap<String, String>,
    #[serde(flatten)]
    pub tensors: BTreeMap<String, TensorEntry>,
}

impl Header {
    /// Length and JSON, padded with blanks so that the numbers begin at a multiple of eight.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut json = serde_json::to_vec(self)?;
        json.resize(json.len().next_multiple_of(8), b' ');
        out.write_all(&(json.len() as u64).to_le_bytes())?;
        out.write_all(&json)
    }
}

/// A file with one tensor `embeddings`.
pub struct Embeddings {
    draft: Draft,
    numbers: BufWriter<std::fs::File>,
    ids: Vec<String>,
    kinds: Vec<&'static str>,
    about: About,
}

impl Embeddings {
    pub fn begin(path: &Path, about: About) -> anyhow::Result<Self> {
        let draft = Draft::begin(path)?;
        // Without a name: gone when it is closed, whatever happens.
        let numbers = BufWriter::new(tempfile::tempfile_in(path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")))?);
        Ok(Self { draft, numbers, ids: Vec::new(), kinds: Vec::new(), about })
    }
}

impl Writer for Embeddings {
    fn add(&mut self, kind: Kind, id: &str, row: &[f32]) -> io::Result<()> {
        self.ids.push(id.to_owned());
        self.kinds.push(kind.name());
        for number in row {
            self.numbers.write_all(&number.to_le_bytes())?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> anyhow::Result<()> {
        let Self { mut draft, numbers, ids, kinds, about } = *self;
        let (rows, width) = (ids.len(), about.width);
        let metadata = [
            ("ids", serde_json::to_string(&ids)?),
            ("kinds", serde_json::to_string(&kinds)?),
            ("model", about.model),
            ("fingerprint", about.fingerprint),
            ("normalized", "true".to_owned()),
        ];
        let entry = TensorEntry { dtype: DType::F32, shape: vec![rows, width], data_offsets: [0, rows * width * 4] };
        let header = Header {
            metadata: metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            tensors: [("embeddings".to_owned(), entry)].into(),
        };
        let mut numbers = numbers.into_inner().map_err(|error| error.into_error())?;
        numbers.seek(SeekFrom::Start(0))?;
        header.write(draft.file())?;
        io::copy(&mut numbers, draft.file())?;
        draft.finish()
    }
}
