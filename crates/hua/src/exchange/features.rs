//! Vectors in lines of JSON: Chinese-CLIP's `{"image_id", "feature"}`, and `{"id", "kind", "embedding"}` or `{"path", "embedding"}` of hua.
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use hua_data::{Caption, Failure};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::draft::Draft;
use super::{Opened, Row, io};
use crate::Error;

/// Longer lines than any vector's: nothing is read into memory beyond them.
const LONGEST_LINE: u64 = 16 << 20;

/// What a line may hold.
#[derive(Deserialize)]
struct Line {
    #[serde(alias = "image_id", alias = "path")]
    id: Option<Value>,
    #[serde(alias = "feature")]
    embedding: Option<Vec<f32>>,
    kind: Option<String>,
    #[serde(default)]
    captions: Vec<Caption>,
    meta: Option<Map<String, Value>>,
}

/// Opens a file of lines. Ids that are no paths become `NAMES#id`, if the file they number is known, else `FILE#id`.
pub(super) fn open(path: &Path, numbered: Option<&Path>) -> Result<Opened, Error> {
    let file = File::open(path).map_err(io(path))?;
    let mut lines = BufReader::with_capacity(1 << 20, file);
    let (path, prefix) = (path.to_owned(), numbered.unwrap_or(path).display().to_string());
    let (mut number, mut ended) = (0usize, false);
    let rows = std::iter::from_fn(move || {
        while !ended {
            number += 1;
            let mut bytes = vec![];
            let failed = |reason: String| Some(Err(Failure { name: format!("{} line {number}", path.display()), reason }));
            match lines.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut bytes) {
                Ok(0) => ended = true,
                Ok(n) if n as u64 == LONGEST_LINE => {
                    ended = true;
                    return failed(format!("it is longer than {LONGEST_LINE} bytes"));
                }
                Ok(_) if bytes.trim_ascii().is_empty() => {}
                Ok(_) => match serde_json::from_slice::<Line>(&bytes) {
                    Ok(line) if line.kind.as_deref() == Some("text") => {}
                    Ok(line) => match understood(line, &prefix) {
                        Some(row) => return Some(Ok(row)),
                        None => return failed("it has no `image_id` and `feature`, and no `path` and `embedding`".into()),
                    },
                    Err(error) => return failed(error.to_string()),
                },
                Err(error) => {
                    ended = true;
                    return failed(error.to_string());
                }
            }
        }
        None
    });
    Ok(Opened { fingerprint: None, total: None, rows: Box::new(rows) })
}

fn understood(line: Line, prefix: &str) -> Option<Row> {
    let name = match line.id? {
        Value::Number(id) => format!("{prefix}#{id}"),
        Value::String(id) if !id.is_empty() => id,
        _ => return None,
    };
    Some(Row { name, vector: line.embedding?, captions: line.captions, meta: line.meta })
}

/// Chinese-CLIP's file being written.
pub(super) struct Writer {
    draft: Draft,
    numbers: bool,
}

#[derive(Serialize)]
struct Feature<'a> {
    image_id: Id<'a>,
    feature: &'a [f32],
}

#[derive(Serialize)]
#[serde(untagged)]
enum Id<'a> {
    Number(i64),
    Path(&'a str),
}

impl Writer {
    /// With `numbers` ids are what stands behind `#` in paths, as the data set numbers its pictures.
    pub fn begin(path: &Path, numbers: bool) -> Result<Self, Error> {
        Ok(Self { draft: Draft::begin(path)?, numbers })
    }

    pub fn add(&mut self, path: &str, row: &[f32]) -> Result<(), Error> {
        let image_id = match number(path).filter(|_| self.numbers) {
            Some(number) => Id::Number(number),
            None => Id::Path(path),
        };
        let mut line = serde_json::to_vec(&Feature { image_id, feature: row }).map_err(|error| self.draft.failed()(error.into()))?;
        line.push(b'\n');
        self.draft.write_all(&line).map_err(self.draft.failed())
    }

    pub fn finish(self) -> Result<(), Error> {
        self.draft.finish(&[])
    }
}

/// The id of `valid_imgs.tsv#123`.
pub(super) fn number(path: &str) -> Option<i64> {
    path.rsplit_once('#')?.1.parse().ok()
}

/// The file that `path` is to be numbered by, from the root.
pub(super) fn whole(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}
