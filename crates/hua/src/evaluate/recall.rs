//! Ranks, and the recalls that follow from them.
//!
//! The rank of a query is the place of its best right answer: 1 + the candidates that score higher + those that score the same and come
//! first in the file (as Python's stable sort has it in cn_clip's `make_topk_predictions.py`; `torch.topk`, which CLIP_benchmark uses, leaves
//! the order of equals open). R@K is the share of queries whose rank is at most K.
use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::{Embeddings, Error, similarity};

/// Queries scored at a time, so that a data set of a hundred thousand texts and pictures needs no matrix of all their scores.
const BLOCK: usize = 1024;
/// The K of every R@K.
pub(super) const KS: [usize; 3] = [1, 5, 10];

/// Percent of queries with a right answer among the 1, 5 and 10 best, rounded to two decimals.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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

    /// Of ranks that count from 1; `None` of no ranks.
    pub fn of(ranks: impl Iterator<Item = usize>) -> Option<Self> {
        let (hits, asked) = hits(ranks);
        let [at_1, at_5, at_10] = hits.map(|h| round2(100.0 * h as f64 / asked as f64));
        (asked > 0).then_some(Self { at_1, at_5, at_10 })
    }
}

/// How many ranks are at most 1, 5 and 10, and how many ranks there are.
pub(super) fn hits(ranks: impl Iterator<Item = usize>) -> ([usize; 3], usize) {
    let (mut hits, mut asked) = ([0; 3], 0);
    for rank in ranks {
        asked += 1;
        for (hit, k) in hits.iter_mut().zip(KS) {
            *hit += usize::from(rank <= k);
        }
    }
    (hits, asked)
}

/// What each query found.
#[derive(Clone, Debug, Default)]
pub struct Ranking {
    /// Of each query, its rank; `None` if it has no right answer.
    pub ranks: Vec<Option<usize>>,
    /// Of each query, the best candidates with their scores, best first, as many as were asked for.
    pub best: Vec<Vec<(usize, f32)>>,
}

impl Ranking {
    /// Recalls of the queries that have a right answer; `None` if none has.
    pub fn recalls(&self) -> Option<Recalls> {
        Recalls::of(self.ranks.iter().flatten().copied())
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
    Ok(ranking(queries, candidates, positives, 0)?.recalls())
}

/// The rank of each query, and its `top` best candidates; right answers as in [`recalls`].
///
/// # Errors
/// [`Error::OtherModel`] if they are of different models.
///
/// # Panics
/// As [`recalls`].
pub fn ranking(queries: &Embeddings, candidates: &Embeddings, positives: &[Vec<usize>], top: usize) -> Result<Ranking, Error> {
    assert_eq!(queries.len(), positives.len(), "a list of right answers a query");
    let mut found = Ranking::default();
    for (block, positives) in positives.chunks(BLOCK).enumerate() {
        let first = block * BLOCK;
        let scores = similarity(&queries.range(first..first + positives.len()), candidates)?;
        for (query, positives) in positives.iter().enumerate() {
            found.ranks.push(rank(scores.row(query), positives));
            found.best.push(best(scores.row(query), top));
        }
    }
    Ok(found)
}

/// The rank by the definition above; `None` without a right answer.
fn rank(scores: &[f32], positives: &[usize]) -> Option<usize> {
    let best = positives.iter().copied().min_by(|&a, &b| higher_then_first(scores, a, b))?;
    let score = scores[best];
    Some(1 + scores.iter().enumerate().filter(|&(i, &s)| s > score || (s == score && i < best)).count())
}

/// The `top` best candidates, best first.
pub(super) fn best(scores: &[f32], top: usize) -> Vec<(usize, f32)> {
    let mut order: Vec<usize> = if top == 0 { vec![] } else { (0..scores.len()).collect() };
    if top < order.len() {
        order.select_nth_unstable_by(top, |&a, &b| higher_then_first(scores, a, b));
        order.truncate(top);
    }
    order.sort_unstable_by(|&a, &b| higher_then_first(scores, a, b));
    order.into_iter().map(|i| (i, scores[i])).collect()
}

fn higher_then_first(scores: &[f32], a: usize, b: usize) -> Ordering {
    // Not `total_cmp`, for which 0.0 is more than -0.0.
    scores[b].partial_cmp(&scores[a]).unwrap_or(Ordering::Equal).then(a.cmp(&b))
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
        assert_eq!(rank(&scores, &[1]), Some(1));
        assert_eq!(rank(&scores, &[2]), Some(2));
        assert_eq!(rank(&scores, &[3, 2]), Some(2));
        assert_eq!(rank(&scores, &[]), None);
        assert_eq!(best(&scores, 3), [(1, 0.9), (2, 0.9), (0, 0.5)]);
        assert_eq!(best(&[-0.0, 0.0], 9), [(0, -0.0), (1, 0.0)]);
        assert!(best(&scores, 0).is_empty());
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
