//! `hua index export`: vectors and facts for other programs.

use std::path::PathBuf;

use clap::Args;

use crate::session::Session;

/// Write a library as files of other programs
///
/// Writes vectors, paths and captions.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua index export library")]
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
