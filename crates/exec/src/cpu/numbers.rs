//! The weights as the kernels read them: in place where that is possible.
use std::borrow::Cow;
use std::collections::HashMap;

use hua_graph::{Param, Tensor, Weights};

use crate::ExecError;
use crate::cpu::plan::{Norm, Plan, Work};

/// f32 weights stay where they are. Others are converted, but for tables, of which single rows are read.
#[derive(Debug)]
pub(crate) struct Numbers {
    tensors: Weights,
    converted: HashMap<usize, Vec<f32>>,
    windows: HashMap<usize, Windows>,
}

/// The weights `[out, window]` of a convolution with its batch norm, columns in the order of its windows, if they had to change.
#[derive(Debug, Default)]
struct Windows {
    weight: Option<Vec<f32>>,
    bias: Option<Vec<f32>>,
}

impl Numbers {
    pub(crate) fn new(plan: &Plan, weights: &Weights) -> Result<Self, ExecError> {
        let mut numbers = Self { tensors: weights.clone(), converted: HashMap::new(), windows: HashMap::new() };
        for step in &plan.steps {
            let params: Vec<Param> = match &step.work {
                Work::BatchNorm(norm) => norm.params().to_vec(),
                Work::Conv { weight, bias, norm, .. } => {
                    [*weight].into_iter().chain(*bias).chain(norm.iter().flat_map(|n| n.params())).collect()
                }
                Work::LayerNorm { weight, bias, .. } => vec![*weight, *bias],
                Work::Linear(parts) => parts.iter().flat_map(|&(weight, bias)| [weight].into_iter().chain(bias)).collect(),
                Work::Prepend { token } => vec![*token],
                _ => vec![],
            };
            for param in params {
                if let Cow::Owned(values) = weights.tensor(param).to_f32()? {
                    numbers.converted.insert(param.index(), values);
                }
            }
            if let Work::Conv { weight, .. } = step.work {
                let windows = numbers.windows(&step.work);
                numbers.windows.insert(weight.index(), windows);
            }
        }
        Ok(numbers)
    }

    /// A parameter as f32.
    pub(crate) fn get(&self, param: Param) -> &[f32] {
        match self.converted.get(&param.index()) {
            Some(values) => values,
            None => match self.tensors.tensor(param).to_f32() {
                Ok(Cow::Borrowed(values)) => values,
                _ => unreachable!("what is not f32 was converted when the program was loaded"),
            },
        }
    }

    /// A parameter of which single rows are read.
    pub(crate) fn table(&self, param: Param) -> &Tensor {
        self.tensors.tensor(param)
    }

    /// The weight and bias of a convolution.
    pub(crate) fn conv(&self, weight: Param, bias: Option<Param>) -> (&[f32], Option<&[f32]>) {
        let windows = &self.windows[&weight.index()];
        let own = windows.bias.as_deref();
        (windows.weight.as_deref().unwrap_or_else(|| self.get(weight)), own.or_else(|| bias.map(|b| self.get(b))))
    }

    /// `√(var + eps)⁻¹ · weight` and what is added after that, for each channel.
    pub(crate) fn scale_and_offset(&self, norm: &Norm) -> (Vec<f32>, Vec<f32>) {
        let [weight, bias, mean, var] = norm.params().map(|p| self.get(p));
        let one = |c: usize| {
            let scale = f64::from(weight[c]) / (f64::from(var[c]) + f64::from(norm.eps)).sqrt();
            (scale as f32, (f64::from(bias[c]) - f64::from(mean[c]) * scale) as f32)
        };
        (0..weight.len()).map(one).unzip()
    }

    fn windows(&self, work: &Work) -> Windows {
        let Work::Conv { weight, bias, norm, window } = work else { return Windows::default() };
        let shape = self.tensors.tensor(*weight).shape();
        let (channels, area) = (shape[1], window.size * window.size);
        let given = self.get(*weight);
        let mut ordered = None;
        if area > 1 && !window.channels_first {
            // `[out, channels, area]` to `[out, area, channels]`.
            let row = channels * area;
            let at = |i: usize| given[i / row * row + i % channels * area + i % row / channels];
            ordered = Some((0..given.len()).map(at).collect::<Vec<f32>>());
        }
        let Some(norm) = norm else { return Windows { weight: ordered, bias: None } };
        let (scale, offset) = self.scale_and_offset(norm);
        let mut weight = ordered.unwrap_or_else(|| given.to_vec());
        for (row, scale) in weight.chunks_exact_mut(channels * area).zip(&scale) {
            row.iter_mut().for_each(|w| *w *= scale);
        }
        let bias = bias.map(|b| self.get(b));
        let bias = (0..scale.len()).map(|c| offset[c] + bias.map_or(0.0, |b| b[c] * scale[c])).collect();
        Windows { weight: Some(weight), bias: Some(bias) }
    }
}

impl Norm {
    pub(crate) fn params(&self) -> [Param; 4] {
        [self.weight, self.bias, self.mean, self.var]
    }
}
