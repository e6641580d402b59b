//! The norm of all gradients together, whether they are numbers, and scaling them down (`torch.nn.utils.clip_grad_norm_`).
use rayon::prelude::*;

use super::PIECE;
use crate::params::{Grads, ParamSet};

/// What all gradients together are.
#[derive(Clone, Debug, PartialEq)]
pub enum Norm {
    /// Their Euclidean norm.
    Finite(f64),
    /// A gradient is infinite or no number: of this parameter first, `set.name`.
    NotFinite(String),
}

/// The norm of all gradients: squares summed in f64, piece by piece in order, of each piece every eighth number together.
pub fn norm(sets: &[ParamSet], grads: &Grads) -> Norm {
    let pieces: Vec<&[f32]> = grads.0.iter().flatten().flat_map(|values| values.chunks(PIECE)).collect();
    let sums: Vec<f64> = pieces.par_iter().map(|piece| squares(piece)).collect();
    let sum: f64 = sums.iter().sum();
    if sum.is_finite() {
        return Norm::Finite(sum.sqrt());
    }
    let mut all = sets.iter().zip(&grads.0).flat_map(|(set, grads)| set.names.iter().zip(grads).map(move |(name, g)| (&set.name, name, g)));
    let bad = all.find(|(_, _, grads)| grads.iter().any(|x| !x.is_finite()));
    Norm::NotFinite(bad.map_or_else(|| "the norm of all".to_owned(), |(set, name, _)| format!("{set}.{name}")))
}

fn squares(piece: &[f32]) -> f64 {
    let mut lanes = [0.0; 8];
    let (eights, rest) = piece.as_chunks::<8>();
    for eight in eights.iter() {
        lanes.iter_mut().zip(eight).for_each(|(sum, &x)| *sum += f64::from(x) * f64::from(x));
    }
    lanes.iter_mut().zip(rest).for_each(|(sum, &x)| *sum += f64::from(x) * f64::from(x));
    lanes.iter().sum()
}

/// Scales all gradients so that their norm, which is `norm`, becomes at most `most`; 0 is no bound. PyTorch's factor:
/// `min(1, most / (norm + 1e-6))`.
pub fn scale(grads: &mut Grads, norm: f64, most: f64) {
    let factor = (most / (norm + 1e-6)) as f32;
    if most <= 0.0 || factor >= 1.0 {
        return;
    }
    let pieces: Vec<&mut [f32]> = grads.0.iter_mut().flatten().flat_map(|values| values.chunks_mut(PIECE)).collect();
    pieces.into_par_iter().for_each(|piece| piece.iter_mut().for_each(|x| *x *= factor));
}
