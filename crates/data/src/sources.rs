//! Many sources, one after another, as one stream of entries.
use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::walk::{Folder, Found, Seen, name_of};
use crate::{Entry, Error, Failure, Kind, Options, Result, Source, archive, braces, chinese_clip, lmdb, table};

/// What a reader gives, one after another.
pub(crate) type Item = std::result::Result<Entry, Failure>;
/// A source that is being read.
pub(crate) type Items = Box<dyn Iterator<Item = Item> + Send>;

/// The pictures of all sources.
pub struct Sources {
    options: Options,
    roots: VecDeque<(PathBuf, Kind)>,
    seen: Seen,
    now: Option<Now>,
}

/// The source that is being read.
enum Now {
    Folder(Folder),
    Items(Items),
}

impl Sources {
    /// Looks at each of `paths`; the entries come in their order. A pattern with braces (`{00000..00010}.tar`, `{train,valid}.csv`) that is no file's
    /// name stands for all that it names.
    ///
    /// # Errors
    /// [`Error`] if one of them is not there or is no source as a whole.
    pub fn open(paths: &[PathBuf], options: &Options) -> Result<Self> {
        let mut roots = VecDeque::new();
        for path in paths {
            for path in expanded(path)? {
                let kind = Kind::of(&path)?;
                match kind {
                    Kind::ChineseClip => {
                        let files = chinese_clip::image_files(&path, options.split.as_deref())?;
                        roots.extend(files.into_iter().map(|file| (file, kind)));
                    }
                    Kind::Csv | Kind::Jsonl | Kind::Parquet => {
                        table::check(&path, kind, options)?;
                        roots.push_back((path, kind));
                    }
                    Kind::Lmdb => roots.extend(lmdb::environments(&path, options.split.as_deref())?.into_iter().map(|file| (file, kind))),
                    Kind::Shards => roots.extend(archive::shards(&path)?.into_iter().map(|file| (file, Kind::Tar))),
                    Kind::Folder | Kind::Picture | Kind::Tar => roots.push_back((path, kind)),
                }
            }
        }
        Ok(Self { options: options.clone(), roots, seen: Seen::default(), now: None })
    }

    /// What is at each of the paths, in their order.
    pub fn kinds(&self) -> impl Iterator<Item = (&Path, Kind)> {
        self.roots.iter().map(|(path, kind)| (&**path, *kind))
    }

    /// Begins with a source; one that has gone or been damaged since it was looked at is a failure like others.
    fn enter(&mut self, path: PathBuf, kind: Kind) -> Option<Now> {
        let name = name_of(&path);
        let items = match kind {
            Kind::Folder | Kind::Shards => return Some(Now::Folder(Folder::new(path))),
            Kind::Picture => {
                let found = self.seen.file(&path).then(|| file(Found { path, class: None }, &self.options));
                return found.map(|item| Now::Items(Box::new(std::iter::once(item))));
            }
            Kind::ChineseClip => chinese_clip::items(&path, &self.options),
            Kind::Csv | Kind::Jsonl | Kind::Parquet => table::items(&path, kind, &self.options),
            Kind::Lmdb => lmdb::items(&path, &self.options),
            Kind::Tar => archive::items(path, &self.options),
        };
        let failed = |e: Error| -> Items { Box::new(std::iter::once(Err(Failure { name, reason: e.reason() }))) };
        Some(Now::Items(items.unwrap_or_else(failed)))
    }
}

impl Iterator for Sources {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        loop {
            let item = match &mut self.now {
                Some(Now::Folder(folder)) => folder.next(&mut self.seen).map(|found| found.and_then(|found| file(found, &self.options))),
                Some(Now::Items(items)) => items.next(),
                None => None,
            };
            if item.is_some() {
                return item;
            }
            let (path, kind) = self.roots.pop_front()?;
            self.now = self.enter(path, kind);
        }
    }
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources").field("roots", &self.roots).finish_non_exhaustive()
    }
}

