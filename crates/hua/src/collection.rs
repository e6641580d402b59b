//! Pictures to search in: the files of folders, or the built-in gallery, with their embeddings.
use std::io;
use std::path::{Path, PathBuf};

use hua_image::Picture;
use serde::Serialize;

use crate::cache::{Cache, Stamp};
use crate::gallery::{GalleryPicture, gallery};
use crate::{Embedder, Embeddings, Error, Progress};

/// A picture that could not be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Its path or name.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// An answer to a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Which picture of the collection.
    pub index: usize,
    /// Cosine.
    pub score: f32,
}

/// Pictures with their embeddings.
#[derive(Debug)]
pub struct Collection {
    pictures: Vec<Source>,
    embeddings: Embeddings,
    failures: Vec<Failure>,
    cached: usize,
    not_kept: Option<Error>,
}

/// Where a picture comes from.
#[derive(Clone, Debug)]
enum Source {
    File { path: PathBuf, name: String },
    Gallery(&'static GalleryPicture),
}

impl Source {
    fn name(&self) -> &str {
        match self {
            Self::File { name, .. } => name,
            Self::Gallery(picture) => &picture.name,
        }
    }

    /// The file's bytes.
    fn read(&self, embedder: &Embedder) -> Result<Vec<u8>, Error> {
        match self {
            Self::File { path, .. } => embedder.read_file(path),
            Self::Gallery(picture) => Ok(picture.bytes()),
        }
    }

    /// What tells that it has not changed; the gallery never does.
    fn stamp(&self) -> io::Result<Stamp> {
        match self {
            Self::File { path, .. } => Stamp::of(path),
            Self::Gallery(picture) => Ok(Stamp::constant(&format!("gallery:{}", picture.name))),
        }
    }
}

impl Collection {
    /// The pictures in `sources` (folders, searched with what is below them, and files), embedded by `embedder`; those that `cache` (a
    /// folder) knows are not embedded again. What cannot be read or decoded is in [`Collection::failures`]; a cache that cannot be
    /// written is told by [`Collection::not_kept`].
    ///
    /// Below a folder, files with a picture's extension count; names that begin with a dot are passed over, links are followed.
    ///
    /// # Errors
    /// [`Error::Io`] if a source is not there, [`Error::NoPictures`] if nothing is left, [`Error::Exec`] if embedding fails.
    pub fn open(embedder: &Embedder, sources: &[PathBuf], cache: Option<&Path>, progress: &dyn Progress) -> Result<Self, Error> {
        let mut failures = vec![];
        let pictures = find_pictures(sources, &mut failures)?;
        let collection = Self::embed(embedder, pictures, failures, cache, progress)?;
        if collection.is_empty() {
            return Err(Error::NoPictures { sources: sources.to_vec(), failures: collection.failures });
        }
        Ok(collection)
    }

    /// The built-in gallery: 1,638 emoji in the Fluent 3D style.
    ///
    /// # Errors
    /// [`Error::Exec`] if embedding fails.
    pub fn gallery(embedder: &Embedder, cache: Option<&Path>, progress: &dyn Progress) -> Result<Self, Error> {
        Self::embed(embedder, gallery().iter().map(Source::Gallery).collect(), vec![], cache, progress)
    }

    fn embed(
        embedder: &Embedder,
        sources: Vec<Source>,
        mut failures: Vec<Failure>,
        cache: Option<&Path>,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let width = embedder.width();
        let mut cache = match cache {
            Some(folder) => Cache::open(folder, &embedder.picture_fingerprint(), width),
            None => Cache::in_memory(width),
        };
        // One stamp each, taken before anything is read: a file that changes meanwhile is embedded again the next time, and not lost this time.
        let mut stamped = vec![];
        for source in sources {
            match source.stamp() {
                Ok(stamp) => stamped.push((source, stamp)),
                Err(e) => failures.push(Failure { path: source.name().to_owned(), reason: e.to_string() }),
            }
        }
        let fresh: Vec<&(Source, Stamp)> = stamped.iter().filter(|(_, stamp)| cache.find(stamp).is_none()).collect();
        let cached = stamped.len() - fresh.len();
        if !fresh.is_empty() {
            progress.start("embedding pictures", fresh.len() as u64);
            let name = |item: &&(Source, Stamp)| item.0.name().to_owned();
            let read = |item: &&(Source, Stamp)| item.0.read(embedder);
            embedder.embed_read(&fresh, name, read, |(source, stamp), row| {
                match row {
                    Ok(row) => cache.add(&[(stamp.clone(), &row)]),
                    Err(e) => failures.push(Failure { path: source.name().to_owned(), reason: e.reason() }),
                }
                progress.advance(1);
                Ok::<(), Error>(())
            })?;
            progress.finish();
        }
        let mut data = vec![];
        let mut pictures = vec![];
        for (source, stamp) in stamped {
            if let Some(row) = cache.find(&stamp) {
                data.extend_from_slice(row);
                pictures.push(source);
            }
        }
        let embeddings = Embeddings::from_rows(embedder.fingerprint(), width, data);
        let not_kept = cache.problem().filter(|_| cached < pictures.len()).map(|(path, source)| Error::Io { path, source });
        Ok(Self { pictures, embeddings, failures, cached, not_kept })
    }

