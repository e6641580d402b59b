//! Which model it is, in 64 hexadecimal digits.
//!
//! The digest (SHA-256) covers what embeddings depend on: both towers' sizes, preprocessing, the tokenizer's kind and files, and of
//! every parameter its name here, type, shape and a sample of its bytes as the graph sees them. So a model has one fingerprint in all
//! layouts, and another after it was trained further or rounded to another type. The sample is the whole of a small tensor and three blocks
//! of a large one, so that gigabytes of weights cost some megabytes of reading; a change of a few rows of a large table can go unseen.
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use hua_graph::Tensor;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::spec::TOKENIZER_FILES;
use crate::{ModelError, ModelSpec, Tower};

/// Changes when the digest is made otherwise.
const SCHEME: &str = "hua model 1";
/// Bytes of each sampled block.
const BLOCK: usize = 4096;

/// The fingerprint of a model; `spec`'s own is not looked at. `memory` is the files of a model that is part of the program.
///
/// # Errors
/// If a file of the tokenizer cannot be read.
pub(crate) fn fingerprint(spec: &ModelSpec, image: &Tower, text: &Tower, logit_scale: f32, memory: &[(&str, &[u8])]) -> Result<String, ModelError> {
    let mut digest = Sha256::new();
    let data = (SCHEME, &spec.image, &spec.text, &spec.preprocessing, spec.tokenizer.kind);
    line(&mut digest, &sorted(&serde_json::to_value(data).expect("plain data is JSON")));
    digest.update(logit_scale.to_le_bytes());
    for tower in [image, text] {
        for (param, tensor) in tower.graph.params().iter().zip(tower.weights.tensors()) {
            line(&mut digest, &format!("{} {} {:?}", param.name, tensor.dtype(), tensor.shape()));
            sample(&mut digest, tensor);
        }
    }
    if let Some(folder) = &spec.tokenizer.folder {
        for file in TOKENIZER_FILES.iter().map(|name| folder.join(name)).filter(|path| path.is_file()) {
            whole(&mut digest, &file).map_err(ModelError::io(&file))?;
        }
    }
    for (_, bytes) in TOKENIZER_FILES.iter().filter_map(|name| memory.iter().find(|(file, _)| file == name)) {
        digest.update(Sha256::digest(bytes));
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn line(digest: &mut Sha256, text: &str) {
    digest.update((text.len() as u64).to_le_bytes());
    digest.update(text);
}

fn sample(digest: &mut Sha256, tensor: &Tensor) {
    let bytes = tensor.bytes();
    if bytes.len() <= 4 * BLOCK {
        return digest.update(bytes);
    }
    for start in [0, (bytes.len() - BLOCK) / 2, bytes.len() - BLOCK] {
        digest.update(&bytes[start..start + BLOCK]);
    }
}

fn whole(digest: &mut Sha256, path: &Path) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    let mut block = vec![0; 1 << 16];
    let mut file_digest = Sha256::new();
    loop {
        match file.read(&mut block)? {
            0 => break,
            n => file_digest.write_all(&block[..n])?,
        }
    }
    digest.update(file_digest.finalize());
    Ok(())
}

/// JSON with sorted keys, whatever order the map keeps.
fn sorted(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(sorted).collect::<Vec<_>>().join(",")),
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().map(|(key, value)| format!("{key:?}:{}", sorted(value))).collect();
            entries.sort();
            format!("{{{}}}", entries.join(","))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_keys_does_not_count() {
        let [a, b] = [r#"{"b": [1, {"d": 2, "c": 3}], "a": null}"#, r#"{"a": null, "b": [1, {"c": 3, "d": 2}]}"#];
        let [a, b] = [a, b].map(|json| sorted(&serde_json::from_str(json).unwrap()));
        assert_eq!(a, b);
        assert_eq!(a, r#"{"a":null,"b":[1,{"c":3,"d":2}]}"#);
    }

    #[test]
    fn a_change_in_a_sampled_block_shows() {
        let digest = |values: Vec<f32>| {
            let mut digest = Sha256::new();
            sample(&mut digest, &Tensor::from_f32(&[values.len()], values));
            digest.finalize()
        };
        let zeros = vec![0.0; 20_000];
        for i in [0, 10_000, 19_999] {
            let mut changed = zeros.clone();
            changed[i] = 1.0;
            assert_ne!(digest(zeros.clone()), digest(changed), "{i}");
        }
    }
}
