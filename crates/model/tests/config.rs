//! The reader of configurations takes anything and never panics; what it accepts has a graph or an error.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]
use hua_model::read_config;
use proptest::prelude::*;

/// Values that settings have, and some that they should not have.
fn value() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        (0u64..100).prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        prop::sample::select(vec!["gelu", "quick_gelu", "gelu_new", "relu", "absolute", ""]).prop_map(Into::into),
        prop::collection::vec((0u64..300).prop_map(serde_json::Value::from), 0..3).prop_map(Into::into),
    ]
}

const KEYS: [&str; 18] = [
    "vocab_size",
    "max_position_embeddings",
    "type_vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "layer_norm_eps",
    "pad_token_id",
    "eos_token_id",
    "project_dim",
    "image_size",
    "patch_size",
    "num_channels",
    "position_embedding_type",
    "is_decoder",
    "model_type",
];

fn settings() -> impl Strategy<Value = serde_json::Value> {
    prop::collection::btree_map(prop::sample::select(KEYS.to_vec()), value(), 0..8).prop_map(|map| serde_json::to_value(map).unwrap())
}

fn config() -> impl Strategy<Value = serde_json::Value> {
    let model_type = prop::sample::select(vec!["clip", "altclip", "chinese_clip", "bert"]);
    (model_type, value(), settings(), settings(), prop::option::of(settings())).prop_map(|(model_type, width, text, vision, older)| {
        serde_json::json!({
            "model_type": model_type, "projection_dim": width, "text_config": text, "vision_config": vision, "vision_config_dict": older,
        })
    })
}

fn read(json: &[u8]) {
    if let Ok(towers) = read_config(json) {
        if let Some(Ok(graph)) = towers.image.map(|tower| tower.graph()) {
            graph.flops("embedding", 0);
        }
        if let Ok(graph) = towers.text.graph() {
            graph.flops("embedding", towers.text.longest());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_are_an_error_or_towers(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        read(&bytes);
    }

    #[test]
    fn settings_of_any_kind_are_an_error_or_towers(config in config()) {
        read(config.to_string().as_bytes());
    }
}

#[test]
fn what_fuzzing_found_stays_found() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/config");
    let inputs: Vec<_> = std::fs::read_dir(corpus).unwrap().map(|input| std::fs::read(input.unwrap().path()).unwrap()).collect();
    assert!(!inputs.is_empty());
    inputs.iter().for_each(|bytes| read(bytes));
}

#[test]
fn the_greatest_sizes_there_may_be_are_counted_without_overflow() {
    let config = serde_json::json!({
        "model_type": "altclip", "projection_dim": 1 << 15,
        "text_config": {
            "vocab_size": 1 << 24, "max_position_embeddings": 1 << 16, "hidden_size": 1 << 15, "num_hidden_layers": 1000,
            "num_attention_heads": 1 << 15, "intermediate_size": 1 << 17, "project_dim": 1 << 15, "type_vocab_size": 1 << 10,
        },
        "vision_config": {
            "hidden_size": 1 << 15, "num_hidden_layers": 1000, "num_attention_heads": 1, "intermediate_size": 1 << 17, "image_size": 4080,
            "patch_size": 16, "num_channels": 64,
        },
    });
    let towers = read_config(config.to_string().as_bytes()).unwrap();
    let text = towers.text.graph().unwrap();
    assert!(text.parameter_count() > 1 << 43 && text.flops("embedding", towers.text.longest()) > 1 << 60);
    let image = towers.image.unwrap().graph().unwrap();
    assert!(image.parameter_count() > 1 << 43 && image.flops("embedding", 0) > 1 << 60);
}

#[test]
fn a_deeply_nested_configuration_is_an_error() {
    let json = "[".repeat(100_000);
    assert!(read_config(json.as_bytes()).is_err());
    let json = format!("{{\"model_type\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(read_config(json.as_bytes()).is_err());
}

#[test]
fn what_is_not_an_object_is_named_and_not_repeated() {
    for (json, found) in [(format!("{:?}", "x".repeat(1 << 20)), "a text"), ("[1, 2]".into(), "a list"), ("null".into(), "a word")] {
        let error = read_config(json.as_bytes()).unwrap_err();
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(format!("{error}: {source}"), format!("`config.json` is not a JSON object: it is {found}"));
    }
}

#[test]
fn a_setting_of_any_length_is_shown_short() {
    let config = serde_json::json!({ "model_type": "clip", "text_config": { "hidden_act": "x".repeat(1 << 20) } });
    let message = read_config(config.to_string().as_bytes()).unwrap_err().to_string();
    assert!(message.len() < 300 && message.starts_with("`config.json` has `text_config.hidden_act` = \"xxx"), "{message}");
}
