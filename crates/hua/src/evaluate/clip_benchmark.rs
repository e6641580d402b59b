//! CLIP_benchmark's results (`clip_benchmark` 1.6.2), in its JSON: one object for each data set, model, task and language.
//!
//! Its recall is 1 for a query with at least one right answer among the K best and 0 for every other, also for one that has no right answer;
//! the mean is taken in f32 (`metrics/zeroshot_retrieval.py`). Accuracy is in f64, the average precision in f32
//! (`metrics/zeroshot_classification.py`; `classification.rs`). A figure that it has as NaN (the five best of fewer than five classes) is null
//! here, since JSON has no NaN.
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::retrieval::{LanguageQueries, Query};

/// One object of results.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Results {
    /// The data set's name.
    pub dataset: String,
    /// The model's name.
    pub model: String,
    /// Which weights; upstream tells architecture and weights apart, hua names both at once.
    pub pretrained: String,
    /// `zeroshot_retrieval`, `zeroshot_classification` or `linear_probe`.
    pub task: String,
    /// By the names that upstream gives.
    pub metrics: Map<String, Value>,
    /// Of texts, class names and templates.
    pub language: String,
}

/// `image_retrieval_recall@K` (texts ask) and `text_retrieval_recall@K` (pictures ask) of one language, with `texts` texts and `images` pictures in
/// all.
pub fn retrieval_metrics(queries: &LanguageQueries, texts: usize, images: usize, ks: &[usize]) -> Map<String, Value> {
    let recall = |queries: &[Query], of: usize, k: usize| {
        let hits = queries.iter().filter(|query| query.rank <= k).count();
        json!(f64::from(hits as f32 / of as f32))
    };
    let both = |&k: &usize| {
        [
            (format!("image_retrieval_recall@{k}"), recall(&queries.text_to_image, texts, k)),
            (format!("text_retrieval_recall@{k}"), recall(&queries.image_to_text, images, k)),
        ]
    };
    ks.iter().flat_map(both).collect()
}
