//! A folder of picture files, each in the folder of its first tag, with what is known of it in files beside it.
use std::path::{Path, PathBuf};

use super::draft::DraftFolder;
use super::sample::key_of;
use super::{Form, Lost, Sample};
use crate::Result;
use crate::sidecar::LONGEST;

pub(super) struct Writer(DraftFolder);

impl Writer {
    pub fn begin(path: &Path) -> Result<Self> {
        Ok(Self(DraftFolder::begin(path)?))
    }
}

impl Form for Writer {
    fn add(&mut self, sample: &Sample, _: &mut Lost<'_>) -> Result<std::result::Result<(), String>> {
        let name = match sample.file_name() {
            Ok(name) => name,
            Err(reason) => return Ok(Err(reason)),
        };
        let sidecar = sample.sidecar();
        if sidecar.len() as u64 > LONGEST {
            return Ok(Err(format!("its captions and fields have over {LONGEST} bytes")));
        }
        let class = sample.tags.first().map(|tag| PathBuf::from(key_of(tag))).unwrap_or_default();
        self.0.write(&class.join(name), &sample.bytes)?;
        if let Some(caption) = sample.captions.first() {
            self.0.write(&class.join(format!("{}.txt", sample.key)), format!("{}\n", caption.text).as_bytes())?;
        }
        self.0.write(&class.join(format!("{}.json", sample.key)), &sidecar)?;
        Ok(Ok(()))
    }

    fn finish(self: Box<Self>) -> Result<Vec<PathBuf>> {
        Ok(vec![self.0.finish()?])
    }
}
