//! How good a model is, by the definitions of the field's reports.
//!
//! - **Retrieval** ([`retrieve`], [`score`]): R@K is the share of queries with at least one right answer among the K best, as cn_clip's
//!   `evaluation.py` and CLIP_benchmark's `zeroshot_retrieval.py` count (`recall.rs` says how ties go); MR is the mean of the six recalls (R@1, 5, 10, text
//!   to image and image to text) as in FlagAI's reports, which is the mean of the `mean_recall`s that cn_clip's scripts give for each direction.
//!   Scores are cosines in f32. A text that names no picture of the split is no query; cn_clip would count it as missed, and so
//!   do the files written for it ([`chinese_clip`]).
//! - **Zero-shot classification** ([`zeroshot()`]) and **probes** ([`probe()`]): the figures of [`classification`].
//! - **How sure** any of it is: [`bootstrap`], and [`compare`] for two models.
pub mod bootstrap;
pub mod chinese_clip;
mod classes;
pub mod classification;
pub mod clip_benchmark;
mod compare;
mod dataset;
pub mod elevater;
#[cfg(test)]
mod golden;
mod labelled;
mod logistic;
mod probe;
mod recall;
mod report;
mod retrieval;
mod sums;
mod zeroshot;

pub use bootstrap::{Bootstrap, Interval};
pub use classes::{ClassSet, Wanted};
pub use compare::{Comparison, Difference, Flip, Results, compare};
pub use dataset::{Dataset, DatasetError, TextRecord};
pub use labelled::{Labelled, LabelledSource, Numbering};
pub use probe::{Kind, Probe, probe};
pub use recall::{Ranking, Recalls, ranking, recalls};
pub use report::{Intervals, LanguageIntervals, LanguageScores, RecallIntervals, RetrievalReport};
pub use retrieval::{
    Example, HeldOut, LanguageQueries, Pairs, Query, QueryText, Retrieval, RetrievalSource, Scored, retrieval, retrieve, score,
};
pub use zeroshot::{ClassRecall, ClassificationReport, FigureIntervals, ZeroShot, zeroshot};
