//! `tokenizer.json`, the serialised form of the `tokenizers` crate, from untrusted bytes.
//!
//! The library's own reader is not used: it would compile any pattern, believe any table and build any model, and
//! several of those panic or never end. Here the file is read into types that list what hua can run (three models and
//! the normalisers and splitters that BERT, XLM-R and CLIP are made of); anything else is refused by name. A new family
//! that needs another component adds a variant.
mod components;
mod model;
mod template;
mod unigram;

use serde::Deserialize;
use tokenizers::AddedToken;

use crate::bert::{self, BertCase};
use crate::library::LibraryTokenizer;
use crate::tokenizer::{Backend, Parts};
use crate::{SpecialIds, TextError, TokenizerKind, WordPieceRules};

use components::{NormalizerSpec, PreTokenizerSpec};
use model::{Model, ModelSpec};
use template::ProcessorSpec;
pub(crate) use unigram::Unigram;

/// In bytes; XLM-R's has 17 million.
pub(crate) const LARGEST: u64 = 64 << 20;
/// Ids beyond this are no model's: the embedding table would not fit.
const HIGHEST_ID: u32 = 1 << 24;
/// Real files have up to some thousand.
const MOST_ADDED: usize = 1 << 16;
/// In bytes.
const LONGEST_ADDED: usize = 1024;

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<AddedSpec>,
    normalizer: Option<NormalizerSpec>,
    pre_tokenizer: Option<PreTokenizerSpec>,
    post_processor: Option<ProcessorSpec>,
    model: ModelSpec,
}

#[derive(Deserialize)]
struct AddedSpec {
    id: u32,
    #[serde(flatten)]
    token: AddedToken,
}

/// Reads a `tokenizer.json`. WordPiece takes the file's own pipeline only under [`WordPieceRules::HuggingFace`].
pub(crate) fn read(bytes: &[u8], rules: WordPieceRules) -> Result<Parts, TextError> {
    TextError::limit(bytes, LARGEST)?;
    let file: File = serde_json::from_slice(bytes)?;
    let kind = file.model.kind();
    if kind == TokenizerKind::WordPiece && rules != WordPieceRules::HuggingFace {
        return bert::word_piece(file.model.into_map()?, rules, BertCase::default());
    }
    let added = check_added(&file.added_tokens)?;
    let (prefix, suffix) = file.post_processor.as_ref().and_then(ProcessorSpec::around).ok_or_else(|| {
        TextError::invalid("`post_processor`", "without special tokens", "a template that opens and closes the text with one")
    })?;
    let Model { model, highest_id, unknown } = file.model.build()?;
    let normalizer = file.normalizer.map(NormalizerSpec::build).transpose()?;
    let pre_tokenizer = file.pre_tokenizer.map(PreTokenizerSpec::build).transpose()?;
    let tokens = file.added_tokens.iter().map(|added| added.token.clone()).collect();
    let library = LibraryTokenizer::new(model, normalizer, pre_tokenizer, tokens)?;
    for AddedSpec { id, token } in &file.added_tokens {
        if library.id(&token.content) != Some(*id) {
            let found = format!("`{}` with id {id}", token.content.escape_debug());
            return Err(TextError::invalid("an added token", found, "the id that the vocabulary gives it"));
        }
    }
    let highest_id = highest_id.max(added);
    let (bos, eos) = (prefix[0], suffix[suffix.len() - 1]);
    if prefix.iter().chain(&suffix).any(|&id| id > highest_id) {
        return Err(TextError::invalid("`post_processor`", format!("{prefix:?} … {suffix:?}"), "ids of the vocabulary"));
    }
    let pad = ["<pad>", "[PAD]"].into_iter().find_map(|token| library.id(token)).unwrap_or(eos);
    let special = SpecialIds { bos, eos, pad, unk: unknown };
    Ok(Parts { backend: Backend::Library(Box::new(library)), kind, special, prefix, suffix, vocabulary: highest_id as usize + 1 })
}

/// The highest id among the added tokens.
fn check_added(tokens: &[AddedSpec]) -> Result<u32, TextError> {
    if tokens.len() > MOST_ADDED {
        return Err(TextError::invalid("`added_tokens`", format!("{} tokens long", tokens.len()), "at most 65536"));
    }
    for AddedSpec { id, token } in tokens {
        if token.content.is_empty() || token.content.len() > LONGEST_ADDED || *id > HIGHEST_ID {
            let found = format!("{} bytes with id {id}", token.content.len());
            return Err(TextError::invalid("an added token", found, "1 to 1024 bytes with an id up to 16777216"));
        }
    }
    Ok(tokens.iter().map(|added| added.id).max().unwrap_or(0))
}
