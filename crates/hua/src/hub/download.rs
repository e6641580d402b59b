//! One file from an address to the disk: resumed where an earlier attempt stopped, held to its announced size, checked against its sum.
//!
//! The bytes collect in a partial file beside the target; only a complete and verified one is handed back to be renamed into place, so a
//! reader never sees half a model. Partial files outlive the process: that is what the next pull resumes from. A lock file, the one that the
//! Python packages take too, keeps two processes from writing the same partial file.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use ureq::http::StatusCode;

use super::Progress;
use super::checksum::Checksum;
use super::error::{HubError, Result};
use super::http::{Client, Failure};
use super::name::ModelName;

/// New bytes after which a broken connection counts as a fresh misfortune, not as one more of the same.
const PROGRESS: u64 = 1 << 20;
const BUFFER: usize = 1 << 18;

/// Where progress goes.
pub(super) type Report<'a> = &'a mut dyn FnMut(Progress<'_>);

/// A file to download and what is known of it.
pub(super) struct Download<'a> {
    pub client: &'a Client,
    pub name: &'a ModelName,
    /// Path inside the repository.
    pub file: &'a str,
    pub url: &'a str,
    pub size: u64,
    pub checksum: Option<&'a Checksum>,
    /// Where bytes collect. Its folder exists.
    pub partial: &'a Path,
}

impl Download<'_> {
    /// Returns when the partial file is complete, verified and on the disk. A wrong sum deletes it.
    pub fn run(&self, report: Report<'_>) -> Result<()> {
        let mut from_before = self.received()? > 0;
        loop {
            self.receive(report)?;
            let Some(checksum) = self.checksum else { return Ok(()) };
            let found = checksum.compute(self.partial)?;
            if found == checksum.wanted() {
                return Ok(());
            }
            self.discard()?;
            if !from_before {
                let (file, name, wanted) = (self.file.to_owned(), self.name.clone(), checksum.wanted().to_owned());
                return Err(HubError::Checksum { file, name, kind: checksum.kind(), found, wanted });
            }
            // What an earlier process left may have been the wrong part: once more from the start.
            from_before = false;
        }
    }

    /// Attempts until every byte is here.
    fn receive(&self, report: Report<'_>) -> Result<()> {
        let mut attempt = 0;
        let mut milestone = self.received()?;
        loop {
            let (error, asked) = match self.attempt(report) {
                Ok(()) => return Ok(()),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing(error, asked)) => (error, asked),
            };
            let received = self.received()?;
            if received >= milestone + PROGRESS {
                (attempt, milestone) = (0, received);
            }
            attempt += 1;
            match (self.client.pause(attempt, asked), error) {
                (Some(pause), error) => {
                    report(Progress::Repeating { file: self.file, reason: &error, pause });
                    std::thread::sleep(pause);
                }
                (None, error @ HubError::RateLimited { .. }) => return Err(error),
                (None, error) => {
                    let (file, name, size) = (self.file.to_owned(), self.name.clone(), self.size);
                    let last = std::error::Error::source(&error).map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
                    return Err(HubError::Interrupted { file, name, attempts: attempt, received, size, last });
                }
            }
        }
    }

    /// One request, from the first byte that is missing.
    fn attempt(&self, report: Report<'_>) -> Result<(), Failure> {
        let mut start = self.received().map_err(Failure::Final)?;
        if start > self.size {
            self.discard().map_err(Failure::Final)?;
            start = 0;
        }
        report(Progress::Bytes { file: self.file, done: start, size: self.size });
        if start == self.size && start > 0 {
            return Ok(());
        }
        let answer = match self.client.get(self.url, start, self.name, &format!("`{}`", self.file)) {
            Err(Failure::Final(error @ HubError::Status { status: 416, .. })) if start > 0 => return self.start_over(error),
            answer => answer?,
        };
        match (answer.status, answer.content_range()) {
            (StatusCode::OK, _) => start = 0,
            (StatusCode::PARTIAL_CONTENT, Some((first, total))) if first == start => self.agree(total)?,
            (status, _) => {
                let why = format!("it answered {status} and not with the bytes from {start} on");
                return self.start_over(HubError::Reply { url: answer.url, why });
            }
        }
        self.agree(answer.content_length().map(|length| start.saturating_add(length)))?;

        let write = |error| Failure::Final(HubError::io("write", self.partial)(error));
        let mut file = File::options().create(true).write(true).truncate(false).open(self.partial).map_err(write)?;
        file.set_len(start).map_err(write)?;
        std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(start)).map_err(write)?;
        let mut body = answer.body.into_with_config().limit(u64::MAX).reader();
        let mut done = start;
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = match body.read(&mut buffer) {
                Ok(0) if done == self.size => break,
                Ok(0) => {
                    let why = format!("the connection closed after {done} of {} bytes", self.size);
                    return Err(Failure::Passing(HubError::Reply { url: answer.url, why }, None));
                }
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    let error = HubError::Transport { url: answer.url, source: Box::new(ureq::Error::from(error)) };
                    return Err(Failure::Passing(error, None));
                }
            };
            self.agree(Some(done + count as u64).filter(|&reached| reached > self.size))?;
            file.write_all(&buffer[..count]).map_err(write)?;
            done += count as u64;
            report(Progress::Bytes { file: self.file, done, size: self.size });
        }
        file.sync_all().map_err(write)
    }

    /// Fails for good, with nothing left, if the server's length is known and is not the repository's.
    fn agree(&self, found: Option<u64>) -> Result<(), Failure> {
        match found {
            Some(found) if found != self.size => {
                self.discard().map_err(Failure::Final)?;
                Err(Failure::Final(HubError::Size { file: self.file.to_owned(), name: self.name.clone(), found, wanted: self.size }))
            }
            _ => Ok(()),
        }
    }

    fn start_over(&self, error: HubError) -> Result<(), Failure> {
        self.discard().map_err(Failure::Final)?;
        Err(Failure::Passing(error, None))
    }

    fn received(&self) -> Result<u64> {
        match fs::metadata(self.partial) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(HubError::io("read", self.partial)(error)),
        }
    }

    fn discard(&self) -> Result<()> {
        match fs::remove_file(self.partial) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(HubError::io("remove", self.partial)(error)),
            _ => Ok(()),
        }
    }
}

