//! The optimiser: AdamW and Muon, parameter groups, clipping, and the moving average of the parameters.
//!
//! Decided here: each number of a parameter (with Muon, each matrix) is computed from its own past alone, and sums run over pieces of fixed length in
//! a fixed order.
//! So threads share the work (rayon's, of the pool that the caller is in) and the bits do not depend on how many there are.
mod adamw;
mod average;
mod clip;
mod groups;
mod muon;
mod optimiser;
mod rate;

pub use average::Average;
pub use clip::{Norm, norm, scale};
pub use groups::{Group, groups};
pub use optimiser::{Moments, Optimiser};
pub use rate::{Start, suitable_lr};

/// Numbers of one piece of work.
const PIECE: usize = 1 << 14;
