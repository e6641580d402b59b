//! `fold_batch_norm`: a batch norm after a convolution becomes part of its weights.
use crate::cpu::plan::{Plan, Work};

/// Folds each batch norm whose convolution nobody else reads. Runs before outputs are chosen, so that weights are folded once.
pub(crate) fn fold_batch_norm(plan: &mut Plan) {
    let uses = plan.uses();
    for i in 0..plan.steps.len() {
        let (Work::BatchNorm(norm), [from]) = (&plan.steps[i].work, &plan.steps[i].inputs[..]) else { continue };
        let (norm, conv) = (*norm, &plan.steps[*from]);
        if let Work::Conv { weight, bias, norm: None, window } = conv.work
            && uses[*from] == 1
        {
            plan.steps[i].inputs = conv.inputs.clone();
            plan.steps[i].work = Work::Conv { weight, bias, norm: Some(norm), window };
        }
    }
    plan.prune();
}
