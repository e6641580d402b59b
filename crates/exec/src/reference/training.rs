//! The reference in training: everything in f64 but what comes in and goes out, nothing saved but by asking.
use std::sync::Arc;

use hua_graph::{Graph, Value};

use super::backward::gradients;
use super::number::Values;
use super::{Pass, Reference};
use crate::shapes::{Items, Shapes, find_outputs};
use crate::training::check_backward;
use crate::{Batch, ExecError, Rows, Tape, Trainable, Training, TrainingOptions};

impl Trainable for Reference {
    fn load_training(&self, graph: &Graph, params: &[&[f32]], options: &TrainingOptions) -> Result<Box<dyn Training>, ExecError> {
        options.check(graph, params)?;
        Ok(Box::new(ReferenceTraining::new(graph, wide(params), options)?))
    }
}

#[derive(Debug)]
pub(super) struct ReferenceTraining {
    graph: Graph,
    in_use: Shapes,
    in_training: Shapes,
    params: Vec<Vec<f64>>,
    /// Another one after each change of the parameters: a tape knows by it whose it is.
    version: Arc<()>,
    options: TrainingOptions,
    output: Value,
    needed: Vec<bool>,
}

/// What a forward pass kept. With `recompute` it is the batch alone: for a definition, the whole tower is one block.
struct Kept {
    version: Arc<()>,
    ids: Vec<Vec<u32>>,
    pixels: Vec<f32>,
    count: usize,
    seeds: Vec<u64>,
    values: Option<Vec<Values<f64>>>,
}

impl Kept {
    fn items(&self) -> Items<'_> {
        Items { ids: &self.ids, pixels: &self.pixels, count: self.count }
    }
}

impl ReferenceTraining {
    pub(super) fn new(graph: &Graph, params: Vec<Vec<f64>>, options: &TrainingOptions) -> Result<Self, ExecError> {
        let output = find_outputs(graph, &[options.output.as_str()])?[0];
        Ok(Self {
            in_use: Shapes::of(graph)?,
            in_training: Shapes::in_training(graph)?,
            params,
            version: Arc::new(()),
            options: options.clone(),
            output,
            needed: graph.needed(&[output]),
            graph: graph.clone(),
        })
    }

    fn pass<'a>(&'a self, shapes: &'a Shapes, items: Items<'a>, seeds: Option<&'a [u64]>) -> Pass<'a, f64> {
        let params = self.params.iter().map(Vec::as_slice).collect();
        Pass { graph: &self.graph, shapes, params, items, seeds }
    }

    /// All values of a batch in training.
    fn values(&self, items: Items<'_>, seeds: &[u64]) -> Result<Vec<Values<f64>>, ExecError> {
        if seeds.len() != items.count {
            return Err(ExecError::Seeds { found: seeds.len(), wanted: items.count });
        }
        Ok(self.pass(&self.in_training, items, Some(seeds)).forward(&self.needed))
    }

    fn rows(&self, values: &[Values<f64>]) -> Rows {
        let Values { width, lengths, data } = &values[self.output.index()];
        Rows { width: *width, lengths: lengths.clone(), data: data.iter().map(|&x| x as f32).collect() }
    }
}

/// What finite differences need: nothing rounded on the way.
#[cfg(test)]
impl ReferenceTraining {
    pub(super) fn output_in_f64(&self, items: Items<'_>, seeds: &[u64]) -> Vec<f64> {
        self.values(items, seeds).expect("one seed an item").swap_remove(self.output.index()).data
    }

    pub(super) fn gradients_in_f64(&self, items: Items<'_>, seeds: &[u64], d_output: Vec<f64>) -> Vec<Vec<f64>> {
        let values = self.values(items, seeds).expect("one seed an item");
        let pass = self.pass(&self.in_training, items, Some(seeds));
        gradients(&pass, &values, &self.options.trained, self.output, d_output)
    }

    pub(super) fn set_param_in_f64(&mut self, param: usize, at: usize, value: f64) {
        self.params[param][at] = value;
    }
}

impl Training for ReferenceTraining {
    fn set_params(&mut self, params: &[&[f32]]) {
        let sizes = |all: &mut dyn Iterator<Item = usize>| all.collect::<Vec<_>>();
        let (found, wanted) = (sizes(&mut params.iter().map(|p| p.len())), sizes(&mut self.params.iter().map(Vec::len)));
        assert_eq!(found, wanted, "parameters are as many and as long as at loading");
        self.params = wide(params);
        self.version = Arc::new(());
    }

    fn run(&self, batch: &Batch<'_>) -> Result<Rows, ExecError> {
        let items = self.in_use.check(&self.graph, &self.needed, batch)?;
        Ok(self.rows(&self.pass(&self.in_use, items, None).forward(&self.needed)))
    }

    fn forward(&mut self, batch: &Batch<'_>, seeds: &[u64]) -> Result<(Rows, Tape), ExecError> {
        let items = self.in_training.check(&self.graph, &self.needed, batch)?;
        let values = self.values(items, seeds)?;
        let rows = self.rows(&values);
        let kept = Kept {
            version: self.version.clone(),
            ids: items.ids.to_vec(),
            pixels: items.pixels.to_vec(),
            count: items.count,
            seeds: seeds.to_vec(),
            values: (!self.options.recompute).then_some(values),
        };
        Ok((rows, Tape::new(kept)))
    }

    fn forward_only(&self, batch: &Batch<'_>, seeds: &[u64]) -> Result<Rows, ExecError> {
        let items = self.in_training.check(&self.graph, &self.needed, batch)?;
        Ok(self.rows(&self.values(items, seeds)?))
    }

    fn backward(&mut self, tape: Tape, d_output: &[f32], grads: &mut [Vec<f32>]) -> Result<(), ExecError> {
        let mut kept = tape.take::<Kept>()?;
        if !Arc::ptr_eq(&kept.version, &self.version) {
            return Err(ExecError::Tape);
        }
        let values = match kept.values.take() {
            Some(values) => values,
            None => self.values(kept.items(), &kept.seeds)?,
        };
        let wanted = values[self.output.index()].data.len();
        check_backward(&self.graph, &self.options.trained, (d_output, wanted), grads)?;
        let pass = self.pass(&self.in_training, kept.items(), Some(&kept.seeds));
        let d_output = d_output.iter().map(|&d| d.into()).collect();
        let found = gradients(&pass, &values, &self.options.trained, self.output, d_output);
        for (grad, found) in grads.iter_mut().zip(found) {
            grad.iter_mut().zip(found).for_each(|(grad, d)| *grad += d as f32);
        }
        Ok(())
    }
}

fn wide(params: &[&[f32]]) -> Vec<Vec<f64>> {
    params.iter().map(|p| p.iter().map(|&x| x.into()).collect()).collect()
}
