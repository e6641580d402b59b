//! Training on CPUs: the plan of a graph forward with values kept, and backward, with the kernels that run towers in use.
//!
//! All matrix products are the packed product or its twin that sums over rows (`hua_kernels::weight_gradients`); the other steps backward are
//! fused kernels beside their forward ones. What is kept between the passes is what gradients are computed from and nothing twice
//! (`analysis`); norms and activations are made again from what they were given. Buffers go round in a `pool`. Behind the last attention only
//! rows that an output picks flow forward, and back (`narrow_to_picked`). No sum depends on the number of threads.
//!
//! In bf16 the products of the forward pass and of the gradients of values have weights rounded to bf16, and inputs where the machine
//! multiplies bf16; gradients of weights are sums of f32 products, and so are all masters.
mod analysis;
mod backward;
mod forward;
mod pool;
mod weights;

use std::sync::Arc;

use hua_graph::{Graph, Kind};
use hua_kernels::{Cores, Isa, Precision};

use super::conv;
use super::passes;
use super::plan::{Plan, columns};
use crate::shapes::{Items, Shapes, find_outputs, pixels, unsupported, width};
use crate::training::check_backward;
use crate::{Batch, Cpu, ExecError, Rows, Tape, Trainable, Training, TrainingOptions};
use analysis::Analysis;
use backward::Backward;
use forward::{Pass, Shared};
use pool::{Buffer, Pool};
use weights::Weights;

impl Trainable for Cpu {
    fn load_training(&self, graph: &Graph, params: &[&[f32]], options: &TrainingOptions) -> Result<Box<dyn Training>, ExecError> {
        options.check(graph, params)?;
        if self.precision == Precision::Int8 {
            return Err(unsupported("training in int8".into()));
        }
        let cores = Cores::new(self.threads, self.isa.map_or_else(Isa::chosen, Ok)?)?;
        let value = find_outputs(graph, &[options.output.as_str()])?[0];
        if graph.node(value).kind == Kind::Ids {
            return Err(unsupported("training of an output of ids".into()));
        }
        let (in_use, in_training) = (Shapes::of(graph)?, Shapes::in_training(graph)?);
        let mut plan = Plan::lower(graph, &in_use).only(&[graph.in_use(value)]);
        passes::narrow_to_picked(&mut plan);
        passes::stack_qkv(&mut plan);
        passes::fuse_epilogues(&mut plan);
        let none = vec![false; graph.params().len()];
        let in_use = Mode { shapes: in_use, analysis: Analysis::of(&plan, &none, false), plan };
        let mut plan = Plan::lower_for_training(graph, &in_training).only(&[value]);
        passes::narrow_to_picked(&mut plan);
        passes::stack_qkv(&mut plan);
        passes::fuse_residuals(&mut plan);
        let in_training = Mode { shapes: in_training, analysis: Analysis::of(&plan, &options.trained, options.recompute), plan };
        let plans = [&in_use.plan, &in_training.plan];
        let weights = Weights::new(graph, plans, &in_training.analysis, &options.trained, self.precision, &cores, params);
        Ok(Box::new(CpuTraining {
            needed: graph.needed(&[value]),
            graph: graph.clone(),
            trained: options.trained.clone(),
            in_use,
            in_training,
            weights,
            cores,
            pool: Arc::default(),
            version: Arc::new(()),
        }))
    }
}

#[derive(Debug)]
struct CpuTraining {
    graph: Graph,
    trained: Vec<bool>,
    /// Nodes that the output needs.
    needed: Vec<bool>,
    in_use: Mode,
    in_training: Mode,
    weights: Weights,
    cores: Cores,
    pool: Arc<Pool>,
    /// Another one after each change of the parameters: a tape knows by it whose it is.
    version: Arc<()>,
}

/// What runs in use, or in training.
#[derive(Debug)]
struct Mode {
    shapes: Shapes,
    plan: Plan,
    analysis: Analysis,
}

/// What a forward pass kept.
struct Kept {
    version: Arc<()>,
    ids: Vec<Vec<u32>>,
    /// Only if a gradient is computed from them.
    pixels: Option<Buffer>,
    count: usize,
    seeds: Vec<u64>,
    values: Vec<Option<Shared>>,
    /// Numbers of the output.
    len: usize,
}

impl CpuTraining {
    fn pass<'a>(&'a self, mode: &'a Mode, items: Items<'a>, seeds: &'a [u64]) -> Pass<'a> {
        let tokens = items.tokens();
        Pass { plan: &mode.plan, weights: &self.weights, cores: &self.cores, pool: &self.pool, items, seeds, tokens }
    }

