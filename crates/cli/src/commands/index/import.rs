//! `hua index import`: vectors that other programs made.

use std::path::PathBuf;

use clap::Args;
use hua::exchange::{ImportOptions, import};
use hua::shown::thousands;

use super::export::{format, formats};
use super::ingest::Stored;
use crate::complaint::Complaint;
use crate::session::Session;
use crate::table::counted;

/// Take in vectors that other programs made
///
/// Reads clip-retrieval's folder (img_emb and metadata), .npy with paths in .ids.txt beside it, .safetensors and .jsonl of `hua embed` and `hua
/// index export`, and Chinese-CLIP's features. They must be of the model that is open (`--model`): where a file does not say whose they are,
/// a few of the pictures that are there are embedded and compared. The library is made if it is not there; pictures that it knows get the
/// vector and keep the rest. `hua index` finds pictures that were taken in so unchanged, and does not embed them again.
///
/// Tables without vectors, and pictures, are taken in by `hua index` itself.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua index import library clip-folder --model ./ViT-B-32 --base ~/Pictures
  hua index import library pictures.safetensors
  hua index import library valid_imgs.img_feat.jsonl --images valid_imgs.tsv --model chinese-clip-base")]
pub struct Arguments {
    /// The library
    #[arg(value_name = "LIB")]
    library: PathBuf,
    /// What to read
    #[arg(value_name = "FROM")]
    from: PathBuf,
    /// The format, whatever the name says
    #[arg(long, value_name = "FORMAT", value_parser = formats())]
    format: Option<String>,
    /// The folder that relative paths are meant from
    #[arg(long, value_name = "DIR", default_value = ".")]
    base: PathBuf,
    /// The data set whose pictures the numbers of Chinese-CLIP's features mean
    #[arg(long, value_name = "IMGS.tsv")]
    images: Option<PathBuf>,
    /// Believe that the vectors are of the model, without a look at the pictures
    #[arg(long)]
    trust: bool,
    /// How a new library stores vectors
    #[arg(long, value_enum, value_name = "TYPE", default_value = "f16")]
    stored: Stored,
    /// Say on stdout what was done, as one JSON object: {"added", "replaced", "without_file", "checked", "failed"}
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: Arguments, session: &Session) -> anyhow::Result<()> {
    let Arguments { library, from, format: named, base, images, trust, stored, json } = arguments;
    let format = format(named.as_deref(), &from)?;
    if !from.exists() {
        return Err(Complaint::caller(format!("`{}` is not there, wanted vectors to take in", from.display())).into());
    }
    let embedder = session.embedder()?;
    let options = ImportOptions { base, numbered: images, trust, dtype: stored.into() };
    let bar = session.bar();
    let done = import(&library, &from, format, &embedder, &options, &bar)?;
    drop(bar);
    session.warn_failures(&done.failures);
    if done.failed > done.failures.len() as u64 {
        session.printer.warning(format!("{} more failed", thousands(done.failed - done.failures.len() as u64)));
    }
    if done.checked == 0 && !trust && done.added + done.replaced > 0 {
        let message = format!("no picture was there to tell whether the vectors are of `{}`", embedder.name());
        session.printer.warning(message);
    }
    if done.without_file > 0 {
        let pictures = counted(done.without_file as usize, "picture");
        session.printer.warning(format!("the files of {pictures} are not there; `--base DIR` says what relative paths are meant from"));
    }
    let (added, replaced) = (thousands(done.added), thousands(done.replaced));
    session.printer.note(format!("pictures: {added} new, {replaced} with another vector in `{}`", library.display()));
    if json {
        session.printer.json(&done)?;
    }
    Ok(())
}
