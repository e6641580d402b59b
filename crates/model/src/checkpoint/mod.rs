//! `Checkpoint`: a file or folder of weights in any format people have, open.
//!
//! It knows formats and no architecture: names are those in the file, prefixes such as `module.` included. Nothing is read
//! before it is asked for; files are memory-mapped, and a tensor is a view of the map wherever its elements lie in order.
//! Files are strangers': every length is checked before it is used, and a pickle is read as data (`pickle.rs`), never run.
//!
//! ```no_run
//! # fn main() -> Result<(), hua_model::checkpoint::CheckpointError> {
//! let checkpoint = hua_model::checkpoint::Checkpoint::open("clip_cn_vit-b-16.pt".as_ref())?;
//! for name in checkpoint.names() {
//!     println!("{name} {:?}", checkpoint.shape(name));
//! }
//! # Ok(())
//! # }
//! ```
mod bytes;
mod element;
mod entry;
mod error;
mod folder;
mod pickle;
mod safetensors;
mod save;
mod torch;
mod zip;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hua_graph::{Storage, Tensor};
use hua_kernels::MappedFile;

pub use element::ElementType;
use entry::Entry;
pub(crate) use error::shown;
pub use error::{Blame, CheckpointError, Defect};
pub use folder::Format;
pub use safetensors::ShardIndex;
pub use save::{TensorPlan, save_safetensors, save_sharded, save_torch};

/// An index of shards longer than this is no index.
const MAX_INDEX_BYTES: u64 = 64 << 20;

/// A value beside the tensors.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// `True` or `False`.
    Bool(bool),
    /// A float.
    Float(f64),
    /// An integer.
    Int(i64),
    /// A string.
    Text(String),
}

/// Named tensors in one or more files.
pub struct Checkpoint {
    path: PathBuf,
    format: Format,
    files: Vec<PathBuf>,
    storages: Vec<Arc<dyn Storage>>,
    entries: BTreeMap<String, Entry>,
    metadata: BTreeMap<String, Scalar>,
}

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Checkpoint({:?} {}, {} tensors)", self.format, self.path.display(), self.entries.len())
    }
}

