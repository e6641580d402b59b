//! What is learnt from: pairs of pictures and texts, parallel texts, and the order they come in.
//!
//! A [`PairSet`] is what there is, [`Sampling`] what a batch is made of, a [`PairLoader`] gives batch after batch. Everything random in a batch comes
//! from (seed, epoch, item): which pictures and texts, how they are changed, in which order. So batches are the same bits for any number of
//! threads, and a [`Cursor`] of a few numbers goes on in the middle of an epoch.
mod lists;
mod loader;
mod options;
mod order;
mod pairs;
mod pictures;
mod planner;
mod read;
mod texts;
mod workers;

pub use loader::{PairBatch, PairLoader, PairLoaderOptions};
pub use options::{Cache, Duplicates, ListDropout, Loading, ReadOptions, Sampling, TextAugment, Unit};
pub use order::Permutation;
pub use pairs::{Bad, NewPicture, NewText, PairSet, ReadReport};
pub use pictures::Pictures;
pub use planner::Cursor;
