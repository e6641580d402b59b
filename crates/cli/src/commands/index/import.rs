//! `hua index import`: vectors that other programs made.

use std::path::PathBuf;

use clap::Args;

use crate::session::Session;

/// Take in vectors that other programs made
///
/// Reads vectors with paths and captions.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua index import library")]
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
