//! Figures of classification, from the scores of samples for classes.
//!
//! | figure | definition | source |
//! | --- | --- | --- |
//! | acc1, acc5 | share of samples whose class is among the 1, 5 best; acc5 of at least five classes | CLIP_benchmark, `metrics/zeroshot_classification.py`; acc1 also cn_clip, `eval/zeroshot_evaluation.py` |
//! | mean per class recall | mean over the classes that have samples of the share of their samples whose best class it is | scikit-learn, `balanced_accuracy_score`, as CLIP_benchmark and ELEVATER use it |
//! | ROC-AUC | area under the curve of the second class's score, of two classes, by trapezoids | scikit-learn, `roc_auc_score`, as ELEVATER uses it |
//! | 11-point mAP | mean over the classes that have samples of the mean of the best precision at a recall of at least 1, 0.9 … 0; at 0 it is 1 | VOC 2007; ELEVATER (`vision_evaluation`, `MeanAveragePrecisionNPointsEvaluator`) |
//! | mAP | mean over classes of the mean of the precisions at each right sample | CLIP_benchmark, `average_precision_per_class`, in f32 as there |
//!
//! Of equal scores the class, and for the average precision the sample, that comes first is better; ROC-AUC and the 11-point mAP take
//! equal scores together. All are shares, 0 to 1. The order of sums is that of the sources (`sums.rs`), and so are the last digits.
use serde::Serialize;

use super::sums::{numpy_mean, numpy_sum, torch_sum};

/// Scores of samples for classes.
#[derive(Clone, Copy, Debug)]
pub struct Logits<'a> {
    /// How many classes.
    pub classes: usize,
    /// `[samples, classes]`, more is better.
    pub data: &'a [f32],
}

impl<'a> Logits<'a> {
    /// The scores of each sample, `[classes]`.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &'a [f32]> {
        self.data.chunks_exact(self.classes)
    }

    /// Which class each sample is taken for.
    pub fn best(&self) -> Vec<usize> {
        self.rows().map(|row| (1..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best })).collect()
    }

    /// The place of class `of` of each sample among all, from 1.
    ///
    /// # Panics
    /// If there are not as many classes as samples.
    pub fn ranks(&self, of: &[usize]) -> Vec<usize> {
        assert_eq!(self.rows().len(), of.len(), "a class for each sample");
        let rank = |(row, &right): (&[f32], &usize)| {
            1 + row.iter().enumerate().filter(|&(class, &s)| s > row[right] || (s == row[right] && class < right)).count()
        };
        self.rows().zip(of).map(rank).collect()
    }

    /// The scores for one class, `[samples]`.
    fn column(&self, class: usize) -> Vec<f32> {
        self.data[class..].iter().step_by(self.classes).copied().collect()
    }
}

/// What is said of a classification.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Samples.
    pub samples: usize,
    /// Classes.
    pub classes: usize,
    /// Of samples with one class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acc1: Option<f64>,
    /// The same, of at least five classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acc5: Option<f64>,
    /// Of samples with one class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_per_class_recall: Option<f64>,
    /// Of two classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roc_auc: Option<f64>,
    /// VOC 2007's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map_11_points: Option<f64>,
    /// CLIP_benchmark's, of samples with several classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_average_precision: Option<f64>,
}

impl Figures {
    /// Of samples with one class each.
    ///
    /// # Panics
    /// If there are not as many classes as samples.
    pub fn of(logits: Logits<'_>, targets: &[usize]) -> Self {
        let many: Vec<Vec<usize>> = targets.iter().map(|&target| vec![target]).collect();
        Self {
            samples: targets.len(),
            classes: logits.classes,
            acc1: Some(accuracy(logits, targets, 1)),
            acc5: (logits.classes >= 5).then(|| accuracy(logits, targets, 5)),
            mean_per_class_recall: Some(mean_per_class_recall(logits, targets)),
            roc_auc: if logits.classes == 2 {
                roc_auc(&logits.column(1), &targets.iter().map(|&t| t == 1).collect::<Vec<_>>())
            } else {
                None
            },
            map_11_points: map_11_points(logits, &many),
            mean_average_precision: None,
        }
    }

    /// Of samples with any number of classes.
    ///
    /// # Panics
    /// If there are not as many lists as samples.
    pub fn of_many(logits: Logits<'_>, targets: &[Vec<usize>]) -> Self {
        Self {
            samples: targets.len(),
            classes: logits.classes,
            map_11_points: map_11_points(logits, targets),
            mean_average_precision: Some(f64::from(mean_average_precision(logits, targets))),
            ..Self::default()
        }
    }
}

/// The share of samples whose class is among the `k` best.
///
/// # Panics
/// If there are not as many classes as samples.
pub fn accuracy(logits: Logits<'_>, targets: &[usize], k: usize) -> f64 {
    logits.ranks(targets).into_iter().filter(|&rank| rank <= k).count() as f64 / targets.len() as f64
}

