//! Writing checkpoints: tensor by tensor, and never half a file.
//!
//! What will be written is planned first ([`TensorPlan`]: name, type, shape), because every format starts with, or points
//! to, the lengths. The tensors themselves are asked for one at a time, so a caller that converts or renames holds one in
//! memory. A file appears under its name when all of it is on the disk, or not at all.
mod safetensors;
mod torch;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use hua_graph::{DType, Tensor};

use super::error::CheckpointError;
pub use safetensors::{save_safetensors, save_sharded};
pub use torch::save_torch;

/// A tensor that will be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorPlan {
    /// Its name in the file.
    pub name: String,
    /// What it is made of.
    pub dtype: DType,
    /// Slowest dimension first.
    pub shape: Vec<usize>,
}

impl TensorPlan {
    fn bytes(&self) -> u64 {
        self.shape.iter().product::<usize>() as u64 * self.dtype.size() as u64
    }
}

/// Names that stand twice cannot be written.
fn check_names(path: &Path, plan: &[TensorPlan]) -> Result<(), CheckpointError> {
    let mut seen = BTreeSet::new();
    match plan.iter().find(|tensor| !seen.insert(&tensor.name)) {
        Some(twice) => {
            let (found, wanted) = ("planned twice".to_owned(), "each name once".to_owned());
            Err(CheckpointError::Plan { path: path.to_owned(), name: twice.name.clone(), found, wanted })
        }
        None => Ok(()),
    }
}

/// Asks for a tensor and makes sure that it is what was planned.
fn ask<E: From<CheckpointError>>(path: &Path, plan: &TensorPlan, fetch: &mut impl FnMut(&str) -> Result<Tensor, E>) -> Result<Tensor, E> {
    let tensor = fetch(&plan.name)?;
    if tensor.dtype() == plan.dtype && tensor.shape() == plan.shape {
        return Ok(tensor);
    }
    let (found, wanted) = (format!("{} {:?}", tensor.dtype(), tensor.shape()), format!("{} {:?}", plan.dtype, plan.shape));
    Err(CheckpointError::Plan { path: path.to_owned(), name: plan.name.clone(), found, wanted }.into())
}

/// A file beside `path` that takes its name in [`Self::finish`], and is gone if that is never called.
struct NewFile {
    path: PathBuf,
    temporary: PathBuf,
    file: BufWriter<File>,
}

impl NewFile {
    fn create(path: &Path) -> Result<Self, CheckpointError> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let temporary = path.with_file_name(name);
        let file = File::create_new(&temporary).map_err(CheckpointError::io(&temporary))?;
        Ok(Self { path: path.to_owned(), temporary, file: BufWriter::new(file) })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), CheckpointError> {
        self.file.write_all(bytes).map_err(CheckpointError::io(&self.path))
    }

    fn finish(mut self) -> Result<(), CheckpointError> {
        let written = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        written.and_then(|()| std::fs::rename(&self.temporary, &self.path)).map_err(CheckpointError::io(&self.path))?;
        // So that the new name survives a power cut too; not every system can do this to a folder, and none needs to.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        _ = File::open(folder).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // After `finish` there is nothing under this name; before, half a file.
        _ = std::fs::remove_file(&self.temporary);
    }
}
