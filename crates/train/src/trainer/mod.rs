//! The loop: steps, evaluations, checkpoints; and the [`Task`] that knows what is learnt.
//!
//! Decided here: between two steps everything that matters is in the parameters, the optimiser and [`State`], all of which a checkpoint holds.
//! What is due at a step (evaluation, then checkpoint) depends on those alone, not on the clock, so that a run that was killed and goes on is,
//! to the bit, the run that was not. Only checkpoints by the minute, the time limit and Ctrl-C look at the clock or the world, and
//! none of them changes a number.
//!
//! A step whose loss or gradient is not finite changes no parameter; it is told and counted, and too many in a row end the run.
mod evaluating;
mod saving;
mod task;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hua_kernels::Cores;

use crate::checkpoint::{BEST, LAST, Lock, State, find, read};
use crate::observe::{Event, Observer};
use crate::optim::{Average, Norm, Optimiser, groups, norm, scale};
use crate::params::{Grads, ParamSet};
use crate::recipe::Recipe;
use crate::schedule::Schedule;
use crate::{Error, Result};
pub use task::{Evaluation, Example, Finish, Finished, Hit, StepOutcome, Task};

/// Trains a task by a recipe.
pub struct Trainer<T: Task> {
    task: T,
    recipe: Recipe,
    observer: Box<dyn Observer>,
    /// The threads that the optimiser works on; rayon's own without.
    cores: Option<Cores>,
    /// Where checkpoints go; none without.
    run: Option<(PathBuf, Lock)>,
    schedule: Schedule,
    optimiser: Optimiser,
    average: Option<Average>,
    grads: Grads,
    state: State,
    /// Steps at the newest checkpoint, and when that was.
    saved: (Option<u64>, Instant),
    session: Instant,
    seconds_before: f64,
}

impl<T: Task> std::fmt::Debug for Trainer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trainer").field("recipe", &self.recipe).field("state", &self.state).finish_non_exhaustive()
    }
}

impl<T: Task> Trainer<T> {
    /// At the beginning of a run into the folder `run`, or into none.
    ///
    /// # Errors
    /// [`Error::Exists`] if the folder holds a run, [`Error::Busy`] if another process trains into it.
    pub fn new(task: T, recipe: &Recipe, run: Option<&Path>, observer: Box<dyn Observer>) -> Result<Self> {
        let run = take(run)?;
        if let Some((folder, _)) = &run {
            for name in [LAST, BEST] {
                if find(folder, name)?.is_some() {
                    return Err(Error::Exists { path: folder.clone() });
                }
            }
        }
        let state = State::new(recipe, task.params(), task.cursor());
        Ok(Self::at(task, recipe, run, observer, state))
    }

    /// Where the newest checkpoint of the run in the folder `run` ends; at the beginning, if the run ended before its first.
    ///
    /// # Errors
    /// [`Error::State`] if there is no run, or none that can be gone on from; [`Error::OtherRecipe`] with what the recipe says otherwise.
    pub fn resume(task: T, recipe: &Recipe, run: &Path, observer: Box<dyn Observer>) -> Result<Self> {
        if !run.is_dir() {
            return Err(Error::State { path: run.to_owned(), reason: "it is not there".to_owned() });
        }
        let taken = take(Some(run))?;
        // A run that was killed after its first evaluation and before its first checkpoint has a best one, which is as whole.
        let newest = match find(run, LAST)? {
            Some(folder) => Some(folder),
            None => find(run, BEST)?,
        };
        let Some(folder) = newest else {
            let state = State::new(recipe, task.params(), task.cursor());
            return Ok(Self::at(task, recipe, taken, observer, state));
        };
        let (state, tensors) = read(&folder, task.params())?;
        state.check(&folder, recipe, task.params())?;
        let mut this = Self::at(task, recipe, taken, observer, state);
        for (set, values) in this.task.params_mut().iter_mut().zip(tensors.values) {
            for (own, values) in set.values.iter_mut().zip(values).filter(|(_, values)| !values.is_empty()) {
                *own = values;
            }
        }
        this.optimiser.updates = this.state.updates.clone();
        if !tensors
            .moments
            .iter()
            .flatten()
            .zip(this.optimiser.moments.iter().flatten())
            .all(|(read, own)| read.square.len() == own.square.len())
        {
            return Err(Error::State {
                path: folder,
                reason: "its optimiser remembers other parameters than the recipe's does".to_owned(),
            });
        }
        this.optimiser.moments = tensors.moments;
        if let (Some(average), Some(values)) = (&mut this.average, tensors.average) {
            average.updates = this.state.average_updates.unwrap_or(0);
            average.values = values;
        }
        this.task.params_changed()?;
        let cursor = this.state.cursor.clone();
        this.task.set_cursor(&cursor)?;
        this.saved.0 = Some(this.state.step);
        Ok(this)
    }

