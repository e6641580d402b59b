//! When checkpoints are written, and of which parameters.
use std::time::Instant;

use super::{Task, Trainer};
use crate::Result;
use crate::checkpoint::{BEST, Contents, LAST, write};
use crate::observe::Event;

impl<T: Task> Trainer<T> {
    /// Whether the recipe asks for one between these two steps.
    pub(super) fn checkpoint_is_due(&self) -> bool {
        let (section, step) = (&self.recipe.checkpoint, self.state.step);
        let by_steps = section.every_steps > 0 && step.is_multiple_of(section.every_steps);
        let by_minutes = section.every_minutes > 0.0 && self.saved.1.elapsed().as_secs_f64() >= section.every_minutes * 60.0;
        step > 0 && (by_steps || by_minutes) && self.saved.0 != Some(step)
    }

    /// Writes `last/`.
    pub(super) fn save_last(&mut self) -> Result<()> {
        self.save(LAST)?;
        self.saved = (Some(self.state.step), Instant::now());
        Ok(())
    }

    /// Writes `best/`.
    pub(super) fn save_best(&mut self) -> Result<()> {
        self.save(BEST)
    }

    fn save(&mut self, name: &str) -> Result<()> {
        let Some((run, _)) = &self.run else { return Ok(()) };
        let (run, began) = (run.clone(), Instant::now());
        // The model is the average; the parameters that are trained further are not.
        let model = self.with_average(|this| this.task.model())?;
        self.state.seconds = self.seconds();
        let contents = Contents {
            model: &model,
            state: &self.state,
            sets: self.task.params(),
            optimiser: &self.optimiser,
            average: self.average.as_ref(),
        };
        let path = write(&run, name, &contents, |folder| self.task.save_beside(folder))?;
        self.observer.on(&Event::Checkpoint { step: self.state.step, path, took: began.elapsed() });
        Ok(())
    }
}
