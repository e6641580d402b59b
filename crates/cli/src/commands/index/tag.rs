//! `hua index tag`: zero-shot tags.

use std::path::PathBuf;

use clap::Args;

use crate::session::Session;

/// Write tags that fit the pictures
///
/// Compares every picture with the labels of a list and writes those that fit into the library.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua index tag library")]
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
