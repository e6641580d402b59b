//! `hua index dups`: near-duplicates.

use std::path::PathBuf;

use clap::Args;

use crate::session::Session;

/// Find pictures that are nearly the same
///
/// Groups pictures whose vectors are so near that they are copies, other sizes or edits of one picture.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua index dups library")]
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
