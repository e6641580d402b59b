//! The fast executor for CPUs: f32, bf16 or int8, many threads, ragged batches without padding.
//!
//! [`Device::load`] checks the graph, turns it into a plan and packs the matrices of its products once, in the precision that was asked
//! for (`recipe`), or maps a file in which they are packed already (`store`). Tables stay as they lie in the model's file. For each set
//! of outputs that is asked for, a few passes (`passes`) rewrite the plan, and its values get places in memory (`slots`); the result of an
//! item depends on none of them, nor on its batch, nor on the number of threads.
//!
//! The rows of all items go through a product together. Images lie as rows of pixels, so that a convolution is a product too.
//! Large batches are run in parts, so that what lies between steps stays small beside the weights. A run finds its memory as the last
//! one left it (`arena`): with batches of one shape, nothing is allocated but the results.
mod arena;
mod conv;
mod measured;
mod numbers;
mod passes;
mod plan;
mod recipe;
mod run;
mod slots;
mod store;
mod table;
mod train;

use std::sync::{Arc, Mutex, PoisonError};

use hua_graph::{Graph, Weights};
use hua_kernels::{Cores, Isa, Precision};

use crate::shapes::{Shapes, find_outputs};
use crate::{Batch, Device, ExecError, Program, Rows};
use arena::Arena;
use numbers::Numbers;
use plan::Plan;
use run::Ready;

pub use measured::Measured;
pub use store::PackedCache;

/// The CPU.
#[derive(Clone, Debug)]
pub struct Cpu {
    /// Threads that share one batch; 0 for as many as the machine has cores.
    pub threads: usize,
    /// The numbers of weights.
    pub precision: Precision,
    /// The instruction set; if none is named, the one that the environment variable `HUA_ISA` (`avx512`, `avx2`, `neon`, `scalar`) names,
    /// or the best. A variable that names one which the machine lacks is an error.
    pub isa: Option<Isa>,
    /// Where packed weights are kept; none: they are packed whenever a graph is loaded.
    pub packed: Option<PackedCache>,
}

/// All cores, f32.
impl Default for Cpu {
    fn default() -> Self {
        Self { threads: 0, precision: Precision::F32, isa: None, packed: None }
    }
}

impl Device for Cpu {
    fn load(&self, graph: &Graph, weights: &Weights) -> Result<Box<dyn Program>, ExecError> {
        let shapes = Shapes::of(graph)?;
        let mut plan = Plan::lower(graph, &shapes);
        passes::fold_batch_norm(&mut plan);
        let isa = self.isa.map_or_else(Isa::chosen, Ok)?;
        let [cores, alone] = [self.threads, 1].map(|threads| Cores::new(threads, isa));
        let (cores, alone) = (cores?, alone?);
        let identity = || format!("{:016x}, {}", store::fnv(graph.to_string().as_bytes()), self.precision);
        let cache = self.packed.as_ref().map(|cache| (cache, identity()));
        let cache = cache.as_ref().map(|(cache, identity)| (*cache, identity.as_str()));
        let numbers = Numbers::new(&plan, weights, &cores, self.precision, cache)?;
        let (ready, arenas) = Default::default();
        Ok(Box::new(CpuProgram { graph: graph.clone(), shapes, plan, numbers, cores, alone, ready, arenas }))
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
    /// The caller's thread.
    alone: Cores,
    /// What was asked for lately.
    ready: Mutex<Vec<Arc<Ready>>>,
    /// Memory that no run uses now.
    arenas: Mutex<Vec<Arena>>,
}

impl CpuProgram {
    /// What runs to give these outputs, made the first time they are asked for.
    fn ready(&self, outputs: &[&str]) -> Result<Arc<Ready>, ExecError> {
        /// Plans that are kept; who asks for ever new sets of outputs pays for planning.
        const MOST: usize = 64;
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = ready.iter().find(|ready| ready.names == outputs) {
            return Ok(found.clone());
        }
        let values = find_outputs(&self.graph, outputs)?;
        let in_use: Vec<_> = values.iter().map(|&v| self.graph.in_use(v)).collect();
        let mut plan = self.plan.only(&in_use);
        passes::narrow_to_picked(&mut plan);
        passes::stack_qkv(&mut plan);
        passes::fuse_epilogues(&mut plan);
        let names = outputs.iter().map(|&name| name.to_owned()).collect();
        let made = Arc::new(Ready::new(names, self.graph.needed(&values), plan));
        if ready.len() >= MOST {
            ready.clear();
        }
        ready.push(made.clone());
        Ok(made)
    }

    fn run_on(&self, cores: &Cores, batch: &Batch<'_>, outputs: &[&str]) -> Result<Vec<Rows>, ExecError> {
        let ready = self.ready(outputs)?;
        let items = self.shapes.check(&self.graph, &ready.needed, batch)?;
        let arenas = || self.arenas.lock().unwrap_or_else(PoisonError::into_inner);
        let mut arena = arenas().pop().unwrap_or_default();
        // All of it on a thread of the pool, so that no product has to wake one from outside.
        let rows = cores.run(|| run::run(&ready, &self.numbers, cores, &items, &mut arena));
        arenas().push(arena);
        rows
    }
}

impl Program for CpuProgram {
    fn run(&self, batch: &Batch<'_>, outputs: &[&str]) -> Result<Vec<Rows>, ExecError> {
        self.run_on(&self.cores, batch, outputs)
    }

    fn run_alone(&self, batch: &Batch<'_>, outputs: &[&str]) -> Result<Vec<Rows>, ExecError> {
        self.run_on(&self.alone, batch, outputs)
    }

    fn flops(&self, output: &str, tokens: usize) -> Result<u64, ExecError> {
        Ok(self.ready(&[output])?.flops(&self.graph, tokens))
    }
}
