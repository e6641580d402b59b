//! `hua index DIR… -o LIB`: takes pictures into a library.

use std::path::PathBuf;

use clap::Args;

use crate::session::Session;

#[derive(Args)]
pub struct Arguments {
    /// Folders, and files that list pictures
    #[arg(value_name = "DIR-OR-FILE", required = true)]
    sources: Vec<PathBuf>,
    /// The library: a folder, made if it is not there
    #[arg(short = 'o', long = "library", value_name = "LIB", required = true)]
    library: Option<PathBuf>,
    /// Try the pictures again that failed and have not changed since
    #[arg(long)]
    retry: bool,
    /// Go on following the folders, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// Say on stdout what was done, as one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: Arguments, _session: &Session) -> anyhow::Result<()> {
    let Arguments { sources: _, library: _, retry: _, watch: _, json: _ } = arguments;
    anyhow::bail!("not written yet")
}
