//! Checkpoints on disk: whole or not there, and enough to go on to the bit.
//!
//! A run's folder has `last/` and `best/`. Each is a model that every program of its family loads, f32, and beside it:
//!
//! - `training_state.json` ([`State`]): how far the run is, where in the data, and by which recipe;
//! - `training_state.safetensors`: the trained parameters (`value.SET.NAME`), the optimiser's means of each (`mean.`, and AdamW's `square.`), and the
//!   moving average where there is one (`average.`). The parameters are there although the model has most of them, because it may hold their average,
//!   merged adapters or fewer of them. Frozen ones are not: the recipe says where they come from, and a digest in the state that they are
//!   the same.
//!
//! Decided here: a checkpoint is never changed. A new one is written beside it and synced, then the two change places in one step
//! (`folder.rs`). A process killed at any moment leaves a checkpoint that loads; a disk that is full is an error that loses nothing.
mod folder;
mod state;
mod tensors;

use std::path::{Path, PathBuf};

use hua_graph::DType;
use hua_model::{Model, SaveOptions};

pub use folder::{Lock, find};
pub use state::{Best, State, differences};
pub use tensors::Tensors;

use crate::Result;
use crate::optim::{Average, Optimiser};
use crate::params::ParamSet;

/// The folder of the newest checkpoint of a run.
pub const LAST: &str = "last";
/// The folder of the best.
pub const BEST: &str = "best";

/// What a checkpoint is made of.
#[derive(Debug)]
pub struct Contents<'a> {
    /// The model as it is to be used.
    pub model: &'a Model,
    /// How far the run is.
    pub state: &'a State,
    /// The parameters that are trained further.
    pub sets: &'a [ParamSet],
    /// The optimiser.
    pub optimiser: &'a Optimiser,
    /// Their moving average.
    pub average: Option<&'a Average>,
}

/// Writes checkpoint `name` of the run in `run`, with what `beside` adds to its folder; the one before it stays until this one is whole.
/// Returns its folder.
///
/// # Errors
/// [`crate::Error::Full`], [`crate::Error::Io`], [`crate::Error::Hua`]. The checkpoint before it is as it was.
pub fn write(run: &Path, name: &str, contents: &Contents<'_>, beside: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    folder::replace(run, name, |new| {
        contents.model.save(new, &SaveOptions { layout: None, dtype: Some(DType::F32) }).map_err(folder::model_error)?;
        beside(new)?;
        tensors::write(new, contents)?;
        state::write(new, contents.state)
    })
}

/// Reads what a checkpoint's folder says of a run with these parameter sets.
///
/// # Errors
/// [`crate::Error::State`] for what is none, or is of other parameters.
pub fn read(folder: &Path, sets: &[ParamSet]) -> Result<(State, Tensors)> {
    let state = state::read(folder)?;
    let tensors = Tensors::read(folder, sets, state.average_updates.is_some())?;
    Ok((state, tensors))
}
