//! A text tower towards a teacher's vectors over parallel text: AltCLIP's first stage (arXiv 2211.06679, section 3.1). No pictures are needed.
//!
//! What the student learns is said by `[loss.text_distill]`. With the output `final.pick` on both sides the student learns the teacher's vector
//! before its projection, as AltCLIP does, and the teacher's projection takes its place behind the student, so that the teacher's image
//! tower fits at once.
use std::collections::BTreeMap;
use std::path::Path;

use hua::evaluate::{Bootstrap, HeldOut};
use hua_exec::Batch;
use hua_kernels::Cores;
use hua_model::Model;
use hua_text::Tokenizer;
use serde_json::Value;

use super::distiller::{PROJECTION, TextDistiller};
use super::encoder::Encoder;
use super::held::metrics;
use super::texts::TextItems;
use crate::loss::{Projection, Units};
use crate::params::{Grads, ParamSet};
use crate::trainer::{Evaluation, StepOutcome, Task};
use crate::{Error, Result};

const TEXT: usize = 0;
const EXTRA: usize = 1;

/// Distillation of texts.
pub struct Distill {
    pub(super) model: Model,
    pub(super) text: Encoder,
    pub(super) sets: Vec<ParamSet>,
    pub(super) distiller: TextDistiller,
    pub(super) held: Option<HeldTexts>,
    pub(super) cores: Cores,
    pub(super) keep_adapters: bool,
    pub(super) base: String,
}

impl Task for Distill {
    fn params(&self) -> &[ParamSet] {
        &self.sets
    }

    fn params_mut(&mut self) -> &mut [ParamSet] {
        &mut self.sets
    }

    fn params_changed(&mut self) -> Result<()> {
        self.text.set_params(&self.sets[TEXT]);
        Ok(())
    }

    fn step(&mut self, _: u64, grads: &mut Grads) -> Result<StepOutcome> {
        let found = self.distiller.step(&mut self.text, &self.sets[EXTRA], &self.cores, (grads, TEXT, EXTRA))?;
        let loss = self.distiller.weight() * found.loss;
        Ok(StepOutcome { loss, parts: found.parts, items: found.items, ..StepOutcome::default() })
    }

    fn steps_per_epoch(&self) -> u64 {
        self.distiller.batches_per_epoch()
    }

    fn has_held_out(&self) -> bool {
        self.held.is_some()
    }

    fn evaluate(&mut self) -> Result<Evaluation> {
        let Self { held, text, sets, distiller, cores, .. } = self;
        held.as_ref().map_or_else(|| Ok(Evaluation::default()), |held| held.evaluate(text, &sets[EXTRA], distiller, cores))
    }

    fn cursor(&self) -> Value {
        self.distiller.cursor()
    }

    fn set_cursor(&mut self, cursor: &Value) -> Result<()> {
        self.distiller.set_cursor(cursor)
    }

    fn model(&self) -> Result<Model> {
        let image = self.model.image.weights.tensors().to_vec();
        Ok(self.model.with_weights(image, self.text.tensors(&self.sets[TEXT], !self.keep_adapters), self.model.logit_scale())?)
    }

    fn save_beside(&self, folder: &Path) -> Result<()> {
        let adapters = self.text.adapters(&self.sets[TEXT]);
        if self.keep_adapters && !adapters.is_empty() {
            crate::lora::save(folder, &self.model.spec, &self.base, &adapters)?;
        }
        Ok(())
    }
}

/// Parallel text that is never trained on.
pub(super) struct HeldTexts {
    ids: Vec<Vec<u32>>,
    languages: Vec<String>,
    /// What the teacher reads for each.
    targets: Vec<String>,
    /// Rows of the pivot language's texts, in which the others look for theirs.
    pivots: Vec<usize>,
    /// For each text that is no pivot: its row, and its right answers among the pivots.
    queries: Vec<(usize, Vec<usize>)>,
    bad: u64,
}

