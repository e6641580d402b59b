//! Retrieval scores of a model on a data set.
//!
//! R@K is the share of queries with at least one right answer among the K best, as cn_clip's `evaluation.py` counts; MR is the mean of the
//! six recalls (R@1, 5, 10, text to image and image to text) as in FlagAI's reports, which is the mean of the `mean_recall`s that cn_clip's
//! scripts give for each direction. Scores are cosines in f32. Ties go to the candidate that comes first in the file, as in cn_clip's
//! stable sort. A text that names no picture of the split is no query; cn_clip would count it as missed.
mod dataset;
mod recall;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

pub use dataset::{Dataset, DatasetError, TextRecord};
pub use recall::{Recalls, recalls};

use crate::{Embedder, Embeddings, Error, Failure, Progress};

/// Recalls of one group of texts (a language) in both directions, percent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LanguageScores {
    /// Queries are texts, candidates all pictures of the split.
    pub text_to_image: Recalls,
    /// Queries are pictures, candidates all texts of the group.
    pub image_to_text: Recalls,
    /// Mean of the six recalls.
    #[serde(rename = "MR")]
    pub mean_recall: f64,
}

/// What [`retrieval`] found.
#[derive(Clone, Debug, Serialize)]
pub struct RetrievalReport {
    /// By the records' `lang`; `all` for records without.
    pub languages: BTreeMap<String, LanguageScores>,
    /// Pictures of the split.
    pub images: usize,
    /// Texts of each group, if all have as many; else the most there are.
    pub texts_per_language: usize,
    /// Mean over the groups.
    pub mean_text_to_image: Recalls,
    /// Mean over the groups.
    pub mean_image_to_text: Recalls,
    /// Mean over the groups.
    #[serde(rename = "mean_MR")]
    pub mean_mean_recall: f64,
    /// Texts that name no picture of the split, which are not queries (cn_clip would count them as missed).
    #[serde(skip_serializing_if = "is_zero")]
    pub texts_without_image: usize,
    /// Texts longer than the model reads, which were cut.
    #[serde(skip_serializing_if = "is_zero")]
    pub texts_cut: usize,
    /// Pictures that could not be read, which are missing from the split.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// Scores `embedder` on split `split` of a data set in Chinese-CLIP's format: `{split}_imgs.tsv` (id, tab, base64 of the picture file) and
/// `{split}_texts.jsonl` (`text_id`, `text`, `image_ids`, optionally `lang`) in the folder `data`.
///
/// # Errors
/// [`Error::Dataset`] if the files are missing, damaged, or hold no text with a picture. A picture that cannot be decoded is left out and
/// reported.
pub fn retrieval(embedder: &Embedder, data: &Path, split: &str, progress: &dyn Progress) -> Result<RetrievalReport, Error> {
    let dataset = Dataset::read(data, split).map_err(DatasetError::from)?;
    let (images, failures) = embed_pictures(embedder, &dataset, progress)?;
    let mut groups: BTreeMap<&str, Vec<&TextRecord>> = BTreeMap::new();
    for text in &dataset.texts {
        groups.entry(text.lang.as_deref().unwrap_or("all")).or_default().push(text);
    }
    let total = dataset.texts.len() as u64;
    progress.start("embedding texts", total);
    let (mut languages, mut texts_cut, mut most) = (BTreeMap::new(), 0, 0);
    for (language, texts) in groups {
        let strings: Vec<&str> = texts.iter().map(|t| t.text.as_str()).collect();
        let embeddings = embedder.embed_texts(&strings)?;
        progress.advance(texts.len() as u64);
        texts_cut += embeddings.truncated().len();
        most = most.max(texts.len());
        if let Some(scores) = score(&texts, &embeddings, &images)? {
            languages.insert(language.to_owned(), scores);
        }
    }
    progress.finish();
    if languages.is_empty() {
        return Err(DatasetError::NoAnswers { path: dataset.texts_path }.into());
    }
    let mean = |f: fn(&LanguageScores) -> Recalls| Recalls::mean(languages.values().map(f));
    Ok(RetrievalReport {
        images: images.ids.len(),
        texts_per_language: most,
        mean_text_to_image: mean(|s| s.text_to_image),
        mean_image_to_text: mean(|s| s.image_to_text),
        mean_mean_recall: recall::round2(languages.values().map(|s| s.mean_recall).sum::<f64>() / languages.len() as f64),
        texts_without_image: dataset.texts.iter().filter(|t| !t.image_ids.iter().any(|id| images.ids.contains_key(id))).count(),
        texts_cut,
        failures,
        languages,
    })
}

/// The pictures of a split: rows of `embeddings` by id.
struct Pictures {
    ids: BTreeMap<String, usize>,
    embeddings: Embeddings,
}

fn embed_pictures(embedder: &Embedder, dataset: &Dataset, progress: &dyn Progress) -> Result<(Pictures, Vec<Failure>), Error> {
    let mut failures = vec![];
    let mut ids = BTreeMap::new();
    progress.start("embedding pictures", dataset.image_count().map_err(DatasetError::from)? as u64);
    let images = dataset.images().map_err(DatasetError::from)?.map(|image| image.map_err(DatasetError::from));
    let (embeddings, kept) = embedder.embed_encoded(images, &mut failures, progress)?;
    for id in kept {
        let row = ids.len();
        if ids.insert(id.clone(), row).is_some() {
            return Err(DatasetError::DuplicateImage { path: dataset.images_path.clone(), id }.into());
        }
    }
    progress.finish();
    Ok((Pictures { ids, embeddings }, failures))
}

/// The scores of one group; `None` if no text of it names a picture of the split.
fn score(texts: &[&TextRecord], text_embeddings: &Embeddings, images: &Pictures) -> Result<Option<LanguageScores>, Error> {
    let positives: Vec<Vec<usize>> =
        texts.iter().map(|t| t.image_ids.iter().filter_map(|id| images.ids.get(id).copied()).collect()).collect();
    let mut of_image = vec![vec![]; images.ids.len()];
    for (text, positives) in positives.iter().enumerate() {
        for &image in positives {
            of_image[image].push(text);
        }
    }
    let forth = recalls(text_embeddings, &images.embeddings, &positives)?;
    let back = recalls(&images.embeddings, text_embeddings, &of_image)?;
    let (Some(text_to_image), Some(image_to_text)) = (forth, back) else { return Ok(None) };
    let six = text_to_image.values().into_iter().chain(image_to_text.values());
    Ok(Some(LanguageScores { text_to_image, image_to_text, mean_recall: recall::round2(six.sum::<f64>() / 6.0) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `tests/golden/recalls.json`; README.md there says what it is.
    #[derive(serde::Deserialize)]
    struct Golden {
        grain: f32,
        image_ids: Vec<Vec<usize>>,
        scores: Vec<Vec<f32>>,
        text_to_image: BTreeMap<String, f64>,
        image_to_text: BTreeMap<String, f64>,
    }

    #[test]
    fn several_right_answers_and_ties_score_as_in_cn_clip() {
        let golden: Golden = serde_json::from_str(include_str!("../../../../tests/golden/recalls.json")).unwrap();
        // Pictures are unit vectors, so that a text's numbers are its scores.
        let width = golden.scores[0].len();
        let unit = |i: usize| (0..width).map(move |j| if i == j { 1.0 } else { 0.0 });
        let images = Embeddings::from_rows("golden", width, (0..width).flat_map(unit).collect());
        let texts = Embeddings::from_rows("golden", width, golden.scores.concat().iter().map(|score| score / golden.grain).collect());
        let pictures = Pictures { ids: (0..width).map(|i| (i.to_string(), i)).collect(), embeddings: images };
        let record =
            |ids: &Vec<usize>| TextRecord { text_id: None, text: String::new(), image_ids: ids.iter().map(ToString::to_string).collect(), lang: None };
        let records: Vec<_> = golden.image_ids.iter().map(record).collect();
        let found = score(&records.iter().collect::<Vec<_>>(), &texts, &pictures).unwrap().unwrap();

        let close = |found: f64, wanted: f64| assert!((found - wanted).abs() < 0.005 + 1e-9, "{found} for {wanted}");
        for (recalls, wanted) in [(found.text_to_image, &golden.text_to_image), (found.image_to_text, &golden.image_to_text)] {
            close(recalls.at_1, wanted["R@1"]);
            close(recalls.at_5, wanted["R@5"]);
            close(recalls.at_10, wanted["R@10"]);
        }
        // MR is a mean of figures that were rounded, and rounded again.
        let wanted = (golden.text_to_image["mean_recall"] + golden.image_to_text["mean_recall"]) / 2.0;
        assert!((found.mean_recall - wanted).abs() <= 0.01, "{} for {wanted}", found.mean_recall);
    }
}
