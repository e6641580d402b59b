//! How long every value of a graph is, and whether a batch is what the graph takes: one law for all executors.
//!
//! Lengths follow from the graph alone: a sequence is as long as its item's ids plus what was prepended, or as long as its image
//! has pixels. So a batch is checked before anything is computed.
use hua_graph::{Graph, Kind, Op, Value};

use crate::masks::kept_count;
use crate::{Batch, ExecError};

/// The rows of a value, for an item with `ids` token ids: `ids · [of_ids] + plus`. A vector and an image have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Length {
    of_ids: bool,
    plus: usize,
}

impl Length {
    pub(crate) const ONE: Self = Self { of_ids: false, plus: 1 };

    pub(crate) fn rows(self, ids: usize) -> usize {
        if self.of_ids { ids + self.plus } else { self.plus }
    }

    /// The rows of `items` items with `ids` ids together.
    pub(crate) fn all_rows(self, items: usize, ids: usize) -> usize {
        items * self.plus + if self.of_ids { ids } else { 0 }
    }

    /// The rows of every item, if all have as many.
    pub(crate) fn same(self) -> Option<usize> {
        (!self.of_ids).then_some(self.plus)
    }
}

/// What a graph takes, and the length of each of its values.
#[derive(Debug)]
pub(crate) struct Shapes {
    pub(crate) input: Kind,
    pub(crate) lengths: Vec<Length>,
}

impl Shapes {
    /// In use: operations for training give what they take.
    ///
    /// # Errors
    /// [`ExecError::Unsupported`] for a graph without one input of ids or of images, or that joins sequences of different lengths.
    pub(crate) fn of(graph: &Graph) -> Result<Self, ExecError> {
        Self::lengths(graph, false)
    }

    /// In training, where tokens are dropped.
    ///
    /// # Errors
    /// As [`Shapes::of`]; and for a graph that drops tokens of texts.
    pub(crate) fn in_training(graph: &Graph) -> Result<Self, ExecError> {
        Self::lengths(graph, true)
    }

    fn lengths(graph: &Graph, training: bool) -> Result<Self, ExecError> {
        let mut inputs = graph.nodes().iter().filter(|n| n.op == Op::Input).map(|n| n.kind);
        let input = match (inputs.next(), inputs.next()) {
            (Some(Kind::Image { channels, height, width }), None)
                if channels.checked_mul(height).and_then(|n| n.checked_mul(width)).is_none_or(|n| n == 0) =>
            {
                return Err(unsupported(format!("an input of {channels} x {height} x {width} numbers")));
            }
            (Some(kind @ (Kind::Ids | Kind::Image { .. })), None) => kind,
            (Some(kind), None) => return Err(unsupported(format!("a graph whose input is {kind}"))),
            (None, _) => return Err(unsupported("a graph without an input".into())),
            (Some(_), Some(_)) => return Err(unsupported("a graph with two inputs".into())),
        };
        let mut lengths: Vec<Length> = Vec::with_capacity(graph.nodes().len());
        for node in graph.nodes() {
            let of = |v: &Value| lengths[v.index()];
            let first = node.inputs.first().map_or(Length::ONE, of);
            if matches!(node.op, Op::Add | Op::Attention { .. }) && node.inputs.iter().any(|v| of(v) != first) {
                return Err(unsupported(format!("`{}`: sequences of different lengths", node.name)));
            }
            if let (Op::DropTokens { .. }, true, true) = (&node.op, training, first.of_ids) {
                return Err(unsupported(format!("`{}`: dropping tokens of texts, which differ in length", node.name)));
            }
            lengths.push(match (&node.op, node.kind) {
                (_, Kind::Vector { .. } | Kind::Image { .. }) => Length::ONE,
                (&Op::DropTokens { keep }, _) if training => Length { of_ids: false, plus: kept_count(first.plus, keep) },
                (Op::Input, _) => Length { of_ids: true, plus: 0 },
                (Op::Prepend { .. } | Op::PrependMean, _) => Length { plus: first.plus + 1, ..first },
                (Op::Flatten, _) => Length { of_ids: false, plus: pixels(graph.node(node.inputs[0]).kind) },
                _ => first,
            });
        }
        Ok(Self { input, lengths })
    }

