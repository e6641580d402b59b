//! `hua index migrate`: another model for the same pictures.

use std::path::PathBuf;

use clap::Args;

use crate::session::Session;

/// Give a library another model
///
/// Embeds all pictures with the model of `--model` while the old vectors go on answering, then switches. It may be stopped and goes on where it was.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua index migrate library --model altclip-m9")]
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
