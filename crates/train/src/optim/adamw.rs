//! AdamW (Loshchilov & Hutter, arXiv 1711.05101), in the order of operations of PyTorch's `_single_tensor_adam`.
//!
//! Of parameter `p` with gradient `g`, its means `m` and `v`, at update `t` (from 1), all in f32 with factors made in f64:
//!
//! ```text
//! p ← p · (1 − lr·λ)
//! m ← m + (1 − β₁)·(g − m)
//! v ← β₂·v + (1 − β₂)·g·g
//! p ← p − lr/(1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + ε)
//! ```
use crate::recipe::OptimSection;

/// The numbers of one piece of a parameter.
pub(super) struct Piece<'a> {
    pub(super) values: &'a mut [f32],
    pub(super) grads: &'a [f32],
    pub(super) means: &'a mut [f32],
    pub(super) squares: &'a mut [f32],
    pub(super) factors: Factors,
}

/// What the numbers of one group are multiplied by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Factors {
    keep: f32,
    towards: f32,
    beta2: f32,
    rest2: f32,
    root: f32,
    eps: f32,
    step: f32,
}

impl Factors {
    /// Of update `t`, from 1.
    pub(super) fn new(section: &OptimSection, t: f64, lr: f64, decay: f64) -> Self {
        let &OptimSection { beta1, beta2, eps, .. } = section;
        Self {
            keep: (1.0 - lr * decay) as f32,
            towards: (1.0 - beta1) as f32,
            beta2: beta2 as f32,
            rest2: (1.0 - beta2) as f32,
            root: (1.0 - beta2.powf(t)).sqrt() as f32,
            eps: eps as f32,
            step: -(lr / (1.0 - beta1.powf(t))) as f32,
        }
    }
}

pub(super) fn advance(piece: Piece<'_>) {
    let f = piece.factors;
    for (((p, &g), m), v) in piece.values.iter_mut().zip(piece.grads).zip(piece.means).zip(piece.squares) {
        *p *= f.keep;
        *m = lerp(*m, g, f.towards);
        *v = *v * f.beta2 + f.rest2 * g * g;
        *p += f.step * *m / (v.sqrt() / f.root + f.eps);
    }
}

/// From `a` towards `b`, as PyTorch has it: from the end that is nearer.
pub(super) fn lerp(a: f32, b: f32, share: f32) -> f32 {
    if share < 0.5 { a + share * (b - a) } else { b - (b - a) * (1.0 - share) }
}