    /// The ids of each item, or nothing for images; and the number of items. `needed` are the nodes that will run.
    ///
    /// # Errors
    /// The first thing in the batch that the graph cannot take.
    pub(crate) fn check<'a>(&self, graph: &Graph, needed: &[bool], batch: &Batch<'a>) -> Result<Items<'a>, ExecError> {
        let items = match (*batch, self.input) {
            (Batch::Ids(ids), Kind::Ids) => Items { ids, pixels: &[], count: ids.len() },
            (Batch::Images(pixels), Kind::Image { channels, height, width }) => {
                let size = channels * height * width;
                if !pixels.len().is_multiple_of(size) {
                    let found = format!("{} numbers, no multiple of {size}", pixels.len());
                    return Err(ExecError::Input { found, wanted: self.input });
                }
                Items { ids: &[], pixels, count: pixels.len() / size }
            }
            (Batch::Ids(_), wanted) => return Err(ExecError::Input { found: "ids".into(), wanted }),
            (Batch::Images(_), wanted) => return Err(ExecError::Input { found: "images".into(), wanted }),
        };
        for (i, node) in graph.nodes().iter().enumerate().filter(|&(i, _)| needed[i]) {
            let (most, vocab) = match node.op {
                Op::Embed { tokens, positions, first_position, .. } => {
                    (graph.param(positions).shape[0].saturating_sub(first_position), Some(graph.param(tokens).shape[0]))
                }
                Op::AddPositions { table } => (graph.param(table).shape[0], None),
                _ => continue,
            };
            for item in 0..items.count {
                let length = self.lengths[i].rows(items.length(item));
                if length == 0 || length > most {
                    return Err(ExecError::Length { item, length, most });
                }
                if let Some(vocab) = vocab
                    && let Some(&id) = items.ids[item].iter().find(|&&id| id as usize >= vocab)
                {
                    return Err(ExecError::Id { item, id, vocab });
                }
            }
        }
        Ok(items)
    }
}

/// A batch that was checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Items<'a> {
    /// The ids of each item; empty for images.
    pub(crate) ids: &'a [Vec<u32>],
    /// `[items, channels, height, width]`; empty for texts.
    pub(crate) pixels: &'a [f32],
    pub(crate) count: usize,
}

impl<'a> Items<'a> {
    /// Some of the items.
    pub(crate) fn part(&self, range: std::ops::Range<usize>) -> Items<'a> {
        let size = self.pixels.len() / self.count.max(1);
        let ids = self.ids.get(range.clone()).unwrap_or_default();
        Self { ids, pixels: &self.pixels[range.start * size..range.end * size], count: range.len() }
    }

    /// Ids of all items; 0 for images.
    pub(crate) fn tokens(&self) -> usize {
        self.ids.iter().map(Vec::len).sum()
    }

    /// Ids of an item; 0 for an image.
    pub(crate) fn length(&self, item: usize) -> usize {
        self.ids.get(item).map_or(0, Vec::len)
    }
}

/// The values of the outputs of these names.
///
/// # Errors
/// [`ExecError::Output`] for the first that there is not.
pub(crate) fn find_outputs(graph: &Graph, names: &[&str]) -> Result<Vec<Value>, ExecError> {
    let known = || graph.outputs().iter().map(|o| format!("`{}`", o.name)).collect::<Vec<_>>().join(", ");
    names.iter().map(|&name| graph.output(name).ok_or_else(|| ExecError::Output { name: name.to_owned(), known: known() })).collect()
}

/// Pixels of an image; 1 of anything else.
pub(crate) fn pixels(kind: Kind) -> usize {
    match kind {
        Kind::Image { height, width, .. } => height * width,
        _ => 1,
    }
}

/// Numbers of a row, as [`Rows`](crate::Rows) gives it: all of an image's.
pub(crate) fn width(kind: Kind) -> usize {
    match kind {
        Kind::Ids => 1,
        Kind::Image { channels, height, width } => channels * height * width,
        Kind::Seq { width } | Kind::Vector { width } => width,
    }
}

pub(crate) fn unsupported(what: String) -> ExecError {
    ExecError::Unsupported { what }
}
