//! The definition of every operation: one plain loop nest each, sums in f64, results stored as f32.
//!
//! Slow on purpose. Where another executor differs by more than its table of tolerances allows, the other executor is wrong.
use hua_graph::{Act, Graph, Kind, Mask, Node, Op, Param, Pick, Value, Weights};

use crate::shapes::{Items, Shapes, find_outputs, pixels, width};
use crate::{Batch, Device, ExecError, Program, Rows};

/// The executor that defines what each operation means.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference;

impl Device for Reference {
    fn load(&self, graph: &Graph, weights: &Weights) -> Result<Box<dyn Program>, ExecError> {
        let shapes = Shapes::of(graph)?;
        Ok(Box::new(ReferenceProgram { graph: graph.clone(), weights: weights.clone(), shapes }))
    }
}

impl crate::Trainable for Reference {
    fn load_training(
        &self,
        graph: &Graph,
        params: &[&[f32]],
        options: &crate::TrainingOptions,
    ) -> Result<Box<dyn crate::Training>, ExecError> {
        options.check(graph, params)?;
        Shapes::in_training(graph)?;
        Err(crate::shapes::unsupported("training".into()))
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
        let mut values: Vec<Rows> = vec![];
        for (i, node) in self.graph.nodes().iter().enumerate() {
            let lengths = (0..items.count).map(|item| self.shapes.lengths[i].rows(items.length(item))).collect();
            let mut out = Rows { width: width(node.kind), lengths, data: vec![] };
            if needed[i] {
                let run = Run { program: self, values: &values, items: &items, node };
                out.data = run.node(&out)?;
                debug_assert_eq!(out.data.len(), out.width * out.lengths.iter().sum::<usize>(), "`{}`", node.name);
            }
            values.push(out);
        }
        Ok(outputs.iter().map(|v| values[v.index()].clone()).collect())
    }
}

/// One node's turn.
struct Run<'a> {
    program: &'a ReferenceProgram,
    values: &'a [Rows],
    items: &'a Items<'a>,
    node: &'a Node,
}

