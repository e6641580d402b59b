//! JSON lines: an object a row.
use std::io::BufRead;

use super::{Row, RowError, Rows};
use crate::lines::{LineError, Lines};

pub(super) fn rows(reader: Box<dyn BufRead + Send>, most: u64) -> Rows {
    let lines = Lines::new(reader, most).filter(|line| !line.as_ref().is_ok_and(|line| line.bytes.trim_ascii().is_empty()));
    Box::new(lines.map(|line| {
        let line = line.map_err(|e| match e {
            LineError::Io(e) => RowError::Table(format!("cannot be read: {e}")),
            LineError::Long { number, most } => RowError::Row(number as u64, format!("a line of over {most} bytes")),
        })?;
        let number = line.number as u64;
        match serde_json::from_slice(&line.bytes) {
            Ok(fields) => Ok(Row { number, fields, binary: vec![] }),
            Err(e) => Err(RowError::Row(number, format!("{e}; wanted a JSON object"))),
        }
    }))
}
