//! `stack_qkv`: the dense layers that make queries, keys and values of the same rows become one product.
use hua_graph::Kind;

use crate::cpu::plan::{Plan, Work, columns};

/// Stacks the inputs of each attention that are dense layers of one value, which nobody else reads.
pub(crate) fn stack_qkv(plan: &mut Plan) {
    let uses = plan.uses();
    for i in 0..plan.steps.len() {
        if !matches!(plan.steps[i].work, Work::Attention { .. }) {
            continue;
        }
        let inputs = plan.steps[i].inputs.clone();
        let source = |from: usize| match plan.steps[from].work {
            Work::Linear(_) if uses[from] == 1 => Some(plan.steps[from].inputs[0]),
            _ => None,
        };
        // Keys and values always have the same rows; the queries may be fewer.
        let Some(of) = source(inputs[1]) else { continue };
        let stacked: Vec<usize> = (0..3).filter(|&j| source(inputs[j]) == Some(of)).collect();
        let Some(&last) = stacked.iter().map(|&j| &inputs[j]).max().filter(|_| stacked.len() > 1) else { continue };
        let (mut parts, mut width, mut begins) = (vec![], 0, [0; 3]);
        for &j in &stacked {
            begins[j] = width;
            width += columns(plan.steps[inputs[j]].kind);
            if let Work::Linear(part) = &plan.steps[inputs[j]].work {
                parts.extend(part);
            }
        }
        plan.steps[last].work = Work::Linear(parts);
        plan.steps[last].kind = Kind::Seq { width };
        stacked.iter().for_each(|&j| plan.steps[i].inputs[j] = last);
        if let Work::Attention { columns, .. } = &mut plan.steps[i].work {
            *columns = begins;
        }
    }
    plan.prune();
}
