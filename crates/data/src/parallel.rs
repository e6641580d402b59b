//! Parallel text: the same thing said in several languages, line by line, and lists of words with their languages.
//!
//! [`open`] reads, by content and name:
//! - **tables with languages as columns**: TSV, CSV, JSON lines, Parquet, with a line of names (`en`, `zh`; also `caption_zh`, `text_en`,
//!   and the `translation` of Hugging Face's data sets) or without one, if [`Options::languages`] says what the columns are;
//! - **rows of language and text**: `en⇥hello⇥zh⇥你好`, any number of pairs in a row; with one pair it is a list of words. With names
//!   (`id`, `language`, `text`), rows one after another that share their first `id`, `group` or `concept` are one;
//! - **Moses pairs**, as OPUS has them: `corpus.{en,zh}`, `corpus.en corpus.zh`, or `corpus` with languages told. Line n of each file is
//!   the same sentence, so files of different lengths are refused before anything is read of them;
//! - **Tatoeba's exports**: a folder with `sentences.csv` and `links.csv`, and the sentence pairs that the site offers (`id⇥text⇥id⇥text`);
//! - a file that ends in a language (`words.fr`): a text a line.
//!
//! In TSV a quote is a quote: corpora are full of sentences that begin with one and do not end with one. All files may be in gzip. Languages
//! become tags of BCP 47 ([`language`]). A column `id` is a number of some kind, and Indonesian only where that is told. What is wrong
//! with one line is a [`Failure`] among the rows.
//!
//! ```
//! use hua_data::parallel::{Options, open};
//!
//! let folder = tempfile::tempdir()?;
//! let file = folder.path().join("words.tsv");
//! std::fs::write(&file, "en\tcmn\nrainbow\t彩虹\n\t空\n")?;
//!
//! let rows: Vec<_> = open(&[file], &Options::default())?.collect();
//! assert_eq!(rows[0].as_ref().unwrap().texts, [("en".to_owned(), "rainbow".to_owned()), ("zh".to_owned(), "彩虹".to_owned())]);
//! assert_eq!(rows[1].as_ref().unwrap_err().reason, "nothing in `en`");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
mod moses;
mod table;
mod tatoeba;
mod tsv;

use std::path::{Path, PathBuf};

pub use crate::language::language;
use crate::walk::name_of;
use crate::{Error, Failure, Kind, Result, braces};

/// The same thing in several languages, or one text of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parallel {
    /// `file#line`: the same in every run.
    pub name: String,
    /// Language and text; texts have no spaces around them and are not empty. A language may come more than once.
    pub texts: Vec<(String, String)>,
}

/// How parallel text is read; the defaults guess.
#[derive(Clone, Debug)]
pub struct Options {
    /// The languages of the columns of a table without names, in their order (an empty one leaves its column out), or of Moses' files. Of
    /// anything else, the languages that are wanted: others are left out.
    pub languages: Vec<String>,
    /// The longest line or field that is read, in bytes. Default 1 MiB.
    pub max_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { languages: vec![], max_bytes: 1 << 20 }
    }
}

impl Options {
    /// The languages that were told, in one spelling; those that are no codes stay as they are.
    fn told(&self) -> Vec<String> {
        self.languages.iter().map(|code| language(code).unwrap_or_else(|| code.trim().to_owned())).collect()
    }
}

/// One row, or why there is none.
pub type Item = std::result::Result<Parallel, Failure>;
/// A source that is being read.
type Items = Box<dyn Iterator<Item = Item> + Send>;

/// The rows of some files, one file after another, read as they are asked for.
pub struct ParallelText {
    options: Options,
    sources: std::vec::IntoIter<Source>,
    now: Option<Items>,
}

/// What is read as one.
#[derive(Clone, Debug)]
enum Source {
    /// A text a line, of this language.
    List(PathBuf, String),
    /// With the language of each.
    Moses(Vec<(PathBuf, String)>),
    Table(PathBuf),
    Tatoeba(PathBuf),
    Tsv(PathBuf),
}

/// Looks at each of `paths` and gives their rows in order. Patterns with braces stand for all that they name.
///
/// # Errors
/// [`Error::Io`] and [`Error::Missing`] if a file is not there; [`Error::Unequal`] if files that belong together have different numbers
/// of lines;
/// [`Error::Malformed`] if no languages are found in one.
pub fn open(paths: &[PathBuf], options: &Options) -> Result<ParallelText> {
    let mut sources = vec![];
    for path in paths {
        // The same corpus in two languages, named one after the other.
        if let (Some((stem, code)), Some(Source::List(before, first))) = (moses::parts(path), sources.last())
            && path.is_file()
            && moses::parts(before).is_some_and(|(other, _)| other == stem)
        {
            let pair = vec![(before.clone(), first.clone()), (path.clone(), code)];
            sources.pop();
            sources.push(Source::Moses(pair));
            continue;
        }
        sources.extend(found(path, options)?);
    }
    // What is no parallel text is to be known before anything is read.
    for source in &sources {
        match source {
            Source::Moses(files) => moses::check(files)?,
            other => drop(items(other, options)?),
        }
    }
    Ok(ParallelText { options: options.clone(), sources: sources.into_iter(), now: None })
}

