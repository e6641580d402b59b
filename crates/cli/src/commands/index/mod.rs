//! `hua index`: makes, follows and tends a library, a folder with the vectors and all that is known of many pictures. With folders and
//! `-o LIB` it takes pictures in (`ingest.rs`); each command is a file here.
//!
//! A folder that is called like a command (`info`) is named `./info`.

mod check;
mod clusters;
mod compact;
mod dups;
mod errors;
mod export;
mod import;
mod info;
mod ingest;
pub mod lists;
mod migrate;
mod tag;

use std::path::Path;

use clap::{Args, Subcommand};
use hua::index::Reader;

use crate::session::Session;

/// Take pictures into a library, and tend it
///
/// A library is one folder with the vectors of pictures, their captions, tags and dates, and what `hua search LIB` needs to answer at once,
/// whatever their number. Indexing again takes in what is new or changed, forgets what was deleted, and leaves the rest alone; it may be
/// stopped at any time and goes on where it was.
///
/// Folders are walked with what is below them. Files that list pictures are read too: webdataset tars, Chinese-CLIP's TSV and LMDB, and
/// CSV, JSONL and parquet with a column of paths or bytes. A picture that cannot be used never stops the run: `hua index errors LIB` lists
/// them.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, subcommand_value_name = "COMMAND")]
#[command(after_long_help = "\
Examples:
  hua index ~/Pictures -o library
  hua index ~/Pictures /mnt/camera -o library --watch
  hua index shards/ captions.parquet -o library --model altclip-m9 --json
  hua index info library")]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    ingest: ingest::Arguments,
}

#[derive(Subcommand)]
enum Command {
    Check(check::Arguments),
    Clusters(clusters::Arguments),
    Compact(compact::Arguments),
    Dups(dups::Arguments),
    Errors(errors::Arguments),
    Export(export::Arguments),
    Import(import::Arguments),
    Info(info::Arguments),
    Migrate(migrate::Arguments),
    Tag(tag::Arguments),
}

pub fn run(Arguments { command, ingest }: Arguments, session: &Session) -> anyhow::Result<()> {
    match command {
        None => ingest::run(ingest, session),
        Some(Command::Check(arguments)) => check::run(arguments, session),
        Some(Command::Clusters(arguments)) => clusters::run(arguments, session),
        Some(Command::Compact(arguments)) => compact::run(arguments, session),
        Some(Command::Dups(arguments)) => dups::run(arguments, session),
        Some(Command::Errors(arguments)) => errors::run(arguments, session),
        Some(Command::Export(arguments)) => export::run(arguments, session),
        Some(Command::Import(arguments)) => import::run(arguments, session),
        Some(Command::Info(arguments)) => info::run(arguments, session),
        Some(Command::Migrate(arguments)) => migrate::run(arguments, session),
        Some(Command::Tag(arguments)) => tag::run(arguments, session),
    }
}

/// Opens a library to look at it.
fn open(path: &Path) -> Result<Reader, hua::Error> {
    Ok(Reader::open(path)?)
}
