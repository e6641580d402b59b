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
use rayon::prelude::*;

use super::{Group, PIECE};
use crate::params::{Grads, ParamSet};
use crate::recipe::OptimSection;

/// Running means of one parameter's gradient and of its square; empty if the parameter is frozen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moments {
    /// Of the gradient.
    pub mean: Vec<f32>,
    /// Of its square.
    pub square: Vec<f32>,
}

/// The optimiser and its state.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamW {
    beta1: f64,
    beta2: f64,
    eps: f64,
    weight_decay: f64,
    /// Updates made of each set; skipped steps are none, nor are those in which the set had no gradients.
    pub updates: Vec<u64>,
    /// `[set][parameter]`.
    pub moments: Vec<Vec<Moments>>,
}

/// The numbers of one piece of a parameter.
type Piece<'a> = (&'a mut [f32], &'a [f32], &'a mut [f32], &'a mut [f32], Factors);

/// What the numbers of one group are multiplied by.
#[derive(Clone, Copy, Debug)]
struct Factors {
    keep: f32,
    towards: f32,
    beta2: f32,
    rest2: f32,
    root: f32,
    eps: f32,
    step: f32,
}

impl AdamW {
    /// With no past.
    pub fn new(section: &OptimSection, sets: &[ParamSet]) -> Self {
        let zeros = |len: usize| Moments { mean: vec![0.0; len], square: vec![0.0; len] };
        let of = |set: &ParamSet| set.values.iter().zip(&set.trained).map(|(v, &t)| zeros(if t { v.len() } else { 0 })).collect();
        let &OptimSection { beta1, beta2, eps, weight_decay, .. } = section;
        Self { beta1, beta2, eps, weight_decay, updates: vec![0; sets.len()], moments: sets.iter().map(of).collect() }
    }

    /// Changes `sets` along `grads`, with `lr` as the base rate and one group for each parameter. A parameter whose gradient is empty, because
    /// it is frozen or locked for now, is left as it is; as in PyTorch it does not even decay.
    pub fn update(&mut self, sets: &mut [ParamSet], grads: &Grads, groups: &[Vec<Group>], lr: f64) {
        let mut pieces: Vec<Piece<'_>> = vec![];
        let moments = self.moments.iter_mut().zip(&mut self.updates);
        for (((set, grads), (moments, updates)), groups) in sets.iter_mut().zip(&grads.0).zip(moments).zip(groups) {
            if grads.iter().all(Vec::is_empty) {
                continue;
            }
            *updates += 1;
            let (t, [beta1, beta2]) = (*updates as f64, [self.beta1, self.beta2]);
            let params = set.values.iter_mut().zip(grads).zip(moments).zip(groups);
            for (((values, grads), moments), group) in params.filter(|(((_, grads), _), _)| !grads.is_empty()) {
                let lr = lr * group.lr_factor;
                let decay = if group.decays { self.weight_decay } else { 0.0 };
                let factors = Factors {
                    keep: (1.0 - lr * decay) as f32,
                    towards: (1.0 - beta1) as f32,
                    beta2: beta2 as f32,
                    rest2: (1.0 - beta2) as f32,
                    root: (1.0 - beta2.powf(t)).sqrt() as f32,
                    eps: self.eps as f32,
                    step: -(lr / (1.0 - beta1.powf(t))) as f32,
                };
                let means = moments.mean.chunks_mut(PIECE).zip(moments.square.chunks_mut(PIECE));
                let numbers = values.chunks_mut(PIECE).zip(grads.chunks(PIECE)).zip(means);
                pieces.extend(numbers.map(|((p, g), (m, v))| (p, g, m, v, factors)));
            }
        }
        pieces.into_par_iter().for_each(advance);
    }
}

fn advance((values, grads, means, squares, f): Piece<'_>) {
    for (((p, &g), m), v) in values.iter_mut().zip(grads).zip(means).zip(squares) {
        *p *= f.keep;
        // `lerp` as PyTorch has it: from the end that is nearer.
        *m = if f.towards < 0.5 { *m + f.towards * (g - *m) } else { g - (g - *m) * (1.0 - f.towards) };
        *v = *v * f.beta2 + f.rest2 * g * g;
        *p += f.step * *m / (v.sqrt() / f.root + f.eps);
    }
}
