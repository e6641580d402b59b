//! Unigram as Google's `sentencepiece` runs it, from `sentencepiece.bpe.model`, with the ids of XLM-R.
//!
//! Hugging Face's fast tokenizer reads the same pieces but differs on rare text: it replaces whole graphemes, so that
//! half-width kana with voicing marks come out otherwise (transformers issues 9535 and 15970), keeps a trailing space,
//! and adds scores in double precision. A checkpoint that ships only the `.model` file was made with this one.
//!
//! The rules are those of sentencepiece 0.2.3 (`normalizer.cc`, `unigram_model.cc`), down to the order and precision of
//! the additions: equal scores are common enough in 10,000 characters to matter. Control pieces (`<s>`) are never
//! recognised in a text. XLM-R's ids are the file's plus one, with `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3 and `<mask>`
//! behind the last.
mod normalize;
mod proto;
mod viterbi;

use crate::tokenizer::{Backend, Parts};
use crate::{SpecialIds, TextError, TokenizerKind};

use normalize::Normalizer;
use proto::ModelFile;
use viterbi::Lattice;

/// The ids of XLM-R, the same in all its models.
const SPECIAL: SpecialIds = SpecialIds { bos: 0, eos: 2, pad: 1, unk: 3 };

/// In bytes; XLM-R's file has 5 million.
const LARGEST: u64 = 16 << 20;

/// A tokenizer read from a `.model` file.
#[derive(Debug)]
pub(crate) struct SentencePiece {
    normalizer: Normalizer,
    lattice: Lattice,
}

/// Reads a `.model` file.
pub(crate) fn read(bytes: &[u8]) -> Result<Parts, TextError> {
    TextError::limit(bytes, LARGEST)?;
    let ModelFile { pieces, normalizer } = proto::parse(bytes)?;
    let vocabulary = pieces.len() + 2;
    let backend = Backend::SentencePiece(SentencePiece { normalizer: Normalizer::new(normalizer)?, lattice: Lattice::new(pieces)? });
    let (prefix, suffix) = (vec![SPECIAL.bos], vec![SPECIAL.eos]);
    Ok(Parts { backend, kind: TokenizerKind::SentencePiece, special: SPECIAL, prefix, suffix, vocabulary })
}

impl SentencePiece {
    /// The ids of `text` in XLM-R's numbering, without special tokens.
    pub(crate) fn tokens(&self, text: &str) -> Vec<u32> {
        let to_xlm_r = |piece: Option<u32>| piece.map_or(SPECIAL.unk, |id| id + 1);
        self.lattice.segment(&self.normalizer.normalize(text)).into_iter().map(to_xlm_r).collect()
    }
}
