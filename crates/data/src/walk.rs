//! The picture files of folders: sorted, hidden ones passed over, each once.
//!
//! Below a folder, files with a picture's extension count; names that begin with a dot are passed over, links are followed. A file that is reached
//! twice, by another spelling of its path or through a linked folder, counts once; a link to a file counts as a picture of its own; a RAW
//! or HEIC file with a JPEG of its name beside it is that picture, and passed over. What is
//! remembered for this is the folders that were walked, not their files: a million pictures cost no memory.
use std::collections::{HashSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use crate::{Error, Failure, Result};

/// Names that make a file of a folder a picture; a file that is named itself is tried whatever its name. Of a camera's RAW file the preview is used;
/// HEIC and AVIF are here so that somebody hears why they are missing.
pub const EXTENSIONS: [&str; 22] = [
    "arw", "avif", "bmp", "cr2", "cr3", "dng", "gif", "heic", "heif", "jfif", "jpe", "jpeg", "jpg", "nef", "orf", "pef", "png", "raf",
    "rw2", "tif", "tiff", "webp",
];
/// Of these, what a picture in another format may stand beside, made by the camera or by somebody who developed it: then it is the same picture.
const DEVELOPED: [&str; 10] = ["arw", "cr2", "cr3", "dng", "nef", "orf", "pef", "raf", "rw2", "heic"];
/// What it is developed to.
const DEVELOPED_TO: [&str; 4] = ["jpg", "JPG", "jpeg", "JPEG"];

/// Whether a name is that of a picture, by its extension.
pub fn is_picture(path: &Path) -> bool {
    has_extension(path, &EXTENSIONS)
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension().is_some_and(|e| extensions.iter().any(|known| e.eq_ignore_ascii_case(known)))
}

/// Whether a JPEG of the same name stands beside a RAW or HEIC file.
fn is_developed(path: &Path) -> bool {
    has_extension(path, &DEVELOPED) && DEVELOPED_TO.iter().any(|extension| path.with_extension(extension).is_file())
}

/// The name of a file as text. Bytes that are no UTF-8 are written as `\xff`, so that two such files keep two names.
pub fn name_of(path: &Path) -> String {
    escape(path.as_os_str().as_encoded_bytes())
}

/// Bytes as text; those that are no UTF-8 as `\xff`.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut name = String::new();
    for chunk in bytes.utf8_chunks() {
        name.push_str(chunk.valid());
        for byte in chunk.invalid() {
            name.push_str(&format!("\\x{byte:02x}"));
        }
    }
    name
}

/// A picture file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its path, which begins with the path of the folder that was named.
    pub path: PathBuf,
    /// The folder directly below the named one that it lies in, if it lies in one.
    pub class: Option<String>,
}

/// The picture files in some folders, in the order of their paths within each, and files that are named themselves.
#[derive(Debug)]
pub struct Walk {
    roots: VecDeque<PathBuf>,
    folder: Option<Folder>,
    seen: Seen,
}

impl Walk {
    /// Begins with the first of `roots`.
    ///
    /// # Errors
    /// [`Error::Io`] if one of them is not there.
    pub fn new(roots: &[PathBuf]) -> Result<Self> {
        for root in roots {
            fs::metadata(root).map_err(Error::io(root))?;
        }
        Ok(Self { roots: roots.to_vec().into(), folder: None, seen: Seen::default() })
    }
}

impl Iterator for Walk {
    type Item = std::result::Result<Found, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(folder) = &mut self.folder {
                if let Some(found) = folder.next(&mut self.seen) {
                    return Some(found);
                }
                self.folder = None;
            }
            let root = self.roots.pop_front()?;
            if root.is_dir() {
                self.folder = Some(Folder::new(root));
            } else if self.seen.file(&root) {
                return Some(Ok(Found { path: root, class: None }));
            }
        }
    }
}

/// One folder on its way.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    entries: walkdir::IntoIter,
}

impl Folder {
    pub(crate) fn new(root: PathBuf) -> Self {
        let entries = walkdir::WalkDir::new(&root).follow_links(true).sort_by_file_name().into_iter();
        Self { root, entries }
    }

    pub(crate) fn next(&mut self, seen: &mut Seen) -> Option<std::result::Result<Found, Failure>> {
        loop {
            match self.entries.next()? {
                Ok(entry) if entry.file_type().is_dir() => {
                    if entry.depth() > 0 && is_hidden(entry.path()) || !seen.folder(entry.path()) {
                        self.entries.skip_current_dir();
                    }
                }
                Ok(entry) if entry.file_type().is_file() && is_walked(entry.path()) && !seen.named(entry.path()) => {
                    let path = entry.into_path();
                    if is_developed(&path) {
                        continue;
                    }
                    let mut below = path.strip_prefix(&self.root).unwrap_or(&path).iter();
                    let class = below.next().filter(|_| below.next().is_some()).map(|name| name_of(Path::new(name)));
                    return Some(Ok(Found { path, class }));
                }
                Ok(_) => {}
                // A link to a folder that is being walked: nothing is lost.
                Err(e) if e.loop_ancestor().is_some() => {}
                Err(e) => {
                    let name = name_of(e.path().unwrap_or(&self.root));
                    return Some(Err(Failure { name, reason: e.to_string() }));
                }
            }
        }
    }
}

