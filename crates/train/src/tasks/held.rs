//! Real recall on the held-out set: all its texts against all its pictures, by the scorer of `hua eval retrieval`.
use std::collections::BTreeMap;
use std::sync::Arc;

use hua::evaluate::{Bootstrap, HeldOut, RetrievalReport};
use hua_data::Failure;
use hua_exec::Batch;
use hua_image::Filter;
use hua_image::augment::Augment;
use hua_text::Tokenizer;
use rayon::prelude::*;

use super::encoder::Encoder;
use crate::Result;
use crate::data::Pictures;
use crate::trainer::{Evaluation, Example, Hit};

/// Pictures decoded together.
const TOGETHER: usize = 64;
/// Texts of which an evaluation shows what they find, for each language.
const SHOWN: usize = 2;
/// Pictures shown for each.
const FOUND: usize = 5;
/// From one text that may be shown to the next: a prime.
const STRIDE: usize = 7919;
/// Their longest side, pixels.
const PREVIEW: u32 = 96;

/// Pictures and texts that are never trained on, as a model sees them.
pub(crate) struct Held {
    pictures: Pictures,
    ids: Vec<Vec<u32>>,
    texts: Vec<u32>,
    /// Vectors of a tower that does not change, `[pictures, width]`.
    constant: Option<Vec<f32>>,
    /// Pictures that can be used, in the order of their rows.
    usable: Option<Vec<u32>>,
    bad: Vec<Failure>,
}

impl Held {
    /// Texts that the tokenizer refuses are left out and counted.
    pub(crate) fn new(pictures: Pictures, tokenizer: &Tokenizer) -> Self {
        let set = Arc::clone(pictures.set());
        let (mut ids, mut texts, mut bad) = (vec![], vec![], vec![]);
        for text in 0..set.texts() as u32 {
            match tokenizer.encode(set.text(text)) {
                Ok(encoding) => {
                    ids.push(encoding.ids);
                    texts.push(text);
                }
                Err(e) => bad.push(Failure { name: set.text(text).to_owned(), reason: e.to_string() }),
            }
        }
        Self { pictures, ids, texts, constant: None, usable: None, bad }
    }

    /// Recalls of the towers as they are.
    pub(crate) fn evaluate(&mut self, image: &Encoder, text: &Encoder) -> Result<Evaluation> {
        let images = self.images(image)?;
        let texts = text.embed(Batch::Ids(&self.ids))?;
        let set = self.pictures.set();
        let usable = self.usable.as_deref().unwrap_or_default();
        let rows: BTreeMap<u32, usize> = usable.iter().enumerate().map(|(row, &picture)| (picture, row)).collect();
        let positives: Vec<Vec<usize>> = self
            .texts
            .iter()
            .map(|&text| set.pictures_of(text).iter().filter_map(|picture| rows.get(picture).copied()).collect())
            .collect();
        let language = |text: u32| if set.language(text).is_empty() { "all".to_owned() } else { set.language(text).to_owned() };
        let languages: Vec<String> = self.texts.iter().map(|&text| language(text)).collect();
        let held = HeldOut { width: text.width(), texts: &texts, images: &images, positives: &positives, languages: &languages };
        let scored = held.score(&Bootstrap { resamples: 0, ..Bootstrap::default() })?;
        let (mut metrics, headline) = metrics(&scored.report);
        if !self.bad.is_empty() {
            metrics.insert("bad".to_owned(), self.bad.len() as f64);
        }
        let mut shown: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        // Texts from all over the set: their languages often take turns, so no stride that could keep pace with them.
        let rows = self.texts.len();
        for row in (0..rows).map(|number| number * STRIDE % rows) {
            let of_language = shown.entry(&languages[row]).or_default();
            if of_language.len() < SHOWN && !positives[row].is_empty() {
                of_language.push(row);
            }
        }
        let shown: Vec<usize> = shown.into_values().flatten().collect();
        let examples = held.examples(&shown, FOUND)?.into_iter().map(|example| Example {
            query: set.text(self.texts[example.text]).to_owned(),
            language: languages[example.text].clone(),
            hits: example
                .found
                .iter()
                .map(|&(row, score)| Hit {
                    picture: set.name(usable[row]).to_owned(),
                    score,
                    right: positives[example.text].contains(&row),
                    preview: self.preview(usable[row]),
                })
                .collect(),
        });
        Ok(Evaluation { metrics, headline, examples: examples.collect() })
    }

    /// A small PNG of a picture, for people; empty if it cannot be read.
    fn preview(&self, picture: u32) -> Vec<u8> {
        let Ok(picture) = self.pictures.picture(picture) else { return vec![] };
        let (width, height) = (picture.width(), picture.height());
        let long = width.max(height).max(PREVIEW);
        let side = |length: u32| ((u64::from(length) * u64::from(PREVIEW) / u64::from(long)) as u32).max(1);
        picture.to_rgb8().resize(side(width), side(height), Filter::Bicubic).encode_png()
    }

    fn images(&mut self, image: &Encoder) -> Result<Vec<f32>> {
        if let Some(constant) = &self.constant {
            return Ok(constant.clone());
        }
        let first = self.usable.is_none();
        let all = self.usable.take().unwrap_or_else(|| (0..self.pictures.set().pictures() as u32).collect());
        let (mut rows, mut usable) = (vec![], vec![]);
        for some in all.chunks(TOGETHER) {
            let pixels: Vec<_> = some.par_iter().map(|&picture| self.pictures.pixels(picture, &Augment::default(), 0)).collect();
            let mut batch = vec![];
            for (&picture, pixels) in some.iter().zip(pixels) {
                match pixels {
                    Ok(pixels) => {
                        batch.extend(pixels);
                        usable.push(picture);
                    }
                    Err(failure) if first => self.bad.push(failure),
                    Err(_) => {}
                }
            }
            rows.extend(image.embed(Batch::Images(&batch))?);
        }
        self.usable = Some(usable);
        if image.is_constant() {
            self.constant = Some(rows.clone());
        }
        Ok(rows)
    }
}

/// Recalls by name, and the mean over the languages of R@1 from text to picture.
pub(crate) fn metrics(report: &RetrievalReport) -> (BTreeMap<String, f64>, f64) {
    let mut metrics = BTreeMap::new();
    let mut put = |direction: &str, language: &str, values: [f64; 3]| {
        for (k, value) in [1, 5, 10].into_iter().zip(values) {
            metrics.insert(format!("{direction}/{language}/r{k}"), value);
        }
    };
    for (language, scores) in &report.languages {
        put("t2i", language, scores.text_to_image.values());
        put("i2t", language, scores.image_to_text.values());
    }
    put("t2i", "mean", report.mean_text_to_image.values());
    put("i2t", "mean", report.mean_image_to_text.values());
    metrics.insert("mr".to_owned(), report.mean_mean_recall);
    // Of as many decimals as there are: two models that are equal in two are not the same.
    let languages = report.languages.len().max(1) as f64;
    let headline = report.languages.values().map(|scores| scores.text_to_image.at_1).sum::<f64>() / languages;
    (metrics, headline)
}
