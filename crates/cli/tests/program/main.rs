//! The program as a stranger runs it: what it prints where, its exit codes, its files. One binary, so that it is linked once.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod ask;
mod bench;
mod convert;
mod data;
mod embed;
mod errors;
mod eval;
mod gallery;
mod help;
mod index;
mod inspect;
mod pull;
mod score;
mod search;
#[path = "../../../hua/tests/hub/server.rs"]
#[expect(dead_code, reason = "the library's tests misuse the hub in more ways")]
mod server;
#[cfg(unix)]
mod train;
#[cfg(unix)]
mod train_walkthrough;
#[cfg(unix)]
mod walkthrough;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use hua::image::Picture;

/// A folder for one test, which is also the home, the cache and the working directory of the programs it runs.
struct Place(tempfile::TempDir);

/// What a run gave.
#[derive(Debug)]
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A picture of one colour.
    fn picture(&self, name: &str, color: [u8; 3]) {
        let picture = Picture::from_rgb8(40, 30, color.repeat(40 * 30)).unwrap();
        self.write(name, &picture.encode_png());
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// The program with an environment of its own.
    fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hua"));
        command.args(arguments).current_dir(self.0.path()).env_clear();
        command.env("HOME", self.0.path()).env("HUA_CACHE", self.path("cache")).env("HF_HUB_OFFLINE", "1").stdin(Stdio::null());
        command
    }

    fn hua<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Run {
        Run::of(self.command(arguments).output().unwrap())
    }
}

impl Run {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// stdout, of a run that succeeded.
    fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self.stdout
    }

    /// Exit code and stderr, of a run that failed and left stdout alone.
    fn failed(self) -> String {
        assert_eq!(self.stdout, "");
        format!("exit code {}\n{}", self.code, self.stderr)
    }

    /// stdout as JSON values, a line each.
    fn json_lines(self) -> Vec<serde_json::Value> {
        self.ok().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Decodes a picture file.
fn decode(path: &Path) -> Picture {
    Picture::decode(&std::fs::read(path).unwrap(), &Default::default()).unwrap()
}
