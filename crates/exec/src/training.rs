//! Reverse mode as executors offer it: a forward pass that keeps what the backward pass needs, and the gradients of the parameters.
//!
//! What is trained are f32 masters that the caller owns; an executor has its own copy in whatever numbers it computes with, and is told
//! of new ones after each step of the optimiser. A gradient is *added* to what is there, so that a large batch can go through in parts
//! (gradient caching, arXiv 2101.06983): `forward_only` gives the embeddings of each part, then `forward` and `backward` do each part again
//! with the gradients that all embeddings together gave. The random masks of both passes are the same ([`masks`](crate::masks)).
//!
//! Batch norms keep their recorded statistics: an affine map of each channel, whose gain and offset are trained (torchvision's
//! `FrozenBatchNorm2d`, and upstream's `--freeze-vision`). Upstream's unlocked ResNet takes each batch's own statistics; then an item would depend
//! on its batch, and gradient caching would no longer be exact.
//!
//! The same build on the same machine gives the same bits, for any number of threads: a run that is resumed is the run that was not
//! interrupted.
//!
//! ```
//! use hua_exec::{Batch, Reference, Trainable, TrainingOptions};
//! use hua_graph::{Builder, Kind};
//!
//! let mut g = Builder::default();
//! let x = g.input(Kind::Image { channels: 2, height: 1, width: 1 });
//! let x = g.flatten(x);
//! let x = g.linear("double", x, 1);
//! g.output("embedding", x);
//! let graph = g.finish()?;
//!
//! let options = TrainingOptions::all(&graph);
//! let mut gradients = options.gradients(&graph);
//! let mut training = Reference.load_training(&graph, &[&[3.0, 4.0], &[0.5]], &options)?;
//! // Two items, one seed each.
//! let (rows, tape) = training.forward(&Batch::Images(&[1.0, 2.0, -1.0, 0.0]), &[1, 2])?;
//! assert_eq!(rows.data, [11.5, -2.5]);
//! // The loss is the first output plus ten times the second.
//! training.backward(tape, &[1.0, 10.0], &mut gradients)?;
//! assert_eq!(gradients, [vec![1.0 - 10.0, 2.0], vec![11.0]]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
use std::any::Any;
use std::fmt;

use hua_graph::Graph;

use crate::shapes::unsupported;
use crate::{Batch, Device, ExecError, Rows};

/// A device that can train.
pub trait Trainable: Device {
    /// Makes a graph ready to train. `params` are the numbers of [`Graph::params`], in that order, each row-major in its parameter's shape.
    ///
    /// # Errors
    /// [`ExecError::Parameter`] if `params` or [`TrainingOptions::trained`] do not fit the graph, [`ExecError::Output`] if it lacks the output,
    /// [`ExecError::Unsupported`] if the device cannot do an operation or its gradient exactly as the graph says.
    fn load_training(&self, graph: &Graph, params: &[&[f32]], options: &TrainingOptions) -> Result<Box<dyn Training>, ExecError>;
}

/// What is trained, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainingOptions {
    /// For each of [`Graph::params`]: whether a gradient is wanted. What leads to frozen parameters alone costs no backward pass.
    pub trained: Vec<bool>,
    /// The output that the loss is made of; towers call it `embedding`.
    pub output: String,
    /// Keep only what goes into each block of the tower, and run the block again in the backward pass (arXiv 1604.06174): less memory, about a
    /// third more work, the same bits.
    pub recompute: bool,
}

impl TrainingOptions {
    /// Every parameter that can be trained, output `embedding`, nothing recomputed.
    pub fn all(graph: &Graph) -> Self {
        let trained = graph.params().iter().map(|p| p.trained).collect();
        Self { trained, output: "embedding".into(), recompute: false }
    }

    /// Gradients of zero, as [`Training::backward`] adds to them: a parameter's size if it is trained, else empty.
    pub fn gradients(&self, graph: &Graph) -> Vec<Vec<f32>> {
        let size = |p: &hua_graph::ParamSpec| p.shape.iter().product::<usize>();
        graph.params().iter().zip(&self.trained).map(|(p, &trained)| vec![0.0; if trained { size(p) } else { 0 }]).collect()
    }

