//! `hua index check`: whether a library is whole.

use std::path::PathBuf;

use clap::Args;

use crate::session::Session;

/// Check that a library is whole
///
/// Reads everything: the catalogue, every vector against its checksum, and whether both agree.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua index check library")]
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
