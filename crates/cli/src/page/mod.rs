//! A page of results: one HTML file that needs nothing else. Style, script and thumbnails are inside; pictures link to their files.
//!
//! What it decided: reading needs no script (a link opens the file, Tab goes from picture to picture); the little script there is adds
//! arrow keys and a large view. A policy in the head lets no other script run and nothing be fetched but pictures, so that even a name
//! that found a way through the escaping could do nothing. Text of users is never trusted with direction: each stands in an element of
//! its own with `dir` and, where it can be told, `lang`, without which Chinese and Japanese get each other's glyphs.

mod link;
mod thumb;

use std::fmt::Write;
use std::path::Path;

use hua::shown::{escaped, is_tag, language};

use crate::sheet::{Asked, Band, Hit, visible};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// SHA-256 of [`SCRIPT`] in base64: what the page's policy lets run. A test says what it must be.
const SCRIPT_HASH: &str = "phYf1XqCjJyp0MLZcl51M48qQFs2fi4pnxflzF5/x8s=";

/// Queries from which on the page begins with a list of them.
const LISTED: usize = 2;
/// Captions of a picture that are shown; a data set may bring dozens.
const CAPTIONS: usize = 3;

/// The page as one string. `title` stands at its top (the model and where was searched); `folder` is where the file will lie: pictures in
/// or near it are linked by relative paths, so that both can be moved together.
pub fn draw(title: &str, bands: &[Band], folder: &Path) -> String {
    let mut page = String::with_capacity(64 << 10);
    head(&mut page, title, bands);
    for (band, number) in bands.iter().zip(1..) {
        section(&mut page, band, number, folder);
    }
    page.push_str("</main>\n<footer>hua 画·话</footer>\n<dialog id=\"large\" aria-label=\"picture\"><form method=\"dialog\"><button aria-label=\"close\">×</button></form><a><img alt=\"\"></a><p></p></dialog>\n");
    put(&mut page, format_args!("<script>{SCRIPT}</script>\n</body>\n</html>\n"));
    page
}

/// Writing into a string cannot fail.
fn put(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text).expect("a string takes everything");
}

fn head(page: &mut String, title: &str, bands: &[Band]) {
    let asked: Vec<&str> = bands.iter().map(|band| band.asked.name()).collect();
    put(
        page,
        format_args!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data: file: *; style-src 'unsafe-inline'; \
             script-src 'sha256-{SCRIPT_HASH}'; base-uri 'none'; form-action 'none'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
             <meta name=\"referrer\" content=\"no-referrer\">\n<title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n",
            escaped(&visible(&asked.join(" · "))),
        ),
    );
    put(page, format_args!("<header><p dir=\"auto\">{}</p>", escaped(&visible(title))));
    if bands.len() >= LISTED {
        page.push_str("<nav aria-label=\"queries\"><ol>");
        for (band, number) in bands.iter().zip(1..) {
            put(page, format_args!("<li><a href=\"#q{number}\">{}</a></li>", asked_text(&band.asked)));
        }
        page.push_str("</ol></nav>");
    }
    page.push_str("</header>\n<main>\n");
}

/// A query's text in an element that isolates its direction.
fn asked_text(asked: &Asked) -> String {
    match asked {
        // A path keeps its order, whatever script its names are in.
        Asked::Picture { name, .. } => format!("<bdi dir=\"ltr\" lang=\"\">{}</bdi>", escaped(&visible(name))),
        Asked::Composed { words, .. } | Asked::Words(words) => {
            format!("<bdi dir=\"auto\" lang=\"{}\">{}</bdi>", language(words), escaped(&visible(words)))
        }
    }
}

fn section(page: &mut String, band: &Band, number: usize, folder: &Path) {
    put(page, format_args!("<section id=\"q{number}\">\n<h2>"));
    for picture in band.asked.pictures() {
        put(page, format_args!("{}", thumb::image(picture, "")));
    }
    put(page, format_args!("{}</h2>\n", asked_text(&band.asked)));
    if let Some(note) = &band.note {
        put(page, format_args!("<p class=\"note\" dir=\"auto\">{}</p>\n", escaped(&visible(note))));
    } else if band.hits.is_empty() {
        page.push_str("<p class=\"note\">nothing found</p>\n");
    }
    if !band.hits.is_empty() {
        page.push_str("<ol class=\"hits\">\n");
        for (hit, rank) in band.hits.iter().zip(1..) {
            card(page, hit, rank, folder);
        }
        page.push_str("</ol>\n");
    }
    page.push_str("</section>\n");
}

fn card(page: &mut String, hit: &Hit, rank: usize, folder: &Path) {
    page.push_str("<li>");
    let name = visible(&hit.name);
    let picture = hit.picture.as_ref().map_or_else(
        || "<span class=\"gone\">cannot be read</span>".to_owned(),
        |picture| thumb::image(picture, hit.captions.first().map_or(&hit.name, |caption| &caption.text)),
    );
    match &hit.path {
        Some(path) => put(page, format_args!("<a class=\"picture\" href=\"{}\">{picture}</a>", escaped(&link::to(path, folder)))),
        None => put(page, format_args!("<span class=\"picture\" tabindex=\"0\">{picture}</span>")),
    }
    put(page, format_args!("<p class=\"rank\"><b>{rank}</b> <data value=\"{0}\">{0:.3}</data></p>", hit.score));
    let title = hit.path.as_ref().map_or_else(|| name.clone(), |path| visible(&path.to_string_lossy()));
    put(
        page,
        format_args!("<p class=\"name\" dir=\"ltr\" lang=\"\" title=\"{}\"><bdi dir=\"ltr\">{}</bdi></p>", escaped(&title), escaped(&name)),
    );
    for caption in hit.captions.iter().take(CAPTIONS) {
        let known = caption.language.as_deref().filter(|language| is_tag(language));
        let language = known.unwrap_or_else(|| language(&caption.text));
        put(page, format_args!("<p class=\"caption\" dir=\"auto\" lang=\"{language}\">{}</p>", escaped(&visible(&caption.text))));
    }
    if !hit.notes.is_empty() {
        let notes: Vec<String> = hit.notes.iter().map(|note| format!("<bdi dir=\"auto\">{}</bdi>", escaped(&visible(note)))).collect();
        put(page, format_args!("<p class=\"notes\">{}</p>", notes.join(" · ")));
    }
    page.push_str("</li>\n");
}

#[cfg(test)]
mod tests;