    fn at(task: T, recipe: &Recipe, run: Option<(PathBuf, Lock)>, observer: Box<dyn Observer>, state: State) -> Self {
        let sets = task.params();
        Self {
            schedule: Schedule::new(&recipe.schedule, recipe.base_lr(), task.steps_per_epoch()),
            optimiser: Optimiser::new(&recipe.optim, sets, groups(sets, &recipe.optim, &recipe.image, &recipe.text)),
            average: (recipe.optim.ema > 0.0).then(|| Average::new(recipe.optim.ema, sets)),
            grads: Grads::zeros(sets),
            recipe: recipe.clone(),
            observer,
            cores: None,
            run,
            saved: (None, Instant::now()),
            session: Instant::now(),
            seconds_before: state.seconds,
            state,
            task,
        }
    }

    /// With an optimiser that works on these threads, and with their instructions. The bits do not depend on them.
    #[must_use]
    pub fn on(mut self, cores: Cores) -> Self {
        self.optimiser.isa = cores.isa();
        Self { cores: Some(cores), ..self }
    }

    /// The task.
    pub fn task(&self) -> &T {
        &self.task
    }

    /// The task, and nothing more of the run.
    pub fn into_task(self) -> T {
        self.task
    }

    /// How far the run is.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Steps of the whole run.
    pub fn total_steps(&self) -> u64 {
        self.schedule.total
    }

    /// Trains to the end, or until `stop` is set: then the step under way is finished, a checkpoint is written, and the run can be resumed.
    ///
    /// # Errors
    /// [`Error::Diverged`], [`Error::Full`] and whatever else ends a run; checkpoints that were written stay.
    pub fn run(&mut self, stop: &AtomicBool) -> Result<Finished> {
        self.session = Instant::now();
        self.saved.1 = self.session;
        let count = |filter: &dyn Fn(bool) -> bool| numbers(self.task.params(), filter);
        let start = Event::Start {
            recipe: self.recipe.to_toml(),
            step: self.state.step,
            total_steps: self.schedule.total,
            steps_per_epoch: self.task.steps_per_epoch(),
            trained: count(&|trained| trained),
            parameters: count(&|_| true),
        };
        self.observer.on(&start);
        let why = loop {
            if stop.load(Ordering::Relaxed) {
                break Finish::Stopped;
            }
            if self.evaluation_is_due() {
                self.evaluate()?;
            }
            let patience = self.recipe.eval.patience;
            if patience > 0 && self.state.worse >= patience {
                break Finish::NoBetter;
            }
            if self.state.step >= self.schedule.total {
                break Finish::Done;
            }
            if self.time_is_up() {
                break Finish::TimeUp;
            }
            if self.checkpoint_is_due() {
                self.save_last()?;
            }
            self.step()?;
        };
        if self.saved.0 != Some(self.state.step) {
            self.save_last()?;
        }
        let Self { state, .. } = &*self;
        let finished = Finished { why, step: state.step, best: state.best.map(|best| (best.headline, best.step)), skipped: state.skipped };
        let took = Duration::from_secs_f64(self.seconds());
        self.observer.on(&Event::Finished { step: finished.step, why, best: finished.best, skipped: finished.skipped, took });
        Ok(finished)
    }

