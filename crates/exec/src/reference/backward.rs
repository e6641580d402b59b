//! Reverse mode over the graph (Linnainmaa 1970; Griewank and Walther, "Evaluating Derivatives", chapter 3): one arm an operation, the pair of
//! its arm in [`Pass::node`](super::Pass).
//!
//! Nodes run in reverse order. A node's gradient is complete when its turn comes, since all that use its value come after it; it is then added to
//! the gradients of its inputs and parameters. What no trained parameter needs is left out.
use hua_graph::{Graph, Node, Op, Param, Value};

use super::images::{self, Sides};
use super::number::{Values, add};
use super::sequences::Tables;
use super::{Pass, attention, rows, sequences, sizes};

/// Which nodes have a trained parameter, or are made of values that have one: those that a gradient has to reach.
pub(super) fn reached(graph: &Graph, trained: &[bool]) -> Vec<bool> {
    let mut reached: Vec<bool> = vec![];
    for node in graph.nodes() {
        let own = node.op.params().iter().any(|p| trained[p.index()]);
        reached.push(own || node.inputs.iter().any(|v| reached[v.index()]));
    }
    reached
}

/// The gradients of the trained parameters, of a loss whose gradient with respect to `output` is `d_output`; empty for the others. `values` are
/// those of the forward pass.
pub(super) fn gradients(
    pass: &Pass<'_, f64>,
    values: &[Values<f64>],
    trained: &[bool],
    output: Value,
    d_output: Vec<f64>,
) -> Vec<Vec<f64>> {
    let reached = reached(pass.graph, trained);
    let needed = pass.graph.needed(&[output]);
    let wanted: Vec<bool> = reached.iter().zip(needed).map(|(&reached, needed)| reached && needed).collect();
    let zeros = |wanted: bool, n: usize| vec![0.0; if wanted { n } else { 0 }];
    let mut backward = Backward {
        pass,
        values,
        d_values: wanted.iter().zip(values).map(|(&wanted, v)| zeros(wanted, v.data.len())).collect(),
        d_params: trained.iter().zip(&pass.params).map(|(&trained, p)| zeros(trained, p.len())).collect(),
    };
    if wanted[output.index()] {
        backward.d_values[output.index()] = d_output;
    }
    for (i, node) in pass.graph.nodes().iter().enumerate().rev().filter(|&(i, _)| wanted[i]) {
        let dy = std::mem::take(&mut backward.d_values[i]);
        backward.node(i, node, &dy);
    }
    backward.d_params
}

struct Backward<'a> {
    pass: &'a Pass<'a, f64>,
    values: &'a [Values<f64>],
    /// Empty where none is wanted.
    d_values: Vec<Vec<f64>>,
    d_params: Vec<Vec<f64>>,
}

/// A gradient that is added to; none if it is not wanted.
type Into<'a> = Option<&'a mut [f64]>;

