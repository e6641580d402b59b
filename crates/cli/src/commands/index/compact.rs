//! `hua index compact`: makes a library as small as it can be.

use std::path::PathBuf;

use clap::Args;

use crate::session::Session;

/// Free the room of what was deleted
///
/// Writes the segments anew in which a part is of pictures that were deleted or changed.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua index compact library")]
pub struct Arguments {
    /// The library
    #[arg(value_name = "LIB")]
    library: PathBuf,
    /// JSON instead of a table
    #[arg(long)]
    json: bool,
}

pub fn run(Arguments { library: _, json: _ }: Arguments, _session: &Session) -> anyhow::Result<()> {
    anyhow::bail!("not written yet")
}
