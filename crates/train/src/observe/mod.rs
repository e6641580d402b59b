//! What a run tells those who watch it, and what it leaves in its folder for them: `metrics.jsonl`, TensorBoard's event files, `report.html`.
//!
//! What it decided: the trainer tells everything to one [`Observer`] and never fails for its sake. [`RunFiles`] writes the files and passes
//! on what it is told to the next observer (a progress bar); a file that cannot be written is a warning to that one, told once, and is tried again.
pub mod history;
pub mod metrics;
pub mod report;
pub mod tensorboard;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::history::History;
use self::metrics::{Line, MetricsFile};
use self::tensorboard::EventFile;
use crate::trainer::{Example, Finish};

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A checkpoint was written.
    Checkpoint {
        /// Steps taken.
        step: u64,
        /// Its folder, `last` or `best`.
        path: PathBuf,
        /// How long it took.
        took: Duration,
    },
    /// The held-out set was evaluated.
    Evaluated {
        /// Steps taken.
        step: u64,
        /// Numbers by name.
        metrics: BTreeMap<String, f64>,
        /// What "best" means.
        headline: f64,
        /// Whether it is the best so far.
        best: bool,
        /// Some retrievals.
        examples: Vec<Example>,
        /// How long it took.
        took: Duration,
    },
    /// The run ends.
    Finished {
        /// Steps taken.
        step: u64,
        /// Why.
        why: Finish,
        /// Best headline and the step it was reached at.
        best: Option<(f64, u64)>,
        /// Steps that were skipped for numbers that are not finite.
        skipped: u64,
        /// Training time of the run, all sessions together.
        took: Duration,
    },
    /// The run starts, or goes on. What was told of steps after `step` does not count.
    Start {
        /// The recipe as it runs, TOML.
        recipe: String,
        /// Steps taken before.
        step: u64,
        /// Steps at the end.
        total_steps: u64,
        /// Steps of an epoch.
        steps_per_epoch: u64,
        /// Numbers that are trained.
        trained: u64,
        /// Numbers of the model.
        parameters: u64,
    },
    /// A step was taken, or skipped.
    Step {
        /// Steps taken, this one included.
        step: u64,
        /// Mean over the batch.
        loss: f32,
        /// What it is made of, and other numbers of the step.
        parts: Vec<(&'static str, f32)>,
        /// Base learning rate.
        lr: f32,
        /// Norm of all gradients, before clipping.
        grad_norm: f32,
        /// Items learnt from.
        items: usize,
        /// The whole step.
        took: Duration,
        /// Of it, waiting for data.
        data_wait: Duration,
        /// What was not finite, if the parameters stay as they were.
        skipped: Option<String>,
    },
    /// Something that people should know.
    Warning {
        /// Steps taken.
        step: u64,
        /// A sentence.
        message: String,
    },
}

/// Somebody who watches a run.
pub trait Observer: Send {
    /// Is told of an event, on the thread that trains.
    fn on(&mut self, event: &Event);
}

impl Observer for () {
    fn on(&mut self, _: &Event) {}
}

impl<O: Observer + ?Sized> Observer for &mut O {
    fn on(&mut self, event: &Event) {
        (**self).on(event);
    }
}

impl<O: Observer + ?Sized> Observer for Box<O> {
    fn on(&mut self, event: &Event) {
        (**self).on(event);
    }
}

/// The files of a run's folder that are for people and their tools, and `recipe.toml`, the recipe as it runs.
#[derive(Debug)]
pub struct RunFiles<O> {
    folder: PathBuf,
    metrics: Option<MetricsFile>,
    events: Option<EventFile>,
    history: History,
    examples: Vec<Example>,
    /// What was told before the start.
    early: Vec<Line>,
    /// Files that could not be written the last time.
    failing: Vec<&'static str>,
    next: O,
}

impl<O: Observer> RunFiles<O> {
    /// Writes into `folder`, which exists once the run starts, and tells `next` whatever it is told.
    pub fn new(folder: impl Into<PathBuf>, next: O) -> Self {
        Self {
            folder: folder.into(),
            metrics: None,
            events: None,
            history: History::default(),
            examples: Vec::new(),
            early: Vec::new(),
            failing: Vec::new(),
            next,
        }
    }

    /// Whom it tells.
    pub fn next(&self) -> &O {
        &self.next
    }

