//! Numbers: matrix products, attention and row kernels on slices, and memory-mapped files; the only unsafe code of the project.
//!
//! Every kernel is written once, over `simd::Simd`, and compiled for each instruction set; [`Isa`] says which one runs, and can
//! only name one that the machine has. A result depends on the instruction set, but never on the number of threads, on the number
//! of rows computed together, or on how the work was cut into blocks.
mod attention;
mod cores;
mod file;
mod int8;
mod isa;
mod math;
mod packed;
mod peak;
mod product;
pub mod resize;
mod rows;
pub mod scan;
mod simd;

pub use attention::{Attention, Heads, HeadsGradient, Span, attention, attention_backward};
pub use cores::{Cores, PoolError};
pub use file::MappedFile;
pub use isa::{Isa, IsaError};
pub use math::{Activation, activate, activate_backward};
pub use packed::{AlignedBytes, Layout, Packed, Precision, PrecisionError, Values, pack, pack_transposed};
pub use peak::peak;
pub use product::{Epilogue, Part, PartGradient, product, weight_gradients};
pub use rows::{LayerNormGradients, l2_normalize, l2_normalize_backward, layer_norm, layer_norm_backward, scatter_add};
