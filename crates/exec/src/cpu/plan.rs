//! What a program does, step by step: the graph's nodes, which passes then rewrite.
//!
//! A step's value is rows of numbers of each item: those of a sequence, the one of a vector, the pixels of an image.
use std::fmt;

use hua_graph::{Act, Graph, Kind, Mask, Op, Param, Pick, Value};
use hua_kernels::Activation;

use crate::shapes::{Length, Shapes};

/// The steps, each after those it works on, and those whose values are wanted.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) outputs: Vec<usize>,
    /// Whether all that read the input image are convolutions, which take it channel by channel as it was given.
    pub(crate) image_as_given: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) work: Work,
    /// Steps before it.
    pub(crate) inputs: Vec<usize>,
    pub(crate) kind: Kind,
    /// Of a sequence: how many rows.
    pub(crate) length: Length,
    pub(crate) fused: Fused,
    /// The node that it comes from.
    pub(crate) node: usize,
}

/// What is done to each number of a product while it is in the cache, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Fused {
    pub(crate) act: Option<Act>,
    /// Whether the step's last input is added.
    pub(crate) residual: bool,
    pub(crate) last: Option<Act>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Work {
    Act(Act),
    Add,
    AddPositions {
        table: Param,
    },
    /// `columns`: where queries, keys and values begin in the rows of their steps. `picked`: the one query of an item, if not all.
    Attention {
        heads: usize,
        size: usize,
        mask: Mask,
        columns: [usize; 3],
        picked: Option<Pick>,
    },
    AvgPool {
        size: usize,
    },
    BatchNorm(Norm),
    Conv {
        weight: Param,
        bias: Option<Param>,
        norm: Option<Norm>,
        window: Window,
    },
    /// In training. `picked`: the one row of an item, if not all.
    Dropout {
        rate: f32,
        picked: Option<Pick>,
    },
    /// In training.
    DropTokens {
        keep: f32,
    },
    Embed {
        tokens: Param,
        positions: Param,
        first_position: usize,
        types: Option<Param>,
    },
    /// Rows of pixels as they are.
    Flatten,
    Input,
    L2Normalize,
    LayerNorm {
        weight: Param,
        bias: Param,
        eps: f32,
    },
    /// Weights and biases whose results lie side by side.
    Linear(Vec<(Param, Option<Param>)>),
    Pick(Pick),
    Prepend {
        token: Param,
    },
    PrependMean,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Norm {
    pub(crate) weight: Param,
    pub(crate) bias: Param,
    pub(crate) mean: Param,
    pub(crate) var: Param,
    pub(crate) eps: f32,
}

/// The windows of a convolution, in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Window {
    pub(crate) size: usize,
    pub(crate) stride: usize,
    pub(crate) pad: usize,
    /// Whether the image lies channel by channel, not pixel by pixel; the weights' columns are in the same order.
    pub(crate) channels_first: bool,
}

impl Window {
    /// Whether its windows are the rows of pixels themselves.
    pub(crate) fn is_pixel(self) -> bool {
        self.size == 1 && self.stride == 1 && self.pad == 0 && !self.channels_first
    }
}

impl Plan {
    /// A step for each node that does something in use; all outputs of the graph.
    pub(crate) fn lower(graph: &Graph, shapes: &Shapes) -> Self {
        Self::lowered(graph, shapes, false)
    }

    /// A step for each node; all outputs of the graph. `shapes` are those in training.
    pub(crate) fn lower_for_training(graph: &Graph, shapes: &Shapes) -> Self {
        Self::lowered(graph, shapes, true)
    }

