//! Executors of a graph: the reference that defines every operation and its gradient, and the fast one for CPUs.
//!
//! A [`Device`] is a value that the caller chooses; it loads a graph and its weights into a [`Program`], which runs batches. Batches
//! are ragged: every item has its own length, nothing is padded, and an item's result does not depend on the others. A [`Trainable`] device
//! gives the gradients of the parameters as well.
//!
//! ```
//! use hua_exec::{Batch, Cpu, Device, Reference};
//! use hua_graph::{Builder, EmbedSizes, Kind, Pick, Tensor, Weights};
//!
//! let mut g = Builder::default();
//! let ids = g.input(Kind::Ids);
//! let x = g.embed(ids, EmbedSizes { vocab: 3, positions: 4, first_position: 0, types: 0, width: 2 });
//! let x = g.pick(x, Pick::Mean, None);
//! g.output("embedding", x);
//! let graph = g.finish()?;
//! let tokens = Tensor::from_f32(&[3, 2], vec![0., 0., 1., 10., 2., 20.]);
//! let positions = Tensor::from_f32(&[4, 2], vec![0.0; 8]);
//! let weights = Weights::new(&graph, vec![tokens, positions])?;
//!
//! let texts = [vec![1, 2], vec![2, 2, 0]];
//! for device in [&Reference as &dyn Device, &Cpu::default()] {
//!     let rows = device.load(&graph, &weights)?.run(&Batch::Ids(&texts), &["embedding"])?.remove(0);
//!     assert_eq!((rows.width, &rows.lengths[..]), (2, &[1, 1][..]));
//!     assert_eq!(rows.data, [1.5, 15.0, 4.0 / 3.0, 40.0 / 3.0]);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
mod batch;
mod cpu;
pub mod masks;
mod reference;
mod shapes;
mod training;

// What tests of this crate share with those beside it calls it by its name.
#[cfg(test)]
extern crate self as hua_exec;

use std::fmt;

use hua_graph::{Graph, Kind, TensorError, Weights};
use hua_kernels::{IsaError, PoolError};

pub use batch::{Batch, Rows};
pub use cpu::{Cpu, Measured, PackedCache};
pub use reference::Reference;
pub use training::{Tape, Trainable, Training, TrainingOptions};

pub use hua_kernels::{Isa, Precision, PrecisionError};

/// Where graphs run: chosen by value, never by a feature or a type parameter.
pub trait Device: fmt::Debug + Send + Sync {
    /// Makes a graph with its weights ready to run.
    ///
    /// # Errors
    /// [`ExecError::Unsupported`] if the device cannot do an operation exactly as the graph says.
    fn load(&self, graph: &Graph, weights: &Weights) -> Result<Box<dyn Program>, ExecError>;
}

/// A graph that is ready to run. Safe to use from many threads.
pub trait Program: fmt::Debug + Send + Sync {
    /// Runs a batch and returns the outputs of these names, in this order. Each is [`Rows`]: an item has one row in a vector output
    /// and as many as its sequence is long in a sequence output; an image `[channels, height, width]` is one row of all its numbers.
    ///
    /// # Errors
    /// [`ExecError`] if the batch is not what the graph takes. Nothing is computed then.
    fn run(&self, batch: &Batch<'_>, outputs: &[&str]) -> Result<Vec<Rows>, ExecError>;

    /// [`Program::run`] on the caller's thread alone, with the same bits: for who has threads enough, and a batch for each of them. A device
    /// whose threads are not the machine's cores does as always.
    ///
    /// # Errors
    /// As [`Program::run`].
    fn run_alone(&self, batch: &Batch<'_>, outputs: &[&str]) -> Result<Vec<Rows>, ExecError> {
        self.run(batch, outputs)
    }

    /// Floating-point operations of the matrix products that this program does for an output of one item, two for each multiply and add; a
    /// text has `tokens` tokens. Less than [`Graph::flops`] where rows are left out that the output does not need.
    ///
    /// # Errors
    /// [`ExecError::Output`].
    fn flops(&self, output: &str, tokens: usize) -> Result<u64, ExecError>;
}

/// Why a graph cannot be loaded or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// An id that the vocabulary does not have.
    #[error("item {item} has token id {id}, the vocabulary has {vocab}")]
    Id {
        /// Which item.
        item: usize,
        /// The id.
        id: u32,
        /// Rows of the token table.
        vocab: usize,
    },
    /// An item with too many positions, or with none.
    #[error("item {item} has {length} positions, the model takes 1 to {most}")]
    Length {
        /// Which item.
        item: usize,
        /// How many it has.
        length: usize,
        /// How many there may be.
        most: usize,
    },
    /// The batch is of another kind than the graph's input.
    #[error("the batch holds {found}, the graph takes {wanted}")]
    Input {
        /// What it holds.
        found: String,
        /// What the graph takes.
        wanted: Kind,
    },
    /// `HUA_ISA` names no instruction set of this machine.
    #[error(transparent)]
    Isa(#[from] IsaError),
    /// The graph has no output of that name.
    #[error("the graph has no output `{name}`, only {known}")]
    Output {
        /// The name asked for.
        name: String,
        /// Those there are.
        known: String,
    },
    /// Numbers for training that do not fit the graph.
    #[error("{name}: {found}, wanted {wanted}")]
    Parameter {
        /// What they are, with the parameter's name in backticks.
        name: String,
        /// How many were given.
        found: usize,
        /// How many there are.
        wanted: usize,
    },
    /// Not one seed for each item.
    #[error("{found} seeds for {wanted} items")]
    Seeds {
        /// Seeds given.
        found: usize,
        /// Items of the batch.
        wanted: usize,
    },
    /// A tape of another graph, or of parameters that are no longer there.
    #[error("this tape is another training's, or from before the parameters changed")]
    Tape,
    /// Threads could not be started.
    #[error(transparent)]
    Threads(#[from] PoolError),
    /// A weight that cannot be read as numbers.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The device cannot do this exactly.
    #[error("this device cannot do {what}")]
    Unsupported {
        /// The operation.
        what: String,
    },
}