impl Checkpoint {
    /// Opens a file of weights, an index of shards, or a folder that holds one of them. In a folder, safetensors are
    /// preferred to PyTorch files, and `model.safetensors` or `pytorch_model.bin` to any other name.
    ///
    /// # Errors
    /// Whatever makes the file something that hua cannot read, or should not; see [`CheckpointError::blame`].
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        if path.is_dir() {
            return Self::open(&folder::choose(path)?);
        }
        if path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(".index.json")) {
            return Self::open_shards(path);
        }
        Self::from_storage(path, map(path)?)
    }

    /// The checkpoint that `storage` holds, as if it were the content of a file named `path`.
    ///
    /// # Errors
    /// [`CheckpointError::File`].
    pub fn from_storage(path: &Path, storage: Arc<dyn Storage>) -> Result<Self, CheckpointError> {
        let mut this = Self::empty(path);
        this.format = this.add_file(path, storage, None)?;
        Ok(this)
    }

    /// The names of all tensors, sorted, as they stand in the file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The shape of a tensor, slowest dimension first.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.entries.get(name).map(|entry| entry.shape.as_slice())
    }

    /// What a tensor is made of.
    pub fn element(&self, name: &str) -> Option<ElementType> {
        self.entries.get(name).map(|entry| entry.element)
    }

    /// A tensor: a view of the file if its elements lie in row-major order, a copy if they do not.
    ///
    /// # Errors
    /// [`CheckpointError::NoTensor`], [`CheckpointError::Element`].
    pub fn tensor(&self, name: &str) -> Result<Tensor, CheckpointError> {
        let entry = self.entries.get(name).ok_or_else(|| CheckpointError::NoTensor { path: self.path.clone(), name: name.to_owned() })?;
        let found = entry.element;
        let dtype =
            found.dtype().ok_or_else(|| CheckpointError::Element { path: self.files[entry.file].clone(), name: name.to_owned(), found })?;
        Ok(entry.tensor(dtype, &self.storages[entry.file]))
    }

    /// Whether [`Self::tensor`] gives a view of the file.
    pub fn is_view(&self, name: &str) -> Option<bool> {
        self.entries.get(name).map(Entry::is_view)
    }

    /// What was opened: the file, or the index of shards.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files that hold tensors.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// How the files are written.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Bytes of all tensors together; shared ones count as often as they are named.
    pub fn total_bytes(&self) -> u64 {
        self.entries.values().fold(0, |sum, entry| sum.saturating_add(entry.bytes()))
    }

    /// What stands beside the tensors: `__metadata__` of safetensors; `epoch`, `step`, `name` and the like of torch.
    pub fn metadata(&self) -> &BTreeMap<String, Scalar> {
        &self.metadata
    }

    /// One without tensors.
    pub(crate) fn empty(path: &Path) -> Self {
        let (files, storages, entries, metadata) = Default::default();
        Self { path: path.to_owned(), format: Format::Safetensors, files, storages, entries, metadata }
    }

    fn open_shards(path: &Path) -> Result<Self, CheckpointError> {
        let len = regular(path)?;
        if len > MAX_INDEX_BYTES {
            let defect = Defect::Limit { what: "bytes of the index", found: len, limit: MAX_INDEX_BYTES };
            return Err(CheckpointError::File { path: path.to_owned(), defect });
        }
        let json = std::fs::read(path).map_err(CheckpointError::io(path))?;
        let index = ShardIndex::from_bytes(&json).map_err(CheckpointError::file(path))?;
        let shards = index.shards();
        let missing: Vec<_> = shards.keys().filter(|shard| !path.with_file_name(shard).exists()).map(|&shard| shard.to_owned()).collect();
        if !missing.is_empty() {
            return Err(CheckpointError::NoShards { path: path.to_owned(), missing });
        }
        let mut this = Self::empty(path);
        for (shard, names) in shards {
            let file = path.with_file_name(shard);
            this.format = this.add_file(&file, map(&file)?, Some(&names))?;
        }
        Ok(this)
    }

    /// Adds the tensors of one file, or those of them that an index places there.
    fn add_file(&mut self, path: &Path, storage: Arc<dyn Storage>, wanted: Option<&[&str]>) -> Result<Format, CheckpointError> {
        let index = self.files.len();
        let (format, mut tensors, metadata) = read((*storage).as_ref(), index).map_err(CheckpointError::file(path))?;
        if let Some(wanted) = wanted {
            let mut all: BTreeMap<_, _> = tensors.into_iter().collect();
            let take = |&name: &&str| all.remove_entry(name).ok_or_else(|| Defect::ShardLacks { name: name.to_owned() });
            tensors = wanted.iter().map(take).collect::<Result<_, _>>().map_err(CheckpointError::file(path))?;
        }
        self.entries.extend(tensors);
        self.metadata.extend(metadata);
        self.files.push(path.to_owned());
        self.storages.push(storage);
        Ok(format)
    }
}

type Parsed = (Format, Vec<(String, Entry)>, BTreeMap<String, Scalar>);

fn read(file: &[u8], index: usize) -> Result<Parsed, Defect> {
    let format = folder::recognise(file)?;
    let torch = match format {
        Format::Safetensors => {
            let header = safetensors::read(file, index)?;
            let metadata = header.metadata.into_iter().map(|(key, value)| (key, Scalar::Text(value))).collect();
            return Ok((format, header.tensors, metadata));
        }
        Format::TorchLegacy => torch::read_legacy(file, index)?,
        Format::Torch | Format::TorchScript => torch::read_zip(file, index)?,
    };
    Ok((if torch.script { Format::TorchScript } else { format }, torch.tensors, torch.metadata))
}

/// Maps a file, except an empty one, which some systems cannot map.
fn map(path: &Path) -> Result<Arc<dyn Storage>, CheckpointError> {
    if regular(path)? == 0 {
        return Ok(Arc::new(Vec::new()));
    }
    Ok(Arc::new(Mapped(MappedFile::open(path).map_err(CheckpointError::io(path))?)))
}

/// A mapped file as storage.
struct Mapped(MappedFile);

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref()
    }
}

impl Storage for Mapped {
    fn release(&self, bytes: std::ops::Range<usize>) {
        self.0.release(bytes);
    }
}

/// The length of a file that is one: opening a pipe waits for a writer, and a device may never end.
fn regular(path: &Path) -> Result<u64, CheckpointError> {
    let metadata = std::fs::metadata(path).map_err(CheckpointError::io(path))?;
    let what = match metadata {
        _ if metadata.is_file() => return Ok(metadata.len()),
        _ if metadata.is_dir() => "a folder",
        _ => "a pipe or a device",
    };
    Err(CheckpointError::File { path: path.to_owned(), defect: Defect::NotWeights { what, hint: "name a file" } })
}
