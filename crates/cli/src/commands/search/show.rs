//! Answers for people and for programs: tables, JSON lines, a contact sheet, a page.

use std::io::Write;
use std::path::{Path, PathBuf};

use hua::image::Picture;
use hua::index::{Caption, Tag};
use serde::Serialize;

use super::hits;
use crate::complaint::Complaint;
use crate::output::Draft;
use crate::page;
use crate::session::Session;
use crate::sheet::{self, Asked, Band};
use crate::table::{Align, Table};

/// What was found for a query.
pub struct Answer {
    pub hits: Vec<Hit>,
    /// Why there is nothing.
    pub note: Option<String>,
}

/// A picture that was found, as `--json` has it.
#[derive(Default, Serialize)]
pub struct Hit {
    pub path: String,
    pub score: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub word_rank: Option<usize>,
    #[serde(flatten)]
    pub more: Option<More>,
    #[serde(skip)]
    pub shown: Shown,
}

/// What a library knows besides.
#[derive(Serialize)]
pub struct More {
    pub item: i64,
    pub taken: Option<String>,
    pub captions: Vec<Caption>,
    pub tags: Vec<Tag>,
}

/// Where a picture is shown from.
pub enum Shown {
    File(PathBuf),
    /// A picture of a collection.
    Of(usize),
}

impl Default for Shown {
    fn default() -> Self {
        Self::Of(0)
    }
}

/// A line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    query: &'a str,
    hits: &'a [Hit],
}

/// Where answers go.
pub struct Outputs {
    json: bool,
    sheet: Option<(Draft, PathBuf)>,
    page: Option<(Draft, PathBuf)>,
    table: Option<(Draft, PathBuf)>,
}

/// The files that are asked for.
pub struct Files {
    pub sheet: Option<PathBuf>,
    pub html: Option<PathBuf>,
    pub table: Option<PathBuf>,
}

impl Outputs {
    /// Begins the files, which are written at the end.
    pub fn begin(json: bool, files: Files) -> anyhow::Result<Self> {
        let begin = |path: Option<PathBuf>, extensions: &[&str], what: &str| {
            path.map(|path| begin_file(&path, extensions, what).map(|draft| (draft, path))).transpose()
        };
        Ok(Self {
            json,
            sheet: begin(files.sheet, &["png"], "a contact sheet is a PNG")?,
            page: begin(files.html, &["html", "htm"], "a page is HTML")?,
            table: begin(files.table, &["csv", "parquet"], "a table is CSV or parquet")?,
        })
    }

    /// Shows the answers; `picture` reads what is to be seen.
    pub fn show(
        self,
        session: &Session,
        title: &str,
        asked: Vec<Asked>,
        answers: Vec<Answer>,
        picture: impl Fn(&Shown) -> Option<Picture>,
    ) -> anyhow::Result<()> {
        for (number, (asked, answer)) in asked.iter().zip(&answers).enumerate() {
            if self.json {
                session.printer.json(&Line { query: asked.name(), hits: &answer.hits })?;
            } else {
                print_table(session, number, asked, answer)?;
            }
            if let Some(note) = &answer.note {
                session.printer.note(format!("{}: {note}", asked.name()));
            }
        }
        if let Some((draft, path)) = self.table {
            let parquet = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"));
            hits::write(draft, parquet, &asked, &answers)?;
            session.printer.note(format!("the table of hits is `{}`", path.display()));
        }
        if self.sheet.is_none() && self.page.is_none() {
            return Ok(());
        }
        let bands: Vec<Band> = asked.into_iter().zip(answers).map(|(asked, answer)| band(asked, answer, &picture)).collect();
        if let Some((mut draft, path)) = self.sheet {
            draft.write_all(&sheet::draw(title, &bands)?.encode_png())?;
            draft.finish()?;
            session.printer.note(format!("the contact sheet is `{}`", path.display()));
        }
        if let Some((mut draft, path)) = self.page {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            draft.write_all(page::draw(title, &bands, folder).as_bytes())?;
            draft.finish()?;
            session.printer.note(format!("the page is `{}`", path.display()));
        }
        Ok(())
    }
}

/// A file whose name says what it is.
fn begin_file(path: &Path, extensions: &[&str], what: &str) -> anyhow::Result<Draft> {
    let named = path.extension().is_some_and(|found| extensions.iter().any(|wanted| found.eq_ignore_ascii_case(wanted)));
    if !named {
        let message = format!("`{}` does not end in `.{}`, and {what}", path.display(), extensions[0]);
        return Err(Complaint::caller(message).into());
    }
    Draft::begin(path)
}

fn print_table(session: &Session, number: usize, asked: &Asked, answer: &Answer) -> anyhow::Result<()> {
    if number > 0 {
        session.printer.data("")?;
    }
    session.printer.heading(asked.name())?;
    if answer.hits.is_empty() {
        return Ok(());
    }
    let levels = answer.hits.iter().any(|hit| hit.level.is_some());
    let columns = [Align::Right, Align::Right].into_iter().chain(levels.then_some(Align::Right)).chain([Align::Left, Align::Left]);
    let mut table = Table::plain(&columns.collect::<Vec<_>>()).indented(2);
    let number = |value: Option<f32>, digits: usize| value.map_or("-".to_owned(), |value| format!("{value:.digits$}"));
    for (rank, hit) in answer.hits.iter().enumerate() {
        let mut cells = vec![(rank + 1).to_string(), number(hit.score, 3)];
        cells.extend(levels.then(|| number(hit.level, 2)));
        cells.push(hit.path.clone());
        cells.extend(hit.more.as_ref().and_then(|more| more.captions.first()).map(|caption| beginning(&caption.text)));
        table.row(cells);
    }
    Ok(session.printer.data(table)?)
}

/// As much of a caption as fits beside a path.
fn beginning(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn band(asked: Asked, answer: Answer, picture: impl Fn(&Shown) -> Option<Picture>) -> Band {
    let hit = |hit: Hit| {
        let (captions, taken, tags) = hit.more.map_or((vec![], None, vec![]), |more| (more.captions, more.taken, more.tags));
        let tags = tags.into_iter().map(|tag| tag.tag).collect::<Vec<_>>().join(", ");
        sheet::Hit {
            picture: picture(&hit.shown).map(|picture| sheet::thumbnail(&picture)),
            score: hit.score.unwrap_or_default(),
            name: hit.path.rsplit(['/', '\\']).next().unwrap_or_default().to_owned(),
            path: match hit.shown {
                Shown::File(path) => Some(path),
                Shown::Of(_) => Some(PathBuf::from(&hit.path)).filter(|path| path.is_file()),
            },
            captions: captions.into_iter().map(|caption| sheet::Caption { language: caption.language, text: caption.text }).collect(),
            notes: taken.into_iter().chain(Some(tags).filter(|tags| !tags.is_empty())).collect(),
        }
    };
    Band { asked, note: answer.note, hits: answer.hits.into_iter().map(hit).collect() }
}
