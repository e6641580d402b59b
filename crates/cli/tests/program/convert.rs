//! Every family from each layout into each that fits: what is written is the same model to whoever opens it again.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::Place;

/// A golden and the layouts that can hold it; the first is taken without `--to`.
const MODELS: &[(&str, &[&str])] = &[
    ("altclip-2022", &["hf"]),
    ("altclip-hf", &["hf"]),
    ("altclip-m18", &["hf"]),
    ("chinese-clip-hf", &["hf"]),
    ("chinese-clip-hf-bin", &["hf"]),
    ("chinese-clip-modelscope", &["hf"]),
    ("chinese-clip-pt", &["hf", "cn-clip", "cn-clip-flash"]),
    ("chinese-clip-pt-bare", &["hf", "cn-clip", "cn-clip-flash"]),
    ("clip-hf", &["hf"]),
    ("clip-hf-eos", &["hf"]),
    ("clip-openai-vit", &["hf", "openai"]),
    ("clip-openai-vit-state", &["hf", "openai"]),
    ("taiyi", &["fengshen"]),
    ("taiyi-fengshen", &["fengshen"]),
    ("taiyi-large-h", &["fengshen"]),
];

/// Models with a ResNet, which only the files of their own programs can hold.
const RESNETS: &[(&str, &[&str])] = &[("chinese-clip-rn50", &["cn-clip", "cn-clip-flash"]), ("clip-openai-rn", &["openai"])];

/// The golden's model without the golden's numbers, and with a tokenizer: those of tiny CLIPs are too small for theirs.
fn copy(place: &Place, golden: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/models").join(golden);
    let files = |folder: &Path| -> Vec<PathBuf> { std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect() };
    for path in files(&folder).into_iter().flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }) {
        let name = path.strip_prefix(&folder).unwrap().to_str().unwrap();
        if !name.starts_with("golden.") {
            place.write(&format!("{golden}/{name}"), &std::fs::read(&path).unwrap());
        }
    }
    if golden.starts_with("clip") {
        let vocab = r#"{"r": 0, "e": 1, "d</w>": 2, "re": 3, "red</w>": 4, "<|startoftext|>": 5, "<|endoftext|>": 6}"#;
        place.write(&format!("{golden}/vocab.json"), vocab.as_bytes());
        place.write(&format!("{golden}/merges.txt"), b"#version: 0.2\nr e\nre d</w>\n");
    }
}

/// Arguments that name the model of a copied golden.
fn source(golden: &str) -> Vec<String> {
    match golden {
        "taiyi" | "taiyi-large-h" => vec![format!("--model={golden}/text"), format!("--image-from={golden}/clip")],
        _ => vec![format!("--model={golden}")],
    }
}

/// The vectors of two texts and two pictures, a JSON object a line.
fn embed(place: &Place, model: &[String]) -> String {
    let arguments = ["embed", "a.png", "b.png", "--text", "red", "--text", "red red", "-o", "v.jsonl"].map(String::from);
    place.hua(&[&arguments[..], model].concat()).ok();
    place.read("v.jsonl")
}

fn vectors(lines: &str) -> Vec<Vec<f64>> {
    let row =
        |line| serde_json::from_str::<Value>(line).unwrap()["embedding"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    lines.lines().map(row).collect()
}

#[test]
fn a_converted_model_gives_the_vectors_of_its_source() {
    let place = Place::new();
    place.picture("a.png", [200, 30, 0]);
    place.picture("b.png", [0, 30, 200]);
    for (golden, layouts) in MODELS.iter().chain(RESNETS) {
        copy(&place, golden);
        let source = source(golden);
        let original = embed(&place, &source);
        assert_eq!(original.lines().count(), 4);
        let resnet = RESNETS.iter().any(|(name, _)| name == golden);
        let convert = |out: &str, options: &[&str]| {
            let arguments = [&["convert", "-o", out], options].concat().into_iter().map(String::from).collect::<Vec<_>>();
            place.hua(&[arguments, source.clone()].concat())
        };
        for layout in *layouts {
            let out = format!("{golden}-as-{layout}");
            let options = if *layout == layouts[0] && !resnet { vec![] } else { vec!["--to", layout] };
            convert(&out, &options).ok();
            assert!(embed(&place, &[format!("--model={out}")]) == original, "{out}");
        }
        for (dtype, nearest) in [("f16", 0.999), ("bf16", 0.99)] {
            let out = format!("{golden}-as-{dtype}");
            convert(&out, &["--to", layouts[0], "--dtype", dtype]).ok();
            for (a, b) in vectors(&original).iter().zip(vectors(&embed(&place, &[format!("--model={out}")]))) {
                let cosine: f64 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
                assert!(cosine > nearest, "{out}: {cosine}");
            }
        }
        if resnet {
            let run = convert("none", &[]);
            assert!(run.stderr.contains("transformers has no such model"), "{}", run.stderr);
            assert!(run.code == 2 && !place.path("none").exists(), "{}", run.stderr);
        }
    }
}
