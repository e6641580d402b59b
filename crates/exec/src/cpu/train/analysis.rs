//! What training a plan means for each of its values: whether a gradient flows to it, whether it is kept for the backward pass, or made again.
//!
//! Kept is what a gradient is computed from: the input of each product whose weight is trained, of each norm and activation, queries, keys and
//! values. Where such a value is itself a norm, an activation or a dropout of a value that is kept, it is made again from that: it costs a
//! few cycles a number, and an MLP keeps half as much.
//!
//! With `recompute`, the steps of a tower's blocks keep nothing (Chen et al., arXiv 1604.06174): kept is what goes into a block from outside, and the
//! backward pass runs the block again before it goes through it.
use std::ops::Range;

use crate::cpu::plan::{Plan, Step, Work};

/// What is known of the values of a plan.
#[derive(Debug)]
pub(super) struct Analysis {
    /// Whether a gradient flows to it, since it depends on a trained parameter.
    pub(super) gradient: Vec<bool>,
    /// Whether the tape has it.
    pub(super) on_tape: Vec<bool>,
    /// Whether the backward pass reads it, once its block has run again.
    pub(super) kept: Vec<bool>,
    /// How often it is used; an output is a use.
    pub(super) uses: Vec<usize>,
    /// The step that uses it last in the forward pass; `usize::MAX` if it is an output.
    pub(super) last_use: Vec<usize>,
    /// The backward pass goes through these one after the other, from the last; those of a block that kept nothing run again before.
    pub(super) segments: Vec<Segment>,
}

/// Steps that follow one another.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) steps: Range<usize>,
    /// Whether they run again in the backward pass.
    pub(super) again: bool,
}

impl Analysis {
    pub(super) fn of(plan: &Plan, trained: &[bool], recompute: bool) -> Self {
        let count = plan.steps.len();
        let mut gradient = vec![false; count];
        for (i, step) in plan.steps.iter().enumerate() {
            let own = params(step).into_iter().any(|param| trained[param]);
            gradient[i] = own || step.inputs.iter().any(|&input| gradient[input]);
        }
        let mut last_use: Vec<usize> = (0..count).collect();
        for (i, step) in plan.steps.iter().enumerate() {
            step.inputs.iter().for_each(|&input| last_use[input] = i);
        }
        plan.outputs.iter().for_each(|&i| last_use[i] = usize::MAX);
        let mut segments = segments(plan, recompute);
        segments.iter_mut().for_each(|segment| segment.again &= segment.steps.clone().any(|i| gradient[i]));
        let mut segment_of = vec![0; count];
        for (s, segment) in segments.iter().enumerate() {
            segment_of[segment.steps.clone()].fill(s);
        }
        let mut analysis = Self { gradient, on_tape: vec![false; count], kept: vec![false; count], uses: plan.uses(), last_use, segments };
        for i in 0..count {
            let again = analysis.segments[segment_of[i]].again;
            // What goes into a block that runs again.
            for &input in plan.steps[i].inputs.iter().filter(|&&input| again && segment_of[input] != segment_of[i]) {
                (analysis.on_tape[input], analysis.kept[input]) = (true, true);
            }
            for input in analysis.read(plan, i, trained) {
                let mut value = input;
                while segment_of[value] == segment_of[i] && is_cheap(&plan.steps[value]) {
                    value = plan.steps[value].inputs[0];
                }
                analysis.kept[value] = true;
                analysis.on_tape[value] |= segment_of[value] != segment_of[i] || !again;
            }
        }
        analysis
    }

    /// Whether a step's gradient goes on to its first input.
    pub(super) fn goes_on(&self, plan: &Plan, step: usize) -> bool {
        plan.steps[step].inputs.first().is_some_and(|&input| self.gradient[input])
    }

    /// The values that the gradients of a step's inputs and parameters are computed from.
    fn read(&self, plan: &Plan, i: usize, trained: &[bool]) -> Vec<usize> {
        let step = &plan.steps[i];
        let flows = |nth: usize| self.gradient[step.inputs[nth]];
        let all: &[usize] = match &step.work {
            _ if !self.gradient[i] => &[],
            Work::Act(_) | Work::L2Normalize | Work::LayerNorm { .. } => &step.inputs[..1],
            Work::Attention { .. } if (0..3).any(flows) => &step.inputs[..3],
            Work::BatchNorm(norm) if trained[norm.weight.index()] => &step.inputs[..1],
            Work::Conv { weight, .. } if trained[weight.index()] => &step.inputs[..1],
            Work::Linear(parts) if parts.iter().any(|(weight, _)| trained[weight.index()]) => &step.inputs[..1],
            _ => &[],
        };
        all.to_vec()
    }
}

/// Whether a value is sooner made again than kept.
pub(super) fn is_cheap(step: &Step) -> bool {
    matches!(step.work, Work::Act(_) | Work::Dropout { .. } | Work::LayerNorm { .. })
}

/// The parameters that a step reads, as indices.
fn params(step: &Step) -> Vec<usize> {
    let all = match &step.work {
        Work::AddPositions { table } => vec![*table],
        Work::BatchNorm(norm) => vec![norm.weight, norm.bias],
        Work::Conv { weight, bias, .. } => std::iter::once(*weight).chain(*bias).collect(),
        Work::Embed { tokens, positions, types, .. } => [*tokens, *positions].into_iter().chain(*types).collect(),
        Work::LayerNorm { weight, bias, .. } => vec![*weight, *bias],
        Work::Linear(parts) => parts.iter().flat_map(|&(weight, bias)| std::iter::once(weight).chain(bias)).collect(),
        Work::Prepend { token } => vec![*token],
        _ => vec![],
    };
    all.into_iter().map(|param| param.index()).collect()
}

/// All steps as one segment; or each block of the tower as one that runs again. What is in no block runs once.
fn segments(plan: &Plan, recompute: bool) -> Vec<Segment> {
    let mut segments: Vec<Segment> = vec![];
    let mut last = None;
    for (i, step) in plan.steps.iter().enumerate() {
        let block = if recompute { block_of(&step.name) } else { None };
        match segments.last_mut() {
            Some(segment) if last == block => segment.steps.end = i + 1,
            _ => segments.push(Segment { steps: i..i + 1, again: block.is_some() }),
        }
        last = block;
    }
    segments
}

/// `blocks.3.mlp.up` is in `blocks.3`.
fn block_of(name: &str) -> Option<&str> {
    let mut end = 0;
    for part in name.split('.') {
        end += part.len();
        if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) {
            return Some(&name[..end]);
        }
        end += 1;
    }
    None
}
