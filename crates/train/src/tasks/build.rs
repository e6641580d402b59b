//! A recipe into a task: models opened, data read, teachers asked.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hua::{DeviceKind, Embedder, OpenOptions};
use hua_exec::{Cpu, Precision, Reference, Trainable};
use hua_model::{Model, Tower};

use super::TrainOptions;
use super::contrastive::{Contrastive, ImageTargets, Parts};
use super::distill::{Distill, HeldTexts};
use super::distiller::TextDistiller;
use super::encoder::{Encoder, EncoderOptions};
use super::held::Held;
use super::teacher::{TextTeacher, named_pictures, of_pictures};
use super::texts::TextItems;
use crate::data::{PairLoaderOptions, PairSet, Pictures, ReadReport};
use crate::lora::Side;
use crate::loss::{SIGMOID_BIAS, SIGMOID_LOGIT_SCALE};
use crate::params::ParamSet;
use crate::recipe::{ContrastKind, ImageDistill, Lora, Recipe, TextDistill, TowerSection, TrainPrecision, Trained};
use crate::{Error, Result};

/// Puts a task together.
pub(super) struct Builder<'a> {
    recipe: &'a Recipe,
    embedder: Embedder,
    device: Box<dyn Trainable>,
    cache: PathBuf,
    threads: usize,
    /// What people should know.
    pub(super) told: Vec<String>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(recipe: &'a Recipe, run: &Path, options: &TrainOptions) -> Result<Self> {
        let threads = options.threads;
        let precision = match recipe.train.precision {
            TrainPrecision::Bf16 => Precision::Bf16,
            TrainPrecision::F32 => Precision::F32,
        };
        let device: Box<dyn Trainable> = match options.device {
            DeviceKind::Cpu => Box::new(Cpu { threads, precision, ..Cpu::default() }),
            DeviceKind::Reference => Box::new(Reference),
        };
        let cache = options.cache.clone().unwrap_or_else(|| run.join("vectors"));
        Ok(Self { recipe, embedder: embedder(recipe, threads)?, device, cache, threads, told: vec![] })
    }

    fn encoder(&self, side: Side, output: &str) -> Result<(Encoder, ParamSet)> {
        let (tower, section): (&Tower, &TowerSection) = match side {
            Side::Image => (&self.embedder.model().image, &self.recipe.image),
            Side::Text => (&self.embedder.model().text, &self.recipe.text),
        };
        let train = &self.recipe.train;
        let options = EncoderOptions { chunk: train.chunk, recompute: train.recompute, seed: train.seed, output: output.to_owned() };
        Encoder::new(&*self.device, tower, side, section, &options)
    }

    /// Contrast of pictures and texts.
    pub(super) fn contrastive(&mut self) -> Result<Contrastive> {
        let recipe = self.recipe;
        let (image, image_set) = self.encoder(Side::Image, "embedding")?;
        let (text, text_set) = self.encoder(Side::Text, "embedding")?;
        if !image.trains() && !text.trains() {
            let wanted = "at least one of `text.train` and `image.train` other than `none`";
            return Err(Error::recipe("text.train", "`none`, as `image.train`", wanted));
        }
        for (key, weight, count) in [
            ("text_text", recipe.loss.text_text, recipe.data.sampling.texts_per_group),
            ("image_image", recipe.loss.image_image, recipe.data.sampling.pictures_per_group),
        ] {
            let two = recipe.data.sampling.unit == crate::data::Unit::Group && count >= 2;
            if weight > 0.0 && !two {
                let wanted = "0, or units that are groups with at least two of them (`data.sampling`)";
                return Err(Error::recipe(format!("loss.{key}"), weight.to_string(), wanted));
            }
        }
        let mut extra = ParamSet::new("extra");
        let trains = recipe.optim.logit_scale_lr_factor > 0.0;
        let random = recipe.model.config.is_some();
        let sigmoid = recipe.loss.contrast == ContrastKind::Sigmoid;
        let logit_scale = if sigmoid && random { SIGMOID_LOGIT_SCALE } else { self.embedder.model().logit_scale() };
        extra.push("logit_scale", vec![], vec![logit_scale], trains);
        if sigmoid {
            extra.push("logit_bias", vec![], vec![SIGMOID_BIAS], trains);
        }

        let set = self.pairs(&recipe.data.train, &recipe.data.read, "data.train")?;
        let options = PairLoaderOptions {
            batch: recipe.train.batch,
            seed: recipe.train.seed,
            sampling: recipe.data.sampling.clone(),
            augment: recipe.data.augment.clone(),
            texts: recipe.data.texts.clone(),
            loading: recipe.data.loading.clone(),
            max_bad: recipe.data.read.max_bad,
            ..PairLoaderOptions::new(*self.embedder.preprocess(), self.embedder.tokenizer().clone())
        };
        let held = match recipe.data.valid.is_empty() {
            true => None,
            false => {
                let valid = self.pairs(&recipe.data.valid, &recipe.data.valid_read, "data.valid")?;
                Some(Held::new(self.pictures(&valid), self.embedder.tokenizer()))
            }
        };
        let image_distill = recipe.loss.image_distill.as_ref().filter(|distill| distill.weight > 0.0);
        let image_distill = image_distill.map(|distill| self.image_targets(distill, &set, image.width(), &mut extra)).transpose()?;
        let text_distill = match recipe.loss.text_distill.as_ref().filter(|distill| distill.weight > 0.0 && text.trains()) {
            None => None,
            Some(distill) => {
                if distill.student_output != "embedding" {
                    let found = format!("`{}`", distill.student_output);
                    return Err(Error::recipe("loss.text_distill.student_output", found, "`embedding`, which the contrast is made of"));
                }
                let items = match distill.texts.is_empty() {
                    true => TextItems::of_pairs(&set, distill.pivot.as_deref())?,
                    false => TextItems::read(&paths(&distill.texts), distill.pivot.as_deref())
                        .map_err(Error::named("loss.text_distill.texts"))?,
                };
                Some(self.distiller(distill, items, text.width(), &mut extra)?)
            }
        };
        Contrastive::new(Parts {
            model: self.embedder.model().clone(),
            unlock_at: [recipe.image.unlock_at, recipe.text.unlock_at],
            keep_adapters: keeps(&recipe.image) || keeps(&recipe.text),
            base: base(recipe),
            sets: vec![image_set, text_set, extra],
            image,
            text,
            set,
            options,
            loss: recipe.loss.clone(),
            held,
            cores: super::cores(self.threads)?,
            cache: self.cache.clone(),
            image_distill,
            text_distill,
        })
    }

    /// Distillation of texts.
    pub(super) fn distill(&mut self) -> Result<Distill> {
        let recipe = self.recipe;
        let section = recipe.loss.text_distill.clone().unwrap_or_default();
        let (text, mut text_set) = self.encoder(Side::Text, &section.student_output)?;
        if !text.trains() {
            return Err(Error::recipe("text.train", "`none`", "something that is trained"));
        }
        let mut extra = ParamSet::new("extra");
        let train = paths(&named(&recipe.data.train, "data.train")?);
        let items = TextItems::read(&train, section.pivot.as_deref()).map_err(Error::named("data.train"))?;
        let mut distiller = self.distiller(&section, items, text.width(), &mut extra)?;
        const BEFORE_PROJECTION: &str = "final.pick";
        if section.student_output == BEFORE_PROJECTION && section.teacher_output == BEFORE_PROJECTION {
            let own = text_set.find("final.project.weight");
            let of_teacher = distiller.teacher().projection()?;
            if let (Some(at), Some((shape, values))) =
                (own, of_teacher.filter(|(shape, _)| own.is_some_and(|at| text_set.shapes[at] == *shape)))
            {
                text_set.values[at] = values;
                self.told.push(format!("the teacher's projection {shape:?} is the student's"));
            }
        }
        let held = match recipe.data.valid.is_empty() {
            true => None,
            false => {
                let valid = TextItems::read(&paths(&recipe.data.valid), section.pivot.as_deref()).map_err(Error::named("data.valid"))?;
                Some(HeldTexts::new(valid, section.pivot.as_deref(), &mut distiller, self.embedder.tokenizer())?)
            }
        };
        Ok(Distill {
            model: self.embedder.model().clone(),
            text,
            sets: vec![text_set, extra],
            distiller,
            held,
            cores: super::cores(self.threads)?,
            keep_adapters: keeps(&recipe.text),
            base: base(recipe),
        })
    }

    fn distiller(&mut self, section: &TextDistill, items: TextItems, width: usize, extra: &mut ParamSet) -> Result<TextDistiller> {
        let teacher =
            TextTeacher::new(section, self.recipe.model.teacher.as_deref(), &self.cache, self.threads, super::cores(self.threads)?)?;
        let batch = if section.batch == 0 { self.recipe.train.batch } else { section.batch };
        let tokenizer = self.embedder.tokenizer().clone();
        let place = (batch, self.recipe.train.seed);
        let (distiller, told) = TextDistiller::new(section.clone(), teacher, items, place, tokenizer, width, extra)?;
        self.told.extend(told);
        Ok(distiller)
    }

    fn image_targets(&mut self, section: &ImageDistill, set: &Arc<PairSet>, width: usize, extra: &mut ParamSet) -> Result<ImageTargets> {
        let (target_width, rows, there) = match (&section.vectors, &section.teacher, &self.recipe.model.teacher) {
            (Some(path), _, _) => named_pictures(Path::new(path), set).map_err(Error::named("loss.image_distill.vectors"))?,
            (None, Some(name), _) => self.teacher_of_pictures(name, "loss.image_distill.teacher", set)?,
            (None, None, Some(name)) => self.teacher_of_pictures(name, "model.teacher", set)?,
            (None, None, None) => {
                return Err(Error::recipe("loss.image_distill.teacher", "absent", "a model, or `vectors`, or `[model] teacher`"));
            }
        };
        let missing = there.iter().filter(|there| !**there).count();
        if missing > 0 {
            self.told.push(format!("{missing} of {} pictures have no teacher's vector and are not distilled", there.len()));
        }
        let projection = (target_width != width).then(|| {
            let bound = (6.0 / (target_width + width) as f64).sqrt();
            let mut random = hua_image::augment::Random::of(&[self.recipe.train.seed, 104]);
            let values = (0..target_width * width).map(|_| ((2.0 * random.unit() - 1.0) * bound) as f32).collect();
            extra.push("image_distill.projection", vec![target_width, width], values, true)
        });
        Ok(ImageTargets { weight: section.weight, width: target_width, rows, there, projection })
    }

    fn teacher_of_pictures(&self, name: &str, key: &str, set: &Arc<PairSet>) -> Result<(usize, Vec<f32>, Vec<bool>)> {
        let options = OpenOptions { threads: self.threads, ..OpenOptions::default() };
        let teacher = super::open(name, &options).map_err(Error::named(key))?;
        of_pictures(&teacher, &self.pictures(set), &self.cache)
    }

    fn pairs(&mut self, names: &[String], options: &crate::data::ReadOptions, key: &str) -> Result<Arc<PairSet>> {
        let set = PairSet::open(&paths(&named(names, key)?), options).map_err(Error::named(key))?;
        let ReadReport { bad, pictures_without_text, .. } = set.report();
        for (what, found) in [("could not be used", bad), ("are pictures without text", pictures_without_text)] {
            if found.count > 0 {
                self.told.push(format!("`{key}`: {what}: {}", found.summary()));
            }
        }
        Ok(Arc::new(set))
    }

    fn pictures(&self, set: &Arc<PairSet>) -> Pictures {
        Pictures::new(Arc::clone(set), *self.embedder.preprocess(), hua_image::DecodeOptions::default(), &Default::default())
    }
}

