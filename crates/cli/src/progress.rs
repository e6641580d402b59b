//! Progress on stderr: a bar with rate and time left when a person watches, nothing otherwise.

use std::fmt::Write;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{BinaryBytes, HumanDuration, ProgressBar, ProgressState, ProgressStyle};

use crate::printer::Printer;

/// What is counted, which decides how the numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Bytes,
    Items,
}

/// A bar, driven by a command or, through [`hua::Progress`], by the library.
pub struct Bar {
    shown: bool,
    unit: Unit,
    bar: Mutex<ProgressBar>,
    what: Mutex<String>,
}

impl Bar {
    pub fn new(printer: &Printer, unit: Unit) -> Self {
        Self { shown: printer.shows_progress(), unit, bar: Mutex::new(ProgressBar::hidden()), what: Mutex::default() }
    }

    /// A bar for `total` units of `what` replaces the one before; a mere count, if the total is 0 and thus not known.
    pub fn begin(&self, what: &str, total: u64) {
        if !self.shown {
            return;
        }
        let bar = if total > 0 { ProgressBar::new(total) } else { ProgressBar::no_length() };
        let bar = bar.with_style(style(self.unit, total > 0)).with_message(what.to_owned());
        if let Ok(mut named) = self.what.lock() {
            what.clone_into(&mut named);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        if let Ok(mut current) = self.bar.lock() {
            current.finish_and_clear();
            *current = bar;
        }
    }

    pub fn step(&self, by: u64) {
        if let Ok(bar) = self.bar.lock() {
            bar.inc(by);
        }
    }

    pub fn end(&self) {
        if let Ok(bar) = self.bar.lock() {
            bar.finish_and_clear();
        }
    }
}

impl hua::Progress for Bar {
    fn start(&self, what: &str, total: u64) {
        self.begin(what, total);
    }

    fn advance(&self, steps: u64) {
        self.step(steps);
    }

    fn failed(&self, steps: u64) {
        if let (true, Ok(bar), Ok(what)) = (self.shown && steps > 0, self.bar.lock(), self.what.lock()) {
            bar.set_message(format!("{what}, {steps} failed"));
        }
    }

    fn finish(&self) {
        self.end();
    }

    fn is_shown(&self) -> bool {
        self.shown
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.end();
    }
}

fn style(unit: Unit, has_end: bool) -> ProgressStyle {
    let template = match (unit, has_end) {
        (Unit::Bytes, true) => "{msg} {bar:30.cyan/dim} {binary_bytes}/{binary_total_bytes}  {pace}",
        (Unit::Items, true) => "{msg} {bar:30.cyan/dim} {pos}/{len}  {pace}",
        (Unit::Bytes, false) => "{msg} {binary_bytes}  {pace}",
        (Unit::Items, false) => "{msg} {pos}  {pace}",
    };
    let style = ProgressStyle::with_template(template).expect("the templates above are well formed").progress_chars("━━─");
    style.with_key("pace", move |state: &ProgressState, out: &mut dyn Write| {
        // Nothing is known before the first step.
        if state.pos() == 0 || state.per_sec() <= 0.0 {
            return;
        }
        let rate = match unit {
            Unit::Bytes => format!("{}/s", BinaryBytes(state.per_sec() as u64)),
            Unit::Items => format!("{:.1}/s", state.per_sec()),
        };
        // A terminal that cannot be written to is nothing to fail on.
        let _ = match has_end {
            true => write!(out, "{rate}  {} left", HumanDuration(state.eta())),
            false => write!(out, "{rate}"),
        };
    })
}
