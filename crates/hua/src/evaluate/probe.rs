//! Probes: what a classifier that learns from pictures finds in their vectors, while the model stays as it is.
//!
//! The linear probe follows CLIP (Radford et al., 2021, appendix A.3) as CLIP_benchmark's `metrics/linear_probe.py` searches: penalties of 97 values from 1e-6
//! to 1e6, eight a decade; seven of them first, then the best one's neighbours at a distance of 8, 4, 2 and 1, by accuracy on the validation part (of
//! equals the smaller penalty); then a fit on both parts. CLIP_benchmark trains with AdamW on a GPU; here it is CLIP's L-BFGS (`logistic.rs`), which has no
//! learning rate, no epochs and no seed. Vectors are normalised, as CLIP_benchmark's default.
//!
//! Without a validation set, every fifth picture of each class, in the order of the data set, is the validation part.
//!
//! The k-NN probe is DINO's (Wu et al., 2018; Caron et al., 2021, `eval_knn.py`): the k nearest pictures vote with the weight exp(cosine / 0.07).
use serde::Serialize;

use super::bootstrap::Bootstrap;
use super::classification::{Logits, accuracy};
use super::labelled::{Labelled, LabelledSource, Numbering};
use super::logistic::{Logistic, Samples};
use super::recall::best;
use super::zeroshot::ClassificationReport;
use crate::{Embedder, Embeddings, Error, Progress, similarity};

/// Penalties that may be chosen.
const PENALTIES: usize = 97;
/// How far apart the first ones are.
const FIRST_STEP: usize = 16;
/// DINO's.
const TEMPERATURE: f32 = 0.07;
/// Of this many pictures of a class one is for validation, if nothing else is.
const FOLD: usize = 5;

/// Which classifier learns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// The k nearest pictures vote.
    Nearest(usize),
    /// Logistic regression; the penalty is chosen on the validation part unless it is given.
    Linear(Option<f64>),
}

/// What a probe found.
#[derive(Clone, Debug, Serialize)]
pub struct Probe {
    /// The figures on the test set.
    #[serde(flatten)]
    pub report: ClassificationReport,
    /// Pictures that were learned from in the end.
    pub trained_on: usize,
    /// Of them, the validation part.
    pub validated_on: usize,
    /// The penalty of the linear probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub penalty: Option<f64>,
    /// Accuracy on the validation part with it, if it was chosen there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_acc1: Option<f64>,
}

