//! `hua index info`: what is in a library.

use std::path::PathBuf;

use clap::Args;
use hua::index::{SpaceState, Stats};
use hua::shown::thousands;
use serde::Serialize;

use super::open;
use crate::session::Session;
use crate::table::{Align, Table};

/// Show what is in a library
///
/// How many pictures, with vectors of which models, how large on disk, what it was made from, and how many pictures failed.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua index info library
  hua index info library --json | jq .items")]
pub struct Arguments {
    /// The library
    #[arg(value_name = "LIB")]
    library: PathBuf,
    /// One JSON object: {"library", "sources", "items", "errors", "catalogue_bytes", "spaces": [{"space", "vectors", "bytes", …}]}
    #[arg(long)]
    json: bool,
}

/// The answer of `--json`.
#[derive(Serialize)]
struct Report<'a> {
    library: String,
    sources: Vec<PathBuf>,
    #[serde(flatten)]
    stats: &'a Stats,
}

pub fn run(Arguments { library, json }: Arguments, session: &Session) -> anyhow::Result<()> {
    let reader = open(&library)?;
    let stats = reader.stats().map_err(hua::Error::from)?;
    let sources = hua::library::sources(&reader)?;
    if json {
        return session.printer.json(&Report { library: library.display().to_string(), sources, stats: &stats });
    }
    let mut table = Table::plain(&[Align::Left, Align::Left]);
    table.row(["pictures".into(), thousands(stats.items)]);
    table.row(["failed".into(), thousands(stats.errors)]);
    table.row(["catalogue".into(), size(stats.catalogue_bytes)]);
    for source in &sources {
        table.row(["made from".into(), source.display().to_string()]);
    }
    session.printer.data(table)?;
    session.printer.data("")?;
    let columns = [
        ("model", Align::Left),
        ("fingerprint", Align::Left),
        ("preprocessing", Align::Left),
        ("answers", Align::Left),
        ("vectors", Align::Right),
        ("deleted", Align::Right),
        ("stored as", Align::Left),
        ("on disk", Align::Right),
    ];
    let mut table = Table::titled(&columns);
    for space in &stats.spaces {
        let spec = &space.space.spec;
        let answers = if space.space.state == SpaceState::Live { "yes" } else { "no" };
        table.row([
            spec.name.clone(),
            spec.fingerprint.clone(),
            spec.preprocessing.clone(),
            answers.into(),
            thousands(space.vectors),
            thousands(space.dead),
            format!("{} × {}", spec.width, spec.dtype.name()),
            size(space.bytes),
        ]);
    }
    Ok(session.printer.data(table)?)
}

/// Bytes for people.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}
