//! `fuse_epilogues`: activations and sums after a product happen while its numbers are in the cache. `fuse_residuals`: sums alone, for training,
//! which keeps what an activation was given.
use crate::cpu::plan::{Plan, Work};

/// Moves each activation and each sum into the product before it, if nobody else reads that product.
pub(crate) fn fuse_epilogues(plan: &mut Plan) {
    fuse(plan, true);
}

/// Moves each sum into the product before it, if nobody else reads that product.
pub(crate) fn fuse_residuals(plan: &mut Plan) {
    fuse(plan, false);
}

fn fuse(plan: &mut Plan, activations: bool) {
    let uses = plan.uses();
    for i in 0..plan.steps.len() {
        let is_product = |from: usize| uses[from] == 1 && matches!(plan.steps[from].work, Work::Conv { .. } | Work::Linear(_));
        let inputs = plan.steps[i].inputs.clone();
        let fused = |from: usize| plan.steps[from].fused;
        let (from, fused) = match (&plan.steps[i].work, &inputs[..]) {
            (&Work::Act(act), &[from]) if activations && is_product(from) && fused(from).last.is_none() => {
                let mut fused = fused(from);
                match (fused.residual, fused.act) {
                    (true, _) => fused.last = Some(act),
                    (false, None) => fused.act = Some(act),
                    (false, Some(_)) => continue,
                }
                (from, fused)
            }
            (Work::Add, &[a, b]) => {
                let open = |&from: &usize| is_product(from) && !fused(from).residual;
                let Some(from) = [b, a].into_iter().find(open) else { continue };
                let mut fused = fused(from);
                fused.residual = true;
                (from, fused)
            }
            _ => continue,
        };
        let other = inputs.into_iter().filter(|&j| j != from);
        plan.steps[i].inputs = plan.steps[from].inputs.iter().copied().chain(other).collect();
        plan.steps[i].work = plan.steps[from].work.clone();
        plan.steps[i].fused = fused;
    }
    plan.prune();
}
