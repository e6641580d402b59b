//! `hua search`: pictures nearest to words or to a picture.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::RangedU64ValueParser;
use hua::image::Picture;
use hua::{Collection, Embedder, Embeddings, Hit};
use serde::Serialize;

use super::sources::{Split, Typed, split};
use crate::complaint::Complaint;
use crate::output::Draft;
use crate::session::{CutTexts, Session};
use crate::sheet::{self, Asked, Band};
use crate::table::{Align, Table, counted};

/// Find the pictures that are nearest to words or to a picture
///
/// Embeds the pictures of folders and files, and ranks them for each query by the cosine of its vector and the picture's. Vectors are
/// kept, so the next search embeds only new and changed files. Without a folder or file the built-in gallery of 1,638 emoji is searched.
///
/// Arguments that are existing paths are searched in, up to the first that is none; the rest are queries. After `--`, and with `--in`,
/// every argument is a query.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua search 彩虹 violin \"ألوان الطيف\"                    in the built-in gallery
  hua search ~/Pictures \"a dog on a sofa\" -k 20          in a folder and what is below it
  hua search ~/Pictures --image holiday.jpg --sheet hits.png
  hua search --in photos --json 猫 | jq -r '.hits[0].path'")]
pub struct Arguments {
    /// Folders and files to search in (optional), then queries
    #[arg(value_name = "SOURCE-OR-QUERY")]
    words: Vec<String>,
    /// Queries, whatever they look like
    #[arg(last = true, value_name = "QUERY")]
    after_dashes: Vec<String>,
    /// Search in this folder or file; repeatable
    #[arg(long = "in", value_name = "PATH")]
    given: Vec<PathBuf>,
    /// A picture as query; repeatable
    #[arg(long = "image", value_name = "FILE")]
    images: Vec<PathBuf>,
    /// How many pictures to show for each query
    #[arg(long, short = 'k', value_name = "N", default_value_t = 10, value_parser = at_least_one())]
    top: usize,
    /// One JSON object a query a line: {"query", "hits": [{"path", "score"}]}
    #[arg(long)]
    json: bool,
    /// Write a contact sheet of the hits, a PNG to look at
    #[arg(long, value_name = "FILE.png")]
    sheet: Option<PathBuf>,
    /// Embed all pictures again and keep nothing
    #[arg(long)]
    no_cache: bool,
}

/// A line of `--json`.
#[derive(Serialize)]
struct Answer<'a> {
    query: &'a str,
    hits: Vec<AnswerHit<'a>>,
}

#[derive(Serialize)]
struct AnswerHit<'a> {
    path: &'a str,
    score: f32,
}

/// What is asked, embedded: words first, then pictures.
struct Queries {
    asked: Vec<Asked>,
    embeddings: Vec<Embeddings>,
}

fn at_least_one() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

