//! A text tower towards a teacher's vectors: the losses of `[loss.text_distill]`, for the task of that name and beside others.
use hua_exec::Batch;
use hua_kernels::Cores;
use hua_text::Tokenizer;
use rayon::prelude::*;
use serde_json::Value;

use super::contrastive::add;
use super::encoder::Encoder;
use super::teacher::TextTeacher;
use super::texts::{Stream, TextItems};
use crate::loss::{Contrast, Groups, Projection, Units, cosine, info_nce, mse};
use crate::params::{Grads, ParamSet};
use crate::recipe::{Fit, TextDistill};
use crate::{Error, Result};

/// Names in the set `extra`.
pub(crate) const PROJECTION: &str = "text_distill.projection";
pub(crate) const LOGIT_SCALE: &str = "text_distill.logit_scale";
/// The temperature of the contrast with the teacher: AltCLIP's code begins with this.
const INITIAL_LOGIT_SCALE: f32 = 1.5;

/// Texts, their targets, and the loss.
pub(crate) struct TextDistiller {
    recipe: TextDistill,
    teacher: TextTeacher,
    items: TextItems,
    stream: Stream,
    tokenizer: Tokenizer,
}

/// What came of a batch.
#[derive(Debug, Default)]
pub(crate) struct TextOutcome {
    pub loss: f32,
    pub parts: Vec<(&'static str, f32)>,
    pub items: usize,
}

impl TextDistiller {
    /// Has the teacher learn its targets, and puts what is trained beside the tower into `extra`. Returns what should be told.
    pub(crate) fn new(
        recipe: TextDistill,
        mut teacher: TextTeacher,
        mut items: TextItems,
        (batch, seed): (usize, u64),
        tokenizer: Tokenizer,
        width: usize,
        extra: &mut ParamSet,
    ) -> Result<(Self, Vec<String>)> {
        let mut told = vec![];
        teacher.learn(items.targets.iter().map(String::as_str))?;
        items.keep(|text| teacher.knows(text), "there is no vector of it")?;
        let refused: Vec<bool> = items.items.par_iter().map(|item| tokenizer.encode(&item.text).is_err()).collect();
        let mut refused = refused.into_iter();
        let bad = &mut items.bad;
        items.items.retain(|item| {
            let refused = refused.next().expect("one for each");
            if refused {
                bad.add(item.text.clone(), "the tokenizer refuses it");
            }
            !refused
        });
        if items.bad.count > 0 {
            told.push(format!("texts that are left out: {}", items.bad.summary()));
        }
        if items.items.is_empty() {
            return Err(Error::BadData {
                name: "the texts".to_owned(),
                found: "none that can be used".to_owned(),
                wanted: "some".to_owned(),
            });
        }
        if teacher.width() != width {
            match recipe.fit {
                Fit::Pca if teacher.width() < width => {
                    let found = format!("`pca`, of a teacher of {} numbers for a student of {width}", teacher.width());
                    return Err(Error::recipe("loss.text_distill.fit", found, "`projection`, since the teacher is narrower"));
                }
                Fit::Pca => {
                    let kept = teacher.reduce(items.targets.iter().map(String::as_str), width)?;
                    told.push(format!("the teacher's vectors are reduced to {width} numbers, which keep {:.2} % of them", 100.0 * kept));
                }
                Fit::Projection => {
                    let shape = vec![teacher.width(), width];
                    let bound = (6.0 / (teacher.width() + width) as f64).sqrt();
                    let mut random = hua_image::augment::Random::of(&[seed, 103]);
                    let values = (0..teacher.width() * width).map(|_| ((2.0 * random.unit() - 1.0) * bound) as f32).collect();
                    extra.push(PROJECTION, shape, values, true);
                }
            }
        }
        if recipe.contrastive > 0.0 {
            extra.push(LOGIT_SCALE, vec![], vec![INITIAL_LOGIT_SCALE], true);
        }
        let stream = Stream::new(items.items.len(), batch, seed);
        Ok((Self { recipe, teacher, items, stream, tokenizer }, told))
    }

    /// The weight of all of it.
    pub(crate) fn weight(&self) -> f32 {
        self.recipe.weight
    }

    /// Batches of an epoch.
    pub(crate) fn batches_per_epoch(&self) -> u64 {
        self.stream.batches_per_epoch()
    }

