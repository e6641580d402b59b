//! What the reference computes with: f32 between the steps in use, f64 in training.
//!
//! In use a value is rounded to f32 after each step, as every executor stores it. In training nothing is rounded but what goes in and comes
//! out, so that gradients can be held to finite differences of the very same loops.
use std::fmt;
use std::ops::Add;

/// A number that is stored between steps.
pub(super) trait Number: Copy + fmt::Debug + Add<Output = Self> + Send + Sync + 'static {
    /// The nearest.
    fn of(x: f64) -> Self;
    /// Itself.
    fn wide(self) -> f64;
}

impl Number for f32 {
    fn of(x: f64) -> Self {
        x as f32
    }

    fn wide(self) -> f64 {
        self.into()
    }
}

impl Number for f64 {
    fn of(x: f64) -> Self {
        x
    }

    fn wide(self) -> f64 {
        self
    }
}

/// The value of a node: rows of each item, as [`Rows`](crate::Rows) has them.
#[derive(Clone, Debug)]
pub(super) struct Values<T> {
    /// Numbers of a row.
    pub(super) width: usize,
    /// Rows of each item.
    pub(super) lengths: Vec<usize>,
    /// `[sum of lengths, width]`.
    pub(super) data: Vec<T>,
}

impl<T> Values<T> {
    /// The rows, one after the other.
    pub(super) fn rows(&self) -> std::slice::ChunksExact<'_, T> {
        self.data.chunks_exact(self.width.max(1))
    }

    /// The rows of each item, together: `[length, width]`.
    pub(super) fn sequences(&self) -> impl Iterator<Item = &[T]> {
        split(&self.data, &self.lengths, self.width)
    }
}

/// `[sum of lengths, width]` cut into items.
pub(super) fn split<'a, T>(mut data: &'a [T], lengths: &'a [usize], width: usize) -> impl Iterator<Item = &'a [T]> {
    lengths.iter().map(move |&length| {
        let (item, after) = data.split_at(length * width);
        data = after;
        item
    })
}

/// `Σ aᵢ bᵢ`.
pub(super) fn dot<A: Number, B: Number>(a: &[A], b: &[B]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| a.wide() * b.wide()).sum()
}

/// `a += b`.
pub(super) fn add(a: &mut [f64], b: &[f64]) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
}
