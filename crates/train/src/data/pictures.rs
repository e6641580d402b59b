//! The pictures of a set as a model sees them, read when they are asked for.
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hua_data::Failure;
use hua_image::augment::{Augment, Random};
use hua_image::{DecodeOptions, Picture, Preprocess};

use super::options::{Cache, Loading};
use super::pairs::PairSet;
use super::read::LONGEST_PICTURE;

/// Reads and decodes pictures, and keeps some of them. Any number of threads may ask at once.
#[derive(Debug)]
pub struct Pictures {
    set: Arc<PairSet>,
    preprocess: Preprocess,
    decode: DecodeOptions,
    kept: Mutex<Kept>,
    /// Bytes that may be kept.
    most: u64,
}

#[derive(Debug, Default)]
struct Kept {
    pictures: HashMap<u32, Arc<Picture>>,
    bytes: u64,
    /// What cannot be read is not tried again.
    bad: HashMap<u32, String>,
}

impl Pictures {
    /// The pictures of `set` for a model that wants them as `preprocess` says.
    pub fn new(set: Arc<PairSet>, preprocess: Preprocess, decode: DecodeOptions, loading: &Loading) -> Self {
        let most = if loading.cache == Cache::Decoded { loading.cache_bytes } else { 0 };
        Self { set, preprocess, decode, kept: Mutex::default(), most }
    }

    /// The set they are of.
    pub fn set(&self) -> &Arc<PairSet> {
        &self.set
    }

    /// How the model wants them.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// A decoded picture.
    ///
    /// # Errors
    /// Why it cannot be used, with its name.
    pub fn picture(&self, picture: u32) -> Result<Arc<Picture>, Failure> {
        let failure = |reason| Failure { name: self.set.name(picture).to_owned(), reason };
        {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(decoded) = kept.pictures.get(&picture) {
                return Ok(Arc::clone(decoded));
            }
            if let Some(reason) = kept.bad.get(&picture) {
                return Err(failure(reason.clone()));
            }
        }
        let read = self.set.source(picture).read(LONGEST_PICTURE).map_err(|e| e.to_string());
        let decoded = read.and_then(|bytes| Picture::decode(&bytes, &self.decode).map_err(|e| e.to_string()));
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match decoded {
            Ok(decoded) => {
                let decoded = Arc::new(decoded);
                let bytes = decoded.data().len() as u64;
                if kept.bytes + bytes <= self.most && kept.pictures.insert(picture, Arc::clone(&decoded)).is_none() {
                    kept.bytes += bytes;
                }
                Ok(decoded)
            }
            Err(reason) => {
                kept.bad.insert(picture, reason.clone());
                Err(failure(reason))
            }
        }
    }

    /// A picture as the model sees it, `[3, height, width]`, changed as `augment` says by the generator of `seed`.
    ///
    /// # Errors
    /// Why it cannot be used, with its name.
    pub fn pixels(&self, picture: u32, augment: &Augment, seed: u64) -> Result<Vec<f32>, Failure> {
        let decoded = self.picture(picture)?;
        Ok(augment.pixels(&decoded, &self.preprocess, &mut Random::new(seed)).data)
    }
}
