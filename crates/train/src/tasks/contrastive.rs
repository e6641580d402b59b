//! Pictures and texts towards each other: CLIP's contrast, and what is added to it.
//!
//! One task for training from the beginning and for fine-tuning: what is trained of each tower (all, last layers, adapters, nothing) and when
//! (`unlock_at`: Chinese-CLIP's two stages in one run) is the towers' own matter. A locked tower is as in use, nothing dropped; where its
//! pictures or texts are not varied either, its vectors are computed once and kept on the disk (LiT, arXiv 2111.07991).
//!
//! A tower that is locked for now gets *no* gradient, which is not a gradient of zeros: AdamW leaves it alone, decay included, as PyTorch
//! does with `None`.
use std::path::{Path, PathBuf};

use hua_exec::Batch;
use hua_kernels::Cores;
use hua_model::Model;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::distiller::TextDistiller;
use super::encoder::{Encoder, Pass};
use super::held::Held;
use super::teacher::kept_pictures;
use crate::data::{Cursor, PairBatch, PairLoader, PairLoaderOptions, PairSet};
use crate::loss::{Contrast, Contrasted, Groups, Projection, Units, cosine, info_nce, sigmoid};
use crate::params::{Grads, ParamSet};
use crate::recipe::{ContrastKind, LossSection};
use crate::trainer::{Evaluation, StepOutcome, Task};
use crate::{Error, Result};

/// The sets of parameters: towers, and what stands beside them.
pub(crate) const IMAGE: usize = 0;
pub(crate) const TEXT: usize = 1;
pub(crate) const EXTRA: usize = 2;

/// What a task is made of.
pub(crate) struct Parts {
    pub model: Model,
    pub image: Encoder,
    pub text: Encoder,
    /// `image`, `text`, `extra`; `extra` begins with `logit_scale`.
    pub sets: Vec<ParamSet>,
    pub set: std::sync::Arc<PairSet>,
    pub options: PairLoaderOptions,
    pub loss: LossSection,
    /// Steps from which on each tower is trained.
    pub unlock_at: [u64; 2],
    /// Whether adapters stay beside the model.
    pub keep_adapters: bool,
    pub base: String,
    pub held: Option<Held>,
    pub cores: Cores,
    pub cache: PathBuf,
    pub image_distill: Option<ImageTargets>,
    pub text_distill: Option<TextDistiller>,
}

/// A teacher's vectors of the training pictures.
pub(crate) struct ImageTargets {
    pub weight: f32,
    pub width: usize,
    /// `[pictures, width]`, of length one.
    pub rows: Vec<f32>,
    /// Which pictures have one.
    pub there: Vec<bool>,
    /// The index of the projection in `extra`, where widths differ.
    pub projection: Option<usize>,
}

/// Contrastive training of two towers.
pub struct Contrastive {
    parts: Parts,
    loader: PairLoader,
    /// Whether the loader reads pictures.
    reads: bool,
    /// Vectors of the locked image tower by picture, and which pictures have one.
    features: Option<(Vec<f32>, Vec<bool>)>,
    /// Vectors of the locked text tower by text.
    text_features: Option<Vec<f32>>,
}

/// Where a run is in its data.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    pairs: Cursor,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    texts: Value,
}

impl Contrastive {
    pub(crate) fn new(parts: Parts) -> Result<Self> {
        let locked = !parts.image.trains() || parts.unlock_at[IMAGE] > 0;
        let reads = !(locked && parts.options.augment.is_none());
        let loader = PairLoader::new(parts.set.clone(), PairLoaderOptions { pixels: reads, ..parts.options.clone() })?;
        Ok(Self { parts, loader, reads, features: None, text_features: None })
    }

    /// What the data said when it was read.
    pub fn set(&self) -> &PairSet {
        &self.parts.set
    }

