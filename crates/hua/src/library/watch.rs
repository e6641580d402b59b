//! A library that follows its folders: what the system tells of changed files is gathered until it is quiet, and taken in.
//!
//! Every change is looked up on the disk, so that it does not matter what an event says or in which order events come. If the system lost
//! some (its queue ran over), everything is walked again. The library is open for writing only while something is taken in, so that other
//! commands have their turn.
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use hua_data::{EXTENSIONS, Kind, Sources, is_picture, name_of};
use notify::event::{AccessKind, AccessMode, EventKind, MetadataKind, ModifyKind};
use notify::{Event, RecursiveMode, Watcher};

use super::descend::{is_below, whole};
use super::ingest::{IngestOptions, Ingested, State, ingest, run};
use crate::{Embedder, Error, Progress};

/// How long nothing may happen before changes are taken in: a file that is being copied is not read half.
const QUIET: Duration = Duration::from_millis(500);
/// How long changes wait at most.
const LONGEST: Duration = Duration::from_secs(10);
/// How often somebody may stop it.
const TICK: Duration = Duration::from_millis(100);

/// What happened to a library that is followed.
#[derive(Debug)]
pub enum Watched<'a> {
    /// Changes were taken in.
    Ingested(&'a Ingested),
    /// Another process writes the library, or a list is not what it should be just now; the changes wait.
    Waiting(&'a Error),
}

/// What is to be looked at.
#[derive(Debug, Default)]
struct Pending {
    paths: BTreeSet<PathBuf>,
    /// Whether events were lost.
    all: bool,
    since: Option<Instant>,
    last: Option<Instant>,
}

/// Takes in `sources`, as [`ingest`] does, and then what changes in them, until `options.stop`. `each` is told of everything.
///
/// # Errors
/// As [`ingest`]; [`Error::Watch`] if the system does not tell of changes.
pub fn watch(
    path: &Path,
    embedder: &Embedder,
    sources: &[PathBuf],
    options: &IngestOptions<'_>,
    progress: &dyn Progress,
    mut each: impl FnMut(Watched<'_>),
) -> Result<(), Error> {
    let (told, events) = mpsc::channel();
    let watch_error = |source| Error::Watch { source };
    let mut watcher = notify::recommended_watcher(told).map_err(watch_error)?;
    let roots: Vec<PathBuf> = sources.iter().map(|source| whole(source)).collect();
    // Watched before they are walked, so that nothing falls between.
    for root in roots.iter().filter(|root| root.exists()) {
        watcher.watch(root, RecursiveMode::Recursive).map_err(watch_error)?;
    }
    each(Watched::Ingested(&ingest(path, embedder, sources, options, progress)?));
    let (library, mut pending) = (whole(path), Pending::default());
    while !options.stop.load(Ordering::Relaxed) {
        if !pending.gather(&events, &library) {
            return Ok(());
        }
        if !pending.is_ripe() {
            continue;
        }
        let taken = if pending.all {
            ingest(path, embedder, sources, options, progress)
        } else {
            take_in(path, embedder, &roots, &pending.paths, options, progress)
        };
        match taken {
            Ok(done) => {
                pending = Pending::default();
                if done != (Ingested { seconds: done.seconds, times: done.times, unchanged: done.unchanged, ..Ingested::default() }) {
                    each(Watched::Ingested(&done));
                }
            }
            Err(error @ (Error::Data(_) | Error::Index(hua_index::Error::Locked { .. }))) => {
                each(Watched::Waiting(&error));
                pending.last = Some(Instant::now() + LONGEST);
                pending.since = pending.last;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Pending {
    /// Waits a moment for events; false if there will be no more.
    fn gather(&mut self, events: &Receiver<notify::Result<Event>>, library: &Path) -> bool {
        match events.recv_timeout(TICK) {
            Ok(event) => {
                self.note(event, library);
                // Whatever else has come.
                while let Ok(event) = events.try_recv() {
                    self.note(event, library);
                }
                true
            }
            Err(RecvTimeoutError::Timeout) => true,
            Err(RecvTimeoutError::Disconnected) => false,
        }
    }

    fn note(&mut self, event: notify::Result<Event>, library: &Path) {
        match event {
            Ok(event) if event.need_rescan() => self.all = true,
            Ok(event) if is_change(event.kind) => {
                let paths = event.paths.into_iter().filter(|path| !path.starts_with(library));
                let before = self.paths.len();
                self.paths.extend(paths);
                if self.paths.is_empty() || self.paths.len() == before && self.last.is_none() {
                    return;
                }
            }
            Ok(_) => return,
            // What the system cannot say is found by walking.
            Err(_) => self.all = true,
        }
        let now = Instant::now();
        self.since.get_or_insert(now);
        self.last = Some(now);
    }

    fn is_ripe(&self) -> bool {
        let past = |time: Option<Instant>, by| time.is_some_and(|time| time.elapsed() >= by);
        (self.all || !self.paths.is_empty()) && (past(self.last, QUIET) || past(self.since, LONGEST))
    }
}

/// Whether an event may mean another content, or another name. Reading a file is an event too.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(MetadataKind::AccessTime)) => false,
        _ => true,
    }
}

/// Takes in what lies at `paths` now, and what is no longer there out.
fn take_in(
    path: &Path,
    embedder: &Embedder,
    roots: &[PathBuf],
    paths: &BTreeSet<PathBuf>,
    options: &IngestOptions<'_>,
    progress: &dyn Progress,
) -> Result<Ingested, Error> {
    let begun = Instant::now();
    let there: Vec<PathBuf> = paths.iter().flat_map(|path| pictures_at(path, roots)).collect::<BTreeSet<_>>().into_iter().collect();
    let mut state = State::open(path, embedder, options)?;
    state.met = roots.iter().map(|root| (name_of(root), 0)).collect();
    let sources = Sources::open(&there, &options.data)?;
    let are_files = sources.kinds().all(|(_, kind)| kind == Kind::Picture);
    let most = if are_files { there.len() } else { usize::MAX };
    let (mut state, finished) = run(state, embedder, sources, most, options.stop, progress)?;
    for gone in paths.iter().filter(|path| fs::symlink_metadata(path).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound)) {
        // A whole folder that is gone may be a disk that was taken away.
        if !roots.contains(gone) {
            state.sweep_gone(&name_of(gone))?;
        }
    }
    state.writer.commit()?;
    state.done.stopped = !finished;
    state.done.seconds = begun.elapsed().as_secs_f64();
    Ok(state.done)
}

/// The sources that a changed path touches: a picture, what it stands beside, a folder that came, or the archive or list that is followed.
fn pictures_at(path: &Path, roots: &[PathBuf]) -> Vec<PathBuf> {
    let Some(root) = roots.iter().find(|root| path.starts_with(root)) else { return vec![] };
    if root == path && !path.is_dir() {
        return if path.exists() { vec![root.clone()] } else { vec![] };
    }
    let below = path.strip_prefix(root).unwrap_or(path);
    if below.iter().any(|name| name.as_encoded_bytes().starts_with(b".")) {
        return vec![];
    }
    if path.is_dir() || path.is_file() && is_picture(path) {
        return vec![path.to_owned()];
    }
    EXTENSIONS.iter().map(|extension| path.with_extension(extension)).filter(|picture| picture.is_file()).collect()
}

impl State {
    /// Removes the pictures that were at `place`, a file or a folder, and its errors.
    fn sweep_gone(&mut self, place: &str) -> Result<(), Error> {
        for (id, path) in self.writer.paths_under(place)? {
            if is_below(&path, place) && !self.seen.contains(&id) && self.writer.remove(id)? {
                self.done.removed += 1;
            }
        }
        let stale: Vec<String> = self.errors.keys().filter(|path| is_below(path, place)).cloned().collect();
        for path in stale {
            self.writer.clear_error(&path)?;
            self.errors.remove(&path);
        }
        Ok(())
    }
}
