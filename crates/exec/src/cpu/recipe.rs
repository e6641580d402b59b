//! What each matrix of a plan's products is made of, and how it is packed.
//!
//! A matrix is packed straight from the type that the checkpoint has. Those of convolutions may have to change before: their columns
//! follow the order of the windows, and a batch norm is folded in.
use std::borrow::Cow;
use std::collections::HashSet;

use hua_graph::{DType, Kind, Param, TensorError, Weights};
use hua_kernels::{Cores, Isa, Layout, Precision, Values, pack};

use crate::cpu::plan::{Norm, Plan, Step, Work};

/// How one matrix `[out, inner]` is made.
#[derive(Debug)]
pub(crate) struct Recipe {
    /// The parameter it is made of.
    pub(crate) param: Param,
    pub(crate) layout: Layout,
    /// Of a convolution: how its columns are ordered.
    order: Order,
    /// A batch norm to fold in.
    norm: Option<Norm>,
}

/// The order of a matrix's columns.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    /// As they are.
    Given,
    /// `[channels, area]` becomes `[area, channels]`.
    PixelsFirst { channels: usize, area: usize },
}

/// The matrices of all products, each once.
pub(crate) fn recipes(plan: &Plan, weights: &Weights, isa: Isa, precision: Precision) -> Vec<Recipe> {
    let (mut recipes, mut seen) = (vec![], HashSet::new());
    for step in &plan.steps {
        let precision = precision_of(precision, step);
        let mut add = |param: Param, order, norm| {
            let len = weights.tensor(param).len();
            let out = weights.tensor(param).shape()[0];
            if seen.insert(param) {
                recipes.push(Recipe { param, layout: Layout::new(isa, precision, out, len / out), order, norm });
            }
        };
        match step.work {
            Work::Conv { weight, norm, window, .. } => {
                let (channels, area) = (weights.tensor(weight).shape()[1], window.size * window.size);
                let order = if area == 1 || window.channels_first { Order::Given } else { Order::PixelsFirst { channels, area } };
                add(weight, order, norm);
            }
            Work::Linear(ref parts) => parts.iter().for_each(|&(weight, _)| add(weight, Order::Given, None)),
            _ => {}
        }
    }
    recipes
}

/// The numbers that a step's matrix is kept in, if the tower is to be of `precision`.
///
/// A tower in int8 keeps its first and last products in bf16: pixels to rows, and the one row that becomes the embedding. They are about
/// a hundredth of the work. What that and other choices give, in points beside f32, for the built-in model (6 and 4 blocks) on
/// `data/emoji-9l`: how far MR moved in the language where it moved most, and the root of the mean square over the nine.
///
/// | in bf16 | `valid` | `dev` | `test` |
/// | --- | --- | --- | --- |
/// | all | 0.04, 0.03 | 0.11, 0.05 | 0.24, 0.11 |
/// | ends, first and last block | 0.15, 0.06 | 0.38, 0.19 | 0.20, 0.11 |
/// | ends, first block | 0.18, 0.09 | 0.42, 0.16 | 0.16, 0.10 |
/// | ends, queries, keys and values | - | 0.53, 0.22 | 0.51, 0.24 |
/// | ends, the second product of each MLP | - | 0.38, 0.23 | 0.59, 0.22 |
/// | **ends** | 0.11, 0.08 | 0.45, 0.26 | 0.47, 0.23 |
/// | nothing | - | 0.64, 0.37 | 0.55, 0.25 |
///
/// `valid` has 1,638 texts in a language, `dev` and `test` 88 and 85: there a text that is found or missed at one rank is 0.2 points.
/// The first and the last block in bf16 would cost 9 to 15 % of the time and change nothing that could be told from chance. Rounded in
/// the reference code (PyTorch), all else of the row "ends" alike: bf16 everywhere 0.07, 0.19, 0.32; inputs of 8 bits with exact weights
/// 0.11, 0.38, 0.39; inputs of 16 bits with weights of ±127 0.06, 0.19, 0.28; these inputs with these weights 0.12, 0.34, 0.51.
fn precision_of(precision: Precision, step: &Step) -> Precision {
    let end = match step.work {
        Work::Conv { window, .. } => window.channels_first,
        Work::Linear(_) => matches!(step.kind, Kind::Vector { .. }),
        _ => false,
    };
    if precision == Precision::Int8 && end { Precision::Bf16 } else { precision }
}

impl Recipe {
    /// Makes the matrix: `to` is as long as the layout says.
    ///
    /// # Errors
    /// [`TensorError::NotFloat`].
    pub(crate) fn pack(&self, weights: &Weights, cores: &Cores, to: &mut [u8]) -> Result<(), TensorError> {
        let tensor = weights.tensor(self.param);
        if self.order == Order::Given && self.norm.is_none() {
            let bytes = tensor.bytes();
            // Halves that are not aligned are copied.
            let halves = || -> Cow<'_, [u16]> {
                let read = |b: &[u8]| u16::from_le_bytes([b[0], b[1]]);
                match bytemuck::try_cast_slice(bytes) {
                    Ok(view) if cfg!(target_endian = "little") => Cow::Borrowed(view),
                    _ => bytes.chunks_exact(2).map(read).collect(),
                }
            };
            match tensor.dtype() {
                DType::Bf16 => pack(cores, self.layout, Values::Bf16(&halves()), to),
                DType::F16 => pack(cores, self.layout, Values::F16(&halves()), to),
                DType::F32 | DType::I64 => pack(cores, self.layout, Values::F32(&tensor.to_f32()?), to),
            }
        } else {
            pack(cores, self.layout, Values::F32(&self.changed(weights)?), to);
        }
        tensor.release();
        Ok(())
    }

    /// The numbers of a convolution's matrix.
    fn changed<'a>(&self, weights: &'a Weights) -> Result<Cow<'a, [f32]>, TensorError> {
        let mut given = weights.tensor(self.param).to_f32()?;
        if let Order::PixelsFirst { channels, area } = self.order {
            let row = channels * area;
            let at = |i: usize| given[i / row * row + i % channels * area + i % row / channels];
            given = Cow::Owned((0..given.len()).map(at).collect());
        }
        if let Some(norm) = &self.norm {
            let (scale, _) = scale_and_offset(weights, norm)?;
            for (row, scale) in given.to_mut().chunks_exact_mut(self.layout.inner()).zip(&scale) {
                row.iter_mut().for_each(|w| *w *= scale);
            }
        }
        Ok(given)
    }
}

/// `√(var + eps)⁻¹ · weight` and what is added after that, for each channel of a batch norm.
pub(crate) fn scale_and_offset(weights: &Weights, norm: &Norm) -> Result<(Vec<f32>, Vec<f32>), TensorError> {
    let of = |param: Param| weights.tensor(param).to_f32();
    let (weight, bias, mean, var) = (of(norm.weight)?, of(norm.bias)?, of(norm.mean)?, of(norm.var)?);
    let one = |c: usize| {
        let scale = f64::from(weight[c]) / (f64::from(var[c]) + f64::from(norm.eps)).sqrt();
        (scale as f32, (f64::from(bias[c]) - f64::from(mean[c]) * scale) as f32)
    };
    Ok((0..weight.len()).map(one).unzip())
}