/// What was met before, by where it lies, whatever way led to it.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    folders: HashSet<PathBuf>,
    files: HashSet<PathBuf>,
}

impl Seen {
    /// Notes a folder that is to be walked; false if it has been.
    fn folder(&mut self, path: &Path) -> bool {
        self.folders.insert(fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()))
    }

    /// Notes a file that was named itself; false if it has been met.
    pub(crate) fn file(&mut self, path: &Path) -> bool {
        let place = place(path);
        let walked = is_walked(path) && place.parent().is_some_and(|folder| self.folders.contains(folder));
        self.files.insert(place) && !walked
    }

    /// Whether a file of a folder was named itself before.
    fn named(&self, path: &Path) -> bool {
        !self.files.is_empty() && self.files.contains(&place(path))
    }
}

/// Where a file lies; the file itself may be a link.
fn place(path: &Path) -> PathBuf {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return path.to_owned() };
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    fs::canonicalize(here).unwrap_or_else(|_| folder.to_owned()).join(name)
}

/// Whether a file of this name is taken from a folder.
fn is_walked(path: &Path) -> bool {
    is_picture(path) && !is_hidden(path)
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paths that a walk finds, below `folder`.
    fn walk(folder: &Path, roots: &[&str]) -> Vec<String> {
        let roots: Vec<_> = roots.iter().map(|root| folder.join(root)).collect();
        let found = Walk::new(&roots).unwrap().map(|found| found.unwrap().path);
        found.map(|path| name_of(path.strip_prefix(folder).unwrap()).replace('\\', "/")).collect()
    }

    #[test]
    fn folders_give_pictures_once_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("sub/.hidden")).unwrap();
        for name in ["b.JPG", "a.png", "notes.txt", "sub/虹.webp", "sub/.hidden/x.png", ".y.png"] {
            fs::write(path(name), "").unwrap();
        }
        let found = walk(folder.path(), &["", "a.png", "notes.txt", ".y.png", "notes.txt", "sub"]);
        assert_eq!(found, ["a.png", "b.JPG", "sub/虹.webp", "notes.txt", ".y.png"]);
        assert_eq!(walk(folder.path(), &["b.JPG", "sub/.hidden", ""]), ["b.JPG", "sub/.hidden/x.png", "a.png", "sub/虹.webp"]);
        assert!(matches!(Walk::new(&[path("none")]), Err(Error::Io { .. })));
    }

    #[test]
    fn the_class_is_the_folder_directly_below_the_named_one() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("犬/old")).unwrap();
        for name in ["a.png", "犬/b.png", "犬/old/c.png"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let classes: Vec<_> = Walk::new(&[folder.path().to_owned()]).unwrap().map(|found| found.unwrap().class).collect();
        assert_eq!(classes, [None, Some("犬".to_owned()), Some("犬".to_owned())]);
    }

    #[test]
    fn a_raw_file_beside_its_jpeg_is_the_same_picture() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.CR2", "a.JPG", "b.nef", "c.heic", "c.jpeg", "d.png", "d.jpg"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(walk(folder.path(), &[""]), ["a.JPG", "b.nef", "c.jpeg", "d.jpg", "d.png"]);
        assert_eq!(walk(folder.path(), &["a.CR2"]), ["a.CR2"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_picture_that_is_reached_twice_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("2024")).unwrap();
        fs::write(path("2024/a.png"), "").unwrap();
        for (link, target) in [("latest", "2024"), ("2024/round", ".."), ("link.png", "2024/a.png")] {
            std::os::unix::fs::symlink(target, path(link)).unwrap();
        }
        assert_eq!(walk(folder.path(), &["", "latest", "latest/../2024/./a.png"]), ["2024/a.png", "link.png"]);
        assert_eq!(walk(folder.path(), &["latest/a.png", "2024"]), ["latest/a.png", "2024/round/link.png"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_that_leads_nowhere_is_reported_and_the_walk_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("a.png")).unwrap();
        fs::write(folder.path().join("b.png"), "").unwrap();
        let found: Vec<_> = Walk::new(&[folder.path().to_owned()]).unwrap().collect();
        assert!(found[0].as_ref().unwrap_err().name.ends_with("a.png"));
        assert!(found[1].as_ref().unwrap().path.ends_with("b.png"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn names_that_are_no_utf8_keep_apart() {
        use std::os::unix::ffi::OsStrExt;
        let name = |bytes: &[u8]| name_of(Path::new(std::ffi::OsStr::from_bytes(bytes)));
        assert_eq!(name("虹/é.png".as_bytes()), "虹/é.png");
        assert_eq!(name(b"a\xff.png"), "a\\xff.png");
        assert_ne!(name(b"a\xff.png"), name(b"a\xfe.png"));
    }
}
