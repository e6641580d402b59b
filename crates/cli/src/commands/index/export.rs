//! `hua index export`: vectors and facts for other programs.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;
use hua::exchange::{ExportOptions, Format, export};
use hua::index::{Filter, SpaceState};
use hua::shown::thousands;

use super::open;
use crate::complaint::Complaint;
use crate::session::Session;
use crate::table::counted;

/// Write a library in the format of another program
///
/// The name says the format, unless `--format` does: OUT.npy ([rows, width], paths in OUT.ids.txt), OUT.safetensors (tensor `embeddings`, paths
/// and model in its metadata), OUT.img_feat.jsonl (Chinese-CLIP's {"image_id", "feature"}), OUT.csv, OUT.jsonl and OUT.parquet (a table of what
/// is known about each picture), and a name without extension for clip-retrieval's folder: img_emb/img_emb_0000.npy in f16 and
/// metadata/metadata_0000.parquet. Rows are in the order of item numbers. A file gets its name when it is whole.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua index export library pictures.safetensors
  hua index export library clip-folder                         a folder for clip-retrieval
  hua index export library cats.csv --tag cat --where \"taken >= '2024'\"
  hua index export library all.jsonl --vectors")]
pub struct Arguments {
    /// The library
    #[arg(value_name = "LIB")]
    library: PathBuf,
    /// Where to write
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// The format, whatever the name says
    #[arg(long, value_name = "FORMAT", value_parser = formats())]
    format: Option<String>,
    /// Only items of which this SQL is true, as in `hua search`; repeatable
    #[arg(long = "where", value_name = "SQL")]
    filter: Vec<String>,
    /// Only items with this tag; repeatable, and then with all of them
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Vectors of this model, if the library has more than one; else of the one that answers
    #[arg(long, value_name = "NAME")]
    space: Option<String>,
    /// Write vectors into lines of JSON too
    #[arg(long)]
    vectors: bool,
    /// Say on stdout what was done, as one JSON object: {"items", "without_vector"}
    #[arg(long)]
    json: bool,
}

/// Names of formats, for `--format`.
pub fn formats() -> PossibleValuesParser {
    PossibleValuesParser::new(Format::ALL.map(|(name, _)| name))
}

/// The format that was named, or that the name of `path` says.
pub fn format(named: Option<&str>, path: &std::path::Path) -> Result<Format, Complaint> {
    let named = named.and_then(|wanted| Format::ALL.into_iter().find(|(name, _)| *name == wanted)).map(|(_, format)| format);
    named.or_else(|| Format::of(path)).ok_or_else(|| {
        let names = Format::ALL.map(|(name, _)| format!("`{name}`")).join(", ");
        Complaint::caller(format!("the name `{}` says no format, wanted one of {names}", path.display())).hint("say it with `--format`")
    })
}

pub fn run(arguments: Arguments, session: &Session) -> anyhow::Result<()> {
    let Arguments { library, out, format: named, filter, tag, space, vectors, json } = arguments;
    let format = format(named.as_deref(), &out)?;
    let reader = open(&library)?;
    let space = match &space {
        Some(name) => reader.space(Some(name)),
        None => reader.space(None),
    };
    let Some(space) = space else {
        let names: Vec<String> = reader.spaces().iter().map(|space| format!("`{}`", space.spec.name)).collect();
        return Err(Complaint::caller(format!("`{}` has vectors of {} alone", library.display(), names.join(", "))).into());
    };
    if space.state != SpaceState::Live {
        session.printer.warning(format!("vectors of `{}` are not complete: `hua index migrate` goes on with them", space.spec.name));
    }
    let filter = filter.into_iter().fold(Filter::all(), Filter::and_where);
    let filter = tag.into_iter().fold(filter, Filter::and_tag);
    let bar = session.bar();
    let done = export(&reader, space, &out, format, &ExportOptions { filter: &filter, vectors }, &bar)?;
    drop(bar);
    if done.without_vector > 0 {
        session.printer.warning(format!("{} without a vector left out", counted(done.without_vector as usize, "picture")));
    }
    session.printer.note(format!("{} pictures in `{}`", thousands(done.items), out.display()));
    if json {
        session.printer.json(&done)?;
    }
    Ok(())
}
