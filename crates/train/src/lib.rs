//! Training: recipes, losses, the optimiser, and checkpoints that resume to the bit.
//!
//! A [`Task`] knows what is learnt from what: it reads batches, runs the towers forwards and backwards and gives gradients. The [`Trainer`]
//! knows nothing of pictures and texts: it takes AdamW steps, evaluates, keeps the best, writes checkpoints and goes on from them. A
//! [`Recipe`] is the TOML file that says all of it; an [`Observer`] is told what happens.
pub mod checkpoint;
pub mod data;
mod error;
pub mod lora;
pub mod loss;
pub mod observe;
pub mod optim;
pub mod params;
pub mod recipe;
pub mod schedule;
pub mod tasks;
pub mod trainer;

pub use error::{Error, Result};
pub use observe::{Event, Observer};
pub use params::{Grads, ParamSet};
pub use recipe::Recipe;
pub use trainer::{Evaluation, Example, Finish, Finished, Hit, StepOutcome, Task, Trainer};
