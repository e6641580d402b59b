//! `hua eval zeroshot`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use hua::evaluate::elevater::Submission;
use hua::evaluate::{ClassSet, LabelledSource, Wanted, zeroshot};
use serde::Serialize;

use super::{Answer, Form, LabelColumns};
use crate::complaint::Complaint;
use crate::session::Session;

/// Accuracy of choosing the class of pictures by the classes' names, without training
///
/// The data set is a folder with a folder for each class, or a table, list or archive whose column `label`, `class` or `tags` says the classes. The vector of
/// a class is the mean over the templates of its name in each, as in CLIP's, Chinese-CLIP's and CLIP_benchmark's evaluations. Scores depend on names
/// and templates: report them with the score.
///
/// Figures: accuracy of the first and the first five, mean per class recall, 11-point mAP (VOC 2007), of two classes ROC-AUC, of pictures with several
/// classes mAP.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua eval zeroshot caltech-101/test --language en
  hua eval zeroshot cifar-10/test --classes cifar-10/label_cn.txt --language zh --elevater cifar-10.json
  hua eval zeroshot food-101/test --classes label_cn.txt --templates cvinw_zeroshot_templates.py:food_templates
  hua eval zeroshot labels.csv --label-column breed --templates 'a photo of a {}, a dog.' --json
  hua eval zeroshot voc.parquet --classes voc.json --format clip-benchmark --dataset voc2007")]
pub struct Arguments {
    /// Folders by class, or files that list pictures with their classes
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<PathBuf>,
    /// Names of the classes: a file with a name a line, line k for class k, or JSON {\"language\", \"classes\", \"templates\"} [default: as the data set
    /// calls them]
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,
    /// A template (a text with `{}` for the name) or a file of them: a line each, JSON, or cn_clip's Python file with `:LIST` behind it; repeatable
    #[arg(long, value_name = "FILE-OR-TEXT")]
    templates: Vec<String>,
    /// The language of the names: hua's own templates of this language (ar en es fr it ja ko ru zh), unless others are named
    #[arg(long, value_name = "LANG")]
    language: Option<String>,
    /// Write the probabilities for ELEVATER's leaderboard here
    #[arg(long, value_name = "FILE")]
    elevater: Option<PathBuf>,
    /// The order of the pictures in that file: the `index.json` that comes with some of ELEVATER's data sets
    #[arg(long, value_name = "FILE", requires = "elevater")]
    index: Option<PathBuf>,
    #[command(flatten)]
    columns: LabelColumns,
    #[command(flatten)]
    answer: Answer,
}

/// The answer of `--json`.
#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    language: Option<&'a str>,
    templates: &'a [String],
    #[serde(flatten)]
    report: &'a hua::evaluate::ClassificationReport,
}

pub fn run(arguments: Arguments, session: &Session) -> anyhow::Result<()> {
    let Arguments { sources, classes, templates, language, elevater, index, columns, answer } = arguments;
    let path = super::first(&sources)?;
    let words = words(classes.as_deref(), &templates, language)?;
    if words.templates.is_empty() {
        session.printer.note("names stand alone; `--language` or `--templates` puts them into sentences");
    }
    let order = index.as_deref().map(order).transpose()?;
    let embedder = session.embedder()?;
    let (options, column) = columns.options();
    let source = LabelledSource { paths: &sources, options: &options, column: column.as_deref() };
    let bar = session.bar();
    let found = zeroshot(&embedder, &source, &words.classes, &words.templates, &answer.bootstrap(), &bar)?;
    drop(bar);
    if let Some(file) = &elevater {
        let samples = found.names.len();
        if let Some(bad) = order.iter().flatten().find(|&&row| row >= samples) {
            let index = index.unwrap_or_default();
            return Err(Complaint::file(format!("`{}` names picture {bad}, and there are {samples}", index.display())).into());
        }
        let submission = Submission::of(&embedder, &answer.dataset(path), found.logits(), order.as_deref());
        fs::write(file, serde_json::to_string(&submission)?).with_context(|| format!("cannot write `{}`", file.display()))?;
        session.printer.note(format!("`{}` is for ELEVATER's leaderboard; zip it before it is sent", file.display()));
    }
    if answer.format == Form::ClipBenchmark {
        let language = words.language.as_deref().unwrap_or("en");
        let metrics = super::metrics(&found.report, "");
        return super::results(session, embedder.name(), answer.dataset(path), "zeroshot_classification", language, metrics);
    }
    if answer.json {
        session.warn_failures(&found.report.failures);
        let (model, language) = (embedder.name(), words.language.as_deref());
        return session.printer.json_pretty(&Report { model, language, templates: &words.templates, report: &found.report });
    }
    super::figures(session, &found.report)
}

/// Names and templates from what was typed; names may be none.
fn words(classes: Option<&Path>, templates: &[String], language: Option<String>) -> anyhow::Result<ClassSet> {
    let mut set = classes.map(|file| ClassSet::read(file, Wanted::Classes)).transpose()?.unwrap_or_default();
    if let (Some(file), true) = (classes, set.classes.is_empty()) {
        return Err(Complaint::file(format!("`{}` has no `classes`", file.display())).into());
    }
    let mut typed = vec![];
    for template in templates {
        let file = template.rsplit_once(".py:").map_or(template.clone(), |(file, _)| format!("{file}.py"));
        if Path::new(&file).is_file() {
            typed.extend(ClassSet::read(Path::new(template), Wanted::Templates)?.templates);
        } else if template.matches("{}").count() == 1 {
            typed.push(template.clone());
        } else {
            let message = format!("`{template}` is no file, and as a template wants one `{{}}` where the name goes");
            return Err(Complaint::caller(message).into());
        }
    }
    if !typed.is_empty() {
        set.templates = typed;
    }
    set.language = language.or(set.language);
    if let (Some(language), true) = (&set.language, set.templates.is_empty()) {
        let known = || format!("hua has templates for {}", ClassSet::languages().collect::<Vec<_>>().join(" "));
        let own = ClassSet::built_in(language);
        let own = own.ok_or_else(|| Complaint::caller(format!("no templates for language `{language}`")).hint(known()))?;
        set.templates = own.templates;
    }
    Ok(set)
}

fn order(file: &Path) -> anyhow::Result<Vec<usize>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let wrong = |e| Complaint::file(format!("`{}`: {e}, wanted a list of numbers", file.display()));
    Ok(serde_json::from_str(&text).map_err(wrong)?)
}
