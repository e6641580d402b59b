//! One function per architecture: plain sizes in, a [`Graph`] out.
//!
//! A tower's sizes are data (and JSON, in the presets); its graph follows from them alone, parameter names and shapes included. No file
//! is known here: what a file calls a parameter is a [layout](crate::layout)'s business. Sizes are checked before anything is built,
//! so that a hostile configuration costs nothing.
//!
//! Nodes are named for where they are: `embed.…`, `blocks.N.…`, `final.…`; in a ResNet `embed.…`, `stageS.N.…`, `pool.…`.
mod bert;
mod blocks;
mod clip_text;
mod resnet;
mod vit;

use hua_graph::{Act, Graph, GraphError};
use serde::{Deserialize, Serialize};

pub use bert::{Bert, BertHead};
pub use clip_text::{ClipText, EndOfText};
pub use resnet::ResNet;
pub use vit::Vit;

/// The activations that configurations name. Relu and tanh stand where an architecture says so and are never a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x · Φ(x)`, by `erf`.
    Gelu,
    /// GELU's tanh approximation.
    GeluTanh,
    /// `x · σ(1.702 x)`.
    QuickGelu,
}

impl From<Activation> for Act {
    fn from(activation: Activation) -> Self {
        match activation {
            Activation::Gelu => Self::Gelu,
            Activation::GeluTanh => Self::GeluTanh,
            Activation::QuickGelu => Self::QuickGelu,
        }
    }
}

/// An image tower.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ImageTower {
    /// CLIP's ResNet with attention pooling.
    ResNet(ResNet),
    /// CLIP's vision transformer.
    Vit(Vit),
}

impl ImageTower {
    /// Its graph: from an image to output `embedding`, not normalised.
    ///
    /// # Errors
    /// [`ArchError`] if the sizes are not a model's.
    pub fn graph(&self) -> Result<Graph, ArchError> {
        match self {
            Self::ResNet(sizes) => resnet::graph(sizes),
            Self::Vit(sizes) => vit::graph(sizes),
        }
    }

    /// Side of the square images it takes, pixels.
    pub fn image_size(&self) -> usize {
        match self {
            Self::ResNet(sizes) => sizes.image_size,
            Self::Vit(sizes) => sizes.image_size,
        }
    }

    /// Numbers of an embedding.
    pub fn embedding_width(&self) -> usize {
        match self {
            Self::ResNet(sizes) => sizes.embedding,
            Self::Vit(sizes) => sizes.embedding,
        }
    }
}

/// A text tower.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TextTower {
    /// BERT, RoBERTa, XLM-R.
    Bert(Bert),
    /// CLIP's causal transformer.
    Clip(ClipText),
}

impl TextTower {
    /// Its graph: from ids to output `embedding`, not normalised.
    ///
    /// # Errors
    /// [`ArchError`] if the sizes are not a model's.
    pub fn graph(&self) -> Result<Graph, ArchError> {
        match self {
            Self::Bert(sizes) => bert::graph(sizes),
            Self::Clip(sizes) => clip_text::graph(sizes),
        }
    }

    /// The longest text it can take, tokens.
    pub fn longest(&self) -> usize {
        match self {
            Self::Bert(sizes) => sizes.positions.saturating_sub(sizes.first_position),
            Self::Clip(sizes) => sizes.positions,
        }
    }

    /// Number of token ids.
    pub fn vocabulary(&self) -> usize {
        match self {
            Self::Bert(sizes) => sizes.vocabulary,
            Self::Clip(sizes) => sizes.vocabulary,
        }
    }

    /// Numbers of an embedding.
    pub fn embedding_width(&self) -> usize {
        match self {
            Self::Bert(sizes) => sizes.head.embedding_width(),
            Self::Clip(sizes) => sizes.embedding,
        }
    }
}

/// Sizes that are not a model's.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ArchError {
    /// The sizes do not fit each other.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A number that is not a positive one below 1.
    #[error("{what} is {found}, wanted a number from 0 to 1")]
    Epsilon {
        /// What it is of.
        what: &'static str,
        /// The number.
        found: f32,
    },
    /// A size that no model has.
    #[error("{what} is {found}, wanted 1 to {most}")]
    Limit {
        /// What it is of.
        what: &'static str,
        /// The size.
        found: usize,
        /// The greatest hua takes.
        most: usize,
    },
}

/// Greatest sizes taken. They are several times those of any model that exists, and small enough that counting never overflows.
mod most {
    pub(super) const CHANNELS: usize = 64;
    pub(super) const IMAGE: usize = 4096;
    pub(super) const LAYERS: usize = 1000;
    pub(super) const MLP: usize = 1 << 17;
    pub(super) const POSITIONS: usize = 1 << 16;
    pub(super) const TYPES: usize = 1 << 10;
    pub(super) const VOCABULARY: usize = 1 << 24;
    pub(super) const WIDTH: usize = 1 << 15;
}

fn limit(what: &'static str, found: usize, most: usize) -> Result<(), ArchError> {
    if (1..=most).contains(&found) { Ok(()) } else { Err(ArchError::Limit { what, found, most }) }
}

fn epsilon(what: &'static str, found: f32) -> Result<(), ArchError> {
    if (0.0..=1.0).contains(&found) { Ok(()) } else { Err(ArchError::Epsilon { what, found }) }
}
