//! The executor for CPUs. At first it runs the reference; the interface is what stays.
use hua_graph::{Graph, Weights};

use crate::{Device, ExecError, Program, Reference};

/// The CPU, with a number of threads.
#[derive(Clone, Debug)]
pub struct Cpu {
    /// Threads that share one batch; 0 for as many as the machine has cores.
    pub threads: usize,
}

impl Device for Cpu {
    fn load(&self, graph: &Graph, weights: &Weights) -> Result<Box<dyn Program>, ExecError> {
        Reference.load(graph, weights)
    }
}
