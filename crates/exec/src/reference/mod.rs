//! The definition of every operation and of its gradient: one plain loop nest each, sums in f64.
//!
//! Slow on purpose. Where another executor differs by more than its table of tolerances allows, the other executor is wrong. Each operation
//! and its gradient stand side by side, in `attention`, `images`, `rows` or `sequences`; `backward` is reverse mode over the graph, and
//! `training` what callers see of it. In use, what lies between the steps is f32; in training it is f64 (`number`).
mod attention;
mod backward;
mod images;
mod number;
mod rows;
mod sequences;
#[cfg(test)]
mod tests;
mod training;

use std::borrow::Cow;

use hua_graph::{Graph, Kind, Node, Op, Param, Weights};

use crate::shapes::{Items, Shapes, find_outputs, width};
use crate::{Batch, Device, ExecError, Program, Rows};
use images::{Norm, Sides, Window};
use number::{Number, Values};
use sequences::Tables;

pub(crate) use sequences::picked_row;

/// The executor that defines what each operation means.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference;

impl Device for Reference {
    fn load(&self, graph: &Graph, weights: &Weights) -> Result<Box<dyn Program>, ExecError> {
        let shapes = Shapes::of(graph)?;
        Ok(Box::new(ReferenceProgram { graph: graph.clone(), weights: weights.clone(), shapes }))
    }
}

#[derive(Debug)]
struct ReferenceProgram {
    graph: Graph,
    weights: Weights,
    shapes: Shapes,
}

impl Program for ReferenceProgram {
    fn flops(&self, output: &str, tokens: usize) -> Result<u64, ExecError> {
        find_outputs(&self.graph, &[output])?;
        Ok(self.graph.flops(output, tokens))
    }

    fn run(&self, batch: &Batch<'_>, outputs: &[&str]) -> Result<Vec<Rows>, ExecError> {
        let outputs = find_outputs(&self.graph, outputs)?;
        let needed = self.graph.needed(&outputs);
        let items = self.shapes.check(&self.graph, &needed, batch)?;
        let params = self.weights.tensors().iter().map(|t| t.to_f32()).collect::<Result<Vec<_>, _>>()?;
        let params = params.iter().map(Cow::as_ref).collect();
        let pass = Pass { graph: &self.graph, shapes: &self.shapes, params, items, seeds: None };
        let values = pass.forward(&needed);
        let rows = |v: &Values<f32>| Rows { width: v.width, lengths: v.lengths.clone(), data: v.data.clone() };
        Ok(outputs.iter().map(|v| rows(&values[v.index()])).collect())
    }
}

/// One batch's way through a graph.
struct Pass<'a, T> {
    graph: &'a Graph,
    shapes: &'a Shapes,
    /// In the graph's order.
    params: Vec<&'a [T]>,
    items: Items<'a>,
    /// One for each item in training; none in use.
    seeds: Option<&'a [u64]>,
}

impl<T: Number> Pass<'_, T> {
    /// The values of all nodes that are needed; empty ones of the others.
    fn forward(&self, needed: &[bool]) -> Vec<Values<T>> {
        let mut values: Vec<Values<T>> = vec![];
        for (i, node) in self.graph.nodes().iter().enumerate() {
            let lengths = (0..self.items.count).map(|item| self.shapes.lengths[i].rows(self.items.length(item))).collect();
            let mut out = Values { width: width(node.kind), lengths, data: vec![] };
            if needed[i] {
                out.data = self.node(i, node, &values, out.width);
                debug_assert_eq!(out.data.len(), out.width * out.lengths.iter().sum::<usize>(), "`{}`", node.name);
            }
            values.push(out);
        }
        values
    }

    fn param(&self, param: Param) -> &[T] {
        self.params[param.index()]
    }

    fn optional(&self, param: Option<Param>) -> Option<&[T]> {
        param.map(|p| self.param(p))
    }

    /// The sizes of the image that goes into a node, and of the one that comes out.
    fn sides(&self, node: &Node) -> (Sides, Sides) {
        (Sides::of(self.graph.node(node.inputs[0]).kind), Sides::of(node.kind))
    }

    /// The numbers of node `i`'s value, whose rows have `width`.
    fn node(&self, i: usize, node: &Node, values: &[Values<T>], width: usize) -> Vec<T> {
        let input = |i: usize| &values[node.inputs[i].index()];
        match node.op {
            Op::Act(act) => input(0).data.iter().map(|&x| T::of(rows::activate(act, x.wide()))).collect(),
            Op::Add => input(0).data.iter().zip(&input(1).data).map(|(&a, &b)| a + b).collect(),
            Op::AddPositions { table } => sequences::add_positions(input(0), self.param(table)),
            Op::Attention { heads, mask } => attention::attention([input(0), input(1), input(2)], heads, mask),
            Op::AvgPool { size } => {
                let (from, to) = self.sides(node);
                images::avg_pool(input(0), from, to, size)
            }
            Op::BatchNorm { .. } => images::batch_norm(input(0), Sides::of(node.kind), self.norm(&node.op)),
            Op::Conv { weight, bias, .. } => {
                let (from, to) = self.sides(node);
                images::conv(input(0), from, to, self.param(weight), self.optional(bias), self.window(&node.op))
            }
            Op::Dropout { rate } => match self.seeds {
                Some(seeds) => sequences::dropout(&input(0).data, &sizes(input(0)), seeds, i, rate),
                None => input(0).data.clone(),
            },
            Op::DropTokens { keep } => match self.seeds {
                Some(seeds) => sequences::drop_tokens(input(0), seeds, i, keep),
                None => input(0).data.clone(),
            },
            Op::Embed { tokens, positions, first_position, types } => {
                let (tokens, positions) = (self.param(tokens), &self.param(positions)[first_position * width..]);
                let tables = Tables { tokens, positions, types: self.optional(types).unwrap_or_default() };
                sequences::embed(self.items.ids, width, &tables)
            }
            Op::Flatten => images::flatten(input(0), width),
            Op::Input if node.kind == Kind::Ids => self.items.ids.iter().flatten().map(|&id| T::of(id.into())).collect(),
            Op::Input => self.items.pixels.iter().map(|&x| T::of(x.into())).collect(),
            Op::L2Normalize => input(0).rows().flat_map(rows::l2_normalize).collect(),
            Op::LayerNorm { weight, bias, eps } => {
                let (weight, bias) = (self.param(weight), self.param(bias));
                input(0).rows().flat_map(|row| rows::layer_norm(row, weight, bias, eps)).collect()
            }
            Op::Linear { weight, bias } => rows::linear(input(0), width, self.param(weight), self.optional(bias)),
            Op::Pick(pick) => sequences::pick(input(0), self.items.ids, pick),
            Op::Prepend { token } => sequences::prepend(input(0), |_| self.param(token).to_vec()),
            Op::PrependMean => sequences::prepend(input(0), |rows| sequences::mean(rows, width)),
        }
    }

    fn norm(&self, op: &Op) -> Norm<'_, T> {
        let &Op::BatchNorm { weight, bias, mean, var, eps } = op else { unreachable!("of a batch norm") };
        Norm { weight: self.param(weight), bias: self.param(bias), mean: self.param(mean), var: self.param(var), eps }
    }

    fn window(&self, op: &Op) -> Window {
        let &Op::Conv { weight, stride, pad, .. } = op else { unreachable!("of a convolution") };
        Window { size: self.graph.param(weight).shape[3], stride, pad }
    }
}

/// Numbers of each item.
fn sizes<T>(x: &Values<T>) -> Vec<usize> {
    x.lengths.iter().map(|length| length * x.width).collect()
}
