//! Why a model cannot be opened or written. Everything that is wrong with its tensors is said at once.
use std::fmt;
use std::path::{Path, PathBuf};

use hua_graph::{DType, TensorError, WeightsError};

use crate::arch::ArchError;
use crate::checkpoint::{Blame, CheckpointError, shown};
use crate::family::family;

/// How many names of each sort a message lists; the error itself carries all.
const LISTED: usize = 8;

/// Why a model cannot be opened or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The sizes it claims are not a model's.
    #[error("`{}`", .path.display())]
    Arch {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: ArchError,
    },
    /// Its weights cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A model would be replaced.
    #[error("`{}` is there already, and hua replaces no model", .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file of settings is not JSON.
    #[error("`{}` is not a JSON object", .path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// The operating system refused.
    #[error("cannot access `{}`", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The family has no such layout, or its layout has no place for this model.
    #[error("the layout `{layout}` cannot hold this {family} model; {reason}")]
    Layout {
        /// The model's family.
        family: String,
        /// The layout asked for.
        layout: String,
        /// Why.
        reason: String,
    },
    /// The logit scale is no finite number.
    #[error("`{}` has the logit scale {found}, wanted a finite number", .path.display())]
    LogitScale {
        /// The checkpoint.
        path: PathBuf,
        /// The number.
        found: f32,
    },
    /// A file that the family needs is not there.
    #[error("`{}` lacks the `config.json` that {family} needs beside its weights", .path.display())]
    NoConfig {
        /// The folder, or the file of weights.
        path: PathBuf,
        /// The family, as people write it.
        family: &'static str,
        /// The name of a family that would know the checkpoint.
        other_family: Option<&'static str>,
    },
    /// The folder has a text tower only.
    #[error("`{}` holds the text tower only; its picture tower, of width {width}, is another model's", .path.display())]
    NoImageTower {
        /// The checkpoint.
        path: PathBuf,
        /// Numbers of an embedding.
        width: usize,
    },
    /// The towers of two checkpoints do not belong together.
    #[error("`{}` gives embeddings of {text} numbers and `{}` of {image}; the towers do not belong together", .text_path.display(), .image_path.display())]
    Pair {
        /// The text tower's checkpoint.
        text_path: PathBuf,
        /// Numbers of its embedding.
        text: usize,
        /// The image tower's checkpoint.
        image_path: PathBuf,
        /// Numbers of its embedding.
        image: usize,
    },
    /// The tensors of a checkpoint are not those that the model needs.
    #[error(transparent)]
    Tensors(#[from] Box<Mismatch>),
    /// A picture tower was named for a model that has one.
    #[error("`{}` has its own picture tower, and `{}` was named for it", .path.display(), .other.display())]
    TwoImageTowers {
        /// The checkpoint.
        path: PathBuf,
        /// The one named.
        other: PathBuf,
    },
    /// No family of that name.
    #[error("there is no family `{name}`, only {known}")]
    UnknownFamily {
        /// The name.
        name: String,
        /// Those there are.
        known: String,
    },
    /// No family knows this checkpoint.
    #[error("`{}` is of no family that hua knows ({known}); {found}", .path.display())]
    Unrecognised {
        /// The checkpoint.
        path: PathBuf,
        /// The families there are.
        known: String,
        /// What was seen of it.
        found: String,
    },
    /// A setting has a value that hua does not know.
    #[error("`{}` has `{key}` = {found}, wanted {wanted}", .path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The setting, with the objects it is in.
        key: String,
        /// Its value.
        found: String,
        /// What could stand there.
        wanted: String,
    },
    /// A number is too large for the type it is to have.
    #[error("`{name}` holds {found}, which is too large for {dtype}")]
    Range {
        /// The tensor.
        name: String,
        /// The number.
        found: f32,
        /// The type.
        dtype: DType,
    },
    /// The weights do not fit the graph that was made for them.
    #[error("`{}`", .path.display())]
    Weights {
        /// The checkpoint.
        path: PathBuf,
        /// What does not fit.
        #[source]
        source: WeightsError,
    },
    /// A tensor cannot be converted.
    #[error("`{name}`")]
    Tensor {
        /// The tensor.
        name: String,
        /// Why.
        #[source]
        source: TensorError,
    },
}

