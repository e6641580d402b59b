//! Every format people have weights in, as torch and safetensors write it (`tests/golden/make_checkpoints.py`).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};

use hua_model::checkpoint::{Checkpoint, CheckpointError, ElementType, Format, Scalar};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn ramp(n: usize, start: f32, step: f32) -> Vec<f32> {
    (0..n).map(|i| start + step * i as f32).collect()
}

/// What `tensors()` of the script holds: name, elements, shape, values.
fn expected() -> Vec<(&'static str, ElementType, Vec<usize>, Vec<f32>)> {
    let base = ramp(24, 0., 0.25);
    let at = |indices: Vec<usize>| indices.into_iter().map(|i| base[i]).collect::<Vec<_>>();
    let transposed = (0..6).flat_map(|i| (0..4).map(move |j| j * 6 + i)).collect();
    let columns = (0..4).flat_map(|i| [i * 6 + 2, i * 6 + 3]).collect();
    vec![
        ("bf16", ElementType::Bf16, vec![5], ramp(5, 2., 0.5)),
        ("columns", ElementType::F32, vec![4, 2], at(columns)),
        ("empty", ElementType::F32, vec![0, 3], vec![]),
        ("expanded", ElementType::F32, vec![2, 3], vec![0., 0.25, 0.5, 0., 0.25, 0.5]),
        ("f16", ElementType::F16, vec![3], ramp(3, -1., 0.25)),
        ("f32", ElementType::F32, vec![2, 3], ramp(6, 0., 0.25)),
        ("i64", ElementType::I64, vec![1, 7], ramp(7, 0., 1.)),
        ("parameter", ElementType::F32, vec![2, 2], ramp(4, 0., 0.25)),
        ("rows", ElementType::F32, vec![2, 6], base[6..18].to_vec()),
        ("scalar", ElementType::F32, vec![], vec![4.625]),
        ("shared", ElementType::F32, vec![4, 6], base.clone()),
        ("transposed", ElementType::F32, vec![6, 4], at(transposed)),
    ]
}

fn values(checkpoint: &Checkpoint, name: &str) -> Vec<f32> {
    let tensor = checkpoint.tensor(name).unwrap();
    match checkpoint.element(name) {
        Some(ElementType::I64) => tensor.bytes().as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as f32).collect(),
        _ => tensor.to_f32().unwrap().into_owned(),
    }
}

#[test]
fn every_container_of_one_state_dict_gives_the_same_tensors() {
    let cases = [
        ("state.bin", Format::Torch, ""),
        ("protocol3.bin", Format::Torch, ""),
        ("protocol4.bin", Format::Torch, ""),
        ("protocol5.bin", Format::Torch, ""),
        ("repacked.bin", Format::Torch, ""),
        ("big-endian.bin", Format::Torch, ""),
        ("legacy.bin", Format::TorchLegacy, ""),
        ("trainer.pt", Format::Torch, "module."),
    ];
    for (file, format, prefix) in cases {
        let checkpoint = Checkpoint::open(&data(file)).unwrap();
        assert_eq!(checkpoint.format(), format, "{file}");
        assert_eq!(checkpoint.names().count(), expected().len(), "{file}");
        assert_eq!(checkpoint.total_bytes(), 412, "{file}");
        for ((name, element, shape, wanted), found) in expected().into_iter().zip(checkpoint.names()) {
            assert_eq!(found, format!("{prefix}{name}"), "{file}");
            assert_eq!((checkpoint.element(found), checkpoint.shape(found)), (Some(element), Some(shape.as_slice())), "{file} {name}");
            assert_eq!(values(&checkpoint, found), wanted, "{file} {name}");
        }
    }
}

#[test]
fn only_elements_out_of_order_are_copied() {
    let copied = |file| {
        let checkpoint = Checkpoint::open(&data(file)).unwrap();
        let copied: Vec<_> = checkpoint.names().filter(|name| checkpoint.is_view(name) == Some(false)).map(str::to_owned).collect();
        copied
    };
    assert_eq!(copied("state.bin"), ["columns", "expanded", "transposed"]);
    assert_eq!(copied("legacy.bin"), ["columns", "expanded", "transposed"]);
    assert!(copied("plain.safetensors").is_empty());
}

