//! `hua eval retrieval`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use hua::Embedder;
use hua::evaluate::{Recalls, Results, Retrieval, RetrievalReport, RetrievalSource, chinese_clip, clip_benchmark, retrieve};
use hua::shown::thousands;

use super::{Answer, Form, ListColumns, compare, range};
use crate::complaint::Complaint;
use crate::session::Session;
use crate::table::{Align, Table};

/// Recalls of finding pictures by texts and texts by pictures
///
/// The data set is a folder in Chinese-CLIP's format (`--data`, `--split`): SPLIT_imgs.tsv (id, tab, base64 of the picture file) and SPLIT_texts.jsonl
/// (`text`, `image_ids`, and optionally `text_id` and `lang`); or anything that lists pictures with captions: webdataset tars, tables, folders with
/// text files. R@K is the share of queries with a right answer among the K best, MR the mean of the six recalls; texts are scored by
/// language if they have one. Of equal scores the candidate that comes first in the data set is the better one.
///
/// `--out` keeps the rank of every query, Chinese-CLIP's prediction files (the ten best, both directions) and its score files. `--compare A B` puts
/// two models, or what `--out` kept of them, beside each other: the differences with their intervals, and the queries on which they part.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua eval retrieval --data data/emoji-9l --split valid
  hua eval retrieval --model altclip-m9 --data MUGE --split valid --out results/altclip
  hua eval retrieval 'shards/{00000..00009}.tar' --json > metrics.json
  hua eval retrieval captions.csv --format clip-benchmark --recall-k 1,5,10 --dataset flickr8k
  hua eval retrieval --data MUGE --split valid --compare clip altclip-m9
  hua eval retrieval --compare results/clip/results.json results/altclip/results.json")]
pub struct Arguments {
    /// What lists pictures with captions, instead of `--data`
    #[arg(value_name = "SOURCE", conflicts_with = "data")]
    sources: Vec<PathBuf>,
    /// Folder of a data set in Chinese-CLIP's format
    #[arg(long, value_name = "DIR", requires = "split")]
    data: Option<PathBuf>,
    /// Which part of it: the beginning of the files' names
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Write the rank of every query (results.json), and Chinese-CLIP's prediction and score files, into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write the vectors too, in Chinese-CLIP's form: about 10 kB for each text and picture
    #[arg(long, requires = "out")]
    features: bool,
    /// Compare two models (names, paths, or `built-in`), or two files `results.json`
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with_all = ["out", "format"])]
    compare: Vec<String>,
    /// How many queries to show that the two models answer differently
    #[arg(long, value_name = "N", default_value_t = 10, requires = "compare")]
    flips: usize,
    /// The K of `clip-benchmark`'s recalls
    #[arg(long, value_name = "K,…", value_delimiter = ',', default_value = "1,5,10")]
    recall_k: Vec<usize>,
    /// Ask a caption that several pictures have once for each, and take its other pictures for wrong answers, as CLIP_benchmark
    #[arg(long)]
    no_merge: bool,
    /// A column of tables that holds captions; repeatable
    #[arg(long = "caption-column", value_name = "NAME", help_heading = "Lists and archives")]
    caption_columns: Vec<String>,
    #[command(flatten)]
    columns: ListColumns,
    #[command(flatten)]
    answer: Answer,
}

/// What is scored on.
pub struct Data {
    paths: Vec<PathBuf>,
    options: hua::data::Options,
    split: Option<String>,
    merge: bool,
}

impl Data {
    pub fn source(&self) -> RetrievalSource<'_> {
        match &self.split {
            Some(split) => RetrievalSource::Split { data: &self.paths[0], split },
            None => RetrievalSource::Pictures { paths: &self.paths, options: &self.options, merge: self.merge },
        }
    }

    /// What it is called in a file of results.
    pub fn name(&self) -> String {
        let split = self.split.iter().map(|split| format!(" {split}"));
        let paths = self.paths.iter().map(|path| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned());
        paths.collect::<Vec<_>>().join(" ") + &split.collect::<String>()
    }
}

