//! Pictures to search in: the files of folders, or the built-in gallery, with their embeddings.
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use hua_image::Picture;
use serde::Serialize;

use crate::cache::{Cache, Stamp};
use crate::gallery::{GalleryPicture, gallery};
use crate::{Embedder, Embeddings, Error, Progress};

/// Names that make a file of a folder a picture; a file that is named itself is tried whatever its name.
const EXTENSIONS: [&str; 10] = ["bmp", "gif", "jfif", "jpe", "jpeg", "jpg", "png", "tif", "tiff", "webp"];

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

/// The picture files in `sources`, in the order of their paths within a source. A file that is reached twice, by another spelling of the path
/// or through a linked folder, counts once; a link to a file counts as a picture of its own.
fn find_pictures(sources: &[PathBuf], failures: &mut Vec<Failure>) -> Result<Vec<Source>, Error> {
    let mut pictures = vec![];
    let mut seen = BTreeSet::new();
    let mut folders = HashMap::new();
    let mut take = |path: PathBuf| {
        let name = path.to_string_lossy().into_owned();
        if seen.insert(place(&path, &mut folders)) {
            pictures.push(Source::File { path, name });
        }
    };
    for source in sources {
        let metadata = std::fs::metadata(source).map_err(|e| Error::Io { path: source.clone(), source: e })?;
        if !metadata.is_dir() {
            take(source.clone());
            continue;
        }
        let shown = |entry: &walkdir::DirEntry| entry.depth() == 0 || !entry.file_name().to_string_lossy().starts_with('.');
        for entry in walkdir::WalkDir::new(source).follow_links(true).sort_by_file_name().into_iter().filter_entry(shown) {
            match entry {
                Ok(entry) if entry.file_type().is_file() && is_picture(entry.path()) => take(entry.into_path()),
                Ok(_) => {}
                // A link to a folder that is being walked: nothing is lost.
                Err(e) if e.loop_ancestor().is_some() => {}
                Err(e) => {
                    let path = e.path().unwrap_or(source).to_string_lossy().into_owned();
                    failures.push(Failure { path, reason: e.to_string() });
                }
            }
        }
    }
    Ok(pictures)
}

/// Where a file lies, whatever way led to it. `folders` remembers where the folders are.
fn place(path: &Path, folders: &mut HashMap<PathBuf, PathBuf>) -> PathBuf {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return path.to_owned() };
    let place = folders.entry(folder.to_owned()).or_insert_with(|| {
        let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        std::fs::canonicalize(here).unwrap_or_else(|_| folder.to_owned())
    });
    place.join(name)
}

fn is_picture(path: &Path) -> bool {
    path.extension().is_some_and(|e| EXTENSIONS.iter().any(|known| e.eq_ignore_ascii_case(known)))
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
    fn folders_give_pictures_once_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(path("sub/.hidden")).unwrap();
        for name in ["b.JPG", "a.png", "notes.txt", "sub/虹.webp", "sub/.hidden/x.png", ".y.png"] {
            std::fs::write(path(name), "").unwrap();
        }
        let mut failures = vec![];
        let sources = [folder.path().to_owned(), path("a.png"), path("notes.txt")];
        let found = find_pictures(&sources, &mut failures).unwrap();
        let names: Vec<_> = found.iter().map(|s| s.name().rsplit('/').next().unwrap().to_owned()).collect();
        assert_eq!(names, ["a.png", "b.JPG", "虹.webp", "notes.txt"]);
        assert!(failures.is_empty());
        assert!(matches!(find_pictures(&[path("none")], &mut failures), Err(Error::Io { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn a_picture_that_is_reached_twice_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("2024")).unwrap();
        std::fs::write(path("2024/a.png"), "").unwrap();
        for (link, target) in [("latest", "2024"), ("2024/round", ".."), ("link.png", "2024/a.png")] {
            std::os::unix::fs::symlink(target, path(link)).unwrap();
        }
        let mut failures = vec![];
        let sources = [folder.path().to_owned(), path("latest"), path("latest/../2024/./a.png")];
        let found = find_pictures(&sources, &mut failures).unwrap();
        assert_eq!(
            found.iter().map(Source::name).collect::<Vec<_>>(),
            ["2024/a.png", "link.png"].map(|name| path(name).to_string_lossy().into_owned())
        );
        assert_eq!(failures, []);
    }
}
