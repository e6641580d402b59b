//! TSV: cells between tabs, quotes stand for themselves. What the columns are is decided by the first line and by the languages that were told.
use std::iter::Peekable;
use std::path::Path;

use super::{Item, Items, Options, Parallel, language, moses, row};
use crate::lines::Lines;
use crate::sidecar::Meaning;
use crate::walk::name_of;
use crate::{Error, Failure, Result, table};

/// What the columns hold.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Columns {
    /// A language each; none for a column that is left out.
    Languages(Vec<Option<String>>),
    /// Language, text, language, text, …
    Pairs,
    /// Columns of the language, of the text, and of what rows that belong together share.
    Named { language: usize, text: usize, group: Option<usize>, count: usize },
}

/// Lines in which it must show what the columns are.
const LINES_TO_CHECK: usize = 64;
/// Names of columns that rows which belong together share, the first that is there counts.
pub(super) const GROUPS: [&str; 6] = ["group", "concept", "id", "key", "sentence_id", "pair_id"];

pub(super) fn items(path: &Path, options: &Options) -> Result<Items> {
    let name = name_of(path);
    let most = options.max_bytes;
    let told = options.told();
    let head = moses::filled(Lines::new(table::open(path)?, most)).take(LINES_TO_CHECK).filter_map(std::result::Result::ok);
    let head: Vec<_> = head.map(|line| (line.number, String::from_utf8_lossy(&line.bytes).into_owned())).collect();
    let first = head.first().map(|(number, _)| *number);
    let head: Vec<Vec<&str>> = head.iter().map(|(_, line)| line.split('\t').map(str::trim).collect()).collect();
    let Some(cells) = head.first() else {
        // Nothing, or nothing but lines that are too long.
        let lines = moses::filled(Lines::new(table::open(path)?, most));
        return Ok(Box::new(lines.filter_map(move |line| Some(Err(moses::failed(&name, line.err()?))))));
    };
    // A language may be a word (`cat`, `no`) and a word a language: it is not the first line alone that decides.
    let pairs = head.iter().filter(|cells| is_pairs(cells)).count() * 2 > head.len()
        && (head.len() > 1 || column(cells.last().unwrap_or(&"")).is_none());
    let (columns, has_names) = columns(cells, &told, pairs).ok_or_else(|| Error::Malformed {
        path: path.to_owned(),
        found: format!("does not say its languages: its first line has {} columns, the first of them `{}`", cells.len(), start(cells[0])),
        wanted: "a line of names as `en⇥zh`, rows as `en⇥hello⇥zh⇥你好`, or languages told".into(),
    })?;
    let names = first.filter(|_| has_names);
    let lines = moses::filled(Lines::new(table::open(path)?, most))
        .filter(move |line| line.as_ref().ok().map(|line| line.number) != names || names.is_none());
    let width = cells.len();
    let rows = lines.map(move |line| {
        let line = line.map_err(|e| moses::failed(&name, e))?;
        let name = format!("{name}#{}", line.number);
        let text = String::from_utf8(line.bytes).map_err(|_| Failure { name: name.clone(), reason: "no UTF-8".into() })?;
        understood(name, &text, &columns, width, &told)
    });
    Ok(Box::new(Grouped(rows.peekable())))
}