    /// Whether a tower is as in use at a step.
    fn locked(&self, set: usize, step: u64) -> bool {
        let trains = if set == IMAGE { self.parts.image.trains() } else { self.parts.text.trains() };
        !trains || step < self.parts.unlock_at[set]
    }

    /// A batch; with pixels where the image tower needs them at this step.
    fn next(&mut self, step: u64) -> Result<PairBatch> {
        let reads = !(self.locked(IMAGE, step) && self.parts.options.augment.is_none());
        if reads != self.reads {
            // The tower was unlocked: from here on pictures are read.
            let cursor = self.loader.cursor().clone();
            self.loader = PairLoader::new(self.parts.set.clone(), PairLoaderOptions { pixels: reads, ..self.parts.options.clone() })?;
            self.loader.seek(&cursor)?;
            (self.reads, self.features) = (reads, None);
        }
        if !reads && self.features.is_none() {
            self.features = Some(self.image_features()?);
        }
        self.loader.next()
    }

    fn image_features(&self) -> Result<(Vec<f32>, Vec<bool>)> {
        let Parts { model, image, cache, .. } = &self.parts;
        let pictures = self.loader.pictures();
        let folder = cache.join(format!("locked-image-{}", &model.spec.fingerprint[..16]));
        let mut embed = |some: &[u32]| {
            let (mut there, mut pixels) = (vec![], vec![]);
            for &picture in some {
                let found = pictures.pixels(picture, &hua_image::augment::Augment::default(), 0);
                there.push(found.is_ok());
                pixels.extend(found.unwrap_or_default());
            }
            Ok((there, image.embed(Batch::Images(&pixels))?))
        };
        let (_, rows, there) = kept_pictures(pictures, &folder, image.width(), &mut embed)?;
        Ok((rows, there))
    }

    /// The pictures' embeddings of a batch: by the tower in training, or as they were kept.
    fn images(&mut self, step: u64, batch: &mut PairBatch) -> Result<(Vec<f32>, Option<Pass>)> {
        let width = self.parts.image.width();
        if let Some((rows, there)) = &self.features {
            // What cannot be read is in no batch; its texts stay as wrong answers for the others.
            let keep: Vec<bool> = batch.pictures.iter().map(|&picture| there[picture as usize]).collect();
            retain(&mut batch.pictures, &keep);
            retain(&mut batch.picture_groups, &keep);
            retain(&mut batch.picture_seeds, &keep);
            let rows = batch.pictures.iter().flat_map(|&picture| &rows[picture as usize * width..][..width]).copied();
            return Ok((rows.collect(), None));
        }
        let pixels = Batch::Images(&batch.pixels);
        if self.locked(IMAGE, step) {
            return Ok((self.parts.image.embed(pixels)?, None));
        }
        let pass = self.parts.image.forward(pixels, &batch.picture_seeds)?;
        Ok((pass.rows().to_vec(), Some(pass)))
    }

    fn texts(&mut self, step: u64, batch: &PairBatch) -> Result<(Vec<f32>, Option<Pass>)> {
        let ids = Batch::Ids(&batch.ids);
        if !self.locked(TEXT, step) {
            let pass = self.parts.text.forward(ids, &batch.text_seeds)?;
            return Ok((pass.rows().to_vec(), Some(pass)));
        }
        if self.parts.options.texts != Default::default() {
            return Ok((self.parts.text.embed(ids)?, None));
        }
        let width = self.parts.text.width();
        if self.text_features.is_none() {
            let set = &self.parts.set;
            let encode = |text| self.parts.options.tokenizer.encode(set.text(text)).map(|e| e.ids).unwrap_or_default();
            let ids: Vec<Vec<u32>> = (0..set.texts() as u32).map(encode).collect();
            // A text that cannot be tokenized is in no batch.
            let good: Vec<usize> = (0..ids.len()).filter(|&i| !ids[i].is_empty()).collect();
            let found = self.parts.text.embed(Batch::Ids(&good.iter().map(|&i| ids[i].clone()).collect::<Vec<_>>()))?;
            let mut rows = vec![0.0; ids.len() * width];
            good.iter().zip(found.chunks_exact(width)).for_each(|(&i, row)| rows[i * width..][..width].copy_from_slice(row));
            self.text_features = Some(rows);
        }
        let rows = self.text_features.as_ref().expect("made just now");
        Ok((batch.texts.iter().flat_map(|&text| &rows[text as usize * width..][..width]).copied().collect(), None))
    }

