//! What a file's bytes must hash to. The hubs announce one of two sums: sha256 (large files, by their LFS pointer; everything on
//! ModelScope) or git's own sha1 of `blob LENGTH\0` and the bytes (small files on Hugging Face).
//!
//! On ring, which TLS brings anyway. sha1 here detects damage and stale mirrors; it does not claim to stop a forger.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

use super::error::{HubError, Result};

/// A sum to compare with, in lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Checksum {
    GitSha1(String),
    Sha256(String),
}

impl Checksum {
    /// By the number of digits: 40 or 64; anything else is no checksum.
    pub fn of_etag(etag: &str) -> Option<Checksum> {
        if !etag.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let digits = etag.to_ascii_lowercase();
        match etag.len() {
            40 => Some(Checksum::GitSha1(digits)),
            64 => Some(Checksum::Sha256(digits)),
            _ => None,
        }
    }

    /// For messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Checksum::GitSha1(_) => "git sha1",
            Checksum::Sha256(_) => "sha256",
        }
    }

    /// The digits.
    pub fn wanted(&self) -> &str {
        match self {
            Checksum::GitSha1(digits) | Checksum::Sha256(digits) => digits,
        }
    }

    /// The sum of this kind over the file at `path`, read once.
    pub fn compute(&self, path: &Path) -> Result<String> {
        let mut file = File::open(path).map_err(HubError::io("open", path))?;
        let mut context = match self {
            Checksum::Sha256(_) => Context::new(&SHA256),
            Checksum::GitSha1(_) => {
                let length = file.metadata().map_err(HubError::io("read", path))?.len();
                let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
                context.update(format!("blob {length}\0").as_bytes());
                context
            }
        };
        let mut buffer = vec![0; 1 << 18];
        loop {
            match file.read(&mut buffer).map_err(HubError::io("read", path))? {
                0 => break,
                count => context.update(&buffer[..count]),
            }
        }
        Ok(context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// sha256 of a short text, for lock names.
pub(super) fn sha256_of(text: &[u8]) -> String {
    ring::digest::digest(&SHA256, text).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_equal_those_of_git_and_sha256sum() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hello");
        std::fs::write(&path, "hello\n").unwrap();
        // printf 'hello\n' | git hash-object --stdin; printf 'hello\n' | sha256sum
        let git = "ce013625030ba8dba906f756967f9e9ca394464a";
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        for digits in [git, sha256] {
            let sum = Checksum::of_etag(&digits.to_ascii_uppercase()).unwrap();
            assert_eq!(sum.wanted(), digits);
            assert_eq!(sum.compute(&path).unwrap(), digits);
        }
        assert_eq!(Checksum::of_etag("5d41402abc4b2a76b9719d911017c592-2"), None);
    }
}
