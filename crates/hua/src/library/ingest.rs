//! Pictures into a library.
//!
//! Entries come from the sources one after another; those that are known and unchanged are passed over (`descend.rs`), the others are read and
//! hashed. A content that the library has already is not embedded again: its file was renamed if the old path is gone, else it is a
//! copy and shares the vector. What is left goes through the pipeline, and its results are settled in the order of the sources, so that ids do not
//! depend on which thread was faster.
//!
//! Settling is done on the caller's thread, beside those that decode and embed. It commits every second or so ([`Turn`]): that
//! much a kill loses, and the next run goes on from there because it knows the rest.
use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use hua_data::{Entry, Sources};
use hua_index::{ItemError, ItemId, Known, Reader, SpaceId, StoredType, Writer};
use serde::Serialize;

use super::descend::{Descend, count, is_below, lock, whole};
use super::job::{Hash, Job, Left, redescribed, same_stamp};
use super::sweep::Kept;
use super::{Turn, live_space, open_or_create, remember, remembered};
use crate::{Embedder, Error, Failure, PictureTimes, Progress};

/// Failures that are told by name.
const TOLD: usize = 10;

/// How pictures are taken in.
#[derive(Clone, Debug)]
pub struct IngestOptions<'a> {
    /// Try the pictures again that failed and have not changed since.
    pub retry: bool,
    /// Forget the pictures of a folder that is empty or not there.
    pub forget: bool,
    /// How the vectors of a new library are stored.
    pub dtype: StoredType,
    /// How sources are read.
    pub data: hua_data::Options,
    /// Once it is true, what is on the way is finished and committed, and nothing else begun.
    pub stop: &'a AtomicBool,
}

impl IngestOptions<'_> {
    /// The usual, which nobody stops.
    pub fn new(stop: &AtomicBool) -> IngestOptions<'_> {
        IngestOptions { retry: false, forget: false, dtype: StoredType::F16, data: hua_data::Options::default(), stop }
    }
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Ingested {
    /// Pictures of the library that are new.
    pub added: u64,
    /// Those whose content is another.
    pub changed: u64,
    /// Those that were found under another path.
    pub renamed: u64,
    /// Those that are what they were.
    pub unchanged: u64,
    /// Those whose captions, tags or other facts were told anew.
    pub described: u64,
    /// Those that are gone.
    pub removed: u64,
    /// New and changed ones that did not have to be embedded, since another picture has the same content.
    pub shared: u64,
    /// Pictures that could not be used in this run.
    pub failed: u64,
    /// Those that could not be used before, have not changed, and were not tried again.
    pub failed_before: u64,
    /// The first few of those that failed.
    #[serde(skip)]
    pub failures: Vec<Failure>,
    /// Folders whose pictures stay though none was found.
    pub kept: Vec<Kept>,
    /// Whether it was stopped before the end.
    pub stopped: bool,
    /// From beginning to end.
    pub seconds: f64,
    /// Where the time of embedding went.
    #[serde(skip)]
    pub times: PictureTimes,
}

/// What the threads of a run share.
pub(super) struct State {
    pub writer: Writer,
    space: SpaceId,
    retry: bool,
    /// Contents that are being embedded.
    embedding: HashSet<Hash>,
    /// Contents that could not be, and why.
    failed: HashMap<Hash, String>,
    /// Items whose pictures were met.
    pub seen: HashSet<ItemId>,
    /// Failures of earlier runs, by path.
    pub errors: HashMap<String, ItemError>,
    /// Paths that were met and are not used.
    pub failed_now: HashSet<String>,
    /// What could not be looked into: who knows what lies behind.
    pub barriers: Vec<String>,
    /// The sources, and how many pictures were met of each.
    pub met: Vec<(String, u64)>,
    pub done: Ingested,
    /// What ended the run.
    pub problem: Option<Error>,
    turn: Turn,
}

