//! safetensors files, one or many.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hua_graph::Tensor;
use serde_json::{Map, Value, json};

use super::{NewFile, TensorPlan, ask, check_names};
use crate::checkpoint::element::ElementType;
use crate::checkpoint::error::CheckpointError;

/// Writes one safetensors file; `fetch` is asked for each planned tensor once, by its name.
///
/// # Errors
/// [`CheckpointError::Io`], [`CheckpointError::Plan`], and whatever `fetch` says.
pub fn save_safetensors<E: From<CheckpointError>>(
    path: &Path,
    plan: &[TensorPlan],
    metadata: &BTreeMap<String, String>,
    mut fetch: impl FnMut(&str) -> Result<Tensor, E>,
) -> Result<(), E> {
    check_names(path, plan)?;
    write(path, plan.iter(), metadata, &mut fetch)
}

/// Writes `model.safetensors` into `folder`; or, if the tensors have more than `shard_bytes` together,
/// `model-00001-of-0000N.safetensors` and so on, and their index. Returns the files, the index last. Tensors are never
/// split: a shard is greater than `shard_bytes` if one of its tensors is.
///
/// # Errors
/// As [`save_safetensors`].
pub fn save_sharded<E: From<CheckpointError>>(
    folder: &Path,
    plan: &[TensorPlan],
    metadata: &BTreeMap<String, String>,
    shard_bytes: u64,
    mut fetch: impl FnMut(&str) -> Result<Tensor, E>,
) -> Result<Vec<PathBuf>, E> {
    let total: u64 = plan.iter().map(TensorPlan::bytes).sum();
    if total <= shard_bytes {
        let path = folder.join("model.safetensors");
        save_safetensors(&path, plan, metadata, fetch)?;
        return Ok(vec![path]);
    }
    let index = folder.join("model.safetensors.index.json");
    check_names(&index, plan)?;

    let mut shards: Vec<(u64, Vec<&TensorPlan>)> = Vec::new();
    for tensor in plan {
        match shards.last_mut() {
            Some((bytes, shard)) if *bytes + tensor.bytes() <= shard_bytes => {
                *bytes += tensor.bytes();
                shard.push(tensor);
            }
            _ => shards.push((tensor.bytes(), vec![tensor])),
        }
    }
    let (mut files, mut weight_map) = (Vec::new(), BTreeMap::new());
    for (i, (_, shard)) in shards.iter().enumerate() {
        let name = format!("model-{:05}-of-{:05}.safetensors", i + 1, shards.len());
        let path = folder.join(&name);
        write(&path, shard.iter().copied(), metadata, &mut fetch)?;
        weight_map.extend(shard.iter().map(|tensor| (tensor.name.as_str(), name.clone())));
        files.push(path);
    }
    let json = json!({ "metadata": { "total_size": total }, "weight_map": weight_map });
    let mut file = NewFile::create(&index)?;
    file.write(format!("{json:#}\n").as_bytes())?;
    file.finish()?;
    files.push(index);
    Ok(files)
}

fn write<'a, E: From<CheckpointError>>(
    path: &Path,
    plan: impl Iterator<Item = &'a TensorPlan>,
    metadata: &BTreeMap<String, String>,
    fetch: &mut impl FnMut(&str) -> Result<Tensor, E>,
) -> Result<(), E> {
    // The reference sorts by alignment, then name: with greater elements first, every tensor stays aligned for a view.
    let mut plan: Vec<_> = plan.collect();
    plan.sort_by_key(|tensor| (std::cmp::Reverse(tensor.dtype.size()), &tensor.name));
    let mut header = Map::new();
    if !metadata.is_empty() {
        header.insert("__metadata__".to_owned(), json!(metadata));
    }
    let mut end = 0;
    for tensor in &plan {
        let start = end;
        end += tensor.bytes();
        let dtype = ElementType::from(tensor.dtype).safetensors_name();
        header.insert(tensor.name.clone(), json!({ "dtype": dtype, "shape": tensor.shape, "data_offsets": [start, end] }));
    }
    let mut header = Value::Object(header).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));

    let mut file = NewFile::create(path)?;
    file.write(&(header.len() as u64).to_le_bytes())?;
    file.write(header.as_bytes())?;
    for tensor in plan {
        file.write(ask(path, tensor, fetch)?.bytes())?;
    }
    Ok(file.finish()?)
}
