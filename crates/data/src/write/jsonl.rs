//! JSON lines: `{"id", "filepath" or "image_bytes", "captions", "tags", …}`.
use std::io::Write;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::draft::Draft;
use super::{Form, Lost, Pictures, Sample, WriteOptions};
use crate::Result;

pub(super) struct Writer {
    file: Draft,
    paths: bool,
}

impl Writer {
    pub fn begin(path: &Path, options: &WriteOptions) -> Result<Self> {
        Ok(Self { file: Draft::begin(path)?, paths: options.pictures != Pictures::Bytes })
    }
}

impl Form for Writer {
    fn add(&mut self, sample: &Sample, _: &mut Lost<'_>) -> Result<std::result::Result<(), String>> {
        let mut fields = sample.object();
        match &sample.path {
            Some(path) => fields.insert("filepath".into(), json!(path)),
            None => fields.insert("image_bytes".into(), json!(STANDARD.encode(&sample.bytes))),
        };
        let mut line = serde_json::to_vec(&fields).expect("JSON of JSON");
        line.push(b'\n');
        self.file.write_all(&line).map_err(self.file.failed())?;
        Ok(Ok(()))
    }

    fn finish(self: Box<Self>) -> Result<Vec<PathBuf>> {
        Ok(vec![self.file.finish()?])
    }

    fn takes_paths(&self) -> bool {
        self.paths
    }
}
