//! The file that ELEVATER's leaderboard (EvalAI challenge 1832) takes, as cn_clip's `eval/zeroshot_evaluation.py` writes it.
//!
//! The probabilities are the softmax of 100 times the cosine, the number that upstream has in its code for every model, rounded to six decimals.
//! Samples are in the order of their folders and files, unless the data set brings an `index.json`, which says which sample comes first, second and so on.
use serde::Serialize;

use super::classification::Logits;
use crate::Embedder;

/// What upstream multiplies cosines by.
const SCALE: f64 = 100.0;

/// One submission.
#[derive(Clone, Debug, Serialize)]
pub struct Submission {
    /// The model's name.
    pub model_name: String,
    /// The data set's name, as the leaderboard knows it.
    pub dataset_name: String,
    /// None of a zero-shot model.
    pub num_trainable_params: usize,
    /// Of both towers.
    pub num_params: u64,
    /// Of the image tower.
    pub num_visual_params: u64,
    /// The same as all.
    pub num_backbone_params: u64,
    /// Samples of each class that were trained on.
    pub n_shot: usize,
    /// What upstream writes.
    pub rnd_seeds: [u32; 1],
    /// `[1][samples][classes]`.
    pub predictions: [Vec<Vec<f64>>; 1],
}

impl Submission {
    /// Of a model's cosines; `order` says which sample comes first, second and so on.
    ///
    /// # Panics
    /// If `order` names a sample that is not there.
    pub fn of(embedder: &Embedder, dataset: &str, cosines: Logits<'_>, order: Option<&[usize]>) -> Self {
        let model = embedder.model();
        Self {
            model_name: embedder.name().to_owned(),
            dataset_name: dataset.to_owned(),
            num_trainable_params: 0,
            num_params: model.parameter_count(),
            num_visual_params: model.image.graph.parameter_count(),
            num_backbone_params: model.parameter_count(),
            n_shot: 0,
            rnd_seeds: [123],
            predictions: [probabilities(cosines, order)],
        }
    }
}

/// Rows of probabilities, rounded.
pub(super) fn probabilities(cosines: Logits<'_>, order: Option<&[usize]>) -> Vec<Vec<f64>> {
    let rows: Vec<Vec<f64>> = cosines.rows().map(softmax).collect();
    match order {
        Some(order) => order.iter().map(|&row| rows[row].clone()).collect(),
        None => rows,
    }
}

fn softmax(cosines: &[f32]) -> Vec<f64> {
    let most = cosines.iter().copied().fold(f32::MIN, f32::max);
    let weights: Vec<f64> = cosines.iter().map(|&c| (SCALE * (f64::from(c) - f64::from(most))).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| round6(weight / total)).collect()
}

/// To six decimals by way of the decimal digits, as Python's `round`.
fn round6(x: f64) -> f64 {
    format!("{x:.6}").parse().expect("what was written is a number")
}
