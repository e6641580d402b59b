//! `hua index compact`: makes a library as small as it can be.

use std::path::PathBuf;

use clap::Args;
use hua::index::Writer;
use hua::shown::thousands;

use super::info::size;
use crate::session::Session;

/// Free the room of what was deleted
///
/// Vectors of deleted and changed pictures stay in the files until a third of a file is of that kind; `hua index` then writes it anew. This
/// does it for every file at once.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua index compact library")]
pub struct Arguments {
    /// The library
    #[arg(value_name = "LIB")]
    library: PathBuf,
    /// One JSON object: {"segments", "rows", "bytes"}, what was written anew and what it gave back
    #[arg(long)]
    json: bool,
}

pub fn run(Arguments { library, json }: Arguments, session: &Session) -> anyhow::Result<()> {
    let done = Writer::open(&library).and_then(|mut writer| writer.compact(true)).map_err(hua::Error::from)?;
    session.printer.note(format!("{} vectors taken out of `{}`: {}", thousands(done.rows), library.display(), size(done.bytes)));
    if json {
        session.printer.json(&done)?;
    }
    Ok(())
}