/// Takes the pictures of `sources` (folders with what is below them, archives, lists) into the library at `path`, which is made if it is not
/// there. Without sources, of all that it was made from.
///
/// # Errors
/// [`Error::LibraryModel`] if the library is of another model, [`Error::Index`] if it cannot be written, [`Error::Data`] for a source that
/// cannot be read as a whole, [`Error::Exec`]. What was committed before stays.
pub fn ingest(
    path: &Path,
    embedder: &Embedder,
    sources: &[PathBuf],
    options: &IngestOptions<'_>,
    progress: &dyn Progress,
) -> Result<Ingested, Error> {
    let begun = Instant::now();
    let mut state = State::open(path, embedder, options)?;
    let named = !sources.is_empty();
    let sources = if named { sources.iter().map(|source| whole(source)).collect() } else { remembered(&state.writer)? };
    if sources.is_empty() {
        return Err(Error::NothingToIndex { path: path.to_owned() });
    }
    let there = state.take_away_missing(&sources, named, options.forget)?;
    let open = || Sources::open(&there, &options.data);
    let reader = open()?;
    let roots: Vec<String> = reader.kinds().map(|(path, _)| hua_data::name_of(path)).collect();
    state.met = roots.iter().map(|root| (root.clone(), 0)).collect();
    remember(&mut state.writer, &sources)?;
    let most = if progress.is_shown() { count(open()?, &state, options.stop, progress)? } else { usize::MAX };
    if most > 0 {
        let total = if most == usize::MAX { 0 } else { most as u64 };
        progress.start("embedding pictures", total);
    }
    let (mut state, finished) = run(state, embedder, reader, most, options.stop, progress)?;
    progress.finish();
    state.done.stopped = !finished;
    if finished {
        for root in &roots {
            state.sweep(root, options.forget)?;
        }
    }
    state.writer.commit()?;
    if state.done.removed + state.done.changed > 0 {
        state.writer.compact(false)?;
    }
    state.done.seconds = begun.elapsed().as_secs_f64();
    Ok(state.done)
}

/// Takes in the pictures of `sources` and no more: what is not met stays. Gives the state of the library then, not committed, and whether all
/// were met.
pub(super) fn run(
    state: State,
    embedder: &Embedder,
    sources: Sources,
    most: usize,
    stop: &AtomicBool,
    progress: &dyn Progress,
) -> Result<(State, bool), Error> {
    let (state, finished) = (Mutex::new(state), AtomicBool::new(false));
    let read = |job: &mut Job| {
        let bytes = job.read(embedder.decode.limits.max_bytes)?;
        lock(&state).look(job)?;
        Ok(bytes)
    };
    let name = |job: &Job| job.entry.name.clone();
    let mut queue = Queue::default();
    let mut each = |job: Job, result: Result<Vec<f32>, Left>| {
        progress.advance(1);
        let failed = {
            let mut state = lock(&state);
            queue.add(job, result, &mut state)?;
            state.commit_now_and_then()?;
            state.done.failed
        };
        progress.failed(failed);
        Ok::<(), Error>(())
    };
    let pictures = Descend { sources, state: &state, stop, finished: &finished };
    let mut times = embedder.embed_stream(pictures, most, name, read, &mut each)?;
    // Copies whose first was changed under way: they are embedded themselves.
    let again = std::mem::take(&mut queue.again);
    if !again.is_empty() {
        let mut each = |job: Job, result: Result<Vec<f32>, Left>| queue.add(job, result, &mut lock(&state));
        let more = embedder.embed_stream(again.into_iter(), usize::MAX, name, read, &mut each)?;
        times = PictureTimes { wall: times.wall + more.wall, decode: times.decode + more.decode, embed: times.embed + more.embed, ..times };
    }
    let mut state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    state.done.times = times;
    match state.problem.take() {
        Some(error) => Err(error),
        None => Ok((state, finished.load(Ordering::Relaxed))),
    }
}

/// Results on their way into the library, in order. A copy may come before the picture whose vector it shares, and waits for it here.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<(Job, Result<Vec<f32>, Left>)>,
    again: Vec<Job>,
}

impl Queue {
    fn add(&mut self, job: Job, result: Result<Vec<f32>, Left>, state: &mut State) -> Result<(), Error> {
        self.waiting.push_back((job, result));
        while let Some((job, result)) = self.waiting.front() {
            if matches!(result, Err(Left::Copy))
                && let Some(hash) = job.content.as_ref().map(|content| content.hash)
                && state.embedding.contains(&hash)
            {
                // The first of the two in order takes the vector, or the blame, and the other becomes the copy.
                let same = |(job, result): &(Job, Result<_, _>)| {
                    !matches!(result, Err(Left::Copy)) && job.content.as_ref().is_some_and(|content| content.hash == hash)
                };
                let Some(at) = self.waiting.iter().position(same) else { return Ok(()) };
                let found = std::mem::replace(&mut self.waiting[at].1, Err(Left::Copy));
                self.waiting[0].1 = found;
            }
            if let Some((job, result)) = self.waiting.pop_front()
                && let Some(job) = state.settle(job, result)?
            {
                self.again.push(job);
            }
        }
        Ok(())
    }
}