pub fn run(arguments: Arguments, session: &Session) -> anyhow::Result<()> {
    let Arguments { words, after_dashes, given, images, top, json, sheet, no_cache } = arguments;
    let Split { sources, queries: words, note } = split(Typed { words, after_dashes, given, other_queries: !images.is_empty() })?;
    // Begun before the work, so that a place that cannot be written to is known before.
    let sheet = sheet.map(|path| begin_sheet(&path).map(|draft| (draft, path))).transpose()?;
    let embedder = session.embedder()?;
    if let Some(note) = note {
        session.printer.note(note);
    }
    let queries = embed_queries(session, &embedder, words, &images)?;
    let cache = session.cache().filter(|_| !no_cache);
    let bar = session.bar();
    let collection = match sources.is_empty() {
        true => Collection::gallery(&embedder, cache, &bar)?,
        false => Collection::open(&embedder, &sources, cache, &bar)?,
    };
    drop(bar);
    session.warn_failures(collection.failures());
    if let Some(error) = collection.not_kept() {
        session.printer.warning(format!("vectors of pictures are not kept: {error}"));
    }
    let places: Vec<String> = sources.iter().map(|path| format!("`{}`", path.display())).collect();
    let place = if sources.is_empty() { "the built-in gallery".to_owned() } else { places.join(", ") };
    let about = format!("{} in {place}", counted(collection.len(), "picture"));
    session.printer.note(&about);

    let mut answers = Vec::new();
    for embeddings in &queries.embeddings {
        answers.extend(collection.search(embeddings, top)?);
    }
    for (number, (asked, hits)) in queries.asked.iter().zip(&answers).enumerate() {
        if json {
            session.printer.json(&answer(asked, hits, &collection))?;
        } else {
            print_table(session, number, asked, hits, &collection)?;
        }
    }
    if let Some((mut draft, path)) = sheet {
        let bands = queries.asked.into_iter().zip(&answers).map(|(asked, hits)| band(asked, hits, &embedder, &collection));
        let title = format!("{} · {}", embedder.name(), about.replace('`', ""));
        draft.write_all(&sheet::draw(&title, &bands.collect::<Vec<_>>())?.encode_png())?;
        draft.finish()?;
        session.printer.note(format!("the contact sheet is `{}`", path.display()));
    }
    Ok(())
}

/// A file that says PNG and is one.
fn begin_sheet(path: &Path) -> anyhow::Result<Draft> {
    if !path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png")) {
        let message = format!("`{}` does not end in `.png`, and a contact sheet is a PNG", path.display());
        return Err(Complaint::caller(message).into());
    }
    Draft::begin(path)
}

fn embed_queries(session: &Session, embedder: &Embedder, words: Vec<String>, images: &[PathBuf]) -> anyhow::Result<Queries> {
    let (mut asked, mut embeddings) = (Vec::new(), Vec::new());
    if !words.is_empty() {
        let texts = embedder.embed_texts(&words)?;
        let mut cut = CutTexts::default();
        cut.add(&words, texts.truncated());
        session.warn_cut(&cut);
        embeddings.push(texts);
        asked.extend(words.into_iter().map(Asked::Words));
    }
    if !images.is_empty() {
        let pictures: Vec<Picture> = images.iter().map(|path| embedder.read_picture(path)).collect::<Result<_, _>>()?;
        embeddings.push(embedder.embed_images(&pictures)?);
        let named = pictures.into_iter().zip(images);
        asked.extend(named.map(|(picture, path)| Asked::Picture { picture, name: path.to_string_lossy().into_owned() }));
    }
    Ok(Queries { asked, embeddings })
}

fn answer<'a>(asked: &'a Asked, hits: &[Hit], collection: &'a Collection) -> Answer<'a> {
    let hits = hits.iter().map(|hit| AnswerHit { path: collection.name(hit.index), score: hit.score }).collect();
    Answer { query: asked.name(), hits }
}

fn print_table(session: &Session, number: usize, asked: &Asked, hits: &[Hit], collection: &Collection) -> anyhow::Result<()> {
    if number > 0 {
        session.printer.data("")?;
    }
    session.printer.heading(asked.name())?;
    let mut table = Table::plain(&[Align::Right, Align::Right, Align::Left]).indented(2);
    for (rank, hit) in hits.iter().enumerate() {
        table.row([(rank + 1).to_string(), format!("{:.3}", hit.score), collection.name(hit.index).to_owned()]);
    }
    Ok(session.printer.data(table)?)
}

fn band(asked: Asked, hits: &[Hit], embedder: &Embedder, collection: &Collection) -> Band {
    let hit = |hit: &Hit| sheet::Hit {
        picture: collection.picture(embedder, hit.index).ok().map(|picture| sheet::thumbnail(&picture)),
        score: hit.score,
        name: collection.name(hit.index).rsplit(['/', '\\']).next().unwrap_or_default().to_owned(),
        ..sheet::Hit::default()
    };
    Band { asked, note: None, hits: hits.iter().map(hit).collect() }
}
