//! Adapters as PEFT has them: written, read, merged, taken out again.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;

use hua_exec::{Batch, Reference};
use hua_model::checkpoint::Checkpoint;
use hua_model::{Model, OpenOptions};
use hua_train::lora::{Adapter, CONFIG, Side, TENSORS, merge, read, save, unmerge};
use hua_train::recipe::{Lora, TowerSection, Trained};
use hua_train::tasks::{Encoder, EncoderOptions};

fn model(name: &str) -> Model {
    Model::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/models").join(name), &OpenOptions::default()).unwrap()
}

fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| (((i + 1) * 7919 + seed * 104_729) % 2003) as f32 / 4004.0 - 0.25).collect()
}

/// An adapter for each `q` of both towers.
fn adapters(model: &Model) -> Vec<Adapter> {
    let sides = [(Side::Image, &model.image), (Side::Text, &model.text)];
    let of = |(side, tower): (Side, &hua_model::Tower)| {
        let params = tower.graph.params().iter().enumerate().filter(|(_, p)| p.name.ends_with(".q.weight"));
        let adapter = |(i, p): (usize, &hua_graph::ParamSpec)| {
            let (a, b) = (numbers(2 * p.shape[1], i), numbers(2 * p.shape[0], i + 50));
            Adapter { side, weight: p.name.clone(), rank: 2, a, b }
        };
        params.map(adapter).collect::<Vec<_>>()
    };
    sides.into_iter().flat_map(of).collect()
}

#[test]
fn adapters_that_are_written_are_read_to_the_bit() {
    for name in ["altclip-hf", "chinese-clip-hf", "clip-hf"] {
        let model = model(name);
        let adapters = adapters(&model);
        assert!(!adapters.is_empty());
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), &model.spec, "base", &adapters).unwrap();
        assert_eq!(read(folder.path(), &model.spec).unwrap(), adapters, "{name}");
    }
}

#[test]
fn names_are_those_of_transformers_under_pefts_prefix() {
    let model = model("altclip-hf");
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), &model.spec, "base", &adapters(&model)).unwrap();
    let checkpoint = Checkpoint::open(&folder.path().join(TENSORS)).unwrap();
    let names: Vec<&str> = checkpoint.names().collect();
    for name in [
        "base_model.model.text_model.roberta.encoder.layer.0.attention.self.query.lora_A.weight",
        "base_model.model.vision_model.encoder.layers.0.self_attn.q_proj.lora_B.weight",
    ] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert_eq!(checkpoint.shape(names[0]).unwrap()[0], 2);
    let config: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.path().join(CONFIG)).unwrap()).unwrap();
    assert_eq!((&config["peft_type"], &config["r"], &config["lora_alpha"]), (&"LORA".into(), &2.into(), &2.into()));
}

#[test]
fn merging_and_taking_out_gives_the_model_back_but_for_rounding() {
    let model = model("altclip-hf");
    let adapters = adapters(&model);
    let merged = merge(&model, &adapters).unwrap();
    assert_ne!(merged.spec.fingerprint, model.spec.fingerprint);
    let back = unmerge(&merged, &adapters).unwrap();
    let towers = [(&model.image, &back.image, &merged.image), (&model.text, &back.text, &merged.text)];
    for (was, is, between) in towers {
        for ((was, is), between) in was.weights.tensors().iter().zip(is.weights.tensors()).zip(between.weights.tensors()) {
            for ((&x, &y), &z) in was.to_f32().unwrap().iter().zip(is.to_f32().unwrap().iter()).zip(between.to_f32().unwrap().iter()) {
                assert!((x - y).abs() <= f32::EPSILON * (x.abs() + 2.0 * z.abs()), "{x} {y}");
            }
        }
    }
}

