//! What a tower computes: a small graph of coarse operations, and the numbers it needs.
mod tensor;

pub use tensor::{DType, Storage, Tensor, TensorError};
