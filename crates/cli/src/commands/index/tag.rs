//! `hua index tag`: zero-shot tags.

use std::path::PathBuf;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use hua::Error;
use hua::index::Writer;
use hua::library::live_space;
use hua::query::{Calibration, SUGGESTED_LEVEL, TagOptions, cores, tag};
use hua::shown::thousands;
use serde::Serialize;

use super::open;
use crate::commands::classify::lines;
use crate::complaint::Complaint;
use crate::session::Session;
use crate::table::{Align, Table};

/// Write tags that fit the pictures
///
/// Compares every picture with the labels of a list, without training, and writes those that fit into the library, each with its level as
/// score and its source. A label fits where a picture stands out for it as `hua search --min-score` has it, so a label that no picture shows
/// is written nowhere. Tags of the same source are replaced; `--remove` takes them away again. Tags are found by `hua search --tag` and `--words`.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua index tag library --labels labels.txt
  hua index tag library --labels 标签.txt --template '一张{}的照片' --level 0.95
  hua index tag library --remove")]
pub struct Arguments {
    /// The library
    #[arg(value_name = "LIB")]
    library: PathBuf,
    /// A file with a label a line
    #[arg(long, value_name = "FILE", required_unless_present = "remove")]
    labels: Option<PathBuf>,
    /// A sentence to put labels into, with one `{}`; repeatable, and then the mean counts
    #[arg(long, value_name = "SENTENCE")]
    template: Vec<String>,
    /// The least level of a tag
    #[arg(long, value_name = "LEVEL", default_value = SUGGESTED)]
    level: f32,
    /// Tags of a picture at most
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    most: usize,
    /// The name that the tags are filed under
    #[arg(long, value_name = "NAME", default_value = "zero-shot")]
    source: String,
    /// Remove the tags of the source and write none
    #[arg(long, conflicts_with = "labels")]
    remove: bool,
    /// One JSON object: {"source", "items", "tagged", "replaced", "labels": [{"label", "items"}]}
    #[arg(long)]
    json: bool,
}

/// [`SUGGESTED_LEVEL`] as clap wants it; a test says that it is.
const SUGGESTED: &str = "0.9";

#[derive(Serialize)]
struct Report<'a> {
    source: &'a str,
    items: u64,
    tagged: u64,
    replaced: u64,
    labels: Vec<Counted<'a>>,
}

#[derive(Serialize)]
struct Counted<'a> {
    label: &'a str,
    items: u64,
}

pub fn run(arguments: Arguments, session: &Session) -> anyhow::Result<()> {
    let Arguments { library, labels, template, level, most, source, remove, json } = arguments;
    if !(0.0..1.0).contains(&level) {
        return Err(Complaint::caller(format!("`--level` is {level}, wanted one from 0 to below 1, such as {SUGGESTED_LEVEL}")).into());
    }
    let reader = open(&library)?;
    let options = TagOptions { source, least_level: level, most };
    let Some(labels) = labels.filter(|_| !remove) else {
        let mut writer = Writer::open(&library).map_err(Error::from)?;
        let removed = writer.clear_tags(&options.source).map_err(Error::from)?;
        writer.commit().map_err(Error::from)?;
        if json {
            session.printer.json(&Report { source: &options.source, items: 0, tagged: 0, replaced: removed, labels: vec![] })?;
        }
        session.printer.note(format!("{} tags of `{}` removed", thousands(removed), options.source));
        return Ok(());
    };
    let labels = lines(&labels)?;
    let embedder = session.embedder()?;
    let space = live_space(&library, reader.spaces(), &embedder)?.id;
    let classifier = embedder.classifier(&labels, &template)?;
    let cores = cores(session.settings.threads)?;
    let Some(calibration) = Calibration::of_library(&embedder, &reader, space, &cores, session.cache())? else {
        let message = format!("`{}` has too few pictures to tell which of them stands out", library.display());
        return Err(Complaint::file(message).hint("`hua classify` chooses a label for each of a few pictures").into());
    };
    let mut writer = Writer::open(&library).map_err(Error::from)?;
    let bar = session.bar();
    let done = tag((&reader, &mut writer), &cores, space, &classifier, &calibration, &options, &bar)?;
    drop(bar);
    if json {
        let labels = done.labels.iter().map(|(label, items)| Counted { label, items: *items }).collect();
        let (items, tagged, replaced) = (done.items, done.tagged, done.replaced);
        session.printer.json(&Report { source: &options.source, items, tagged, replaced, labels })?;
    } else {
        let mut table = Table::titled(&[("label", Align::Left), ("pictures", Align::Right)]);
        for (label, items) in &done.labels {
            table.row([label.clone(), thousands(*items)]);
        }
        session.printer.data(table)?;
    }
    let (tagged, items) = (thousands(done.tagged), thousands(done.items));
    session.printer.note(format!("{tagged} of {items} pictures have tags of `{}` now", options.source));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_in_the_help_is_the_suggested_one() {
        assert_eq!(SUGGESTED.parse(), Ok(SUGGESTED_LEVEL));
    }
}
