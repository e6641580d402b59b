//! Chinese-CLIP's text form: pictures in base64 as they come, texts at the end, as each names all of its pictures.
use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, json};

use super::draft::Draft;
use super::{Form, Lost, Sample, WriteOptions, failed, free};
use crate::{Caption, Result};

pub(super) struct Writer {
    pictures: Draft,
    texts_path: PathBuf,
    /// Texts in the order of their first pictures, with the numbers of their pictures.
    texts: Vec<(Caption, Vec<u32>)>,
    places: HashMap<Caption, usize>,
    ids: Vec<String>,
    /// Last, so that it goes after what lies in it.
    _made: Made,
}

/// A folder that goes again if nothing came to lie in it.
struct Made(Option<PathBuf>);

impl Drop for Made {
    fn drop(&mut self) {
        if let Some(folder) = &self.0 {
            // One that is not empty stays.
            let _ = fs::remove_dir(folder);
        }
    }
}

impl Writer {
    pub fn begin(folder: &Path, options: &WriteOptions) -> Result<Self> {
        let is_new = !folder.is_dir();
        if is_new {
            fs::create_dir(folder).map_err(failed(folder))?;
        }
        let made = Made(is_new.then(|| folder.to_owned()));
        let texts_path = folder.join(format!("{}_texts.jsonl", options.split));
        free(&texts_path)?;
        let pictures = Draft::begin(&folder.join(format!("{}_imgs.tsv", options.split)))?;
        Ok(Self { pictures, texts_path, texts: vec![], places: HashMap::new(), ids: vec![], _made: made })
    }
}

impl Form for Writer {
    fn add(&mut self, sample: &Sample, lost: &mut Lost<'_>) -> Result<std::result::Result<(), String>> {
        if sample.id.contains(['\t', '\n', '\r']) {
            return Ok(Err("its id has a tab or a line feed within".into()));
        }
        let line = format!("{}\t{}\n", sample.id, STANDARD.encode(&sample.bytes));
        self.pictures.write_all(line.as_bytes()).map_err(self.pictures.failed())?;
        let number = self.ids.len() as u32;
        self.ids.push(sample.id.clone());
        for caption in &sample.captions {
            let place = *self.places.entry((*caption).clone()).or_insert_with(|| {
                self.texts.push(((*caption).clone(), vec![]));
                self.texts.len() - 1
            });
            let pictures = &mut self.texts[place].1;
            if pictures.last() != Some(&number) {
                pictures.push(number);
            }
        }
        lost.note("tags", !sample.tags.is_empty());
        lost.note("fields", !sample.meta.is_empty());
        Ok(Ok(()))
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<PathBuf>> {
        self.pictures.complete()?;
        let mut texts = Draft::begin(&self.texts_path)?;
        for (number, (Caption { language, text }, pictures)) in self.texts.iter().enumerate() {
            // Ids are numbers where they are, as upstream's loader has them.
            let id =
                |id: &String| id.parse::<i64>().ok().filter(|number| number.to_string() == *id).map_or(json!(id), |number| json!(number));
            let ids: Vec<_> = pictures.iter().map(|number| id(&self.ids[*number as usize])).collect();
            let mut record =
                Map::from_iter([("text_id".into(), json!(number)), ("text".into(), json!(text)), ("image_ids".into(), json!(ids))]);
            if let Some(language) = language {
                record.insert("lang".into(), json!(language));
            }
            let mut line = serde_json::to_vec(&record).expect("JSON of JSON");
            line.push(b'\n');
            texts.write_all(&line).map_err(texts.failed())?;
        }
        texts.complete()?;
        Ok(vec![self.pictures.finish()?, texts.finish()?])
    }
}