impl State {
    /// Opens the library, if its model is `embedder`'s.
    pub(super) fn open(path: &Path, embedder: &Embedder, options: &IngestOptions<'_>) -> Result<Self, Error> {
        let writer = open_or_create(path, embedder, options.dtype)?;
        let space = live_space(path, &writer.spaces()?, embedder)?.id;
        let errors = Reader::open(path)?.errors()?.into_iter().map(|error| (error.path.clone(), error)).collect();
        Ok(Self {
            writer,
            space,
            retry: options.retry,
            embedding: HashSet::new(),
            failed: HashMap::new(),
            seen: HashSet::new(),
            errors,
            failed_now: HashSet::new(),
            barriers: vec![],
            met: vec![],
            done: Ingested::default(),
            problem: None,
            turn: Turn::default(),
        })
    }

    /// The sources that are there. Of the others the pictures stay, or go if they are to be forgotten; to name one of which the library knows
    /// nothing is an error.
    fn take_away_missing(&mut self, sources: &[PathBuf], named: bool, forget: bool) -> Result<Vec<PathBuf>, Error> {
        let mut there = vec![];
        for source in sources {
            let is_pattern = source.to_string_lossy().contains('{');
            if is_pattern || std::fs::exists(source).unwrap_or(true) {
                there.push(source.clone());
                continue;
            }
            let root = hua_data::name_of(source);
            let before = (self.done.kept.len(), self.done.removed);
            self.sweep(&root, forget)?;
            if named
                && before == (self.done.kept.len(), self.done.removed)
                && let Err(error) = std::fs::metadata(source)
            {
                return Err(Error::Io { path: source.clone(), source: error });
            }
        }
        Ok(there)
    }

    /// Notes an entry; gives it back if it has something new about it.
    pub(super) fn meet(&mut self, entry: Entry) -> Result<Option<Job>, Error> {
        for (root, count) in &mut self.met {
            *count += u64::from(is_below(&entry.name, root));
        }
        let known = self.writer.known(&entry.name)?;
        if let Some(known) = &known {
            self.seen.insert(known.id);
            if self.is_whole(&entry, known)? {
                self.done.unchanged += 1;
                self.describe(known.id, &entry)?;
                return Ok(None);
            }
        } else if self.is_known_failure(&entry) {
            self.done.failed_before += 1;
            self.failed_now.insert(entry.name);
            return Ok(None);
        }
        Ok(Some(Job { entry, known, content: None, anew: false }))
    }

    /// Whether an item has a vector and its file is what it was.
    pub(super) fn is_whole(&self, entry: &Entry, known: &Known) -> Result<bool, Error> {
        Ok(same_stamp(entry, known.bytes, known.modified) && self.writer.has_vector(self.space, known.id)?)
    }

    /// Whether a file failed before, is what it was, and is not to be tried again.
    pub(super) fn is_known_failure(&self, entry: &Entry) -> bool {
        !self.retry && self.errors.get(&entry.name).is_some_and(|error| same_stamp(entry, error.bytes, error.modified))
    }

    /// Writes down what stands beside a picture, if it is something else than before.
    fn describe(&mut self, id: ItemId, entry: &Entry) -> Result<(), Error> {
        if let Some(item) = self.writer.item(id)?
            && let Some(item) = redescribed(item, entry)
        {
            self.writer.upsert(&item)?;
            self.done.described += 1;
        }
        Ok(())
    }

    /// Decides whether a picture that was read is to be embedded.
    fn look(&mut self, job: &mut Job) -> Result<(), Left> {
        let Some(hash) = job.content.as_ref().map(|content| content.hash).filter(|_| !job.anew) else { return Ok(()) };
        if job.known.is_some_and(|known| known.hash == Some(hash)) && self.has_content(hash, job.known.map(|known| known.id))? {
            return Err(Left::Same);
        }
        if self.embedding.contains(&hash) || self.failed.contains_key(&hash) || self.has_content(hash, None)? {
            return Err(Left::Copy);
        }
        self.embedding.insert(hash);
        Ok(())
    }

    /// Whether there is a vector of a content, or that of one item.
    fn has_content(&self, hash: Hash, of: Option<ItemId>) -> Result<bool, Error> {
        Ok(self.twin(hash, |id| of.is_none_or(|of| of == id))?.is_some())
    }

