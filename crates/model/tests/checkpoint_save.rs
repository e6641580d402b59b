//! What is written is read back, by hua and by the reference readers.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::path::Path;

use hua_graph::{DType, Tensor};
use hua_model::checkpoint::{Checkpoint, CheckpointError, Format, Scalar, TensorPlan, save_safetensors, save_sharded, save_torch};

fn source() -> Checkpoint {
    Checkpoint::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/state.bin")).unwrap()
}

/// Every tensor of the source, as it is; floating-point ones in `dtype` if that is given.
fn plan(source: &Checkpoint, dtype: Option<DType>) -> Vec<TensorPlan> {
    let plan = |name: &str| {
        let own = source.element(name).unwrap().dtype().unwrap();
        let dtype = dtype.filter(|_| own != DType::I64).unwrap_or(own);
        TensorPlan { name: name.to_owned(), dtype, shape: source.shape(name).unwrap().to_vec() }
    };
    source.names().map(plan).collect()
}

fn same(a: &Checkpoint, b: &Checkpoint, prefix: &str) {
    assert_eq!(a.names().count(), b.names().count());
    for name in a.names() {
        let (a, b) = (a.tensor(name).unwrap(), b.tensor(&format!("{prefix}{name}")).unwrap());
        assert_eq!((a.dtype(), a.shape(), a.bytes()), (b.dtype(), b.shape(), b.bytes()), "{name}");
    }
}

#[test]
fn safetensors_are_read_back_by_hua_and_by_the_reference() {
    let (source, folder) = (source(), tempfile::tempdir().unwrap());
    let path = folder.path().join("model.safetensors");
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    save_safetensors(&path, &plan(&source, None), &metadata, |name| source.tensor(name)).unwrap();
    let written = Checkpoint::open(folder.path()).unwrap();
    same(&source, &written, "");
    assert_eq!(written.metadata()["format"], Scalar::Text("pt".to_owned()));

    let bytes = std::fs::read(&path).unwrap();
    let reference = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    for name in source.names() {
        assert_eq!(reference.tensor(name).unwrap().data(), source.tensor(name).unwrap().bytes());
    }
}

#[test]
fn many_shards_are_one_checkpoint_and_few_bytes_one_file() {
    let (source, folder) = (source(), tempfile::tempdir().unwrap());
    let plan = plan(&source, None);
    let files = save_sharded(folder.path(), &plan, &BTreeMap::new(), 200, |name| source.tensor(name)).unwrap();
    let names: Vec<_> = files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
    let shards = ["model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors"];
    assert_eq!(names, [&shards[..], &["model.safetensors.index.json"]].concat());
    same(&source, &Checkpoint::open(folder.path()).unwrap(), "");

    let folder = tempfile::tempdir().unwrap();
    let files = save_sharded(folder.path(), &plan, &BTreeMap::new(), 412, |name| source.tensor(name)).unwrap();
    assert_eq!(files, [folder.path().join("model.safetensors")]);
    same(&source, &Checkpoint::open(folder.path()).unwrap(), "");
}

#[test]
fn torch_files_are_read_back_bare_and_as_trainers_write_them() {
    let (source, folder) = (source(), tempfile::tempdir().unwrap());
    let path = folder.path().join("bare.bin");
    save_torch(&path, &plan(&source, None), "", &[], |name| source.tensor(name)).unwrap();
    let written = Checkpoint::open(&path).unwrap();
    assert_eq!(written.format(), Format::Torch);
    same(&source, &written, "");
    assert!(written.names().all(|name| written.is_view(name) == Some(true)));

    let path = folder.path().join("trainer.pt");
    let beside = [
        ("epoch", Scalar::Int(3)),
        ("step", Scalar::Int(-5_000_000_000)),
        ("name", Scalar::Text("水獭".to_owned())),
        ("loss", Scalar::Float(0.1)),
        ("done", Scalar::Bool(false)),
    ];
    save_torch(&path, &plan(&source, None), "module.", &beside, |name| source.tensor(name)).unwrap();
    let written = Checkpoint::open(&path).unwrap();
    same(&source, &written, "module.");
    assert_eq!(*written.metadata(), beside.map(|(key, value)| (key.to_owned(), value)).into());
}

#[test]
fn the_caller_converts_one_tensor_at_a_time() {
    let (source, folder) = (source(), tempfile::tempdir().unwrap());
    let path = folder.path().join("half.safetensors");
    let half = plan(&source, Some(DType::F16));
    let convert = |name: &str| -> Result<Tensor, CheckpointError> {
        let tensor = source.tensor(name)?;
        Ok(tensor.to_dtype(DType::F16).unwrap_or(tensor))
    };
    save_safetensors(&path, &half, &BTreeMap::new(), convert).unwrap();
    let written = Checkpoint::open(&path).unwrap();
    assert_eq!(written.tensor("f32").unwrap().to_f32().unwrap(), source.tensor("f32").unwrap().to_f32().unwrap());
    assert_eq!(written.tensor("f32").unwrap().dtype(), DType::F16);
}

#[test]
fn nothing_is_left_of_a_file_that_could_not_be_finished() {
    let (source, folder) = (source(), tempfile::tempdir().unwrap());
    let path = folder.path().join("model.safetensors");
    std::fs::write(&path, "precious").unwrap();
    let error = save_safetensors(&path, &plan(&source, Some(DType::F32)), &BTreeMap::new(), |name| source.tensor(name)).unwrap_err();
    assert!(
        error.to_string().starts_with("cannot write `bf16` to `") && error.to_string().ends_with("it is bf16 [5], and f32 [5] was planned")
    );
    let twice = [plan(&source, None), plan(&source, None)].concat();
    assert!(save_torch(&path, &twice, "", &[], |name| source.tensor(name)).is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}
