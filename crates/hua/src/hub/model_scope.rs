//! ModelScope: its routes, and the cache that `modelscope_hub` keeps.
//!
//! ```text
//! MODELSCOPE_CACHE/models/OWNER--NAME/snapshots/master/config.json
//! MODELSCOPE_CACHE/.lock/file_….lock
//! ```
//!
//! After `modelscope_hub/_download.py` (0.5). The folder that `modelscope` up to 1.37 used (`models/OWNER/NAME` with dots as `___`, below the
//! cache or its `hub`) is used on if it exists, as the package does; that version's index, a pickle, is not written. Files are plain, and a
//! branch's folder is updated in place, so a file already there counts only if its sha256 is the listed one.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::checksum::{Checksum, sha256_of};
use super::download::{Download, Report, create_folder_of, locked, safe_path, with_suffix};
use super::error::{HubError, Result};
use super::http::{Client, escaped, shown};
use super::name::{Hub, ModelName};
use super::select::{has_weights, select};
use super::settings::Settings;
use super::{Progress, Pulled, Snapshot};

/// Reply of `/api/v1/models/…/repo/files`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Reply {
    code: i64,
    message: Option<String>,
    data: Option<Listing>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listing {
    #[serde(default)]
    files: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    path: String,
    /// `blob` or `tree`.
    #[serde(rename = "Type")]
    kind: String,
    size: Option<u64>,
    sha256: Option<String>,
}

/// The folder that holds, or would hold, the files of `name`.
pub(super) fn folder(settings: &Settings, name: &ModelName) -> PathBuf {
    let cache = &settings.ms_cache;
    let old = Path::new("models").join(name.owner()).join(name.repository().replace('.', "___"));
    let is_used = |folder: &PathBuf| fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    [cache.join(&old), cache.join("hub").join(&old)].into_iter().find(is_used).unwrap_or_else(|| {
        cache.join("models").join(format!("{}--{}", name.owner(), name.repository())).join("snapshots").join(name.revision())
    })
}

/// What the cache holds of `name`, without asking the network.
pub(super) fn cached(settings: &Settings, name: &ModelName) -> Snapshot {
    let folder = folder(settings, name);
    match (folder.is_dir(), has_weights(&folder)) {
        (_, true) => Snapshot::Complete(folder),
        (true, false) => Snapshot::Partial(folder),
        (false, false) => Snapshot::Missing(folder),
    }
}

/// Downloads what hua needs of `name`, or what `include` names.
pub(super) fn pull(settings: &Settings, name: &ModelName, include: &[String], report: Report<'_>) -> Result<Pulled> {
    let client = Client::new(settings, Hub::ModelScope)?;
    let api = format!("{}/api/v1/models/{}/repo", settings.ms_endpoint, name.id());
    let url = format!("{api}/files?Revision={}&Recursive=True", escaped(name.revision()));
    let reply: Reply = client.json(&url, name, "the repository or its revision")?;
    let listing = match (reply.code, reply.data) {
        (200, Some(listing)) => listing,
        (code, _) => {
            let message = reply.message.unwrap_or_default();
            let why = format!("the listing has code {code} (`{}`), wanted 200", message.escape_debug().take(200).collect::<String>());
            return Err(HubError::Reply { url: shown(&url), why });
        }
    };
    let entries: Vec<Entry> = listing.files.into_iter().filter(|entry| entry.kind == "blob").collect();
    for entry in &entries {
        safe_path(&entry.path, name)?;
    }
    let names: Vec<String> = entries.iter().map(|entry| entry.path.clone()).collect();
    let chosen = super::wanted(select(&names, include), name, include)?;
    let files = chosen
        .iter()
        .map(|file| {
            let entry = entries.iter().find(|entry| entry.path == *file).expect("chosen from the entries");
            let size = entry.size.ok_or_else(|| HubError::Reply { url: shown(&url), why: format!("`{file}` has no size") })?;
            let checksum = entry.sha256.as_deref().and_then(Checksum::of_etag).filter(|sum| matches!(sum, Checksum::Sha256(_)));
            Ok((file.as_str(), size, checksum))
        })
        .collect::<Result<Vec<_>>>()?;
    report(Progress::Planned { files: files.len(), bytes: files.iter().map(|(_, size, _)| size).sum() });

    let folder = folder(settings, name);
    let mut downloaded = 0;
    for (file, size, checksum) in &files {
        let target = folder.join(safe_path(file, name)?);
        let lock = settings.ms_cache.join(".lock").join(lock_name(name, file));
        create_folder_of(&target)?;
        let partial = with_suffix(&target, ".incomplete");
        let url = format!("{api}?Revision={}&FilePath={}", escaped(name.revision()), escaped(file));
        let report = std::cell::RefCell::new(&mut *report);
        let waiting = || (report.borrow_mut())(Progress::Waiting { file });
        let fresh = locked(&lock, waiting, || {
            if is_here(&target, *size, checksum.as_ref())? {
                return Ok(false);
            }
            let (checksum, partial) = (checksum.as_ref(), partial.as_path());
            Download { client: &client, name, file, url: &url, size: *size, checksum, partial }.run(*report.borrow_mut())?;
            fs::rename(partial, &target).map_err(HubError::io("rename", partial))?;
            Ok(true)
        })?;
        downloaded += if fresh { *size } else { 0 };
        (report.borrow_mut())(Progress::Finished { file, size: *size, fresh });
    }
    if include.is_empty() && !has_weights(&folder) {
        return Err(HubError::NoFiles { name: name.clone(), wanted: "some of the weights that its index names".into() });
    }
    Ok(Pulled { name: name.clone(), folder, commit: None, files: chosen, downloaded })
}

fn is_here(target: &Path, size: u64, checksum: Option<&Checksum>) -> Result<bool> {
    if !target.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() == size) {
        return Ok(false);
    }
    checksum.map_or(Ok(true), |checksum| Ok(checksum.compute(target)? == checksum.wanted()))
}

/// The package's own lock, so that both wait for each other.
fn lock_name(name: &ModelName, file: &str) -> String {
    let key = ["modelscope-hub-download-lock-v2", "file", "model", &name.id(), file].join("\0");
    format!("file_{}.lock", sha256_of(key.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_has_the_name_that_modelscope_gives_it() {
        // hashlib.sha256("\0".join((…, "file", "model", "a/b", "config.json")).encode()).hexdigest()
        let expected = "1229c854e1a6956eff2139a2eeb0cf029d3f98103fcae0dd2185760c08805fe5";
        assert_eq!(lock_name(&"ms:a/b".parse().unwrap(), "config.json"), format!("file_{expected}.lock"));
    }
}
