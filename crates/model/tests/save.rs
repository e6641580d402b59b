//! What was written is read back as it was, in every layout a family has.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]
use std::path::{Path, PathBuf};

use hua_graph::DType;
use hua_model::{Family, Model, ModelError, OpenOptions, SaveOptions, Tower, family};

fn goldens() -> Vec<(String, Model)> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/models");
    let mut folders: Vec<PathBuf> = std::fs::read_dir(models).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let open = |folder: PathBuf| {
        let mut files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let weights = files.find(|path| path.extension().is_some_and(|e| e == "pt")).unwrap_or(folder.clone());
        (folder.file_name().unwrap().to_string_lossy().into_owned(), Model::open(weights, &OpenOptions::default()).unwrap())
    };
    folders.into_iter().map(open).collect()
}

fn reopen(folder: &Path) -> Model {
    Model::open(folder, &OpenOptions::default()).unwrap_or_else(|error| panic!("{}: {error} {error:?}", folder.display()))
}

/// Name, type, shape and bytes of every parameter.
fn numbers(model: &Model) -> Vec<(String, DType, Vec<usize>, Vec<u8>)> {
    let of = |tower: &Tower| {
        let params = tower.graph.params().iter().zip(tower.weights.tensors());
        params.map(|(p, t)| (p.name.clone(), t.dtype(), t.shape().to_vec(), t.bytes().to_vec())).collect::<Vec<_>>()
    };
    [of(&model.image), of(&model.text)].concat()
}

fn save(model: &Model, folder: &Path, layout: &str, dtype: Option<DType>) -> Result<Vec<PathBuf>, ModelError> {
    model.save(folder, &SaveOptions { layout: Some(layout.to_owned()), dtype })
}

#[test]
fn a_model_is_the_same_after_it_went_through_every_layout_of_its_family() {
    let scratch = tempfile::tempdir().unwrap();
    let mut done = vec![];
    for (name, model) in goldens() {
        let family: &dyn Family = family(&model.spec.family).unwrap();
        for layout in family.layouts().iter().map(|layout| layout.name) {
            let folder = scratch.path().join(format!("{name}-{layout}"));
            match save(&model, &folder, layout, None) {
                Ok(_) => {}
                Err(ModelError::Layout { .. }) => continue,
                Err(error) => panic!("{name} as {layout}: {error}"),
            }
            let back = reopen(&folder);
            assert_eq!(back.spec.layout, layout, "{name}");
            assert_eq!((&back.spec.image, &back.spec.text), (&model.spec.image, &model.spec.text), "{name} as {layout}");
            assert_eq!(numbers(&back), numbers(&model), "{name} as {layout}");
            assert_eq!(back.logit_scale(), model.logit_scale(), "{name} as {layout}");
            // And back again, to the same bytes.
            let again = scratch.path().join(format!("{name}-{layout}-again"));
            let files = save(&back, &again, layout, None).unwrap();
            for file in files {
                let first = folder.join(file.file_name().unwrap());
                assert_eq!(std::fs::read(&file).unwrap(), std::fs::read(&first).unwrap(), "{name}: {}", file.display());
            }
            done.push(format!("{name} as {layout}"));
        }
    }
    assert!(done.len() >= 20, "{done:#?}");
}

#[test]
fn a_fingerprint_follows_the_numbers_and_not_the_layout() {
    let scratch = tempfile::tempdir().unwrap();
    let model = goldens().into_iter().find(|(name, _)| name == "chinese-clip-pt").unwrap().1;
    save(&model, &scratch.path().join("hf"), "hugging-face", None).unwrap();
    let model = reopen(&scratch.path().join("hf"));
    save(&model, &scratch.path().join("pt"), "cn-clip", None).unwrap();
    assert_eq!(reopen(&scratch.path().join("pt")).spec.fingerprint, model.spec.fingerprint);
    save(&model, &scratch.path().join("half"), "hugging-face", Some(DType::Bf16)).unwrap();
    assert_ne!(reopen(&scratch.path().join("half")).spec.fingerprint, model.spec.fingerprint);
}

#[test]
fn halves_are_rounded_to_nearest_and_all_numbers_get_the_type() {
    let scratch = tempfile::tempdir().unwrap();
    for (name, model) in goldens() {
        for dtype in [DType::Bf16, DType::F16, DType::F32] {
            let folder = scratch.path().join(format!("{name}-{dtype}"));
            match model.save(&folder, &SaveOptions { layout: None, dtype: Some(dtype) }) {
                Ok(_) => {}
                Err(ModelError::Layout { .. }) => continue,
                Err(error) => panic!("{name}: {error}"),
            }
            let back = reopen(&folder);
            let wanted: Vec<_> =
                [&model.image, &model.text].into_iter().flat_map(|t| t.weights.tensors()).map(|t| t.to_dtype(dtype).unwrap()).collect();
            let found: Vec<_> = [&back.image, &back.text].into_iter().flat_map(|t| t.weights.tensors()).collect();
            for (found, wanted) in found.iter().zip(&wanted) {
                assert_eq!((found.dtype(), found.bytes()), (dtype, wanted.bytes()), "{name}");
            }
        }
    }
}

#[test]
fn what_a_layout_has_no_place_for_is_said() {
    let scratch = tempfile::tempdir().unwrap();
    let resnet = goldens().into_iter().find(|(name, _)| name == "clip-openai-rn").unwrap().1;
    let error = save(&resnet, scratch.path(), "hugging-face", None).unwrap_err();
    assert_eq!(error.to_string(), "the layout `hugging-face` cannot hold this clip model; Hugging Face's transformers has no such model");
    let error = save(&resnet, scratch.path(), "onnx", None).unwrap_err();
    assert_eq!(error.to_string(), "the layout `onnx` cannot hold this clip model; it has only `hugging-face`, `openai`");
}

#[test]
fn a_layout_without_configuration_takes_no_model_that_it_would_make_another_of() {
    let scratch = tempfile::tempdir().unwrap();
    let narrow = goldens().into_iter().find(|(name, _)| name == "chinese-clip-hf").unwrap().1;
    let error = save(&narrow, scratch.path(), "cn-clip", None).unwrap_err();
    assert!(error.to_string().contains("it carries no configuration"), "{error}");
}

#[test]
fn no_model_is_replaced() {
    let scratch = tempfile::tempdir().unwrap();
    let model = goldens().swap_remove(0).1;
    model.save(scratch.path(), &SaveOptions::default()).unwrap();
    let exists = |model: &Model| matches!(model.save(scratch.path(), &SaveOptions::default()), Err(ModelError::Exists { .. }));
    assert!(exists(&model));
    // Nor a part of one.
    std::fs::remove_file(scratch.path().join("config.json")).unwrap();
    assert!(exists(&model));
    std::fs::remove_file(scratch.path().join("model.safetensors")).unwrap();
    std::fs::write(scratch.path().join("preprocessor_config.json"), "{}").unwrap();
    assert!(exists(&model));
    assert_eq!(std::fs::read(scratch.path().join("preprocessor_config.json")).unwrap(), b"{}");
}
