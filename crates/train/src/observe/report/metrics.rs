//! Evaluations as curves and tables. Names of metrics are `direction/language/measure` (`t2i/zh/r1`); others are shown under their name.

use std::collections::{BTreeMap, BTreeSet};

use super::chart::precise;
use hua::shown::escaped;

use super::html::put;
use crate::observe::history::{Evaluated, Points};

/// Metrics that differ in the language alone, over the run.
pub struct Group {
    /// `t2i`, or empty.
    direction: String,
    /// `r1`, or the whole name.
    measure: String,
    /// By language; with the mean of the languages, if there are several and it is not given.
    pub curves: BTreeMap<String, Points>,
}

/// The parts of a metric's name: direction, language, measure.
fn parts(name: &str) -> (&str, &str, &str) {
    let mut parts = name.splitn(3, '/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(direction), Some(language), Some(measure)) => (direction, language, measure),
        (Some(measure), Some(language), None) => ("", language, measure),
        _ => ("", "", name),
    }
}

impl Group {
    /// All groups of the metrics of `evaluations`.
    pub fn all(evaluations: &[Evaluated]) -> Vec<Self> {
        let mut groups: BTreeMap<(&str, &str), Self> = BTreeMap::new();
        for evaluated in evaluations {
            for (name, value) in &evaluated.metrics {
                let (direction, language, measure) = parts(name);
                let new = || Self { direction: direction.to_owned(), measure: measure.to_owned(), curves: BTreeMap::new() };
                let group = groups.entry((direction, measure)).or_insert_with(new);
                let curve = if language.is_empty() { title(measure) } else { language.to_owned() };
                group.curves.entry(curve).or_default().push((evaluated.step, *value));
            }
        }
        let mut groups: Vec<Self> = groups.into_values().collect();
        groups.sort_by(|a, b| order(&(&a.direction, &a.measure)).cmp(&order(&(&b.direction, &b.measure))));
        groups.iter_mut().for_each(Self::add_mean);
        groups
    }

    fn add_mean(&mut self) {
        if self.curves.len() < 2 || self.curves.contains_key("mean") {
            return;
        }
        let steps: BTreeSet<u64> = self.curves.values().flatten().map(|(step, _)| *step).collect();
        let mean = |step: u64| {
            let values: Vec<f64> = self.curves.values().flatten().filter(|(at, _)| *at == step).map(|(_, value)| *value).collect();
            (step, values.iter().sum::<f64>() / values.len() as f64)
        };
        let mean = steps.into_iter().map(mean).collect();
        self.curves.insert("mean".to_owned(), mean);
    }

    /// Whether it has a chart: of recalls only the first, the others are in the tables; and not what was left out, which does not change.
    pub fn is_drawn(&self) -> bool {
        !matches!(self.measure.as_str(), "bad" | "r5" | "r10")
    }

    /// `text → image R@1`.
    pub fn title(&self) -> String {
        format!("{} {}", direction(&self.direction), title(&self.measure)).trim().to_owned()
    }

    /// What its numbers are.
    pub fn unit(&self) -> &'static str {
        if is_recall(&self.measure) { "%, held-out set" } else { "held-out set" }
    }
}

fn is_recall(measure: &str) -> bool {
    measure == "mr" || measure.strip_prefix('r').is_some_and(|k| k.parse::<u32>().is_ok())
}

/// The measure as reports of the field write it.
fn title(measure: &str) -> String {
    match (measure, measure.strip_prefix('r').and_then(|k| k.parse::<u32>().ok())) {
        ("mr", _) => "MR".to_owned(),
        (_, Some(k)) => format!("R@{k}"),
        _ => measure.replace(['_', '/'], " "),
    }
}

fn direction(direction: &str) -> &str {
    match direction {
        "from_pivot" => "from the teacher's language",
        "i2t" => "image → text",
        "t2i" => "text → image",
        "to_pivot" => "to the teacher's language",
        other => other,
    }
}

