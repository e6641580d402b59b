//! `narrow_to_picked`: what only a picked row needs is computed for that row only.
//!
//! Behind the last attention every step works row by row, and of its rows one is picked: so the pick moves up, through these
//! steps and to the queries of the attention. Of the last layer, only keys and values are left of the whole sequence.
use hua_graph::Pick;

use crate::cpu::plan::{Plan, Step, Work};
use crate::shapes::Length;

/// Moves every pick of a row up as far as it goes.
pub(crate) fn narrow_to_picked(plan: &mut Plan) {
    let narrow = picked(plan);
    let mut steps: Vec<Step> = vec![];
    // Where each old step's value is now; and its picked rows, if it has all.
    let mut place = vec![];
    let mut rows: Vec<(usize, Pick, usize)> = vec![];
    for (i, step) in plan.steps.iter().enumerate() {
        let mut step = step.clone();
        if let Some(pick) = narrow[i] {
            let all = usize::from(matches!(step.work, Work::Attention { .. }));
            for (nth, input) in step.inputs.iter_mut().enumerate() {
                *input = match narrow[*input] {
                    // The keys and values of an attention stay whole.
                    _ if all == 1 && nth > 0 => place[*input],
                    Some(_) => place[*input],
                    None => match rows.iter().find(|(of, by, _)| (of, by) == (&*input, &pick)) {
                        Some(&(.., at)) => at,
                        None => {
                            rows.push((*input, pick, steps.len()));
                            let (work, inputs) = (Work::Pick(pick), vec![place[*input]]);
                            steps.push(Step { work, inputs, length: Length::ONE, ..plan.steps[*input].clone() });
                            steps.len() - 1
                        }
                    },
                };
            }
            step.length = Length::ONE;
            if let Work::Attention { picked, .. } | Work::Dropout { picked, .. } = &mut step.work {
                *picked = Some(pick);
            }
        } else if matches!(step.work, Work::Pick(_)) && narrow[step.inputs[0]].is_some() {
            place.push(place[step.inputs[0]]);
            continue;
        } else {
            step.inputs.iter_mut().for_each(|input| *input = place[*input]);
        }
        steps.push(step);
        place.push(steps.len() - 1);
    }
    plan.outputs.iter_mut().for_each(|i| *i = place[*i]);
    plan.steps = steps;
    plan.prune();
}

/// The pick that each step's value is only needed for.
fn picked(plan: &Plan) -> Vec<Option<Pick>> {
    let mut narrow = vec![None; plan.steps.len()];
    for i in (0..plan.steps.len()).rev() {
        let by_row = matches!(
            plan.steps[i].work,
            Work::Act(_)
                | Work::Add
                | Work::Attention { .. }
                | Work::Dropout { .. }
                | Work::L2Normalize
                | Work::LayerNorm { .. }
                | Work::Linear(_)
        );
        if !by_row || plan.outputs.contains(&i) || plan.steps[i].length == Length::ONE {
            continue;
        }
        let users = || plan.steps.iter().enumerate().skip(i + 1).filter(|(_, s)| s.inputs.contains(&i));
        let wanted = |(j, user): (usize, &Step)| match user.work {
            Work::Pick(pick) if pick != Pick::Mean => Some(pick),
            Work::Attention { .. } if user.inputs[1..].contains(&i) => None,
            _ => narrow[j],
        };
        let mut all = users().map(wanted);
        let first = all.next().flatten();
        narrow[i] = first.filter(|_| all.all(|pick| pick == first));
    }
    narrow
}
