//! Confidence intervals by bootstrap: the queries that there are stand for those that might have been asked.
//!
//! Efron's percentile interval (Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993, chapter 13): queries are drawn with
//! replacement, the figure is computed of each drawing, and the middle 95 % of these figures are the interval. No model runs again; hits per
//! query are all that is needed.
//!
//! Queries are not drawn one by one but in groups that share pictures or texts (the captions of one picture, the names of one thing in nine
//! languages and its pictures in five styles): they succeed and fail together, and drawn apart would make the interval too narrow. A drawing takes
//! the same groups in every language and direction, so that intervals of means are right too, and of two models the same groups, so that the
//! interval of a difference is that of a paired comparison.
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// How many drawings, from which seed, and how wide the interval is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bootstrap {
    /// Drawings; 0 for no intervals.
    pub resamples: usize,
    /// The same seed gives the same intervals on every machine, with any number of threads.
    pub seed: u64,
    /// The share of drawings within the interval, 0 to 1.
    pub level: f64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 1000, seed: 0, level: 0.95 }
    }
}

/// From the low end to the high end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval(pub f64, pub f64);

impl Interval {
    /// Whether it lies on one side of 0: a difference that the drawing of queries does not explain.
    pub fn excludes_zero(&self) -> bool {
        self.0 > 0.0 || self.1 < 0.0
    }
}

impl Bootstrap {
    /// The intervals of several figures. `figures` computes them from how often each of `groups` groups was drawn; a figure that a drawing leaves
    /// undefined is NaN, and that drawing does not count for it.
    pub fn intervals(&self, groups: usize, figures: impl Fn(&[u32]) -> Vec<f64> + Sync) -> Vec<Interval> {
        if self.resamples == 0 || groups == 0 {
            return vec![];
        }
        let drawings: Vec<Vec<f64>> =
            (0..self.resamples).into_par_iter().map(|drawing| figures(&self.draw(groups, drawing as u64))).collect();
        let outside = (1.0 - self.level) / 2.0;
        let interval = |figure: usize| {
            let mut values: Vec<f64> = drawings.iter().map(|drawing| drawing[figure]).filter(|value| !value.is_nan()).collect();
            values.sort_by(f64::total_cmp);
            Interval(quantile(&values, outside), quantile(&values, 1.0 - outside))
        };
        (0..drawings[0].len()).map(interval).collect()
    }

    /// How often each group is in drawing `drawing`.
    fn draw(&self, groups: usize, drawing: u64) -> Vec<u32> {
        let mut random = SplitMix(self.seed ^ (drawing + 1).wrapping_mul(0xd1b5_4a32_d192_ed03));
        let mut drawn = vec![0; groups];
        for _ in 0..groups {
            drawn[random.below(groups)] += 1;
        }
        drawn
    }
}

/// The quantile of sorted values, between two of them by a straight line, as numpy's default; NaN of none.
fn quantile(sorted: &[f64], at: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = at * last as f64;
    let low = place.floor() as usize;
    let high = (low + 1).min(last);
    sorted[low] + (sorted[high] - sorted[low]) * (place - low as f64)
}

/// SplitMix64 (Steele, Lea and Flood, *Fast splittable pseudorandom number generators*, 2014).
pub(super) struct SplitMix(pub u64);

impl SplitMix {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `end`, each as likely but for one part in 2^64 / `end`.
    pub fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }
}

/// Of texts and pictures, the groups that belong together: texts and pictures that a path of right answers connects. Texts get the first
/// numbers, then pictures; groups are numbered from 0 in the order in which they first appear. Where one group would hold more than
/// half of all (a caption that fits most pictures), everything is a group of its own, since nothing is left to draw.
pub(super) fn groups(positives: &[Vec<usize>], pictures: usize) -> (Vec<usize>, usize) {
    let texts = positives.len();
    let mut parent: Vec<usize> = (0..texts + pictures).collect();
    fn root(parent: &mut [usize], mut of: usize) -> usize {
        while parent[of] != of {
            parent[of] = parent[parent[of]];
            of = parent[of];
        }
        of
    }
    for (text, pictures) in positives.iter().enumerate() {
        for &picture in pictures {
            let (a, b) = (root(&mut parent, text), root(&mut parent, texts + picture));
            parent[a.max(b)] = a.min(b);
        }
    }
    let mut number = vec![usize::MAX; parent.len()];
    let mut sizes: Vec<usize> = vec![];
    let mut group_of = vec![];
    for of in 0..parent.len() {
        let root = root(&mut parent, of);
        if number[root] == usize::MAX {
            number[root] = sizes.len();
            sizes.push(0);
        }
        sizes[number[root]] += 1;
        group_of.push(number[root]);
    }
    if sizes.iter().any(|size| size * 2 > group_of.len()) {
        return ((0..group_of.len()).collect(), group_of.len());
    }
    (group_of, sizes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shares_a_picture_or_a_text_is_one_group() {
        // Texts 0 and 1 share picture 0, text 2 has pictures 1 and 2, text 3 has none, and nobody has picture 3.
        let (groups, count) = groups(&[vec![0], vec![0], vec![1, 2], vec![]], 4);
        assert_eq!((groups, count), (vec![0, 0, 1, 2, 0, 1, 1, 3], 4));
    }

    #[test]
    fn a_caption_of_everything_leaves_each_query_alone() {
        let (groups, count) = groups(&[(0..100).collect(), vec![3]], 100);
        assert_eq!((groups[5], count), (5, 102));
    }

    #[test]
    fn the_interval_of_a_share_is_the_binomial_one() {
        // 30 of 100: a normal approximation gives 0.30 ± 0.0898.
        let share = |drawn: &[u32]| vec![f64::from(drawn[..30].iter().sum::<u32>()) / 100.0];
        let found = Bootstrap { resamples: 4000, ..Bootstrap::default() }.intervals(100, share);
        assert!((found[0].0 - 0.21).abs() < 0.015 && (found[0].1 - 0.39).abs() < 0.015, "{found:?}");
        assert_eq!(found, Bootstrap { resamples: 4000, ..Bootstrap::default() }.intervals(100, share));
        assert_ne!(Bootstrap::default().draw(100, 0), Bootstrap { seed: 1, ..Bootstrap::default() }.draw(100, 0));
        assert_ne!(Bootstrap::default().draw(100, 0), Bootstrap::default().draw(100, 1));
    }

    #[test]
    fn a_drawing_that_leaves_a_figure_undefined_does_not_count() {
        let found = Bootstrap::default().intervals(2, |drawn| vec![if drawn[0] == 0 { f64::NAN } else { f64::from(drawn[0]) }]);
        assert_eq!(found, [Interval(1.0, 2.0)]);
        assert!(Bootstrap { resamples: 0, ..Bootstrap::default() }.intervals(2, |_| vec![0.0]).is_empty());
    }

    #[test]
    fn quantiles_are_numpys() {
        assert_eq!([0.0, 0.25, 0.5, 0.9, 1.0].map(|at| quantile(&[1.0, 2.0, 4.0], at)), [1.0, 1.5, 2.0, 3.6, 4.0]);
    }
}
