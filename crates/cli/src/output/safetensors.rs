//! safetensors: an eight-byte length, a JSON header, the numbers. Ids, kinds and the model's name stand in the header's metadata, as JSON
//! in strings, since the format allows only strings there.
//!
//! The header comes first and knows the ids, which are complete at the end: numbers gather in a file of their own and are copied behind it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use serde::Serialize;

use super::{About, Draft, Kind, Writer, folder};

/// Types of numbers written here.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum DType {
    F32,
    I64,
}

/// A tensor in the header; offsets are bytes after it.
#[derive(Clone, Debug, Serialize)]
struct Entry {
    dtype: DType,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

#[derive(Clone, Debug, Serialize)]
struct Header<'a> {
    #[serde(rename = "__metadata__")]
    metadata: BTreeMap<&'a str, String>,
    #[serde(flatten)]
    tensors: BTreeMap<&'a str, Entry>,
}

/// A file with a tensor `[rows, width]` that grows.
pub struct Growing {
    draft: Draft,
    numbers: BufWriter<File>,
    width: usize,
    rows: usize,
}

impl Growing {
    pub fn begin(path: &Path, width: usize) -> anyhow::Result<Self> {
        let draft = Draft::begin(path)?;
        // A file without a name: gone when it is closed, whatever happens.
        let numbers = BufWriter::new(tempfile::tempfile_in(folder(path))?);
        Ok(Self { draft, numbers, width, rows: 0 })
    }

    /// Adds a row of `width` numbers.
    pub fn add(&mut self, row: &[f32]) -> io::Result<()> {
        self.rows += 1;
        row.iter().try_for_each(|number| self.numbers.write_all(&number.to_le_bytes()))
    }

    /// Completes the file: the rows are tensor `name`; `offsets`, unless empty, are another one.
    pub fn finish<'a>(
        mut self,
        name: &'a str,
        offsets: &[i64],
        metadata: impl IntoIterator<Item = (&'a str, String)>,
    ) -> anyhow::Result<()> {
        let end = self.rows * self.width * 4;
        let mut tensors = BTreeMap::new();
        tensors.insert(name, Entry { dtype: DType::F32, shape: vec![self.rows, self.width], data_offsets: [0, end] });
        if !offsets.is_empty() {
            let data_offsets = [end, end + offsets.len() * 8];
            tensors.insert("offsets", Entry { dtype: DType::I64, shape: vec![offsets.len()], data_offsets });
        }
        let mut header = serde_json::to_vec(&Header { metadata: metadata.into_iter().collect(), tensors })?;
        // The numbers begin at a multiple of eight.
        header.resize(header.len().next_multiple_of(8), b' ');
        self.draft.write_all(&(header.len() as u64).to_le_bytes())?;
        self.draft.write_all(&header)?;
        let mut numbers = self.numbers.into_inner().map_err(|error| error.into_error())?;
        numbers.seek(SeekFrom::Start(0))?;
        io::copy(&mut numbers, self.draft.file())?;
        let offsets: Vec<u8> = offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect();
        self.draft.write_all(&offsets)?;
        self.draft.finish()
    }
}

/// A file with one tensor `embeddings`.
pub struct Embeddings {
    rows: Growing,
    ids: Vec<String>,
    kinds: Vec<&'static str>,
    about: About,
}

impl Embeddings {
    pub fn begin(path: &Path, about: About) -> anyhow::Result<Self> {
        Ok(Self { rows: Growing::begin(path, about.width)?, ids: Vec::new(), kinds: Vec::new(), about })
    }
}

impl Writer for Embeddings {
    fn add(&mut self, kind: Kind, id: &str, row: &[f32]) -> io::Result<()> {
        self.ids.push(id.to_owned());
        self.kinds.push(kind.name());
        self.rows.add(row)
    }

    fn finish(self: Box<Self>) -> anyhow::Result<()> {
        let Self { rows, ids, kinds, about } = *self;
        let metadata = [
            ("ids", serde_json::to_string(&ids)?),
            ("kinds", serde_json::to_string(&kinds)?),
            ("model", about.model),
            ("fingerprint", about.fingerprint),
            ("normalized", "true".to_owned()),
        ];
        rows.finish("embeddings", &[], metadata)
    }
}
