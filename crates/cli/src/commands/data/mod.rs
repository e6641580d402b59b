//! `hua data`: data sets of pictures and texts as files: in another form, whether they are sound, what is in them.

mod check;
mod convert;
mod stats;

use clap::{Args, Subcommand};

use crate::session::Session;

/// Convert, check and describe data sets of pictures and texts
///
/// A data set is whatever lists pictures: a folder, webdataset and img2dataset tars, Chinese-CLIP's TSV and LMDB, CSV, JSONL and parquet with
/// paths or bytes. Each of these is converted into each other, checked before a training run, and described, without a model.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Check(check::Arguments),
    Convert(convert::Arguments),
    Stats(stats::Arguments),
}

pub fn run(Arguments { command }: Arguments, session: &Session) -> anyhow::Result<()> {
    match command {
        Command::Check(arguments) => check::run(arguments, session),
        Command::Convert(arguments) => convert::run(arguments, session),
        Command::Stats(arguments) => stats::run(arguments, session),
    }
}