impl Backward<'_> {
    /// Adds to the gradients of a value and of parameters.
    fn add<const N: usize>(&mut self, value: Value, params: [Option<Param>; N], f: impl FnOnce(Into<'_>, [Into<'_>; N])) {
        let mut dx = std::mem::take(&mut self.d_values[value.index()]);
        let mut dp = params.map(|p| p.map_or_else(Vec::new, |p| std::mem::take(&mut self.d_params[p.index()])));
        f(wanted(&mut dx), dp.each_mut().map(|d| wanted(d)));
        self.d_values[value.index()] = dx;
        for (param, d) in params.into_iter().zip(dp) {
            if let Some(param) = param {
                self.d_params[param.index()] = d;
            }
        }
    }

    /// Adds to the gradient of a value, if it is wanted.
    fn add_value(&mut self, value: Value, f: impl FnOnce(&mut [f64])) {
        self.add(value, [], |dx, []| dx.map_or((), f));
    }

    /// What node `i`, whose gradient is `dy`, gives to its inputs and parameters.
    fn node(&mut self, i: usize, node: &Node, dy: &[f64]) {
        let (pass, values) = (self.pass, self.values);
        let Some(&first) = node.inputs.first() else { return };
        let x = &values[first.index()];
        let width = values[i].width;
        match node.op {
            Op::Act(act) => self.add_value(first, |dx| {
                dx.iter_mut().zip(x.data.iter().zip(dy)).for_each(|(dx, (&x, dy))| *dx += dy * rows::slope(act, x));
            }),
            Op::Add => node.inputs.iter().for_each(|&v| self.add_value(v, |dx| add(dx, dy))),
            Op::AddPositions { table } => self.add(first, [Some(table)], |dx, [table]| {
                dx.into_iter().for_each(|dx| add(dx, dy));
                table.into_iter().for_each(|table| sequences::add_positions_backward(dy, &x.lengths, width, table));
            }),
            Op::Attention { heads, mask } => {
                let qkv = [0, 1, 2].map(|i| &values[node.inputs[i].index()]);
                let d = attention::attention_backward(qkv, heads, mask, dy);
                node.inputs.iter().zip(d).for_each(|(&v, d)| self.add_value(v, |dx| add(dx, &d)));
            }
            Op::AvgPool { size } => {
                let (from, to) = pass.sides(node);
                self.add_value(first, |dx| images::avg_pool_backward(dy, from, to, size, dx));
            }
            Op::BatchNorm { weight, bias, .. } => self.add(first, [Some(weight), Some(bias)], |dx, [weight, bias]| {
                images::batch_norm_backward(x, Sides::of(node.kind), pass.norm(&node.op), dy, [dx, weight, bias]);
            }),
            Op::Conv { weight, bias, .. } => self.add(first, [Some(weight), bias], |dx, [d_weight, d_bias]| {
                let window = pass.window(&node.op);
                images::conv_backward(x, pass.sides(node), pass.param(weight), window, dy, [dx, d_weight, d_bias]);
            }),
            Op::Dropout { rate } => self.add_value(first, |dx| match pass.seeds {
                Some(seeds) => add(dx, &sequences::dropout(dy, &sizes(x), seeds, i, rate)),
                None => add(dx, dy),
            }),
            Op::DropTokens { keep } => self.add_value(first, |dx| match pass.seeds {
                Some(seeds) => sequences::drop_tokens_backward(&x.lengths, width, (seeds, i), keep, dy, dx),
                None => add(dx, dy),
            }),
            Op::Embed { tokens, positions, first_position, types } => {
                self.add(first, [Some(tokens), Some(positions), types], |_, [tokens, positions, types]| {
                    let positions = positions.map(|d| &mut d[first_position * width..]);
                    sequences::embed_backward(pass.items.ids, width, dy, Tables { tokens, positions, types });
                });
            }
            Op::Flatten => {
                let from = Sides::of(pass.graph.node(first).kind);
                self.add_value(first, |dx| images::flatten_backward(dy, from, dx));
            }
            Op::Input => {}
            Op::L2Normalize => self.add_value(first, |dx| {
                for ((dx, x), dy) in dx.chunks_exact_mut(width).zip(x.rows()).zip(dy.chunks_exact(width)) {
                    rows::l2_normalize_backward(x, dy, dx);
                }
            }),
            Op::LayerNorm { weight, bias, eps } => {
                self.add(first, [Some(weight), Some(bias)], |mut dx, [mut d_weight, mut d_bias]| {
                    for (r, (x, dy)) in x.rows().zip(dy.chunks_exact(width)).enumerate() {
                        let dx = dx.as_deref_mut().map(|dx| &mut dx[r * width..][..width]);
                        let into = [dx, d_weight.as_deref_mut(), d_bias.as_deref_mut()];
                        rows::layer_norm_backward(x, pass.param(weight), eps, dy, into);
                    }
                });
            }
            Op::Linear { weight, bias } => self.add(first, [Some(weight), bias], |dx, [d_weight, d_bias]| {
                rows::linear_backward(x, width, pass.param(weight), dy, [dx, d_weight, d_bias]);
            }),
            Op::Pick(pick) => {
                self.add_value(first, |dx| sequences::pick_backward(&x.lengths, width, pass.items.ids, pick, dy, dx));
            }
            Op::Prepend { token } => {
                self.add(first, [Some(token)], |dx, [token]| sequences::prepend_backward(&x.lengths, width, dy, dx, token, false));
            }
            Op::PrependMean => {
                self.add(first, [], |dx, []| sequences::prepend_backward(&x.lengths, width, dy, dx, None, true));
            }
        }
    }
}

fn wanted(d: &mut [f64]) -> Into<'_> {
    Some(d).filter(|d| !d.is_empty())
}
