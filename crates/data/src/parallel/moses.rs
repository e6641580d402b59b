//! Files of which line n is the same sentence in each: the form of Moses, in which OPUS gives its corpora out. And one such file alone: a list.
use std::io::BufRead;
use std::path::{Path, PathBuf};

use super::{Items, Options, language, row};
use crate::lines::{Line, LineError, Lines};
use crate::walk::name_of;
use crate::{Error, Failure, Result, table};

/// A name without its language, and the language: `a/corpus.en` and `a/corpus.en.gz` are (`a/corpus`, `en`).
pub(super) fn parts(path: &Path) -> Option<(PathBuf, String)> {
    let name = path.file_name()?.to_str()?;
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let (stem, code) = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty())?;
    Some((path.with_file_name(stem), language(code)?))
}

/// The files of a pattern, if their names differ in the language at their ends and nowhere else.
pub(super) fn pattern(paths: &[PathBuf]) -> Option<Vec<(PathBuf, String)>> {
    let parts: Vec<_> = paths.iter().map(|path| parts(path)).collect::<Option<_>>()?;
    let same = parts.iter().all(|(stem, _)| *stem == parts[0].0);
    same.then(|| paths.iter().cloned().zip(parts.into_iter().map(|(_, code)| code)).collect())
}

/// The files `stem.LANGUAGE` for all languages that were told, if all are there.
pub(super) fn told(stem: &Path, languages: &[String]) -> Option<Vec<(PathBuf, String)>> {
    let name = stem.file_name()?.to_str()?;
    let file = |code: &String| {
        let names = [format!("{name}.{code}"), format!("{name}.{code}.gz")];
        names.iter().map(|name| stem.with_file_name(name)).find(|path| path.is_file()).map(|path| (path, code.clone()))
    };
    (languages.len() > 1).then(|| languages.iter().map(file).collect()).flatten()
}

/// Counts the lines of all files, which must be as many.
pub(super) fn check(files: &[(PathBuf, String)]) -> Result<()> {
    let count = |path: &PathBuf| -> Result<u64> {
        let mut reader = table::open(path)?;
        let mut count = 0;
        while reader.skip_until(b'\n').map_err(Error::io(path))? > 0 {
            count += 1;
        }
        Ok(count)
    };
    let counts = files.iter().map(|(path, _)| Ok((path.clone(), count(path)?))).collect::<Result<Vec<_>>>()?;
    if counts.iter().any(|(_, count)| *count != counts[0].1) {
        return Err(Error::Unequal { counts });
    }
    Ok(())
}

/// The rows of files that belong together.
pub(super) fn items(files: &[(PathBuf, String)], options: &Options) -> Result<Items> {
    let mut readers = vec![];
    for (path, code) in files {
        readers.push((name_of(path), code.clone(), Lines::new(table::open(path)?, options.max_bytes)));
    }
    let mut ended = false;
    Ok(Box::new(std::iter::from_fn(move || {
        if ended {
            return None;
        }
        let (mut cells, mut failure, mut number, mut missing) = (vec![], None, 0, 0);
        for (name, code, lines) in &mut readers {
            match lines.next() {
                Some(Ok(line)) => {
                    number = line.number;
                    match String::from_utf8(line.bytes) {
                        Ok(text) => cells.push((code.clone(), text)),
                        Err(_) => _ = failure.get_or_insert(Failure { name: format!("{name}#{number}"), reason: "no UTF-8".into() }),
                    }
                }
                Some(Err(e)) => {
                    ended |= matches!(e, LineError::Io(_));
                    failure.get_or_insert(failed(name, e));
                }
                None => missing += 1,
            }
        }
        if missing == readers.len() {
            return None;
        }
        if missing > 0 {
            // They were of one length when they were opened.
            ended = true;
            return Some(Err(Failure { name: readers[0].0.clone(), reason: format!("behind line {number} not all files have lines") }));
        }
        Some(failure.map_or_else(|| row(format!("{}#{number}", readers[0].0), cells), Err))
    })))
}

/// The texts of one file, a line each; empty lines are none.
pub(super) fn list(path: &Path, code: &str, options: &Options) -> Result<Items> {
    let (name, code) = (name_of(path), code.to_owned());
    let lines = Lines::new(table::open(path)?, options.max_bytes);
    Ok(Box::new(filled(lines).map(move |line| {
        let line = line.map_err(|e| failed(&name, e))?;
        let name = format!("{name}#{}", line.number);
        let text = String::from_utf8(line.bytes).map_err(|_| Failure { name: name.clone(), reason: "no UTF-8".into() })?;
        row(name, vec![(code.clone(), text)])
    })))
}

/// Lines that hold something.
pub(super) fn filled<R: BufRead>(lines: Lines<R>) -> impl Iterator<Item = std::result::Result<Line, LineError>> {
    lines.filter(|line| !line.as_ref().is_ok_and(|line| line.bytes.trim_ascii().is_empty()))
}

/// A line that cannot be had.
pub(super) fn failed(file: &str, e: LineError) -> Failure {
    match e {
        LineError::Io(e) => Failure { name: file.to_owned(), reason: format!("cannot be read: {e}") },
        LineError::Long { number, most } => Failure { name: format!("{file}#{number}"), reason: format!("a line of over {most} bytes") },
    }
}
