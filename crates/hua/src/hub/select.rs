//! Which files of a repository hua reads, so that a pull leaves the TensorFlow, Flax and ONNX copies on the hub.
//!
//! One set of weights is enough: safetensors before pickles, the files that `transformers` names before others. Everything is data here
//! (tables of names); the order of the answer is the order of the download, with the weights last, so that a folder that has its weights
//! has everything.

use std::path::Path;

/// Small files that some reader of hua, or a reader of the licence, opens.
const SMALL: &[&str] = &[
    "*_config.json",
    "LICENCE*",
    "LICENSE*",
    "NOTICE*",
    "README.md",
    "added_tokens.json",
    "config.json",
    "configuration.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "vocab.json",
    "vocab.txt",
];

/// Forms of weights, the best first. Each is a pattern that has to match and patterns of what belongs to it.
const WEIGHTS: &[(&str, &[&str])] = &[
    ("model.safetensors", &[]),
    ("model.safetensors.index.json", &["model-*-of-*.safetensors"]),
    ("pytorch_model.bin", &[]),
    ("pytorch_model.bin.index.json", &["pytorch_model-*-of-*.bin"]),
    ("*.safetensors", &[]),
    ("*.pt", &[]),
    ("*.pth", &[]),
];

/// Training leftovers that look like weights.
const NOT_WEIGHTS: &[&str] = &["adapter_model*", "optimizer*", "rng_state*", "scheduler*", "training_args*"];

/// A part of a repository's files, in the order to download them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Selection {
    pub files: Vec<String>,
    pub has_weights: bool,
}

/// What hua needs of `files` (paths inside the repository); with `include`, exactly what its patterns match.
pub(super) fn select(files: &[String], include: &[String]) -> Selection {
    let is_weight =
        |file: &&String| WEIGHTS.iter().any(|(main, parts)| matches(main, file) || parts.iter().any(|part| matches(part, file)));
    if !include.is_empty() {
        let chosen = files.iter().filter(|file| include.iter().any(|pattern| matches(pattern, file)));
        let (weights, mut small): (Vec<&String>, Vec<&String>) = chosen.partition(is_weight);
        let has_weights = !weights.is_empty();
        small.extend(weights);
        return Selection { files: small.into_iter().cloned().collect(), has_weights };
    }
    let top: Vec<&String> = files.iter().filter(|file| !file.contains('/')).collect();
    let any = |patterns: &[&str], file: &str| patterns.iter().any(|pattern| matches(pattern, file));
    let mut chosen: Vec<String> = top.iter().filter(|file| any(SMALL, file)).map(|file| file.to_string()).collect();
    chosen.sort();
    for (main, parts) in WEIGHTS {
        let mut weights: Vec<String> = top
            .iter()
            .filter(|file| (matches(main, file) || any(parts, file)) && !any(NOT_WEIGHTS, file))
            .map(|file| file.to_string())
            .collect();
        if weights.iter().any(|file| matches(main, file)) {
            // An index comes before its shards.
            weights.sort_by_key(|file| (!matches(main, file), file.clone()));
            chosen.extend(weights);
            return Selection { files: chosen, has_weights: true };
        }
    }
    Selection { files: chosen, has_weights: false }
}

/// Whether `folder` holds a complete set of weights in one of the known forms (for a sharded one, every shard its index names).
pub(super) fn has_weights(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    // `is_file` follows links: a link without its blob does not count.
    let files: Vec<String> =
        entries.flatten().filter(|entry| entry.path().is_file()).filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let selection = select(&files, &[]);
    let Some(index) = selection.files.iter().find(|file| file.ends_with(".index.json")) else { return selection.has_weights };
    shards(&folder.join(index)).is_some_and(|shards| shards.iter().all(|shard| files.contains(shard)))
}

/// The files an index names, if it is one.
fn shards(index: &Path) -> Option<Vec<String>> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: std::collections::BTreeMap<String, String>,
    }
    const LARGEST: u64 = 16 << 20;
    if index.metadata().ok()?.len() > LARGEST {
        return None;
    }
    let index: Index = serde_json::from_slice(&std::fs::read(index).ok()?).ok()?;
    Some(index.weight_map.into_values().collect())
}