#[test]
fn safetensors_open_with_their_metadata_and_name_what_they_cannot_give() {
    let checkpoint = Checkpoint::open(&data("plain.safetensors")).unwrap();
    for (name, element, shape, wanted) in expected() {
        assert_eq!((checkpoint.element(name), checkpoint.shape(name)), (Some(element), Some(shape.as_slice())), "{name}");
        assert_eq!(values(&checkpoint, name), wanted, "{name}");
    }
    assert_eq!(checkpoint.metadata()["name"], Scalar::Text("水獭".to_owned()));
    assert_eq!(checkpoint.element("u8"), Some(ElementType::U8));
    let error = checkpoint.tensor("u8").unwrap_err().to_string();
    assert!(
        error.starts_with("`u8` in `") && error.ends_with("plain.safetensors` has u8 elements, where f32, f16, bf16 or i64 are wanted"),
        "{error}"
    );
    assert!(matches!(checkpoint.tensor("nothing"), Err(CheckpointError::NoTensor { name, .. }) if name == "nothing"));
}

#[test]
fn what_trainers_put_beside_the_weights_is_metadata_or_ignored() {
    let checkpoint = Checkpoint::open(&data("trainer.pt")).unwrap();
    let metadata: Vec<_> = checkpoint.metadata().iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    assert_eq!(metadata, [("epoch", Scalar::Int(3)), ("name", Scalar::Text("tiny".to_owned())), ("step", Scalar::Int(70000))]);

    let checkpoint = Checkpoint::open(&data("extras.pt")).unwrap();
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["bias", "weight"]);
    let metadata: Vec<_> = checkpoint.metadata().iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    assert_eq!(metadata, [("done", Scalar::Bool(true)), ("ratio", Scalar::Float(0.5))]);
}

#[test]
fn torchscript_gives_the_names_that_state_dict_would() {
    let checkpoint = Checkpoint::open(&data("script.pt")).unwrap();
    assert_eq!(checkpoint.format(), Format::TorchScript);
    let names: Vec<_> = checkpoint.names().collect();
    assert_eq!(names, ["blocks.0.bias", "blocks.0.weight", "blocks.2.bias", "blocks.2.weight", "input_resolution", "proj"]);
    assert_eq!(values(&checkpoint, "proj"), ramp(6, 0., 0.25));
    assert_eq!(values(&checkpoint, "blocks.2.weight"), ramp(4, 2., 0.25));
    assert_eq!(values(&checkpoint, "input_resolution"), [224.]);
    assert_eq!(checkpoint.shape("input_resolution"), Some(&[][..]));
}

#[test]
fn shards_are_one_checkpoint() {
    for (folder, format, index) in [
        ("sharded-safetensors", Format::Safetensors, "model.safetensors.index.json"),
        ("sharded-bin", Format::Torch, "pytorch_model.bin.index.json"),
    ] {
        for path in [data(folder), data(folder).join(index)] {
            let checkpoint = Checkpoint::open(&path).unwrap();
            assert_eq!((checkpoint.format(), checkpoint.files().len()), (format, 2));
            assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["bf16", "f16", "f32", "i64"]);
            for (name, _, _, wanted) in expected().into_iter().filter(|(name, ..)| checkpoint.shape(name).is_some()) {
                assert_eq!(values(&checkpoint, name), wanted, "{name}");
            }
        }
    }
}

#[test]
fn compressed_tensors_say_how_to_store_them() {
    let error = Checkpoint::open(&data("compressed.bin")).unwrap_err().to_string();
    assert!(error.contains("is compressed inside the archive") && error.contains("torch.save(torch.load("), "{error}");
}

#[test]
fn a_folder_is_its_best_file_and_an_ambiguous_one_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let put = |from: &str, to: &str| std::fs::copy(data(from), folder.path().join(to)).unwrap();
    let open = || Checkpoint::open(folder.path());

    std::fs::write(folder.path().join("flax_model.msgpack"), [0x81]).unwrap();
    assert!(matches!(open(), Err(CheckpointError::NoWeights { foreign, .. }) if foreign == ["flax_model.msgpack"]));
    put("extras.pt", "a.pt");
    put("extras.pt", "optimizer.pt");
    assert_eq!(open().unwrap().files(), [folder.path().join("a.pt")]);
    put("plain.safetensors", "b.safetensors");
    assert!(matches!(open(), Err(CheckpointError::Ambiguous { candidates, .. }) if candidates == ["a.pt", "b.safetensors"]));
    put("state.bin", "pytorch_model.bin");
    assert_eq!(open().unwrap().format(), Format::Torch);
    put("plain.safetensors", "model.safetensors");
    assert_eq!(open().unwrap().format(), Format::Safetensors);
}
