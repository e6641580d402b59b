//! A task for the trainer alone: parameters of a tiny golden model that wander after a target which moves with the cursor.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hua_model::{Model, OpenOptions};
use hua_train::{Error, Evaluation, Grads, ParamSet, Recipe, Result, StepOutcome, Task};
use serde_json::{Value, json};

pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name)
}

/// The recipe of `name`, with overrides.
pub fn recipe(sets: &[&str]) -> Recipe {
    let text = format!(
        "kind = \"finetune\"\n[model]\ninit = \"{}\"\n[data]\ntrain = {}\n[optim]\nlr = 0.01\n[schedule]\nsteps = 40\n",
        golden("models/altclip-hf").display(),
        "[]",
    );
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    Recipe::parse(Path::new("toy.toml"), &text, &sets).unwrap()
}

/// See above.
#[derive(Debug)]
pub struct Toy {
    pub model: Model,
    pub sets: Vec<ParamSet>,
    /// What the executors would have.
    pub copy: Vec<Vec<Vec<f32>>>,
    pub cursor: u64,
    /// Steps with a loss that is no number.
    pub bad_loss: Vec<u64>,
    /// Steps with a gradient that is no number.
    pub bad_gradient: Vec<u64>,
    /// Headlines, evaluation by evaluation, instead of the real one.
    pub headlines: Vec<f64>,
    /// Evaluations made.
    pub evaluations: usize,
}

impl Toy {
    pub fn new(recipe: &Recipe) -> Self {
        let model = Model::open(recipe.model.init.as_ref().unwrap(), &OpenOptions::default()).unwrap();
        let mut extra = ParamSet::new("extra");
        extra.push("logit_scale", vec![], vec![model.logit_scale()], true);
        let [mut image, text] =
            [("image", &model.image), ("text", &model.text)].map(|(name, tower)| ParamSet::of_tower(name, tower).unwrap());
        // Frozen, as a part of a tower may be.
        image.trained[0] = false;
        let sets = vec![image, text, extra];
        let copy = sets.iter().map(|set| set.values.clone()).collect();
        Self { model, sets, copy, cursor: 0, bad_loss: vec![], bad_gradient: vec![], headlines: vec![], evaluations: 0 }
    }

    fn target(&self, k: usize) -> f32 {
        ((k as u64 ^ self.cursor) as f32 * 0.7).sin()
    }
}

impl Task for Toy {
    fn params(&self) -> &[ParamSet] {
        &self.sets
    }

    fn params_mut(&mut self) -> &mut [ParamSet] {
        &mut self.sets
    }

    fn params_changed(&mut self) -> Result<()> {
        self.copy = self.sets.iter().map(|set| set.values.clone()).collect();
        Ok(())
    }

    fn step(&mut self, step: u64, grads: &mut Grads) -> Result<StepOutcome> {
        let mut loss = 0.0;
        for (s, set) in self.copy.iter().enumerate() {
            for (i, values) in set.iter().enumerate().filter(|(i, _)| self.sets[s].trained[*i]) {
                for (k, &value) in values.iter().enumerate() {
                    let off = value - self.target(k + s + i);
                    loss += off * off;
                    grads.set(s)[i][k] += off;
                }
            }
        }
        if self.bad_gradient.contains(&step) {
            grads.set(1)[3][0] = f32::NAN;
        }
        if self.bad_loss.contains(&step) {
            loss = f32::INFINITY;
        }
        // Not a multiple of the step, so that a cursor that is lost shows.
        self.cursor = self.cursor * 3 + step + 1;
        self.cursor %= 1009;
        Ok(StepOutcome { loss, parts: vec![("toy", loss)], items: 4, data_wait: Duration::ZERO })
    }

    fn steps_per_epoch(&self) -> u64 {
        10
    }

    fn evaluate(&mut self) -> Result<Evaluation> {
        self.evaluations += 1;
        let real = || -self.copy.iter().flatten().flatten().map(|&x| f64::from(x - 0.1).powi(2)).sum::<f64>();
        let headline = self.headlines.get(self.evaluations - 1).copied().unwrap_or_else(real);
        Ok(Evaluation { metrics: BTreeMap::from([("mr".to_owned(), headline)]), headline, examples: vec![] })
    }

    fn cursor(&self) -> Value {
        json!({ "at": self.cursor })
    }

    fn set_cursor(&mut self, cursor: &Value) -> Result<()> {
        let at = cursor.get("at").and_then(Value::as_u64);
        self.cursor = at.ok_or_else(|| Error::State { path: "cursor".into(), reason: format!("{cursor} is no cursor of the toy") })?;
        Ok(())
    }

    fn model(&self) -> Result<Model> {
        Ok(self.model.with_weights(self.sets[0].tensors(), self.sets[1].tensors(), self.sets[2].values[0][0])?)
    }
}
