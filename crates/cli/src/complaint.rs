//! How a run that failed is told: `error: …`, an empty line, `hint: …`, and an exit code that says whose fault it was. The library's
//! errors know their fault and hint; [`Complaint`] is the program's own kind of error. This is the only place that turns either into
//! text and code.

use std::fmt;
use std::io::{self, ErrorKind};
use std::process::ExitCode;

use hua::Fault;

use crate::printer::Printer;

/// Exit code for a call that was wrong.
pub const CALLER: u8 = 2;
/// Exit code for a file that is not what it should be, or a failure of the program.
pub const FAILED: u8 = 1;

/// Something the program itself has to complain about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    message: String,
    hint: Option<String>,
    code: u8,
}

impl Complaint {
    /// The call was wrong: unknown name, missing path, arguments that do not fit.
    pub fn caller(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, code: CALLER }
    }

    /// A file is not what it should be, or cannot be written.
    pub fn file(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, code: FAILED }
    }

    /// What to try.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[cfg(test)]
    pub fn exit_code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for Complaint {}

/// Prints `error` with its hint and returns the exit code. A reader that went away (`hua … | head`) is no error.
pub fn report(printer: &Printer, error: &anyhow::Error) -> ExitCode {
    if error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe)) {
        return ExitCode::SUCCESS;
    }
    let (hint, code) = diagnose(error);
    printer.error(&message(error), hint.as_deref());
    ExitCode::from(code)
}

/// The chain of causes in one line; a cause that the text before already ends with is not said twice.
fn message(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

fn diagnose(error: &anyhow::Error) -> (Option<String>, u8) {
    for cause in error.chain() {
        if let Some(complaint) = cause.downcast_ref::<Complaint>() {
            return (complaint.hint.clone(), complaint.code);
        }
        if let Some(error) = cause.downcast_ref::<hua::Error>() {
            return library(error);
        }
        if let Some(error) = cause.downcast_ref::<hua_train::Error>() {
            return training(error);
        }
    }
    (None, FAILED)
}

/// Hint and exit code of what the library complains of.
fn library(error: &hua::Error) -> (Option<String>, u8) {
    let code = match error.fault() {
        Fault::Caller => CALLER,
        Fault::File | Fault::Us => FAILED,
    };
    (error.hint(), code)
}

/// Hint and exit code of what the trainer complains of.
fn training(error: &hua_train::Error) -> (Option<String>, u8) {
    use hua_train::Error;
    let hint = match error {
        // An error's source does not lead here: what is transparent or boxed passes on the source of what it holds.
        Error::Hua(error) => return library(error),
        Error::Named { source, .. } => return training(source),
        Error::Io { source, .. } if matches!(source.kind(), ErrorKind::IsADirectory | ErrorKind::NotADirectory | ErrorKind::NotFound) => {
            return (None, CALLER);
        }
        Error::Diverged { .. } => "a smaller `optim.lr`, or a longer warm-up (`schedule.warmup_share`); `last/` is from before",
        Error::Exists { .. } => "`--resume` goes on with the run in it; another `-o` begins a new one",
        Error::Full { .. } => "make room; `--resume` goes on from the last checkpoint",
        Error::OtherRecipe { .. } => "without a recipe, `--resume` goes on with that of the run; another `-o` begins a new one",
        Error::Recipe { .. } | Error::Toml { .. } => "`docs/training.md` lists the keys; `hua train recipes` has examples",
        _ => return (None, FAILED),
    };
    let code = match error {
        Error::Diverged { .. } | Error::Full { .. } => FAILED,
        _ => CALLER,
    };
    (Some(hint.to_owned()), code)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn causes_are_joined_and_said_once() {
        let inner: Result<(), _> = Err(io::Error::other("disk full"));
        let error = inner.context("cannot write `a.npy`: disk full").context("saving").unwrap_err();
        assert_eq!(message(&error), "saving: cannot write `a.npy`: disk full");
    }

    #[test]
    fn a_complaint_keeps_its_hint_and_code_under_context() {
        let error = anyhow::Error::from(Complaint::caller("no query").hint("add words")).context("search");
        assert_eq!(diagnose(&error), (Some("add words".into()), CALLER));
        assert_eq!(diagnose(&anyhow::anyhow!("other")), (None, FAILED));
    }
}
