//! What a run tells those who watch it.
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::trainer::{Example, Finish};

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A checkpoint was written.
    Checkpoint {
        /// Steps taken.
        step: u64,
        /// Its folder, `last` or `best`.
        path: PathBuf,
        /// How long it took.
        took: Duration,
    },
    /// The held-out set was evaluated.
    Evaluated {
        /// Steps taken.
        step: u64,
        /// Numbers by name.
        metrics: BTreeMap<String, f64>,
        /// What "best" means.
        headline: f64,
        /// Whether it is the best so far.
        best: bool,
        /// Some retrievals.
        examples: Vec<Example>,
        /// How long it took.
        took: Duration,
    },
    /// The run ends.
    Finished {
        /// Steps taken.
        step: u64,
        /// Why.
        why: Finish,
        /// Best headline and the step it was reached at.
        best: Option<(f64, u64)>,
        /// Steps that were skipped for numbers that are not finite.
        skipped: u64,
        /// Training time of the run, all sessions together.
        took: Duration,
    },
    /// The run starts, or goes on. What was told of steps after `step` does not count.
    Start {
        /// The recipe as it runs, TOML.
        recipe: String,
        /// Steps taken before.
        step: u64,
        /// Steps at the end.
        total_steps: u64,
        /// Steps of an epoch.
        steps_per_epoch: u64,
        /// Numbers that are trained.
        trained: u64,
        /// Numbers of the model.
        parameters: u64,
    },
    /// A step was taken, or skipped.
    Step {
        /// Steps taken, this one included.
        step: u64,
        /// Mean over the batch.
        loss: f32,
        /// What it is made of, and other numbers of the step.
        parts: Vec<(&'static str, f32)>,
        /// Base learning rate.
        lr: f32,
        /// Norm of all gradients, before clipping.
        grad_norm: f32,
        /// Items learnt from.
        items: usize,
        /// The whole step.
        took: Duration,
        /// Of it, waiting for data.
        data_wait: Duration,
        /// What was not finite, if the parameters stay as they were.
        skipped: Option<String>,
    },
    /// Something that people should know.
    Warning {
        /// Steps taken.
        step: u64,
        /// A sentence.
        message: String,
    },
}

/// Somebody who watches a run.
pub trait Observer: Send {
    /// Is told of an event, on the thread that trains.
    fn on(&mut self, event: &Event);
}

impl Observer for () {
    fn on(&mut self, _: &Event) {}
}
