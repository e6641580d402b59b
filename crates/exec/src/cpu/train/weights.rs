//! The parameters as training reads them: matrices packed for the forward products, and once more, transposed, for those of their gradients;
//! all else as f32.
//!
//! After a step of the optimiser the trained ones are packed anew, each once, by all threads. What is frozen is read to see whether it is what it
//! was, and packed again only if it is not.
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use hua_graph::{Graph, Param};
use hua_kernels::{AlignedBytes, Cores, Layout, Packed, Part, Precision, Values, pack, pack_transposed};

use super::analysis::Analysis;
use crate::cpu::plan::{Norm, Plan, Work};

/// All numbers of the parameters.
#[derive(Debug)]
pub(super) struct Weights {
    trained: Vec<bool>,
    /// Of frozen parameters: what tells their numbers from others.
    checksums: Vec<u64>,
    /// Biases, gains, tables: by parameter; empty for matrices.
    vectors: Vec<Vec<f32>>,
    /// By parameter.
    matrices: BTreeMap<usize, Matrix>,
    /// By the parameters whose results lie side by side.
    transposed: BTreeMap<Vec<usize>, Matrix>,
}

/// A packed matrix.
#[derive(Debug)]
struct Matrix {
    layout: Layout,
    order: Order,
    bytes: AlignedBytes,
}

/// The order of a convolution's columns: as they are, or `[channels, area]` that becomes `[area, channels]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Order {
    channels: usize,
    area: usize,
}

impl Order {
    const GIVEN: Self = Self { channels: 1, area: 1 };

    /// Of a convolution of so many channels.
    pub(super) fn of(channels: usize, area: usize, channels_first: bool) -> Self {
        if channels_first { Self::GIVEN } else { Self { channels, area } }
    }

    fn is_given(self) -> bool {
        self.channels == 1 || self.area == 1
    }

    /// Where number `i` of the matrix is in the parameter.
    fn from(self, i: usize) -> usize {
        let row = self.channels * self.area;
        i / row * row + i % self.channels * self.area + i % row / self.channels
    }

    /// Adds the gradient of the matrix to that of the parameter.
    pub(super) fn add(self, matrix: &[f32], param: &mut [f32]) {
        matrix.iter().enumerate().for_each(|(i, d)| param[self.from(i)] += d);
    }
}

impl Weights {
    /// Everything that the plans read. Both have the same matrices; transposed ones are those that the backward pass of `training` needs.
    pub(super) fn new(
        graph: &Graph,
        [in_use, training]: [&Plan; 2],
        analysis: &Analysis,
        trained: &[bool],
        precision: Precision,
        cores: &Cores,
        params: &[&[f32]],
    ) -> Self {
        let (vectors, checksums) = (vec![vec![]; params.len()], vec![0; params.len()]);
        let (trained, matrices, transposed) = (trained.to_vec(), BTreeMap::new(), BTreeMap::new());
        let mut weights = Self { trained, checksums, vectors, matrices, transposed };
        let matrix = |out: usize, inner: usize, order: Order| {
            let layout = Layout::new(cores.isa(), precision, out, inner);
            Matrix { layout, order, bytes: AlignedBytes::new(layout.bytes()) }
        };
        let size = |param: Param| {
            let shape = &graph.param(param).shape;
            (shape[0], shape[1..].iter().product::<usize>())
        };
        for (at, step) in in_use.steps.iter().chain(&training.steps).enumerate() {
            let backward = at.checked_sub(in_use.steps.len()).is_some_and(|at| analysis.goes_on(training, at));
            match step.work {
                Work::Linear(ref parts) => {
                    for &(param, _) in parts {
                        let (out, inner) = size(param);
                        weights.matrices.entry(param.index()).or_insert_with(|| matrix(out, inner, Order::GIVEN));
                    }
                    if backward {
                        let all: Vec<Param> = parts.iter().map(|part| part.0).collect();
                        let (inner, out) = (all.iter().map(|&param| size(param).0).sum(), size(all[0]).1);
                        let key = all.iter().map(|param| param.index()).collect();
                        weights.transposed.entry(key).or_insert_with(|| matrix(out, inner, Order::GIVEN));
                    }
                }
                Work::Conv { weight, window, .. } => {
                    let (out, inner) = size(weight);
                    let order = Order::of(graph.param(weight).shape[1], window.size * window.size, window.channels_first);
                    weights.matrices.entry(weight.index()).or_insert_with(|| matrix(out, inner, order));
                    if backward {
                        weights.transposed.entry(vec![weight.index()]).or_insert_with(|| matrix(inner, out, order));
                    }
                }
                _ => {}
            }
        }
        weights.fill(cores, params, true);
        weights
    }