/// Shell-like: `*` stands for any text (also across `/`), `?` for one character, everything else for itself.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    // Greedy with one point of return, the last `*` seen: linear in practice, at worst the product of the lengths.
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, t) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(files: &[&str], include: &[&str]) -> Vec<String> {
        let owned = |list: &[&str]| list.iter().map(|text| text.to_string()).collect::<Vec<_>>();
        select(&owned(files), &owned(include)).files
    }

    #[test]
    fn one_form_of_weights_is_taken_and_comes_last() {
        let all = [
            "flax_model.msgpack",
            "model.safetensors",
            "onnx/model.onnx",
            "pytorch_model.bin",
            "tf_model.h5",
            "config.json",
            "vocab.txt",
            "clip_cn_vit-b-16.pt",
            ".gitattributes",
            "preprocessor_config.json",
            "tokenizer_config.json",
            "README.md",
            "picture.jpg",
        ];
        let small = ["README.md", "config.json", "preprocessor_config.json", "tokenizer_config.json", "vocab.txt"];
        assert_eq!(chosen(&all, &[]), [&small[..], &["model.safetensors"]].concat());
        let without: Vec<&str> = all.iter().copied().filter(|file| *file != "model.safetensors").collect();
        assert_eq!(chosen(&without, &[]), [&small[..], &["pytorch_model.bin"]].concat());
        let without: Vec<&str> = without.into_iter().filter(|file| *file != "pytorch_model.bin").collect();
        assert_eq!(chosen(&without, &[]), [&small[..], &["clip_cn_vit-b-16.pt"]].concat());
    }

    #[test]
    fn shards_follow_their_index() {
        let files =
            ["model-00002-of-00002.safetensors", "model-00001-of-00002.safetensors", "model.safetensors.index.json", "optimizer.pt"];
        assert_eq!(
            chosen(&files, &[]),
            ["model.safetensors.index.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
        );
        assert!(!select(&["optimizer.pt".to_owned(), "config.json".to_owned()], &[]).has_weights);
    }

    #[test]
    fn a_filter_replaces_the_tables_and_reaches_subfolders() {
        let files = ["model.safetensors", "a/b.json", "onnx/model.onnx", "config.json"];
        assert_eq!(chosen(&files, &["*.json", "model.safetensors"]), ["a/b.json", "config.json", "model.safetensors"]);
        assert_eq!(chosen(&files, &["onnx/*"]), ["onnx/model.onnx"]);
    }

    #[test]
    fn a_folder_is_complete_when_every_shard_of_its_index_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        assert!(!has_weights(&folder.path().join("nowhere")));
        write(
            "model.safetensors.index.json",
            r#"{"metadata": {}, "weight_map": {"x": "model-1-of-2.safetensors", "y": "model-2-of-2.safetensors"}}"#,
        );
        write("model-1-of-2.safetensors", "");
        assert!(!has_weights(folder.path()));
        write("model-2-of-2.safetensors", "");
        assert!(has_weights(folder.path()));
        write("model.safetensors.index.json", "not json");
        assert!(!has_weights(folder.path()));
        write("pytorch_model.bin.incomplete", "");
        assert!(!has_weights(folder.path()));
        write("pytorch_model.bin", "");
        assert!(!has_weights(folder.path()), "the broken index still wins, as it does for the reader");
    }

    #[test]
    fn patterns_match_as_a_shell_would() {
        for (pattern, text, expected) in [
            ("*.pt", "a.pt", true),
            ("*.pt", "a.pth", false),
            ("model-*-of-*.bin", "model-1-of-2.bin", true),
            ("model-*-of-*.bin", "model-of.bin", false),
            ("?b", "ab", true),
            ("?b", "b", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*a*a*b", "aaaaaaaaaaaaaaaaac", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
    }
}