/// Sorts `r10` behind `r5`, and text to image before image to text.
fn order<'a>((direction, measure): &(&'a str, &'a str)) -> (bool, &'a str, u32, &'a str) {
    let k = measure.strip_prefix('r').and_then(|k| k.parse().ok()).unwrap_or(u32::MAX);
    (*direction != "t2i", direction, k, measure)
}

/// A table of one evaluation: a row for each language, a column for each measure; what has no language follows below.
pub fn table(page: &mut String, caption: &str, shown: &Evaluated, first: &Evaluated) {
    let mut columns: Vec<(&str, &str)> = Vec::new();
    let mut languages: Vec<&str> = Vec::new();
    for (direction, language, measure) in shown.metrics.keys().map(|name| parts(name)).filter(|(_, language, _)| !language.is_empty()) {
        if !columns.contains(&(direction, measure)) {
            columns.push((direction, measure));
        }
        if !languages.contains(&language) && language != "mean" {
            languages.push(language);
        }
    }
    columns.sort_by_key(order);
    let cell = |of: &Evaluated, direction: &str, language: &str, measure: &str| {
        let find = |(name, value): (&String, &f64)| (parts(name) == (direction, language, measure)).then_some(*value);
        of.metrics.iter().find_map(find)
    };
    let mean = |of: &Evaluated, direction: &str, measure: &str| {
        let given = cell(of, direction, "mean", measure);
        let values: Vec<f64> = languages.iter().filter_map(|language| cell(of, direction, language, measure)).collect();
        given.or_else(|| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64))
    };
    if !columns.is_empty() {
        put(page, format_args!("<div class=\"scroll\"><table><caption>{}</caption>\n<thead><tr><th>language</th>", escaped(caption)));
        let mut before = None;
        for (way, measure) in &columns {
            let named = if before == Some(*way) { "" } else { direction(way) };
            put(page, format_args!("<th>{} {}</th>", escaped(named), escaped(&title(measure))));
            before = Some(*way);
        }
        page.push_str("</tr></thead>\n<tbody>\n");
        for language in &languages {
            put(page, format_args!("<tr><td>{}</td>", escaped(language)));
            for (direction, measure) in &columns {
                number(page, measure, cell(shown, direction, language, measure), cell(first, direction, language, measure));
            }
            page.push_str("</tr>\n");
        }
        if languages.len() > 1 {
            page.push_str("<tr class=\"lead\"><td>mean</td>");
            for (direction, measure) in &columns {
                number(page, measure, mean(shown, direction, measure), mean(first, direction, measure));
            }
            page.push_str("</tr>\n");
        }
        page.push_str("</tbody></table></div>\n");
    }
    let others: Vec<&String> = shown.metrics.keys().filter(|name| parts(name).1.is_empty()).collect();
    if !others.is_empty() {
        let caption = if columns.is_empty() { caption } else { "Other numbers" };
        put(page, format_args!("<div class=\"scroll\"><table><caption>{}</caption>\n<tbody>\n", escaped(caption)));
        for name in others {
            put(page, format_args!("<tr><td>{}</td>", escaped(&title(name))));
            number(page, name, shown.metrics.get(name).copied(), first.metrics.get(name).copied());
            page.push_str("</tr>\n");
        }
        page.push_str("</tbody></table></div>\n");
    }
}

/// A cell with a value, and how far it is from that of the first evaluation.
fn number(page: &mut String, measure: &str, value: Option<f64>, first: Option<f64>) {
    let Some(value) = value else { return page.push_str("<td></td>") };
    let written = if is_recall(measure) { format!("{value:.2}") } else { precise(value) };
    put(page, format_args!("<td>{written}"));
    if let Some(change) = first.map(|first| value - first).filter(|change| change.abs() >= 0.005 && is_recall(measure)) {
        put(page, format_args!("<small class=\"{}\">{change:+.2}</small>", if change > 0.0 { "up" } else { "down" }));
    }
    page.push_str("</td>");
}