impl Run<'_> {
    fn input(&self, i: usize) -> &Rows {
        &self.values[self.node.inputs[i].index()]
    }

    fn kind(&self, value: Value) -> Kind {
        self.program.graph.node(value).kind
    }

    fn param(&self, param: Param) -> Result<Vec<f32>, ExecError> {
        Ok(self.program.weights.tensor(param).to_f32()?.into_owned())
    }

    fn optional(&self, param: Option<Param>) -> Result<Option<Vec<f32>>, ExecError> {
        param.map(|p| self.param(p)).transpose()
    }

    /// The numbers of the node's value; `out` has its width and lengths.
    fn node(&self, out: &Rows) -> Result<Vec<f32>, ExecError> {
        Ok(match self.node.op {
            Op::Act(act) => self.input(0).data.iter().map(|&x| activate(act, x)).collect(),
            Op::Add => self.input(0).data.iter().zip(&self.input(1).data).map(|(a, b)| a + b).collect(),
            Op::AddPositions { table } => self.add_positions(&self.param(table)?),
            Op::Attention { heads, mask } => self.attention(heads, mask),
            Op::AvgPool { size } => self.avg_pool(size),
            Op::BatchNorm { weight, bias, mean, var, eps } => {
                let (weight, bias, mean, var) = (self.param(weight)?, self.param(bias)?, self.param(mean)?, self.param(var)?);
                let norm = |(i, &x): (usize, &f32)| {
                    let c = i / pixels(self.node.kind) % weight.len();
                    let scale = f64::from(weight[c]) / (f64::from(var[c]) + f64::from(eps)).sqrt();
                    ((f64::from(x) - f64::from(mean[c])) * scale + f64::from(bias[c])) as f32
                };
                self.input(0).data.iter().enumerate().map(norm).collect()
            }
            Op::Conv { weight, bias, stride, pad } => {
                let size = self.program.graph.param(weight).shape[3];
                self.conv(&self.param(weight)?, self.optional(bias)?.as_deref(), [size, stride, pad])
            }
            Op::Dropout { .. } | Op::DropTokens { .. } => self.input(0).data.clone(),
            Op::Embed { tokens, positions, first_position, types } => {
                let (tokens, positions, types) = (self.param(tokens)?, self.param(positions)?, self.optional(types)?);
                self.embed(out.width, &tokens, &positions[first_position * out.width..], types.as_deref())
            }
            Op::Flatten => self.flatten(out.width),
            Op::Input if self.node.kind == Kind::Ids => self.items.ids.iter().flatten().map(|&id| id as f32).collect(),
            Op::Input => self.items.pixels.to_vec(),
            Op::L2Normalize => self.input(0).iter().flat_map(l2_normalize).collect(),
            Op::LayerNorm { weight, bias, eps } => {
                let (weight, bias) = (self.param(weight)?, self.param(bias)?);
                self.input(0).iter().flat_map(|row| layer_norm(row, &weight, &bias, eps)).collect()
            }
            Op::Linear { weight, bias } => self.linear(out.width, &self.param(weight)?, self.optional(bias)?.as_deref()),
            Op::Pick(pick) => self.pick(pick),
            Op::Prepend { token } => {
                let token = self.param(token)?;
                sequences(self.input(0)).flat_map(|rows| [&token[..], rows].concat()).collect()
            }
            Op::PrependMean => sequences(self.input(0)).flat_map(|rows| [&mean(rows, out.width)[..], rows].concat()).collect(),
        })
    }

    /// `[rows, width]` and `table` `[positions, width]`: row i of every sequence gets row i of the table.
    fn add_positions(&self, table: &[f32]) -> Vec<f32> {
        sequences(self.input(0)).flat_map(|rows| rows.iter().zip(table).map(|(x, t)| x + t)).collect()
    }

    /// Inputs q, k, v `[rows, width]`; returns `[rows, width]`. Head h has the columns from `h · width / heads`.
    fn attention(&self, heads: usize, mask: Mask) -> Vec<f32> {
        let (q, k, v) = (self.input(0), self.input(1), self.input(2));
        let (width, size) = (q.width, q.width / heads);
        let scale = 1.0 / (size as f64).sqrt();
        let mut out = vec![0.0; q.data.len()];
        let mut start = 0;
        for &length in &q.lengths {
            let row = |of: &'_ Rows, i: usize, head: usize| (start + i) * of.width + head * size;
            for head in 0..heads {
                for i in 0..length {
                    let seen = if mask == Mask::Causal { i + 1 } else { length };
                    let scores = (0..seen).map(|j| scale * dot(&q.data[row(q, i, head)..][..size], &k.data[row(k, j, head)..][..size]));
                    let weights = softmax(scores.collect());
                    for d in 0..size {
                        let sum: f64 = (0..seen).map(|j| weights[j] * f64::from(v.data[row(v, j, head) + d])).sum();
                        out[(start + i) * width + head * size + d] = sum as f32;
                    }
                }
            }
            start += length;
        }
        out
    }

    /// `[channels, height, width]` to `[channels, height / size, width / size]`.
    fn avg_pool(&self, size: usize) -> Vec<f32> {
        let (Kind::Image { height: from_height, width: from_width, .. }, Kind::Image { channels, height, width }) =
            (self.kind(self.node.inputs[0]), self.node.kind)
        else {
            unreachable!("the builder gives pooling an image")
        };
        let mut out = vec![];
        for image in self.input(0).iter() {
            for c in 0..channels {
                for y in 0..height {
                    for x in 0..width {
                        let at = |i: usize| image[(c * from_height + y * size + i / size) * from_width + x * size + i % size];
                        out.push(((0..size * size).map(|i| f64::from(at(i))).sum::<f64>() / (size * size) as f64) as f32);
                    }
                }
            }
        }
        out
    }

    /// Input `[channels, height, width]`, `weight` `[out, channels, size, size]`; returns `[out, height, width]` of the windows.
    fn conv(&self, weight: &[f32], bias: Option<&[f32]>, [size, stride, pad]: [usize; 3]) -> Vec<f32> {
        let (Kind::Image { channels, height, width }, Kind::Image { channels: to, height: to_height, width: to_width }) =
            (self.kind(self.node.inputs[0]), self.node.kind)
        else {
            unreachable!("the builder gives a convolution an image")
        };
        let mut out = vec![];
        for image in self.input(0).iter() {
            let at = |c: usize, y: usize, x: usize| {
                let (y, x) = (y.checked_sub(pad).filter(|&y| y < height), x.checked_sub(pad).filter(|&x| x < width));
                y.zip(x).map_or(0.0, |(y, x)| f64::from(image[(c * height + y) * width + x]))
            };
            for o in 0..to {
                for y in 0..to_height {
                    for x in 0..to_width {
                        let mut sum = bias.map_or(0.0, |b| f64::from(b[o]));
                        for c in 0..channels {
                            for i in 0..size {
                                for j in 0..size {
                                    let w = weight[((o * channels + c) * size + i) * size + j];
                                    sum += f64::from(w) * at(c, y * stride + i, x * stride + j);
                                }
                            }
                        }
                        out.push(sum as f32);
                    }
                }
            }
        }
        out
    }

    /// Ids to `[rows, width]`. `tokens` is `[vocabulary, width]`; `positions` `[positions, width]` starts at the first token's row; of
    /// `types` `[types, width]` the first row is added.
    fn embed(&self, width: usize, tokens: &[f32], positions: &[f32], types: Option<&[f32]>) -> Vec<f32> {
        let mut out = vec![];
        for ids in self.items.ids {
            for (i, &id) in ids.iter().enumerate() {
                let sum = |d| tokens[id as usize * width + d] + positions[i * width + d] + types.map_or(0.0, |t| t[d]);
                out.extend((0..width).map(sum));
            }
        }
        out
    }

    /// `[channels, height, width]` to `[pixels, channels]`.
    fn flatten(&self, channels: usize) -> Vec<f32> {
        let mut out = vec![];
        for image in self.input(0).iter() {
            let pixels = image.len() / channels;
            out.extend((0..image.len()).map(|i| image[i % channels * pixels + i / channels]));
        }
        out
    }

    /// Input `[rows, inner]`, `weight` `[out, inner]`; returns `[rows, out]`.
    fn linear(&self, out: usize, weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        let x = self.input(0);
        let one = |row: &[f32], o: usize| (dot(row, &weight[o * x.width..][..x.width]) + bias.map_or(0.0, |b| f64::from(b[o]))) as f32;
        x.iter().flat_map(|row| (0..out).map(move |o| one(row, o))).collect()
    }

    /// The sequences of `[rows, width]` to one row each: `[items, width]`.
    fn pick(&self, pick: Pick) -> Vec<f32> {
        let x = self.input(0);
        let mut out = vec![];
        for (item, rows) in sequences(x).enumerate() {
            match picked_row(pick, self.items.ids.get(item).map_or(&[], |ids| ids)) {
                Some(row) => out.extend(&rows[row * x.width..][..x.width]),
                None => out.extend(mean(rows, x.width)),
            }
        }
        out
    }
}

