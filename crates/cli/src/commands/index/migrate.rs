//! `hua index migrate`: another model for the same pictures.

use std::path::PathBuf;

use clap::Args;
use hua::library::{MigrateOptions, migrate};
use hua::shown::thousands;

use super::ingest::Stored;
use super::lists::Lists;
use crate::complaint::Complaint;
use crate::session::Session;
use crate::stop;

/// Give a library another model
///
/// Embeds all pictures with the model of `--model`, while the old vectors go on answering, and switches when every picture has its new
/// vector. It may be stopped at any time and goes on where it was. The old vectors stay, silent, until `--remove-old`: migrating back to them
/// takes only what came since.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua index migrate library --model altclip-m9
  hua index migrate library --model altclip-m9 --remove-old")]
pub struct Arguments {
    /// The library
    #[arg(value_name = "LIB")]
    library: PathBuf,
    /// Remove the vectors of other models in the end
    #[arg(long)]
    remove_old: bool,
    /// Switch even if some pictures cannot be read; they are not found until they can be
    #[arg(long)]
    leave_missing: bool,
    /// How the new vectors are stored: `f16`, or `f32` to keep them to the bit at twice the size
    #[arg(long, value_enum, value_name = "TYPE", default_value = "f16")]
    stored: Stored,
    #[command(flatten)]
    lists: Lists,
    /// One JSON object: {"model", "embedded", "missing", "failures", "switched", "removed", "stopped", "seconds"}
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: Arguments, session: &Session) -> anyhow::Result<()> {
    let Arguments { library, remove_old, leave_missing, stored, lists, json } = arguments;
    // Before the model is loaded, which takes longer.
    super::open(&library)?;
    let embedder = session.embedder()?;
    let options = MigrateOptions { remove_old, leave_missing, dtype: stored.into(), data: lists.options(), stop: stop::asked() };
    let bar = session.bar();
    let done = migrate(&library, &embedder, &options, &bar)?;
    drop(bar);
    session.warn_failures(&done.failures);
    if json {
        session.printer.json(&done)?;
    }
    let embedded = thousands(done.embedded);
    if done.switched {
        session.printer.note(format!("{embedded} pictures embedded; `{}` answers with `{}` now", library.display(), done.model));
        return Ok(());
    }
    let message = format!("{embedded} pictures embedded, {} still to do; the old vectors go on answering", thousands(done.missing));
    let hint = match done.stopped {
        true => "the same command goes on from here".to_owned(),
        false => format!(
            "pictures that are gone are forgotten by `hua index -o {}`; `--leave-missing` switches without those that cannot be read",
            library.display()
        ),
    };
    Err(Complaint::file(message).hint(hint).into())
}
