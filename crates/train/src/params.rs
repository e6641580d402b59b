//! The numbers that are trained: f32 masters, in the order of the graphs, and their gradients.
//!
//! Decided here: an executor may compute in any precision, the optimiser's numbers are these. A parameter's place is (set, index) and
//! stays; its name is hua's own (`blocks.0.q.weight`), unique within its set.
use std::borrow::Cow;

use hua_graph::{Tensor, TensorError};
use hua_model::Tower;
use rayon::prelude::*;

/// Numbers that one thread sets at a time.
const PIECE: usize = 1 << 18;

/// Parameters that belong together: a tower's in the order of its graph, or what stands beside the towers.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamSet {
    /// `image`, `text` or `extra`.
    pub name: String,
    /// hua's name of each parameter.
    pub names: Vec<String>,
    /// Slowest dimension first; empty for a scalar.
    pub shapes: Vec<Vec<usize>>,
    /// Row-major.
    pub values: Vec<Vec<f32>>,
    /// Whether the optimiser changes it.
    pub trained: Vec<bool>,
}

impl ParamSet {
    /// An empty set.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), names: vec![], shapes: vec![], values: vec![], trained: vec![] }
    }

    /// A copy of a tower's numbers; all but the statistics of batch norms are trained.
    ///
    /// # Errors
    /// If a weight is no floating-point tensor.
    pub fn of_tower(name: &str, tower: &Tower) -> Result<Self, TensorError> {
        let mut set = Self::new(name);
        for (spec, tensor) in tower.graph.params().iter().zip(tower.weights.tensors()) {
            set.push(&spec.name, spec.shape.clone(), tensor.to_f32().map(Cow::into_owned)?, spec.trained);
        }
        Ok(set)
    }

    /// Adds a parameter. Returns its index.
    ///
    /// # Panics
    /// If the number of values is not the product of the shape.
    pub fn push(&mut self, name: &str, shape: Vec<usize>, values: Vec<f32>, trained: bool) -> usize {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "`{name}` of shape {shape:?}");
        self.names.push(name.to_owned());
        self.shapes.push(shape);
        self.values.push(values);
        self.trained.push(trained);
        self.names.len() - 1
    }

    /// Number of parameters.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The index of the parameter of that name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| n == name)
    }

    /// What an executor is given: one slice for each parameter.
    pub fn slices(&self) -> Vec<&[f32]> {
        self.values.iter().map(Vec::as_slice).collect()
    }

    /// Copies as tensors, for [`hua_model::Model::with_weights`].
    pub fn tensors(&self) -> Vec<Tensor> {
        self.shapes.iter().zip(&self.values).map(|(shape, values)| Tensor::from_f32(shape, values.clone())).collect()
    }
}

/// Gradients of parameter sets: `[set][parameter]`, as long as the parameter if it is trained, otherwise empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grads(pub Vec<Vec<Vec<f32>>>);

impl Grads {
    /// Zeros for `sets`.
    pub fn zeros(sets: &[ParamSet]) -> Self {
        let of = |set: &ParamSet| set.values.iter().zip(&set.trained).map(|(v, &t)| vec![0.0; if t { v.len() } else { 0 }]).collect();
        Self(sets.iter().map(of).collect())
    }

    /// Sets all to zero.
    pub fn clear(&mut self) {
        self.0.par_iter_mut().flatten().for_each(|values| values.par_chunks_mut(PIECE).for_each(|piece| piece.fill(0.0)));
    }

    /// A set's.
    pub fn set(&mut self, set: usize) -> &mut [Vec<f32>] {
        &mut self.0[set]
    }
}
