//! CLIP's ResNet (Radford et al., 2021, `ModifiedResNet`): three convolutions in the stem, average pools where others stride, attention
//! pooling at the end. RN50, RN101, RN50x4, RN50x16 and RN50x64 differ in sizes only.
use hua_graph::{Act, Builder, ConvSizes, Graph, Kind, Mask, Pick, Value};
use serde::{Deserialize, Serialize};

use super::{ArchError, limit, most};

/// PyTorch's `BatchNorm2d` adds this to the variance.
const EPS: f32 = 1e-5;
/// A block's output has this many times the channels of its middle.
const EXPANSION: usize = 4;
/// What the stem and the stages divide an image's side by.
const STRIDE: usize = 32;

/// Sizes of a ResNet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResNet {
    /// Side of the image, pixels.
    pub image_size: usize,
    /// Channels in the middle of the first stage's blocks; the pooled rows have 32 times as many.
    pub width: usize,
    /// Blocks of each stage.
    pub layers: [usize; 4],
    /// Heads of the attention pooling.
    pub heads: usize,
    /// Numbers of an embedding.
    pub embedding: usize,
}

/// Stem, four stages, attention pooling of the pixels' mean over mean and pixels.
pub(super) fn graph(sizes: &ResNet) -> Result<Graph, ArchError> {
    let &ResNet { image_size, width, layers, heads, embedding } = sizes;
    limit("the image size", image_size, most::IMAGE)?;
    limit("the width", width.saturating_mul(32), most::WIDTH)?;
    for blocks in layers {
        limit("the number of blocks of a stage", blocks, most::LAYERS / 4)?;
    }
    limit("the embedding width", embedding, most::WIDTH)?;

    let mut g = Builder::default();
    let x = g.input(Kind::Image { channels: 3, height: image_size, width: image_size });
    let mut x = g.scope("embed", |g| {
        let x = conv_norm(g, "1", x, window(width / 2, 3, 2));
        let x = relu(g, "1", x);
        let x = conv_norm(g, "2", x, window(width / 2, 3, 1));
        let x = relu(g, "2", x);
        let x = conv_norm(g, "3", x, window(width, 3, 1));
        let x = relu(g, "3", x);
        g.avg_pool(x, 2)
    });
    for (stage, blocks) in layers.into_iter().enumerate() {
        for i in 0..blocks {
            let stride = if stage > 0 && i == 0 { 2 } else { 1 };
            x = g.scope(format_args!("stage{}.{i}", stage + 1), |g| bottleneck(g, x, width << stage, stride));
        }
    }
    g.scope("pool", |g| {
        let side = image_size / STRIDE;
        let x = g.flatten(x);
        let x = g.prepend_mean(x);
        let x = g.add_positions("positions", x, side * side + 1);
        let width = g.width(x);
        let [q, k, v] = ["q", "k", "v"].map(|name| g.linear(name, x, width));
        let x = g.attention(q, k, v, heads, Mask::Full);
        let x = g.pick(x, Pick::First, None);
        let x = g.linear("out", x, embedding);
        g.output("embedding", x);
    });
    Ok(g.finish()?)
}

/// `relu(norm3(conv3(pool(relu(norm2(conv2(relu(norm1(conv1(x)))))))) + shortcut(x))`; the shortcut is pooled and convolved where the
/// sizes differ.
fn bottleneck(g: &mut Builder, x: Value, planes: usize, stride: usize) -> Value {
    let channels = |g: &Builder, x| if let Kind::Image { channels, .. } = g.kind(x) { channels } else { 0 };
    let pool = |g: &mut Builder, x| if stride > 1 { g.avg_pool(x, stride) } else { x };
    let out = planes * EXPANSION;
    let y = conv_norm(g, "1", x, window(planes, 1, 1));
    let y = relu(g, "1", y);
    let y = conv_norm(g, "2", y, window(planes, 3, 1));
    let y = relu(g, "2", y);
    let y = pool(g, y);
    let y = conv_norm(g, "3", y, window(out, 1, 1));
    let shortcut = if stride > 1 || channels(g, x) != out {
        let x = pool(g, x);
        conv_norm(g, "_shortcut", x, window(out, 1, 1))
    } else {
        x
    };
    let y = g.add(y, shortcut);
    relu(g, "3", y)
}

/// In a scope of its own, so that each has its own name.
fn relu(g: &mut Builder, which: &str, x: Value) -> Value {
    g.scope(format_args!("relu{which}"), |g| g.act(x, Act::Relu))
}

fn conv_norm(g: &mut Builder, which: &str, x: Value, sizes: ConvSizes) -> Value {
    let x = g.conv(&format!("conv{which}"), x, sizes);
    g.batch_norm(&format!("norm{which}"), x, EPS)
}

/// A window that keeps the image's size at stride 1.
fn window(out: usize, size: usize, stride: usize) -> ConvSizes {
    ConvSizes { out, size, stride, pad: size / 2, bias: false }
}