    fn contrast(&self, a: &Units, b: &Units, groups: &Groups) -> Contrasted {
        let Parts { sets, loss, cores, .. } = &self.parts;
        let logit_scale = sets[EXTRA].values[0][0];
        match loss.contrast {
            ContrastKind::InfoNce => {
                let contrast = Contrast { logit_scale, duplicates: loss.duplicates, smoothing: loss.smoothing };
                info_nce(cores, a.rows(), b.rows(), a.width(), groups, contrast)
            }
            ContrastKind::Sigmoid => {
                let bias = sets[EXTRA].find("logit_bias").map_or(0.0, |at| sets[EXTRA].values[at][0]);
                sigmoid(cores, (a.rows(), b.rows()), a.width(), groups, loss.duplicates, (logit_scale, bias))
            }
        }
    }

    /// InfoNCE between the rows of each pair, both of one side; adds to the gradients of the side's unit rows.
    fn within(&self, units: &Units, pairs: &[(usize, usize, u32)], weight: f32, d: &mut [f32]) -> (f32, f32) {
        let width = units.width();
        let row = |i: usize| &units.rows()[i * width..][..width];
        let a: Vec<f32> = pairs.iter().flat_map(|pair| row(pair.0)).copied().collect();
        let b: Vec<f32> = pairs.iter().flat_map(|pair| row(pair.1)).copied().collect();
        let groups: Vec<u32> = pairs.iter().map(|pair| pair.2).collect();
        let contrast = Contrast { duplicates: self.parts.loss.duplicates, ..Contrast::new(self.parts.sets[EXTRA].values[0][0]) };
        let found = info_nce(&self.parts.cores, &a, &b, width, &Groups::new(&groups, &groups), contrast);
        for (at, &(i, j, _)) in pairs.iter().enumerate() {
            for (row, d_row) in [(i, &found.d_a), (j, &found.d_b)] {
                for (d, x) in d[row * width..][..width].iter_mut().zip(&d_row[at * width..][..width]) {
                    *d += weight * x;
                }
            }
        }
        (found.loss, found.d_logit_scale)
    }
}

impl Task for Contrastive {
    fn params(&self) -> &[ParamSet] {
        &self.parts.sets
    }

    fn params_mut(&mut self) -> &mut [ParamSet] {
        &mut self.parts.sets
    }

    fn params_changed(&mut self) -> Result<()> {
        let Parts { image, text, sets, .. } = &mut self.parts;
        for (encoder, set) in [(image, &sets[IMAGE]), (text, &sets[TEXT])] {
            if encoder.trains() {
                encoder.set_params(set);
            }
        }
        Ok(())
    }

