//! What the trainer asks of a task, and what it is told.
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Result;
use crate::params::{Grads, ParamSet};

/// What is learnt from what. It owns the parameters, the executors and the data.
///
/// Everything that a step depends on is in the parameters, the number of the step and the cursor: a task that is made anew by the same
/// recipe, given the parameters and [`Task::set_cursor`], goes on to the bit.
pub trait Task: Send {
    /// The parameters.
    fn params(&self) -> &[ParamSet];

    /// The parameters, to be changed; whoever changes them calls [`Task::params_changed`] when done.
    fn params_mut(&mut self) -> &mut [ParamSet];

    /// Hands the new numbers to the executors.
    ///
    /// # Errors
    /// If an executor cannot take them.
    fn params_changed(&mut self) -> Result<()>;

    /// One optimiser step's worth of data: reads its own batches and adds to `grads`, which are zero. Epochs go round.
    ///
    /// # Errors
    /// What ends the run; what can be survived is counted by the task and told as a part.
    fn step(&mut self, step: u64, grads: &mut Grads) -> Result<StepOutcome>;

    /// Steps of an epoch, at least 1.
    fn steps_per_epoch(&self) -> u64;

    /// Whether there is a held-out set: without one nothing is evaluated, and nothing is best.
    fn has_held_out(&self) -> bool {
        true
    }

    /// Real recall on the held-out set, with the present parameters.
    ///
    /// # Errors
    /// If the towers cannot be run.
    fn evaluate(&mut self) -> Result<Evaluation>;

    /// Where in the data the next step begins, and whatever else the task remembers from step to step.
    fn cursor(&self) -> Value;

    /// Goes to where a [`Task::cursor`] says.
    ///
    /// # Errors
    /// If it is none of this task's.
    fn set_cursor(&mut self, cursor: &Value) -> Result<()>;

    /// The model with the present numbers.
    ///
    /// # Errors
    /// If the numbers make no model.
    fn model(&self) -> Result<hua_model::Model>;

    /// Writes into a checkpoint's new folder what belongs beside the model, such as adapters; usually nothing.
    ///
    /// # Errors
    /// If it cannot be written.
    fn save_beside(&self, folder: &Path) -> Result<()> {
        let _ = folder;
        Ok(())
    }
}

/// What came of a step's data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepOutcome {
    /// Mean over the batch.
    pub loss: f32,
    /// What it is made of, and other numbers to be told.
    pub parts: Vec<(&'static str, f32)>,
    /// Items learnt from.
    pub items: usize,
    /// How long the step waited for data.
    pub data_wait: Duration,
}

/// What came of an evaluation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// Numbers by name, such as `t2i/zh/r1`; percent.
    pub metrics: BTreeMap<String, f64>,
    /// What "best" means; greater is better.
    pub headline: f64,
    /// Some retrievals, for the report.
    pub examples: Vec<Example>,
}

/// A question and what the model found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Example {
    /// The text.
    pub query: String,
    /// Its language, as the data set calls it.
    pub language: String,
    /// Best first.
    pub hits: Vec<Hit>,
}

/// A picture that was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hit {
    /// Its name in the data set.
    pub picture: String,
    /// Cosine.
    pub score: f32,
    /// Whether the data set says that it is right.
    pub right: bool,
    /// A small PNG or JPEG of it; may be empty.
    pub preview: Vec<u8>,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// All steps are done.
    Done,
    /// No evaluation was better for as long as the recipe has patience.
    NoBetter,
    /// Somebody asked it to stop.
    Stopped,
    /// The time is up.
    TimeUp,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    /// Why.
    pub why: Finish,
    /// Steps taken.
    pub step: u64,
    /// Best headline and the step it was reached at.
    pub best: Option<(f64, u64)>,
    /// Steps that were skipped.
    pub skipped: u64,
}
