//! What is no longer there: which of a library's pictures go when the folders they were in were walked and they were not met.
//!
//! Only a folder that was walked to its end can say that a picture is gone, and an empty one cannot: a disk that is not mounted leaves an empty
//! folder behind, or none. Such folders are reported, and their pictures stay.
use std::fs;

use serde::Serialize;

use super::descend::is_below;
use super::ingest::State;
use crate::Error;

/// A folder whose pictures stay in the library though none of them was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// The folder, or the list.
    pub folder: String,
    /// How many pictures of it the library has.
    pub pictures: u64,
    /// Whether the folder is there and empty; else it is not there.
    pub empty: bool,
}

impl State {
    /// Removes the pictures of `root` that were not met, and errors of files that are no longer there.
    pub(super) fn sweep(&mut self, root: &str, forget: bool) -> Result<(), Error> {
        let listed = self.writer.paths_under(root)?;
        let below: Vec<_> = listed.into_iter().filter(|(_, path)| is_below(path, root)).collect();
        let met = self.met.iter().any(|(of, count)| of == root && *count > 0);
        if !met && !below.is_empty() && !forget {
            let empty = fs::exists(root).unwrap_or(true);
            self.done.kept.push(Kept { folder: root.to_owned(), pictures: below.len() as u64, empty });
            return Ok(());
        }
        for (id, path) in below {
            if !self.seen.contains(&id) && !self.is_hidden(&path) && self.writer.remove(id)? {
                self.done.removed += 1;
            }
        }
        let stale = |path: &&String| is_below(path, root) && !self.failed_now.contains(*path) && !self.is_hidden(path);
        let stale: Vec<String> = self.errors.keys().filter(stale).cloned().collect();
        for path in stale {
            self.writer.clear_error(&path)?;
            self.errors.remove(&path);
        }
        Ok(())
    }

    /// Whether a path lies behind something that could not be read.
    fn is_hidden(&self, path: &str) -> bool {
        self.barriers.iter().any(|barrier| is_below(path, barrier))
    }
}
