//! What a model is said to be.

use insta::assert_snapshot;
use serde_json::Value;

use crate::Place;

#[test]
fn the_built_in_model_is_described() {
    assert_snapshot!(Place::new().hua(&["inspect"]).ok(), @"
    model         hua-emoji-9l
    family        altclip
    files         hugging-face
    image tower   ViT, 64×64 pixels, patches of 8, 6 layers, width 192, 3 heads
    text tower    BERT, 3 layers, width 256, 4 heads
    embedding     256 numbers
    longest text  64 tokens
    parameters    9,434,625 (image 2,768,640, text 6,665,984, scale 1)
    one picture   369 MFLOP
    one text      78.5 MFLOP of 16 tokens, 323 MFLOP of 64
    weights       18.9 MB
    pictures      shorter side to 64 (bicubic), then the middle 64×64, mean 0.481 0.458 0.408, deviation 0.269 0.261 0.276
    tokenizer     SentencePiece unigram, 16,200 ids
    text outputs  last_hidden_state, projection_state, embedding
    scale         35.46
    fingerprint   a83284164f7e8c8811ddfaa307178de702ea7b92680729b35552088102e90f56
    ");
}

#[test]
fn a_published_model_is_described_without_its_files_by_any_of_its_names() {
    for name in ["chinese-clip-vit-b-16", "chinese-clip-base", "OFA-Sys/chinese-clip-vit-base-patch16"] {
        let run = Place::new().hua(&["inspect", name, "--json"]);
        assert!(run.stderr.contains("not here"), "{}", run.stderr);
        let report: Value = serde_json::from_str(&run.ok()).unwrap();
        assert_eq!(report["parameters"]["total"], 188_262_913);
        assert_eq!(report["family"], "chinese-clip");
        assert_eq!(report["weight_bytes"], 4 * 188_262_913_u64);
    }
}

#[test]
fn the_graphs_are_shown_when_asked_for() {
    let text = Place::new().hua(&["inspect", "--graph"]).ok();
    assert!(text.contains("\nimage tower\n") && text.contains("\ntext tower\n") && text.contains("output embedding = "), "{text}");
}

#[test]
fn presets_are_listed_with_their_counts() {
    let table = Place::new().hua(&["inspect", "--presets"]).ok();
    assert!(table.lines().any(|line| line.starts_with("altclip ") && line.contains("864,186,113")), "{table}");
}

#[test]
fn a_converted_model_is_the_same_model() {
    let place = Place::new();
    let files = place.hua(&["convert", "-o", "copy"]).ok();
    assert!(files.lines().any(|file| file.ends_with("model.safetensors")), "{files}");
    let fingerprint = |arguments: &[&str]| -> Value {
        serde_json::from_str::<Value>(&place.hua(&[arguments, &["--json"]].concat()).ok()).unwrap()["fingerprint"].clone()
    };
    assert_eq!(fingerprint(&["inspect", "copy"]), fingerprint(&["inspect"]));
    let again = place.hua(&["convert", "-o", "copy"]);
    assert!(again.code != 0 && again.stderr.contains("copy"), "{}", again.stderr);
    assert_ne!(place.hua(&["convert", "-o", "other", "--to", "openai"]).code, 0);
}
