//! What a person or a program sees of a run: a bar on a terminal, a line now and then elsewhere, events as JSON lines on stdout.

use std::collections::BTreeMap;
use std::time::Duration;

use hua::shown::thousands;
use hua_train::observe::metrics::Line;
use hua_train::{Event, Observer};
use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::printer::Printer;

/// Warnings that are told one by one; more are counted.
const TOLD: u64 = 10;
/// Lines of a run where stderr is no terminal.
const LINES: u64 = 50;
/// Weight of a new step in the means that are shown.
const NEW: f64 = 0.1;

/// An observer that shows.
pub struct Watch {
    printer: Printer,
    json: bool,
    log_every: Option<u64>,
    bar: ProgressBar,
    total: u64,
    /// Running means over steps.
    means: BTreeMap<&'static str, f64>,
    headline: Option<f64>,
    warnings: u64,
}

impl Watch {
    pub fn new(printer: &Printer, json: bool, log_every: Option<u64>) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        Self { printer: *printer, json, log_every, bar, total: 0, means: BTreeMap::new(), headline: None, warnings: 0 }
    }

    fn start(&mut self, step: u64, total: u64, trained: u64, parameters: u64) {
        self.total = total;
        let begins = if step == 0 { String::new() } else { format!(", going on after step {}", thousands(step)) };
        let share = 100.0 * trained as f64 / parameters.max(1) as f64;
        let (steps, trained) = (thousands(total), thousands(trained));
        self.printer.note(format!("{steps} steps{begins}; {trained} of {} parameters trained ({share:.1} %)", thousands(parameters)));
        if !self.printer.shows_progress() {
            return;
        }
        let style = ProgressStyle::with_template("{bar:24.cyan/dim} {pos}/{len}  {msg}").expect("the template is well formed");
        self.bar = ProgressBar::new(total).with_position(step).with_style(style.progress_chars("━━─"));
        self.bar.enable_steady_tick(Duration::from_millis(500));
    }

    /// A line that stays, above the bar.
    fn above(&self, tell: impl FnOnce(&Printer)) {
        self.bar.suspend(|| tell(&self.printer));
    }

    fn warn(&mut self, message: &str) {
        self.warnings += 1;
        if self.warnings <= TOLD {
            self.above(|printer| printer.warning(message));
        }
    }

    fn mean(&mut self, name: &'static str, value: f64) -> f64 {
        let mean = self.means.entry(name).or_insert(value);
        *mean += NEW * (value - *mean);
        *mean
    }

    fn step(&mut self, step: u64, loss: f32, lr: f32, items: usize, took: Duration, data_wait: Duration) {
        // A step that was skipped says nothing of the loss.
        if loss.is_finite() {
            self.mean("loss", f64::from(loss));
        }
        let seconds = self.mean("seconds", took.as_secs_f64());
        let wait = self.mean("wait", data_wait.as_secs_f64());
        let items = self.mean("items", items as f64);
        let loss = self.means.get("loss").copied().unwrap_or(f64::NAN);
        let mut text = format!("loss {loss:.4}");
        if let Some(headline) = self.headline {
            text += &format!("  valid {headline:.2}");
        }
        let left = Duration::from_secs_f64((self.total.saturating_sub(step) as f64 * seconds).max(0.0));
        if seconds > 0.0 {
            text += &format!("  {:.1} items/s  data wait {:.0} %", items / seconds, 100.0 * wait / seconds);
        }
        self.bar.set_position(step);
        self.bar.set_message(format!("{text}  {} left", HumanDuration(left)));
        let every = self.log_every.unwrap_or(self.total.div_ceil(LINES)).max(1);
        if !self.printer.shows_progress() && (step.is_multiple_of(every) || step == self.total) {
            let (step, total) = (thousands(step), thousands(self.total));
            self.printer.note(format!("step {step} of {total}  {text}  lr {lr:.2e}  {} left", HumanDuration(left)));
        }
    }
}

impl Drop for Watch {
    /// Takes the bar away, and tells what was only counted.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        if self.warnings > TOLD {
            self.printer.warning(format!("{} more; the report has them all", thousands(self.warnings - TOLD)));
        }
    }
}

impl Observer for Watch {
    fn on(&mut self, event: &Event) {
        if self.json {
            // A reader that went away does not end a run.
            let _ = self.printer.json(&Line::from(event));
        }
        match event {
            Event::Start { step, total_steps, trained, parameters, .. } => self.start(*step, *total_steps, *trained, *parameters),
            Event::Step { step, loss, lr, items, took, data_wait, .. } => self.step(*step, *loss, *lr, *items, *took, *data_wait),
            Event::Evaluated { step, headline, best, .. } => {
                self.headline = Some(*headline);
                let best = if *best { ", the best so far" } else { "" };
                self.above(|printer| printer.note(format!("valid at step {}: {headline:.2}{best}", thousands(*step))));
            }
            Event::Warning { message, .. } => self.warn(message),
            Event::Checkpoint { .. } | Event::Finished { .. } => {}
        }
    }
}
