//! The two vocabularies that checkpoints do not carry: OpenAI's and cn_clip's `.pt` files hold weights alone.
//!
//! Both are public data, packed with gzip under `data/`; `tests/golden/make_text.py` makes them and `data/README.md`
//! names sources and licences.
use std::io::Read;

use flate2::read::GzDecoder;

use crate::{TextError, Tokenizer, TokenizerOptions};

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

impl Tokenizer {
    /// The tokenizer of a model whose checkpoint brings none.
    ///
    /// # Errors
    /// [`TextError::ContextLength`] if the options leave no room for text, [`TextError::Invalid`] if they ask for
    /// another kind.
    pub fn builtin(which: Builtin, options: &TokenizerOptions) -> Result<Self, TextError> {
        match which {
            Builtin::ChineseClip => {
                let mut vocabulary = Vec::new();
                GzDecoder::new(CHINESE).read_to_end(&mut vocabulary)?;
                Self::from_vocab_bytes(&vocabulary, options)
            }
            Builtin::OpenAiClip => Self::from_clip_merges_bytes(OPENAI, options),
        }
    }
}
