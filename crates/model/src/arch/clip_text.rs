//! CLIP's text transformer: causal, pre-norm, the end-of-text token stands for the text (Radford et al., 2021).
use hua_graph::{Builder, EmbedSizes, Graph, Kind, Mask, Pick};
use serde::{Deserialize, Serialize};

use super::blocks::Blocks;
use super::{Activation, ArchError, limit, most};

/// Sizes of CLIP's text transformer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipText {
    /// Number of token ids.
    pub vocabulary: usize,
    /// Longest text, tokens.
    pub positions: usize,
    /// Numbers of a row.
    pub width: usize,
    /// Blocks.
    pub layers: usize,
    /// Heads of each attention.
    pub heads: usize,
    /// Numbers of a row inside the MLPs.
    pub mlp: usize,
    /// The MLPs' activation.
    pub activation: Activation,
    /// Added to the variance by the layer norms.
    pub eps: f32,
    /// Which token stands for the text.
    pub end_of_text: EndOfText,
    /// Numbers of an embedding.
    pub embedding: usize,
}

/// How the end-of-text token is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndOfText {
    /// The first token of this id.
    FirstId(u32),
    /// The first token of the highest id of the text, as OpenAI's code looks for it.
    HighestId,
}

impl From<EndOfText> for Pick {
    fn from(end: EndOfText) -> Self {
        match end {
            EndOfText::FirstId(id) => Self::FirstId(id),
            EndOfText::HighestId => Self::HighestId,
        }
    }
}

/// Tokens and positions, blocks, norm; the end-of-text token's row, projection without bias. Output `last_hidden_state` is the norm's.
pub(super) fn graph(sizes: &ClipText) -> Result<Graph, ArchError> {
    let &ClipText { vocabulary, positions, width, layers, heads, mlp, activation, eps, end_of_text, embedding } = sizes;
    let blocks = Blocks { layers, heads, mlp, activation, eps };
    blocks.check(width)?;
    limit("the vocabulary", vocabulary, most::VOCABULARY)?;
    limit("the number of positions", positions, most::POSITIONS)?;
    limit("the embedding width", embedding, most::WIDTH)?;

    let mut g = Builder::default();
    let ids = g.input(Kind::Ids);
    let x = g.scope("embed", |g| g.embed(ids, EmbedSizes { vocab: vocabulary, positions, first_position: 0, types: 0, width }));
    let x = blocks.pre_norm(&mut g, x, Mask::Causal);
    g.scope("final", |g| {
        let x = g.layer_norm("norm", x, eps);
        g.output("last_hidden_state", x);
        let x = g.pick(x, end_of_text.into(), Some(ids));
        let x = g.linear_no_bias("project", x, embedding);
        g.output("embedding", x);
    });
    Ok(g.finish()?)
}
