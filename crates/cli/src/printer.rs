//! The one place that writes to the terminal. stdout is data, stderr is talk; everything reads without colour. Text that comes from
//! files (names, captions) passes [`printable`] first, so that a file name cannot carry escape sequences into a terminal.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::settings::Color;

/// Writes data to stdout and talk to stderr.
#[derive(Clone, Copy, Debug)]
pub struct Printer {
    quiet: bool,
    color_data: bool,
    color_talk: bool,
}

impl Printer {
    pub fn new(color: Color, quiet: bool) -> Self {
        let choose = |terminal: bool| match color {
            Color::Always => true,
            Color::Auto => terminal,
            Color::Never => false,
        };
        Self { quiet, color_data: choose(io::stdout().is_terminal()), color_talk: choose(io::stderr().is_terminal()) }
    }

    /// One line of data. A closed pipe is an error of kind `BrokenPipe`, which ends the program quietly.
    pub fn data(&self, line: impl Display) -> io::Result<()> {
        writeln!(io::stdout().lock(), "{line}")
    }

    /// A heading within data: bold where colour is on.
    pub fn heading(&self, text: &str) -> io::Result<()> {
        self.data(paint(self.color_data, BOLD, &printable(text)))
    }

    /// One JSON object on one line.
    pub fn json(&self, value: &impl Serialize) -> anyhow::Result<()> {
        Ok(self.data(serde_json::to_string(value)?)?)
    }

    /// JSON over several lines, for one object that people read too.
    pub fn json_pretty(&self, value: &impl Serialize) -> anyhow::Result<()> {
        Ok(self.data(serde_json::to_string_pretty(value)?)?)
    }

    /// Something good to know; silent with `--quiet`.
    pub fn note(&self, text: impl Display) {
        if !self.quiet {
            self.talk(&paint(self.color_talk, DIM, &printable(&text.to_string())));
        }
    }

    /// Something that went wrong but does not end the run.
    pub fn warning(&self, text: impl Display) {
        self.talk(&format!("{} {}", paint(self.color_talk, YELLOW, "warning:"), printable(&text.to_string())));
    }

    /// What ended the run, and what to try.
    pub fn error(&self, message: &str, hint: Option<&str>) {
        self.talk(&format!("{} {}", paint(self.color_talk, RED, "error:"), printable(message)));
        if let Some(hint) = hint {
            self.talk(&format!("\n{} {}", paint(self.color_talk, CYAN, "hint:"), printable(hint)));
        }
    }

    /// Whether progress is to be shown: stderr is a terminal and nobody asked for quiet.
    pub fn shows_progress(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// A stderr that is gone is nothing to fail on.
    fn talk(&self, line: &str) {
        let _ = writeln!(io::stderr().lock(), "{line}");
    }
}

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "1;31";
const YELLOW: &str = "1;33";
const CYAN: &str = "1;36";

fn paint<'a>(color: bool, style: &str, text: &'a str) -> Cow<'a, str> {
    if color { Cow::Owned(format!("\x1b[{style}m{text}\x1b[0m")) } else { Cow::Borrowed(text) }
}

/// `text` with control characters (other than the line feed) written as escapes.
pub fn printable(text: &str) -> Cow<'_, str> {
    let hidden = |c: char| c.is_control() && c != '\n';
    if !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if hidden(c) { c.escape_default().to_string() } else { c.to_string() }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_cannot_carry_an_escape_sequence_to_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\tc\nd"), "a\\u{1b}[2Jb\\tc\nd");
        assert_eq!(printable("虹 قوس"), "虹 قوس");
    }

    #[test]
    fn without_colour_the_text_is_plain() {
        assert_eq!(paint(false, RED, "error:"), "error:");
        assert_eq!(paint(true, RED, "error:"), "\x1b[1;31merror:\x1b[0m");
    }
}
