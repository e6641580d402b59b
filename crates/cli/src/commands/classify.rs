//! `hua classify`: which of some labels fits a picture.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use hua::image::Picture;
use hua::{Classifier, Failure, Score};
use serde::Serialize;

use crate::complaint::Complaint;
use crate::session::Session;
use crate::table::{Align, Table};

/// Pictures in memory at a time.
const BATCH: usize = 32;

/// Choose the label that fits a picture, without training
///
/// Each label is put into each template, embedded and averaged; the cosine with the picture ranks the labels. The probability is the softmax
/// of the cosines times the scale the model was trained with, over the labels given: it says how sure the choice is, not whether any fits.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua classify cat.jpg --labels cat,dog,bird
  hua classify *.jpg --labels 猫,狗,鸟 --templates '一张{}的照片' --json
  hua classify *.jpg --labels labels.txt --templates templates.txt   a label or template a line")]
pub struct Arguments {
    /// Pictures
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// A file with a label a line, or labels with commas between
    #[arg(long, value_name = "FILE-OR-LIST")]
    labels: String,
    /// A file with a template a line, or a template: a text with `{}` for the label; repeatable
    #[arg(long, value_name = "FILE-OR-TEXT")]
    templates: Vec<String>,
    /// How many labels to show for each picture; 0 = all
    #[arg(long, short = 'k', value_name = "N", default_value_t = 5)]
    top: usize,
    /// One JSON object a picture a line: {"path", "labels": [{"label", "cosine", "probability"}]}
    #[arg(long)]
    json: bool,
}

/// A line of `--json`.
#[derive(Serialize)]
struct Answer<'a> {
    path: String,
    labels: Vec<AnswerLabel<'a>>,
}

#[derive(Serialize)]
struct AnswerLabel<'a> {
    label: &'a str,
    cosine: f32,
    probability: f32,
}

pub fn run(arguments: Arguments, session: &Session) -> anyhow::Result<()> {
    let Arguments { images, labels, templates, top, json } = arguments;
    if let Some(missing) = images.iter().find(|path| !path.exists()) {
        return Err(Complaint::caller(format!("`{}` does not exist, wanted a picture", missing.display())).into());
    }
    let labels = match Path::new(&labels) {
        file if file.is_file() => lines(file)?,
        _ => list(&labels)?,
    };
    let mut texts = Vec::new();
    for template in templates {
        match Path::new(&template) {
            file if file.is_file() => texts.extend(lines(file)?),
            _ => texts.push(template),
        }
    }
    let embedder = session.embedder()?;
    let classifier = embedder.classifier(&labels, &texts)?;
    let top = if top == 0 { labels.len() } else { top };
    let mut failures = Vec::new();
    let mut printed = 0;
    for batch in images.chunks(BATCH) {
        let mut pictures: Vec<Picture> = Vec::new();
        let mut paths = Vec::new();
        for path in batch {
            match embedder.read_picture(path) {
                Ok(picture) => {
                    pictures.push(picture);
                    paths.push(path);
                }
                Err(error) => failures.push(Failure { path: path.display().to_string(), reason: error.reason() }),
            }
        }
        if pictures.is_empty() {
            continue;
        }
        let scores = embedder.classify(&embedder.embed_images(&pictures)?, &classifier)?;
        for (path, scores) in paths.into_iter().zip(&scores) {
            let scores = &scores[..top.min(scores.len())];
            if json {
                session.printer.json(&answer(path, scores, &classifier))?;
            } else {
                print_table(session, printed, path, scores, &classifier)?;
            }
            printed += 1;
        }
    }
    session.warn_failures(&failures);
    if printed == 0 {
        return Err(Complaint::file("none of the pictures can be used").into());
    }
    Ok(())
}

/// Labels with commas between. A single one is more likely the name of a file that is not there.
fn list(labels: &str) -> Result<Vec<String>, Complaint> {
    let list: Vec<String> =
        labels.split([',', '，', '、']).map(|label| label.trim().to_owned()).filter(|label| !label.is_empty()).collect();
    match &list[..] {
        [only] => Err(Complaint::caller(format!("`{only}` is no file, and as a label leaves nothing to choose"))
            .hint("give labels with commas between, or a file with a label a line")),
        _ => Ok(list),
    }
}

/// The lines of a file that are not blank; a byte order mark is no part of the first.
pub fn lines(path: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(text.trim_start_matches('\u{feff}').lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect())
}

fn answer<'a>(path: &Path, scores: &[Score], classifier: &'a Classifier) -> Answer<'a> {
    let label =
        |score: &Score| AnswerLabel { label: &classifier.labels()[score.label], cosine: score.cosine, probability: score.probability };
    Answer { path: path.display().to_string(), labels: scores.iter().map(label).collect() }
}

fn print_table(session: &Session, number: usize, path: &Path, scores: &[Score], classifier: &Classifier) -> anyhow::Result<()> {
    if number > 0 {
        session.printer.data("")?;
    }
    session.printer.heading(&path.display().to_string())?;
    let mut table = Table::titled(&[("label", Align::Left), ("cosine", Align::Right), ("probability", Align::Right)]).indented(2);
    for score in scores {
        let label = classifier.labels()[score.label].clone();
        table.row([label, format!("{:.3}", score.cosine), format!("{:.1} %", score.probability * 100.0)]);
    }
    Ok(session.printer.data(table)?)
}
