//! What a tower computes: a small graph of coarse operations, and the numbers it needs.
//!
//! A tower (of images or of texts) is *data*: a [`Graph`] of about twenty [`Op`]s over four [`Kind`]s of value, written with a
//! [`Builder`] that creates the parameters as it goes. Everything else reads it: executors, the printer, the counter, and the passes that
//! make a graph for training of it.
//! No numbers are computed here and no files are known.
mod builder;
mod graph;
mod op;
mod passes;
mod tensor;
mod weights;

pub use builder::{Builder, ConvSizes, EmbedSizes, GraphError};
pub use graph::{Graph, Node, Output, ParamSpec};
pub use op::{Act, Kind, Mask, Op, Param, Pick, Value};
pub use passes::{LoraPair, Regularisation, for_training, lora};
pub use tensor::{DType, Storage, Tensor, TensorError};
pub use weights::{Weights, WeightsError};
