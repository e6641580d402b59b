//! What could make results silently wrong: files that change meanwhile, vectors of another executor, weights that are damaged.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hua::graph::{DType, Tensor};
use hua::image::Picture;
use hua::model::checkpoint::{Checkpoint, CheckpointError, TensorPlan, save_safetensors};
use hua::{Collection, DeviceKind, Embedder, Error, NoProgress, OpenOptions, Progress};

fn picture(color: [u8; 3], side: u32) -> Picture {
    Picture::from_rgb8(side, side, color.repeat((side * side) as usize)).unwrap()
}

/// Two pictures in a folder.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.png"), picture([200, 30, 30], 40).encode_png()).unwrap();
    std::fs::write(folder.path().join("b.png"), picture([30, 30, 200], 40).encode_png()).unwrap();
    folder
}

/// Replaces a picture once embedding has begun.
struct Meddler(PathBuf);

impl Progress for Meddler {
    fn start(&self, _: &str, _: u64) {
        std::fs::write(&self.0, picture([30, 200, 30], 90).encode_png()).unwrap();
    }
    fn advance(&self, _: u64) {}
    fn finish(&self) {}
}

#[test]
fn a_picture_that_changes_meanwhile_is_not_lost_and_is_embedded_again_the_next_time() {
    let (folder, cache) = (folder(), tempfile::tempdir().unwrap());
    let sources = [folder.path().to_owned()];
    let embedder = Embedder::embedded(&OpenOptions::default()).unwrap();
    let first = Collection::open(&embedder, &sources, Some(cache.path()), &Meddler(folder.path().join("b.png"))).unwrap();
    assert_eq!((first.len(), first.failures().len()), (2, 0));
    let next = Collection::open(&embedder, &sources, Some(cache.path()), &NoProgress).unwrap();
    assert_eq!((next.len(), next.cached()), (2, 1));
}

#[test]
fn vectors_of_one_executor_do_not_answer_for_another() {
    let (folder, cache) = (folder(), tempfile::tempdir().unwrap());
    let sources = [folder.path().to_owned()];
    for device in [DeviceKind::Cpu, DeviceKind::Reference] {
        let embedder = Embedder::embedded(&OpenOptions { device, ..OpenOptions::default() }).unwrap();
        for cached in [0, 2] {
            let found = Collection::open(&embedder, &sources, Some(cache.path()), &NoProgress).unwrap();
            assert_eq!(found.cached(), cached, "{device:?}");
        }
    }
}

/// The golden AltCLIP with one tensor that holds no numbers.
fn damaged(tensor: &str) -> tempfile::TempDir {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/models/altclip-hf");
    let folder = tempfile::tempdir().unwrap();
    for file in ["config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(golden.join(file), folder.path().join(file)).unwrap();
    }
    let weights = Checkpoint::open(&golden.join("model.safetensors")).unwrap();
    let shape = |name: &str| weights.shape(name).unwrap().to_vec();
    let plan: Vec<TensorPlan> =
        weights.names().map(|name| TensorPlan { name: name.to_owned(), dtype: DType::F32, shape: shape(name) }).collect();
    let fetch = |name: &str| -> Result<Tensor, CheckpointError> {
        let found = weights.tensor(name)?;
        Ok(if name == tensor { Tensor::from_f32(found.shape(), vec![f32::NAN; found.len()]) } else { found })
    };
    save_safetensors(&folder.path().join("model.safetensors"), &plan, &BTreeMap::new(), fetch).unwrap();
    folder
}

#[test]
fn a_model_that_computes_no_numbers_is_an_error_and_never_an_answer() {
    let model = damaged("text_projection.weight");
    let embedder = Embedder::open(&model.path().to_string_lossy()).unwrap();
    let error = embedder.embed_texts(&["a cat"]).unwrap_err();
    assert!(matches!(error, Error::NotFinite { .. }) && error.to_string().contains("`a cat`"), "{error}");

    let model = damaged("visual_projection.weight");
    let embedder = Embedder::open(&model.path().to_string_lossy()).unwrap();
    let folder = folder();
    let Err(Error::NoPictures { failures, .. }) = Collection::open(&embedder, &[folder.path().to_owned()], None, &NoProgress) else {
        panic!("pictures without numbers were taken")
    };
    assert_eq!(failures.len(), 2);
    assert!(failures[0].reason.contains("its weights are damaged"), "{}", failures[0].reason);
}
