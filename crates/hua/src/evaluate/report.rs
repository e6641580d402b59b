//! What is said of a retrieval: the figures of each language and their means, in the form of the published tables, and how sure they are.
//!
//! Rounding follows FlagAI's tables: recalls to two decimals, a mean of rounded figures rounded again. Intervals are computed of the
//! figures before rounding.
use std::collections::BTreeMap;

use serde::Serialize;

use super::bootstrap::{Bootstrap, Interval};
use super::recall::{KS, Recalls, round2};
use super::retrieval::{LanguageQueries, Query};
use crate::Failure;

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

/// The figures of a data set.
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
    /// How far the figures would move with other queries of the kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intervals: Option<Intervals>,
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

/// Intervals of all figures of a report, percent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Intervals {
    /// The share of drawings within each.
    pub level: f64,
    /// How many drawings.
    pub resamples: usize,
    /// As [`RetrievalReport::languages`].
    pub languages: BTreeMap<String, LanguageIntervals>,
    /// Of the means over the languages.
    pub mean: LanguageIntervals,
}

/// As [`LanguageScores`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LanguageIntervals {
    /// Texts ask.
    pub text_to_image: RecallIntervals,
    /// Pictures ask.
    pub image_to_text: RecallIntervals,
    /// Of the mean of the six.
    #[serde(rename = "MR")]
    pub mean_recall: Interval,
}

/// As [`Recalls`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RecallIntervals {
    /// Of R@1.
    #[serde(rename = "R@1")]
    pub at_1: Interval,
    /// Of R@5.
    #[serde(rename = "R@5")]
    pub at_5: Interval,
    /// Of R@10.
    #[serde(rename = "R@10")]
    pub at_10: Interval,
}

/// Figures of a language, and of the mean: six recalls and MR.
pub(super) const FIGURES: usize = 7;

impl LanguageIntervals {
    /// Of the [`FIGURES`] intervals of a language.
    pub(super) fn of(found: &[Interval]) -> Self {
        let rounded = |of: Interval| Interval(round2(of.0), round2(of.1));
        let recalls = |of: &[Interval]| RecallIntervals { at_1: rounded(of[0]), at_5: rounded(of[1]), at_10: rounded(of[2]) };
        Self { text_to_image: recalls(&found[..3]), image_to_text: recalls(&found[3..6]), mean_recall: rounded(found[6]) }
    }
}

/// Scores of one language; `None` if no query of a direction has an answer.
pub(super) fn scores(of: &LanguageQueries) -> Option<LanguageScores> {
    let recalls = |queries: &[Query]| Recalls::of(queries.iter().map(|query| query.rank));
    let (text_to_image, image_to_text) = (recalls(&of.text_to_image)?, recalls(&of.image_to_text)?);
    let six = text_to_image.values().into_iter().chain(image_to_text.values());
    Some(LanguageScores { text_to_image, image_to_text, mean_recall: round2(six.sum::<f64>() / 6.0) })
}

/// The report of all languages; `None` if there is none.
pub(super) fn report(
    queries: &BTreeMap<String, LanguageQueries>,
    images: usize,
    texts_per_language: usize,
    bootstrap: &Bootstrap,
) -> Option<RetrievalReport> {
    let languages: BTreeMap<String, LanguageScores> =
        queries.iter().filter_map(|(language, queries)| Some((language.clone(), scores(queries)?))).collect();
    if languages.is_empty() {
        return None;
    }
    let mean = |f: fn(&LanguageScores) -> Recalls| Recalls::mean(languages.values().map(f));
    Some(RetrievalReport {
        images,
        texts_per_language,
        mean_text_to_image: mean(|s| s.text_to_image),
        mean_image_to_text: mean(|s| s.image_to_text),
        mean_mean_recall: round2(languages.values().map(|s| s.mean_recall).sum::<f64>() / languages.len() as f64),
        intervals: intervals(queries, bootstrap),
        texts_without_image: 0,
        texts_cut: 0,
        failures: vec![],
        languages,
    })
}

fn intervals(queries: &BTreeMap<String, LanguageQueries>, bootstrap: &Bootstrap) -> Option<Intervals> {
    let tally = Tally::of(queries, &Numbers::of(queries));
    let found = bootstrap.intervals(tally.groups, |drawn| tally.figures(drawn));
    let mut rows = found.chunks_exact(FIGURES).map(LanguageIntervals::of);
    let languages = queries.keys().cloned().zip(rows.by_ref()).collect();
    Some(Intervals { level: bootstrap.level, resamples: bootstrap.resamples, languages, mean: rows.next()? })
}

/// Groups that have a query, numbered from 0.
pub(super) struct Numbers(BTreeMap<usize, usize>);

impl Numbers {
    pub fn of(queries: &BTreeMap<String, LanguageQueries>) -> Self {
        let groups = queries.values().flat_map(|of| of.text_to_image.iter().chain(&of.image_to_text)).map(|query| query.group);
        let groups: std::collections::BTreeSet<usize> = groups.collect();
        Self(groups.into_iter().zip(0..).collect())
    }
}

/// What each group has in each language and direction: queries, and those with a rank of at most 1, 5 and 10.
pub(super) struct Tally {
    pub groups: usize,
    languages: Vec<[Vec<[u32; 4]>; 2]>,
}

impl Tally {
    pub fn of(queries: &BTreeMap<String, LanguageQueries>, numbers: &Numbers) -> Self {
        let groups = numbers.0.len();
        let direction = |queries: &[Query]| {
            let mut counts = vec![[0; 4]; groups];
            for query in queries {
                let count = &mut counts[numbers.0[&query.group]];
                count[0] += 1;
                for (count, k) in count[1..].iter_mut().zip(KS) {
                    *count += u32::from(query.rank <= k);
                }
            }
            counts
        };
        let languages = queries.values().map(|of| [direction(&of.text_to_image), direction(&of.image_to_text)]).collect();
        Self { groups, languages }
    }

    /// [`FIGURES`] for each language, then for their mean, percent and not rounded, if each group was drawn so often.
    pub fn figures(&self, drawn: &[u32]) -> Vec<f64> {
        let mut figures = vec![];
        let mut sums = [0.0; FIGURES];
        for directions in &self.languages {
            let mut of_language = [0.0; FIGURES];
            for (direction, counts) in directions.iter().enumerate() {
                let mut total = [0u64; 4];
                for (count, &times) in counts.iter().zip(drawn) {
                    for (total, &count) in total.iter_mut().zip(count) {
                        *total += u64::from(count) * u64::from(times);
                    }
                }
                for k in 0..3 {
                    of_language[direction * 3 + k] = 100.0 * total[1 + k] as f64 / total[0] as f64;
                }
            }
            of_language[6] = of_language[..6].iter().sum::<f64>() / 6.0;
            for (sum, figure) in sums.iter_mut().zip(of_language) {
                *sum += figure / self.languages.len() as f64;
            }
            figures.extend(of_language);
        }
        figures.extend(sums);
        figures
    }

    /// The figures of the queries as they are.
    pub fn plain(&self) -> Vec<f64> {
        self.figures(&vec![1; self.groups])
    }
}
