//! `report.html`: a run on one page that needs nothing else. Style, script, curves and pictures are inside; it opens from a disk without a
//! network, in light and dark, and reads without the script, which only names the values under the pointer.
//!
//! What it decided: it is written anew at each evaluation and replaced at once, so that a page that is open can be reloaded at any time. Texts
//! and names of the data are never trusted: they are escaped, stand in elements of their own with a direction and a language, and a policy
//! in the head lets no other script run and nothing be fetched.

mod chart;
mod html;
mod metrics;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use hua::shown::{escaped, thousands};

use self::chart::{Chart, Series, precise};
use self::html::{put, text};
use self::metrics::Group;
use super::history::{History, Points};
use crate::trainer::{Example, Finish};

const STYLE: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");
/// SHA-256 of [`SCRIPT`] in base64: what the page's policy lets run. A test says what it must be.
const SCRIPT_HASH: &str = "RphySmwrXAtaKExTF1VO7UmDM4KUX1Z6MGoUQ9y5goA=";

/// Pictures of an example that are shown.
const SHOWN: usize = 5;

/// Writes the report of a run into its folder.
///
/// # Errors
/// If the file cannot be written; the one before stays.
pub fn write(folder: &Path, history: &History, examples: &[Example]) -> io::Result<()> {
    let name = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let name = name.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    super::replace(&folder.join("report.html"), draw(&name, history, examples).as_bytes())
}

/// The page as one string; `name` is what the run is called.
pub fn draw(name: &str, history: &History, examples: &[Example]) -> String {
    let recipe: toml::Table = history.recipe.parse().unwrap_or_default();
    let kind = recipe.get("kind").and_then(toml::Value::as_str).unwrap_or("training");
    let mut page = String::with_capacity(256 << 10);
    head(&mut page, name, kind, history);
    page.push_str("<main>\n");
    curves(&mut page, history);
    evaluations(&mut page, history);
    retrievals(&mut page, examples);
    trouble(&mut page, history);
    keys(&mut page, &history.recipe, &recipe);
    put(&mut page, format_args!("</main>\n<footer>hua 画·话</footer>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"));
    page
}

fn head(page: &mut String, name: &str, kind: &str, history: &History) {
    put(
        page,
        format_args!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'; \
             script-src 'sha256-{SCRIPT_HASH}'; base-uri 'none'; form-action 'none'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
             <meta name=\"referrer\" content=\"no-referrer\">\n<title>{name} · {kind}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
             <header>\n<h1><bdi>{name}</bdi></h1>\n",
            name = escaped(name),
            kind = escaped(kind),
        ),
    );
    let state = match history.finished {
        None => "running",
        Some(Finish::Done) => "done",
        Some(Finish::NoBetter) => "ended early: no evaluation was better for as long as the recipe has patience",
        Some(Finish::Stopped) => "stopped; it can go on with --resume",
        Some(Finish::TimeUp) => "the time was up; it can go on with --resume",
    };
    let trained = 100.0 * history.trained as f64 / history.parameters.max(1) as f64;
    put(
        page,
        format_args!(
            "<p>{}, {state}; {} of {} parameters trained ({trained:.1} %)</p>\n",
            escaped(kind),
            thousands(history.trained),
            thousands(history.parameters)
        ),
    );
    let done = 100.0 * history.step as f64 / history.total_steps.max(1) as f64;
    put(page, format_args!("<div class=\"bar\"><i style=\"width:{:.1}%\"></i></div>\n<dl class=\"tiles\">\n", done.min(100.0)));
    let mut tile = |name: &str, value: String, note: String| {
        put(page, format_args!("<div><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>\n"));
    };
    tile("step", thousands(history.step), format!("of {}", thousands(history.total_steps)));
    if let Some((best, last)) = history.best().zip(history.evaluations.last()) {
        let value = |headline: Option<f64>| headline.map_or_else(|| "none".to_owned(), |value| format!("{value:.2}"));
        tile("best headline", value(best.headline), format!("at step {}; {} at the last", thousands(best.step), value(last.headline)));
    }
    if let (Some((_, first)), Some((_, last))) = (history.loss.first(), history.loss.last()) {
        tile("loss", precise(*last), format!("from {}", precise(*first)));
    }
    if history.seconds > 0.0 {
        tile("speed", format!("{}/s", precise(history.items as f64 / history.seconds)), format!("{} items", thousands(history.items)));
        let waited = mean(&history.waiting);
        tile("time", duration(history.seconds), format!("{waited:.1} % of a step waits for data"));
    }
    tile("skipped steps", thousands(history.skipped.len() as u64), format!("{} warnings", thousands(warnings(history))));
    page.push_str("</dl>\n</header>\n");
}

