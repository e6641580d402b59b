//! The weights as the steps of a plan read them: matrices of products packed, in the precision that was asked for; tables of which
//! single rows are read where they are mapped; biases and gains in f32.
use std::collections::HashMap;

use hua_graph::{Param, Weights};
use hua_kernels::{Cores, Part, Precision};

use crate::cpu::plan::{Norm, Plan, Work};
use crate::cpu::recipe::{Recipe, recipes, scale_and_offset};
use crate::cpu::store::Store;
use crate::cpu::table::Table;
use crate::{ExecError, PackedCache};

/// All that the steps of a plan read.
#[derive(Debug)]
pub(crate) struct Numbers {
    /// Matrices, by parameter.
    store: Store,
    /// Biases, gains and single rows, by parameter.
    vectors: HashMap<usize, Vec<f32>>,
    tables: HashMap<usize, Table>,
    /// Biases of convolutions with a batch norm, by the convolution's weight.
    folded: HashMap<usize, Vec<f32>>,
    /// Scale and offset of batch norms that no convolution took in, by their weight.
    norms: HashMap<usize, (Vec<f32>, Vec<f32>)>,
}

impl Numbers {
    /// `cache` comes with what tells the graph and the precision from others.
    pub(crate) fn new(
        plan: &Plan,
        weights: &Weights,
        cores: &Cores,
        precision: Precision,
        cache: Option<(&PackedCache, &str)>,
    ) -> Result<Self, ExecError> {
        let recipes: Vec<Recipe> = recipes(plan, weights, cores.isa(), precision);
        let store = Store::load(cores, recipes, weights, cache)?;
        let (vectors, tables, folded, norms) = Default::default();
        let mut numbers = Self { store, vectors, tables, folded, norms };
        for step in &plan.steps {
            match &step.work {
                Work::AddPositions { table } => numbers.add_tables(weights, [*table])?,
                Work::BatchNorm(norm) => {
                    numbers.norms.insert(norm.weight.index(), scale_and_offset(weights, norm)?);
                }
                Work::Conv { weight, bias, norm: Some(norm), .. } => {
                    let (scale, offset) = scale_and_offset(weights, norm)?;
                    let bias = bias.map(|bias| weights.tensor(bias).to_f32()).transpose()?;
                    let bias = (0..scale.len()).map(|c| offset[c] + bias.as_ref().map_or(0.0, |b| b[c] * scale[c])).collect();
                    numbers.folded.insert(weight.index(), bias);
                }
                Work::Conv { bias, norm: None, .. } => numbers.add_vectors(weights, *bias)?,
                Work::Embed { tokens, positions, types, .. } => {
                    numbers.add_tables(weights, [*tokens, *positions].into_iter().chain(*types))?;
                }
                Work::LayerNorm { weight, bias, .. } => numbers.add_vectors(weights, [*weight, *bias])?,
                Work::Linear(parts) => numbers.add_vectors(weights, parts.iter().filter_map(|&(_, bias)| bias))?,
                Work::Prepend { token } => numbers.add_vectors(weights, [*token])?,
                _ => {}
            }
        }
        Ok(numbers)
    }

    /// A bias, a gain, or a row.
    pub(crate) fn vector(&self, param: Param) -> &[f32] {
        &self.vectors[&param.index()]
    }

    /// A parameter of which single rows are read.
    pub(crate) fn table(&self, param: Param) -> &Table {
        &self.tables[&param.index()]
    }

    /// A weight of a product.
    pub(crate) fn part(&self, weight: Param, bias: Option<Param>) -> Part<'_> {
        let folded = self.folded.get(&weight.index());
        let bias = folded.map(|bias| &bias[..]).or_else(|| bias.map(|bias| self.vector(bias)));
        Part { weight: self.store.get(weight), bias }
    }

    /// What a batch norm that is not folded multiplies by and adds, for each channel.
    pub(crate) fn norm(&self, norm: &Norm) -> (&[f32], &[f32]) {
        let (scale, offset) = &self.norms[&norm.weight.index()];
        (scale, offset)
    }

    fn add_vectors(&mut self, weights: &Weights, params: impl IntoIterator<Item = Param>) -> Result<(), ExecError> {
        for param in params {
            self.vectors.insert(param.index(), weights.tensor(param).to_f32()?.into_owned());
        }
        Ok(())
    }

    fn add_tables(&mut self, weights: &Weights, params: impl IntoIterator<Item = Param>) -> Result<(), ExecError> {
        for param in params {
            self.tables.insert(param.index(), Table::new(weights.tensor(param))?);
        }
        Ok(())
    }
}