/// The row that stands for a sequence with these ids; none for the mean.
pub(crate) fn picked_row(pick: Pick, ids: &[u32]) -> Option<usize> {
    match pick {
        Pick::First => Some(0),
        Pick::FirstId(wanted) => Some(ids.iter().position(|&id| id == wanted).unwrap_or(0)),
        Pick::HighestId => Some((0..ids.len()).rev().max_by_key(|&i| ids[i]).unwrap_or(0)),
        Pick::Mean => None,
    }
}

/// The rows of each item, together.
fn sequences(x: &Rows) -> impl Iterator<Item = &[f32]> {
    let mut rest = &x.data[..];
    x.lengths.iter().map(move |&length| {
        let (item, after) = rest.split_at(length * x.width);
        rest = after;
        item
    })
}

fn activate(act: Act, x: f32) -> f32 {
    let x = f64::from(x);
    (match act {
        Act::Gelu => 0.5 * x * (1.0 + libm::erf(x / std::f64::consts::SQRT_2)),
        Act::GeluTanh => 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).tanh()),
        Act::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
        // Not `max`: a NaN stays one.
        Act::Relu if x < 0.0 => 0.0,
        Act::Relu => x,
        Act::Tanh => x.tanh(),
    }) as f32
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// A row, divided by its length.
fn l2_normalize(row: &[f32]) -> Vec<f32> {
    let length = dot(row, row).sqrt();
    row.iter().map(|&x| (f64::from(x) / length) as f32).collect()
}

/// A row `[width]` with mean 0 and variance 1, times `weight`, plus `bias`, both `[width]`.
fn layer_norm(row: &[f32], weight: &[f32], bias: &[f32], eps: f32) -> Vec<f32> {
    let n = row.len() as f64;
    let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let var = row.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n;
    let scale = 1.0 / (var + f64::from(eps)).sqrt();
    let norm = |((&x, &w), &b): ((&f32, &f32), &f32)| ((f64::from(x) - mean) * scale * f64::from(w) + f64::from(b)) as f32;
    row.iter().zip(weight).zip(bias).map(norm).collect()
}

/// `[rows, width]` to the mean of the rows.
fn mean(rows: &[f32], width: usize) -> Vec<f32> {
    let n = (rows.len() / width) as f64;
    (0..width).map(|d| (rows.chunks_exact(width).map(|row| f64::from(row[d])).sum::<f64>() / n) as f32).collect()
}

fn softmax(mut scores: Vec<f64>) -> Vec<f64> {
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    scores.iter_mut().for_each(|s| *s = (*s - most).exp());
    let sum: f64 = scores.iter().sum();
    scores.iter_mut().for_each(|s| *s /= sum);
    scores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_take_the_first_of_equals() {
        assert_eq!(picked_row(Pick::First, &[5, 9]), Some(0));
        assert_eq!(picked_row(Pick::FirstId(9), &[5, 9, 9]), Some(1));
        assert_eq!(picked_row(Pick::FirstId(7), &[5, 9, 9]), Some(0));
        assert_eq!(picked_row(Pick::HighestId, &[5, 9, 9, 1]), Some(1));
        assert_eq!(picked_row(Pick::Mean, &[5]), None);
    }

    #[test]
    fn activations_have_their_textbook_values() {
        let near = |found: f32, wanted: f32| assert!((found - wanted).abs() < 5e-7, "{found} for {wanted}");
        near(activate(Act::Gelu, 1.0), 0.841_344_8);
        near(activate(Act::GeluTanh, 1.0), 0.841_192);
        near(activate(Act::QuickGelu, 1.0), 0.845_795_8);
        near(activate(Act::Relu, -1.0), 0.0);
        near(activate(Act::Tanh, 0.5), 0.462_117_16);
        assert!(activate(Act::Relu, f32::NAN).is_nan());
    }
}
