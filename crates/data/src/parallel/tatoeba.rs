//! Tatoeba's exports (<https://tatoeba.org/en/downloads>): `sentences.csv` has number, language and text between tabs, `links.csv` the numbers of a
//! sentence and of a translation of it, mostly in both directions.
//!
//! Sentences are held in memory, of the languages that were told alone, as links jump among them (all of 2026: about 1.5 GB). Each pair comes once,
//! where `links.csv` has it first.
use std::collections::{HashMap, HashSet};
use std::io::BufRead;
use std::path::{Path, PathBuf};

use super::{Items, Options, language, moses, row};
use crate::lines::Lines;
use crate::walk::name_of;
use crate::{Failure, Result, table};

/// Whether a folder has both files.
pub(super) fn is_export(folder: &Path) -> bool {
    export_file(folder, "sentences").is_some() && export_file(folder, "links").is_some()
}

fn export_file(folder: &Path, name: &str) -> Option<PathBuf> {
    ["csv", "tsv", "csv.gz", "tsv.gz"].iter().map(|ending| folder.join(format!("{name}.{ending}"))).find(|path| path.is_file())
}

/// What `sentences.csv` says.
#[derive(Default)]
struct Sentences {
    /// Place of the language and text by number; none for those in languages that are not wanted.
    texts: HashMap<u64, Option<(usize, Box<str>)>>,
    codes: Vec<String>,
    failures: Vec<Failure>,
}

pub(super) fn items(folder: &Path, options: &Options) -> Result<Items> {
    let (Some(sentences_path), Some(links_path)) = (export_file(folder, "sentences"), export_file(folder, "links")) else {
        return Ok(Box::new(std::iter::empty()));
    };
    // Opened now, read when the first row is asked for.
    let (sentences, links) = (table::open(&sentences_path)?, table::open(&links_path)?);
    let (most, told) = (options.max_bytes, options.told());
    let rows = std::iter::once_with(move || {
        let mut sentences = Sentences::read(sentences, most, &told, &name_of(&sentences_path));
        let failures = std::mem::take(&mut sentences.failures);
        failures.into_iter().map(Err).chain(pairs(links, most, name_of(&links_path), sentences))
    });
    Ok(Box::new(rows.flatten()))
}

impl Sentences {
    fn read(file: Box<dyn BufRead + Send>, most: u64, told: &[String], name: &str) -> Self {
        let mut read = Self::default();
        let mut places: HashMap<String, usize> = HashMap::new();
        for line in moses::filled(Lines::new(file, most)) {
            let line = match line {
                Ok(line) => line,
                Err(e) => {
                    read.failures.push(moses::failed(name, e));
                    continue;
                }
            };
            match sentence(&line.bytes) {
                Ok((number, code, text)) => {
                    let wanted = told.is_empty() || told.contains(&code);
                    let place = *places.entry(code).or_insert_with_key(|code| {
                        read.codes.push(code.clone());
                        read.codes.len() - 1
                    });
                    read.texts.insert(number, wanted.then(|| (place, text.into())));
                }
                Err(reason) => read.failures.push(Failure { name: format!("{name}#{}", line.number), reason }),
            }
        }
        read
    }
}

/// The pairs of `links.csv`.
fn pairs(file: Box<dyn BufRead + Send>, most: u64, name: String, sentences: Sentences) -> impl Iterator<Item = super::Item> + Send {
    let mut lines = moses::filled(Lines::new(file, most));
    let mut seen = HashSet::new();
    // Links into sentences that are not there are one failure: an export of a few languages has millions of them.
    let (mut lost, mut first_lost) = (0_u64, None);
    std::iter::from_fn(move || {
        loop {
            let line = match lines.next() {
                Some(Ok(line)) => line,
                Some(Err(e)) => return Some(Err(moses::failed(&name, e))),
                None => {
                    let (from, to): (u64, u64) = first_lost.take()?;
                    let reason = format!("{lost} links with sentences that are not there, the first from {from} to {to}");
                    return Some(Err(Failure { name: name.clone(), reason }));
                }
            };
            let name = format!("{name}#{}", line.number);
            let Some((from, to)) = link(&line.bytes) else {
                return Some(Err(Failure { name, reason: "no two numbers with a tab between them".into() }));
            };
            match (sentences.texts.get(&from), sentences.texts.get(&to)) {
                (Some(Some((a, first))), Some(Some((b, second)))) => {
                    if from != to && seen.insert((from.min(to), from.max(to))) {
                        let text = |place: &usize, text: &str| (sentences.codes[*place].clone(), text.to_owned());
                        return Some(row(name, vec![text(a, first), text(b, second)]));
                    }
                }
                (Some(_), Some(_)) => {}
                _ => {
                    lost += 1;
                    first_lost.get_or_insert((from, to));
                }
            }
        }
    })
}

/// Number, language and text of a line; more columns (`sentences_detailed.csv`) do not matter.
fn sentence(line: &[u8]) -> std::result::Result<(u64, String, &str), String> {
    let line = std::str::from_utf8(line).map_err(|_| "no UTF-8".to_owned())?;
    let cells: Vec<&str> = line.split('\t').collect();
    let [number, code, text, ..] = &*cells else { return Err(format!("{} columns, wanted number, language and text", cells.len())) };
    let number = number.trim().parse().map_err(|_| "no number in the first column".to_owned())?;
    // Where nobody knows a sentence's language, Tatoeba writes `\N`.
    let code = language(code).unwrap_or_else(|| if *code == "\\N" { "und".into() } else { code.trim().to_owned() });
    Ok((number, code, text))
}

fn link(line: &[u8]) -> Option<(u64, u64)> {
    let mut cells = std::str::from_utf8(line).ok()?.split('\t');
    let mut number = || cells.next()?.trim().parse().ok();
    Some((number()?, number()?))
}
