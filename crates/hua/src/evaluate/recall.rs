//! R@1, R@5 and R@10.
use serde::Serialize;

use crate::Matrix;

/// Percent of queries with a right answer among the 1, 5 and 10 best, rounded to two decimals.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Recalls {
    /// Among the first.
    #[serde(rename = "R@1")]
    pub at_1: f64,
    /// Among the first five.
    #[serde(rename = "R@5")]
    pub at_5: f64,
    /// Among the first ten.
    #[serde(rename = "R@10")]
    pub at_10: f64,
}

impl Recalls {
    /// R@1, R@5, R@10.
    pub fn values(&self) -> [f64; 3] {
        [self.at_1, self.at_5, self.at_10]
    }

    /// The mean of several, rounded again; zeros of none.
    pub fn mean(of: impl Iterator<Item = Self>) -> Self {
        let (mut sums, mut n) = ([0.0; 3], 0.0);
        for recalls in of {
            n += 1.0;
            for (sum, value) in sums.iter_mut().zip(recalls.values()) {
                *sum += value;
            }
        }
        let [at_1, at_5, at_10] = sums.map(|s| if n > 0.0 { round2(s / n) } else { 0.0 });
        Self { at_1, at_5, at_10 }
    }
}

/// Recalls of queries (rows of `scores`) whose right answers are the columns in `positives`; queries without any are left out, and there
/// must be one with.
pub fn recalls(scores: &Matrix, positives: &[Vec<usize>]) -> Option<Recalls> {
    let (mut hits, mut queries) = ([0usize; 3], 0usize);
    for (query, positives) in positives.iter().enumerate() {
        let Some(rank) = rank(scores.row(query), positives) else { continue };
        queries += 1;
        for (hit, k) in hits.iter_mut().zip([1, 5, 10]) {
            *hit += usize::from(rank < k);
        }
    }
    let [at_1, at_5, at_10] = hits.map(|h| round2(100.0 * h as f64 / queries as f64));
    (queries > 0).then_some(Recalls { at_1, at_5, at_10 })
}

/// How many candidates stand before the best right answer: those that score higher, and those that score the same and come first.
fn rank(scores: &[f32], positives: &[usize]) -> Option<usize> {
    let best = positives.iter().copied().min_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)))?;
    let score = scores[best];
    Some(scores.iter().enumerate().filter(|&(i, &s)| s > score || (s == score && i < best)).count())
}

/// To two decimals, halves to even, as Python's `round` nearly always gives.
pub(super) fn round2(x: f64) -> f64 {
    (x * 100.0).round_ties_even() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_candidate_that_comes_first() {
        let scores = [0.5, 0.9, 0.9, 0.1];
        assert_eq!(rank(&scores, &[1]), Some(0));
        assert_eq!(rank(&scores, &[2]), Some(1));
        assert_eq!(rank(&scores, &[3, 2]), Some(1));
        assert_eq!(rank(&scores, &[]), None);
    }

    #[test]
    fn queries_without_an_answer_are_left_out() {
        let scores = Matrix { rows: 3, columns: 6, data: (0..18).map(|i| -((i % 6) as f32)).collect() };
        let found = recalls(&scores, &[vec![0], vec![], vec![5]]).unwrap();
        assert_eq!(found, Recalls { at_1: 50.0, at_5: 50.0, at_10: 100.0 });
        assert_eq!(recalls(&scores, &[vec![], vec![], vec![]]), None);
    }
}
