//! The fast executor for CPUs: f32, many threads, ragged batches without padding.
//!
//! [`Device::load`] checks the graph, turns it into a plan and makes ready what cannot be used as it lies in the file: weights of
//! f16 and bf16 become f32 once, and windows of convolutions are reordered, with their batch norm folded in. Weights of f32 are
//! read where they lie, so that a memory-mapped file is never copied. For each set of outputs that is asked for, a few passes
//! (`passes`) rewrite the plan; the result of an item depends on none of them, nor on its batch, nor on the number of threads.
//!
//! The rows of all items go through a product together. Images lie as rows of pixels, so that a convolution is a product too.
//! Large batches are run in parts, so that what lies between steps stays small beside the weights.
mod conv;
mod numbers;
mod passes;
mod plan;
mod run;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hua_graph::{Graph, Value, Weights};
use hua_kernels::{Cores, Isa};

use crate::shapes::{Shapes, find_outputs};
use crate::{Batch, Device, ExecError, Program, Rows};
use numbers::Numbers;
use plan::Plan;

/// The CPU. The environment variable `HUA_ISA` (`avx512`, `avx2`, `scalar`) may name another instruction set
/// than the best; one that the machine lacks is an error.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    /// Threads that share one batch; 0 for as many as the machine has cores.
    pub threads: usize,
}

impl Device for Cpu {
    fn load(&self, graph: &Graph, weights: &Weights) -> Result<Box<dyn Program>, ExecError> {
        let shapes = Shapes::of(graph)?;
        let mut plan = Plan::lower(graph, &shapes);
        passes::fold_batch_norm(&mut plan);
        let numbers = Numbers::new(&plan, weights)?;
        let cores = Cores::new(self.threads, Isa::chosen()?)?;
        Ok(Box::new(CpuProgram { graph: graph.clone(), shapes, plan, numbers, cores, ready: Mutex::default(), free: Mutex::default() }))
    }
}

#[derive(Debug)]
struct CpuProgram {
    graph: Graph,
    shapes: Shapes,
    /// For all outputs; a request's own plan is made of it.
    plan: Plan,
    numbers: Numbers,
    cores: Cores,
    ready: Mutex<HashMap<Vec<Value>, Arc<Plan>>>,
    /// What lay between the steps of the last run.
    free: Mutex<Vec<Vec<f32>>>,
}

impl CpuProgram {
    /// The plan for some outputs, made the first time they are asked for.
    fn plan(&self, outputs: &[Value]) -> Arc<Plan> {
        /// Plans that are kept; who asks for ever new sets of outputs pays for planning.
        const MOST: usize = 64;
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if ready.len() > MOST {
            ready.clear();
        }
        let make = || {
            let mut plan = self.plan.only(outputs);
            passes::narrow_to_picked(&mut plan);
            passes::stack_qkv(&mut plan);
            passes::fuse_epilogues(&mut plan);
            Arc::new(plan)
        };
        ready.entry(outputs.to_vec()).or_insert_with(make).clone()
    }
}

impl Program for CpuProgram {
    fn run(&self, batch: &Batch<'_>, outputs: &[&str]) -> Result<Vec<Rows>, ExecError> {
        let outputs = find_outputs(&self.graph, outputs)?;
        let items = self.shapes.check(&self.graph, &self.graph.needed(&outputs), batch)?;
        // One run at a time uses memory again: asking the system for it anew costs a few percent of a small batch.
        let mut free = std::mem::take(&mut *self.free.lock().unwrap_or_else(PoisonError::into_inner));
        let rows = run::run(&self.plan(&outputs), &self.numbers, &self.cores, &items, &mut free);
        free.retain(|buffer| buffer.capacity() > 0);
        *self.free.lock().unwrap_or_else(PoisonError::into_inner) = free;
        rows
    }
}
