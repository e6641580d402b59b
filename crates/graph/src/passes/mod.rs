//! Graphs made of graphs: what training adds to a tower.
//!
//! A pass copies the nodes in their order and puts new ones between them. Parameters keep their places, and new ones come at the end, so that
//! the numbers of the old graph are the first of the new one's.
mod lora;
mod training;

use crate::graph::{Graph, Node};
use crate::op::Value;

pub use lora::{LoraPair, lora};
pub use training::{Regularisation, for_training};

/// A graph that is being copied.
struct Rewrite {
    graph: Graph,
    /// What stands for each value of the old graph where a node uses it.
    places: Vec<Value>,
    /// What stands for it where it is an output.
    outputs: Vec<Value>,
}

impl Rewrite {
    /// With all parameters, and no node yet.
    fn of(graph: &Graph) -> Self {
        Self { graph: Graph { params: graph.params.clone(), ..Graph::default() }, places: vec![], outputs: vec![] }
    }

    /// A node of the old graph, with inputs as they are now.
    fn take(&self, node: &Node) -> Node {
        Node { inputs: node.inputs.iter().map(|v| self.places[v.index()]).collect(), ..node.clone() }
    }

    fn push(&mut self, node: Node) -> Value {
        self.graph.nodes.push(node);
        Value(self.graph.nodes.len() as u32 - 1)
    }

    /// The next value of the old graph is `output` where it is one, and `value` for all that follow.
    fn place(&mut self, value: Value, output: Value) {
        self.places.push(value);
        self.outputs.push(output);
    }

    fn finish(mut self, of: &Graph) -> Graph {
        self.graph.outputs = of.outputs.clone();
        self.graph.outputs.iter_mut().for_each(|o| o.value = self.outputs[o.value.index()]);
        self.graph
    }
}