    fn step(&mut self, step: u64, grads: &mut Grads) -> Result<StepOutcome> {
        for set in [IMAGE, TEXT] {
            let (locked, own) = (self.locked(set, step), &self.parts.sets[set]);
            for ((grad, values), _) in grads.set(set).iter_mut().zip(&own.values).zip(&own.trained).filter(|(_, trained)| **trained) {
                grad.resize(if locked { 0 } else { values.len() }, 0.0);
            }
        }
        let mut batch = self.next(step)?;
        let (image_rows, image_pass) = self.images(step, &mut batch)?;
        let (text_rows, text_pass) = self.texts(step, &batch)?;
        let images = Units::of(&image_rows, self.parts.image.width());
        let texts = Units::of(&text_rows, self.parts.text.width());
        let found = self.contrast(&images, &texts, &Groups::new(&batch.picture_groups, &batch.text_groups).leaving_out(&batch.alike));
        let (mut d_images, mut d_texts) = (found.d_a, found.d_b);
        let (mut loss, mut d_scale) = (found.loss, found.d_logit_scale);
        let mut parts = vec![("contrast", found.loss)];

        let set = &self.parts.set;
        let LossSection { text_text, image_image, .. } = self.parts.loss;
        if text_text > 0.0 {
            let pairs = two_of_each(&batch.text_groups, |i, j| set.language(batch.texts[i]) != set.language(batch.texts[j]));
            let (part, d) = self.within(&texts, &pairs, text_text, &mut d_texts);
            (loss, d_scale) = (loss + text_text * part, d_scale + text_text * d);
            parts.push(("text_text", part));
        }
        if image_image > 0.0 {
            let pairs = two_of_each(&batch.picture_groups, |i, j| batch.pictures[i] != batch.pictures[j]);
            let (part, d) = self.within(&images, &pairs, image_image, &mut d_images);
            (loss, d_scale) = (loss + image_image * part, d_scale + image_image * d);
            parts.push(("image_image", part));
        }
        let mut d_image_rows = images.backward(&d_images);
        if let Some(targets) = &self.parts.image_distill {
            let (part, d_projection) =
                targets.distil(&self.parts.cores, &self.parts.sets[EXTRA], &batch.pictures, &image_rows, &mut d_image_rows);
            loss += targets.weight * part;
            parts.push(("image_distill", part));
            if let (Some(at), Some(d)) = (targets.projection, d_projection) {
                add(&mut grads.set(EXTRA)[at], &d);
            }
        }
        let extra = grads.set(EXTRA);
        add(&mut extra[0], &[d_scale]);
        if let Some(at) = self.parts.sets[EXTRA].find("logit_bias") {
            add(&mut extra[at], &[found.d_logit_bias]);
        }
        let learns = !self.locked(TEXT, step);
        if let Some(distiller) = self.parts.text_distill.as_mut().filter(|_| learns) {
            let (sets, text) = (&self.parts.sets, &mut self.parts.text);
            let part = distiller.step(text, &sets[EXTRA], &self.parts.cores, (&mut *grads, TEXT, EXTRA))?;
            loss += distiller.weight() * part.loss;
            parts.push(("text_distill", part.loss));
        }
        if loss.is_finite() {
            if let Some(pass) = image_pass {
                let pixels = Batch::Images(&batch.pixels);
                self.parts.image.backward(pixels, &batch.picture_seeds, pass, &d_image_rows, grads.set(IMAGE))?;
            }
            if let Some(pass) = text_pass {
                let d_text_rows = texts.backward(&d_texts);
                self.parts.text.backward(Batch::Ids(&batch.ids), &batch.text_seeds, pass, &d_text_rows, grads.set(TEXT))?;
            }
        }
        if !batch.bad.is_empty() {
            parts.push(("bad", batch.bad.len() as f32));
        }
        if batch.truncated > 0 {
            parts.push(("texts_cut", batch.truncated as f32));
        }
        Ok(StepOutcome { loss, parts, items: batch.texts.len(), data_wait: batch.waited })
    }

    fn steps_per_epoch(&self) -> u64 {
        self.loader.batches_per_epoch(self.parts.options.batch)
    }

    fn has_held_out(&self) -> bool {
        self.parts.held.is_some()
    }

    fn evaluate(&mut self) -> Result<Evaluation> {
        let Parts { held, image, text, .. } = &mut self.parts;
        held.as_mut().map_or_else(|| Ok(Evaluation::default()), |held| held.evaluate(image, text))
    }

    fn cursor(&self) -> Value {
        let texts = self.parts.text_distill.as_ref().map_or(Value::Null, TextDistiller::cursor);
        serde_json::to_value(Place { pairs: self.loader.cursor().clone(), texts }).expect("plain data is JSON")
    }