    /// One step.
    ///
    /// # Errors
    /// [`Error::Diverged`], and what the task cannot survive.
    pub fn step(&mut self) -> Result<()> {
        let began = Instant::now();
        let lr = self.schedule.lr(self.state.step);
        self.grads.clear();
        let outcome = self.task.step(self.state.step, &mut self.grads)?;
        let (grad_norm, bad) = match self.update(lr, outcome.loss) {
            Ok(norm) => {
                self.task.params_changed()?;
                self.state.skipped_in_a_row = 0;
                (norm, None)
            }
            Err((norm, what)) => {
                self.state.skipped += 1;
                self.state.skipped_in_a_row += 1;
                (norm, Some(what))
            }
        };
        self.state.step += 1;
        self.state.updates = self.optimiser.updates.clone();
        self.state.cursor = self.task.cursor();
        let step = self.state.step;
        let StepOutcome { loss, mut parts, items, data_wait } = outcome;
        if let Some(scale) = logit_scale(self.task.params()) {
            parts.push(("scale", scale.exp()));
        }
        let (took, lr, skipped) = (began.elapsed(), lr as f32, bad.clone());
        self.observer.on(&Event::Step { step, loss, parts, lr, grad_norm: grad_norm as f32, items, took, data_wait, skipped });
        match bad {
            Some(what) if self.state.skipped_in_a_row >= self.recipe.train.most_skipped => {
                Err(Error::Diverged { step, skipped: self.state.skipped_in_a_row, what })
            }
            Some(what) => {
                let message = format!("step {step} is skipped: its {what} is not finite; no parameter was changed");
                self.observer.on(&Event::Warning { step, message });
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Changes the parameters along the gradients. Returns the norm of these; if something is not finite, also what, and nothing has changed.
    fn update(&mut self, lr: f64, loss: f32) -> Result<f64, (f64, String)> {
        if !loss.is_finite() {
            return Err((f64::NAN, "loss".to_owned()));
        }
        let Self { task, recipe, cores, optimiser, average, grads, state, .. } = self;
        let mut work = || {
            let norm = match norm(task.params(), grads) {
                Norm::Finite(norm) => norm,
                Norm::NotFinite(of) => return Err((f64::INFINITY, format!("gradient of `{of}`"))),
            };
            scale(grads, norm, recipe.optim.clip);
            optimiser.update(task.params_mut(), grads, lr);
            clamp_logit_scale(task.params_mut(), recipe);
            if let Some(average) = average {
                average.update(task.params());
                state.average_updates = Some(average.updates);
            }
            Ok(norm)
        };
        match cores {
            Some(cores) => cores.run(work),
            None => work(),
        }
    }

    fn time_is_up(&self) -> bool {
        let limit = self.recipe.train.time_limit_minutes * 60.0;
        limit > 0.0 && self.session.elapsed().as_secs_f64() >= limit
    }

    /// Seconds of training, all sessions together.
    fn seconds(&self) -> f64 {
        self.seconds_before + self.session.elapsed().as_secs_f64()
    }
}

fn take(run: Option<&Path>) -> Result<Option<(PathBuf, Lock)>> {
    run.map(|folder| Ok((folder.to_owned(), Lock::take(folder)?))).transpose()
}

fn numbers(sets: &[ParamSet], filter: &dyn Fn(bool) -> bool) -> u64 {
    let all = sets.iter().flat_map(|set| set.values.iter().zip(&set.trained));
    all.filter(|(_, trained)| filter(**trained)).map(|(values, _)| values.len() as u64).sum()
}

/// The logarithm of what cosines are multiplied by, if there is one.
fn logit_scale(sets: &[ParamSet]) -> Option<f32> {
    sets.iter().find_map(|set| set.values.get(set.find("logit_scale")?)?.first().copied())
}

/// cn_clip: `logit_scale` stays within 0 and ln 100 after every step.
fn clamp_logit_scale(sets: &mut [ParamSet], recipe: &Recipe) {
    for set in sets {
        let Some(at) = set.find("logit_scale").filter(|&at| set.trained[at]) else { continue };
        for value in &mut set.values[at] {
            *value = value.clamp(recipe.optim.least_logit_scale, recipe.optim.most_logit_scale);
        }
    }
}