fn curves(page: &mut String, history: &History) {
    let start = page.len();
    page.push_str("<section>\n<h2>Curves</h2>\n<div class=\"charts\">\n");
    let empty = page.len();
    let one = |name: &str, points: &Points| vec![Series::new(name, points.clone())];
    let plain = Chart { title: "", unit: "", series: vec![], marked: false, from_zero: false };
    Chart { title: "Loss", series: one("loss", &history.loss), ..plain }.draw(page);
    for group in Group::all(&history.evaluations).iter().filter(|group| group.is_drawn()) {
        let mut series: Vec<Series> = group.curves.iter().map(|(name, points)| Series::new(name.as_str(), points.clone())).collect();
        for curve in &mut series {
            curve.leads = group.curves.len() > 1 && curve.name == "mean";
        }
        Chart { title: &group.title(), unit: group.unit(), series, marked: true, ..plain }.draw(page);
    }
    // A part that is the loss itself says nothing new; parts of other sizes get a chart each.
    for (title, names) in alike(&history.parts) {
        let series = names.iter().map(|name| Series::new(name.as_str(), history.parts[name].clone())).collect();
        Chart { title: &title, series, ..plain }.draw(page);
    }
    Chart { title: "Learning rate", series: one("learning rate", &history.lr), from_zero: true, ..plain }.draw(page);
    Chart { title: "Norm of the gradients", unit: "before clipping", series: one("norm", &history.grad_norm), from_zero: true, ..plain }
        .draw(page);
    Chart { title: "Speed", unit: "items/s", series: one("items/s", &history.rate), from_zero: true, ..plain }.draw(page);
    Chart { title: "Waiting for data", unit: "% of a step", series: one("%", &history.waiting), from_zero: true, ..plain }.draw(page);
    if page.len() == empty {
        page.truncate(start);
    } else {
        page.push_str("</div>\n</section>\n");
    }
}

/// Parts of the loss by what one chart can show: the losses together, whatever is named otherwise (a temperature, a count) alone.
fn alike(parts: &BTreeMap<String, Points>) -> Vec<(String, Vec<String>)> {
    let scale = |points: &Points| points.iter().map(|(_, value)| value.abs()).filter(|value| value.is_finite()).fold(0.0, f64::max);
    let mut groups: Vec<(f64, Vec<String>)> = Vec::new();
    for (name, points) in parts {
        // What cosines are multiplied by is no loss, whatever its size.
        let size = if name == "scale" { f64::INFINITY } else { scale(points) };
        match groups.iter_mut().find(|(other, _)| size <= other * 8.0 && *other <= size * 8.0) {
            Some((_, names)) => names.push(name.clone()),
            None => groups.push((size, vec![name.clone()])),
        }
    }
    let title = |names: &Vec<String>| match &names[..] {
        [name] if name == "scale" => "Logit scale".to_owned(),
        [name] => name.replace('_', " "),
        _ => "Parts of the loss".to_owned(),
    };
    groups.into_iter().map(|(_, names)| (title(&names), names)).collect()
}

fn evaluations(page: &mut String, history: &History) {
    let (Some(first), Some(best), Some(last)) = (history.evaluations.first(), history.best(), history.evaluations.last()) else { return };
    page.push_str("<section>\n<h2>Held-out set <small>differences to the first evaluation</small></h2>\n");
    metrics::table(page, &format!("Best, step {}", thousands(best.step)), best, first);
    if last.step != best.step {
        metrics::table(page, &format!("Last, step {}", thousands(last.step)), last, first);
    }
    page.push_str("</section>\n");
}

