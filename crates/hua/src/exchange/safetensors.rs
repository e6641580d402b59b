//! safetensors with one table of vectors, as `hua embed` writes it: tensor `embeddings`; ids, kinds, model and fingerprint in the metadata.
//! Any file with one tensor of two sides in f16 or f32 is read.
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use hua_data::Failure;
use hua_index::{SpaceSpec, StoredType};
use serde::{Deserialize, Serialize};

use super::draft::{Draft, part};
use super::{Opened, Row, io, malformed, npy};
use crate::Error;

/// The format's own bound.
const LONGEST_HEADER: u64 = 100 << 20;

#[derive(Serialize, Deserialize)]
struct Tensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

#[derive(Serialize, Deserialize)]
struct Header {
    #[serde(rename = "__metadata__", default)]
    metadata: BTreeMap<String, String>,
    #[serde(flatten)]
    tensors: BTreeMap<String, Tensor>,
}

pub(super) fn open(path: &Path) -> Result<Opened, Error> {
    let mut file = File::open(path).map_err(io(path))?;
    let length = file.metadata().map_err(io(path))?.len();
    let mut before = [0; 8];
    let wanted = "a safetensors file with one tensor `[rows, width]` of F16 or F32";
    let broken = |what: &str| malformed(path, what, wanted);
    file.read_exact(&mut before).map_err(|_| broken("is shorter than eight bytes"))?;
    let header = u64::from_le_bytes(before);
    if header > LONGEST_HEADER.min(length.saturating_sub(8)) {
        return Err(broken("has a header longer than itself"));
    }
    let mut text = vec![0; header as usize];
    file.read_exact(&mut text).map_err(io(path))?;
    let Header { mut metadata, mut tensors } =
        serde_json::from_slice(&text).map_err(|error| malformed(path, format!("has a header that is none: {error}"), wanted))?;
    let name = match tensors.contains_key("embeddings") {
        true => "embeddings".to_owned(),
        false if tensors.len() == 1 => tensors.keys().next().cloned().unwrap_or_default(),
        false => return Err(malformed(path, format!("has {} tensors, none of them `embeddings`", tensors.len()), wanted)),
    };
    let Some(Tensor { dtype, shape, data_offsets: [from, to] }) = tensors.remove(&name) else { return Err(broken("has no tensor")) };
    let (kind, bytes) = match dtype.as_str() {
        "F16" => (npy::Kind::F16, 2),
        "F32" => (npy::Kind::F32, 4),
        _ => return Err(malformed(path, format!("has `{name}` in {dtype}"), wanted)),
    };
    let [rows, width] = shape[..] else { return Err(malformed(path, format!("has `{name}` of shape {shape:?}"), wanted)) };
    let row_bytes = width.checked_mul(bytes).filter(|bytes| (1..=1 << 24).contains(bytes));
    let Some(row_bytes) = row_bytes.filter(|&row| to.checked_sub(from) == rows.checked_mul(row) && to <= length - 8 - header) else {
        return Err(malformed(path, format!("has `{name}` of shape {shape:?} in bytes {from} to {to}"), wanted));
    };
    let list = |text: Option<String>| -> Vec<String> { text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default() };
    let (ids, kinds) = (list(metadata.remove("ids")), list(metadata.remove("kinds")));
    if !ids.is_empty() && ids.len() as u64 != rows {
        return Err(malformed(path, format!("names {} rows of {rows}", ids.len()), "an id for each row in `ids` of its metadata"));
    }
    file.seek(SeekFrom::Start(8 + header + from)).map_err(io(path))?;
    let mut numbers = BufReader::with_capacity(1 << 20, file);
    let own = path.display().to_string();
    let mut next = 0;
    let rows_read = std::iter::from_fn(move || {
        while next < rows {
            let number = next as usize;
            next += 1;
            let name = ids.get(number).cloned().unwrap_or_else(|| format!("{own}#{number}"));
            let mut bytes = vec![0; row_bytes as usize];
            if let Err(error) = numbers.read_exact(&mut bytes) {
                next = rows;
                return Some(Err(Failure { name, reason: error.to_string() }));
            }
            if kinds.get(number).is_none_or(|kind| kind != "text") {
                return Some(Ok(Row { name, vector: npy::numbers(kind, &bytes), captions: vec![], meta: None }));
            }
        }
        None
    });
    Ok(Opened { fingerprint: metadata.remove("fingerprint"), total: Some(rows), rows: Box::new(rows_read) })
}

/// A file being written: the header comes first and knows the ids, which are complete at the end, so numbers wait in a file of their own.
pub(super) struct Writer {
    draft: Draft,
    numbers: Draft,
    spec: SpaceSpec,
    ids: Vec<String>,
}

impl Writer {
    pub fn begin(path: &Path, spec: &SpaceSpec) -> Result<Self, Error> {
        Ok(Self { draft: Draft::begin(path)?, numbers: Draft::begin(&part(path))?, spec: spec.clone(), ids: vec![] })
    }

    pub fn add(&mut self, path: &str, row: &[f32]) -> Result<(), Error> {
        self.ids.push(path.to_owned());
        self.numbers.write_all(&npy::bytes(self.spec.dtype, row)).map_err(self.numbers.failed())
    }

    pub fn finish(mut self) -> Result<(), Error> {
        let (rows, width) = (self.ids.len() as u64, self.spec.width as u64);
        let dtype = match self.spec.dtype {
            StoredType::F16 => "F16",
            StoredType::F32 => "F32",
        };
        let data_offsets = [0, rows * width * self.spec.dtype.bytes() as u64];
        let tensors = BTreeMap::from([("embeddings".to_owned(), Tensor { dtype: dtype.into(), shape: vec![rows, width], data_offsets })]);
        let json = |list: &[String]| serde_json::to_string(list).expect("texts are JSON");
        let metadata = BTreeMap::from([
            ("ids".to_owned(), json(&self.ids)),
            ("kinds".to_owned(), json(&vec!["image".to_owned(); self.ids.len()])),
            ("model".to_owned(), self.spec.name.clone()),
            ("fingerprint".to_owned(), self.spec.fingerprint.clone()),
            ("normalized".to_owned(), "true".to_owned()),
        ]);
        let mut header = serde_json::to_vec(&Header { metadata, tensors }).map_err(|error| self.draft.failed()(error.into()))?;
        // The numbers begin at a multiple of eight.
        header.resize(header.len().next_multiple_of(8), b' ');
        let copied = (|| {
            self.draft.write_all(&(header.len() as u64).to_le_bytes())?;
            self.draft.write_all(&header)?;
            let mut numbers = self.numbers.reread()?;
            std::io::copy(&mut numbers, &mut self.draft)
        })();
        copied.map_err(self.draft.failed())?;
        self.draft.finish(&[])
    }
}
