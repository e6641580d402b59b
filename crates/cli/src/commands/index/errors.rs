//! `hua index errors`: the pictures that could not be taken in.

use std::path::PathBuf;

use clap::Args;

use crate::session::Session;

/// List the pictures that could not be used, and why
///
/// They are tried again when they change, or with `hua index DIR -o LIB --retry`.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua index errors library")]
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
