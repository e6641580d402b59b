//! What a run was so far, as its report shows it: curves, evaluations, warnings by their number. Made from the lines of `metrics.jsonl`, so
//! that the report of a run that was resumed shows all of it.

use std::collections::BTreeMap;

use super::metrics::Line;
use crate::trainer::Finish;

/// Step and value, by step.
pub type Points = Vec<(u64, f64)>;

/// Warnings that are told apart; of more only the number is kept.
const WARNINGS: usize = 100;

/// All that is known of a run.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The recipe as it runs, TOML.
    pub recipe: String,
    /// Steps at the end.
    pub total_steps: u64,
    /// Numbers that are trained, and numbers of the model.
    pub trained: u64,
    /// Numbers of the model.
    pub parameters: u64,
    /// Steps taken.
    pub step: u64,
    /// Loss by step, without skipped ones.
    pub loss: Points,
    /// What it is made of, by name.
    pub parts: BTreeMap<String, Points>,
    /// Base learning rate.
    pub lr: Points,
    /// Norm of the gradients.
    pub grad_norm: Points,
    /// Items a second.
    pub rate: Points,
    /// Share of the time that a step waited for data, percent.
    pub waiting: Points,
    /// Seconds of steps, all together.
    pub seconds: f64,
    /// Items learnt from, all together.
    pub items: u64,
    /// Steps that were skipped, and what was not finite.
    pub skipped: Vec<(u64, String)>,
    /// By step.
    pub evaluations: Vec<Evaluated>,
    /// By what they say.
    pub warnings: BTreeMap<String, Warned>,
    /// Warnings beyond those that are told apart.
    pub more_warnings: u64,
    /// Why it ended, if it has.
    pub finished: Option<Finish>,
}

/// One evaluation.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// Steps taken.
    pub step: u64,
    /// What "best" means.
    pub headline: Option<f64>,
    /// Numbers by name.
    pub metrics: BTreeMap<String, f64>,
}

/// How often something was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warned {
    /// How often.
    pub times: u64,
    /// The step at which it was said first.
    pub first: u64,
    /// The step at which it was said last.
    pub last: u64,
}

impl History {
    /// Takes in what happened.
    pub fn add(&mut self, line: &Line) {
        match line {
            Line::Checkpoint { .. } => {}
            Line::Evaluated { step, headline, metrics, .. } => {
                let metrics = metrics.iter().filter_map(|(name, value)| Some((name.clone(), (*value)?))).collect();
                // An evaluation of the same step again (a run that goes on) replaces the one before.
                self.evaluations.retain(|other| other.step < *step);
                self.evaluations.push(Evaluated { step: *step, headline: *headline, metrics });
            }
            Line::Finished { why, .. } => self.finished = Some(*why),
            Line::Start { recipe, total_steps, trained, parameters, .. } => {
                self.recipe.clone_from(recipe);
                (self.total_steps, self.trained, self.parameters, self.finished) = (*total_steps, *trained, *parameters, None);
            }
            Line::Step { step, loss, parts, lr, grad_norm, items, seconds, data_wait, skipped } => {
                self.step = *step;
                self.seconds += seconds;
                self.items += *items as u64;
                self.lr.push((*step, *lr));
                if *seconds > 0.0 {
                    self.rate.push((*step, *items as f64 / seconds));
                    self.waiting.push((*step, 100.0 * data_wait / seconds));
                }
                if let Some(what) = skipped {
                    self.skipped.push((*step, what.clone()));
                    return;
                }
                self.loss.extend(loss.map(|loss| (*step, loss)));
                self.grad_norm.extend(grad_norm.map(|norm| (*step, norm)));
                for (name, value) in parts {
                    if let Some(value) = value {
                        self.parts.entry(name.clone()).or_default().push((*step, *value));
                    }
                }
            }
            Line::Warning { step, message } => {
                if self.warnings.len() >= WARNINGS && !self.warnings.contains_key(message) {
                    self.more_warnings += 1;
                    return;
                }
                let warned = self.warnings.entry(message.clone()).or_insert(Warned { times: 0, first: *step, last: *step });
                (warned.times, warned.last) = (warned.times + 1, *step);
            }
        }
    }

    /// The evaluation with the greatest headline, the earliest of equals.
    pub fn best(&self) -> Option<&Evaluated> {
        let better = |best: &&Evaluated, other: &&Evaluated| other.headline > best.headline;
        self.evaluations.iter().reduce(|best, other| if better(&best, &other) { other } else { best })
    }
}
