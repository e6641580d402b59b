//! The transformer block in its two orders: norms before each half (CLIP) or after (BERT).
use hua_graph::{Builder, Mask, Value};

use super::{Activation, ArchError, epsilon, limit, most};

/// A stack of equal transformer blocks.
pub(super) struct Blocks {
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) mlp: usize,
    pub(super) activation: Activation,
    pub(super) eps: f32,
}

impl Blocks {
    pub(super) fn check(&self, width: usize) -> Result<(), ArchError> {
        limit("the number of layers", self.layers, most::LAYERS)?;
        limit("the width", width, most::WIDTH)?;
        limit("the width of the MLP", self.mlp, most::MLP)?;
        epsilon("the epsilon of the layer norms", self.eps)
    }

    /// `x += out(attention(norm(x))); x += down(act(up(norm(x))))`, `layers` times (Radford et al., 2021). `x` is `[length, width]`.
    pub(super) fn pre_norm(&self, g: &mut Builder, mut x: Value, mask: Mask) -> Value {
        let width = g.width(x);
        for i in 0..self.layers {
            x = g.scope(format_args!("blocks.{i}"), |g| {
                let y = g.layer_norm("norm", x, self.eps);
                let y = self.attention(g, y, mask);
                let x = g.add(x, y);
                g.scope("mlp", |g| {
                    let y = g.layer_norm("norm", x, self.eps);
                    let y = self.mlp(g, y, width);
                    g.add(x, y)
                })
            });
        }
        x
    }

    /// `x = norm(x + out(attention(x))); x = norm(x + down(act(up(x))))`, `layers` times (Devlin et al., 2018). Returns what goes
    /// into the last block, too.
    pub(super) fn post_norm(&self, g: &mut Builder, mut x: Value) -> (Value, Value) {
        let width = g.width(x);
        let mut last = x;
        for i in 0..self.layers {
            last = x;
            x = g.scope(format_args!("blocks.{i}"), |g| {
                let y = self.attention(g, x, Mask::Full);
                let x = g.add(x, y);
                let x = g.layer_norm("norm", x, self.eps);
                g.scope("mlp", |g| {
                    let y = self.mlp(g, x, width);
                    let x = g.add(x, y);
                    g.layer_norm("norm", x, self.eps)
                })
            });
        }
        (x, last)
    }

    fn attention(&self, g: &mut Builder, x: Value, mask: Mask) -> Value {
        let width = g.width(x);
        let [q, k, v] = ["q", "k", "v"].map(|name| g.linear(name, x, width));
        let y = g.attention(q, k, v, self.heads, mask);
        g.linear("out", y, width)
    }

    fn mlp(&self, g: &mut Builder, x: Value, width: usize) -> Value {
        let y = g.linear("up", x, self.mlp);
        let y = g.act(y, self.activation.into());
        g.linear("down", y, width)
    }
}
