//! All parameters' updates, each by its group's rule, and what is remembered of their gradients.
use hua_kernels::Isa;
use rayon::prelude::*;

use super::{Group, PIECE, adamw, muon};
use crate::params::{Grads, ParamSet};
use crate::recipe::OptimSection;

/// Running means of one parameter's gradient and of its square; empty if the parameter is frozen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moments {
    /// Of the gradient.
    pub mean: Vec<f32>,
    /// Of its square; empty if Muon trains the parameter, which needs none.
    pub square: Vec<f32>,
}

/// The optimiser and its state.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimiser {
    section: OptimSection,
    groups: Vec<Vec<Group>>,
    /// The instruction set of Muon's products; the best that the machine has, if nothing else is said.
    pub(crate) isa: Isa,
    /// Updates made of each set; skipped steps are none, nor are those in which the set had no gradients.
    pub updates: Vec<u64>,
    /// `[set][parameter]`.
    pub moments: Vec<Vec<Moments>>,
}

/// What one thread does at a time.
enum Work<'a> {
    AdamW(adamw::Piece<'a>),
    Muon(muon::Matrix<'a>),
}

impl Optimiser {
    /// With no past; with a group for each parameter of `sets`.
    pub fn new(section: &OptimSection, sets: &[ParamSet], groups: Vec<Vec<Group>>) -> Self {
        let zeros = |((values, trained), group): ((&Vec<f32>, &bool), &Group)| {
            let len = if *trained { values.len() } else { 0 };
            Moments { mean: vec![0.0; len], square: vec![0.0; if group.orthogonal { 0 } else { len }] }
        };
        let of = |(set, groups): (&ParamSet, &Vec<Group>)| set.values.iter().zip(&set.trained).zip(groups).map(zeros).collect();
        let moments = sets.iter().zip(&groups).map(of).collect();
        Self { section: section.clone(), groups, isa: Isa::best(), updates: vec![0; sets.len()], moments }
    }

    /// Changes `sets` along `grads`, with `lr` as the base rate. A parameter whose gradient is empty, because
    /// it is frozen or locked for now, is left as it is; as in PyTorch it does not even decay.
    pub fn update(&mut self, sets: &mut [ParamSet], grads: &Grads, lr: f64) {
        let mut work: Vec<Work<'_>> = vec![];
        let moments = self.moments.iter_mut().zip(&mut self.updates);
        for (((set, grads), (moments, updates)), groups) in sets.iter_mut().zip(&grads.0).zip(moments).zip(&self.groups) {
            if grads.iter().all(Vec::is_empty) {
                continue;
            }
            *updates += 1;
            let params = set.values.iter_mut().zip(&set.shapes).zip(grads).zip(moments).zip(groups);
            for ((((values, shape), grads), moments), group) in params.filter(|(((_, grads), _), _)| !grads.is_empty()) {
                let lr = lr * group.lr_factor;
                let decay = if group.decays { self.section.weight_decay } else { 0.0 };
                if group.orthogonal {
                    let columns = shape.last().copied().unwrap_or(1);
                    let means = &mut moments.mean;
                    work.push(Work::Muon(muon::Matrix { values, grads, means, columns, momentum: self.section.momentum, lr, decay }));
                    continue;
                }
                let factors = adamw::Factors::new(&self.section, *updates as f64, lr, decay);
                let means = moments.mean.chunks_mut(PIECE).zip(moments.square.chunks_mut(PIECE));
                let numbers = values.chunks_mut(PIECE).zip(grads.chunks(PIECE)).zip(means);
                work.extend(
                    numbers.map(|((values, grads), (means, squares))| Work::AdamW(adamw::Piece { values, grads, means, squares, factors })),
                );
            }
        }
        let isa = self.isa;
        work.into_par_iter().with_max_len(1).for_each(|work| match work {
            Work::AdamW(piece) => adamw::advance(piece),
            Work::Muon(matrix) => muon::advance(isa, matrix),
        });
    }
}