/// The model that a recipe begins with, its tokenizer and its preprocessing.
fn embedder(recipe: &Recipe, threads: usize) -> Result<Embedder> {
    let section = &recipe.model;
    let options = OpenOptions { threads, context_length: section.context_length, ..OpenOptions::default() };
    let open = |key: &str, name: &str| super::open(name, &options).map_err(Error::named(key));
    let mut embedder = match (&section.init, &section.config) {
        (Some(name), _) => open("model.init", name)?,
        (None, Some(folder)) => {
            let model_options = hua_model::OpenOptions { context_length: section.context_length, ..Default::default() };
            let model = Model::initialise(folder, recipe.train.seed, &model_options).map_err(Error::named("model.config"))?;
            Embedder::of_model(folder, model, &options)?
        }
        (None, None) => return Err(Error::recipe("model", "neither `init` nor `config`", "one of `init` and `config`")),
    };
    if section.init_image.is_some() || section.init_text.is_some() {
        let own = embedder.model();
        let tensors = |key: &str, name: &Option<String>, of: fn(&Model) -> &Tower| -> Result<_> {
            match name {
                None => Ok(of(own).weights.tensors().to_vec()),
                Some(name) => Ok(of(open(key, name)?.model()).weights.tensors().to_vec()),
            }
        };
        let image = tensors("model.init_image", &section.init_image, |m| &m.image)?;
        let text = tensors("model.init_text", &section.init_text, |m| &m.text)?;
        let model = own.with_weights(image, text, own.logit_scale())?;
        embedder = Embedder::of_model(embedder.name(), model, &options)?;
    }
    Ok(embedder)
}

fn paths(names: &[String]) -> Vec<PathBuf> {
    names.iter().map(PathBuf::from).collect()
}

fn named(names: &[String], key: &str) -> Result<Vec<String>> {
    if names.is_empty() { Err(Error::recipe(key, "empty", "at least one file or folder")) } else { Ok(names.to_vec()) }
}

fn keeps(section: &TowerSection) -> bool {
    matches!(&section.train, Trained::Lora(Lora { keep: true, .. }))
}

fn base(recipe: &Recipe) -> String {
    recipe.model.init.clone().or_else(|| recipe.model.config.clone()).unwrap_or_default()
}
