//! R@1, R@5 and R@10.
use serde::Serialize;

use crate::{Embeddings, Error, similarity};

/// Queries scored at a time, so that a data set of a hundred thousand texts and pictures needs no matrix of all their scores.
const BLOCK: usize = 1024;

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

/// Recalls of `queries` whose right answers are the rows of `candidates` in `positives`, a list a query. Queries without any are left
/// out; `None` if there is none with.
///
/// # Errors
/// [`Error::OtherModel`] if they are of different models.
///
/// # Panics
/// If there are not as many lists as queries, or a candidate is not there.
pub fn recalls(queries: &Embeddings, candidates: &Embeddings, positives: &[Vec<usize>]) -> Result<Option<Recalls>, Error> {
    assert_eq!(queries.len(), positives.len(), "a list of right answers a query");
    let (mut hits, mut asked) = ([0usize; 3], 0usize);
    for (block, positives) in positives.chunks(BLOCK).enumerate() {
        let first = block * BLOCK;
        let scores = similarity(&queries.range(first..first + positives.len()), candidates)?;
        for (query, positives) in positives.iter().enumerate() {
            let Some(rank) = rank(scores.row(query), positives) else { continue };
            asked += 1;
            for (hit, k) in hits.iter_mut().zip([1, 5, 10]) {
                *hit += usize::from(rank < k);
            }
        }
    }
    let [at_1, at_5, at_10] = hits.map(|h| round2(100.0 * h as f64 / asked as f64));
    Ok((asked > 0).then_some(Recalls { at_1, at_5, at_10 }))
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

    /// Candidates are unit vectors, so that a query's numbers are its scores.
    fn candidates() -> Embeddings {
        Embeddings::from_rows("m", 6, (0..36).map(|i| f32::from(u8::from(i % 7 == 0))).collect())
    }

    fn queries(count: usize) -> Embeddings {
        Embeddings::from_rows("m", 6, (0..6 * count).map(|i| -((i % 6) as f32)).collect())
    }

    #[test]
    fn queries_without_an_answer_are_left_out() {
        let found = recalls(&queries(3), &candidates(), &[vec![0], vec![], vec![5]]).unwrap();
        assert_eq!(found, Some(Recalls { at_1: 50.0, at_5: 50.0, at_10: 100.0 }));
        assert_eq!(recalls(&queries(3), &candidates(), &[vec![], vec![], vec![]]).unwrap(), None);
    }

    #[test]
    fn queries_of_every_block_count() {
        let count = 2 * BLOCK + 7;
        let last: Vec<Vec<usize>> = (0..count).map(|i| vec![if i < 2 * BLOCK { 0 } else { 5 }]).collect();
        let found = recalls(&queries(count), &candidates(), &last).unwrap().unwrap();
        assert_eq!((found.at_1, found.at_10), (round2(100.0 * 2.0 * BLOCK as f64 / count as f64), 100.0));
    }
}
