//! CLIP's vision transformer (Radford et al., 2021; the towers of OpenAI CLIP, Chinese-CLIP and AltCLIP).
use hua_graph::{Builder, ConvSizes, Graph, Kind, Mask, Pick};
use serde::{Deserialize, Serialize};

use super::blocks::Blocks;
use super::{Activation, ArchError, limit, most};

/// Sizes of a vision transformer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vit {
    /// Side of the image, pixels.
    pub image_size: usize,
    /// Channels of the image.
    pub channels: usize,
    /// Side of a patch, pixels.
    pub patch: usize,
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
    /// Numbers of an embedding.
    pub embedding: usize,
}

/// Patches, a class token, positions, norm, blocks; the class token's row, norm, projection without bias.
pub(super) fn graph(sizes: &Vit) -> Result<Graph, ArchError> {
    let &Vit { image_size, channels, patch, width, layers, heads, mlp, activation, eps, embedding } = sizes;
    let blocks = Blocks { layers, heads, mlp, activation, eps };
    blocks.check(width)?;
    limit("the image size", image_size, most::IMAGE)?;
    limit("the number of channels", channels, most::CHANNELS)?;
    limit("the patch size", patch, image_size)?;
    limit("the embedding width", embedding, most::WIDTH)?;
    let side = image_size / patch;
    let positions = side * side + 1;
    limit("the number of patches", positions, most::POSITIONS)?;

    let mut g = Builder::default();
    let x = g.input(Kind::Image { channels, height: image_size, width: image_size });
    let x = g.scope("embed", |g| {
        let x = g.conv("patch", x, ConvSizes { out: width, size: patch, stride: patch, pad: 0, bias: false });
        let x = g.flatten(x);
        let x = g.prepend("class", x);
        let x = g.add_positions("positions", x, positions);
        g.layer_norm("norm", x, eps)
    });
    let x = blocks.pre_norm(&mut g, x, Mask::Full);
    let x = g.scope("final", |g| {
        let x = g.pick(x, Pick::First, None);
        let x = g.layer_norm("norm", x, eps);
        g.linear_no_bias("project", x, embedding)
    });
    g.output("embedding", x);
    Ok(g.finish()?)
}