fn retrievals(page: &mut String, examples: &[Example]) {
    if examples.is_empty() {
        return;
    }
    page.push_str(
        "<section>\n<h2>Retrievals <small>of the last evaluation; right pictures are framed</small></h2>\n<div class=\"examples\">\n",
    );
    for example in examples {
        let language = (!example.language.is_empty()).then_some(example.language.as_str());
        let label = language.map_or_else(String::new, |language| format!("<small>{}</small>", escaped(language)));
        put(page, format_args!("<div class=\"example\">\n<h3>{}{label}</h3>\n<ol>\n", text(&example.query, language)));
        for (hit, rank) in example.hits.iter().take(SHOWN).zip(1..) {
            let name = escaped(&hit.picture);
            let shown = match html::picture(&hit.preview) {
                Some(address) => format!("<img src=\"{address}\" alt=\"{name}\" decoding=\"async\">"),
                None => "no preview".to_owned(),
            };
            let (class, mark) = if hit.right { (" class=\"right\"", " <b title=\"right\">✓</b>") } else { ("", "") };
            put(
                page,
                format_args!(
                    "<li{class}><span>{shown}</span><p><span>{rank}{mark}</span> <data value=\"{0}\">{0:.3}</data></p>\
                     <div class=\"name\" dir=\"ltr\" title=\"{name}\"><bdi>{name}</bdi></div></li>\n",
                    hit.score
                ),
            );
        }
        page.push_str("</ol>\n</div>\n");
    }
    page.push_str("</div>\n</section>\n");
}

fn trouble(page: &mut String, history: &History) {
    if history.warnings.is_empty() {
        return;
    }
    page.push_str("<section>\n<h2>Warnings</h2>\n<div class=\"scroll\"><table class=\"words\">\n<thead><tr><th>steps</th><th>times</th><th>what</th></tr></thead>\n<tbody>\n");
    for (message, warned) in &history.warnings {
        let steps = if warned.first == warned.last {
            thousands(warned.first)
        } else {
            format!("{} to {}", thousands(warned.first), thousands(warned.last))
        };
        put(page, format_args!("<tr><td>{steps}</td><td>{}</td><td>{}</td></tr>\n", thousands(warned.times), text(message, Some("en"))));
    }
    if history.more_warnings > 0 {
        put(page, format_args!("<tr><td></td><td>{}</td><td>other warnings</td></tr>\n", thousands(history.more_warnings)));
    }
    page.push_str("</tbody>\n</table></div>\n</section>\n");
}

/// The recipe: a table a section, as the run read it with what it did not say filled in.
fn keys(page: &mut String, source: &str, recipe: &toml::Table) {
    if source.is_empty() {
        return;
    }
    page.push_str("<section>\n<h2>Recipe <small>as it runs, <code>recipe.toml</code></small></h2>\n<div class=\"recipe\">\n");
    let (sections, plain): (Vec<_>, Vec<_>) = recipe.iter().partition(|(_, value)| value.is_table());
    let mut section = |title: &str, rows: &[(&String, &toml::Value)]| {
        put(page, format_args!("<div class=\"scroll\"><table class=\"words\"><caption>{}</caption><tbody>\n", escaped(title)));
        for (key, value) in rows {
            put(page, format_args!("<tr><td>{}</td><td><bdi>{}</bdi></td></tr>\n", escaped(key), escaped(&value.to_string())));
        }
        page.push_str("</tbody></table></div>\n");
    };
    if !plain.is_empty() {
        section("recipe", &plain);
    }
    for (name, value) in sections {
        let rows: Vec<_> = value.as_table().into_iter().flatten().collect();
        if !rows.is_empty() {
            section(&format!("[{name}]"), &rows);
        }
    }
    page.push_str("</div>\n</section>\n");
}

fn warnings(history: &History) -> u64 {
    history.warnings.values().map(|warned| warned.times).sum::<u64>() + history.more_warnings
}

fn mean(points: &Points) -> f64 {
    points.iter().map(|(_, value)| value).sum::<f64>() / points.len().max(1) as f64
}

/// `1 h 5 min`, `5 min 12 s`, `12 s`.
fn duration(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests;