    /// An item of that content with a vector.
    fn twin(&self, hash: Hash, wanted: impl Fn(ItemId) -> bool) -> Result<Option<ItemId>, Error> {
        for id in self.writer.by_hash(&hash)? {
            if wanted(id) && self.writer.has_vector(self.space, id)? {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// Writes what became of a picture; gives it back if it has to be embedded after all.
    fn settle(&mut self, mut job: Job, result: Result<Vec<f32>, Left>) -> Result<Option<Job>, Error> {
        let hash = job.content.as_ref().map(|content| content.hash);
        // A vector without a direction is near to nothing.
        let zero = |vector: &Vec<f32>| vector.iter().all(|&x| x == 0.0);
        let result = match result {
            Ok(vector) if zero(&vector) => Err(Left::Failed(Error::NotFinite { of: "this picture".into() })),
            result => result,
        };
        let (vector, twin) = match (result, hash) {
            (Ok(vector), _) => (Some(vector), None),
            (Err(Left::Same), _) => {
                if let Some(known) = job.known {
                    self.writer.upsert(&job.item())?;
                    self.seen.insert(known.id);
                    self.done.unchanged += 1;
                }
                return Ok(None);
            }
            (Err(Left::Copy), Some(hash)) => {
                if let Some(reason) = self.failed.get(&hash).cloned() {
                    self.fail(&job, reason, false)?;
                    return Ok(None);
                }
                let Some(twin) = self.twin(hash, |_| true)? else {
                    job.anew = true;
                    return Ok(Some(job));
                };
                (None, Some(twin))
            }
            (Err(Left::Copy), None) => return Ok(None),
            (Err(Left::Failed(error)), _) => {
                if let Some(hash) = hash {
                    self.embedding.remove(&hash);
                    self.failed.insert(hash, error.reason());
                }
                // A file that cannot be read just now may be what it was.
                let unread = matches!(error, Error::Io { .. });
                self.fail(&job, error.reason(), unread)?;
                return Ok(None);
            }
        };
        let renamed = match (twin, hash, job.known) {
            (Some(_), Some(hash), None) => self.rename(hash, &job)?,
            _ => false,
        };
        let id = self.writer.upsert(&job.item())?;
        if let Some(vector) = vector {
            self.writer.set_vector(self.space, id, &vector)?;
        } else if let Some(twin) = twin.filter(|twin| *twin != id)
            && !self.writer.has_vector(self.space, id)?
        {
            self.writer.copy_vectors(twin, id)?;
        }
        if let Some(hash) = hash {
            self.embedding.remove(&hash);
        }
        self.seen.insert(id);
        self.errors.remove(&job.entry.name);
        let counter = match (renamed, job.known) {
            (true, _) => &mut self.done.renamed,
            (false, Some(_)) => &mut self.done.changed,
            (false, None) => &mut self.done.added,
        };
        *counter += 1;
        self.done.shared += u64::from(twin.is_some() && !renamed);
        Ok(None)
    }

    /// Gives an item of that content whose file is gone the path of `job`; whether there is one.
    fn rename(&mut self, hash: Hash, job: &Job) -> Result<bool, Error> {
        for id in self.writer.by_hash(&hash)? {
            let Some(item) = self.writer.item(id)?.filter(|_| !self.seen.contains(&id)) else { continue };
            // A disk that is not mounted hides its files; what is not below a folder of this run may be there.
            let is_ours = self.met.iter().any(|(root, _)| is_below(&item.path, root));
            if is_ours && std::fs::exists(&item.path).is_ok_and(|there| !there) && !item.path.contains(['!', '#']) {
                self.writer.rename(id, &job.entry.name, job.entry.modified)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Notes a picture that cannot be used. What was known of it goes, unless it `stays`.
    fn fail(&mut self, job: &Job, reason: String, stays: bool) -> Result<(), Error> {
        if let Some(known) = job.known.filter(|_| !stays) {
            self.writer.remove(known.id)?;
            self.seen.remove(&known.id);
        }
        let bytes = job.entry.bytes.or(job.content.as_ref().map(|content| content.bytes));
        self.note_failure(&job.entry.name, bytes.unwrap_or(0), job.entry.modified, reason)
    }

    /// Notes what could not even be looked at.
    pub(super) fn fail_unread(&mut self, failure: &hua_data::Failure) -> Result<(), Error> {
        self.barriers.push(failure.name.clone());
        if let Some(known) = self.writer.known(&failure.name)? {
            self.seen.insert(known.id);
        }
        self.note_failure(&failure.name, 0, None, failure.reason.clone())
    }

    fn note_failure(&mut self, path: &str, bytes: u64, modified: Option<i64>, reason: String) -> Result<(), Error> {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| i64::try_from(now.as_nanos()).unwrap_or(i64::MAX));
        self.writer.record_error(&ItemError { path: path.to_owned(), bytes, modified, reason: reason.clone(), at })?;
        self.failed_now.insert(path.to_owned());
        self.done.failed += 1;
        if self.done.failures.len() < TOLD {
            self.done.failures.push(Failure { path: path.to_owned(), reason });
        }
        Ok(())
    }

    fn commit_now_and_then(&mut self) -> Result<(), Error> {
        self.turn.commit(&mut self.writer)
    }
}
