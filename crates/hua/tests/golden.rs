//! Every family and layout computes what its reference computes, layer by layer, on every executor; and from texts and picture files
//! to embeddings, all of it, two families do what transformers' processors and models do.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "tests, which tell how near they came")]
mod reading;

use std::path::{Path, PathBuf};

use hua::{DeviceKind, Embedder};
use hua_exec::{Cpu, Device, Reference};
use hua_model::{Model, OpenOptions};
use reading::{Golden, relative};
use serde_json::Value;

/// How far a value may be from the reference's: norm of the difference by norm of the reference. Both sides are f32 arithmetic, and what
/// was measured is 3 to 10 times less: 1e-6 in transformers, 2.2e-6 after a ResNet's last projection.
const TOLERANCES: &[(&str, f64)] = &[("_embeds", 1e-5), ("image.final", 5e-6), ("image.stem", 5e-6), ("image.layer", 5e-6), ("", 3e-6)];

fn tolerance(tap: &str) -> f64 {
    TOLERANCES.iter().find(|(part, _)| tap.contains(part)).expect("the last part is in every name").1
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(path)
}

fn goldens() -> Vec<PathBuf> {
    let mut folders: Vec<_> = std::fs::read_dir(root("models")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert!(folders.len() >= 17, "{folders:?}");
    folders
}

/// The golden's weights: its `.pt` file, or else its folder.
fn weights(folder: &Path) -> PathBuf {
    let mut files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.extension().is_some_and(|e| e == "pt")).unwrap_or(folder.to_owned())
}

fn check(device: &dyn Device) {
    let mut wrong = vec![];
    for folder in goldens() {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let model = Model::open(weights(&folder), &OpenOptions::default()).unwrap();
        let distances = Golden::open(&folder).compare(&model, device);
        let worst = distances.iter().max_by(|a, b| a.relative.total_cmp(&b.relative)).unwrap();
        println!(
            "{name:<26} {:.1e} {:.1e}, worst {:.1e} at {}",
            distances[0].relative,
            of(&distances, "text_embeds"),
            worst.relative,
            worst.tap
        );
        wrong.extend(
            distances.into_iter().filter(|d| d.relative.is_nan() || d.relative > tolerance(&d.tap)).map(|d| format!("{name}: {d:?}")),
        );
    }
    assert!(wrong.is_empty(), "{device:?}:\n{}", wrong.join("\n"));
}

fn of(distances: &[reading::Distance], tap: &str) -> f64 {
    distances.iter().find(|d| d.tap == tap).unwrap().relative
}

#[test]
fn the_reference_executor_agrees_with_the_reference_code_at_every_tap() {
    check(&Reference);
}

#[test]
fn the_cpu_executor_agrees_with_the_reference_code_at_every_tap() {
    check(&Cpu { threads: 1, ..Cpu::default() });
}

/// `golden/pipeline`: ids and pixels to the last bit, then embeddings.
fn check_pipeline(name: &str) {
    let inputs: Value = serde_json::from_slice(&std::fs::read(root("pipeline/inputs.json")).unwrap()).unwrap();
    let strings = |value: &Value| -> Vec<String> { serde_json::from_value(value.clone()).unwrap() };
    let texts = strings(&inputs["texts"][name]);
    let pictures: Vec<_> = strings(&inputs["pictures"]).iter().map(|file| root("pipeline").join(file)).collect();
    let golden = Golden::open_file(&root("pipeline").join(format!("{name}.safetensors")));
    for (device, compat) in [(DeviceKind::Cpu, false), (DeviceKind::Cpu, true), (DeviceKind::Reference, false)] {
        let options = hua::OpenOptions { device, compat, threads: 1, ..hua::OpenOptions::default() };
        let embedder = Embedder::open_with(&root("models").join(name).to_string_lossy(), &options).unwrap();
        let ids: Vec<Vec<u32>> = texts.iter().map(|text| embedder.tokenizer().encode(text).unwrap().ids).collect();
        assert_eq!(ids, golden.ids(), "{name}");
        let pixels = pictures.iter().map(|path| embedder.preprocess().apply(&embedder.read_picture(path).unwrap()).data);
        assert_eq!(pixels.collect::<Vec<_>>().concat(), golden.values("pixel_values"), "{name}");

        let text = embedder.embed_texts(&texts).unwrap().rows().flatten().copied().collect::<Vec<_>>();
        let image: Vec<f32> = embedder.embed_files(&pictures).unwrap().into_iter().flat_map(Result::unwrap).collect();
        for (tap, found) in [("text_embeds", text), ("image_embeds", image)] {
            let relative = relative(&found, &golden.values(tap));
            println!("{name} {device:?}, compat {compat}: {relative:.1e} at {tap}");
            assert!(relative <= tolerance(tap), "{name} {device:?}, compat {compat}: {relative} at {tap}");
        }
    }
}

#[test]
fn texts_and_picture_files_get_the_embeddings_of_transformers() {
    check_pipeline("altclip-hf");
    check_pipeline("chinese-clip-hf");
}
