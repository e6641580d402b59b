//! Another model for the pictures that a library has.
//!
//! The new vectors go into a space of their own, beside the one that answers; that goes on answering until every picture has its new vector.
//! Then one commit makes the new one live and the old one silent. Whatever stops the work, the next call goes on with the pictures that lack a
//! vector. The old space stays, so that a migration back only has to fill what came since, unless it is to be removed.
//!
//! Pictures are read again; those whose content is no longer what the library knows are left to the next `ingest`.
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hua_data::{Entry, Source, Sources};
use hua_index::{ItemId, Space, SpaceId, SpaceState, StoredType, Writer};
use serde::Serialize;

use super::job::{Hash, Job, Left};
use super::{Turn, made_by, space_spec};
use crate::{Embedder, Error, Failure, Progress};

/// Pictures that are looked up at a time.
const PAGE: usize = 256;
/// Failures that are told by name.
const TOLD: usize = 10;

/// How a library gets another model.
#[derive(Clone, Debug)]
pub struct MigrateOptions<'a> {
    /// Remove the spaces of other models in the end.
    pub remove_old: bool,
    /// Switch even if some pictures could not be read: they are not found any more until they can be.
    pub leave_missing: bool,
    /// How the new vectors are stored.
    pub dtype: StoredType,
    /// How archives and lists are read.
    pub data: hua_data::Options,
    /// Once it is true, what is on the way is finished and committed, and nothing else begun.
    pub stop: &'a AtomicBool,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Migrated {
    /// The model that the new vectors are of.
    pub model: String,
    /// Pictures that got a vector.
    pub embedded: u64,
    /// Pictures that have none.
    pub missing: u64,
    /// The first few of those, and why.
    pub failures: Vec<Failure>,
    /// Whether the new vectors answer now.
    pub switched: bool,
    /// Spaces that were removed.
    pub removed: Vec<String>,
    /// Whether it was stopped before the end.
    pub stopped: bool,
    /// From beginning to end.
    pub seconds: f64,
}

/// What the threads of a run share.
struct State {
    writer: Writer,
    space: SpaceId,
    done: Migrated,
    problem: Option<Error>,
    turn: Turn,
}

/// A picture on its way to its new vector.
struct Task {
    id: ItemId,
    hash: Option<Hash>,
    job: Job,
}

/// Gives the library at `path` vectors of `embedder`'s model, and lets them answer.
///
/// # Errors
/// [`Error::Index`] if it cannot be written, [`Error::Exec`]. What was committed before stays.
pub fn migrate(path: &Path, embedder: &Embedder, options: &MigrateOptions<'_>, progress: &dyn Progress) -> Result<Migrated, Error> {
    let begun = Instant::now();
    let mut writer = Writer::open(path)?;
    let (space, model) = space_of(&mut writer, embedder, options.dtype)?;
    writer.commit()?;
    let done = Migrated { model, ..Migrated::default() };
    let state = Mutex::new(State { writer, space, done, problem: None, turn: Turn::default() });
    let total = lock(&state).missing()?;
    if total > 0 {
        progress.start("embedding pictures anew", total);
    }
    let mut containers = BTreeSet::new();
    embed(&state, embedder, files(&state, &mut containers, options.stop), progress)?;
    let containers: Vec<PathBuf> = containers.into_iter().collect();
    if !containers.is_empty() {
        let sources = Sources::open(&containers, &options.data)?;
        embed(&state, embedder, members(&state, sources, options.stop), progress)?;
    }
    progress.finish();
    let mut state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    state.writer.commit()?;
    state.done.missing = state.missing()?;
    state.done.stopped = options.stop.load(Ordering::Relaxed);
    if !state.done.stopped && (state.done.missing == 0 || options.leave_missing) {
        state.switch(options.remove_old)?;
    }
    state.done.seconds = begun.elapsed().as_secs_f64();
    Ok(state.done)
}

/// The space for `embedder`'s vectors, which is added if it is not there.
fn space_of(writer: &mut Writer, embedder: &Embedder, dtype: StoredType) -> Result<(SpaceId, String), Error> {
    let spaces = writer.spaces()?;
    if let Some(Space { id, spec, .. }) = spaces.iter().find(|space| made_by(&space.spec, embedder)) {
        return Ok((*id, spec.name.clone()));
    }
    let mut spec = space_spec(embedder, dtype);
    let model = spec.name.clone();
    // Two models of one name, such as two revisions.
    let taken = |name: &str| spaces.iter().any(|space| space.spec.name == name);
    for number in 2.. {
        if !taken(&spec.name) {
            break;
        }
        spec.name = format!("{model} ({number})");
    }
    Ok((writer.add_space(&spec)?, spec.name))
}

