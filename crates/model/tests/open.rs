//! Every family and layout opens, with the sizes, the parameters and the logit scale of the reference.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]
use std::path::{Path, PathBuf};

use hua_graph::DType;
use hua_model::checkpoint::{Checkpoint, CheckpointError, TensorPlan, save_torch};
use hua_model::{
    Activation, ImageTower, Model, ModelError, ModelSpec, OpenOptions, Preprocessing, SaveOptions, Source, TextTower, TokenizerKind,
    TokenizerSpec, family, presets, read_config,
};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn golden(name: &str) -> PathBuf {
    repository().join("tests/golden/models").join(name)
}

/// The golden's weights: its `.pt` file, or else its folder.
fn weights(name: &str) -> PathBuf {
    let mut files = std::fs::read_dir(golden(name)).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.extension().is_some_and(|e| e == "pt")).unwrap_or(golden(name))
}

fn open(path: impl AsRef<Path>) -> Model {
    let path = path.as_ref();
    Model::open(path, &OpenOptions::default()).unwrap_or_else(|error| panic!("{}: {error}: {error:?}", path.display()))
}

/// Family, layout, context length, embedding width, image size.
type Expected = (&'static str, &'static str, &'static str, usize, usize, usize);

const GOLDENS: &[Expected] = &[
    ("altclip-2022", "altclip", "hugging-face", 18, 28, 24),
    ("altclip-hf", "altclip", "hugging-face", 18, 20, 32),
    ("altclip-m18", "altclip", "hugging-face", 18, 36, 24),
    ("chinese-clip-hf", "chinese-clip", "hugging-face", 24, 28, 32),
    ("chinese-clip-hf-bin", "chinese-clip", "hugging-face", 22, 20, 24),
    ("chinese-clip-modelscope", "chinese-clip", "cn-clip", 24, 28, 32),
    ("chinese-clip-pt", "chinese-clip", "cn-clip", 24, 24, 24),
    ("chinese-clip-pt-bare", "chinese-clip", "cn-clip", 24, 20, 24),
    ("chinese-clip-rn50", "chinese-clip", "cn-clip", 24, 32, 32),
    ("clip-hf", "clip", "hugging-face", 16, 24, 32),
    ("clip-hf-eos", "clip", "hugging-face", 14, 36, 24),
    ("clip-openai-rn", "clip", "openai", 11, 28, 64),
    ("clip-openai-vit", "clip", "openai", 12, 32, 24),
    ("clip-openai-vit-state", "clip", "openai", 10, 24, 24),
    ("taiyi", "taiyi", "bert-for-sequence-classification", 24, 24, 24),
    ("taiyi-fengshen", "taiyi", "fengshen", 24, 28, 24),
    ("taiyi-large-h", "taiyi", "bert", 24, 48, 24),
];

#[test]
fn every_golden_opens_as_what_it_is() {
    let mut names: Vec<_> = std::fs::read_dir(golden("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, GOLDENS.iter().map(|expected| expected.0).collect::<Vec<_>>());
    for &(name, family, layout, context, width, side) in GOLDENS {
        let model = open(weights(name));
        let spec = &model.spec;
        let found = (spec.family.as_str(), spec.layout.as_str(), spec.context_length, spec.embedding_width, spec.image.image_size());
        assert_eq!(found, (family, layout, context, width, side), "{name}");

        // What conditions diffusion models is not on the reference's card.
        let conditioning = model.text.graph.params().iter().filter(|p| p.name.contains("conditioning"));
        let conditioning: usize = conditioning.map(|p| p.shape.iter().product::<usize>()).sum();
        let card: serde_json::Value = serde_json::from_slice(&std::fs::read(golden(name).join("golden.json")).unwrap()).unwrap();
        assert_eq!(Some(model.parameter_count() - conditioning as u64), card["parameters"].as_u64(), "{name}");
        let reference = Checkpoint::open(&golden(name).join("golden.safetensors")).unwrap();
        assert_eq!(model.logit_scale(), reference.tensor("logit_scale").unwrap().to_f32().unwrap()[0], "{name}");
    }
}

#[test]
fn the_built_in_model_opens_as_its_card_says() {
    let model = open(repository().join("models/hua-emoji-9l"));
    assert_eq!(model.parameter_count(), 9_434_625);
    assert!((model.scale() - 35.46).abs() < 0.02, "{}", model.scale());
    assert_eq!((model.spec.family.as_str(), model.spec.context_length, model.spec.embedding_width), ("altclip", 64, 256));
    assert_eq!(model.spec.tokenizer.kind, TokenizerKind::Unigram);
    assert!(matches!(&model.spec.preprocessing, Preprocessing::File(json) if json["size"]["shortest_edge"] == 64));
    assert!(model.text.weights.tensors().iter().all(|tensor| tensor.dtype() == DType::F16));
}

#[test]
fn a_model_that_is_part_of_the_program_is_the_model_in_the_folder() {
    let files = [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    let folder = repository().join("models/hua-emoji-9l");
    let files: Vec<(&str, &[u8])> = files.map(|name| (name, &*std::fs::read(folder.join(name)).unwrap().leak())).into();
    let source = Source::from_memory("built-in", files.leak()).unwrap();
    let model = Model::from_source(&source, &OpenOptions::default()).unwrap();
    let mut wanted = open(&folder).spec;
    wanted.tokenizer.folder = None;
    assert_eq!(model.spec, wanted);
}

#[test]
fn weights_are_views_of_the_file() {
    let source = Source::open(&golden("altclip-hf")).unwrap();
    let model = Model::from_source(&source, &OpenOptions::default()).unwrap();
    let mapped: std::collections::BTreeSet<_> =
        source.checkpoint().names().map(|n| source.checkpoint().tensor(n).unwrap().bytes().as_ptr() as usize).collect();
    for tensor in model.image.weights.tensors().iter().chain(model.text.weights.tensors()) {
        assert!(mapped.contains(&(tensor.bytes().as_ptr() as usize)), "{tensor:?}");
    }
}

#[test]
fn the_flash_attention_layout_of_cn_clip_is_read() {
    let model = open(weights("chinese-clip-pt"));
    let folder = tempfile::tempdir().unwrap();
    model.save(folder.path(), &SaveOptions { layout: Some("cn-clip-flash".into()), dtype: None }).unwrap();
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let old_name = |name: &str| name.replace(".attn.Wqkv.", ".attn.in_proj_");
    let plan = |name: &str| {
        let tensor = checkpoint.tensor(name).unwrap();
        TensorPlan { name: name.replace(".attn.in_proj_", ".attn.Wqkv."), dtype: tensor.dtype(), shape: tensor.shape().to_vec() }
    };
    let plan: Vec<_> = checkpoint.names().map(plan).collect();
    assert!(plan.iter().any(|tensor| tensor.name.contains("visual") && tensor.name.contains("Wqkv")));
    let path = folder.path().join("flash.pt");
    save_torch(&path, &plan, "", &[], |name| checkpoint.tensor(&old_name(name))).unwrap();
    let flash = open(path);
    assert_eq!(flash.spec.layout, "cn-clip-flash");
    assert_eq!(flash.spec.fingerprint, model.spec.fingerprint);
}

#[test]
fn open_clips_settings_say_which_gelu() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(weights("clip-openai-vit-state"), folder.path().join("open_clip_pytorch_model.bin")).unwrap();
    for (settings, wanted) in [
        ("{}", Activation::QuickGelu),
        (r#"{"model_cfg": {"quick_gelu": true}}"#, Activation::QuickGelu),
        (r#"{"model_cfg": {}}"#, Activation::Gelu),
    ] {
        std::fs::write(folder.path().join("open_clip_config.json"), settings).unwrap();
        let spec = open(folder.path()).spec;
        let ImageTower::Vit(image) = spec.image else { panic!("a vision transformer") };
        let TextTower::Clip(text) = spec.text else { panic!("a CLIP text tower") };
        assert_eq!((image.activation, text.activation), (wanted, wanted), "{settings}");
    }
}

#[test]
fn a_presets_configuration_is_read_back_as_the_preset() {
    let mut read = 0;
    for preset in presets().iter().filter(|preset| preset.family != "taiyi") {
        let tokenizer = TokenizerSpec { kind: TokenizerKind::ClipBpe, folder: None };
        let spec = ModelSpec {
            family: preset.family.clone(),
            layout: "hugging-face".into(),
            image: preset.image.clone(),
            text: preset.text.clone(),
            embedding_width: preset.image.embedding_width(),
            context_length: preset.context_length,
            preprocessing: Preprocessing::Clip { size: 224 },
            tokenizer,
            fingerprint: String::new(),
        };
        let Some(config) = family(&preset.family).unwrap().config(&spec) else { continue };
        let towers = read_config(config.to_string().as_bytes()).unwrap();
        assert_eq!(towers.image.as_ref(), Some(&preset.image), "{}", preset.name);
        // Which m18's conditioning is, only the tensors say.
        assert_eq!(towers.text == preset.text, preset.name != "altclip-m18", "{}", preset.name);
        let spec_json = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<ModelSpec>(&spec_json).unwrap(), spec);
        read += 1;
    }
    assert_eq!(read, 11);
}

#[test]
fn settings_too_long_to_be_any_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(golden("clip-hf").join("model.safetensors"), folder.path().join("model.safetensors")).unwrap();
    let path = folder.path().join("config.json");
    std::fs::write(&path, " ".repeat((2 << 20) + 1)).unwrap();
    let error = Model::open(folder.path(), &OpenOptions::default()).unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(format!("{error}: {source}"), format!("cannot access `{}`: longer than 2097152 bytes", path.display()));
}

/// Pairs in pairs could be as deep as a path is long.
#[test]
fn the_pictures_of_a_pair_are_not_another_pairs() {
    let folder = tempfile::tempdir().unwrap();
    let [text, clip] = ["text", "clip"].map(|name| folder.path().join(name));
    for (from, to) in [("taiyi/text", &text), ("taiyi/text", &clip.join("text")), ("taiyi/clip", &clip.join("clip"))] {
        std::fs::create_dir_all(to).unwrap();
        for file in std::fs::read_dir(golden(from)).unwrap().map(|file| file.unwrap()) {
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
    let error = Model::open(folder.path(), &OpenOptions::default()).unwrap_err();
    assert!(matches!(error, ModelError::Checkpoint(CheckpointError::NoWeights { ref path, .. }) if *path == clip), "{error}");
}