    /// New numbers; `all`, whether they are those of before or not.
    pub(super) fn fill(&mut self, cores: &Cores, params: &[&[f32]], all: bool) {
        let sums: Vec<AtomicU64> = self.checksums.iter().map(|_| AtomicU64::new(0)).collect();
        cores.each(params.len(), |i| {
            if !self.trained[i] {
                sums[i].store(checksum(params[i]), Ordering::Relaxed);
            }
        });
        let sums: Vec<u64> = sums.into_iter().map(AtomicU64::into_inner).collect();
        let new: Vec<bool> = (0..params.len()).map(|i| all || self.trained[i] || sums[i] != self.checksums[i]).collect();
        self.checksums = sums;
        for (i, (vector, &given)) in self.vectors.iter_mut().zip(params).enumerate() {
            if new[i] && !self.matrices.contains_key(&i) {
                vector.resize(given.len(), 0.0);
                cores.each_rows(vector, 1, |first, piece| piece.copy_from_slice(&given[first..][..piece.len()]));
            }
        }
        for (&param, matrix) in self.matrices.iter_mut().filter(|(param, _)| new[**param]) {
            let numbers = matrix.ordered(params[param]);
            pack(cores, matrix.layout, Values::F32(numbers.as_deref().unwrap_or(params[param])), &mut matrix.bytes);
        }
        for (key, matrix) in self.transposed.iter_mut().filter(|(key, _)| key.iter().any(|&param| new[param])) {
            let ordered: Vec<Option<Vec<f32>>> = key.iter().map(|&param| matrix.ordered(params[param])).collect();
            let sources: Vec<&[f32]> =
                key.iter().zip(&ordered).map(|(&param, ordered)| ordered.as_deref().unwrap_or(params[param])).collect();
            pack_transposed(cores, matrix.layout, &sources, &mut matrix.bytes);
        }
    }

    pub(super) fn is_trained(&self, param: Param) -> bool {
        self.trained[param.index()]
    }

    /// A bias, a gain, a table.
    pub(super) fn vector(&self, param: Param) -> &[f32] {
        &self.vectors[param.index()]
    }

    /// A weight of a product.
    pub(super) fn part(&self, weight: Param, bias: Option<Param>) -> Part<'_> {
        let matrix = &self.matrices[&weight.index()];
        Part { weight: Packed::new(matrix.layout, &matrix.bytes), bias: bias.map(|bias| self.vector(bias)) }
    }

    /// The transpose of weights whose results lie side by side.
    pub(super) fn transposed(&self, weights: impl IntoIterator<Item = Param>) -> Part<'_> {
        let key: Vec<usize> = weights.into_iter().map(Param::index).collect();
        let matrix = &self.transposed[&key];
        Part { weight: Packed::new(matrix.layout, &matrix.bytes), bias: None }
    }

    /// What a batch norm multiplies by and adds, for each channel, and the reciprocal of its deviations.
    pub(super) fn norm(&self, norm: &Norm) -> Vec<Channel> {
        let [weight, bias, mean, var] = [norm.weight, norm.bias, norm.mean, norm.var].map(|param| self.vector(param));
        let one = |c: usize| {
            let inverse = 1.0 / (f64::from(var[c]) + f64::from(norm.eps)).sqrt();
            let scale = f64::from(weight[c]) * inverse;
            Channel {
                scale: scale as f32,
                offset: (f64::from(bias[c]) - f64::from(mean[c]) * scale) as f32,
                inverse: inverse as f32,
                mean: mean[c],
            }
        };
        (0..weight.len()).map(one).collect()
    }
}

/// One channel of a batch norm.
#[derive(Clone, Copy, Debug)]
pub(super) struct Channel {
    pub(super) scale: f32,
    pub(super) offset: f32,
    pub(super) inverse: f32,
    pub(super) mean: f32,
}

impl Matrix {
    /// The parameter's numbers in the matrix's order, if that is another.
    fn ordered(&self, given: &[f32]) -> Option<Vec<f32>> {
        (!self.order.is_given()).then(|| (0..given.len()).map(|i| given[self.order.from(i)]).collect())
    }
}

/// What tells numbers from others, as fast as they can be read: each of sixteen sums has every sixteenth number.
fn checksum(numbers: &[f32]) -> u64 {
    let mut sums = [0u32; 16];
    let (lines, rest) = numbers.as_chunks::<16>();
    for line in lines {
        for (sum, x) in sums.iter_mut().zip(line) {
            *sum = sum.rotate_left(5) ^ x.to_bits();
        }
    }
    let rest = rest.iter().map(|x| x.to_bits());
    sums.into_iter().chain(rest).fold(0, |sum: u64, x| (sum.rotate_left(7) ^ u64::from(x)).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
