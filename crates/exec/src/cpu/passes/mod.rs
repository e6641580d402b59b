//! The rewritings of a plan. Each keeps every wanted number to the bit, but for `fold_batch_norm`, which rounds differently.
mod fold;
mod fuse;
mod narrow;
mod stack;
#[cfg(test)]
mod tests;

pub(crate) use fold::fold_batch_norm;
pub(crate) use fuse::{fuse_epilogues, fuse_residuals};
pub(crate) use narrow::narrow_to_picked;
pub(crate) use stack::stack_qkv;
