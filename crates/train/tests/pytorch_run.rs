//! Twenty steps of the trainer follow transformers' and torch's (`tests/golden/gradients`): losses, norms, learning rates, the logit scale.
#![allow(clippy::unwrap_used, reason = "tests")]
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use hua_exec::{Batch, Cpu, Reference, Trainable};
use hua_kernels::{Cores, Isa};
use hua_model::checkpoint::Checkpoint;
use hua_model::{Model, OpenOptions};
use hua_train::lora::Side;
use hua_train::loss::{Contrast, Groups, Units, info_nce};
use hua_train::recipe::TowerSection;
use hua_train::tasks::{Encoder, EncoderOptions};
use hua_train::{Evaluation, Event, Grads, Observer, ParamSet, Recipe, Result, StepOutcome, Task, Trainer};
use serde_json::Value;

/// How far a number may be from torch's, which computed in f64.
const TOLERANCE: f64 = 1e-3;

fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(path)
}

/// The golden's batches, round and round.
struct Golden {
    model: Model,
    image: Encoder,
    text: Encoder,
    sets: Vec<ParamSet>,
    cores: Cores,
    batches: Vec<(Vec<f32>, Vec<Vec<u32>>)>,
}

impl Golden {
    fn new(name: &str, device: &dyn Trainable) -> Self {
        let model = Model::open(golden("models").join(name), &OpenOptions::default()).unwrap();
        let (section, options) = (TowerSection::default(), EncoderOptions::default());
        let (image, image_set) = Encoder::new(device, &model.image, Side::Image, &section, &options).unwrap();
        let (text, text_set) = Encoder::new(device, &model.text, Side::Text, &section, &options).unwrap();
        let mut extra = ParamSet::new("extra");
        extra.push("logit_scale", vec![], vec![model.logit_scale()], true);

        let file = Checkpoint::open(&golden("gradients").join(name).join("step.safetensors")).unwrap();
        let [count, pairs, longest] = file.shape("input_ids").unwrap()[..] else { panic!("three dimensions") };
        let integers = |name: &str| -> Vec<usize> {
            file.tensor(name).unwrap().bytes().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as usize).collect()
        };
        let (ids, lengths) = (integers("input_ids"), integers("lengths"));
        let texts: Vec<Vec<u32>> =
            ids.chunks_exact(longest).zip(lengths).map(|(ids, length)| ids[..length].iter().map(|&id| id as u32).collect()).collect();
        let pixels = file.tensor("pixel_values").unwrap().to_f32().unwrap().into_owned();
        let batches = pixels.chunks(pixels.len() / count).map(<[f32]>::to_vec).zip(texts.chunks(pairs).map(<[_]>::to_vec)).collect();
        let cores = Cores::new(1, Isa::best()).unwrap();
        Self { model, image, text, sets: vec![image_set, text_set, extra], cores, batches }
    }
}

impl Task for Golden {
    fn params(&self) -> &[ParamSet] {
        &self.sets
    }

    fn params_mut(&mut self) -> &mut [ParamSet] {
        &mut self.sets
    }

    fn params_changed(&mut self) -> Result<()> {
        self.image.set_params(&self.sets[0]);
        self.text.set_params(&self.sets[1]);
        Ok(())
    }

    fn step(&mut self, step: u64, grads: &mut Grads) -> Result<StepOutcome> {
        let (pixels, ids) = &self.batches[step as usize % self.batches.len()];
        let (pixels, texts, seeds) = (Batch::Images(pixels), Batch::Ids(ids), vec![step; ids.len()]);
        let (image, text) = (self.image.forward(pixels, &seeds)?, self.text.forward(texts, &seeds)?);
        let [a, b] = [image.rows(), text.rows()].map(|rows| Units::of(rows, self.image.width()));
        let contrast = Contrast::new(self.sets[2].values[0][0]);
        let found = info_nce(&self.cores, a.rows(), b.rows(), a.width(), &Groups::pairs(ids.len()), contrast);
        self.image.backward(pixels, &seeds, image, &a.backward(&found.d_a), grads.set(0))?;
        self.text.backward(texts, &seeds, text, &b.backward(&found.d_b), grads.set(1))?;
        grads.set(2)[0][0] += found.d_logit_scale;
        Ok(StepOutcome { loss: found.loss, items: ids.len(), ..StepOutcome::default() })
    }

    fn steps_per_epoch(&self) -> u64 {
        self.batches.len() as u64
    }

    fn evaluate(&mut self) -> Result<Evaluation> {
        Ok(Evaluation::default())
    }

    fn cursor(&self) -> Value {
        Value::Null
    }

    fn set_cursor(&mut self, _: &Value) -> Result<()> {
        Ok(())
    }

    fn model(&self) -> Result<Model> {
        Ok(self.model.with_weights(self.sets[0].tensors(), self.sets[1].tensors(), self.sets[2].values[0][0])?)
    }
}

/// Loss, norm of the gradients, learning rate and logit scale of each step.
#[derive(Clone, Default)]
struct Numbers(Arc<Mutex<Vec<[f64; 4]>>>);

impl Observer for Numbers {
    fn on(&mut self, event: &Event) {
        if let Event::Step { loss, grad_norm, lr, parts, .. } = event {
            let scale = parts.iter().find(|(name, _)| *name == "scale").unwrap().1;
            self.0.lock().unwrap().push([(*loss).into(), (*grad_norm).into(), (*lr).into(), f64::from(scale).ln()]);
        }
    }
}

fn follows(name: &str) {
    let run: Value = serde_json::from_slice(&std::fs::read(golden("gradients").join(name).join("run.json")).unwrap()).unwrap();
    let optimiser = &run["optimiser"];
    let recipe = format!(
        "kind = \"finetune\"\nmodel.init = \"x\"\n[data]\n[optim]\nlr = {}\nbeta1 = {}\nbeta2 = {}\neps = {}\nweight_decay = {}\nclip = {}\n\
         no_decay = \"open_clip\"\n[schedule]\nsteps = {}\nwarmup_steps = 4\n[eval]\nat_start = false\nevery_epochs = 0\n",
        optimiser["lr"],
        optimiser["betas"][0],
        optimiser["betas"][1],
        optimiser["eps"],
        optimiser["weight_decay"],
        run["clip_norm"],
        run["steps"],
    );
    let recipe = Recipe::parse(Path::new("golden.toml"), &recipe, &[]).unwrap();
    for device in [&Reference as &dyn Trainable, &Cpu::default()] {
        let numbers = Numbers::default();
        let mut trainer = Trainer::new(Golden::new(name, device), &recipe, None, Box::new(numbers.clone())).unwrap();
        for _ in 0..run["steps"].as_u64().unwrap() {
            trainer.step().unwrap();
        }
        let found = numbers.0.lock().unwrap();
        for (column, key) in ["losses", "gradient_norms", "learning_rates", "logit_scales"].iter().enumerate() {
            for (step, wanted) in run[key].as_array().unwrap().iter().enumerate() {
                let (found, wanted) = (found[step][column], wanted.as_f64().unwrap());
                assert!(
                    (found - wanted).abs() <= TOLERANCE * wanted.abs().max(1.0),
                    "{name} by {device:?}, step {step}: {key} {found}, {wanted}"
                );
            }
        }
    }
}

#[test]
fn altclip_follows() {
    follows("altclip-hf");
}

#[test]
fn chinese_clip_follows() {
    follows("chinese-clip-hf");
}
