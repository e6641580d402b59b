//! Hugging Face: its routes, and the cache that `huggingface_hub` keeps.
//!
//! ```text
//! HUB_CACHE/models--OWNER--NAME/refs/main                  the commit that the branch stood for
//!                              /blobs/ETAG                 the bytes, once
//!                              /snapshots/COMMIT/config.json → ../../blobs/ETAG
//! HUB_CACHE/.locks/models--OWNER--NAME/ETAG.lock
//! ```
//!
//! After `huggingface_hub/file_download.py` and `_snapshot_download.py` (2.4). Two differences, both invisible to Python: a partial download
//! has the fixed name `blobs/ETAG.incomplete`, so that it can be resumed, and a branch is written to `refs` when everything it stands for has
//! arrived, so that an interrupted update leaves the old version usable. The `trees` folder (a listing of the whole repository) is not
//! written: with it, Python would call a snapshot without the TensorFlow copies incomplete.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Deserialize;
use ureq::http::HeaderName;
use ureq::http::header::{CONTENT_LENGTH, ETAG};

use super::checksum::Checksum;
use super::download::{Download, Report, create_folder_of, locked, safe_path, with_suffix};
use super::error::{HubError, Result};
use super::http::{Client, escaped, escaped_path};
use super::name::{Hub, ModelName};
use super::select::{has_weights, select};
use super::settings::Settings;
use super::{Progress, Pulled, Snapshot};

/// Reply of `/api/models/…/revision/…`.
#[derive(Deserialize)]
struct Listing {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    /// Filled with `?blobs=true`; not every mirror does.
    size: Option<u64>,
}

/// A file as the hub describes it.
struct RemoteFile {
    file: String,
    relative: PathBuf,
    url: String,
    etag: String,
    size: u64,
}

/// The folder of a repository in the cache.
pub(super) fn folder(settings: &Settings, name: &ModelName) -> PathBuf {
    settings.hf_cache.join(folder_name(name))
}

/// What the cache holds of `name`, without asking the network.
pub(super) fn cached(settings: &Settings, name: &ModelName) -> Snapshot {
    let folder = folder(settings, name);
    let commit = if is_commit(name.revision()) {
        Some(name.revision().to_owned())
    } else {
        fs::read_to_string(folder.join("refs").join(name.revision())).ok().map(|text| text.trim().to_owned()).filter(|text| is_commit(text))
    };
    match commit.map(|commit| folder.join("snapshots").join(commit)) {
        Some(snapshot) if has_weights(&snapshot) => Snapshot::Complete(snapshot),
        _ if folder.is_dir() => Snapshot::Partial(folder),
        _ => Snapshot::Missing(folder),
    }
}

/// Downloads what hua needs of `name`, or what `include` names.
pub(super) fn pull(settings: &Settings, name: &ModelName, include: &[String], report: Report<'_>) -> Result<Pulled> {
    let client = Client::new(settings, Hub::HuggingFace)?;
    let url = format!("{}/api/models/{}/revision/{}?blobs=true", settings.hf_endpoint, name.id(), escaped(name.revision()));
    let listing: Listing = client.json(&url, name, "the repository or its revision")?;
    if !is_commit(&listing.sha) {
        let why = format!("the commit is `{}`, wanted 40 hexadecimal digits", listing.sha.escape_debug().take(80).collect::<String>());
        return Err(HubError::Reply { url: super::http::shown(&url), why });
    }
    for sibling in &listing.siblings {
        safe_path(&sibling.rfilename, name)?;
    }
    let names: Vec<String> = listing.siblings.iter().map(|sibling| sibling.rfilename.clone()).collect();
    let chosen = super::wanted(select(&names, include), name, include)?;

    let files = chosen
        .into_iter()
        .map(|file| {
            let listed = listing.siblings.iter().find(|sibling| sibling.rfilename == file).and_then(|sibling| sibling.size);
            describe(&client, settings, name, &listing.sha, file, listed)
        })
        .collect::<Result<Vec<RemoteFile>>>()?;
    report(Progress::Planned { files: files.len(), bytes: files.iter().map(|file| file.size).sum() });

    let cache = Cache { folder: folder(settings, name), locks: settings.hf_cache.join(".locks").join(folder_name(name)) };
    let snapshot = cache.folder.join("snapshots").join(&listing.sha);
    let mut downloaded = 0;
    for file in &files {
        let fresh = cache.provide(&client, name, file, &snapshot, report)?;
        downloaded += if fresh { file.size } else { 0 };
        report(Progress::Finished { file: &file.file, size: file.size, fresh });
    }
    if include.is_empty() && !has_weights(&snapshot) {
        return Err(HubError::NoFiles { name: name.clone(), wanted: "some of the weights that its index names".into() });
    }
    cache.write_ref(name.revision(), &listing.sha)?;
    mark_as_cache(&settings.hf_cache);
    let files = files.into_iter().map(|file| file.file).collect();
    Ok(Pulled { name: name.clone(), folder: snapshot, commit: Some(listing.sha), files, downloaded })
}

