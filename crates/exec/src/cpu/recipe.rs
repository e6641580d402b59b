//! What each matrix of a plan's products is made of, and how it is packed.
//!
//! A matrix is packed straight from the type that the checkpoint has. Those of convolutions may have to change before: their columns
//! follow the order of the windows, and a batch norm is folded in.
use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use hua_graph::{DType, Param, TensorError, Weights};
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
    let inner = inner_blocks(plan);
    for (i, step) in plan.steps.iter().enumerate() {
        let precision = if inner.contains(&i) { precision } else { at_the_ends(precision, step) };
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

/// The numbers of a product before or behind the inner blocks, if the tower is to be of `precision`.
///
/// A tower in int8 keeps what is at its ends in bf16: pixels to rows, the first and the last block, and the one row that becomes the
/// embedding. Convolutions of a ResNet's stages are in int8 throughout. In points beside f32, the built-in model (6 and 4 blocks) on
/// `data/emoji-9l`: how far MR moved in the language where it moved most, and the root of the mean square over the nine.
///
/// | in bf16 | `valid` | `dev` | `test` |
/// | --- | --- | --- | --- |
/// | all | 0.04, 0.03 | 0.11, 0.05 | 0.24, 0.11 |
/// | ends, first and last block | 0.15, 0.06 | 0.38, 0.19 | 0.20, 0.11 |
/// | ends, first block | 0.18, 0.09 | 0.42, 0.16 | 0.16, 0.10 |
/// | ends, last block | - | 0.42, 0.25 | 0.39, 0.24 |
/// | ends, queries, keys and values | - | 0.53, 0.22 | 0.51, 0.24 |
/// | ends, the second product of each MLP | - | 0.38, 0.23 | 0.59, 0.22 |
/// | ends | 0.11, 0.08 | 0.45, 0.26 | 0.47, 0.23 |
/// | nothing | - | 0.64, 0.37 | 0.55, 0.25 |
///
/// `dev` and `test` have 88 and 85 texts in a language: a text that is found or missed at one rank is 0.2 points of MR.
/// The first two rows are of this code; the others were measured with two small products behind the last text block in int8.
fn at_the_ends(precision: Precision, step: &Step) -> Precision {
    let stage = matches!(step.work, Work::Conv { window, .. } if !window.channels_first);
    if precision == Precision::Int8 && !stage { Precision::Bf16 } else { precision }
}

/// The steps of all transformer blocks but the first and the last. A block begins where the first input of its attention is made.
fn inner_blocks(plan: &Plan) -> Range<usize> {
    let attentions = plan.steps.iter().filter(|step| matches!(step.work, Work::Attention { .. }));
    let mut begins = attentions.filter_map(|step| step.inputs.iter().copied().min());
    let second = begins.by_ref().nth(1);
    let last = begins.next_back();
    second.zip(last).map_or(0..0, |(second, last)| second..last)
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
