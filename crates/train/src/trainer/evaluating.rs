//! When the held-out set is evaluated, with which parameters, and what is best.
use std::time::Instant;

use super::{Task, Trainer};
use crate::Result;
use crate::checkpoint::Best;
use crate::observe::Event;

impl<T: Task> Trainer<T> {
    /// Whether the recipe asks for an evaluation at this step that was not made yet.
    pub(super) fn evaluation_is_due(&self) -> bool {
        let (section, step) = (&self.recipe.eval, self.state.step);
        let every = match section.every_steps {
            0 => section.every_epochs * self.task.steps_per_epoch(),
            steps => steps,
        };
        let due = match step {
            0 => section.at_start,
            _ if every == 0 => false,
            _ => step.is_multiple_of(every) || step >= self.schedule.total,
        };
        due && self.task.has_held_out() && self.state.evaluated_at != Some(step)
    }

    /// Evaluates, with the moving average of the parameters where there is one, and keeps the best.
    pub(super) fn evaluate(&mut self) -> Result<()> {
        let began = Instant::now();
        let evaluation = self.with_average(|this| this.task.evaluate())?;
        let (step, headline) = (self.state.step, evaluation.headline);
        // A headline that is no number is never the best.
        let best = match self.state.best {
            Some(best) => headline > best.headline + self.recipe.eval.least_gain,
            None => !headline.is_nan(),
        };
        self.state.evaluated_at = Some(step);
        self.saved.0 = None;
        if best {
            self.state.best = Some(Best { headline, step });
            self.state.worse = 0;
        } else {
            self.state.worse = self.state.worse.saturating_add(1);
        }
        let (metrics, examples, took) = (evaluation.metrics, evaluation.examples, began.elapsed());
        self.observer.on(&Event::Evaluated { step, metrics, headline, best, examples, took });
        if best && self.recipe.checkpoint.best {
            self.save_best()?;
        }
        Ok(())
    }

    /// Does `what` with the moving average in the parameters' place, where there is one.
    pub(super) fn with_average<R>(&mut self, what: impl FnOnce(&mut Self) -> Result<R>) -> Result<R> {
        if self.average.is_none() {
            return what(self);
        }
        self.swap_average()?;
        let result = what(self);
        self.swap_average()?;
        result
    }

    fn swap_average(&mut self) -> Result<()> {
        if let Some(average) = &mut self.average {
            average.swap(self.task.params_mut());
            self.task.params_changed()?;
        }
        Ok(())
    }
}
