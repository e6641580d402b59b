//! Chinese-CLIP's LMDB of a split: `imgs`, from id to the picture file in base64, and `pairs`, from a running number to a pickled
//! `(image_id, text_id, text)` (`build_lmdb_dataset.py`).
//!
//! An entry says where in the file its base64 stands. Where `pairs` is missing, the texts of `SPLIT_texts.jsonl` are taken, if that lies where
//! the script found it.
mod pages;
mod pickle;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::chinese_clip;
use crate::kind::lmdb_pictures;
use crate::sources::{Items, modified};
use crate::walk::{escape, name_of};
use crate::{Caption, Coding, Entry, Error, Failure, Options, Result, Source};
use pages::{Database, Place};

/// The longest pickled pair, in bytes.
const LONGEST_PAIR: u64 = 1 << 20;

/// The environments of pictures that `path` is or has, of the split `split` if it is given.
pub(crate) fn environments(path: &Path, split: Option<&str>) -> Result<Vec<PathBuf>> {
    let folder = if path.is_dir() { path.to_owned() } else { path.parent().unwrap_or(Path::new("")).to_owned() };
    let mut found = lmdb_pictures(&folder);
    if let Some(split) = split {
        found.retain(|pictures| pictures.parent().and_then(Path::file_name).is_some_and(|name| name == split));
        if found.is_empty() {
            let wanted = format!("`{split}/imgs`");
            return Err(Error::Malformed { path: path.to_owned(), found: "has no such split".into(), wanted });
        }
    }
    Ok(found)
}

/// The pictures of the environment `folder`, in the order of their ids as bytes.
pub(crate) fn items(folder: &Path, options: &Options) -> Result<Items> {
    let path = folder.join("data.mdb");
    let malformed = |found: String| Error::Malformed { path: path.clone(), found, wanted: "an LMDB file of a 64-bit machine".into() };
    let metadata = fs::metadata(&path).map_err(Error::io(&path))?;
    let database = Database::open(&path).map_err(malformed)?;
    let mut failures = vec![];
    let mut captions = pairs(folder, &mut failures);
    let (modified, most) = (modified(&metadata), options.max_bytes);
    let (folder, file) = (name_of(folder), Arc::<Path>::from(path.clone()));
    let pictures = database.filter_map(move |record| {
        let (id, Place { offset, length }) = match record {
            Ok((key, _)) if key == b"num_images" => return None,
            Ok((key, place)) => (escape(&key), place),
            Err(reason) => return Some(Err(Failure { name: name_of(&path), reason })),
        };
        let name = format!("{folder}#{id}");
        if length / 4 * 3 > most {
            return Some(Err(Failure { name, reason: format!("over {most} bytes are too many for a picture") }));
        }
        let mut entry = Entry::new(name, Source::Part { file: file.clone(), offset, length, coding: Coding::Base64 });
        entry.captions = captions.remove(&id).unwrap_or_default();
        (entry.bytes, entry.modified) = (Some(length / 4 * 3), modified);
        Some(Ok(entry))
    });
    Ok(Box::new(failures.into_iter().map(Err).chain(pictures)))
}

/// The texts of each picture.
fn pairs(pictures: &Path, failures: &mut Vec<Failure>) -> HashMap<String, Vec<Caption>> {
    let path = pictures.with_file_name("pairs").join("data.mdb");
    let mut captions: HashMap<String, Vec<(u64, Caption)>> = HashMap::new();
    let mut fail = |reason| failures.push(Failure { name: name_of(&path), reason });
    if !path.is_file() {
        // lmdb/SPLIT/imgs beside SPLIT_texts.jsonl.
        let split = pictures.parent().and_then(|split| Some((split.parent()?.parent()?, split.file_name()?)));
        let texts = split.map(|(data, split)| data.join(format!("{}_texts.jsonl", split.to_string_lossy())));
        return texts.map(|texts| chinese_clip::captions(&texts, failures)).unwrap_or_default();
    }
    let (records, mut values) = match (Database::open(&path), Database::open(&path)) {
        (Ok(records), Ok(values)) => (records, values),
        (Err(reason), _) | (_, Err(reason)) => {
            fail(reason);
            return HashMap::new();
        }
    };
    for record in records {
        let pair = record.and_then(|(key, place)| {
            if key == b"num_samples" {
                return Ok(None);
            }
            let value = values.value(&place, LONGEST_PAIR)?;
            let (id, text) = pickle::pair(&value).map_err(|found| format!("record `{}` {found}", escape(&key)))?;
            Ok(Some((key, id, text)))
        });
        match pair {
            Ok(Some((key, id, text))) => {
                // Keys are in the order of their digits, texts in that of their numbers.
                let number = std::str::from_utf8(&key).ok().and_then(|key| key.parse().ok()).unwrap_or(u64::MAX);
                let caption = Caption { language: None, text: text.trim().to_owned() };
                captions.entry(id).or_default().push((number, caption));
            }
            Ok(None) => {}
            Err(reason) => fail(reason),
        }
    }
    let in_order = |mut texts: Vec<(u64, Caption)>| {
        texts.sort_by_key(|(number, _)| *number);
        texts.into_iter().map(|(_, caption)| caption).collect()
    };
    captions.into_iter().map(|(id, texts)| (id, in_order(texts))).collect()
}

#[cfg(test)]
mod tests;
