//! `hua index clusters`: groups of pictures that are alike.

use std::path::PathBuf;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use hua::Error;
use hua::query::{ClusterOptions, clusters, cores};
use hua::shown::thousands;
use serde::Serialize;

use super::dups::live;
use super::open;
use crate::session::Session;
use crate::table::{Align, Table, counted};

/// Group pictures by what they show
///
/// Puts pictures that are near to each other into clusters (spherical k-means; the same library gives the same clusters). Each is told by the
/// picture nearest to its middle, and by the tags or caption words that it has more of than others; `hua index tag` writes tags.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua index clusters library
  hua index clusters library --count 30 --examples 5 --json | jq .words")]
pub struct Arguments {
    /// The library
    #[arg(value_name = "LIB")]
    library: PathBuf,
    /// How many clusters; without it the root of half the number of pictures, at most 200
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=4096))]
    count: Option<usize>,
    /// How many pictures of each to list with `--json`, those nearest to the middle
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1000))]
    examples: usize,
    /// One JSON object a cluster a line: {"size", "tightness", "words", "examples": [{"item", "path", "score"}]}
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    size: u64,
    tightness: f32,
    words: &'a [String],
    examples: Vec<Example>,
}

#[derive(Serialize)]
struct Example {
    item: i64,
    path: String,
    score: f32,
}

pub fn run(Arguments { library, count, examples, json }: Arguments, session: &Session) -> anyhow::Result<()> {
    let reader = open(&library)?;
    let space = live(&reader)?;
    let bar = session.bar();
    // Words come from more pictures than are listed.
    let options = ClusterOptions { count, examples: examples.max(ClusterOptions::default().examples) };
    let found = clusters(&reader, &cores(session.settings.threads)?, space, &options, &bar)?;
    drop(bar);
    let columns = [("pictures", Align::Right), ("tightness", Align::Right), ("words", Align::Left), ("the middle", Align::Left)];
    let mut table = Table::titled(&columns);
    for cluster in &found.clusters {
        let listed = if json { examples } else { 1 };
        let mut shown = vec![];
        for (item, score) in cluster.examples.iter().take(listed) {
            let path = reader.item(*item).map_err(Error::from)?.map(|item| item.path).unwrap_or_default();
            shown.push(Example { item: item.0, path, score: *score });
        }
        if json {
            session.printer.json(&Line { size: cluster.size, tightness: cluster.tightness, words: &cluster.words, examples: shown })?;
        } else {
            let middle = shown.pop().map(|example| example.path).unwrap_or_default();
            table.row([thousands(cluster.size), format!("{:.2}", cluster.tightness), cluster.words.join(", "), middle]);
        }
    }
    if !json {
        session.printer.data(table)?;
    }
    session.printer.note(format!("{} of {}", counted(found.clusters.len(), "cluster"), counted(found.items as usize, "picture")));
    Ok(())
}