impl HeldTexts {
    /// Rows of parallel text; without a `pivot` the first language of each row is asked for by the others.
    pub(super) fn new(mut items: TextItems, pivot: Option<&str>, distiller: &mut TextDistiller, tokenizer: &Tokenizer) -> Result<Self> {
        distiller.teacher().learn(items.targets.iter().map(String::as_str))?;
        let teacher = distiller.teacher();
        items.keep(|text| teacher.knows(text), "there is no vector of it")?;
        let mut held = Self { ids: vec![], languages: vec![], targets: vec![], pivots: vec![], queries: vec![], bad: items.bad.count };
        let pivot = pivot.map(str::to_owned).or_else(|| items.items.first().map(|item| item.language.clone())).unwrap_or_default();
        let mut of_row: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        let mut rows = vec![];
        for item in &items.items {
            let Ok(encoding) = tokenizer.encode(&item.text) else {
                held.bad += 1;
                continue;
            };
            let row = held.ids.len();
            held.ids.push(encoding.ids);
            held.languages.push(if item.language.is_empty() { "all".to_owned() } else { item.language.clone() });
            held.targets.push(items.targets[item.target as usize].clone());
            rows.push(item.row);
            if item.language == pivot {
                of_row.entry(item.row).or_default().push(held.pivots.len());
                held.pivots.push(row);
            }
        }
        let others = (0..rows.len()).filter(|&row| held.languages[row] != pivot);
        held.queries = others.filter_map(|row| Some((row, of_row.get(&rows[row])?.clone()))).collect();
        Ok(held)
    }

    /// The mean cosine with the teacher, and recalls of the pivot language's texts by those of the others, percent.
    fn evaluate(&self, text: &Encoder, extra: &ParamSet, distiller: &mut TextDistiller, cores: &Cores) -> Result<Evaluation> {
        let rows = text.embed(Batch::Ids(&self.ids))?;
        if let Some(bad) = rows.iter().position(|x| !x.is_finite()) {
            return Err(Error::Hua(hua::Error::NotFinite { of: format!("held-out text {}", bad / text.width()) }));
        }
        let projection = extra.find(PROJECTION).map(|at| Projection { weight: &extra.values[at], inner: text.width() });
        let student = projection.map_or_else(|| rows.clone(), |projection| projection.forward(cores, &rows));
        let targets = distiller.teacher().targets(self.targets.iter().map(String::as_str));
        let width = distiller.teacher().width();
        let (student, targets) = (Units::of(&student, width), Units::of(&targets, width));
        let cosines: Vec<f64> = student
            .rows()
            .chunks_exact(width)
            .zip(targets.rows().chunks_exact(width))
            .map(|(x, y)| 100.0 * crate::loss::matrix::dot(x, y))
            .collect();
        let mut sums: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
        for (&cosine, language) in cosines.iter().zip(&self.languages) {
            for name in [language, "mean"] {
                let sum = sums.entry(name).or_default();
                *sum = (sum.0 + cosine, sum.1 + 1.0);
            }
        }
        let mut found: BTreeMap<String, f64> = sums.iter().map(|(name, (sum, count))| (format!("cosine/{name}"), sum / count)).collect();
        let mut headline = found.get("cosine/mean").copied().unwrap_or(0.0);
        if !self.queries.is_empty() {
            let width = text.width();
            let take =
                |some: &mut dyn Iterator<Item = usize>| some.flat_map(|row| &rows[row * width..][..width]).copied().collect::<Vec<f32>>();
            let asking = take(&mut self.queries.iter().map(|query| query.0));
            let answers = take(&mut self.pivots.iter().copied());
            let positives: Vec<Vec<usize>> = self.queries.iter().map(|query| query.1.clone()).collect();
            let languages: Vec<String> = self.queries.iter().map(|query| self.languages[query.0].clone()).collect();
            let held = HeldOut { width, texts: &asking, images: &answers, positives: &positives, languages: &languages };
            let scored = held.score(&Bootstrap { resamples: 0, ..Bootstrap::default() })?;
            let (recalls, mean) = metrics(&scored.report);
            // Here the pivot's texts are in the pictures' place.
            found
                .extend(recalls.into_iter().map(|(name, value)| (name.replace("t2i/", "to_pivot/").replace("i2t/", "from_pivot/"), value)));
            headline = mean;
        }
        if self.bad > 0 {
            found.insert("bad".to_owned(), self.bad as f64);
        }
        Ok(Evaluation { metrics: found, headline, examples: vec![] })
    }
}
