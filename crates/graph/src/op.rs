//! The operations a tower is written in, and the four kinds of value they work on.
//!
//! They are coarse and semantic, one step of a model's description each, and the enum is closed: a new operation makes every
//! executor fail to compile until it is handled. There is no reshape, transpose, slice or broadcast: how numbers lie in memory
//! is an executor's own business.
use std::fmt;

/// What one item of a batch looks like at a point of the graph. The batch itself is implicit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One token id per position; the number of positions differs from item to item.
    Ids,
    /// `[channels, height, width]`.
    Image {
        /// Number of channels.
        channels: usize,
        /// Rows of pixels.
        height: usize,
        /// Pixels of a row.
        width: usize,
    },
    /// `[length, width]`; the length differs from item to item, so that no operation needs a padding mask.
    Seq {
        /// Numbers of one row.
        width: usize,
    },
    /// `[width]`.
    Vector {
        /// How many numbers.
        width: usize,
    },
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ids => write!(f, "ids"),
            Self::Image { channels, height, width } => write!(f, "image[{channels},{height},{width}]"),
            Self::Seq { width } => write!(f, "seq[{width}]"),
            Self::Vector { width } => write!(f, "vector[{width}]"),
        }
    }
}

/// The result of a node: an index into [`Graph::nodes`](crate::Graph).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(pub(crate) u32);

impl Value {
    /// The place of the node among the graph's nodes.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A parameter: an index into [`Graph::params`](crate::Graph).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Param(pub(crate) u32);

impl Param {
    /// The place of the parameter among the graph's parameters.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// An activation, applied to each number. Which GELU it is makes another model, so the graph says it exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// `x · Φ(x)` with the normal distribution's own Φ, by `erf` (arXiv 1606.08415).
    Gelu,
    /// GELU's tanh approximation: `x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))`.
    GeluTanh,
    /// OpenAI CLIP's approximation: `x · σ(1.702 x)`.
    QuickGelu,
    /// `max(x, 0)`.
    Relu,
    /// Hyperbolic tangent.
    Tanh,
}

/// Which positions a row of an attention may look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// Its own and those before.
    Causal,
    /// All of its item.
    Full,
}

/// Which row stands for a whole sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// The first row: `[CLS]`, `<s>`, the class token.
    First,
    /// The first row whose id is this one; the first row of all if there is none, as an arg-max of zeros gives.
    FirstId(u32),
    /// The first row with the highest id: OpenAI CLIP's end-of-text token.
    HighestId,
    /// The mean of all rows.
    Mean,
}

/// Every operation there is. Inputs are in [`Node::inputs`](crate::Node); shapes below are of one item.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// An activation of each number.
    Act(Act),
    /// The sum of two values of the same kind.
    Add,
    /// Row `i` of a sequence plus row `i` of `table` `[positions, width]`.
    AddPositions {
        /// `[positions, width]`.
        table: Param,
    },
    /// Multi-head attention of queries, keys and values, each `[length, width]`: per head `softmax(q kᵀ / √(width/heads)) v`, the heads
    /// side by side (arXiv 1706.03762).
    Attention {
        /// Number of heads; divides the width.
        heads: usize,
        /// What each row may look at.
        mask: Mask,
    },
    /// The mean of each `size × size` square of pixels, without overlap; what is left over at the right and the bottom is dropped.
    AvgPool {
        /// Side of the squares, pixels.
        size: usize,
    },
    /// `(x - mean) / √(var + eps) · weight + bias` per channel, with the recorded statistics, in training too. All parameters `[channels]`.
    BatchNorm {
        /// Gain.
        weight: Param,
        /// Offset.
        bias: Param,
        /// Running mean.
        mean: Param,
        /// Running variance.
        var: Param,
        /// Added to the variance.
        eps: f32,
    },
    /// 2-D cross-correlation with zero padding.
    Conv {
        /// `[out, channels, size, size]`.
        weight: Param,
        /// `[out]`.
        bias: Option<Param>,
        /// Pixels from one window to the next.
        stride: usize,
        /// Zeros added on each side, pixels.
        pad: usize,
    },
    /// Each number is 0 with probability `rate`, and else `1 / (1 - rate)` times what it was (Srivastava et al., 2014). In training alone; in use
    /// it gives what it takes.
    Dropout {
        /// How many are 0: at least 0, less than 1.
        rate: f32,
    },
    /// Row 0 of a sequence and, of its `n` others, `max(1, round(keep · n))` random ones, in their order (FLIP, arXiv 2212.00794). In training
    /// alone; in use it gives what it takes. Only of sequences that are as long in every item, as those of images are.
    DropTokens {
        /// How many of the others stay: more than 0, at most 1.
        keep: f32,
    },
    /// Ids to rows: `tokens[id] + positions[first_position + i] + types[0]`.
    Embed {
        /// `[vocabulary, width]`.
        tokens: Param,
        /// `[positions, width]`.
        positions: Param,
        /// The row of `positions` of the first token: 0, or 2 in XLM-R.
        first_position: usize,
        /// `[types, width]`, of which only row 0 is used.
        types: Option<Param>,
    },
    /// `[channels, height, width]` to `[height · width, channels]`, row by row.
    Flatten,
    /// What the graph is given.
    Input,
    /// Each row divided by its Euclidean length.
    L2Normalize,
    /// `(x - mean) / √(var + eps) · weight + bias` over each row, with the biased variance (arXiv 1607.06450). Parameters `[width]`.
    LayerNorm {
        /// Gain.
        weight: Param,
        /// Offset.
        bias: Param,
        /// Added to the variance.
        eps: f32,
    },
    /// `x · weightᵀ + bias` for each row.
    Linear {
        /// `[out, in]`.
        weight: Param,
        /// `[out]`.
        bias: Option<Param>,
    },
    /// One row for the whole sequence. [`Pick::FirstId`] and [`Pick::HighestId`] take the ids as second input.
    Pick(Pick),
    /// `token` `[width]` as a new first row.
    Prepend {
        /// `[width]`.
        token: Param,
    },
    /// The mean of all rows as a new first row.
    PrependMean,
}