impl ModelError {
    /// What the caller could try.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoImageTower { width, .. } => {
                let source = match width {
                    512 => "openai/clip-vit-base-patch32",
                    768 => "openai/clip-vit-large-patch14",
                    1024 => "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
                    _ => return Some("name its CLIP with `--image-from`".into()),
                };
                Some(format!("name its CLIP with `--image-from`, probably {source}"))
            }
            Self::Checkpoint(CheckpointError::NoShards { .. }) => {
                Some("the download is incomplete; `hua pull` fetches what is not there yet".into())
            }
            Self::NoConfig { other_family: None, path, .. } if path.is_file() => {
                Some("hua looks beside files of the hubs' usual names only; name the model's folder".into())
            }
            Self::NoConfig { other_family, .. } => looks_like((*other_family)?),
            Self::Tensors(mismatch) => looks_like(mismatch.other_family?),
            _ => None,
        }
    }

    /// Who has to act.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Checkpoint(error) => error.blame(),
            Self::Arch { .. } | Self::Json { .. } | Self::LogitScale { .. } | Self::Weights { .. } | Self::Tensor { .. } => Blame::File,
            Self::Tensors(mismatch) if mismatch.other_family.is_none() => Blame::File,
            Self::Unrecognised { .. } | Self::Value { .. } => Blame::Unsupported,
            Self::Exists { .. }
            | Self::Io { .. }
            | Self::Layout { .. }
            | Self::NoConfig { .. }
            | Self::NoImageTower { .. }
            | Self::Pair { .. }
            | Self::Range { .. }
            | Self::Tensors(_)
            | Self::TwoImageTowers { .. }
            | Self::UnknownFamily { .. } => Blame::Caller,
        }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// How the tensors of a checkpoint differ from those that a model needs. Names are those of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The checkpoint.
    pub path: PathBuf,
    /// What it was read as, as people write it.
    pub family: &'static str,
    /// Tensors that are not there.
    pub missing: Vec<String>,
    /// Tensors of another shape, or of another type than models have.
    pub misshapen: Vec<Misshapen>,
    /// Tensors that the model has no use for.
    pub unused: Vec<String>,
    /// The name of a family that would know the checkpoint.
    pub other_family: Option<&'static str>,
}

/// A tensor of another shape, or of another type than models have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misshapen {
    /// Its name.
    pub name: String,
    /// What it is.
    pub found: String,
    /// What it should be.
    pub wanted: String,
}

impl std::error::Error for Mismatch {}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, family, missing, misshapen, unused, .. } = self;
        let some = |items: Vec<String>| {
            let rest = items.len().saturating_sub(LISTED);
            let listed = items.into_iter().take(LISTED).collect::<Vec<_>>().join(", ");
            if rest > 0 { format!("{listed} and {rest} more") } else { listed }
        };
        let quoted = |names: &[String]| some(names.iter().map(|n| format!("`{}`", shown(n))).collect());
        let mut parts = vec![];
        if !missing.is_empty() {
            parts.push(format!("lacks {} that {family} needs: {}", tensors(missing.len()), quoted(missing)));
        }
        if !misshapen.is_empty() {
            let each = misshapen.iter().map(|m| format!("`{}` is {}, wanted {}", shown(&m.name), m.found, m.wanted)).collect();
            parts.push(format!("has {} of another shape or type: {}", tensors(misshapen.len()), some(each)));
        }
        if !unused.is_empty() {
            parts.push(format!("has {} that {family} has no use for: {}", tensors(unused.len()), quoted(unused)));
        }
        write!(f, "`{}` {}", path.display(), parts.join("; it "))
    }
}

/// The hint that another family would do.
fn looks_like(name: &str) -> Option<String> {
    let other = family(name).ok()?;
    Some(format!("this looks like a checkpoint of {}; try `--family {}`", other.title(), other.name()))
}

fn tensors(n: usize) -> String {
    if n == 1 { "1 tensor".into() } else { format!("{n} tensors") }
}