/// What a path stands for: itself if it is there, else all that its braces name.
fn expanded(path: &Path) -> Result<Vec<PathBuf>> {
    let Some(pattern) = path.to_str().filter(|pattern| pattern.contains('{') && !path.exists()) else { return Ok(vec![path.to_owned()]) };
    let too_many = || Error::Malformed { path: path.to_owned(), found: "names over a million files".into(), wanted: "fewer".into() };
    let paths: Vec<PathBuf> = braces::expand(pattern).ok_or_else(too_many)?.into_iter().map(PathBuf::from).collect();
    let missing: Vec<_> = paths.iter().filter(|path| !path.exists()).cloned().collect();
    if paths.len() > 1 && !missing.is_empty() {
        return Err(Error::Missing { pattern: pattern.to_owned(), missing });
    }
    Ok(paths)
}

/// A picture file as an entry.
pub(crate) fn file(found: Found, options: &Options) -> Item {
    let name = name_of(&found.path);
    let metadata = fs::metadata(&found.path).map_err(|e| Failure { name: name.clone(), reason: e.to_string() })?;
    let mut entry = Entry::new(name, Source::File(found.path.clone()));
    entry.bytes = Some(metadata.len());
    entry.modified = modified(&metadata);
    if let Some(class) = found.class.filter(|_| options.folders_are_tags) {
        entry.add_tag(&class);
    }
    if options.sidecars {
        entry.add_sidecars(&found.path);
    }
    Ok(entry)
}

/// When a file was last changed, in nanoseconds since 1970.
pub(crate) fn modified(metadata: &fs::Metadata) -> Option<i64> {
    let time = metadata.modified().ok()?;
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).ok(),
        Err(before) => i64::try_from(before.duration().as_nanos()).ok().map(|ns| -ns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_file_comes_with_its_size_its_time_and_what_stands_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("犬")).unwrap();
        fs::write(path("犬/a.png"), "12345").unwrap();
        fs::write(path("犬/a.txt"), "柴犬\n").unwrap();
        fs::write(path("犬/a.json"), r#"{"caption_en": "a dog", "width": 1}"#).unwrap();
        let options = Options { folders_are_tags: true, ..Options::default() };
        let entries: Vec<_> = Sources::open(&[path(""), path("犬/a.png")], &options).unwrap().map(|entry| entry.unwrap()).collect();
        assert_eq!(entries.len(), 1);
        let entry = &entries[0];
        assert_eq!((entry.bytes, &*entry.tags), (Some(5), &["犬".to_owned()][..]));
        assert!(entry.modified.unwrap() > 1_600_000_000_000_000_000);
        assert_eq!(entry.captions.iter().map(|c| &*c.text).collect::<Vec<_>>(), ["柴犬", "a dog"]);
        assert_eq!(entry.meta.as_ref().unwrap()["width"], 1);

        let options = Options { sidecars: false, ..Options::default() };
        let entry = Sources::open(&[path("")], &options).unwrap().next().unwrap().unwrap();
        assert!(entry.captions.is_empty() && entry.tags.is_empty() && entry.meta.is_none());
    }

    #[test]
    fn braces_name_many_sources_and_all_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["08.png", "09.png", "{1,2}.png"] {
            fs::write(path(name), "").unwrap();
        }
        let names = |pattern: &str| -> Result<Vec<String>> {
            let entries = Sources::open(&[path(pattern)], &Options::default())?;
            Ok(entries.map(|entry| entry.unwrap().name.rsplit('/').next().unwrap().to_owned()).collect())
        };
        assert_eq!(names("{08..09}.png").unwrap(), ["08.png", "09.png"]);
        assert_eq!(names("{1,2}.png").unwrap(), ["{1,2}.png"]);
        let error = names("{08..10}.png").unwrap_err().to_string();
        assert!(error.contains("names 1 files that are not there, the first is `") && error.ends_with("10.png`"), "{error}");
        assert!(matches!(names("{0..99999999}.png"), Err(Error::Malformed { .. })));
    }
}
