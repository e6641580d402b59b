//! The optimiser: AdamW, its parameter groups, clipping, and the moving average of the parameters.
//!
//! Decided here: each number of a parameter is computed from its own past alone, and sums run over pieces of fixed length in a fixed order.
//! So threads share the work (rayon's, of the pool that the caller is in) and the bits do not depend on how many there are.
mod adamw;
mod average;
mod clip;
mod groups;
mod rate;

pub use adamw::{AdamW, Moments};
pub use average::Average;
pub use clip::{Norm, norm, scale};
pub use groups::{Group, groups};
pub use rate::{Start, suitable_lr};

/// Numbers of one piece of work.
const PIECE: usize = 1 << 14;
