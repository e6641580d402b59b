//! Tables of text with a line of names: cells between commas, tabs or semicolons, in quotes where they need to be.
//!
//! A quote that is never closed would make the rest of the file one cell: reading ends where a row is longer than is allowed.
use std::io::{self, BufRead, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use csv::{ByteRecord, ReaderBuilder};
use serde_json::{Map, Number, Value};

use super::{Row, RowError, Rows};
use crate::sidecar::Meaning;
use crate::{Error, Result};

pub(super) fn rows(path: &Path, mut reader: Box<dyn BufRead + Send>, most: u64) -> Result<Rows> {
    let head = reader.fill_buf().map_err(Error::io(path))?;
    let first = head.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let has = |delimiter| first.contains(&delimiter);
    let delimiter = if has(b'\t') {
        b'\t'
    } else if has(b';') && !has(b',') {
        b';'
    } else {
        b','
    };
    let end = Arc::new(AtomicU64::new(most));
    let guard = Guard { reader, at: 0, end: end.clone() };
    let mut reader = ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(guard);
    let malformed = |found: String| Error::Malformed { path: path.to_owned(), found, wanted: "a table with a line of names".into() };
    let headers = reader.byte_headers().map_err(|e| malformed(format!("cannot be read: {e}")))?;
    let names: Vec<String> = headers.iter().map(|name| String::from_utf8_lossy(name).trim().to_owned()).collect();
    let (mut number, mut ended) = (0, false);
    Ok(Box::new(std::iter::from_fn(move || {
        if ended {
            return None;
        }
        number += 1;
        end.store(reader.position().byte().saturating_add(most), Ordering::Relaxed);
        let mut record = ByteRecord::new();
        match reader.read_byte_record(&mut record) {
            Ok(false) => None,
            // A longer row has a comma that nobody put into quotes: its cells are under wrong names. Of a shorter one the last are missing.
            Ok(true) if record.iter().skip(names.len()).any(|cell| !cell.is_empty()) => {
                Some(Err(RowError::Row(number, format!("{} cells, wanted {}", record.len(), names.len()))))
            }
            Ok(true) => Some(Ok(Row { number, fields: fields(&names, &record), binary: vec![] })),
            Err(e) => {
                ended = true;
                Some(Err(RowError::Table(format!("row {number}: {e}"))))
            }
        }
    })))
}

/// The cells that hold something, by name. Numbers are numbers where they are neither captions nor tags.
fn fields(names: &[String], record: &ByteRecord) -> Map<String, Value> {
    let mut fields = Map::new();
    for (name, cell) in names.iter().zip(record) {
        let text = String::from_utf8_lossy(cell);
        if text.is_empty() || name.is_empty() {
            continue;
        }
        let number = || serde_json::from_str::<Number>(&text).ok().filter(|number| number.to_string() == *text);
        let value = match Meaning::of(name) {
            Meaning::Other => number().map(Value::Number),
            _ => None,
        };
        fields.insert(name.clone(), value.unwrap_or_else(|| Value::String(text.into_owned())));
    }
    fields
}

/// A reader that goes no farther than it is allowed to.
struct Guard {
    reader: Box<dyn BufRead + Send>,
    at: u64,
    end: Arc<AtomicU64>,
}

impl Read for Guard {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.end.load(Ordering::Relaxed) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long; is a quote not closed?"));
        }
        let read = self.reader.read(to)?;
        self.at += read as u64;
        Ok(read)
    }
}
