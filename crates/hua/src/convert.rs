//! A model written anew: in another layout of its family, with other numbers, with all that a folder needs to be opened again.
use std::path::{Path, PathBuf};

use hua_model::{Model, SaveOptions, Source, TokenizerKind};
use hua_text::Builtin;

use crate::gallery::{EMBEDDED_MODEL, MODEL_FILES};
use crate::{Error, OpenOptions, hub};

/// A written folder with one of these has its tokenizer.
const TOKENIZERS: [&str; 4] = ["tokenizer.json", "sentencepiece.bpe.model", "vocab.txt", "vocab.json"];

/// Writes the model `name_or_path` (the built-in one if there is no name) into `folder`. Tokenizer and preprocessing go along; a Hugging Face
/// folder of a model whose files bring no tokenizer gets its family's. Returns the files.
///
/// # Errors
/// As [`crate::Embedder::open`]; [`Error::Model`] if the layout cannot hold the model or something is there already, [`Error::Io`].
pub fn convert(name_or_path: Option<&str>, open: &OpenOptions, folder: &Path, save: &SaveOptions) -> Result<Vec<PathBuf>, Error> {
    let options = open.model_options();
    let model = match name_or_path {
        Some(name) => Model::open(hub::resolve(name, &open.hub)?, &options)?,
        None => Model::from_source(&Source::from_memory(EMBEDDED_MODEL, &MODEL_FILES)?, &options)?,
    };
    let mut written = model.save(folder, save)?;
    let has = |name: &str| written.iter().any(|path| path.ends_with(name));
    if has("config.json") && !TOKENIZERS.into_iter().any(has) {
        for (name, bytes) in well_known_tokenizer(&model)? {
            let path = folder.join(name);
            std::fs::write(&path, bytes).map_err(|source| Error::Io { path: path.clone(), source })?;
            written.push(path);
        }
    }
    Ok(written)
}

/// The files of the tokenizer that checkpoints of this kind share; none where each has its own.
fn well_known_tokenizer(model: &Model) -> Result<Vec<(&'static str, Vec<u8>)>, Error> {
    let builtin = match model.spec.tokenizer.kind {
        TokenizerKind::ClipBpe => Builtin::OpenAiClip,
        TokenizerKind::WordPiece => Builtin::ChineseClip,
        TokenizerKind::Unigram => return Ok(vec![]),
    };
    Ok(builtin.files()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Embedder;

    #[test]
    fn the_built_in_model_is_written_and_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let options = OpenOptions::default();
        let save = SaveOptions { layout: None, dtype: Some(hua_graph::DType::F32) };
        let mut written = convert(None, &options, folder.path(), &save).unwrap();
        written.sort();
        let names: Vec<_> = written.iter().map(|path| path.file_name().unwrap().to_string_lossy()).collect();
        let files = [
            "config.json",
            "model.safetensors",
            "preprocessor_config.json",
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer_config.json",
        ];
        assert_eq!(names, files);
        let (again, built_in) = (Embedder::open(&folder.path().to_string_lossy()).unwrap(), Embedder::embedded(&options).unwrap());
        assert_eq!(again.embed_texts(&["虹"]).unwrap().as_slice(), built_in.embed_texts(&["虹"]).unwrap().as_slice());
    }

    #[test]
    fn a_bare_checkpoint_becomes_a_whole_folder() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/models/chinese-clip-pt/clip_cn_vit-tiny.pt");
        let folder = tempfile::tempdir().unwrap();
        let options = OpenOptions::default();
        convert(
            Some(&golden.to_string_lossy()),
            &options,
            folder.path(),
            &SaveOptions { layout: Some("hugging-face".into()), dtype: None },
        )
        .unwrap();
        assert!(folder.path().join("vocab.txt").is_file() && folder.path().join("preprocessor_config.json").is_file());
    }
}