/// What a path stands for.
fn found(path: &Path, options: &Options) -> Result<Vec<Source>> {
    if path.is_dir() {
        return tatoeba::is_export(path).then(|| vec![Source::Tatoeba(path.to_owned())]).ok_or_else(|| Error::Malformed {
            path: path.to_owned(),
            found: "is a folder without `sentences.csv` and `links.csv`".into(),
            wanted: "Tatoeba's exports, or a file".into(),
        });
    }
    if path.exists() {
        return Ok(vec![file(path)?]);
    }
    if let Some(files) = moses::told(path, &options.told()) {
        return Ok(vec![Source::Moses(files)]);
    }
    let names = path.to_str().filter(|pattern| pattern.contains('{')).and_then(braces::expand).unwrap_or_default();
    if names.len() < 2 {
        let not_there = std::io::Error::new(std::io::ErrorKind::NotFound, "no such file");
        return Err(Error::io(path)(not_there));
    }
    let paths: Vec<PathBuf> = names.into_iter().map(PathBuf::from).collect();
    let missing: Vec<_> = paths.iter().filter(|path| !path.exists()).cloned().collect();
    if !missing.is_empty() {
        return Err(Error::Missing { pattern: name_of(path), missing });
    }
    match moses::pattern(&paths) {
        Some(files) => Ok(vec![Source::Moses(files)]),
        None => paths.iter().map(|path| file(path)).collect(),
    }
}

/// What a file is.
fn file(path: &Path) -> Result<Source> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    if name == "sentences.csv" {
        let folder = path.parent().unwrap_or(Path::new(""));
        if tatoeba::is_export(folder) {
            return Ok(Source::Tatoeba(folder.to_owned()));
        }
    }
    if name.ends_with(".tsv") || name.ends_with(".tab") || name.ends_with(".txt") {
        return Ok(Source::Tsv(path.to_owned()));
    }
    match Kind::of(path)? {
        Kind::Csv | Kind::Jsonl | Kind::Parquet => Ok(Source::Table(path.to_owned())),
        _ => match moses::parts(path) {
            Some((_, code)) => Ok(Source::List(path.to_owned(), code)),
            None => Err(Error::Malformed {
                path: path.to_owned(),
                found: "is no parallel text by its name".into(),
                wanted: "TSV, CSV, JSON lines or Parquet, or a name that ends in a language, as `corpus.en`".into(),
            }),
        },
    }
}

fn items(source: &Source, options: &Options) -> Result<Items> {
    match source {
        Source::List(path, code) => moses::list(path, code, options),
        Source::Moses(files) => moses::items(files, options),
        Source::Table(path) => table::items(path, options),
        Source::Tatoeba(folder) => tatoeba::items(folder, options),
        Source::Tsv(path) => tsv::items(path, options),
    }
}

impl Iterator for ParallelText {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.now.as_mut().and_then(Iterator::next) {
                return Some(item);
            }
            let source = self.sources.next()?;
            // One that has gone or been damaged since it was looked at is a failure like others.
            self.now = Some(items(&source, &self.options).unwrap_or_else(|e| {
                let name = match &source {
                    Source::List(path, _) | Source::Table(path) | Source::Tatoeba(path) | Source::Tsv(path) => name_of(path),
                    Source::Moses(files) => name_of(&files[0].0),
                };
                Box::new(std::iter::once(Err(Failure { name, reason: e.reason() })))
            }));
        }
    }
}

impl std::fmt::Debug for ParallelText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParallelText").field("sources", &self.sources).finish_non_exhaustive()
    }
}

/// A row of cells, each with its language, of which none may be missing where there are two, and two must be there where there are more.
fn row(name: String, cells: Vec<(String, String)>) -> Item {
    let (columns, first_empty) = (cells.len(), cells.iter().find(|(_, text)| text.trim().is_empty()).map(|(code, _)| code.clone()));
    let texts: Vec<_> = cells.into_iter().map(|(code, text)| (code, text.trim().to_owned())).filter(|(_, text)| !text.is_empty()).collect();
    match first_empty {
        Some(code) if columns <= 2 => Err(Failure { name, reason: format!("nothing in `{code}`") }),
        _ if texts.is_empty() => Err(Failure { name, reason: "no text".into() }),
        _ if columns > 2 && texts.len() < 2 => Err(Failure { name, reason: format!("a text in `{}` alone", texts[0].0) }),
        _ => Ok(Parallel { name, texts }),
    }
}

#[cfg(test)]
mod tests;