/// Asks for a file's size and sum. The answer that counts is the hub's own, not that of the CDN it redirects to.
fn describe(client: &Client, settings: &Settings, name: &ModelName, commit: &str, file: String, listed: Option<u64>) -> Result<RemoteFile> {
    let relative = safe_path(&file, name)?;
    let url = format!("{}/{}/resolve/{commit}/{}", settings.hf_endpoint, name.id(), escaped_path(&file));
    let answer = client.head(&url, name, &format!("`{file}`"))?;
    let bad = |why: String| HubError::Reply { url: answer.url.clone(), why };
    if let Some(other) = answer.header("x-repo-commit").filter(|other| *other != commit) {
        return Err(bad(format!("it is of commit `{}`, wanted `{commit}`", other.escape_debug())));
    }
    let etag = answer.header("x-linked-etag").or_else(|| answer.header(ETAG)).map(|etag| etag.trim_start_matches("W/").trim_matches('"'));
    let etag = etag.filter(|etag| is_blob_name(etag)).ok_or_else(|| bad("the headers hold no usable `ETag`".into()))?.to_owned();
    let linked = answer.number(HeaderName::from_static("x-linked-size"));
    // A redirect's own length is not the file's.
    let direct = if answer.status.is_redirection() { None } else { answer.number(CONTENT_LENGTH) };
    let size = linked.or(direct).or(listed).ok_or_else(|| bad("the headers do not say how large the file is".into()))?;
    Ok(RemoteFile { file, relative, url, etag, size })
}

/// A repository's folder and its locks.
struct Cache {
    folder: PathBuf,
    locks: PathBuf,
}

impl Cache {
    /// Puts `file` into `snapshot`; whether bytes had to be downloaded.
    fn provide(&self, client: &Client, name: &ModelName, file: &RemoteFile, snapshot: &Path, report: Report<'_>) -> Result<bool> {
        let pointer = snapshot.join(&file.relative);
        let has_size = |path: &Path| path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() == file.size);
        if has_size(&pointer) {
            return Ok(false);
        }
        let blob = self.folder.join("blobs").join(&file.etag);
        create_folder_of(&blob)?;
        create_folder_of(&pointer)?;
        let lock = self.locks.join(format!("{}.lock", file.etag));
        // The report is needed by both closures, one after the other.
        let report = std::cell::RefCell::new(report);
        let waiting = || (report.borrow_mut())(Progress::Waiting { file: &file.file });
        locked(&lock, waiting, || {
            if has_size(&pointer) {
                return Ok(false);
            }
            let fresh = !has_size(&blob);
            if fresh {
                let partial = with_suffix(&blob, ".incomplete");
                let checksum = Checksum::of_etag(&file.etag);
                let (checksum, partial) = (checksum.as_ref(), partial.as_path());
                Download { client, name, file: &file.file, url: &file.url, size: file.size, checksum, partial }
                    .run(*report.borrow_mut())?;
                fs::rename(partial, &blob).map_err(HubError::io("rename", partial))?;
            }
            link(&blob, &pointer, &file.relative)?;
            Ok(fresh)
        })
    }

    /// Notes which commit a branch or tag stands for, as Python does: nothing for a commit.
    fn write_ref(&self, revision: &str, commit: &str) -> Result<()> {
        let path = self.folder.join("refs").join(revision);
        if revision == commit || fs::read_to_string(&path).is_ok_and(|text| text == commit) {
            return Ok(());
        }
        create_folder_of(&path)?;
        let temporary = temporary(&path);
        fs::write(&temporary, commit).map_err(HubError::io("write", &temporary))?;
        fs::rename(&temporary, &path).map_err(HubError::io("rename", &temporary))
    }
}

/// Makes `pointer` stand for `blob`, in one step for readers: a relative symbolic link, else a hard link, else a copy.
fn link(blob: &Path, pointer: &Path, relative: &Path) -> Result<()> {
    let temporary = temporary(pointer);
    // From `snapshots/COMMIT/[folders/]file` up to the repository's folder.
    let mut target: PathBuf = std::iter::repeat_n("..", relative.components().count() + 1).collect();
    target.extend([Path::new("blobs"), Path::new(blob.file_name().expect("a blob has a name"))]);
    symlink(&target, &temporary)
        .or_else(|_| fs::hard_link(blob, &temporary))
        .or_else(|_| fs::copy(blob, &temporary).map(drop))
        .and_then(|()| fs::rename(&temporary, pointer))
        .map_err(HubError::io("create", pointer))
}

/// A name beside `path` that no other thread or process uses.
fn temporary(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    with_suffix(path, &format!(".{process}.{count}.tmp"))
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::windows::fs::symlink_file(target, link)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_: &Path, _: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// `CACHEDIR.TAG`, which tells backup programs to pass by. A courtesy: failing changes nothing.
fn mark_as_cache(cache: &Path) {
    let tag = cache.join("CACHEDIR.TAG");
    if !tag.exists() {
        let _ = fs::write(
            tag,
            "Signature: 8a477f597d28d172789f06886806bc55\n# Models shared by hua and huggingface_hub. See https://bford.info/cachedir/\n",
        );
    }
}

fn folder_name(name: &ModelName) -> String {
    format!("models--{}--{}", name.owner(), name.repository())
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Whether an etag can name a file.
fn is_blob_name(etag: &str) -> bool {
    (1..=128).contains(&etag.len())
        && !etag.starts_with('.')
        && etag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}
