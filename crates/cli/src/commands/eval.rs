//! `hua eval`: how good a model is, by the definitions of the field's reports.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hua::evaluate::{Recalls, RetrievalReport, retrieval};

use crate::session::Session;
use crate::table::{Align, Table, thousands};

/// Score a model on a data set
///
/// Figures are made by the definitions that papers and upstream's programs use, so that they can be put beside published ones.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Retrieval(Retrieval),
}

/// Recalls of finding pictures by texts and texts by pictures
///
/// The data set is a folder in Chinese-CLIP's format: SPLIT_imgs.tsv (id, tab, base64 of the picture file) and SPLIT_texts.jsonl (`text`,
/// `image_ids`, and optionally `lang`). R@K is the share of queries with a right answer among the K best, MR the mean of the six recalls;
/// texts are scored by language if the records have one.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua eval retrieval --data data/emoji-9l --split valid
  hua eval retrieval --model altclip-m9 --data MUGE --split valid --json > metrics.json")]
struct Retrieval {
    /// Folder of the data set
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Which part of it: the beginning of the files' names
    #[arg(long, value_name = "NAME")]
    split: String,
    /// One JSON object: {"languages": {"en": {"text_to_image": {"R@1", …}, "image_to_text", "MR"}}, …}
    #[arg(long)]
    json: bool,
}

pub fn run(Arguments { what: What::Retrieval(arguments) }: Arguments, session: &Session) -> anyhow::Result<()> {
    let Retrieval { data, split, json } = arguments;
    let embedder = session.embedder()?;
    let bar = session.bar();
    let report = retrieval(&embedder, &data, &split, &bar)?;
    drop(bar);
    session.warn_failures(&report.failures);
    if report.texts_without_image > 0 {
        session
            .printer
            .warning(format!("{} texts name no picture of the split and are not asked", thousands(report.texts_without_image as u64)));
    }
    if report.texts_cut > 0 {
        session.printer.warning(format!("{} texts are longer than the model reads", thousands(report.texts_cut as u64)));
    }
    if json {
        return session.printer.json_pretty(&report);
    }
    let images = thousands(report.images as u64);
    session.printer.note(format!("{images} pictures, {} texts a language", thousands(report.texts_per_language as u64)));
    Ok(session.printer.data(table(&report))?)
}

fn table(report: &RetrievalReport) -> Table {
    let title = |text| (text, Align::Right);
    let mut table = Table::titled(&[
        ("language", Align::Left),
        title("text→image R@1"),
        title("R@5"),
        title("R@10"),
        title("image→text R@1"),
        title("R@5"),
        title("R@10"),
        title("MR"),
    ]);
    let mut row = |name: &str, forth: &Recalls, back: &Recalls, mean: f64| {
        let cells = forth.values().into_iter().chain(back.values()).chain([mean]).map(|value| format!("{value:.2}"));
        table.row([name.to_owned()].into_iter().chain(cells));
    };
    for (language, scores) in &report.languages {
        row(language, &scores.text_to_image, &scores.image_to_text, scores.mean_recall);
    }
    if report.languages.len() > 1 {
        row("mean", &report.mean_text_to_image, &report.mean_image_to_text, report.mean_mean_recall);
    }
    table
}
