//! The moving average of the parameters (Polyak & Juditsky, 1992), which is evaluated and saved in their stead.
//!
//! At update `t` the decay is `min(decay, (1 + t) / (10 + t))`, as TensorFlow's `ExponentialMovingAverage` warms up: the average of a short
//! run is not its random beginning.
use rayon::prelude::*;

use super::PIECE;
use crate::params::ParamSet;

/// A moving average of all trained parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Average {
    decay: f64,
    /// Updates made.
    pub updates: u64,
    /// `[set][parameter]`, empty if the parameter is frozen.
    pub values: Vec<Vec<Vec<f32>>>,
}

impl Average {
    /// Of nothing but the present parameters.
    pub fn new(decay: f64, sets: &[ParamSet]) -> Self {
        let of = |set: &ParamSet| set.values.iter().zip(&set.trained).map(|(v, &t)| if t { v.clone() } else { vec![] }).collect();
        Self { decay, updates: 0, values: sets.iter().map(of).collect() }
    }

    /// Takes the parameters in as they are after a step.
    pub fn update(&mut self, sets: &[ParamSet]) {
        let t = self.updates as f64;
        self.updates += 1;
        let towards = (1.0 - self.decay.min((1.0 + t) / (10.0 + t))) as f32;
        let all = self.values.iter_mut().flatten().zip(sets.iter().flat_map(|set| &set.values));
        let pieces: Vec<_> = all.flat_map(|(average, now)| average.chunks_mut(PIECE).zip(now.chunks(PIECE))).collect();
        pieces.into_par_iter().for_each(|(average, now)| {
            for (a, &p) in average.iter_mut().zip(now) {
                *a += towards * (p - *a);
            }
        });
    }

    /// Exchanges the average and the parameters. Twice is nothing.
    pub fn swap(&mut self, sets: &mut [ParamSet]) {
        for (average, now) in self.values.iter_mut().flatten().zip(sets.iter_mut().flat_map(|set| &mut set.values)) {
            if !average.is_empty() {
                std::mem::swap(average, now);
            }
        }
    }
}
