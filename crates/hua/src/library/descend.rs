//! From sources to the pictures that have something new about them: what is known and unchanged is passed over here, so that only the rest
//! is read.
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hua_data::{Entry, Sources};

use super::ingest::State;
use super::job::Job;
use crate::{Error, Progress};

/// The pictures of `sources` that are to be read.
pub(super) struct Descend<'a> {
    pub sources: Sources,
    pub state: &'a Mutex<State>,
    pub stop: &'a AtomicBool,
    /// Whether every entry was seen.
    pub finished: &'a AtomicBool,
}

impl Iterator for Descend<'_> {
    type Item = Job;

    fn next(&mut self) -> Option<Job> {
        while !self.stop.load(Ordering::Relaxed) {
            let Some(entry) = self.sources.next() else {
                self.finished.store(true, Ordering::Relaxed);
                return None;
            };
            let mut state = lock(self.state);
            let met = match entry {
                Ok(entry) => state.meet(entry),
                Err(failure) => state.fail_unread(&failure).map(|()| None),
            };
            match met {
                Ok(None) => {}
                Ok(Some(job)) => return Some(job),
                Err(error) => {
                    state.problem.get_or_insert(error);
                    return None;
                }
            }
        }
        None
    }
}

/// How many pictures there are to read, for those who want to know how long it will take.
pub(super) fn count(sources: Sources, state: &State, stop: &AtomicBool, progress: &dyn Progress) -> Result<usize, Error> {
    progress.start("looking for pictures", 0);
    let mut count = 0;
    for entry in sources.flatten() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        count += usize::from(state.is_work(&entry)?);
        progress.advance(1);
    }
    progress.finish();
    Ok(count)
}

pub(super) fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A folder or list by its one name: from the root, with links followed if it is there.
pub(super) fn whole(path: &Path) -> PathBuf {
    path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

/// Whether the picture `name` is the file or folder `place`, or comes from there.
pub(super) fn is_below(name: &str, place: &str) -> bool {
    let place = place.strip_suffix('/').unwrap_or(place);
    name.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '!', '#']))
}

impl State {
    /// Whether a picture has something new about it.
    fn is_work(&self, entry: &Entry) -> Result<bool, Error> {
        Ok(match self.writer.known(&entry.name)? {
            Some(known) => !self.is_whole(entry, &known)?,
            None => !self.is_known_failure(entry),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_below_its_folder_its_archive_and_its_list() {
        for (name, place, below) in [
            ("/a/b.png", "/a", true),
            ("/a/b.png", "/a/", true),
            ("/ab/c.png", "/a", false),
            ("/a.tar!x/y.png", "/a.tar", true),
            ("/a.tsv#7", "/a.tsv", true),
            ("/a.png", "/a.png", true),
            ("/a.png", "/", true),
            ("/a", "/a/b", false),
        ] {
            assert_eq!(is_below(name, place), below, "{name} {place}");
        }
    }
}
