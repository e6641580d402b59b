//! Which model it is, in 64 hexadecimal digits.
//!
//! The digest (SHA-256) covers what embeddings depend on: both towers' sizes, preprocessing, the tokenizer's kind and files, and of
//! every parameter its name here, type, shape and a sample of its bytes as the graph sees them. So a model has one fingerprint in all
//! layouts, as long as the same tokenizer and preprocessor stand beside it, and another after it was trained further or rounded to
//! another type. How long texts may be is a matter of use and not covered. The sample is the whole of a small tensor and three blocks of a
//! large one, so that gigabytes of weights cost some megabytes of reading; a change of a few rows of a large table can go unseen.
use std::io;

use hua_graph::Tensor;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::source::Companion;
use crate::{ModelSpec, Tower};

/// Changes when the digest is made otherwise.
const SCHEME: &str = "hua model 1";
/// Bytes of each sampled block.
const BLOCK: usize = 4096;
/// A tokenizer's file longer than this is none.
const LONGEST_FILE: u64 = 128 << 20;

/// The fingerprint of a model with these towers, of images and of texts, and these files of its tokenizer. `spec`'s own is not looked at.
///
/// # Errors
/// If a file of the tokenizer cannot be read.
pub(crate) fn fingerprint(spec: &ModelSpec, towers: [&Tower; 2], logit_scale: f32, tokenizer: &[(&str, Companion)]) -> io::Result<String> {
    let mut digest = Sha256::new();
    let data = (SCHEME, &spec.image, &spec.text, &spec.preprocessing, spec.tokenizer.kind);
    line(&mut digest, &sorted(&serde_json::to_value(data).expect("plain data is JSON")));
    digest.update(logit_scale.to_le_bytes());
    for tower in towers {
        for (param, tensor) in tower.graph.params().iter().zip(tower.weights.tensors()) {
            line(&mut digest, &format!("{} {} {:?}", param.name, tensor.dtype(), tensor.shape()));
            sample(&mut digest, tensor);
        }
    }
    for (name, file) in tokenizer {
        line(&mut digest, name);
        digest.update(Sha256::digest(file.read(LONGEST_FILE)?));
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
