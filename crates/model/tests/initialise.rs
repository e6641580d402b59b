//! Models with random weights, and models with other weights.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]
use std::path::{Path, PathBuf};

use hua_graph::Tensor;
use hua_model::{Model, ModelError, OpenOptions, SaveOptions};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/models").join(name)
}

fn numbers(model: &Model) -> Vec<f32> {
    let tensors = model.image.weights.tensors().iter().chain(model.text.weights.tensors());
    tensors.flat_map(|tensor| tensor.to_f32().unwrap().into_owned()).collect()
}

#[test]
fn a_seed_gives_a_model_of_the_folders_sizes_and_the_same_each_time() {
    for name in ["altclip-hf", "chinese-clip-hf", "clip-hf"] {
        let trained = Model::open(golden(name), &OpenOptions::default()).unwrap();
        let [one, same, other] = [1, 1, 2].map(|seed| Model::initialise(golden(name), seed, &OpenOptions::default()).unwrap());
        assert_eq!((&one.spec.image, &one.spec.text, &one.spec.family), (&trained.spec.image, &trained.spec.text, &trained.spec.family));
        assert_eq!((one.spec.context_length, &one.spec.preprocessing), (trained.spec.context_length, &trained.spec.preprocessing));
        assert_eq!(numbers(&one), numbers(&same));
        assert_eq!(one.spec.fingerprint, same.spec.fingerprint);
        assert_ne!(one.spec.fingerprint, other.spec.fingerprint);
        assert!((one.scale() - 1.0 / 0.07).abs() < 1e-4);
    }
}

#[test]
fn a_random_model_is_written_and_read_again_in_the_familys_names() {
    let folder = tempfile::tempdir().unwrap();
    let model = Model::initialise(golden("altclip-hf"), 3, &OpenOptions::default()).unwrap();
    model.save(folder.path(), &SaveOptions::default()).unwrap();
    let read = Model::open(folder.path(), &OpenOptions::default()).unwrap();
    assert_eq!(numbers(&read), numbers(&model));
    assert_eq!(read.spec.fingerprint, model.spec.fingerprint);
}

#[test]
fn other_numbers_make_another_model_with_the_same_companions() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["altclip-hf", "chinese-clip-rn50/clip_cn_rn-tiny.pt", "clip-openai-vit-state/ViT-tiny-state.pt"] {
        let model = Model::open(golden(name), &OpenOptions::default()).unwrap();
        let halved = |tensors: &[Tensor]| -> Vec<Tensor> {
            tensors.iter().map(|t| Tensor::from_f32(t.shape(), t.to_f32().unwrap().iter().map(|x| x / 2.0).collect())).collect()
        };
        let (image, text) = (halved(model.image.weights.tensors()), halved(model.text.weights.tensors()));
        let other = model.with_weights(image.clone(), text.clone(), 2.0).unwrap();
        assert_ne!(other.spec.fingerprint, model.spec.fingerprint);
        other
            .save(folder.path().join(name.replace('/', "-")), &SaveOptions { layout: Some(model.spec.layout.clone()), dtype: None })
            .unwrap();
        let read = Model::open(folder.path().join(name.replace('/', "-")), &OpenOptions::default()).unwrap();
        assert_eq!(numbers(&read), numbers(&other));
        assert_eq!(read.logit_scale(), 2.0);
        assert!(matches!(model.with_weights(image.clone(), text[1..].to_vec(), 2.0), Err(ModelError::Weights { .. })));
        assert!(matches!(model.with_weights(image, text, f32::NAN), Err(ModelError::LogitScale { .. })));
    }
}

#[test]
fn a_folder_without_a_configuration_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = Model::initialise(folder.path(), 0, &OpenOptions::default()).unwrap_err();
    assert!(matches!(&error, ModelError::NoConfig { path, .. } if path == folder.path()), "{error}");
}
