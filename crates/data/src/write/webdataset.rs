//! Tars of samples, as img2dataset writes them: `KEY.jpg`, `KEY.txt` with the first caption, `KEY.json` with everything.
use std::path::{Path, PathBuf};

use tar::{Builder, Header};

use super::draft::{Draft, DraftFolder};
use super::{Form, Lost, Sample, WriteOptions};
use crate::Result;
use crate::sidecar::LONGEST;

pub(super) struct Writer {
    archive: Option<Builder<Draft>>,
    /// Samples in it.
    samples: usize,
    shards: Option<Shards>,
}

/// A folder of archives.
struct Shards {
    folder: DraftFolder,
    most: usize,
    begun: usize,
}

impl Writer {
    pub fn begin(path: &Path, options: &WriteOptions) -> Result<Self> {
        if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("tar")) {
            return Ok(Self { archive: Some(Builder::new(Draft::begin(path)?)), samples: 0, shards: None });
        }
        let shards = Shards { folder: DraftFolder::begin(path)?, most: options.shard.max(1), begun: 0 };
        Ok(Self { archive: None, samples: 0, shards: Some(shards) })
    }

    /// The archive that is being written, the next one if it is full.
    fn archive(&mut self) -> Result<&mut Builder<Draft>> {
        if let Some(shards) = &mut self.shards
            && (self.archive.is_none() || self.samples >= shards.most)
        {
            close(self.archive.take())?;
            let path = shards.folder.part().join(format!("{:05}.tar", shards.begun));
            self.archive = Some(Builder::new(Draft::begin(&path)?));
            (shards.begun, self.samples) = (shards.begun + 1, 0);
        }
        Ok(self.archive.as_mut().expect("begun with or just now"))
    }
}

/// Completes an archive and gives it its name.
fn close(archive: Option<Builder<Draft>>) -> Result<Option<PathBuf>> {
    let Some(mut archive) = archive else { return Ok(None) };
    let failed = archive.get_ref().failed();
    archive.finish().map_err(failed)?;
    let failed = archive.get_ref().failed();
    archive.into_inner().map_err(failed)?.finish().map(Some)
}

impl Form for Writer {
    fn add(&mut self, sample: &Sample, _: &mut Lost<'_>) -> Result<std::result::Result<(), String>> {
        let picture = match sample.file_name() {
            Ok(name) => name,
            Err(reason) => return Ok(Err(reason)),
        };
        let sidecar = sample.sidecar();
        // What is longer is not read beside a picture.
        if sidecar.len() as u64 > LONGEST {
            return Ok(Err(format!("its captions and fields have over {LONGEST} bytes")));
        }
        let text = sample.captions.first().map(|caption| format!("{}\n", caption.text));
        let archive = self.archive()?;
        let members = [
            (picture, Some(&*sample.bytes)),
            (format!("{}.txt", sample.key), text.as_deref().map(str::as_bytes)),
            (format!("{}.json", sample.key), Some(&*sidecar)),
        ];
        for (name, content) in members.iter().filter_map(|(name, content)| Some((name, (*content)?))) {
            // No time and no owner: the same data set makes the same bytes.
            let mut header = Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            let failed = archive.get_ref().failed();
            archive.append_data(&mut header, name, content).map_err(failed)?;
        }
        self.samples += 1;
        Ok(Ok(()))
    }

    fn finish(self: Box<Self>) -> Result<Vec<PathBuf>> {
        let Self { archive, shards, .. } = *self;
        let file = close(archive)?;
        match shards {
            Some(shards) => Ok(vec![shards.folder.finish()?]),
            None => Ok(file.into_iter().collect()),
        }
    }
}
