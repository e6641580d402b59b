//! `hua eval`: how good a model is, by the definitions of the field's reports. Each kind of evaluation is a file here; what they share, how much is drawn
//! for intervals and in whose form the answer is, is here.

mod compare;
mod probe;
mod retrieval;
mod zeroshot;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use hua::data::{Columns, Options};
use hua::evaluate::{Bootstrap, ClassificationReport, FigureIntervals, Interval, clip_benchmark};
use hua::shown::thousands;
use serde_json::{Map, Value};

use crate::complaint::Complaint;
use crate::session::Session;
use crate::table::{Align, Table, counted};

/// Score a model on a data set
///
/// Figures are made by the definitions that papers and upstream's programs use, so that they can be put beside published ones, with 95 %
/// confidence intervals by bootstrap: how far a figure would move with other queries or pictures of the kind.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Probe(probe::Arguments),
    Retrieval(retrieval::Arguments),
    Zeroshot(zeroshot::Arguments),
}

pub fn run(Arguments { what }: Arguments, session: &Session) -> anyhow::Result<()> {
    match what {
        What::Probe(arguments) => probe::run(arguments, session),
        What::Retrieval(arguments) => retrieval::run(arguments, session),
        What::Zeroshot(arguments) => zeroshot::run(arguments, session),
    }
}

/// What all evaluations may be told.
#[derive(Args)]
#[command(next_help_heading = "Answer")]
struct Answer {
    /// One JSON object with all figures
    #[arg(long)]
    json: bool,
    /// In whose form the JSON is: `hua`, or `clip-benchmark`, an object a line for each language
    #[arg(long, value_enum, value_name = "FORM", default_value = "hua")]
    format: Form,
    /// The name of the data set in `clip-benchmark`'s and ELEVATER's JSON [default: the name of its folder or file]
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Drawings for confidence intervals; 0 = none
    #[arg(long, value_name = "N", default_value_t = 1000)]
    resamples: usize,
    /// Seed of the drawings: the same gives the same intervals
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    ClipBenchmark,
    Hua,
}

impl Answer {
    fn bootstrap(&self) -> Bootstrap {
        Bootstrap { resamples: self.resamples, seed: self.seed, ..Bootstrap::default() }
    }

    /// The data set's name: as given, else that of `path`.
    fn dataset(&self, path: &Path) -> String {
        let own = || path.canonicalize().unwrap_or_else(|_| path.to_owned()).file_stem().map(|name| name.to_string_lossy().into_owned());
        self.dataset.clone().or_else(own).unwrap_or_default()
    }
}

/// How tables that list pictures are read.
#[derive(Args)]
#[command(next_help_heading = "Lists and archives")]
struct ListColumns {
    /// The column of tables that holds paths of pictures, if its name does not tell
    #[arg(long, value_name = "NAME")]
    path_column: Option<String>,
    /// The column of tables that holds the bytes of pictures
    #[arg(long, value_name = "NAME")]
    bytes_column: Option<String>,
}

impl ListColumns {
    fn options(self, captions: Vec<String>) -> Options {
        let columns = Columns { path: self.path_column, bytes: self.bytes_column, captions };
        Options { columns, ..Options::default() }
    }
}

/// How tables that list pictures with their classes are read.
#[derive(Args)]
#[command(next_help_heading = "Lists and archives")]
struct LabelColumns {
    /// The column of tables that holds the classes, if its name does not tell
    #[arg(long, value_name = "NAME")]
    label_column: Option<String>,
    #[command(flatten)]
    columns: ListColumns,
}

impl LabelColumns {
    /// How tables are read, and which column holds the classes.
    fn options(self) -> (Options, Option<String>) {
        (self.columns.options(vec![]), self.label_column)
    }
}

/// The first of some sources, which must all be there.
fn first(sources: &[PathBuf]) -> Result<&Path, Complaint> {
    match sources.iter().find(|path| !path.exists() && !path.to_string_lossy().contains('{')) {
        Some(missing) => Err(Complaint::caller(format!("`{}` does not exist, wanted a folder or a file of pictures", missing.display()))),
        None => Ok(&sources[0]),
    }
}

/// An object of CLIP_benchmark's.
fn results(session: &Session, name: &str, dataset: String, task: &str, language: &str, metrics: Map<String, Value>) -> anyhow::Result<()> {
    session.printer.json(&clip_benchmark::Results {
        dataset,
        model: name.to_owned(),
        pretrained: name.to_owned(),
        task: task.to_owned(),
        metrics,
        language: language.to_owned(),
    })
}

/// `45.3 – 47.1`, percent.
fn range(Interval(low, high): Interval, scale: f64) -> String {
    format!("{:.2} – {:.2}", low * scale, high * scale)
}

/// The figures of a classification for people.
fn figures(session: &Session, report: &ClassificationReport) -> anyhow::Result<()> {
    let ClassificationReport { figures, intervals, without_class, failures, .. } = report;
    session.warn_failures(failures);
    if *without_class > 0 {
        session.printer.warning(format!("{} without a class did not count", counted(*without_class, "picture")));
    }
    session.printer.note(format!("{}, {} classes", counted(figures.samples, "picture"), thousands(figures.classes as u64)));
    let mut table = Table::titled(&[("figure", Align::Left), ("%", Align::Right), ("95 %", Align::Right)]);
    let interval =
        |of: fn(&FigureIntervals) -> Option<Interval>| intervals.as_ref().and_then(of).map(|i| range(i, 100.0)).unwrap_or_default();
    for (name, figure, interval) in [
        ("accuracy, first", figures.acc1, interval(|i| Some(i.acc1))),
        ("accuracy, first five", figures.acc5, interval(|i| i.acc5)),
        ("mean per class", figures.mean_per_class_recall, interval(|i| Some(i.mean_per_class_recall))),
        ("ROC-AUC", figures.roc_auc, String::new()),
        ("mAP, 11 points", figures.map_11_points, String::new()),
        ("mAP", figures.mean_average_precision, String::new()),
    ] {
        if let Some(figure) = figure {
            table.row([name.to_owned(), format!("{:.2}", 100.0 * figure), interval]);
        }
    }
    Ok(session.printer.data(table)?)
}

/// CLIP_benchmark's metrics of a classification, each name with `prefix`.
fn metrics(report: &ClassificationReport, prefix: &str) -> Map<String, Value> {
    let figures = &report.figures;
    let named = |name: &str, value: Option<f64>| (format!("{prefix}{name}"), value.map_or(Value::Null, Value::from));
    if figures.mean_average_precision.is_some() {
        return Map::from_iter([named("mean_average_precision", figures.mean_average_precision)]);
    }
    Map::from_iter([
        named("acc1", figures.acc1),
        named("acc5", figures.acc5),
        named("mean_per_class_recall", figures.mean_per_class_recall),
    ])
}
