//! The three recipes as tasks, and [`train`], which runs any of them.
//!
//! | task | what is made small | what it needs |
//! | --- | --- | --- |
//! | [`Distill`] | a text tower's distance from a teacher's vectors | parallel text |
//! | [`Contrastive`] | a contrast of pictures and texts | pairs |
//! | fine-tuning | the same, of a trained model: whole, in part, or its adapters | pairs |
//!
//! They share [`Encoder`], a tower in training, which is where large batches go through in chunks.
mod build;
mod contrastive;
mod distill;
mod distiller;
mod encoder;
mod held;
mod teacher;
mod texts;
mod vectors;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use hua::{DeviceKind, Embedder, OpenOptions};
use hua_exec::ExecError;
use hua_kernels::{Cores, Isa};

pub use contrastive::Contrastive;
pub use distill::Distill;
pub use encoder::{Encoder, EncoderOptions, Pass};

use crate::Result;
use crate::observe::{Event, Observer};
use crate::recipe::{Kind, Recipe};
use crate::trainer::{Finished, Task, Trainer};

/// What recipes call the model that the program brings along, whichever it is.
pub const BUILT_IN: &str = "built-in";

/// The model that a recipe names, [`BUILT_IN`] among them.
fn open(name: &str, options: &OpenOptions) -> Result<Embedder> {
    let embedded = [BUILT_IN, hua::EMBEDDED_MODEL].contains(&name) && !Path::new(name).exists();
    Ok(if embedded { Embedder::embedded(options)? } else { Embedder::open_with(name, options)? })
}

/// What a recipe does not say: where it runs, and on what.
#[derive(Clone, Debug, Default)]
pub struct TrainOptions {
    /// Threads; 0 for as many as the machine has cores.
    pub threads: usize,
    /// Which executor.
    pub device: DeviceKind,
    /// Go on from the newest checkpoint of the run.
    pub resume: bool,
    /// Where teachers' vectors and locked towers' are kept; a folder `vectors` in the run's if absent.
    pub cache: Option<PathBuf>,
    /// Set to end the run after the step under way, with a checkpoint.
    pub stop: Arc<AtomicBool>,
}

/// Trains by a recipe, into the folder `run`: `last/` and `best/` are models that load and go on. What happens is told to `observer`.
///
/// # Errors
/// Whatever is wrong with the recipe, the data or the model, before the first step; [`Error::Diverged`](crate::Error::Diverged) and
/// [`Error::Full`](crate::Error::Full) later. Checkpoints that were written stay.
pub fn train(recipe: &Recipe, run: &Path, options: &TrainOptions, mut observer: Box<dyn Observer>) -> Result<Finished> {
    recipe.check()?;
    let (task, told) = task(recipe, run, options)?;
    for message in told {
        observer.on(&Event::Warning { step: 0, message });
    }
    let trainer = match options.resume {
        true => Trainer::resume(task, recipe, run, observer)?,
        false => Trainer::new(task, recipe, Some(run), observer)?,
    };
    trainer.on(cores(options.threads)?).run(&options.stop)
}

/// Threads that compute with the instructions that `HUA_ISA` names, or the best.
fn cores(threads: usize) -> Result<Cores> {
    let isa = Isa::chosen().map_err(ExecError::from)?;
    Ok(Cores::new(threads, isa).map_err(ExecError::from)?)
}

/// The task of a recipe, and what should be told of its data.
///
/// # Errors
/// Whatever is wrong with the recipe, the data or the model.
pub fn task(recipe: &Recipe, run: &Path, options: &TrainOptions) -> Result<(Box<dyn Task>, Vec<String>)> {
    let mut builder = build::Builder::new(recipe, run, options)?;
    let task: Box<dyn Task> = match recipe.kind {
        Kind::Contrastive | Kind::Finetune => Box::new(builder.contrastive()?),
        Kind::Distill => Box::new(builder.distill()?),
    };
    Ok((task, builder.told))
}

impl Task for Box<dyn Task> {
    fn params(&self) -> &[crate::ParamSet] {
        (**self).params()
    }

    fn params_mut(&mut self) -> &mut [crate::ParamSet] {
        (**self).params_mut()
    }

    fn params_changed(&mut self) -> Result<()> {
        (**self).params_changed()
    }

    fn step(&mut self, step: u64, grads: &mut crate::Grads) -> Result<crate::StepOutcome> {
        (**self).step(step, grads)
    }

    fn steps_per_epoch(&self) -> u64 {
        (**self).steps_per_epoch()
    }

    fn has_held_out(&self) -> bool {
        (**self).has_held_out()
    }

    fn evaluate(&mut self) -> Result<crate::Evaluation> {
        (**self).evaluate()
    }

    fn cursor(&self) -> serde_json::Value {
        (**self).cursor()
    }

    fn set_cursor(&mut self, cursor: &serde_json::Value) -> Result<()> {
        (**self).set_cursor(cursor)
    }

    fn model(&self) -> Result<hua_model::Model> {
        (**self).model()
    }

    fn save_beside(&self, folder: &Path) -> Result<()> {
        (**self).save_beside(folder)
    }
}