/// See the head of this file.
///
/// # Panics
/// If there are not as many classes as samples.
pub fn mean_per_class_recall(logits: Logits<'_>, targets: &[usize]) -> f64 {
    let best = logits.best();
    assert_eq!(best.len(), targets.len(), "a class for each sample");
    let (mut right, mut all) = (vec![0.0; logits.classes], vec![0.0; logits.classes]);
    for (&target, best) in targets.iter().zip(best) {
        all[target] += 1.0;
        right[target] += f64::from(u8::from(target == best));
    }
    let shares: Vec<f64> = right.iter().zip(&all).filter(|(_, all)| **all > 0.0).map(|(right, all)| right / all).collect();
    numpy_mean(&shares)
}

/// Right and wrong samples at least as good as each score that there is, from the best score down.
fn counts(scores: &[f32], right: &[bool]) -> Vec<(f64, f64)> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let (mut counts, mut now) = (vec![], (0.0, 0.0));
    for (place, &sample) in order.iter().enumerate() {
        if right[sample] {
            now.0 += 1.0;
        } else {
            now.1 += 1.0;
        }
        if order.get(place + 1).is_none_or(|&next| scores[next] != scores[sample]) {
            counts.push(now);
        }
    }
    counts
}

/// The area under the curve of true against false positives; `None` if all samples are right, or none is.
///
/// # Panics
/// If there are not as many scores as samples.
pub fn roc_auc(scores: &[f32], right: &[bool]) -> Option<f64> {
    assert_eq!(scores.len(), right.len(), "a score for each sample");
    let mut counts = counts(scores, right);
    let &(all_right, all_wrong) = counts.last().filter(|(right, wrong)| *right > 0.0 && *wrong > 0.0)?;
    // scikit-learn drops points on a straight line, which changes the last digits of the sum.
    let straight = |i: usize| {
        let (a, b, c) = (counts[i - 1], counts[i], counts[i + 1]);
        c.0 - 2.0 * b.0 + a.0 == 0.0 && c.1 - 2.0 * b.1 + a.1 == 0.0
    };
    let last = counts.len() - 1;
    let kept: Vec<usize> = (0..counts.len()).filter(|&i| i == 0 || i == last || !straight(i)).collect();
    counts = std::iter::once((0.0, 0.0)).chain(kept.into_iter().map(|i| counts[i])).collect();
    let parts: Vec<f64> = counts
        .windows(2)
        .map(|pair| {
            let [y0, x0] = [pair[0].0 / all_right, pair[0].1 / all_wrong];
            let [y1, x1] = [pair[1].0 / all_right, pair[1].1 / all_wrong];
            (x1 - x0) * (y1 + y0) / 2.0
        })
        .collect();
    Some(numpy_sum(&parts))
}

/// See the head of this file; `None` if no class has a sample.
///
/// # Panics
/// If there are not as many lists as samples.
pub fn map_11_points(logits: Logits<'_>, targets: &[Vec<usize>]) -> Option<f64> {
    assert_eq!(logits.rows().len(), targets.len(), "a list of classes for each sample");
    let per_class = (0..logits.classes).filter_map(|class| {
        let right: Vec<bool> = targets.iter().map(|of| of.contains(&class)).collect();
        let counts = counts(&logits.column(class), &right);
        let all = counts.last().map(|last| last.0).filter(|all| *all > 0.0)?;
        // From the lowest score up, so that recall falls; last the point of recall 0 and precision 1.
        let curve: Vec<(f64, f64)> = counts.iter().rev().map(|(r, w)| (r / (r + w), r / all)).chain([(1.0, 0.0)]).collect();
        let (mut place, mut most, mut points) = (0, 0.0f64, vec![]);
        for step in 0..=10 {
            // As `numpy.linspace(1, 0, 11)` has them.
            let threshold = if step == 10 { 0.0 } else { f64::from(step) * -0.1 + 1.0 };
            while let Some(&(precision, _)) = curve.get(place).filter(|(_, recall)| threshold <= *recall) {
                (most, place) = (most.max(precision), place + 1);
            }
            points.push(most);
        }
        Some(numpy_mean(&points))
    });
    let per_class: Vec<f64> = per_class.collect();
    (!per_class.is_empty()).then(|| numpy_mean(&per_class))
}

/// See the head of this file; a class without samples counts as 0.
///
/// # Panics
/// If there are not as many lists as samples.
pub fn mean_average_precision(logits: Logits<'_>, targets: &[Vec<usize>]) -> f32 {
    assert_eq!(logits.rows().len(), targets.len(), "a list of classes for each sample");
    let per_class: Vec<f32> = (0..logits.classes)
        .map(|class| {
            let scores = logits.column(class);
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
            let mut found = 0.0f32;
            let precisions: Vec<f32> = (1..)
                .zip(order)
                .filter(|(_, sample)| targets[*sample].contains(&class))
                .map(|(place, _): (u32, usize)| {
                    found += 1.0;
                    found / place as f32
                })
                .collect();
            torch_sum(&precisions) / (precisions.len() as f32).max(1.0)
        })
        .collect();
    torch_sum(&per_class) / per_class.len() as f32
}
