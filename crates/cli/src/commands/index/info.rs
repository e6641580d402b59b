//! `hua index info`: what is in a library.

use std::path::PathBuf;

use clap::Args;

use crate::session::Session;

/// Show what is in a library
///
/// Counts, models, sizes on disk, and what failed.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua index info library")]
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
