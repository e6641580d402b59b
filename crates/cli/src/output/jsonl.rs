//! JSON lines: `{"id", "kind", "embedding"}`, one object a row.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::Serialize;

use super::{About, Draft, Kind, Writer};

/// A file of JSON lines.
pub struct Jsonl(BufWriter<Draft>);

#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    kind: &'a str,
    embedding: &'a [f32],
}

impl Jsonl {
    pub fn begin(path: &Path, _: About) -> anyhow::Result<Self> {
        Ok(Self(BufWriter::new(Draft::begin(path)?)))
    }
}

impl Writer for Jsonl {
    fn add(&mut self, kind: Kind, id: &str, row: &[f32]) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, &Row { id, kind: kind.name(), embedding: row })?;
        self.0.write_all(b"\n")
    }

    fn finish(self: Box<Self>) -> anyhow::Result<()> {
        self.0.into_inner().map_err(|error| error.into_error())?.finish()
    }
}
