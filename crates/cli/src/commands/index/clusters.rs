//! `hua index clusters`: groups of pictures that are alike.

use std::path::PathBuf;

use clap::Args;

use crate::session::Session;

/// Group pictures by what they show
///
/// Puts pictures that are near to each other into groups.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua index clusters library")]
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
