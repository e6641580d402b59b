//! clip-retrieval's folder: `img_emb/img_emb_N.npy`, rows of f16 of length one, and `metadata/metadata_N.parquet` with a row each: `image_path`,
//! `caption`, and whatever else was known. Its text vectors (`text_emb`) belong to captions and are not read: a picture has one vector.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hua_data::{Caption, Column, Failure, read_table, write_table};
use hua_index::{Item, StoredType};
use serde_json::{Map, Value};

use super::draft::part;
use super::{Opened, Row, Rows, io, malformed, npy};
use crate::Error;

/// Rows of a file; what is known of them is in memory until it is full.
const ROWS: usize = 1 << 18;
/// Columns that name a picture; the first that is there counts.
const NAMES: [&str; 4] = ["image_path", "path", "url", "key"];

/// Opens the folder for reading.
pub(super) fn open(folder: &Path) -> Result<Opened, Error> {
    let vectors = numbered(&folder.join("img_emb"), "img_emb_", ".npy")?;
    let metadata = folder.join("metadata");
    let tables = if metadata.is_dir() { numbered(&metadata, "metadata_", ".parquet")? } else { BTreeMap::new() };
    if vectors.is_empty() {
        return Err(malformed(folder, "has no `img_emb/img_emb_0000.npy`", "a folder of clip-retrieval"));
    }
    // Every file is looked at before the first row is taken, so that a folder that is not whole is refused as a whole.
    let mut parts = vec![];
    let mut total = 0;
    for (number, path) in vectors {
        let reader = npy::Reader::open(&path)?;
        total += reader.rows;
        if !tables.is_empty() && !tables.contains_key(&number) {
            return Err(malformed(&metadata, format!("has no table for `{}`", path.display()), "one for each file of vectors"));
        }
        parts.push((path, tables.get(&number).cloned()));
    }
    let rows = parts.into_iter().flat_map(|(vectors, table)| {
        part_rows(&vectors, table)
            .unwrap_or_else(|error| Box::new(std::iter::once(Err(Failure { name: vectors.display().to_string(), reason: error.reason() }))))
    });
    Ok(Opened { fingerprint: None, total: Some(total), rows: Box::new(rows) })
}

fn part_rows(vectors: &Path, table: Option<PathBuf>) -> Result<Rows, Error> {
    let reader = npy::Reader::open(vectors)?;
    let own = vectors.display().to_string();
    let Some(table) = table else {
        return Ok(Box::new(reader.zip(0..).map(move |(vector, number)| {
            let vector = vector?;
            Ok(Row { name: format!("{own}#{number}"), vector, captions: vec![], meta: None })
        })));
    };
    let mut facts = read_table(&table, &hua_data::Options::default())?;
    let shown = table.display().to_string();
    let mut rows = reader.zip(0u64..);
    let mut ended = false;
    Ok(Box::new(std::iter::from_fn(move || {
        if ended {
            return None;
        }
        let failed = |reason: &str| Some(Err(Failure { name: shown.clone(), reason: reason.into() }));
        match (rows.next(), facts.next()) {
            (None, None) => None,
            (Some((vector, number)), Some(Ok(fields))) => Some(vector.and_then(|vector| row(&shown, number, vector, fields))),
            (Some(_), Some(Err(failure))) => Some(Err(failure)),
            // From here on it cannot be known what belongs to what.
            (Some(_), None) => {
                ended = true;
                failed("it has fewer rows than there are vectors")
            }
            (None, Some(_)) => {
                ended = true;
                failed("it has more rows than there are vectors")
            }
        }
    })))
}

fn row(table: &str, number: u64, vector: Vec<f32>, mut fields: Map<String, Value>) -> Result<Row, Failure> {
    let name = NAMES.into_iter().find_map(|name| match fields.remove(name)? {
        Value::String(name) if !name.is_empty() => Some(name),
        Value::Number(name) => Some(name.to_string()),
        _ => None,
    });
    let Some(name) = name else {
        let reason = format!("row {number} has none of `{}`", NAMES.join("`, `"));
        return Err(Failure { name: table.into(), reason });
    };
    let mut captions = vec![];
    if let Some(Value::String(text)) = fields.remove("caption")
        && !text.trim().is_empty()
    {
        captions.push(Caption { language: None, text: text.trim().to_owned() });
    }
    fields.retain(|_, value| !value.is_null());
    Ok(Row { name, vector, captions, meta: (!fields.is_empty()).then_some(fields) })
}

/// Files by the number in their name, which may have any count of zeros before it.
fn numbered(folder: &Path, before: &str, after: &str) -> Result<BTreeMap<u64, PathBuf>, Error> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(io(folder))? {
        let path = entry.map_err(io(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(number) = name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).and_then(|n| n.parse().ok()) {
            files.insert(number, path);
        }
    }
    Ok(files)
}

/// The folder being written.
pub(super) struct Writer {
    folder: PathBuf,
    width: usize,
    number: usize,
    vectors: Option<npy::Writer>,
    items: Vec<Item>,
}

impl Writer {
    /// The folder must not be there, or be empty.
    pub fn begin(folder: &Path, width: usize) -> Result<Self, Error> {
        if folder.exists() && std::fs::read_dir(folder).map_err(io(folder))?.next().is_some() {
            return Err(Error::Io { path: folder.to_owned(), source: std::io::ErrorKind::DirectoryNotEmpty.into() });
        }
        for name in ["img_emb", "metadata"] {
            let folder = folder.join(name);
            std::fs::create_dir_all(&folder).map_err(io(folder))?;
        }
        Ok(Self { folder: folder.to_owned(), width, number: 0, vectors: None, items: vec![] })
    }

    pub fn add(&mut self, item: Item, row: &[f32]) -> Result<(), Error> {
        let path = self.folder.join(format!("img_emb/img_emb_{:04}.npy", self.number));
        let vectors = match &mut self.vectors {
            Some(vectors) => vectors,
            none => none.insert(npy::Writer::begin(&path, self.width, StoredType::F16)?),
        };
        vectors.add(row)?;
        self.items.push(item);
        if self.items.len() == ROWS { self.close() } else { Ok(()) }
    }

    pub fn finish(mut self) -> Result<(), Error> {
        self.close()
    }

    /// Completes one file of vectors and its table.
    fn close(&mut self) -> Result<(), Error> {
        let Some(vectors) = self.vectors.take() else { return Ok(()) };
        vectors.finish()?;
        let items = std::mem::take(&mut self.items);
        let path = self.folder.join(format!("metadata/metadata_{:04}.parquet", self.number));
        self.number += 1;
        let text = |of: &dyn Fn(&Item) -> Option<String>| Column::Text(items.iter().map(of).collect());
        let whole = |of: &dyn Fn(&Item) -> Option<i64>| Column::Int(items.iter().map(of).collect());
        let columns = [
            ("image_path", text(&|item| Some(item.path.clone()))),
            ("caption", text(&|item| item.captions.first().map(|caption| caption.text.clone()))),
            ("width", whole(&|item| item.facts.width.map(i64::from))),
            ("height", whole(&|item| item.facts.height.map(i64::from))),
            ("taken", text(&|item| item.facts.taken.clone())),
            ("tags", text(&|item| (!item.tags.is_empty()).then(|| super::table::tags(item)))),
            ("json", text(&|item| item.meta.as_ref().map(Value::to_string))),
        ];
        let unfinished = part(&path);
        write_table(&unfinished, &columns)?;
        std::fs::rename(&unfinished, &path).map_err(io(path))
    }
}
