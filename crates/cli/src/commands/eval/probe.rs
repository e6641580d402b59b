//! `hua eval probe`.

use std::path::PathBuf;

use clap::Args;
use hua::evaluate::{Kind, LabelledSource, probe};
use serde::Serialize;
use serde_json::Value;

use super::{Answer, Form, LabelColumns};
use crate::complaint::Complaint;
use crate::session::Session;
use crate::table::counted;

/// Accuracy of a classifier that learns from the vectors of pictures, while the model stays as it is
///
/// The linear probe is CLIP's: logistic regression by L-BFGS on the normalised vectors, the penalty of 97 from 1e-6 to 1e6 that does best on the
/// validation part, then a fit on all. Without `--val` every fifth picture of each class is the validation part. `--knn K` lets the K nearest pictures vote
/// instead. Nothing is random: the same pictures give the same figures.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua eval probe --train cifar-10/train --test cifar-10/test
  hua eval probe --train train.parquet --val valid.parquet --test test.parquet --label-column species --json
  hua eval probe --train flowers/train --test flowers/test --knn 20
  hua eval probe --train flowers/train --test flowers/test --penalty 3.16")]
pub struct Arguments {
    /// Folders by class, or files that list pictures with their classes, to learn from
    #[arg(long, required = true, num_args = 1.., value_name = "SOURCE")]
    train: Vec<PathBuf>,
    /// The same, to score on
    #[arg(long, required = true, num_args = 1.., value_name = "SOURCE")]
    test: Vec<PathBuf>,
    /// The same, to choose the penalty on
    #[arg(long, num_args = 1.., value_name = "SOURCE", conflicts_with_all = ["knn", "penalty"])]
    val: Vec<PathBuf>,
    /// Let this many nearest pictures vote instead of a linear probe
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    knn: Option<u32>,
    /// The penalty of the linear probe (scikit-learn's 1 / C), instead of choosing it
    #[arg(long, value_name = "X", conflicts_with = "knn")]
    penalty: Option<f64>,
    #[command(flatten)]
    columns: LabelColumns,
    #[command(flatten)]
    answer: Answer,
}

/// The answer of `--json`.
#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    #[serde(flatten)]
    probe: &'a hua::evaluate::Probe,
}

pub fn run(arguments: Arguments, session: &Session) -> anyhow::Result<()> {
    let Arguments { train, test, val, knn, penalty, columns, answer } = arguments;
    for sources in [&train, &test, &val].into_iter().filter(|sources| !sources.is_empty()) {
        super::first(sources)?;
    }
    if penalty.is_some_and(|penalty| !(penalty > 0.0 && penalty.is_finite())) {
        return Err(Complaint::caller("`--penalty` wants a number above 0").into());
    }
    let kind = match knn {
        Some(k) => Kind::Nearest(k as usize),
        None => Kind::Linear(penalty),
    };
    let embedder = session.embedder()?;
    let (options, column) = columns.options();
    let source = |paths| LabelledSource { paths, options: &options, column: column.as_deref() };
    let (train, validation) = (source(&train), (!val.is_empty()).then(|| source(&val)));
    let bar = session.bar();
    let found = probe(&embedder, [&train, &source(&test)], validation.as_ref(), kind, &answer.bootstrap(), &bar)?;
    drop(bar);
    if answer.format == Form::ClipBenchmark {
        let mut metrics = super::metrics(&found.report, "lp_");
        metrics.insert("l2_penalty".into(), found.penalty.map_or(Value::Null, Value::from));
        metrics.extend([("fewshot_k".to_owned(), Value::from(-1)), ("normalized".to_owned(), Value::from(true))]);
        let task = if knn.is_some() { "knn_probe" } else { "linear_probe" };
        return super::results(session, embedder.name(), answer.dataset(&test[0]), task, "en", metrics);
    }
    if answer.json {
        session.warn_failures(&found.report.failures);
        return session.printer.json_pretty(&Report { model: embedder.name(), probe: &found });
    }
    let chosen = match (found.penalty, found.validation_acc1) {
        (Some(penalty), Some(share)) => format!(", penalty {penalty:.3e} ({:.2} % of {} held back)", 100.0 * share, found.validated_on),
        _ => String::new(),
    };
    session.printer.note(format!("learned from {}{chosen}", counted(found.trained_on, "picture")));
    super::figures(session, &found.report)
}
