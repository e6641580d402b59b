//! `hua index errors`: the pictures that could not be taken in.

use std::path::PathBuf;

use clap::Args;

use super::open;
use crate::session::Session;
use crate::table::{Align, Table, counted};

/// List the pictures that could not be used, and why
///
/// They are tried again when they change, or with `hua index DIR -o LIB --retry`.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua index errors library
  hua index errors library --json | jq -r .path | xargs -d '\\n' file")]
pub struct Arguments {
    /// The library
    #[arg(value_name = "LIB")]
    library: PathBuf,
    /// One JSON object a line: {"path", "bytes", "modified", "reason", "at"}; times are nanoseconds since 1970
    #[arg(long)]
    json: bool,
}

pub fn run(Arguments { library, json }: Arguments, session: &Session) -> anyhow::Result<()> {
    let errors = open(&library)?.errors().map_err(hua::Error::from)?;
    if json {
        return errors.iter().try_for_each(|error| session.printer.json(error));
    }
    session.printer.note(format!("{} in `{}`", counted(errors.len(), "failure"), library.display()));
    if errors.is_empty() {
        return Ok(());
    }
    let mut table = Table::plain(&[Align::Left, Align::Left]);
    for error in errors {
        table.row([error.path, error.reason]);
    }
    Ok(session.printer.data(table)?)
}
