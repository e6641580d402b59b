//! Zero-shot classification: pictures are compared with class names put into templates; no picture is learned from.
//!
//! The vector of a class is the mean of the normalised vectors of its name in every template, normalised again (Radford et al., 2021, section
//! 3.1.4; cn_clip and CLIP_benchmark: `zero_shot_classifier`). Pictures with several classes are scored by average precision alone, as CLIP_benchmark
//! does; all figures are those of [`super::classification`].
use serde::Serialize;

use super::bootstrap::{Bootstrap, Interval};
use super::classification::{Figures, Logits};
use super::labelled::{Labelled, LabelledSource, Numbering};
use crate::{Embedder, Embeddings, Error, Failure, Progress, similarity};

/// How often pictures of a class were taken for it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassRecall {
    /// Its name.
    pub class: String,
    /// Pictures.
    pub samples: usize,
    /// Those whose best class it is.
    pub right: usize,
}

/// Intervals of shares, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FigureIntervals {
    /// The share of drawings within each.
    pub level: f64,
    /// How many drawings.
    pub resamples: usize,
    /// Of acc1.
    pub acc1: Interval,
    /// Of acc5, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acc5: Option<Interval>,
    /// Of the mean per class recall.
    pub mean_per_class_recall: Interval,
}

/// What is said of a classification, by words or by a probe.
#[derive(Clone, Debug, Serialize)]
pub struct ClassificationReport {
    /// The figures.
    #[serde(flatten)]
    pub figures: Figures,
    /// How far they would move with other pictures of the kind; none of pictures with several classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intervals: Option<FigureIntervals>,
    /// By class, in their order; none of pictures with several classes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub per_class: Vec<ClassRecall>,
    /// Pictures that no class was said of.
    pub without_class: usize,
    /// Pictures that could not be used.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
}

impl ClassificationReport {
    /// Of scores for classes.
    pub(super) fn of(logits: Logits<'_>, targets: &[Vec<usize>], classes: &[String], bootstrap: &Bootstrap) -> Self {
        let (without_class, failures) = (0, vec![]);
        if targets.iter().any(|target| target.len() != 1) {
            let figures = Figures::of_many(logits, targets);
            return Self { figures, intervals: None, per_class: vec![], without_class, failures };
        }
        let targets: Vec<usize> = targets.concat();
        let figures = Figures::of(logits, &targets);
        let mut per_class: Vec<ClassRecall> =
            classes.iter().map(|class| ClassRecall { class: class.clone(), samples: 0, right: 0 }).collect();
        for (&target, best) in targets.iter().zip(logits.best()) {
            per_class[target].samples += 1;
            per_class[target].right += usize::from(best == target);
        }
        let ranks = logits.ranks(&targets);
        let drawn_figures = |drawn: &[u32]| {
            let (mut all, mut at_1, mut at_5) = (vec![0u32; classes.len()], vec![0u32; classes.len()], 0u32);
            for ((&target, &rank), &times) in targets.iter().zip(&ranks).zip(drawn) {
                all[target] += times;
                at_1[target] += times * u32::from(rank == 1);
                at_5 += times * u32::from(rank <= 5);
            }
            let n = f64::from(all.iter().sum::<u32>());
            let shares: Vec<f64> =
                all.iter().zip(&at_1).filter(|(all, _)| **all > 0).map(|(&all, &right)| f64::from(right) / f64::from(all)).collect();
            let mean = shares.iter().sum::<f64>() / shares.len() as f64;
            vec![f64::from(at_1.iter().sum::<u32>()) / n, f64::from(at_5) / n, mean]
        };
        let found = bootstrap.intervals(targets.len(), drawn_figures);
        let intervals = found.first().map(|&acc1| FigureIntervals {
            level: bootstrap.level,
            resamples: bootstrap.resamples,
            acc1,
            acc5: figures.acc5.map(|_| found[1]),
            mean_per_class_recall: found[2],
        });
        Self { figures, intervals, per_class, without_class, failures }
    }
}

/// A model's answers, with what they were made from.
#[derive(Clone, Debug)]
pub struct ZeroShot {
    /// The figures.
    pub report: ClassificationReport,
    /// What the classes are called.
    pub classes: Vec<String>,
    /// Names of the pictures.
    pub names: Vec<String>,
    /// The classes of each picture.
    pub targets: Vec<Vec<usize>>,
    /// Cosines of pictures with classes, `[pictures, classes]`.
    pub cosines: Vec<f32>,
}

impl ZeroShot {
    /// The cosines as scores.
    pub fn logits(&self) -> Logits<'_> {
        Logits { classes: self.classes.len(), data: &self.cosines }
    }
}

/// Scores `embedder` on labelled pictures. `names` in the order of the classes, or none if the data set itself has names; `templates` each with one
/// `{}`, or none for names alone.
///
/// # Errors
/// [`Error::Labels`] if names, templates and pictures do not fit each other; as [`Labelled::read`]; [`Error::Text`], [`Error::Exec`].
pub fn zeroshot(
    embedder: &Embedder,
    source: &LabelledSource<'_>,
    names: &[String],
    templates: &[String],
    bootstrap: &Bootstrap,
    progress: &dyn Progress,
) -> Result<ZeroShot, Error> {
    let labelled = Labelled::read(embedder, source, progress)?;
    let numbering = Numbering::of(&labelled.distinct(), names)?;
    let targets = numbering.targets(&labelled.labels)?;
    let classes = numbering.classes;
    progress.start("embedding class names", classes.len() as u64);
    let prototypes = prototypes(embedder, &classes, templates, progress)?;
    progress.finish();
    let cosines = similarity(&labelled.embeddings, &prototypes)?.data;
    let logits = Logits { classes: classes.len(), data: &cosines };
    let mut report = embedder.pool.install(|| ClassificationReport::of(logits, &targets, &classes, bootstrap));
    (report.without_class, report.failures) = (labelled.without_class, labelled.failures);
    Ok(ZeroShot { report, classes, names: labelled.names, targets, cosines })
}

/// A vector for each class.
fn prototypes(embedder: &Embedder, classes: &[String], templates: &[String], progress: &dyn Progress) -> Result<Embeddings, Error> {
    let alone = ["{}".to_owned()];
    let templates = if templates.is_empty() { &alone[..] } else { templates };
    let mut data = vec![];
    for class in classes {
        let texts: Vec<String> = templates.iter().map(|template| template.replace("{}", class)).collect();
        data.extend_from_slice(embedder.embed_texts(&texts)?.as_slice());
        progress.advance(1);
    }
    let texts = Embeddings::from_rows(embedder.fingerprint(), embedder.width(), data);
    Ok(ensembled(&texts, templates.len()))
}

/// The mean of each `templates` rows, of length one again.
pub(super) fn ensembled(texts: &Embeddings, templates: usize) -> Embeddings {
    let width = texts.width();
    let mean = |rows: &[f32]| -> Vec<f32> { (0..width).map(|i| rows[i..].iter().step_by(width).sum::<f32>() / templates as f32).collect() };
    let data = texts.as_slice().chunks_exact(width * templates).flat_map(mean).collect();
    Embeddings::normalized(texts.fingerprint(), width, data)
}