    /// How many pictures.
    pub fn len(&self) -> usize {
        self.pictures.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pictures.is_empty()
    }

    /// How many were known from the cache.
    pub fn cached(&self) -> usize {
        self.cached
    }

    /// Why the cache could not be written (a full disk, a folder that is read-only), which costs nothing but time at the next opening.
    pub fn not_kept(&self) -> Option<&Error> {
        self.not_kept.as_ref()
    }

    /// The path of a picture, or its name in the gallery.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn name(&self, index: usize) -> &str {
        self.pictures[index].name()
    }

    /// Reads a picture again, to show it.
    ///
    /// # Errors
    /// [`Error::Image`] or [`Error::Io`] if it is not what it was.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn picture(&self, embedder: &Embedder, index: usize) -> Result<Picture, Error> {
        let source = &self.pictures[index];
        embedder.decode_picture(source.name(), &source.read(embedder)?)
    }

    /// The embeddings, a row a picture.
    pub fn embeddings(&self) -> &Embeddings {
        &self.embeddings
    }

    /// What could not be used, and why.
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// The `k` pictures nearest to each row of `queries`, best first; ties in the order of the collection.
    ///
    /// # Errors
    /// [`Error::OtherModel`] if the queries are of another model.
    pub fn search(&self, queries: &Embeddings, k: usize) -> Result<Vec<Vec<Hit>>, Error> {
        let scores = crate::similarity(queries, &self.embeddings)?;
        Ok((0..queries.len()).map(|query| best(scores.row(query), k)).collect())
    }
}

/// The `k` highest of `scores`, best first; ties in order.
fn best(scores: &[f32], k: usize) -> Vec<Hit> {
    let mut hits: Vec<Hit> = scores.iter().enumerate().map(|(index, &score)| Hit { index, score }).collect();
    let order = |a: &Hit, b: &Hit| b.score.total_cmp(&a.score).then(a.index.cmp(&b.index));
    if k < hits.len() {
        hits.select_nth_unstable_by(k, order);
        hits.truncate(k);
    }
    hits.sort_unstable_by(order);
    hits
}

/// The picture files that [`Collection::open`] takes from `sources`, in its order, and what could not be looked at.
///
/// # Errors
/// [`Error::Io`] if a source is not there.
pub fn picture_files(sources: &[PathBuf]) -> Result<(Vec<PathBuf>, Vec<Failure>), Error> {
    let mut failures = vec![];
    let path = |source| match source {
        Source::File { path, .. } => Some(path),
        Source::Gallery(_) => None,
    };
    let paths = find_pictures(sources, &mut failures)?.into_iter().filter_map(path).collect();
    Ok((paths, failures))
}

/// The picture files in `sources`: see [`hua_data::Walk`].
fn find_pictures(sources: &[PathBuf], failures: &mut Vec<Failure>) -> Result<Vec<Source>, Error> {
    let missing = |e| match e {
        hua_data::Error::Io { path, source } => Error::Io { path, source },
        other => Error::Io { path: sources.first().cloned().unwrap_or_default(), source: io::Error::other(other) },
    };
    let mut pictures = vec![];
    for found in hua_data::Walk::new(sources).map_err(missing)? {
        match found {
            Ok(found) => pictures.push(Source::File { name: hua_data::name_of(&found.path), path: found.path }),
            Err(hua_data::Failure { name, reason }) => failures.push(Failure { path: name, reason }),
        }
    }
    Ok(pictures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_come_first_and_ties_keep_their_order() {
        let hits = best(&[0.1, 0.9, 0.5, 0.9, -1.0], 3);
        assert_eq!(hits.iter().map(|h| h.index).collect::<Vec<_>>(), [1, 3, 2]);
        assert_eq!(best(&[0.1, 0.2], 10).len(), 2);
        assert!(best(&[0.1, 0.2], 0).is_empty());
    }

    #[test]
    fn folders_and_files_give_pictures_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["b.JPG", "a.png", "notes.txt", ".y.png"] {
            std::fs::write(path(name), "").unwrap();
        }
        let mut failures = vec![];
        let found = find_pictures(&[folder.path().to_owned(), path("a.png"), path("notes.txt")], &mut failures).unwrap();
        let names: Vec<_> = found.iter().map(|s| s.name().rsplit('/').next().unwrap().to_owned()).collect();
        assert_eq!(names, ["a.png", "b.JPG", "notes.txt"]);
        assert!(failures.is_empty());
        assert!(matches!(find_pictures(&[path("none")], &mut failures), Err(Error::Io { .. })));
    }
}
