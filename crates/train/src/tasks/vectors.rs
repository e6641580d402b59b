//! Vectors that are computed once and kept: a teacher's of texts, a locked tower's of pictures.
//!
//! A folder of safetensors files, each written once and whole: `keys` `[n, 2]` (16 bytes each, the beginning of the SHA-256 of what the vector
//! is of) and `vectors` `[n, width]` in f32. Files are mapped, so what is in memory is an index of the keys. The folder's name says whose
//! vectors they are; a file that is damaged is left out and computed again.
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hua_graph::{DType, Tensor};
use hua_model::ModelError;
use hua_model::checkpoint::{Checkpoint, CheckpointError, TensorPlan, save_safetensors};
use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// Vectors of a file, at most: what is in memory while they are computed.
pub(crate) const SHARD: usize = 1 << 16;

/// What a vector is of.
pub(crate) type Key = [u8; 16];

/// The key of a text, or of a picture's file.
pub(crate) fn key(of: &[u8]) -> Key {
    Sha256::digest(of)[..16].try_into().expect("a digest is longer")
}

/// Vectors by key.
#[derive(Debug, Default)]
pub(crate) struct Vectors {
    folder: Option<PathBuf>,
    width: usize,
    shards: Vec<Tensor>,
    places: HashMap<Key, (u32, u32)>,
}

impl Vectors {
    /// Those in a folder, which need not be there yet.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let mut paths = vec![];
        for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
            let path = entry.map_err(Error::io(folder))?.path();
            if path.extension().is_some_and(|extension| extension == "safetensors") {
                paths.push(path);
            }
        }
        paths.sort();
        let mut all = Self { folder: Some(folder.to_owned()), ..Self::default() };
        for path in paths {
            // Whatever is wrong with it, its vectors can be had again.
            _ = all.take(&path);
        }
        Ok(all)
    }

    /// Vectors that somebody brings: `path`, with a text for each in the `.txt` beside it.
    pub(crate) fn of_file(path: &Path) -> Result<Self> {
        let wrong = |found: String, wanted: &str| Error::BadData { name: path.display().to_string(), found, wanted: wanted.to_owned() };
        let beside = path.with_extension("txt");
        let texts = fs::read_to_string(&beside).map_err(Error::io(&beside))?;
        let vectors = Checkpoint::open(path).and_then(|checkpoint| checkpoint.tensor("vectors")).map_err(ModelError::from)?;
        let &[count, width] = vectors.shape() else {
            return Err(wrong(format!("`vectors` is {:?}", vectors.shape()), "`[n, width]`"));
        };
        let values = vectors.to_f32().map_err(|e| wrong(e.to_string(), "numbers"))?.into_owned();
        if texts.lines().count() != count {
            let found = format!("{count} vectors, and `{}` has {} lines", beside.display(), texts.lines().count());
            return Err(wrong(found, "a line for each"));
        }
        if let Some(bad) = values.iter().position(|x| !x.is_finite()) {
            return Err(wrong(format!("the vector of line {} is not finite", bad / width.max(1) + 1), "numbers"));
        }
        let places = texts.lines().enumerate().map(|(i, text)| (key(text.as_bytes()), (0, i as u32))).collect();
        Ok(Self { folder: None, width, shards: vec![Tensor::from_f32(&[count, width], values)], places })
    }

    fn take(&mut self, path: &Path) -> Option<()> {
        let checkpoint = Checkpoint::open(path).ok()?;
        let (keys, vectors) = (checkpoint.tensor("keys").ok()?, checkpoint.tensor("vectors").ok()?);
        let &[count, width] = vectors.shape() else { return None };
        if keys.shape() != [count, 2] || keys.dtype() != DType::I64 || vectors.dtype() != DType::F32 || width == 0 {
            return None;
        }
        if self.width != 0 && self.width != width {
            return None;
        }
        self.width = width;
        let shard = self.shards.len() as u32;
        let keys = keys.bytes().chunks_exact(16).map(|key| Key::try_from(key).expect("16 bytes"));
        self.places.extend(keys.enumerate().map(|(i, key)| (key, (shard, i as u32))));
        self.shards.push(vectors);
        Some(())
    }

    /// Numbers of a vector; 0 as long as there is none.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Whether there is a vector of it.
    pub(crate) fn has(&self, key: &Key) -> bool {
        self.places.contains_key(key)
    }

    /// Appends the vector of `key`; whether there is one.
    pub(crate) fn copy(&self, key: &Key, to: &mut Vec<f32>) -> bool {
        let Some(&(shard, row)) = self.places.get(key) else { return false };
        let bytes = &self.shards[shard as usize].bytes()[row as usize * self.width * 4..][..self.width * 4];
        to.extend(bytes.as_chunks::<4>().0.iter().map(|&x| f32::from_le_bytes(x)));
        true
    }

    /// Keeps vectors `[keys, width]`: a file more.
    pub(crate) fn add(&mut self, keys: &[Key], width: usize, vectors: Vec<f32>) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        if self.width != 0 && self.width != width {
            let reason = format!("vectors of {width} numbers, wanted {}, as those before", self.width);
            return Err(Error::State { path: folder.clone(), reason });
        }
        let free = |n: &usize| !folder.join(format!("{n:06}.safetensors")).exists();
        let path = folder.join(format!("{:06}.safetensors", (0..).find(free).expect("some number is free")));
        let plan = |name: &str, dtype, shape: &[usize]| TensorPlan { name: name.to_owned(), dtype, shape: shape.to_vec() };
        let plans = [plan("keys", DType::I64, &[keys.len(), 2]), plan("vectors", DType::F32, &[keys.len(), width])];
        let fetch = |name: &str| -> Result<Tensor, CheckpointError> {
            Ok(match name {
                "keys" => {
                    let all = 0..16 * keys.len();
                    Tensor::new(DType::I64, vec![keys.len(), 2], Arc::new(keys.concat()), all).expect("16 bytes a key")
                }
                _ => Tensor::from_f32(&[keys.len(), width], vectors.clone()),
            })
        };
        save_safetensors(&path, &plans, &BTreeMap::new(), fetch).map_err(ModelError::from)?;
        self.take(&path).ok_or_else(|| Error::State { path, reason: "it cannot be read back".to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_there_the_next_time_and_damage_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two, three] = ["one", "two", "three"].map(|text| key(text.as_bytes()));
        let mut vectors = Vectors::open(folder.path()).unwrap();
        vectors.add(&[one, two], 2, vec![1.0, 2.0, 3.0, 4.0]).unwrap();
        vectors.add(&[three], 2, vec![5.0, 6.0]).unwrap();
        assert!(vectors.add(&[three], 3, vec![0.0; 3]).is_err());
        let again = Vectors::open(folder.path()).unwrap();
        let mut row = vec![];
        assert!(again.copy(&two, &mut row) && again.copy(&three, &mut row) && again.width() == 2);
        assert_eq!(row, [3.0, 4.0, 5.0, 6.0]);
        fs::write(folder.path().join("000000.safetensors"), b"nothing").unwrap();
        let less = Vectors::open(folder.path()).unwrap();
        assert!(!less.has(&one) && less.has(&three));
    }
}
