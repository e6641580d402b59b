//! What can be wrong with a checkpoint, and who has to act.
//!
//! [`CheckpointError`] always names the file. [`Defect`] is what a parser finds in bytes; parsers know no paths.
use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use super::element::ElementType;

/// How many names a message lists; the error itself carries all.
const LISTED: usize = 8;

/// Why a checkpoint cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A folder holds several files that could be the weights.
    #[error("`{}` holds several files that could be the weights: {}; name one of them", .path.display(), quoted(.candidates))]
    Ambiguous {
        /// The folder.
        path: PathBuf,
        /// The file names, sorted.
        candidates: Vec<String>,
    },
    /// A tensor has elements that no model of hua is made of.
    #[error("`{}` in `{}` has {found} elements, where f32, f16, bf16 or i64 are wanted", shown(.name), .path.display())]
    Element {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What it is made of.
        found: ElementType,
    },
    /// The file is damaged, hostile, or of a kind that hua does not read.
    #[error("`{}`: {defect}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        defect: Defect,
    },
    /// The operating system refused.
    #[error("cannot access `{}`", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// Shards that an index names are not beside it.
    #[error("`{}` names {} that {} not there: {}", .path.display(), shards(.missing), if .missing.len() == 1 { "is" } else { "are" }, quoted(.missing))]
    NoShards {
        /// The index.
        path: PathBuf,
        /// The shards' file names, sorted.
        missing: Vec<String>,
    },
    /// There is no tensor of that name.
    #[error("`{}` has no tensor `{}`", .path.display(), shown(.name))]
    NoTensor {
        /// The checkpoint.
        path: PathBuf,
        /// The name asked for.
        name: String,
    },
    /// A folder holds no weights.
    #[error("`{}` holds no weights; wanted `model.safetensors`, `pytorch_model.bin`, an index of their shards, or one other weight file{}", .path.display(), also(.foreign))]
    NoWeights {
        /// The folder.
        path: PathBuf,
        /// Weights of other frameworks that are there.
        foreign: Vec<String>,
    },
    /// A tensor to be written is not what its plan said.
    #[error("cannot write `{}` to `{}`: it is {found}, and {wanted} was planned", shown(.name), .path.display())]
    Plan {
        /// The file being written.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Element type and shape given.
        found: String,
        /// Element type and shape planned, or what plans must be.
        wanted: String,
    },
}

/// Who has to act on an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The caller asked for something that is not there.
    Caller,
    /// The file is damaged, or made to do harm.
    File,
    /// The file is honest, but hua does not read its kind.
    Unsupported,
}

impl CheckpointError {
    /// Who has to act.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Ambiguous { .. }
            | Self::NoTensor { .. }
            | Self::NoShards { .. }
            | Self::NoWeights { .. }
            | Self::Io { .. }
            | Self::Plan { .. } => Blame::Caller,
            Self::Element { .. } => Blame::Unsupported,
            Self::File { defect, .. } => defect.blame(),
        }
    }

    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }

    pub(super) fn file(path: &Path) -> impl FnOnce(Defect) -> Self {
        let path = path.to_path_buf();
        move |defect| Self::File { path, defect }
    }
}

