//! The two vocabularies that checkpoints do not carry: OpenAI's and cn_clip's `.pt` files hold weights alone.
//!
//! Both are public data, packed with gzip under `data/`; `tests/golden/make_text.py` makes them and `data/README.md`
//! names sources and licences.
use std::io::Read;

use flate2::read::GzDecoder;

use crate::{TextError, Tokenizer, TokenizerOptions, clip};

static CHINESE: &[u8] = include_bytes!("../data/chinese_clip_vocab.txt.gz");
static OPENAI: &[u8] = include_bytes!("../data/openai_clip_merges.txt.gz");

/// A vocabulary inside this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Builtin {
    /// `bert-base-chinese`, 21,128 ids: all Chinese-CLIP and Taiyi models.
    ChineseClip,
    /// OpenAI's byte pairs, 49,408 ids: all CLIP models.
    OpenAiClip,
}

impl Builtin {
    /// The files that transformers reads such a tokenizer from, by name, for model folders that hua writes.
    ///
    /// # Errors
    /// None in a build that passes its tests.
    pub fn files(self) -> Result<Vec<(&'static str, Vec<u8>)>, TextError> {
        match self {
            Self::ChineseClip => Ok(vec![("vocab.txt", chinese()?)]),
            Self::OpenAiClip => Ok(clip::hugging_face_files(OPENAI)?.into()),
        }
    }
}

fn chinese() -> Result<Vec<u8>, TextError> {
    let mut vocabulary = Vec::new();
    GzDecoder::new(CHINESE).read_to_end(&mut vocabulary)?;
    Ok(vocabulary)
}

impl Tokenizer {
    /// The tokenizer of a model whose checkpoint brings none.
    ///
    /// # Errors
    /// [`TextError::ContextLength`] if the options leave no room for text, [`TextError::Invalid`] if they ask for
    /// another kind.
    pub fn builtin(which: Builtin, options: &TokenizerOptions) -> Result<Self, TextError> {
        match which {
            Builtin::ChineseClip => Self::from_vocab_bytes(&chinese()?, options),
            Builtin::OpenAiClip => Self::from_clip_merges_bytes(OPENAI, options),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_written_for_transformers_give_the_same_ids() {
        for builtin in [Builtin::ChineseClip, Builtin::OpenAiClip] {
            let folder = tempfile::tempdir().unwrap();
            for (name, bytes) in builtin.files().unwrap() {
                std::fs::write(folder.path().join(name), bytes).unwrap();
            }
            let options = TokenizerOptions::default();
            let (written, own) = (Tokenizer::from_dir(folder.path(), &options).unwrap(), Tokenizer::builtin(builtin, &options).unwrap());
            for text in ["a photo of 3 Cats, naïve", "一只在雪地里的猫", "👍🏽 don't"] {
                assert_eq!(written.encode(text).unwrap(), own.encode(text).unwrap());
            }
            assert_eq!(written.vocabulary_size(), own.vocabulary_size());
        }
    }
}