    /// Whether these options and `params` are for this graph: one law for all executors.
    ///
    /// # Errors
    /// The first that does not fit.
    pub(crate) fn check(&self, graph: &Graph, params: &[&[f32]]) -> Result<(), ExecError> {
        crate::shapes::find_outputs(graph, &[self.output.as_str()])?;
        let specs = graph.params();
        for (what, found) in [("parameters", params.len()), ("flags of what is trained", self.trained.len())] {
            if found != specs.len() {
                return Err(ExecError::Parameter { name: format!("the number of {what}"), found, wanted: specs.len() });
            }
        }
        for (spec, (values, &trained)) in specs.iter().zip(params.iter().zip(&self.trained)) {
            let wanted = spec.shape.iter().product();
            if values.len() != wanted {
                return Err(ExecError::Parameter { name: format!("`{}`", spec.name), found: values.len(), wanted });
            }
            if trained && !spec.trained {
                return Err(unsupported(format!("training of `{}`, which is a recorded statistic", spec.name)));
            }
        }
        Ok(())
    }
}

/// A graph in training: its parameters, and both passes.
pub trait Training: fmt::Debug + Send {
    /// New numbers for all parameters, as after a step of the optimiser; order and layout of [`Trainable::load_training`]. A tape from before
    /// can no longer go backward.
    ///
    /// # Panics
    /// If a number of parameters or of their values is another than at loading.
    fn set_params(&mut self, params: &[&[f32]]);

    /// The output of a batch as in use: no dropout, all tokens, any number of items.
    ///
    /// # Errors
    /// [`ExecError`] if the batch is not what the graph takes.
    fn run(&self, batch: &Batch<'_>) -> Result<Rows, ExecError>;

    /// The output of a batch in training, and what the backward pass needs. `seeds` has one number for each item; masks follow from it, the
    /// node and the place within the item alone.
    ///
    /// # Errors
    /// [`ExecError`] if the batch is not what the graph takes, or if there are not as many seeds as items.
    fn forward(&mut self, batch: &Batch<'_>, seeds: &[u64]) -> Result<(Rows, Tape), ExecError>;

    /// The output of [`Training::forward`], to the bit, with nothing kept.
    ///
    /// # Errors
    /// As [`Training::forward`].
    fn forward_only(&self, batch: &Batch<'_>, seeds: &[u64]) -> Result<Rows, ExecError>;

    /// Adds to `grads` the gradients of a loss whose gradient with respect to the output is `d_output`, in the output's layout.
    /// `grads[i]` is as long as parameter `i` if it is trained, else empty: [`TrainingOptions::gradients`].
    ///
    /// # Errors
    /// [`ExecError::Parameter`] if `d_output` or `grads` are of other lengths, [`ExecError::Tape`] if the tape is another graph's or older than
    /// the parameters. Nothing is added then.
    fn backward(&mut self, tape: Tape, d_output: &[f32], grads: &mut [Vec<f32>]) -> Result<(), ExecError>;
}

/// What a forward pass kept for its backward pass; only the [`Training`] that made it can read it.
pub struct Tape(pub(crate) Box<dyn Any + Send>);

impl Tape {
    /// Keeps anything; for executors.
    pub fn new(kept: impl Any + Send) -> Self {
        Self(Box::new(kept))
    }

    /// What was kept, if it is a `T`; for executors.
    ///
    /// # Errors
    /// [`ExecError::Tape`].
    pub fn take<T: Any>(self) -> Result<Box<T>, ExecError> {
        self.0.downcast().map_err(|_| ExecError::Tape)
    }
}

impl fmt::Debug for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tape")
    }
}

/// Whether `grads` and `d_output` are what [`Training::backward`] takes: one law for all executors. `wanted` is how many numbers the output has.
///
/// # Errors
/// [`ExecError::Parameter`], for the first that is not.
pub(crate) fn check_backward(
    graph: &Graph,
    trained: &[bool],
    (d_output, wanted): (&[f32], usize),
    grads: &[Vec<f32>],
) -> Result<(), ExecError> {
    if d_output.len() != wanted {
        return Err(ExecError::Parameter { name: "the gradient of the output".into(), found: d_output.len(), wanted });
    }
    let specs = graph.params();
    if grads.len() != specs.len() {
        return Err(ExecError::Parameter { name: "the number of gradients".into(), found: grads.len(), wanted: specs.len() });
    }
    for ((spec, &trained), grad) in specs.iter().zip(trained).zip(grads) {
        let wanted = if trained { spec.shape.iter().product() } else { 0 };
        if grad.len() != wanted {
            return Err(ExecError::Parameter { name: format!("the gradient of `{}`", spec.name), found: grad.len(), wanted });
        }
    }
    Ok(())
}
