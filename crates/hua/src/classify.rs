//! Zero-shot classification: labels in words, put into templates, become a classifier.
//!
//! For each label the vectors of all templates are averaged and normalised again, as in CLIP's, Chinese-CLIP's and FlagAI's
//! evaluations. The probability is the softmax over the labels of cosine × the checkpoint's own `exp(logit_scale)`: the scale that the
//! model was trained with, where upstream's scripts write 100.
use std::collections::HashSet;

use crate::{Embedder, Embeddings, Error, similarity};

/// Labels as vectors.
#[derive(Clone, Debug)]
pub struct Classifier {
    labels: Vec<String>,
    embeddings: Embeddings,
}

impl Classifier {
    /// The labels, in the caller's order.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// A vector a label.
    pub fn embeddings(&self) -> &Embeddings {
        &self.embeddings
    }
}

/// How well a label fits a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Which label.
    pub label: usize,
    /// Cosine of picture and label.
    pub cosine: f32,
    /// Share of this label among all, 0 to 1.
    pub probability: f32,
}

impl Embedder {
    /// A classifier of `labels` in `templates`, each with one `{}` where the label goes; without templates the labels stand alone.
    ///
    /// # Errors
    /// [`Error::Labels`] if there are no labels, two are the same, or a template has no `{}`; [`Error::Text`], [`Error::Exec`].
    pub fn classifier<L: AsRef<str>, T: AsRef<str>>(&self, labels: &[L], templates: &[T]) -> Result<Classifier, Error> {
        let fault = |what: String| Err(Error::Labels { what });
        let mut seen = HashSet::new();
        if labels.is_empty() {
            return fault("no labels to choose from".into());
        }
        for label in labels.iter().map(AsRef::as_ref) {
            if !seen.insert(label) {
                return fault(format!("label `{label}` is there twice"));
            }
        }
        if let Some(bad) = templates.iter().find(|t| t.as_ref().matches("{}").count() != 1) {
            return fault(format!("template `{}` wants one `{{}}` where the label goes", bad.as_ref()));
        }
        let templates: Vec<&str> = if templates.is_empty() { vec!["{}"] } else { templates.iter().map(AsRef::as_ref).collect() };
        let texts: Vec<String> = labels.iter().flat_map(|l| templates.iter().map(|t| t.replace("{}", l.as_ref()))).collect();
        let embeddings = self.embed_texts(&texts)?;
        let width = embeddings.width();
        let means: Vec<f32> = embeddings
            .as_slice()
            .chunks_exact(width * templates.len())
            .flat_map(|rows| (0..width).map(|i| rows[i..].iter().step_by(width).sum::<f32>() / templates.len() as f32))
            .collect();
        let embeddings = Embeddings::normalized(self.fingerprint(), width, means);
        Ok(Classifier { labels: labels.iter().map(|l| l.as_ref().to_owned()).collect(), embeddings })
    }

    /// The labels' scores for each picture, best first.
    ///
    /// # Errors
    /// [`Error::OtherModel`] if pictures or classifier are of another model.
    pub fn classify(&self, pictures: &Embeddings, classifier: &Classifier) -> Result<Vec<Vec<Score>>, Error> {
        let cosines = similarity(pictures, &classifier.embeddings)?;
        Ok((0..cosines.rows).map(|row| scores(cosines.row(row), self.logit_scale())).collect())
    }
}

fn scores(cosines: &[f32], scale: f32) -> Vec<Score> {
    let most = cosines.iter().copied().fold(f32::MIN, f32::max);
    let weights: Vec<f32> = cosines.iter().map(|c| ((c - most) * scale).exp()).collect();
    let total: f32 = weights.iter().sum();
    let mut scores: Vec<Score> = cosines
        .iter()
        .zip(weights)
        .enumerate()
        .map(|(label, (&cosine, weight))| Score { label, cosine, probability: weight / total })
        .collect();
    scores.sort_by(|a, b| b.cosine.total_cmp(&a.cosine));
    scores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_a_softmax_of_scaled_cosines() {
        let found = scores(&[0.1, 0.3, 0.2], 10.0);
        assert_eq!(found.iter().map(|s| s.label).collect::<Vec<_>>(), [1, 2, 0]);
        let total: f32 = found.iter().map(|s| s.probability).sum();
        assert!((total - 1.0).abs() < 1e-6);
        assert!((found[0].probability / found[1].probability - 1f32.exp()).abs() < 1e-5);
    }
}
