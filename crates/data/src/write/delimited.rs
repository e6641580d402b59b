//! CSV and TSV. With paths a row is a caption, as open_clip reads it (`--csv-img-key filepath --csv-caption-key caption`): rows of one picture
//! follow each other. With bytes a row is a picture.
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use csv::WriterBuilder;
use serde_json::json;

use super::draft::Draft;
use super::{Form, Lost, Pictures, Sample, WriteOptions, failed};
use crate::{Error, Result};

const WITH_PATHS: [&str; 6] = ["id", "filepath", "caption", "language", "tags", "meta"];
const WITH_BYTES: [&str; 5] = ["id", "image_bytes", "captions", "tags", "meta"];

pub(super) struct Writer {
    rows: csv::Writer<Draft>,
    path: PathBuf,
    paths: bool,
}

impl Writer {
    pub fn begin(path: &Path, options: &WriteOptions) -> Result<Self> {
        let tabs = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("tsv"));
        let rows = WriterBuilder::new().delimiter(if tabs { b'\t' } else { b',' }).from_writer(Draft::begin(path)?);
        let mut writer = Self { rows, path: path.to_owned(), paths: options.pictures != Pictures::Bytes };
        if writer.paths {
            writer.row(&WITH_PATHS)?
        } else {
            writer.row(&WITH_BYTES)?
        }
        Ok(writer)
    }

    fn row(&mut self, cells: &[&str]) -> Result<()> {
        self.rows.write_record(cells).map_err(|e| match e.into_kind() {
            csv::ErrorKind::Io(e) => failed(&self.path)(e),
            other => failed(&self.path)(std::io::Error::other(format!("{other:?}"))),
        })
    }
}

impl Form for Writer {
    fn add(&mut self, sample: &Sample, _: &mut Lost<'_>) -> Result<std::result::Result<(), String>> {
        let list = |list: &[String]| if list.is_empty() { String::new() } else { json!(list).to_string() };
        let tags = list(sample.tags);
        let meta = if sample.meta.is_empty() { String::new() } else { json!(sample.meta).to_string() };
        let Some(path) = &sample.path else {
            let captions = if sample.captions.is_empty() { String::new() } else { sample.captions_json().to_string() };
            self.row(&[&sample.id, &STANDARD.encode(&sample.bytes), &captions, &tags, &meta])?;
            return Ok(Ok(()));
        };
        let path = path.to_string_lossy();
        let captions = sample.captions.iter().map(|caption| (&*caption.text, caption.language.as_deref().unwrap_or_default()));
        let nothing = sample.captions.is_empty().then_some(("", ""));
        for (number, (text, language)) in captions.chain(nothing).enumerate() {
            // What is said once of a picture is said in its first row.
            let once = |text: &'_ str| if number == 0 { text.to_owned() } else { String::new() };
            self.row(&[&sample.id, &path, text, language, &once(&tags), &once(&meta)])?;
        }
        Ok(Ok(()))
    }

    fn finish(self: Box<Self>) -> Result<Vec<PathBuf>> {
        let path = self.path.clone();
        let file = self.rows.into_inner().map_err(|e| Error::Write { path, source: std::io::Error::other(e.error().to_string()) })?;
        Ok(vec![file.finish()?])
    }

    fn takes_paths(&self) -> bool {
        self.paths
    }
}
