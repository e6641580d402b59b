//! A data set in another form.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hua_data::{DatasetWriter, Failure, Kind, Sources, Target, WriteOptions, Written, chinese_clip};
use serde::Serialize;

use crate::{Error, Progress};

/// What became of a data set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Converted {
    /// Files and folders that were written.
    pub files: Vec<PathBuf>,
    /// Pictures in them.
    pub pictures: u64,
    /// Captions in them, counted at each picture.
    pub captions: u64,
    /// Bytes of picture files.
    pub bytes: u64,
    /// How many pictures, or texts, had something that the form has no place for, by what it is.
    pub lost: BTreeMap<String, u64>,
    /// Pictures whose id had come before, and that have a number behind theirs now.
    pub renamed: u64,
    /// What was left out, and why.
    pub failures: Vec<Failure>,
}

/// Writes all pictures of `sources`, with what is known of them, at `path` in the form `target`. Bytes of pictures are copied as they are.
///
/// # Errors
/// [`Error::Data`] if a source cannot be read as a whole, or if it cannot be written; [`Error::NoPictures`]. Nothing is left then.
pub fn convert(
    sources: &[PathBuf],
    data: &hua_data::Options,
    target: Target,
    path: &Path,
    options: &WriteOptions,
    progress: &dyn Progress,
) -> Result<Converted, Error> {
    let entries = Sources::open(sources, data)?;
    let mut lost = fields_of_texts(&entries)?;
    let mut writer = DatasetWriter::begin(target, path, options)?;
    let (mut failures, mut empty, mut written) = (vec![], 0, 0_u64);
    progress.start("writing pictures", 0);
    for entry in entries {
        match entry {
            Ok(entry) => match writer.add(&entry)? {
                Ok(()) => {
                    written += 1;
                    empty += entry.captions.iter().filter(|caption| caption.text.is_empty()).count() as u64;
                }
                Err(failure) => failures.push(failure),
            },
            Err(failure) => failures.push(failure),
        }
        progress.advance(1);
        progress.failed(failures.len() as u64);
    }
    if written == 0 {
        let failures = failures.into_iter().map(|Failure { name, reason }| crate::Failure { path: name, reason }).collect();
        return Err(Error::NoPictures { sources: sources.to_vec(), failures });
    }
    let Written { files, pictures, captions, bytes, lost: of_pictures, renamed } = writer.finish()?;
    progress.finish();
    lost.extend(of_pictures.into_iter().map(|(what, count)| (format!("{what} of pictures"), count)));
    if empty > 0 {
        lost.insert("empty captions".into(), empty);
    }
    Ok(Converted { files, pictures, captions, bytes, lost, renamed, failures })
}

/// What Chinese-CLIP's texts say beside text, pictures and language: a caption elsewhere has no place for it.
fn fields_of_texts(sources: &Sources) -> Result<BTreeMap<String, u64>, Error> {
    let mut lost = BTreeMap::new();
    for (path, _) in sources.kinds().filter(|(_, kind)| *kind == Kind::ChineseClip) {
        for (field, count) in chinese_clip::other_fields(path)? {
            *lost.entry(format!("`{field}` of texts")).or_default() += count;
        }
    }
    Ok(lost)
}
