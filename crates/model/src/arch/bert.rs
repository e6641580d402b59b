//! BERT, RoBERTa and XLM-R as text towers (Devlin et al., 2018; Conneau et al., 2019), with the heads that CLIP families put on them.
use hua_graph::{Act, Builder, EmbedSizes, Graph, Kind, Pick, Value};
use serde::{Deserialize, Serialize};

use super::blocks::Blocks;
use super::{Activation, ArchError, limit, most};

/// Sizes of a BERT.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bert {
    /// Number of token ids.
    pub vocabulary: usize,
    /// Rows of the position table.
    pub positions: usize,
    /// The row of the first token: 0, or 2 in RoBERTa and XLM-R.
    pub first_position: usize,
    /// Rows of the token-type table; texts are of type 0.
    pub types: usize,
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
    /// What makes an embedding of the rows.
    pub head: BertHead,
}

/// What makes an embedding of a BERT's rows; always of the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BertHead {
    /// AltCLIP: norm and a dense layer with bias on every row, then a projection of the first.
    AltClip {
        /// Numbers of a row after the dense layer (`project_dim`).
        hidden: usize,
        /// Whether the file has the dense layer that AltDiffusion-m18 is conditioned through (`transformation_pre`).
        conditioning: bool,
        /// Numbers of an embedding.
        embedding: usize,
    },
    /// Taiyi with ViT-B/32, and 326M with ViT-L: BERT's pooler, then the classifier with bias, whose logits are the embedding.
    Classifier {
        /// Numbers of an embedding.
        embedding: usize,
    },
    /// Taiyi 102M with ViT-L, and 326M with ViT-H: BERT's pooler (dense, tanh) and nothing more; as wide as a row.
    Pooled {
        /// Numbers of an embedding.
        embedding: usize,
    },
    /// Chinese-CLIP, Fengshen's Taiyi: a projection without bias.
    Project {
        /// Numbers of an embedding.
        embedding: usize,
    },
}

impl BertHead {
    /// Numbers of an embedding.
    pub fn embedding_width(&self) -> usize {
        match *self {
            Self::AltClip { embedding, .. } | Self::Classifier { embedding } | Self::Pooled { embedding } | Self::Project { embedding } => {
                embedding
            }
        }
    }
}

/// Tokens, positions and type, norm, post-norm blocks, the head.
pub(super) fn graph(sizes: &Bert) -> Result<Graph, ArchError> {
    let &Bert { vocabulary, positions, first_position, types, width, layers, heads, mlp, activation, eps, ref head } = sizes;
    let blocks = Blocks { layers, heads, mlp, activation, eps };
    blocks.check(width)?;
    limit("the vocabulary", vocabulary, most::VOCABULARY)?;
    limit("the number of positions", positions, most::POSITIONS)?;
    limit("the number of positions after the first", positions.saturating_sub(first_position), positions)?;
    limit("the number of token types", types, most::TYPES)?;
    limit("the embedding width", head.embedding_width(), most::WIDTH)?;
    if let BertHead::AltClip { hidden, .. } = *head {
        limit("`project_dim`", hidden, most::WIDTH)?;
    }

    let mut g = Builder::default();
    let ids = g.input(Kind::Ids);
    let x = g.scope("embed", |g| {
        let x = g.embed(ids, EmbedSizes { vocab: vocabulary, positions, first_position, types, width });
        g.layer_norm("norm", x, eps)
    });
    let (x, before_last) = blocks.post_norm(&mut g, x);
    g.scope("final", |g| match *head {
        BertHead::AltClip { hidden, conditioning, embedding } => alt_clip(g, x, before_last, eps, [hidden, embedding], conditioning),
        BertHead::Classifier { embedding } => {
            let x = pooler(g, x, width);
            let x = g.linear("classifier", x, embedding);
            g.output("embedding", x);
        }
        BertHead::Pooled { embedding } => {
            let x = pooler(g, x, embedding);
            g.output("embedding", x);
        }
        BertHead::Project { embedding } => {
            let x = g.pick(x, Pick::First, None);
            let x = g.linear_no_bias("project", x, embedding);
            g.output("embedding", x);
        }
    });
    Ok(g.finish()?)
}

/// The first row through a dense layer and tanh.
fn pooler(g: &mut Builder, x: Value, width: usize) -> Value {
    let x = g.pick(x, Pick::First, None);
    let x = g.linear("pooler", x, width);
    g.act(x, Act::Tanh)
}

/// AltCLIP's head has three outputs made by the same weights. Of `x` `[length, width]`, the last block's rows:
///
/// - `last_hidden_state` `[length, hidden]` = `transform(norm(x))`;
/// - `embedding` = the projection of its first row;
/// - `projection_state`, which AltDiffusion's pictures are conditioned on: `transform(x)` without the norm, or in m18
///   `conditioning(norm(before_last))`, with the rows that go into the last block.
fn alt_clip(g: &mut Builder, x: Value, before_last: Value, eps: f32, [hidden, embedding]: [usize; 2], conditioning: bool) {
    let normed = g.layer_norm("norm", x, eps);
    let rows = g.linear("transform", normed, hidden);
    g.output("last_hidden_state", rows);
    let state = if conditioning {
        let y = g.again("norm_again", normed, before_last);
        g.linear("conditioning", y, hidden)
    } else {
        g.again("transform_again", rows, x)
    };
    g.output("projection_state", state);
    let x = g.pick(rows, Pick::First, None);
    let x = g.linear_no_bias("project", x, embedding);
    g.output("embedding", x);
}
