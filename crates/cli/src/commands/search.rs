//! `hua search`: pictures that fit words, pictures or both, in a folder, in the gallery or in a library.
//!
//! `search/queries.rs` makes queries of what was typed, `folder.rs` and `library.rs` answer them, `show.rs` shows the answers.

mod folder;
mod hits;
mod library;
mod queries;
mod show;

use std::path::PathBuf;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use hua::library::is_library;
use hua::query::SUGGESTED_LEVEL;

use self::show::{Files, Outputs};
use super::sources::{Split, Typed, split};
use crate::complaint::Complaint;
use crate::session::Session;

/// Find the pictures that are nearest to words or to a picture
///
/// Embeds the pictures of folders and files, and ranks them for each query by the cosine of its vector and the picture's. Vectors are
/// kept, so the next search embeds only new and changed files. Without a folder or file the built-in gallery of 1,638 emoji is searched. A
/// library that `hua index` made is searched as it is, whatever its size.
///
/// Arguments that are existing paths are searched in, up to the first that is none; the rest are queries. After a library, after `--`, and
/// with `--in`, every argument is a query.
///
/// A query is words, a picture file, `item:ID` of a library, or several of these with `+` and `-` between them and weights before them:
/// "2:golden retriever + ./beach.jpg - people". Operators stand alone and no digit follows a weight, so that black-and-white, C++ and 16:9
/// are words; in double quotes everything is: '"rock - paper"'.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua search 彩虹 violin \"ألوان الطيف\"                    in the built-in gallery
  hua search ~/Pictures \"a dog on a sofa\" -k 20          in a folder and what is below it
  hua search ~/Pictures --image holiday.jpg --sheet hits.png
  hua search --in photos --json 猫 | jq -r '.hits[0].path'
  hua search photos \"2:red flower - rose\" --min-score     or nothing, if nothing fits
  hua search library 海滩 --after 2023 --before 2024-06 --folder ~/Pictures/phone
  hua search library \"birthday cake\" --words --where \"width > height\"
  hua search library --like 4711 --minus night --near 35.68,139.77,50")]
pub struct Arguments {
    /// Folders and files, or a library, to search in (optional), then queries
    #[arg(value_name = "SOURCE-OR-QUERY")]
    words: Vec<String>,
    /// Queries, whatever they look like
    #[arg(last = true, value_name = "QUERY")]
    after_dashes: Vec<String>,
    /// Search in this folder, file or library; repeatable
    #[arg(long = "in", value_name = "PATH")]
    given: Vec<PathBuf>,
    /// A picture as query; repeatable
    #[arg(long = "image", value_name = "FILE")]
    images: Vec<PathBuf>,
    #[command(flatten)]
    composing: queries::Composing,
    /// How many pictures to show for each query
    #[arg(long, short = 'k', value_name = "N", default_value_t = 10, value_parser = at_least_one())]
    top: usize,
    /// Only pictures that stand out more than the best one of this share of 128 queries for things that are hardly there; 0.9 if no share
    /// is given. Nothing may be left: then nothing fits
    #[arg(long, value_name = "LEVEL", num_args = 0..=1, require_equals = true, default_missing_value = SUGGESTED)]
    min_score: Option<f32>,
    /// One JSON object a query a line: {"query", "hits": [{"path", "score"}]}; of a library with "item", "taken", "captions" and "tags" of
    /// each hit; with "level" if --min-score is given, and "word_rank" with --words
    #[arg(long)]
    json: bool,
    /// Write a contact sheet of the hits, a PNG to look at
    #[arg(long, value_name = "FILE.png")]
    sheet: Option<PathBuf>,
    /// Write a page of the hits, one HTML file that needs nothing else
    #[arg(long, value_name = "FILE.html")]
    html: Option<PathBuf>,
    /// Write all hits as a table, a row each, CSV or parquet
    #[arg(long, value_name = "FILE.csv")]
    table: Option<PathBuf>,
    /// Embed all pictures again and keep nothing
    #[arg(long)]
    no_cache: bool,
    #[command(flatten)]
    of_library: library::Choice,
}

/// [`SUGGESTED_LEVEL`] as clap wants it; a test says that it is.
const SUGGESTED: &str = "0.9";

fn at_least_one() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

pub fn run(arguments: Arguments, session: &Session) -> anyhow::Result<()> {
    let Arguments { words, after_dashes, given, images, composing, top, min_score, json, sheet, html, table, no_cache, of_library } =
        arguments;
    if let Some(level) = min_score.filter(|level| !(0.0..1.0).contains(level)) {
        let message = format!("`--min-score` is {level}, wanted a level from 0 to below 1, such as {SUGGESTED_LEVEL}");
        return Err(Complaint::caller(message).into());
    }
    let other_queries = !images.is_empty() || composing.has_queries() || of_library.has_queries();
    let Split { sources, queries: words, note } = split(Typed { words, after_dashes, given, other_queries })?;
    let library = match &sources[..] {
        [only] if is_library(only) => Some(only),
        several => {
            if let Some(library) = several.iter().find(|path| is_library(path)) {
                let message = format!("`{}` is a library, and {} places are to be searched in", library.display(), several.len());
                return Err(Complaint::caller(message).hint("a library is searched alone").into());
            }
            of_library.refuse(several)?;
            None
        }
    };
    let queries = composing.read(words, &images, of_library.alike())?;
    // Begun before the work, so that a place that cannot be written to is known before.
    let outputs = Outputs::begin(json, Files { sheet, html, table })?;
    let embedder = session.embedder()?;
    if let Some(note) = note {
        session.printer.note(note);
    }
    let cache = session.cache().filter(|_| !no_cache);
    let how = How { top, min_score, cache };
    match library {
        Some(path) => library::search(session, &embedder, path, queries, of_library, &how, outputs),
        None => folder::search(session, &embedder, &sources, queries, &how, outputs),
    }
}

/// What folders and libraries are asked in the same way.
struct How<'a> {
    top: usize,
    min_score: Option<f32>,
    cache: Option<&'a std::path::Path>,
}

/// Why nothing was found, if a level was asked for.
fn nothing(min_score: Option<f32>, nearest: Option<f32>) -> String {
    match (min_score, nearest) {
        (Some(least), Some(nearest)) => format!("nothing fits: the nearest picture has level {nearest:.2}, wanted {least:.2}"),
        _ => "nothing found".into(),
    }
}

/// A collection or library too small to tell what stands out.
fn warn_uncalibrated(session: &Session) {
    session.printer.warning("`--min-score` has no effect: too few pictures to tell which of them stands out");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_in_the_help_is_the_suggested_one() {
        assert_eq!(SUGGESTED.parse(), Ok(SUGGESTED_LEVEL));
    }
}