/// What is wrong with the bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Defect {
    /// Two tensors, or two parts of an archive, claim the same bytes.
    #[error("`{}` and `{}` claim the same bytes", shown(.first), shown(.second))]
    Overlap {
        /// The one that starts first.
        first: String,
        /// The other.
        second: String,
    },
    /// A part of an archive is compressed.
    #[error(
        "`{}` is compressed inside the archive, where stored bytes are wanted; write the file again with `torch.save(torch.load(path, weights_only=True), path)`", shown(.entry)
    )]
    Compressed {
        /// The part.
        entry: String,
    },
    /// A name stands twice.
    #[error("`{}` is there twice", shown(.name))]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A tensor's elements are of a type without whole bytes, or one that hua has never heard of.
    #[error("`{}` has elements of type `{}`, which hua does not know", shown(.name), shown(.found))]
    ElementType {
        /// The tensor.
        name: String,
        /// The type's name in the file.
        found: String,
    },
    /// The pickle names something that is not data.
    #[error("this pickle calls `{}`; hua never runs pickled code, and this name is not among the data it knows", shown(.global))]
    Global {
        /// Module and name.
        global: String,
    },
    /// Bytes of a tensor, or of the file, belong to nothing.
    #[error("bytes {start}..{end} belong to no tensor")]
    Hole {
        /// First byte, counted from the end of the header.
        start: u64,
        /// The end.
        end: u64,
    },
    /// A JSON text is not what it must be.
    #[error("the {what} is not valid: {}", shown(.detail))]
    Json {
        /// Header or index.
        what: &'static str,
        /// What the parser said.
        detail: String,
    },
    /// A number is greater than anything honest.
    #[error("{what}: found {found}, at most {limit} wanted")]
    Limit {
        /// What is counted.
        what: &'static str,
        /// The number claimed or reached.
        found: u64,
        /// The greatest hua takes.
        limit: u64,
    },
    /// A part that must be there is not.
    #[error("the archive lacks `{}`", shown(.entry))]
    Missing {
        /// The part.
        entry: String,
    },
    /// The file is something else.
    #[error("this is {what}, not weights that hua reads; {hint}")]
    NotWeights {
        /// What it is.
        what: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// Nothing in the pickle looks like named tensors.
    #[error("no mapping from names to tensors was found; the pickle holds {found}")]
    NoTensors {
        /// What stands at the top.
        found: String,
    },
    /// A pickle breaks the rules of pickles.
    #[error("the pickle is damaged at byte {at}: {what}")]
    Pickle {
        /// Where.
        at: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// A pickle uses an operation that torch does not write.
    #[error("the pickle uses operation 0x{opcode:02x} at byte {at}, which no checkpoint needs")]
    PickleOperation {
        /// The operation.
        opcode: u8,
        /// Where.
        at: usize,
    },
    /// A tensor or part is said to be where the file is not.
    #[error("`{}` claims bytes {start}..{end} of {len}", shown(.name))]
    Range {
        /// The tensor or part.
        name: String,
        /// First byte claimed.
        start: u64,
        /// End claimed.
        end: u64,
        /// Bytes there are.
        len: u64,
    },
    /// A shape, its strides and the bytes behind it do not agree.
    #[error("`{}` of shape {shape:?} does not fit its {bytes} bytes", shown(.name))]
    Shape {
        /// The tensor.
        name: String,
        /// The shape claimed.
        shape: Vec<u64>,
        /// The bytes it points to.
        bytes: u64,
    },
    /// An index of shards names a file outside its folder.
    #[error("the index names the shard `{}`, which is not a plain file name", shown(.shard))]
    ShardName {
        /// The name.
        shard: String,
    },
    /// A shard lacks a tensor that the index places there.
    #[error("`{}` is not in this shard, where the index places it", shown(.name))]
    ShardLacks {
        /// The tensor.
        name: String,
    },
    /// The file ends before what it announces.
    #[error("the file ends too early: {what} needs {wanted} bytes, {found} are left")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Bytes needed.
        wanted: u64,
        /// Bytes left.
        found: u64,
    },
    /// An archive breaks the rules of archives.
    #[error("the zip archive is damaged: {what}")]
    Zip {
        /// What is wrong.
        what: &'static str,
    },
}

impl Defect {
    /// Whether the file is to blame, or hua.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Compressed { .. }
            | Self::ElementType { .. }
            | Self::NoTensors { .. }
            | Self::NotWeights { .. }
            | Self::PickleOperation { .. } => Blame::Unsupported,
            _ => Blame::File,
        }
    }
}

fn quoted(names: &[String]) -> String {
    let listed: Vec<_> = names.iter().take(LISTED).map(|n| format!("`{}`", shown(n))).collect();
    let rest = names.len() - listed.len();
    if rest > 0 { format!("{} and {rest} more", listed.join(", ")) } else { listed.join(", ") }
}

fn shards(missing: &[String]) -> String {
    if missing.len() == 1 { "a shard".into() } else { format!("{} shards", missing.len()) }
}

/// A stranger's text in a message: on one line, without control characters, and never longer than a line or two.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    const LONGEST: usize = 160;
    if text.len() <= LONGEST && !text.contains(char::is_control) {
        return text.into();
    }
    let hide = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    let mut out: String = text.chars().take(LONGEST).map(hide).collect();
    if text.chars().nth(LONGEST).is_some() {
        out.push('…');
    }
    out.into()
}

fn also(foreign: &[String]) -> String {
    if foreign.is_empty() { String::new() } else { format!(" (hua does not read {})", quoted(foreign)) }
}