/// What the first line says, and whether it is a line of names.
fn columns(cells: &[&str], told: &[String], pairs: bool) -> Option<(Columns, bool)> {
    let names: Vec<_> = cells.iter().map(|cell| column(cell).filter(|code| code != "id" || told.contains(code))).collect();
    let digits = |cell: &&str| !cell.is_empty() && cell.bytes().all(|b| b.is_ascii_digit());
    let known = names.iter().flatten().count();
    // Names of the columns; languages that were told choose among them.
    if known >= 2 && !pairs {
        let wanted = |code: &String| told.is_empty() || told.contains(code);
        return Some((Columns::Languages(names.into_iter().map(|code| code.filter(|code| wanted(code))).collect()), true));
    }
    let find = |wanted: &[&str]| wanted.iter().find_map(|name| cells.iter().position(|cell| cell.eq_ignore_ascii_case(name)));
    if let (Some(language), Some(text)) = (find(&["language", "lang"]), find(&["text", "sentence", "caption", "word", "name"])) {
        return Some((Columns::Named { language, text, group: find(&GROUPS), count: cells.len() }, true));
    }
    // Tatoeba's sentence pairs: number, text, number, text.
    if let ([a, _, b, _], [first, second]) = (cells, told)
        && digits(a)
        && digits(b)
    {
        return Some((Columns::Languages(vec![None, Some(first.clone()), None, Some(second.clone())]), false));
    }
    if pairs {
        return Some((Columns::Pairs, false));
    }
    if told.is_empty() || told.len() > cells.len() {
        return None;
    }
    let told = (0..cells.len()).map(|i| told.get(i).filter(|code| !code.is_empty()).cloned());
    Some((Columns::Languages(told.collect()), false))
}

/// The language of a column by its name: `en`, `caption_zh`.
pub(super) fn column(name: &str) -> Option<String> {
    match Meaning::of(name) {
        Meaning::Caption(Some(code)) => language(&code),
        _ => language(name),
    }
}

/// Language and text by turns.
fn is_pairs(cells: &[&str]) -> bool {
    cells.len() >= 2 && cells.len().is_multiple_of(2) && cells.iter().step_by(2).all(|cell| language(cell).is_some())
}

/// A row and what it shares with those that belong to it.
type Keyed = std::result::Result<(Option<String>, Parallel), Failure>;

fn understood(name: String, line: &str, columns: &Columns, width: usize, told: &[String]) -> Keyed {
    let cells: Vec<&str> = line.split('\t').collect();
    let wrong = |wanted: &str| Failure { name: name.clone(), reason: format!("{} columns, wanted {wanted}", cells.len()) };
    match columns {
        Columns::Languages(codes) => {
            if cells.len() != width {
                return Err(wrong(&width.to_string()));
            }
            let texts = codes.iter().zip(cells).filter_map(|(code, text)| Some((code.clone()?, text.to_owned())));
            Ok((None, row(name, texts.collect())?))
        }
        Columns::Pairs => {
            if !cells.len().is_multiple_of(2) {
                return Err(wrong("a text for each language"));
            }
            let mut texts = vec![];
            for pair in cells.chunks(2) {
                let Some(code) = language(pair[0]) else {
                    return Err(Failure { name, reason: format!("`{}` is no language", start(pair[0])) });
                };
                texts.push((code, pair[1].to_owned()));
            }
            Ok((None, row(name, chosen(texts, told))?))
        }
        Columns::Named { language: code, text, group, count } => {
            if cells.len() != *count {
                return Err(wrong(&count.to_string()));
            }
            let Some(code) = language(cells[*code]) else {
                return Err(Failure { name, reason: format!("`{}` is no language", start(cells[*code])) });
            };
            let key = group.map(|group| cells[group].trim().to_owned()).filter(|key| !key.is_empty());
            Ok((key, row(name, vec![(code, cells[*text].to_owned())])?))
        }
    }
}

/// The texts in languages that were told, if any were.
pub(super) fn chosen(texts: Vec<(String, String)>, told: &[String]) -> Vec<(String, String)> {
    texts.into_iter().filter(|(code, _)| told.is_empty() || told.contains(code)).collect()
}

/// How a cell begins, for messages.
fn start(cell: &str) -> String {
    cell.chars().take(24).collect()
}

/// Rows with one key one after another as one row.
pub(super) struct Grouped<I: Iterator<Item = Keyed>>(pub Peekable<I>);

impl<I: Iterator<Item = Keyed>> Iterator for Grouped<I> {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        let (key, mut row) = match self.0.next()? {
            Ok(keyed) => keyed,
            Err(failure) => return Some(Err(failure)),
        };
        if key.is_some() {
            while let Some(Ok((_, more))) = self.0.next_if(|next| next.as_ref().is_ok_and(|(other, _)| *other == key)) {
                row.texts.extend(more.texts);
            }
        }
        Some(Ok(row))
    }
}
