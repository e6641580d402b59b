//! The commands, a file each: arguments with their help, then the work.

pub mod bench;
pub mod classify;
pub mod convert;
pub mod data;
pub mod embed;
pub mod eval;
pub mod index;
pub mod inspect;
pub mod pull;
pub mod search;
pub mod similarity;
mod sources;
pub mod train;