#[test]
fn a_merged_model_gives_what_the_model_with_adapters_gives() {
    let model = model("altclip-hf");
    let section = TowerSection { train: Trained::Lora(Lora { rank: 3, ..Lora::default() }), ..TowerSection::default() };
    let (mut encoder, mut set) = Encoder::new(&Reference, &model.text, Side::Text, &section, &EncoderOptions::default()).unwrap();
    let ids = [vec![0, 5, 9, 2], vec![0, 7, 2]];
    let before = encoder.embed(Batch::Ids(&ids)).unwrap();
    for i in 0..set.len() {
        if set.names[i].ends_with("lora_b.weight") {
            assert!(set.values[i].iter().all(|&b| b == 0.0));
            set.values[i] = numbers(set.values[i].len(), i);
        }
        assert_eq!(set.trained[i], set.names[i].contains("lora_"), "{}", set.names[i]);
    }
    encoder.set_params(&set);
    let with_adapters = encoder.embed(Batch::Ids(&ids)).unwrap();
    assert_ne!(before, with_adapters);

    let merged = merge(&model, &encoder.adapters(&set)).unwrap();
    let none = TowerSection { train: Trained::None, ..TowerSection::default() };
    let (plain, plain_set) = Encoder::new(&Reference, &merged.text, Side::Text, &none, &EncoderOptions::default()).unwrap();
    for (x, y) in with_adapters.iter().zip(plain.embed(Batch::Ids(&ids)).unwrap()) {
        assert!((x - y).abs() < 1e-5, "{x} {y}");
    }
    let tensors = encoder.tensors(&set, true);
    assert!(tensors.iter().zip(&plain_set.values).all(|(tensor, values)| tensor.to_f32().unwrap()[..] == values[..]));
}

#[test]
fn adapters_of_other_kinds_are_refused_by_name() {
    let model = model("altclip-hf");
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), &model.spec, "base", &adapters(&model)).unwrap();
    let path = folder.path().join(CONFIG);
    let good = std::fs::read_to_string(&path).unwrap();
    for (from, to, wanted) in [
        ("\"LORA\"", "\"LOHA\"", "of type `LOHA`"),
        ("\"use_dora\": false", "\"use_dora\": true", "DoRA"),
        ("\"fan_in_fan_out\": false", "\"fan_in_fan_out\": true", "transposed"),
        ("\"modules_to_save\": null", "\"modules_to_save\": [\"classifier\"]", "whole layers"),
        ("\"bias\": \"none\"", "\"bias\": \"all\"", "biases"),
    ] {
        assert!(good.contains(from), "{good}");
        std::fs::write(&path, good.replace(from, to)).unwrap();
        let error = read(folder.path(), &model.spec).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
    // A factor of another: `lora_alpha` 6 for rank 2.
    std::fs::write(&path, good.replace("\"lora_alpha\": 2", "\"lora_alpha\": 6")).unwrap();
    let found = read(folder.path(), &model.spec).unwrap();
    assert_eq!(found[0].a[0], 3.0 * adapters(&model)[0].a[0]);
    std::fs::write(&path, &good).unwrap();
    let other = self::model("clip-hf");
    let error = read(folder.path(), &other.spec).unwrap_err().to_string();
    assert!(error.contains("wanted") || error.contains("belong to no matrix"), "{error}");
}

#[test]
fn what_peft_wrote_gives_what_peft_computes() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let model = model("altclip-hf");
    let adapters = read(&golden.join("lora"), &model.spec).unwrap();
    assert_eq!(adapters.len(), 3 * 2 + 2 * 2, "queries and values of the texts, queries and the first layer of the pictures' MLP");
    let merged = merge(&model, &adapters).unwrap();
    let numbers = |checkpoint: &Checkpoint, name: &str| checkpoint.tensor(name).unwrap().to_f32().unwrap().into_owned();
    let expected = Checkpoint::open(&golden.join("lora/expected.safetensors")).unwrap();
    let inputs = Checkpoint::open(&golden.join("models/altclip-hf/golden.safetensors")).unwrap();
    let integers = |name: &str| -> Vec<u32> {
        let tensor = inputs.tensor(name).unwrap();
        tensor.bytes().as_chunks::<8>().0.iter().map(|&x| i64::from_le_bytes(x) as u32).collect()
    };
    let (all, lengths) = (integers("input_ids"), integers("lengths"));
    let ids: Vec<Vec<u32>> = all.chunks(all.len() / lengths.len()).zip(&lengths).map(|(ids, &n)| ids[..n as usize].to_vec()).collect();
    let pixels = numbers(&inputs, "pixel_values");
    let none = TowerSection { train: Trained::None, ..TowerSection::default() };
    for (side, tower, batch, name) in
        [(Side::Text, &merged.text, Batch::Ids(&ids), "text"), (Side::Image, &merged.image, Batch::Images(&pixels), "image")]
    {
        let (encoder, _) = Encoder::new(&Reference, tower, side, &none, &EncoderOptions::default()).unwrap();
        let (found, wanted) = (encoder.embed(batch).unwrap(), numbers(&expected, name));
        let most = wanted.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        let worst = found.iter().zip(&wanted).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(found.len() == wanted.len() && worst <= 1e-5 * most.max(1.0), "{name}: {worst:e}");
    }
}