pub fn run(arguments: Arguments, session: &Session) -> anyhow::Result<()> {
    let Arguments { sources, data, split, out, features, compare, flips, recall_k, no_merge, caption_columns, columns, answer } = arguments;
    let merge = !no_merge && answer.format != Form::ClipBenchmark;
    let data = match (data, split) {
        (Some(folder), split) => Some(Data { paths: vec![folder], options: hua::data::Options::default(), split, merge }),
        (None, None) if sources.is_empty() => None,
        (None, Some(_)) if sources.is_empty() => {
            return Err(Complaint::caller("`--split` is part of a data set, and none is named").hint("name it: `--data DIR`").into());
        }
        (None, split) => {
            super::first(&sources)?;
            let options = hua::data::Options { split, ..columns.options(caption_columns) };
            Some(Data { paths: sources, options, split: None, merge })
        }
    };
    if let [a, b] = &compare[..] {
        return compare::run([a, b], data.as_ref(), flips, &answer, session);
    }
    let Some(data) = data else {
        let hint = "name it: `--data DIR --split NAME` for Chinese-CLIP's format, or files that list pictures with captions";
        return Err(Complaint::caller("no data set to score on").hint(hint).into());
    };
    if recall_k.contains(&0) {
        return Err(Complaint::caller("`--recall-k` has a 0, wanted numbers from 1").into());
    }
    if let Some(out) = &out {
        fs::create_dir_all(out).with_context(|| format!("cannot make `{}`", out.display()))?;
    }
    let embedder = session.embedder()?;
    let found = score(&embedder, &data, &answer, session)?;
    if let Some(out) = &out {
        write(&found, &embedder, &data, out, features, session)?;
    }
    match answer.format {
        Form::ClipBenchmark => {
            for (language, queries) in &found.queries {
                let texts = found.texts.iter().filter(|text| text.language == *language).count();
                let metrics = clip_benchmark::retrieval_metrics(queries, texts, found.images.len(), &recall_k);
                super::results(session, embedder.name(), answer.dataset(&data.paths[0]), "zeroshot_retrieval", language, metrics)?;
            }
            Ok(())
        }
        Form::Hua if answer.json => session.printer.json_pretty(&found.report),
        Form::Hua => {
            let images = thousands(found.report.images as u64);
            session.printer.note(format!("{images} pictures, {} texts a language", thousands(found.report.texts_per_language as u64)));
            Ok(session.printer.data(table(&found.report))?)
        }
    }
}

/// Scores one model, and says what did not count.
pub fn score(embedder: &Embedder, data: &Data, answer: &Answer, session: &Session) -> anyhow::Result<Retrieval> {
    let bar = session.bar();
    let found = retrieve(embedder, &data.source(), &answer.bootstrap(), &bar)?;
    drop(bar);
    let report = &found.report;
    session.warn_failures(&report.failures);
    if report.texts_without_image > 0 {
        session
            .printer
            .warning(format!("{} texts name no picture of the split and are not asked", thousands(report.texts_without_image as u64)));
    }
    if report.texts_cut > 0 {
        session.printer.warning(format!("{} texts are longer than the model reads", thousands(report.texts_cut as u64)));
    }
    Ok(found)
}

fn write(found: &Retrieval, embedder: &Embedder, data: &Data, out: &Path, features: bool, session: &Session) -> anyhow::Result<()> {
    let path = out.join("results.json");
    let results = Results::of(found, embedder.name(), &data.name());
    let cannot = || format!("cannot write `{}`", path.display());
    let mut file = std::io::BufWriter::new(fs::File::create(&path).with_context(cannot)?);
    results.write(&mut file).and_then(|()| std::io::Write::flush(&mut file)).with_context(cannot)?;
    let split = data.split.as_deref().unwrap_or("data");
    let files = chinese_clip::write(found, out, split, features)?;
    if found.images.len() < 10 || found.texts.len() < 10 {
        session.printer.warning("cn_clip's `evaluation.py` wants ten candidates for each query, and there are fewer");
    }
    session.printer.note(format!("`results.json` and {} files of Chinese-CLIP's form are in `{}`", files.len(), out.display()));
    Ok(())
}

fn table(report: &RetrievalReport) -> Table {
    let title = |text| (text, Align::Right);
    let mut titles = vec![
        ("language", Align::Left),
        title("text→image R@1"),
        title("R@5"),
        title("R@10"),
        title("image→text R@1"),
        title("R@5"),
        title("R@10"),
        title("MR"),
    ];
    if report.intervals.is_some() {
        titles.push(title("MR 95 %"));
    }
    let mut table = Table::titled(&titles);
    let mut row = |name: &str, forth: &Recalls, back: &Recalls, mean: f64, interval: Option<String>| {
        let cells = forth.values().into_iter().chain(back.values()).chain([mean]).map(|value| format!("{value:.2}"));
        table.row([name.to_owned()].into_iter().chain(cells).chain(interval));
    };
    let intervals = report.intervals.as_ref();
    for (language, scores) in &report.languages {
        let interval = intervals.and_then(|of| of.languages.get(language)).map(|of| range(of.mean_recall, 1.0));
        row(language, &scores.text_to_image, &scores.image_to_text, scores.mean_recall, interval);
    }
    if report.languages.len() > 1 {
        let interval = intervals.map(|of| range(of.mean.mean_recall, 1.0));
        row("mean", &report.mean_text_to_image, &report.mean_image_to_text, report.mean_mean_recall, interval);
    }
    table
}
