//! `metrics.jsonl`: all that happened in a run, an object a line, for whoever wants to plot it with their own tools.
//!
//! What it decided: a number that is not finite is `null`, which every JSON reader takes; times are seconds; each line is written at once, and
//! whole or not at all. When a run goes on from step n, the lines of later steps are cut off, so that no step is there twice.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::Event;
use crate::trainer::Finish;

/// A line of the file: an [`Event`] as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Line {
    /// A checkpoint was written.
    Checkpoint {
        /// Steps taken.
        step: u64,
        /// Its folder.
        path: String,
        /// How long it took.
        seconds: f64,
    },
    /// The held-out set was evaluated.
    Evaluated {
        /// Steps taken.
        step: u64,
        /// What "best" means.
        headline: Option<f64>,
        /// Whether it is the best so far.
        best: bool,
        /// Numbers by name.
        metrics: BTreeMap<String, Option<f64>>,
        /// How long it took.
        seconds: f64,
    },
    /// The run ended.
    Finished {
        /// Steps taken.
        step: u64,
        /// Why.
        why: Finish,
        /// Best headline.
        best: Option<f64>,
        /// The step it was reached at.
        best_step: Option<u64>,
        /// Steps that were skipped.
        skipped: u64,
        /// Training time of the run, all sessions together.
        seconds: f64,
    },
    /// The run started, or went on.
    Start {
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
        /// Seconds since 1970.
        time: u64,
        /// Of hua.
        version: String,
        /// The recipe as it runs, TOML.
        recipe: String,
    },
    /// A step was taken, or skipped.
    Step {
        /// Steps taken, this one included.
        step: u64,
        /// Mean over the batch.
        loss: Option<f64>,
        /// What it is made of.
        parts: BTreeMap<String, Option<f64>>,
        /// Base learning rate.
        lr: f64,
        /// Norm of all gradients before clipping.
        grad_norm: Option<f64>,
        /// Items learnt from.
        items: usize,
        /// The whole step.
        seconds: f64,
        /// Of it, waiting for data.
        data_wait: f64,
        /// What was not finite, if the step was skipped.
        #[serde(default, skip_serializing_if = "Option::is_none")]
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

impl Line {
    /// Steps that had been taken.
    pub fn step(&self) -> u64 {
        match self {
            Self::Checkpoint { step, .. }
            | Self::Evaluated { step, .. }
            | Self::Finished { step, .. }
            | Self::Start { step, .. }
            | Self::Step { step, .. }
            | Self::Warning { step, .. } => *step,
        }
    }
}

impl From<&Event> for Line {
    fn from(event: &Event) -> Self {
        match event {
            Event::Checkpoint { step, path, took } => {
                Self::Checkpoint { step: *step, path: path.display().to_string(), seconds: took.as_secs_f64() }
            }
            Event::Evaluated { step, metrics, headline, best, took, .. } => Self::Evaluated {
                step: *step,
                headline: finite(*headline),
                best: *best,
                metrics: metrics.iter().map(|(name, value)| (name.clone(), finite(*value))).collect(),
                seconds: took.as_secs_f64(),
            },
            Event::Finished { step, why, best, skipped, took } => Self::Finished {
                step: *step,
                why: *why,
                best: best.and_then(|(headline, _)| finite(headline)),
                best_step: best.map(|(_, step)| step),
                skipped: *skipped,
                seconds: took.as_secs_f64(),
            },
            Event::Start { recipe, step, total_steps, steps_per_epoch, trained, parameters } => Self::Start {
                step: *step,
                total_steps: *total_steps,
                steps_per_epoch: *steps_per_epoch,
                trained: *trained,
                parameters: *parameters,
                time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                recipe: recipe.clone(),
            },
            Event::Step { step, loss, parts, lr, grad_norm, items, took, data_wait, skipped } => Self::Step {
                step: *step,
                loss: number(*loss),
                parts: parts.iter().map(|(name, value)| ((*name).to_owned(), number(*value))).collect(),
                lr: number(*lr).unwrap_or_default(),
                grad_norm: number(*grad_norm),
                items: *items,
                seconds: took.as_secs_f64(),
                data_wait: data_wait.as_secs_f64(),
                skipped: skipped.clone(),
            },
            Event::Warning { step, message } => Self::Warning { step: *step, message: message.clone() },
        }
    }
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// The shortest decimal number that is this f32, so that 0.1 is not written as 0.10000000149011612.
fn number(value: f32) -> Option<f64> {
    finite(f64::from(value)).and_then(|_| value.to_string().parse().ok())
}

/// The open file.
#[derive(Debug)]
pub struct MetricsFile {
    file: File,
    /// Bytes of it that are whole lines.
    whole: u64,
    /// Lines that could not be written yet.
    pending: Vec<u8>,
}

impl MetricsFile {
    /// Opens `path`, new or old, to go on after `step`: cuts off the lines of later steps, and what is no line, and returns those that stay.
    pub fn open(path: &Path, step: u64) -> io::Result<(Self, Vec<Line>)> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let (mut whole, mut kept) = (0, Vec::new());
        if step > 0 {
            let mut reader = BufReader::new(&file);
            let mut text = Vec::new();
            while reader.read_until(b'\n', &mut text)? > 0 {
                match serde_json::from_slice::<Line>(&text) {
                    Ok(line) if line.step() <= step && text.ends_with(b"\n") => kept.push(line),
                    _ => break,
                }
                whole += text.len() as u64;
                text.clear();
            }
        }
        if file.metadata()?.is_file() {
            file.set_len(whole)?;
            file.seek(SeekFrom::Start(whole))?;
        }
        Ok((Self { file, whole, pending: Vec::new() }, kept))
    }

    /// Appends a line, after those that a full disk held back.
    pub fn write(&mut self, line: &Line) -> io::Result<()> {
        serde_json::to_writer(&mut self.pending, line)?;
        self.pending.push(b'\n');
        super::append(&mut self.file, &mut self.whole, &mut self.pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: u64) -> Line {
        let parts = BTreeMap::from([("text".to_owned(), Some(0.5)), ("image".to_owned(), None)]);
        Line::Step { step, loss: Some(0.25), parts, lr: 1e-4, grad_norm: None, items: 64, seconds: 0.5, data_wait: 0.0, skipped: None }
    }

    fn lines(path: &Path) -> Vec<Line> {
        std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_run_that_goes_on_has_no_step_twice_and_no_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let (mut file, kept) = MetricsFile::open(&path, 0).unwrap();
        assert_eq!(kept, []);
        (1..=5).for_each(|number| file.write(&step(number)).unwrap());
        std::fs::write(&path, [std::fs::read(&path).unwrap(), b"{\"event\":\"step\",\"st".to_vec()].concat()).unwrap();
        let (mut file, kept) = MetricsFile::open(&path, 3).unwrap();
        assert_eq!(kept, [step(1), step(2), step(3)]);
        file.write(&step(4)).unwrap();
        assert_eq!(lines(&path), [step(1), step(2), step(3), step(4)]);
        let (_, kept) = MetricsFile::open(&path, 9).unwrap();
        assert_eq!(kept.len(), 4);
        // A run from the beginning keeps nothing of another.
        MetricsFile::open(&path, 0).unwrap();
        assert_eq!(lines(&path), []);
    }

    #[test]
    fn numbers_are_short_and_those_that_are_none_are_null() {
        assert_eq!(serde_json::to_string(&number(0.1)).unwrap(), "0.1");
        assert_eq!((number(f32::NAN), number(f32::INFINITY), finite(f64::NAN)), (None, None, None));
        let text = serde_json::to_string(&step(7)).unwrap();
        assert!(text.starts_with("{\"event\":\"step\",\"step\":7,\"loss\":0.25,\"parts\":{\"image\":null,\"text\":0.5}"), "{text}");
    }

    #[test]
    fn lines_that_cannot_be_written_wait_for_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let (mut file, _) = MetricsFile::open(&path, 0).unwrap();
        file.write(&step(1)).unwrap();
        let writable = std::mem::replace(&mut file.file, File::open(&path).unwrap());
        assert!(file.write(&step(2)).is_err());
        file.file = writable;
        file.write(&step(3)).unwrap();
        assert_eq!(lines(&path), [step(1), step(2), step(3)]);
    }
}
