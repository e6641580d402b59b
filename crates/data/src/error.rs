//! What makes a whole source unreadable or a data set unwritable; what is wrong with one picture is a [`Failure`](crate::Failure).
use std::io;
use std::path::PathBuf;

/// Everything that ends the reading of a source before it begins, or the writing of a data set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something is where a data set is to be written.
    #[error("`{}` is there already, wanted a name that is free", path.display())]
    Exists {
        /// The file or folder.
        path: PathBuf,
    },
    /// A file or folder that is not there or cannot be read.
    #[error("cannot read `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A line that is not what it should be, where each line counts.
    #[error("`{}` line {line}: {found}, wanted {wanted}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What it is.
        found: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// A list or archive that is not what its name promises.
    #[error("`{}` {found}; wanted {wanted}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, with its verb.
        found: String,
        /// What it should be.
        wanted: String,
    },
    /// Files that a pattern names and that are not there.
    #[error("`{pattern}` names {} files that are not there, the first is `{}`", missing.len(), missing[0].display())]
    Missing {
        /// The pattern, with its braces.
        pattern: String,
        /// At least one.
        missing: Vec<PathBuf>,
    },
    /// Files of which line n should be the same sentence, with different numbers of lines.
    #[error("{}: line n of each is the same sentence, so they must have as many lines", lines(counts))]
    Unequal {
        /// Each file and how many lines it has.
        counts: Vec<(PathBuf, u64)>,
    },
    /// A file or folder that cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// "`a.en` has 3 lines, `a.zh` has 2".
fn lines(counts: &[(PathBuf, u64)]) -> String {
    counts.iter().map(|(path, count)| format!("`{}` has {count} lines", path.display())).collect::<Vec<_>>().join(", ")
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// The error and what caused it in one line.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Io { source, .. } => source.to_string(),
            other => other.to_string(),
        }
    }
}