    /// The teacher.
    pub(crate) fn teacher(&mut self) -> &mut TextTeacher {
        &mut self.teacher
    }

    /// The next batch: its loss, and its gradients times the weight, added to `grads` of the sets of the tower and of what stands beside it.
    pub(crate) fn step(
        &mut self,
        encoder: &mut Encoder,
        extra: &ParamSet,
        cores: &Cores,
        (grads, tower, beside): (&mut Grads, usize, usize),
    ) -> Result<TextOutcome> {
        let (batch, seeds) = self.stream.next();
        let items: Vec<_> = batch.iter().map(|&i| &self.items.items[i]).collect();
        let ids: Vec<Vec<u32>> =
            items.par_iter().map(|item| self.tokenizer.encode(&item.text).map(|e| e.ids).unwrap_or_default()).collect();
        let targets = self.teacher.targets(items.iter().map(|item| &*self.items.targets[item.target as usize]));
        let groups: Vec<u32> = items.iter().map(|item| item.target).collect();
        let pass = encoder.forward(Batch::Ids(&ids), &seeds)?;
        let found = self.loss(pass.rows(), encoder.width(), &targets, &groups, extra, cores);
        if found.outcome.loss.is_finite() {
            let scaled = |d: Vec<f32>| d.into_iter().map(|d| self.recipe.weight * d).collect::<Vec<_>>();
            for (name, d) in [(PROJECTION, found.d_projection), (LOGIT_SCALE, found.d_logit_scale)] {
                if let Some(at) = extra.find(name) {
                    add(&mut grads.set(beside)[at], &scaled(d));
                }
            }
            encoder.backward(Batch::Ids(&ids), &seeds, pass, &scaled(found.d_rows), grads.set(tower))?;
        }
        Ok(TextOutcome { items: items.len(), ..found.outcome })
    }

    /// What the losses say of raw rows of the student.
    fn loss(&self, rows: &[f32], width: usize, targets: &[f32], groups: &[u32], extra: &ParamSet, cores: &Cores) -> Found {
        let projection = extra.find(PROJECTION).map(|at| Projection { weight: &extra.values[at], inner: width });
        let projected = projection.map(|projection| projection.forward(cores, rows));
        let student = projected.as_deref().unwrap_or(rows);
        let target_width = self.teacher.width();
        let mut found = Found { d_rows: vec![0.0; student.len()], ..Found::default() };
        let mut take = |name, weight: f32, loss: f32, d: &[f32]| {
            found.outcome.loss += weight * loss;
            found.outcome.parts.push((name, loss));
            found.d_rows.iter_mut().zip(d).for_each(|(to, d)| *to += weight * d);
        };
        let TextDistill { mse: w_mse, cosine: w_cosine, contrastive: w_contrastive, .. } = self.recipe;
        if w_mse > 0.0 {
            let one = mse(student, targets);
            take("mse", w_mse, one.loss, &one.d_student);
        }
        let one = cosine(student, targets, target_width);
        take("cosine", w_cosine, one.loss, &one.d_student);
        if w_contrastive > 0.0 {
            let scale = extra.find(LOGIT_SCALE).map_or(INITIAL_LOGIT_SCALE, |at| extra.values[at][0]);
            let (units, wanted) = (Units::of(student, target_width), Units::of(targets, target_width));
            let one = info_nce(cores, units.rows(), wanted.rows(), target_width, &Groups::new(groups, groups), Contrast::new(scale));
            take("teacher_contrast", w_contrastive, one.loss, &units.backward(&one.d_a));
            found.d_logit_scale = vec![w_contrastive * one.d_logit_scale];
        }
        if let Some(projection) = projection {
            let (d_rows, d_weight) = projection.backward(cores, rows, &found.d_rows);
            (found.d_rows, found.d_projection) = (d_rows, d_weight);
        }
        found
    }

    pub(crate) fn cursor(&self) -> Value {
        self.stream.cursor()
    }

    pub(crate) fn set_cursor(&mut self, cursor: &Value) -> Result<()> {
        self.stream.set_cursor(cursor)
    }
}

/// A loss with all its gradients, without the outer weight.
#[derive(Default)]
struct Found {
    outcome: TextOutcome,
    d_rows: Vec<f32>,
    d_projection: Vec<f32>,
    d_logit_scale: Vec<f32>,
}
