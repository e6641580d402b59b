//! `hua index DIR… -o LIB`: takes pictures into a library, once or for as long as somebody wants it to follow.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use hua::index::StoredType;
use hua::library::{IngestOptions, Ingested, Watched, ingest, watch};
use hua::shown::thousands;
use serde::Serialize;

use super::lists::Lists;
use crate::complaint::Complaint;
use crate::session::Session;
use crate::stop;
use crate::table::counted;

#[derive(Args)]
#[group(id = "ingest")]
pub struct Arguments {
    /// Folders, and files that list pictures; none: all that the library was made from
    #[arg(value_name = "DIR-OR-FILE")]
    sources: Vec<PathBuf>,
    /// The library: a folder, made if it is not there
    #[arg(short = 'o', long = "library", value_name = "LIB", required = true)]
    library: Option<PathBuf>,
    /// Try the pictures again that failed and have not changed since
    #[arg(long)]
    retry: bool,
    /// Forget the pictures of folders that are empty or gone; else they stay, for a disk may not be mounted
    #[arg(long)]
    forget: bool,
    /// Go on following the folders, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// How a new library stores vectors: `f16`, or `f32` to keep them to the bit at twice the size
    #[arg(long, value_enum, value_name = "TYPE", default_value = "f16")]
    stored: Stored,
    #[command(flatten)]
    lists: Lists,
    /// Say on stdout what was done, as one JSON object; with `--watch` one a line
    #[arg(long)]
    json: bool,
}

/// How vectors are stored.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Stored {
    F16,
    F32,
}

impl From<Stored> for StoredType {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::F16 => Self::F16,
            Stored::F32 => Self::F32,
        }
    }
}

/// The answer of `--json`.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    done: &'a Ingested,
    /// Of those that were read and embedded.
    pictures_per_second: f64,
}

pub fn run(arguments: Arguments, session: &Session) -> anyhow::Result<()> {
    let Arguments { sources, library, retry, forget, watch: follows, stored, lists, json } = arguments;
    let library = library.ok_or_else(|| Complaint::caller("no library to write: `-o LIB` names it"))?;
    if follows && sources.is_empty() {
        return Err(Complaint::caller("`--watch` follows folders, and none is named").into());
    }
    let embedder = session.embedder()?;
    let options = IngestOptions { retry, forget, dtype: stored.into(), data: lists.options(), stop: stop::asked() };
    let bar = session.bar();
    if follows {
        let told = |watched: Watched<'_>| match watched {
            Watched::Ingested(done) => {
                let _ = tell(session, &library, done, json);
                session.printer.note("following the folders; Ctrl-C ends it");
            }
            Watched::Waiting(why) => session.printer.warning(format!("{why}; the changes wait")),
        };
        return Ok(watch(&library, &embedder, &sources, &options, &bar, told)?);
    }
    let done = ingest(&library, &embedder, &sources, &options, &bar)?;
    drop(bar);
    tell(session, &library, &done, json)?;
    if done.stopped {
        let message = "stopped before the end; what was done is in the library";
        return Err(Complaint::file(message).hint("the same command goes on from here").into());
    }
    Ok(())
}

/// Says what was done, and what was not.
fn tell(session: &Session, library: &Path, done: &Ingested, json: bool) -> anyhow::Result<()> {
    session.warn_failures(&done.failures);
    if done.failed > done.failures.len() as u64 {
        let more = done.failed - done.failures.len() as u64;
        session.printer.warning(format!("{} more failed; `hua index errors {}` lists them", thousands(more), library.display()));
    }
    for kept in &done.kept {
        let what = if kept.empty { "is empty" } else { "is not there" };
        let pictures = counted(kept.pictures as usize, "picture");
        session.printer.warning(format!("`{}` {what}; its {pictures} stay in the library: `--forget` takes them out", kept.folder));
    }
    session.printer.note(format!("{} in `{}`; {:.1} s", summary(done), library.display(), done.seconds));
    if json {
        let embedded = done.added + done.changed - done.shared;
        let wall = done.times.wall.as_secs_f64();
        let pictures_per_second = if wall > 0.0 { embedded as f64 / wall } else { 0.0 };
        session.printer.json(&Report { done, pictures_per_second })?;
    }
    Ok(())
}

/// What happened, without what did not.
fn summary(done: &Ingested) -> String {
    let parts = [
        (done.added, "new"),
        (done.changed, "changed"),
        (done.renamed, "renamed"),
        (done.described, "with other captions or tags"),
        (done.removed, "gone"),
        (done.unchanged, "as they were"),
        (done.failed, "failed"),
        (done.failed_before, "that failed before (`--retry` tries them again)"),
    ];
    let parts: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", thousands(*n))).collect();
    if parts.is_empty() { "no pictures".into() } else { format!("pictures: {}", parts.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_says_what_happened_and_not_what_did_not() {
        let done = Ingested { added: 1200, failed: 2, ..Ingested::default() };
        assert_eq!(summary(&done), "pictures: 1,200 new, 2 failed");
        assert_eq!(summary(&Ingested::default()), "no pictures");
    }
}