    fn start(&mut self, recipe: &str, step: u64) {
        self.history = History::default();
        let mut early = std::mem::take(&mut self.early);
        let metrics = MetricsFile::open(&self.folder.join("metrics.jsonl"), step).map(|(file, kept)| {
            // A run that goes on reads its data again, and is told the same of it.
            early.retain(|line| !kept.contains(line));
            kept.iter().for_each(|line| self.history.add(line));
            self.metrics = Some(file);
        });
        self.settle("metrics.jsonl", step, metrics);
        let events = EventFile::create(&self.folder, step + 1).map(|file| self.events = Some(file));
        self.settle("events.out.tfevents", step, events);
        let recipe = replace(&self.folder.join("recipe.toml"), recipe.as_bytes());
        self.settle("recipe.toml", step, recipe);
        early.iter().for_each(|line| self.write(line));
    }

    fn write(&mut self, line: &Line) {
        self.history.add(line);
        let Some(file) = &mut self.metrics else { return };
        let written = file.write(line);
        self.settle("metrics.jsonl", line.step(), written);
    }

    fn report(&mut self, step: u64) {
        let written = report::write(&self.folder, &self.history, &self.examples);
        self.settle("report.html", step, written);
    }

    /// Tells of a file that could not be written, once until it can.
    fn settle(&mut self, file: &'static str, step: u64, written: io::Result<()>) {
        let failed = self.failing.contains(&file);
        match written {
            Ok(()) if failed => self.failing.retain(|failing| *failing != file),
            Err(error) if !failed => {
                self.failing.push(file);
                let message = format!("cannot write `{}`: {error}; training goes on", self.folder.join(file).display());
                let warning = Event::Warning { step, message };
                self.history.add(&Line::from(&warning));
                self.next.on(&warning);
            }
            _ => {}
        }
    }
}

impl<O: Observer> Observer for RunFiles<O> {
    fn on(&mut self, event: &Event) {
        let line = Line::from(event);
        let step = line.step();
        match event {
            Event::Start { recipe, .. } => self.start(recipe, step),
            _ if self.metrics.is_none() && self.events.is_none() => self.early.push(line.clone()),
            _ => {}
        }
        self.write(&line);
        let scalars = scalars(&line);
        if let (Some(file), false) = (&mut self.events, scalars.is_empty()) {
            let written = file.scalars(step, &scalars);
            self.settle("events.out.tfevents", step, written);
        }
        match event {
            Event::Evaluated { examples, .. } => {
                self.examples.clone_from(examples);
                self.report(step);
            }
            Event::Finished { .. } => self.report(step),
            _ => {}
        }
        self.next.on(event);
    }
}

/// What TensorBoard shows of a line; tags with a slash are grouped by what stands before it.
fn scalars(line: &Line) -> Vec<(String, f64)> {
    let mut values = Vec::new();
    let mut add = |tag: String, value: Option<f64>| values.extend(value.map(|value| (tag, value)));
    match line {
        Line::Evaluated { headline, metrics, .. } => {
            add("valid/headline".to_owned(), *headline);
            metrics.iter().for_each(|(name, value)| add(format!("valid/{name}"), *value));
        }
        Line::Step { loss, parts, lr, grad_norm, items, seconds, data_wait, .. } => {
            add("train/loss".to_owned(), *loss);
            add("train/lr".to_owned(), Some(*lr));
            add("train/grad_norm".to_owned(), *grad_norm);
            parts.iter().for_each(|(name, value)| add(format!("parts/{name}"), *value));
            if *seconds > 0.0 {
                add("speed/items_per_second".to_owned(), Some(*items as f64 / seconds));
                add("speed/data_wait_seconds".to_owned(), Some(*data_wait));
            }
        }
        _ => {}
    }
    values
}

/// Writes `pending` behind the `whole` bytes of `file`. What cannot be written stays pending, and nothing half written stays in the file.
fn append(file: &mut File, whole: &mut u64, pending: &mut Vec<u8>) -> io::Result<()> {
    if let Err(error) = file.write_all(pending) {
        let _ = file.set_len(*whole);
        let _ = file.seek(SeekFrom::Start(*whole));
        return Err(error);
    }
    *whole += pending.len() as u64;
    pending.clear();
    Ok(())
}

/// Replaces `path` by `bytes` at once: whoever reads it sees the old file or the new one.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    std::fs::write(&new, bytes).and_then(|()| std::fs::rename(&new, path)).inspect_err(|_| {
        let _ = std::fs::remove_file(&new);
    })
}

#[cfg(test)]
mod tests;
