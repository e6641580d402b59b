//! `hua eval retrieval --compare`: two models on the same queries.

use std::path::Path;

use hua::Embedder;
use hua::evaluate::{Comparison, Difference, Flip, Interval, Results, compare};
use hua::shown::thousands;

use super::Answer;
use super::retrieval::{Data, score};
use crate::complaint::Complaint;
use crate::session::Session;
use crate::table::{Align, Table};

/// The name of the built-in model here.
const BUILT_IN: &str = "built-in";

pub fn run(names: [&str; 2], data: Option<&Data>, flips: usize, answer: &Answer, session: &Session) -> anyhow::Result<()> {
    let mut sides = vec![];
    for name in names {
        sides.push(match (is_file(name), data) {
            (true, _) => Results::read(Path::new(name))?,
            (false, Some(data)) => {
                let options = session.open_options()?;
                let embedder = if name == BUILT_IN { Embedder::embedded(&options)? } else { Embedder::open_with(name, &options)? };
                Results::of(&score(&embedder, data, answer, session)?, name, &data.name())
            }
            (false, None) => {
                let message = format!("`{name}` is no file of results, and there is no data set to score a model on");
                let hint = "name it: `--data DIR --split NAME`; or compare two files `results.json` that `--out` wrote";
                return Err(Complaint::caller(message).hint(hint).into());
            }
        });
    }
    let mut found = compare(&sides[0], &sides[1], &answer.bootstrap())?;
    if answer.json {
        return session.printer.json_pretty(&found);
    }
    print(&found, session)?;
    let all = found.flips.len();
    found.flips.truncate(flips);
    if !found.flips.is_empty() {
        session.printer.data("")?;
        session.printer.data(flipped(&found.flips))?;
        let shown = found.flips.len();
        session.printer.note(format!("{shown} of the {} queries whose first place only one model gets right", thousands(all as u64)));
    }
    Ok(())
}

fn is_file(name: &str) -> bool {
    let path = Path::new(name);
    path.extension().is_some_and(|extension| extension == "json") && path.is_file()
}

fn print(found: &Comparison, session: &Session) -> anyhow::Result<()> {
    session.printer.note(format!("A is `{}`, B is `{}`; a difference counts if its interval excludes 0", found.a, found.b));
    let mut table = Table::titled(&[
        ("language", Align::Left),
        ("MR A", Align::Right),
        ("MR B", Align::Right),
        ("B - A", Align::Right),
        ("95 %", Align::Right),
        ("text→image R@1", Align::Right),
        ("95 %", Align::Right),
        ("image→text R@1", Align::Right),
        ("95 %", Align::Right),
        ("only A", Align::Right),
        ("only B", Align::Right),
    ]);
    let interval = |of: Option<Interval>| of.map(|Interval(low, high)| format!("{low:+.2} to {high:+.2}")).unwrap_or_default();
    let mut row = |name: &str, of: &Difference| {
        let intervals = of.intervals.as_ref();
        table.row([
            name.to_owned(),
            format!("{:.2}", of.a[6]),
            format!("{:.2}", of.b[6]),
            format!("{:+.2}", of.difference[6]),
            interval(of.mean_recall()),
            format!("{:+.2}", of.difference[0]),
            interval(intervals.map(|of| of.text_to_image.at_1)),
            format!("{:+.2}", of.difference[3]),
            interval(intervals.map(|of| of.image_to_text.at_1)),
            of.only_a.to_string(),
            of.only_b.to_string(),
        ]);
    };
    for (language, difference) in &found.languages {
        row(language, difference);
    }
    if found.languages.len() > 1 {
        row("mean", &found.mean);
    }
    Ok(session.printer.data(table)?)
}

fn flipped(flips: &[Flip]) -> Table {
    let mut table = Table::titled(&[
        ("query", Align::Left),
        ("language", Align::Left),
        ("direction", Align::Left),
        ("rank A", Align::Right),
        ("rank B", Align::Right),
    ]);
    for Flip { language, text_to_image, id, text, rank_a, rank_b } in flips {
        let query: String = text.as_deref().unwrap_or(id).chars().take(40).collect();
        let direction = if *text_to_image { "text→image" } else { "image→text" };
        table.row([query, language.clone(), direction.to_owned(), rank_a.to_string(), rank_b.to_string()]);
    }
    table
}