    fn lowered(graph: &Graph, shapes: &Shapes, training: bool) -> Self {
        let is_input = |v: &Value| graph.node(*v).op == Op::Input;
        let image_as_given =
            graph.nodes().iter().all(|n| matches!(n.op, Op::Conv { .. }) || !n.inputs.iter().any(is_input)) && shapes.input != Kind::Ids;
        let mut steps: Vec<Step> = vec![];
        // The step that gives each node's value: those for training have none of their own.
        let mut place: Vec<usize> = vec![];
        for (i, node) in graph.nodes().iter().enumerate() {
            let mut inputs: Vec<usize> = node.inputs.iter().map(|v| place[v.index()]).collect();
            if node.op.is_for_training() && !training {
                place.push(inputs[0]);
                continue;
            }
            place.push(steps.len());
            let work = match node.op {
                Op::Act(act) => Work::Act(act),
                Op::Add => Work::Add,
                Op::AddPositions { table } => Work::AddPositions { table },
                Op::Attention { heads, mask } => {
                    Work::Attention { heads, size: columns(node.kind) / heads, mask, columns: [0; 3], picked: None }
                }
                Op::AvgPool { size } => Work::AvgPool { size },
                Op::BatchNorm { weight, bias, mean, var, eps } => Work::BatchNorm(Norm { weight, bias, mean, var, eps }),
                Op::Conv { weight, bias, stride, pad } => {
                    let channels_first = image_as_given && is_input(&node.inputs[0]);
                    let window = Window { size: graph.param(weight).shape[3], stride, pad, channels_first };
                    Work::Conv { weight, bias, norm: None, window }
                }
                Op::Dropout { rate } => Work::Dropout { rate, picked: None },
                Op::DropTokens { keep } => Work::DropTokens { keep },
                Op::Embed { tokens, positions, first_position, types } => Work::Embed { tokens, positions, first_position, types },
                Op::Flatten => Work::Flatten,
                Op::Input => Work::Input,
                Op::L2Normalize => Work::L2Normalize,
                Op::LayerNorm { weight, bias, eps } => Work::LayerNorm { weight, bias, eps },
                Op::Linear { weight, bias } => Work::Linear(vec![(weight, bias)]),
                Op::Pick(pick) => {
                    // The ids are those of the batch.
                    inputs.truncate(1);
                    Work::Pick(pick)
                }
                Op::Prepend { token } => Work::Prepend { token },
                Op::PrependMean => Work::PrependMean,
            };
            let (name, kind, length) = (node.name.clone(), node.kind, shapes.lengths[i]);
            steps.push(Step { name, work, inputs, kind, length, fused: Fused::default(), node: i });
        }
        let outputs = graph.outputs().iter().map(|o| place[o.value.index()]).collect();
        Self { steps, outputs, image_as_given }
    }

    /// The plan for some of the outputs.
    pub(crate) fn only(&self, outputs: &[Value]) -> Self {
        let step = |v: &Value| self.steps.iter().position(|s| s.node == v.index()).expect("passes before this keep all outputs");
        let mut plan = Self { outputs: outputs.iter().map(step).collect(), ..self.clone() };
        plan.prune();
        plan
    }

    /// How often each step's value is used; an output is a use.
    pub(crate) fn uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.steps.len()];
        for &i in self.steps.iter().flat_map(|s| &s.inputs).chain(&self.outputs) {
            uses[i] += 1;
        }
        uses
    }

    /// Drops the steps that no output needs.
    pub(crate) fn prune(&mut self) {
        let mut needed = vec![false; self.steps.len()];
        self.outputs.iter().for_each(|&i| needed[i] = true);
        for i in (0..self.steps.len()).rev() {
            if needed[i] {
                self.steps[i].inputs.iter().for_each(|&j| needed[j] = true);
            }
        }
        let mut place = vec![usize::MAX; needed.len()];
        let mut kept = vec![];
        for (i, mut step) in std::mem::take(&mut self.steps).into_iter().enumerate().filter(|&(i, _)| needed[i]) {
            place[i] = kept.len();
            step.inputs.iter_mut().for_each(|j| *j = place[*j]);
            kept.push(step);
        }
        self.steps = kept;
        self.outputs.iter_mut().for_each(|i| *i = place[*i]);
    }
}

/// Numbers of a row: of a pixel, for an image.
pub(crate) fn columns(kind: Kind) -> usize {
    match kind {
        Kind::Ids => 1,
        Kind::Image { channels, .. } => channels,
        Kind::Seq { width } | Kind::Vector { width } => width,
    }
}

/// The kernels' name for an activation.
pub(crate) fn activation(act: Act) -> Activation {
    match act {
        Act::Gelu => Activation::Gelu,
        Act::GeluTanh => Activation::GeluTanh,
        Act::QuickGelu => Activation::QuickGelu,
        Act::Relu => Activation::Relu,
        Act::Tanh => Activation::Tanh,
    }
}

/// A line a step, for snapshots.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.steps.iter().enumerate() {
            let work = match &step.work {
                Work::Act(act) => format!("{act:?}"),
                Work::Attention { picked: Some(pick), .. } => format!("Attention of {pick:?}"),
                Work::Conv { norm: Some(_), .. } => "Conv with norm".into(),
                Work::Linear(parts) if parts.len() > 1 => format!("Linear x {}", parts.len()),
                Work::Pick(pick) => format!("Pick {pick:?}"),
                other => format!("{other:?}").split([' ', '(']).next().unwrap_or_default().to_owned(),
            };
            let act = step.fused.act.map_or(String::new(), |act| format!(" + {act:?}"));
            let residual = if step.fused.residual { " + residual" } else { "" };
            let last = step.fused.last.map_or(String::new(), |act| format!(" + {act:?}"));
            let inputs = step.inputs.iter().map(|i| format!("%{i}")).collect::<Vec<_>>().join(", ");
            writeln!(f, "%{i:<3} {:<10} {work}{act}{residual}{last} ({inputs})", step.name)?;
        }
        Ok(())
    }
}
