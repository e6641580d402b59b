//! Items as tables: CSV, JSON lines and parquet, with names that `hua index` and others understand.
use std::io::Write;
use std::path::{Path, PathBuf};

use hua_data::{Column, write_table};
use hua_index::Item;
use serde::Serialize;
use serde_json::Value;

use super::draft::{Draft, part};
use super::{Format, io};
use crate::Error;

/// The columns of a table without vectors.
const COLUMNS: [&str; 14] = [
    "path",
    "caption",
    "captions",
    "tags",
    "width",
    "height",
    "format",
    "taken",
    "camera",
    "latitude",
    "longitude",
    "bytes",
    "added",
    "meta",
];

/// A line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    path: &'a str,
    captions: &'a [hua_index::Caption],
    tags: &'a [hua_index::Tag],
    #[serde(flatten)]
    facts: &'a hua_index::Facts,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding: Option<&'a [f32]>,
}

/// A table being written.
pub(super) enum Writer {
    Csv(Box<csv::Writer<Draft>>),
    Jsonl(Draft),
    /// Its columns are written at once, at the end.
    Parquet(PathBuf, Vec<[Value; COLUMNS.len()]>),
}

impl Writer {
    pub fn begin(path: &Path, format: Format) -> Result<Self, Error> {
        Ok(match format {
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(Draft::begin(path)?);
                writer.write_record(COLUMNS).map_err(|error| io(path)(error.into()))?;
                Self::Csv(Box::new(writer))
            }
            Format::Parquet => Self::Parquet(path.to_owned(), vec![]),
            _ => Self::Jsonl(Draft::begin(path)?),
        })
    }

    pub fn add(&mut self, item: &Item, vector: Option<&[f32]>) -> Result<(), Error> {
        match self {
            Self::Csv(writer) => {
                let fields = fields(item).map(|field| match field {
                    Value::Null => String::new(),
                    Value::String(text) => text,
                    other => other.to_string(),
                });
                writer.write_record(fields).map_err(|error| writer.get_ref().failed()(error.into()))
            }
            Self::Jsonl(draft) => {
                let Item { path, captions, tags, facts, bytes, meta, .. } = item;
                let line = Line { path, captions, tags, facts, bytes: *bytes, meta: meta.as_ref(), embedding: vector };
                let mut line = serde_json::to_vec(&line).map_err(|error| draft.failed()(error.into()))?;
                line.push(b'\n');
                draft.write_all(&line).map_err(draft.failed())
            }
            Self::Parquet(_, rows) => {
                rows.push(fields(item));
                Ok(())
            }
        }
    }

    pub fn finish(self) -> Result<(), Error> {
        match self {
            Self::Csv(writer) => {
                let failed = writer.get_ref().failed();
                writer.into_inner().map_err(|error| failed(error.into_error()))?.finish(&[])
            }
            Self::Jsonl(draft) => draft.finish(&[]),
            Self::Parquet(path, rows) => {
                let unfinished = part(&path);
                let columns: Vec<(&str, Column)> = COLUMNS.iter().zip(0..).map(|(name, at)| (*name, column(name, at, &rows))).collect();
                write_table(&unfinished, &columns)?;
                std::fs::rename(&unfinished, &path).map_err(io(path))
            }
        }
    }
}

/// In the order of [`COLUMNS`]. Lists are JSON in a text, since that is what every reader of tables takes.
fn fields(item: &Item) -> [Value; COLUMNS.len()] {
    let Item { path, captions, tags, facts, bytes, added, meta, .. } = item;
    let all = serde_json::to_string(captions).expect("captions are JSON");
    [
        path.as_str().into(),
        captions.first().map(|caption| caption.text.as_str()).into(),
        (!captions.is_empty()).then_some(all).into(),
        (!tags.is_empty()).then(|| self::tags(item)).into(),
        facts.width.into(),
        facts.height.into(),
        facts.format.as_deref().into(),
        facts.taken.as_deref().into(),
        facts.camera.as_deref().into(),
        facts.latitude.into(),
        facts.longitude.into(),
        (*bytes).into(),
        (*added).into(),
        meta.as_ref().map(Value::to_string).into(),
    ]
}

fn column(name: &str, at: usize, rows: &[[Value; COLUMNS.len()]]) -> Column {
    let cells = rows.iter().map(|row| &row[at]);
    match name {
        "width" | "height" | "bytes" | "added" => Column::Int(cells.map(Value::as_i64).collect()),
        "latitude" | "longitude" => Column::Float(cells.map(Value::as_f64).collect()),
        _ => Column::Text(cells.map(|cell| cell.as_str().map(str::to_owned)).collect()),
    }
}

/// `["cat","sofa"]`: each tag once, whatever source says it.
pub(super) fn tags(item: &Item) -> String {
    let mut tags: Vec<&str> = item.tags.iter().map(|tag| tag.tag.as_str()).collect();
    tags.sort_unstable();
    tags.dedup();
    serde_json::to_string(&tags).expect("texts are JSON")
}