/// Does `work` while holding the lock file at `path`; `waiting` is called first if another process holds it.
/// Where the file system knows no locks, `work` is done without one: the checksum still guards the result.
pub(super) fn locked<T>(path: &Path, waiting: impl FnOnce(), work: impl FnOnce() -> Result<T>) -> Result<T> {
    create_folder_of(path)?;
    let file = File::options().create(true).write(true).truncate(false).open(path).map_err(HubError::io("create", path))?;
    let lock = match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            waiting();
            file.lock()
        }
        Err(TryLockError::Error(error)) => Err(error),
        Ok(()) => Ok(()),
    };
    match lock {
        Err(error) if error.kind() != ErrorKind::Unsupported => Err(HubError::io("lock", path)(error)),
        _ => work(),
    }
}

/// Creates the folder that `path` lies in.
pub(super) fn create_folder_of(path: &Path) -> Result<()> {
    let folder = path.parent().expect("paths of files in a cache have a folder");
    fs::create_dir_all(folder).map_err(HubError::io("create", folder))
}

/// `path` with `suffix` after its last part.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut text = path.as_os_str().to_owned();
    text.push(suffix);
    text.into()
}

/// The relative path of a repository's file, or why it must not become one: it has to stay below its folder on every system.
pub(super) fn safe_path(path: &str, name: &ModelName) -> Result<PathBuf> {
    let refuse = |why| Err(HubError::UnsafePath { name: name.clone(), path: path.chars().take(200).collect(), why });
    if path.is_empty() || path.len() > 1024 {
        return refuse("is empty or longer than 1,024 bytes");
    }
    if path.starts_with('/') || path.contains(['\\', ':']) {
        return refuse("is absolute, or holds a backslash or colon");
    }
    if path.chars().any(char::is_control) {
        return refuse("holds a control character");
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return refuse("leaves its folder or has an empty part");
    }
    Ok(path.split('/').collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_leaves_its_folder_on_any_system_is_refused() {
        let name: ModelName = "a/b".parse().unwrap();
        let long = "x".repeat(1025);
        for path in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./x", "a/.", "C:/x", "C:x", "a\\b", "a\0b", "a\nb", "a/", &long] {
            assert!(matches!(safe_path(path, &name), Err(HubError::UnsafePath { .. })), "{path}");
        }
        for path in ["config.json", "a/b.c/d", "..x", "x..", "ü 彩.txt"] {
            assert_eq!(safe_path(path, &name).unwrap(), path.split('/').collect::<PathBuf>());
        }
    }
}
