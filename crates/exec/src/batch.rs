//! What goes into a program and what comes out.

/// Items to run a graph on.
#[derive(Clone, Copy, Debug)]
pub enum Batch<'a> {
    /// Texts: the token ids of each.
    Ids(&'a [Vec<u32>]),
    /// Pictures of the size the graph takes, one after the other: `[items, channels, height, width]`.
    Images(&'a [f32]),
}

/// Rows of numbers of many items, ragged: item `i` has `lengths[i]` rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// Numbers of a row.
    pub width: usize,
    /// Rows of each item.
    pub lengths: Vec<usize>,
    /// `[sum of lengths, width]`.
    pub data: Vec<f32>,
}

impl Rows {
    /// The rows, one after the other.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.data.chunks_exact(self.width.max(1))
    }
}