/// Learns from the pictures of `train` and scores on `test`.
///
/// # Errors
/// As [`Labelled::read`]; [`Error::Labels`] if a picture has several classes, or a class of the test or validation set is not among those of the training set.
pub fn probe(
    embedder: &Embedder,
    [train, test]: [&LabelledSource<'_>; 2],
    validation: Option<&LabelledSource<'_>>,
    kind: Kind,
    bootstrap: &Bootstrap,
    progress: &dyn Progress,
) -> Result<Probe, Error> {
    let train = Labelled::read(embedder, train, progress)?;
    let validation = validation.map(|source| Labelled::read(embedder, source, progress)).transpose()?;
    let test = Labelled::read(embedder, test, progress)?;
    // Names do not matter, so numbers will do.
    let labels = train.distinct();
    let names: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
    let numbering = Numbering::of(&labels, &names)?;
    let classes_of = |set: &Labelled| -> Result<Vec<usize>, Error> {
        if set.is_multi_label() {
            return Err(Error::Labels { what: "some pictures have several classes, a probe learns one".into() });
        }
        Ok(numbering.targets(&set.labels)?.concat())
    };
    let (train_classes, test_classes) = (classes_of(&train)?, classes_of(&test)?);
    let mut data = Data { embeddings: train.embeddings, classes: train_classes, validation: vec![] };
    match &validation {
        Some(set) => data.append(&set.embeddings, classes_of(set)?),
        None => data.split(names.len()),
    }
    progress.start("fitting", 0);
    let learned = embedder.pool.install(|| learn(&data, &test.embeddings, names.len(), kind, progress))?;
    progress.finish();
    let targets: Vec<Vec<usize>> = test_classes.iter().map(|&class| vec![class]).collect();
    let logits = Logits { classes: names.len(), data: &learned.logits };
    let mut report = embedder.pool.install(|| ClassificationReport::of(logits, &targets, &numbering.classes, bootstrap));
    report.without_class = train.without_class + test.without_class + validation.as_ref().map_or(0, |set| set.without_class);
    report.failures = [train.failures, validation.map(|set| set.failures).unwrap_or_default(), test.failures].concat();
    let Learned { penalty, validation_acc1, .. } = learned;
    let validated_on = if validation_acc1.is_some() { data.validation.iter().filter(|held| **held).count() } else { 0 };
    Ok(Probe { report, trained_on: data.classes.len(), validated_on, penalty, validation_acc1 })
}

/// What is learned from.
struct Data {
    embeddings: Embeddings,
    classes: Vec<usize>,
    /// Which rows are the validation part.
    validation: Vec<bool>,
}

impl Data {
    fn append(&mut self, embeddings: &Embeddings, classes: Vec<usize>) {
        self.validation = [vec![false; self.classes.len()], vec![true; classes.len()]].concat();
        let data = [self.embeddings.as_slice(), embeddings.as_slice()].concat();
        self.embeddings = Embeddings::from_rows(embeddings.fingerprint(), embeddings.width(), data);
        self.classes.extend(classes);
    }

    fn split(&mut self, classes: usize) {
        let mut seen = vec![0usize; classes];
        let held = |&class: &usize| {
            seen[class] += 1;
            seen[class].is_multiple_of(FOLD)
        };
        self.validation = self.classes.iter().map(held).collect();
    }

    /// Rows and classes of one part.
    fn part(&self, validation: bool) -> (Vec<f32>, Vec<usize>) {
        let wanted = || (0..self.classes.len()).filter(|&row| self.validation[row] == validation);
        (wanted().flat_map(|row| self.embeddings.row(row)).copied().collect(), wanted().map(|row| self.classes[row]).collect())
    }
}

struct Learned {
    logits: Vec<f32>,
    penalty: Option<f64>,
    validation_acc1: Option<f64>,
}

fn learn(data: &Data, test: &Embeddings, classes: usize, kind: Kind, progress: &dyn Progress) -> Result<Learned, Error> {
    let width = test.width();
    let given = match kind {
        Kind::Nearest(k) => {
            let logits = nearest(&data.embeddings, &data.classes, test, classes, k)?;
            return Ok(Learned { logits, penalty: None, validation_acc1: None });
        }
        Kind::Linear(given) => given,
    };
    let (penalty, validation_acc1) = match given {
        Some(penalty) => (penalty, None),
        None => choose(data, classes, progress)?,
    };
    let all = Samples { width, rows: data.embeddings.as_slice(), classes: &data.classes };
    let logits = Logistic::fit(all, classes, penalty, None).logits(width, test.as_slice());
    Ok(Learned { logits, penalty: Some(penalty), validation_acc1 })
}

/// Penalty `index`, from 1e-6 to 1e6.
fn penalty(index: usize) -> f64 {
    10f64.powf(-6.0 + index as f64 / 8.0)
}

fn choose(data: &Data, classes: usize, progress: &dyn Progress) -> Result<(f64, Option<f64>), Error> {
    let width = data.embeddings.width();
    let (rows, targets) = data.part(false);
    let (held_rows, held_targets) = data.part(true);
    if held_targets.is_empty() || targets.is_empty() {
        let what = format!("no class has {FOLD} pictures to learn from, so there is no validation part; give one, or a penalty");
        return Err(Error::Labels { what });
    }
    let samples = Samples { width, rows: &rows, classes: &targets };
    let mut known = [None; PENALTIES];
    let mut acc1 = |index: usize| {
        *known[index].get_or_insert_with(|| {
            let logits = Logistic::fit(samples, classes, penalty(index), None).logits(width, &held_rows);
            progress.advance(1);
            accuracy(Logits { classes, data: &logits }, &held_targets, 1)
        })
    };
    let mut peak = |indices: &[usize]| {
        indices.iter().map(|&index| (index, acc1(index))).fold((indices[0], -1.0), |best, now| if now.1 > best.1 { now } else { best })
    };
    let first: Vec<usize> = (0..PENALTIES).step_by(FIRST_STEP).collect();
    let (mut best, mut share) = peak(&first);
    let mut span = FIRST_STEP / 2;
    while span > 0 {
        (best, share) = peak(&[best.saturating_sub(span), best, (best + span).min(PENALTIES - 1)]);
        span /= 2;
    }
    Ok((penalty(best), Some(share)))
}

/// Votes of the `k` nearest pictures for each class, `[test, classes]`.
fn nearest(train: &Embeddings, of: &[usize], test: &Embeddings, classes: usize, k: usize) -> Result<Vec<f32>, Error> {
    let cosines = similarity(test, train)?;
    let mut votes = vec![0.0; test.len() * classes];
    for (row, votes) in votes.chunks_exact_mut(classes).enumerate() {
        for (picture, cosine) in best(cosines.row(row), k) {
            votes[of[picture]] += (cosine / TEMPERATURE).exp();
        }
    }
    Ok(votes)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::NoProgress;

    fn floats(of: &Value) -> Vec<f32> {
        serde_json::from_value::<Vec<Vec<f32>>>(of.clone()).unwrap().concat()
    }

    fn classes(of: &Value) -> Vec<usize> {
        serde_json::from_value(of.clone()).unwrap()
    }

    #[test]
    fn the_regression_is_scikit_learns_for_every_penalty() {
        let golden: Value = serde_json::from_str(include_str!("../../../../tests/golden/eval/probe.json")).unwrap();
        let (train, train_classes) = (floats(&golden["train"]), classes(&golden["train_classes"]));
        let (test, test_classes) = (floats(&golden["test"]), classes(&golden["test_classes"]));
        let samples = Samples { width: 8, rows: &train, classes: &train_classes };
        for case in golden["cases"].as_array().unwrap() {
            let penalty = case["penalty"].as_f64().unwrap();
            let logits = Logistic::fit(samples, 3, penalty, None).logits(8, &test);
            for (found, wanted) in logits.chunks(3).zip(floats(&case["probabilities"]).chunks(3)) {
                let total: f32 = found.iter().map(|x| x.exp()).sum();
                let most = found.iter().zip(wanted).map(|(x, wanted)| (x.exp() / total - wanted).abs()).fold(0.0, f32::max);
                assert!(most < 2e-5, "penalty {penalty}: {found:?} for {wanted:?}");
            }
            let found = accuracy(Logits { classes: 3, data: &logits }, &test_classes, 1);
            assert_eq!(found, case["acc1"].as_f64().unwrap(), "penalty {penalty}");
        }
    }

    #[test]
    fn the_penalty_is_chosen_on_the_part_that_was_held_back() {
        let golden: Value = serde_json::from_str(include_str!("../../../../tests/golden/eval/probe.json")).unwrap();
        let embeddings = Embeddings::from_rows("m", 8, floats(&golden["train"]));
        let mut data = Data { embeddings, classes: classes(&golden["train_classes"]), validation: vec![] };
        data.split(3);
        assert_eq!(data.part(true).1.len(), 18);
        let (chosen, share) = choose(&data, 3, &NoProgress).unwrap();
        // No penalty of the whole list does better.
        let ((rows, targets), (held, held_targets)) = (data.part(false), data.part(true));
        let samples = Samples { width: 8, rows: &rows, classes: &targets };
        let of = |penalty: f64| {
            let logits = Logistic::fit(samples, 3, penalty, None).logits(8, &held);
            accuracy(Logits { classes: 3, data: &logits }, &held_targets, 1)
        };
        assert_eq!(share, Some(of(chosen)));
        assert!((0..PENALTIES).step_by(16).all(|index| of(penalty(index)) <= of(chosen)));
        assert!((penalty(0) - 1e-6).abs() < 1e-18 && (penalty(48) - 1.0).abs() < 1e-12 && (penalty(96) - 1e6).abs() < 1e-3);
    }

    #[test]
    fn near_pictures_vote_with_more_weight_than_far_ones() {
        let train = Embeddings::normalized("m", 2, vec![1.0, 0.0, 0.9, 0.5, 0.9, 0.55, 0.0, 1.0]);
        let test = Embeddings::normalized("m", 2, vec![1.0, 0.05]);
        let votes = nearest(&train, &[0, 1, 1, 2], &test, 3, 3).unwrap();
        assert!(votes[0] > votes[1] && votes[1] > 0.0 && votes[2] == 0.0, "{votes:?}");
    }
}