impl Op {
    /// Whether it does something in training alone: in use it gives what it takes.
    pub fn is_for_training(&self) -> bool {
        matches!(self, Self::Dropout { .. } | Self::DropTokens { .. })
    }

    /// The parameters it reads, in the order of its fields.
    pub fn params(&self) -> Vec<Param> {
        match *self {
            Self::Act(_)
            | Self::Add
            | Self::Attention { .. }
            | Self::AvgPool { .. }
            | Self::Dropout { .. }
            | Self::DropTokens { .. }
            | Self::Flatten
            | Self::Input
            | Self::L2Normalize
            | Self::Pick(_)
            | Self::PrependMean => vec![],
            Self::AddPositions { table } => vec![table],
            Self::BatchNorm { weight, bias, mean, var, .. } => vec![weight, bias, mean, var],
            Self::Conv { weight, bias, .. } | Self::Linear { weight, bias } => std::iter::once(weight).chain(bias).collect(),
            Self::Embed { tokens, positions, types, .. } => [tokens, positions].into_iter().chain(types).collect(),
            Self::LayerNorm { weight, bias, .. } => vec![weight, bias],
            Self::Prepend { token } => vec![token],
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Act(act) => f.write_str(match act {
                Act::Gelu => "gelu",
                Act::GeluTanh => "gelu_tanh",
                Act::QuickGelu => "quick_gelu",
                Act::Relu => "relu",
                Act::Tanh => "tanh",
            }),
            Self::Add => f.write_str("add"),
            Self::AddPositions { .. } => f.write_str("add_positions"),
            Self::Attention { heads, mask: Mask::Causal } => write!(f, "attention[heads {heads}, causal]"),
            Self::Attention { heads, mask: Mask::Full } => write!(f, "attention[heads {heads}]"),
            Self::AvgPool { size } => write!(f, "avg_pool[{size}]"),
            Self::BatchNorm { eps, .. } => write!(f, "batch_norm[eps {eps:e}]"),
            Self::Conv { stride, pad, .. } => write!(f, "conv[stride {stride}, pad {pad}]"),
            Self::Dropout { rate } => write!(f, "dropout[{rate}]"),
            Self::DropTokens { keep } => write!(f, "drop_tokens[keep {keep}]"),
            Self::Embed { first_position: 0, .. } => f.write_str("embed"),
            Self::Embed { first_position, .. } => write!(f, "embed[from position {first_position}]"),
            Self::Flatten => f.write_str("flatten"),
            Self::Input => f.write_str("input"),
            Self::L2Normalize => f.write_str("l2_normalize"),
            Self::LayerNorm { eps, .. } => write!(f, "layer_norm[eps {eps:e}]"),
            Self::Linear { .. } => f.write_str("linear"),
            Self::Pick(Pick::First) => f.write_str("pick[first]"),
            Self::Pick(Pick::FirstId(id)) => write!(f, "pick[first id {id}]"),
            Self::Pick(Pick::HighestId) => f.write_str("pick[highest id]"),
            Self::Pick(Pick::Mean) => f.write_str("pick[mean]"),
            Self::Prepend { .. } => f.write_str("prepend"),
            Self::PrependMean => f.write_str("prepend_mean"),
        }
    }
}
