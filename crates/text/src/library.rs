//! The `tokenizers` crate behind one small type, and the pieces that hua builds it from.
//!
//! Only what text to ids needs: no padding, truncation, post-processor or decoder ever enters the library.
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tokenizers::models::wordpiece::WordPiece;
use tokenizers::models::{ModelWrapper, TrainerWrapper};
use tokenizers::normalizers::{BertNormalizer, NormalizerWrapper};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{AddedToken, DecoderWrapper, Model, PostProcessorWrapper, Token, TokenizerImpl};

use crate::TextError;
use crate::bert::BertCase;
use crate::json::Unigram;

/// A tokenizer that the library runs.
pub(crate) struct LibraryTokenizer(
    TokenizerImpl<LibraryModel, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>,
);

/// What cuts words into pieces: the library's own, but for the one that it takes too long to load.
pub(crate) enum LibraryModel {
    Library(ModelWrapper),
    Unigram(Unigram),
}

impl LibraryTokenizer {
    /// `added` are recognised in the text before anything else happens to it.
    pub(crate) fn new(
        model: LibraryModel,
        normalizer: Option<NormalizerWrapper>,
        pre_tokenizer: Option<PreTokenizerWrapper>,
        added: Vec<AddedToken>,
    ) -> Result<Self, TextError> {
        let mut tokenizer = TokenizerImpl::new(model);
        tokenizer.with_normalizer(normalizer).map_err(TextError::library("the normalizer"))?;
        tokenizer.with_pre_tokenizer(pre_tokenizer);
        tokenizer.add_tokens(added).map_err(TextError::library("the added tokens"))?;
        Ok(Self(tokenizer))
    }

    /// BERT as Hugging Face runs it.
    pub(crate) fn bert(pieces: WordPiece, normalizer: BertNormalizer, added: Vec<AddedToken>) -> Result<Self, TextError> {
        Self::new(LibraryModel::Library(pieces.into()), Some(normalizer.into()), Some(BertPreTokenizer.into()), added)
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

impl LibraryModel {
    fn model(&self) -> &dyn Model<Trainer = TrainerWrapper> {
        match self {
            Self::Library(model) => model,
            Self::Unigram(model) => model,
        }
    }
}

impl Model for LibraryModel {
    type Trainer = TrainerWrapper;

    fn tokenize(&self, text: &str) -> tokenizers::Result<Vec<Token>> {
        self.model().tokenize(text)
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        self.model().token_to_id(token)
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        self.model().id_to_token(id)
    }

    fn get_vocab(&self) -> HashMap<String, u32> {
        self.model().get_vocab()
    }

    fn get_vocab_size(&self) -> usize {
        self.model().get_vocab_size()
    }

    fn save(&self, folder: &Path, name: Option<&str>) -> tokenizers::Result<Vec<PathBuf>> {
        self.model().save(folder, name)
    }

    fn get_trainer(&self) -> TrainerWrapper {
        self.model().get_trainer()
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