    fn set_cursor(&mut self, cursor: &Value) -> Result<()> {
        let place: Place = serde_json::from_value(cursor.clone()).map_err(|e| {
            let reason = format!("its place in the data is none of this task: {e}");
            Error::State { path: Path::new("cursor").to_owned(), reason }
        })?;
        self.loader.seek(&place.pairs)?;
        match &mut self.parts.text_distill {
            Some(distiller) => distiller.set_cursor(&place.texts),
            None => Ok(()),
        }
    }

    fn model(&self) -> Result<Model> {
        let Parts { model, image, text, sets, keep_adapters, .. } = &self.parts;
        let merged = !keep_adapters;
        Ok(model.with_weights(image.tensors(&sets[IMAGE], merged), text.tensors(&sets[TEXT], merged), sets[EXTRA].values[0][0])?)
    }

    fn save_beside(&self, folder: &Path) -> Result<()> {
        let Parts { model, image, text, sets, keep_adapters, base, .. } = &self.parts;
        let mut adapters = image.adapters(&sets[IMAGE]);
        adapters.extend(text.adapters(&sets[TEXT]));
        if *keep_adapters && !adapters.is_empty() {
            crate::lora::save(folder, &model.spec, base, &adapters)?;
        }
        Ok(())
    }
}

impl ImageTargets {
    /// One minus the mean cosine over the pictures that have a target. Adds to the gradients of the raw rows; returns the loss and the
    /// gradient of the projection.
    fn distil(&self, cores: &Cores, extra: &ParamSet, pictures: &[u32], rows: &[f32], d_rows: &mut [f32]) -> (f32, Option<Vec<f32>>) {
        let there: Vec<usize> = (0..pictures.len()).filter(|&i| self.there[pictures[i] as usize]).collect();
        if there.is_empty() {
            return (0.0, None);
        }
        let width = rows.len() / pictures.len();
        let targets: Vec<f32> =
            there.iter().flat_map(|&i| &self.rows[pictures[i] as usize * self.width..][..self.width]).copied().collect();
        let own: Vec<f32> = there.iter().flat_map(|&i| &rows[i * width..][..width]).copied().collect();
        let projection = self.projection.map(|at| Projection { weight: &extra.values[at], inner: width });
        let (found, d_own, d_projection) = match projection {
            None => {
                let found = cosine(&own, &targets, width);
                (found.loss, found.d_student, None)
            }
            Some(projection) => {
                let found = cosine(&projection.forward(cores, &own), &targets, self.width);
                let (d_own, d_weight) = projection.backward(cores, &own, &found.d_student);
                (found.loss, d_own, Some(d_weight.into_iter().map(|d| self.weight * d).collect()))
            }
        };
        for (&i, d) in there.iter().zip(d_own.chunks_exact(width)) {
            d_rows[i * width..][..width].iter_mut().zip(d).for_each(|(to, d)| *to += self.weight * d);
        }
        (found, d_projection)
    }
}

/// The first two of each group that `differ`.
fn two_of_each(groups: &[u32], differ: impl Fn(usize, usize) -> bool) -> Vec<(usize, usize, u32)> {
    let mut first = std::collections::HashMap::new();
    let mut done = std::collections::HashSet::new();
    let mut pairs = vec![];
    for (i, &group) in groups.iter().enumerate() {
        let one = *first.entry(group).or_insert(i);
        if one != i && differ(one, i) && done.insert(group) {
            pairs.push((one, i, group));
        }
    }
    pairs
}

fn retain<T>(items: &mut Vec<T>, keep: &[bool]) {
    let mut keep = keep.iter();
    items.retain(|_| *keep.next().expect("one for each"));
}

/// Adds to a gradient, unless the parameter is frozen.
pub(crate) fn add(to: &mut [f32], from: &[f32]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}