/// Embeds pictures and writes their vectors.
fn embed(
    state: &Mutex<State>,
    embedder: &Embedder,
    tasks: impl Iterator<Item = Task> + Send,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let read = |task: &mut Task| {
        let bytes = task.job.read(embedder.decode.limits.max_bytes)?;
        let now = task.job.content.as_ref().map(|content| content.hash);
        if task.hash.is_some() && now != task.hash { Err(Left::Copy) } else { Ok(bytes) }
    };
    let name = |task: &Task| task.job.entry.name.clone();
    embedder.embed_stream(tasks, usize::MAX, name, read, |task, result| {
        progress.advance(1);
        lock(state).settle(&task, result)
    })?;
    match lock(state).problem.take() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// The pictures without a vector that are files, by id. What is a part of something else is noted in `containers`.
fn files<'a>(state: &'a Mutex<State>, containers: &'a mut BTreeSet<PathBuf>, stop: &'a AtomicBool) -> impl Iterator<Item = Task> + Send {
    let (mut after, mut page) = (None, vec![].into_iter());
    std::iter::from_fn(move || {
        while !stop.load(Ordering::Relaxed) {
            let mut state = lock(state);
            let Some(id) = page.next() else {
                let listed = match state.writer.missing(state.space, after, PAGE) {
                    Ok(listed) => listed,
                    Err(error) => {
                        state.problem.get_or_insert(error.into());
                        return None;
                    }
                };
                after = Some(*listed.last()?);
                page = listed.into_iter();
                continue;
            };
            match state.task(id) {
                Ok(Ok(task)) => return Some(task),
                Ok(Err(path)) => containers.extend(container(&path)),
                Err(error) => {
                    state.problem.get_or_insert(error);
                    return None;
                }
            }
        }
        None
    })
}

/// The members of archives and lists that are pictures without a vector.
fn members<'a>(state: &'a Mutex<State>, mut sources: Sources, stop: &'a AtomicBool) -> impl Iterator<Item = Task> + Send {
    std::iter::from_fn(move || {
        while !stop.load(Ordering::Relaxed) {
            let Ok(entry) = sources.next()? else { continue };
            let mut state = lock(state);
            match state.member(entry) {
                Ok(Some(task)) => return Some(task),
                Ok(None) => {}
                Err(error) => {
                    state.problem.get_or_insert(error);
                    return None;
                }
            }
        }
        None
    })
}

/// The archive or list that a picture is a part of, if that is there.
fn container(name: &str) -> Option<PathBuf> {
    let ends = name.match_indices(['!', '#']).map(|(at, _)| Path::new(&name[..at]));
    ends.filter(|path| !path.as_os_str().is_empty()).find(|path| fs::exists(path).unwrap_or(false)).map(Path::to_owned)
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// How many pictures have no vector.
    fn missing(&self) -> Result<u64, Error> {
        let (mut count, mut after) = (0, None);
        loop {
            let page = self.writer.missing(self.space, after, 64 * PAGE)?;
            let Some(last) = page.last() else { return Ok(count) };
            after = Some(*last);
            count += page.len() as u64;
        }
    }

    /// The task for an item that is a file, or the path of one that is none.
    fn task(&self, id: ItemId) -> Result<Result<Task, String>, Error> {
        let Some(item) = self.writer.item(id)? else { return Ok(Err(String::new())) };
        let path = PathBuf::from(&item.path);
        if container(&item.path).is_some() && !path.is_file() {
            return Ok(Err(item.path));
        }
        let job = Job { entry: Entry::new(item.path, Source::File(path)), known: None, content: None, anew: false };
        Ok(Ok(Task { id, hash: item.hash, job }))
    }

    /// The task for a member of an archive, if its item has no vector.
    fn member(&self, entry: Entry) -> Result<Option<Task>, Error> {
        let Some(known) = self.writer.known(&entry.name)? else { return Ok(None) };
        if self.writer.has_vector(self.space, known.id)? {
            return Ok(None);
        }
        Ok(Some(Task { id: known.id, hash: known.hash, job: Job { entry, known: None, content: None, anew: false } }))
    }

    fn settle(&mut self, task: &Task, result: Result<Vec<f32>, Left>) -> Result<(), Error> {
        let reason = match result {
            Ok(vector) => {
                // Whatever has the same content has the same vector.
                let mut items = task.hash.map(|hash| self.writer.by_hash(&hash)).transpose()?.unwrap_or_default();
                if !items.contains(&task.id) {
                    items.push(task.id);
                }
                for id in items {
                    if !self.writer.has_vector(self.space, id)? {
                        self.writer.set_vector(self.space, id, &vector)?;
                        self.done.embedded += 1;
                    }
                }
                return self.turn.commit(&mut self.writer);
            }
            Err(Left::Failed(error)) => error.reason(),
            Err(Left::Copy | Left::Same) => "it has changed; `hua index` takes it in anew".into(),
        };
        if self.done.failures.len() < TOLD {
            self.done.failures.push(Failure { path: task.job.entry.name.clone(), reason });
        }
        Ok(())
    }

    /// Lets the new space answer, and no other.
    fn switch(&mut self, remove_old: bool) -> Result<(), Error> {
        let spaces = self.writer.spaces()?;
        for space in &spaces {
            let state = if space.id == self.space { SpaceState::Live } else { SpaceState::Filling };
            if space.state != state {
                self.writer.set_state(space.id, state)?;
            }
        }
        self.writer.commit()?;
        self.done.switched = true;
        if remove_old {
            for space in spaces.into_iter().filter(|space| space.id != self.space) {
                self.writer.remove_space(space.id)?;
                self.done.removed.push(space.spec.name);
            }
        }
        Ok(())
    }
}
