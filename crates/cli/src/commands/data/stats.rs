//! `hua data stats`: what is in a data set.

use std::path::PathBuf;

use clap::Args;
use hua::datasets::{Distribution, LanguageStats, ScanOptions, Stats, stats};
use hua::shown::thousands;

use crate::commands::index::lists::Lists;
use crate::complaint::Complaint;
use crate::session::Session;
use crate::table::{Align, Table, with_prefix};

/// Show what is in a data set: pictures, captions, languages, lengths, sizes
///
/// Captions are counted at each picture, as training meets them. With `--model`, their lengths are counted in the tokens of that model
/// too, and how many are longer than it reads.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua data stats data/emoji-9l --split valid
  hua data stats shards/ --model altclip-m9
  hua data stats captions.parquet --json | jq .languages")]
pub struct Arguments {
    /// Folders, and files that list pictures
    #[arg(value_name = "SRC", required = true)]
    sources: Vec<PathBuf>,
    #[command(flatten)]
    lists: Lists,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Cells of the longest bar.
const BAR: usize = 24;
/// Rows of a table of shares; the rest is summed.
const ROWS: usize = 12;

pub fn run(Arguments { sources, lists, json }: Arguments, session: &Session) -> anyhow::Result<()> {
    let options = ScanOptions { data: lists.options(), decode: false, threads: session.settings.threads };
    // A tokenizer is that of a model that was asked for: the built-in one says nothing about another.
    let embedder = session.settings.model.is_some().then(|| session.embedder()).transpose()?;
    let bar = session.bar();
    let stats = stats(&sources, embedder.as_ref().map(hua::Embedder::tokenizer), &options, &bar)?;
    drop(bar);
    let failures = stats.failures.iter().map(|failure| hua::Failure { path: failure.name.clone(), reason: failure.reason.clone() });
    session.warn_failures(&failures.collect::<Vec<_>>());
    if json {
        session.printer.json(&stats)?;
    } else {
        show(&stats, session)?;
    }
    if stats.pictures == 0 {
        return Err(Complaint::file("no picture that can be used").into());
    }
    Ok(())
}

fn show(stats: &Stats, session: &Session) -> anyhow::Result<()> {
    let mut table = Table::plain(&[Align::Left, Align::Right, Align::Left]);
    let again = |count: u64, of: &str| if count == 0 { String::new() } else { format!("{} {of}", thousands(count)) };
    let mut row = |name: &str, number: u64, more: String| table.row([name.to_owned(), thousands(number), more]);
    row("pictures", stats.pictures, again(stats.duplicate_pictures, "with bytes that came before"));
    row("captions", stats.captions, format!("{} different", thousands(stats.distinct_captions)));
    row("tags", stats.tags.iter().map(|(_, count)| count).sum(), format!("{} different", thousands(stats.distinct_tags)));
    row("bytes", stats.bytes, format!("{}B", with_prefix(stats.bytes)));
    session.printer.data(table)?;

    let titles = ["least", "median", "mean", "95 %", "most"].map(|title| (title, Align::Right));
    let mut table = Table::titled(&[&[("", Align::Left)][..], &titles].concat());
    let mut row = |name: &str, numbers: &Distribution| {
        let quantile = |share| thousands(numbers.quantile(share));
        let mean = format!("{:.1}", numbers.mean());
        table.row([name.to_owned(), quantile(0.0), quantile(0.5), mean, quantile(0.95), quantile(1.0)]);
    };
    row("width", &stats.widths);
    row("height", &stats.heights);
    row("bytes of a file", &stats.file_bytes);
    row("captions of a picture", &stats.captions_a_picture);
    for (code, LanguageStats { characters, tokens, .. }) in &stats.languages {
        row(&format!("characters, {}", named(code)), characters);
        tokens.iter().for_each(|tokens| row(&format!("tokens, {}", named(code)), tokens));
    }
    session.printer.data(format!("\n{table}"))?;

    shares("format", stats.formats.iter().map(|(name, count)| (name.clone(), *count)).collect(), session)?;
    shares("language of captions", stats.languages.iter().map(|(code, of)| (named(code), of.captions)).collect(), session)?;
    let captions = stats.captions_a_picture.iter().map(|(captions, pictures)| (captions.to_string(), pictures));
    shares("captions of a picture", captions.collect(), session)?;
    shares("tag", stats.tags.clone(), session)?;
    let cut: u64 = stats.languages.values().filter_map(|language| language.cut).sum();
    if cut > 0 {
        session.printer.warning(format!("{} captions are longer than the model reads: their ends would not count", thousands(cut)));
    }
    Ok(())
}

fn named(code: &str) -> String {
    if code.is_empty() { "no language said".into() } else { code.to_owned() }
}

/// Counts with their bars, if there is more than one to compare.
fn shares(title: &str, counts: Vec<(String, u64)>, session: &Session) -> anyhow::Result<()> {
    if counts.len() < 2 {
        return Ok(());
    }
    session.printer.data("")?;
    session.printer.heading(title)?;
    let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
    let mut table = Table::plain(&[Align::Left, Align::Right, Align::Left]).indented(2);
    for (name, count) in counts.iter().take(ROWS) {
        table.row([name.clone(), thousands(*count), bar(*count, most)]);
    }
    session.printer.data(table)?;
    if counts.len() > ROWS {
        let rest: u64 = counts[ROWS..].iter().map(|(_, count)| count).sum();
        session.printer.data(format!("  and {} more with {}", counts.len() - ROWS, thousands(rest)))?;
    }
    Ok(())
}

/// A bar in eighths of a cell.
fn bar(count: u64, most: u64) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (count as f64 / most as f64 * (BAR * 8) as f64).ceil() as usize;
    format!("{}{}", "█".repeat(eighths / 8), PARTS[eighths % 8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_counts() {
        assert_eq!([bar(100, 100).chars().count(), bar(50, 100).chars().count(), bar(0, 100).chars().count()], [24, 12, 0]);
        assert_eq!(bar(1, 10_000), "▏");
    }
}
