//! `hua data check`: whether a data set is what a trainer needs.

use std::path::PathBuf;

use clap::Args;
use hua::datasets::{Checked, ScanOptions, Severity, check};
use hua::shown::thousands;

use crate::commands::index::lists::Lists;
use crate::complaint::Complaint;
use crate::session::Session;
use crate::table::{Align, Table, counted};

/// Check a data set before training on it
///
/// Every picture must be there and have a sound header (`--decode` decodes all of it), every row its columns, every text its pictures; captions
/// must not be empty, ids not come twice. With `--against`, no picture may be in the other data set too: a test set that was trained on
/// measures nothing. Exit code 1 if any of that is wrong. Told as well, and no fault: pictures and captions that come twice, tiny
/// pictures, pictures without words, captions that both data sets have.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua data check data/emoji-9l --split valid
  hua data check shards/ --decode --json > check.json
  hua data check set --split test --against set/train_imgs.tsv")]
pub struct Arguments {
    /// Folders, and files that list pictures
    #[arg(value_name = "SRC", required = true)]
    sources: Vec<PathBuf>,
    /// Decode every picture, and not the header alone: finds those that are cut off
    #[arg(long)]
    decode: bool,
    /// Another data set that must not share pictures with this one; repeatable
    #[arg(long, value_name = "OTHER")]
    against: Vec<PathBuf>,
    /// Exit code 1 for what is no fault too
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    lists: Lists,
    /// One JSON object: {"pictures", "captions", "languages", "findings": [{"kind", "what", "severity", "count", "examples"}]}
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: Arguments, session: &Session) -> anyhow::Result<()> {
    let Arguments { sources, decode, against, strict, lists, json } = arguments;
    let options = ScanOptions { data: lists.options(), decode, threads: session.settings.threads };
    let bar = session.bar();
    let checked = check(&sources, &against, &options, &bar)?;
    drop(bar);
    if json {
        session.printer.json(&checked)?;
    } else {
        show(&checked, session)?;
    }
    let (pictures, captions) = (counted(checked.pictures as usize, "picture"), counted(checked.captions as usize, "caption"));
    let how = if decode { "decoded" } else { "looked at by their headers" };
    session.printer.note(format!("{pictures} with {captions} were {how}"));
    let bad = checked.findings.iter().filter(|finding| strict || finding.severity == Severity::Error).count();
    if bad == 0 {
        return Ok(());
    }
    Err(Complaint::file(format!("the data set is not sound: {} of faults found", counted(bad, "kind"))).into())
}

fn show(checked: &Checked, session: &Session) -> anyhow::Result<()> {
    let mut table = Table::plain(&[Align::Left, Align::Right, Align::Left]);
    table.row(["sound".into(), thousands(checked.pictures), "pictures".into()]);
    for (code, count) in &checked.languages {
        let language = if code.is_empty() { "captions without a language".to_owned() } else { format!("captions in {code}") };
        table.row([String::new(), thousands(*count), language]);
    }
    for finding in &checked.findings {
        let severity = if finding.severity == Severity::Error { "wrong" } else { "note" };
        table.row([severity.into(), thousands(finding.count), finding.what.into()]);
    }
    session.printer.data(table)?;
    for finding in checked.findings.iter().filter(|finding| !finding.examples.is_empty()) {
        session.printer.data("")?;
        session.printer.heading(finding.what)?;
        let mut table = Table::plain(&[Align::Left, Align::Left]).indented(2);
        finding.examples.iter().for_each(|example| table.row([example.name.clone(), example.what.clone()]));
        session.printer.data(table)?;
        let more = finding.count - finding.examples.len() as u64;
        if more > 0 {
            session.printer.data(format!("  and {} more", thousands(more)))?;
        }
    }
    Ok(())
}
