//! Every family and layout opens, with the sizes, the parameters and the logit scale of the reference.
use std::path::{Path, PathBuf};

use hua_graph::DType;
use hua_model::{ImageTower, Model, ModelError, OpenOptions, Preprocessing, TokenizerKind};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn golden(name: &str) -> PathBuf {
    repository().join("tests/golden/models").join(name)
}

/// The golden's weights: its `.pt` file, or else its folder.
fn weights(name: &str) -> PathBuf {
    let files = std::fs::read_dir(golden(name)).unwrap().map(|entry| entry.unwrap().path());
    files.into_iter().find(|path| path.extension().is_some_and(|e| e == "pt")).unwrap_or(golden(name))
}

fn open(name: &str) -> Model {
    Model::open(weights(name), &OpenOptions::default()).unwrap_or_else(|error| panic!("{name}: {error}: {error:?}"))
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Every golden with what it must be read as: family, layout, context length, embedding width, image size.
const GOLDENS: &[(&str, &str, &str, usize, usize, usize)] = &[
    ("altclip-2022", "altclip", "hugging-face", 18, 28, 24),
    ("altclip-hf", "altclip", "hugging-face", 18, 20, 32),
    ("altclip-m18", "altclip", "hugging-face", 18, 36, 24),
    ("chinese-clip-hf", "chinese-clip", "hugging-face", 24, 24, 32),
];

#[test]
fn every_golden_opens_with_its_number_of_parameters_and_logit_scale() {
    let mut names: Vec<_> = std::fs::read_dir(golden("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(names.len() >= 17, "{names:?}");
    for name in names {
        let model = open(&name);
        let card = json(&golden(&name).join("golden.json"));
        assert_eq!(model.spec.family, card["family"], "{name}");
        let conditioning: usize =
            model.text.graph.params().iter().filter(|p| p.name.contains("conditioning")).map(|p| p.shape.iter().product::<usize>()).sum();
        assert_eq!(Some(model.parameter_count() - conditioning as u64), card["parameters"].as_u64(), "{name}");
        let reference = hua_model::checkpoint::Checkpoint::open(&golden(&name).join("golden.safetensors")).unwrap();
        let logit_scale = reference.tensor("logit_scale").unwrap().to_f32().unwrap()[0];
        assert_eq!(model.logit_scale(), logit_scale, "{name}");
        println!(
            "{name}: {} {} {} {} {}",
            model.spec.layout,
            model.spec.context_length,
            model.spec.embedding_width,
            model.spec.image.image_size(),
            model.spec.fingerprint
        );
    }
}

#[test]
fn the_built_in_model_opens_as_its_card_says() {
    let model = Model::open(repository().join("models/emoji-9l-bootstrap"), &OpenOptions::default()).unwrap();
    assert_eq!(model.parameter_count(), 9_148_161);
    assert!((model.scale() - 25.59).abs() < 0.02, "{}", model.scale());
    assert_eq!((model.spec.family.as_str(), model.spec.context_length, model.spec.embedding_width), ("altclip", 64, 256));
    assert_eq!(model.spec.tokenizer.kind, TokenizerKind::Unigram);
    assert!(matches!(&model.spec.preprocessing, Preprocessing::File(json) if json["size"]["shortest_edge"] == 64));
    assert!(model.text.weights.tensors().iter().all(|tensor| tensor.dtype() == DType::F16));
}
