//! The `tokenizers` crate behind one small type, and the pieces that hua builds it from.
//!
//! Only what text to ids needs: no padding, truncation, post-processor or decoder ever enters the library.
use tokenizers::models::ModelWrapper;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::{BertNormalizer, NormalizerWrapper};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{AddedToken, Tokenizer};

use crate::TextError;
use crate::bert::BertCase;

/// A tokenizer that the library runs alone.
pub(crate) struct LibraryTokenizer(Tokenizer);

impl LibraryTokenizer {
    /// `added` are recognised in the text before anything else happens to it.
    pub(crate) fn new(
        model: impl Into<ModelWrapper>,
        normalizer: Option<NormalizerWrapper>,
        pre_tokenizer: Option<PreTokenizerWrapper>,
        added: Vec<AddedToken>,
    ) -> Result<Self, TextError> {
        let mut tokenizer = Tokenizer::new(model);
        tokenizer.with_normalizer(normalizer).map_err(TextError::library("the normalizer"))?;
        tokenizer.with_pre_tokenizer(pre_tokenizer);
        tokenizer.add_tokens(added).map_err(TextError::library("the added tokens"))?;
        Ok(Self(tokenizer))
    }

    /// BERT as Hugging Face runs it.
    pub(crate) fn bert(pieces: WordPiece, normalizer: BertNormalizer, added: Vec<AddedToken>) -> Result<Self, TextError> {
        Self::new(pieces, Some(normalizer.into()), Some(BertPreTokenizer.into()), added)
    }

    /// The ids of `text`, without special tokens around them.
    pub(crate) fn tokens(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let encoding = self.0.encode_fast(text, false).map_err(TextError::Encode)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The id of a token by its spelling.
    pub(crate) fn id(&self, token: &str) -> Option<u32> {
        self.0.token_to_id(token)
    }
}

/// A special token as Hugging Face adds it to a tokenizer that has no `tokenizer.json`.
pub(crate) fn added(token: &str) -> AddedToken {
    AddedToken::from(token, true)
}

/// Hugging Face's cleaning of text for BERT.
pub(crate) fn bert_normalizer(case: BertCase) -> BertNormalizer {
    BertNormalizer::new(true, case.ideographs, case.strip_accents, case.lower)
}