    /// The output of a batch, and the values that are kept.
    fn run_mode(
        &self,
        mode: &Mode,
        batch: &Batch<'_>,
        seeds: Option<&[u64]>,
        keep: impl Fn(usize) -> bool + Sync,
    ) -> Result<(Rows, Vec<Option<Shared>>), ExecError> {
        let items = mode.shapes.check(&self.graph, &self.needed, batch)?;
        if let Some(seeds) = seeds.filter(|seeds| seeds.len() != items.count) {
            return Err(ExecError::Seeds { found: seeds.len(), wanted: items.count });
        }
        let pass = self.pass(mode, items, seeds.unwrap_or_default());
        let (steps, output) = (mode.plan.steps.len(), mode.plan.outputs[0]);
        Ok(self.cores.run(|| {
            let mut values = vec![None; steps];
            pass.forward(0..steps, &mut values, &mode.analysis.last_use, &keep);
            let step = &mode.plan.steps[output];
            let data = match step.kind {
                Kind::Image { channels, .. } if !(mode.plan.image_as_given && values[output].is_none()) => {
                    conv::transposed(pass.read(output, &values), pixels(step.kind), channels).collect()
                }
                _ => pass.read(output, &values).to_vec(),
            };
            let rows = Rows { width: width(step.kind), lengths: pass.lengths(step).collect(), data };
            if !keep(output) {
                values[output] = None;
            }
            (rows, values)
        }))
    }
}

impl Training for CpuTraining {
    fn set_params(&mut self, params: &[&[f32]]) {
        let fits = |(spec, values): (&hua_graph::ParamSpec, &&[f32])| spec.shape.iter().product::<usize>() == values.len();
        let specs = self.graph.params();
        assert!(params.len() == specs.len() && specs.iter().zip(params).all(fits), "parameters of another graph");
        self.version = Arc::new(());
        let Self { weights, cores, .. } = self;
        cores.run(|| weights.fill(cores, params, false));
    }

    fn run(&self, batch: &Batch<'_>) -> Result<Rows, ExecError> {
        Ok(self.run_mode(&self.in_use, batch, None, |_| false)?.0)
    }

    fn forward(&mut self, batch: &Batch<'_>, seeds: &[u64]) -> Result<(Rows, Tape), ExecError> {
        let mode = &self.in_training;
        let on_tape = &mode.analysis.on_tape;
        let (rows, values) = self.run_mode(mode, batch, Some(seeds), |i| on_tape[i])?;
        let reads_pixels =
            mode.plan.image_as_given && mode.plan.steps.iter().zip(on_tape).any(|(s, &on)| on && s.work == super::plan::Work::Input);
        let (ids, pixels, count) = match *batch {
            Batch::Ids(ids) => (ids.to_vec(), None, ids.len()),
            Batch::Images(pixels) => {
                let copy = || {
                    let mut copy = self.pool.take(pixels.len());
                    self.cores.each_rows(&mut copy, 1, |first, piece| piece.copy_from_slice(&pixels[first..][..piece.len()]));
                    copy
                };
                (vec![], reads_pixels.then(copy), seeds.len())
            }
        };
        let version = self.version.clone();
        let kept = Kept { version, ids, pixels, count, seeds: seeds.to_vec(), values, len: rows.data.len() };
        Ok((rows, Tape::new(kept)))
    }

    fn forward_only(&self, batch: &Batch<'_>, seeds: &[u64]) -> Result<Rows, ExecError> {
        Ok(self.run_mode(&self.in_training, batch, Some(seeds), |_| false)?.0)
    }

    fn backward(&mut self, tape: Tape, d_output: &[f32], grads: &mut [Vec<f32>]) -> Result<(), ExecError> {
        let Kept { version, ids, pixels: given, count, seeds, values, len } = *tape.take::<Kept>()?;
        if !Arc::ptr_eq(&version, &self.version) {
            return Err(ExecError::Tape);
        }
        check_backward(&self.graph, &self.trained, (d_output, len), grads)?;
        let Mode { plan, analysis, .. } = &self.in_training;
        let output = plan.outputs[0];
        if !analysis.gradient[output] {
            return Ok(());
        }
        let mut d = self.pool.take(len);
        match plan.steps[output].kind {
            kind @ Kind::Image { .. } => {
                let numbers = conv::transposed(d_output, columns(kind), pixels(kind));
                d.iter_mut().zip(numbers).for_each(|(d, number)| *d = number);
            }
            _ => d.copy_from_slice(d_output),
        }
        let pass = self.pass(&self.in_training, Items { ids: &ids, pixels: given.as_deref().unwrap_or_default(), count }, &seeds);
        let mut gradients = vec![None; plan.steps.len()];
        gradients[output] = Some(Arc::new(d));
        self.cores.run(|| Backward { pass, analysis, values, gradients, grads }.run());
        Ok(())
    }
}
