//! The three models of `tokenizer.json`, checked before the library builds them.
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::models::wordpiece::WordPiece;

use super::{HIGHEST_ID, Unigram};
use crate::clip::byte_pairs;
use crate::library::LibraryModel;
use crate::pieces::{LONGEST_PIECE, Pieces};
use crate::{TextError, TokenizerKind};

/// Bounds the time that WordPiece, which is quadratic in it, spends on a word.
const LONGEST_WORD: usize = 1024;

/// A model as the file spells it. Old files do not say its type.
#[derive(Deserialize)]
pub(super) struct ModelSpec {
    vocab: Vocabulary,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    dropout: Option<f32>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    fuse_unk: bool,
    #[serde(default)]
    ignore_merges: bool,
    #[serde(default)]
    max_input_chars_per_word: Option<usize>,
    #[serde(default)]
    merges: Option<Vec<Merge>>,
    #[serde(default, rename = "type")]
    named: Option<ModelType>,
    #[serde(default)]
    unk_id: Option<usize>,
    #[serde(default)]
    unk_token: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
enum ModelType {
    #[serde(rename = "BPE")]
    Bpe,
    Unigram,
    WordPiece,
}

/// Old files write "left right", new ones a pair.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Line(String),
    Pair(String, String),
}

/// A list of pieces with scores (Unigram) or ids by token (the others).
enum Vocabulary {
    Ids(HashMap<String, u32>),
    Scores(Pieces, Vec<f64>),
}

/// A piece as the file spells it, without a copy where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Spelled<'a>(#[serde(borrow)] Cow<'a, str>);

/// What was made of it.
pub(super) struct Model {
    pub model: LibraryModel,
    pub highest_id: u32,
    pub unknown: u32,
}

impl ModelSpec {
    /// The type named, or the one that the fields allow.
    pub(super) fn kind(&self) -> TokenizerKind {
        match (self.named, &self.vocab, &self.merges) {
            (Some(ModelType::Bpe), ..) | (None, Vocabulary::Ids(_), Some(_)) => TokenizerKind::ClipBpe,
            (Some(ModelType::Unigram), ..) | (None, Vocabulary::Scores(..), _) => TokenizerKind::Unigram,
            (Some(ModelType::WordPiece), ..) | (None, Vocabulary::Ids(_), None) => TokenizerKind::WordPiece,
        }
    }

    /// The ids by token.
    pub(super) fn into_map(self) -> Result<HashMap<String, u32>, TextError> {
        match self.vocab {
            Vocabulary::Ids(ids) => match ids.values().max() {
                Some(&highest) if highest > HIGHEST_ID => Err(TextError::invalid("an id", highest.to_string(), "at most 16777216")),
                _ => Ok(ids),
            },
            Vocabulary::Scores(..) => Err(TextError::invalid("the vocabulary", "a list", "ids by token")),
        }
    }

    /// Builds the model.
    pub(super) fn build(self) -> Result<Model, TextError> {
        match self.kind() {
            TokenizerKind::ClipBpe => self.byte_pairs(),
            TokenizerKind::WordPiece => self.word_piece(),
            TokenizerKind::SentencePiece | TokenizerKind::Unigram => self.unigram(),
        }
    }

    fn byte_pairs(mut self) -> Result<Model, TextError> {
        // Dropout is for training; a prefix is no model's of ours, and the library slices by its length unchecked.
        if self.dropout.is_some_and(|dropout| dropout != 0.0) || self.continuing_subword_prefix.as_ref().is_some_and(|p| !p.is_empty()) {
            return Err(TextError::invalid("the BPE model", "one with dropout or a subword prefix", "neither"));
        }
        let merges = self.merges.take().unwrap_or_default().into_iter().map(Merge::into_pair).collect::<Result<_, _>>()?;
        let mut builder = BPE::builder().fuse_unk(self.fuse_unk).byte_fallback(self.byte_fallback).ignore_merges(self.ignore_merges);
        let unknown = self.unk_token.take();
        if let Some(token) = &unknown {
            builder = builder.unk_token(token.clone());
        }
        if let Some(suffix) = self.end_of_word_suffix.take() {
            builder = builder.end_of_word_suffix(suffix);
        }
        let ids = self.into_map()?;
        let (highest_id, unknown) = (highest(&ids), unknown_id(&ids, unknown.as_deref())?);
        Ok(Model { model: LibraryModel::Library(byte_pairs(ids, merges, builder)?.into()), highest_id, unknown })
    }

    fn word_piece(mut self) -> Result<Model, TextError> {
        let longest = self.max_input_chars_per_word.unwrap_or(100);
        if longest > LONGEST_WORD {
            return Err(TextError::invalid("`max_input_chars_per_word`", longest.to_string(), "at most 1024"));
        }
        let prefix = self.continuing_subword_prefix.take().unwrap_or_else(|| "##".to_owned());
        let token = self.unk_token.take().unwrap_or_else(|| "[UNK]".to_owned());
        let ids = self.into_map()?;
        let (highest_id, unknown) = (highest(&ids), unknown_id(&ids, Some(&token))?);
        let builder = WordPiece::builder().vocab(ids.into_iter().collect::<Vocab>()).max_input_chars_per_word(longest);
        let model = builder.unk_token(token).continuing_subword_prefix(prefix).build().map_err(TextError::library("the vocabulary"))?;
        Ok(Model { model: LibraryModel::Library(model.into()), highest_id, unknown })
    }

    fn unigram(self) -> Result<Model, TextError> {
        let Vocabulary::Scores(pieces, scores) = self.vocab else {
            return Err(TextError::invalid("the vocabulary", "an object", "a list of pieces with scores"));
        };
        let found = self.unk_id.map_or("missing".to_owned(), |id| format!("{id} of {} pieces", pieces.len()));
        let unknown =
            self.unk_id.filter(|&id| id < pieces.len()).ok_or_else(|| TextError::invalid("`unk_id`", found, "the number of a piece"))?;
        let highest_id = (pieces.len() - 1) as u32;
        let model = Unigram::new(pieces, scores, unknown as u32, self.byte_fallback);
        Ok(Model { model: LibraryModel::Unigram(model), highest_id, unknown: unknown as u32 })
    }
}

/// The unknown token must exist: the library would only miss it when a text needs it.
fn unknown_id(ids: &HashMap<String, u32>, token: Option<&str>) -> Result<u32, TextError> {
    token.and_then(|token| ids.get(token).copied()).ok_or_else(|| {
        let found = token.map_or("missing".to_owned(), |token| format!("`{}`", token.chars().take(40).collect::<String>().escape_debug()));
        TextError::invalid("`unk_token`", found, "a token of the vocabulary")
    })
}

fn highest(ids: &HashMap<String, u32>) -> u32 {
    ids.values().copied().max().unwrap_or(0)
}

impl Merge {
    fn into_pair(self) -> Result<(String, String), TextError> {
        match self {
            Self::Pair(left, right) => Ok((left, right)),
            Self::Line(line) => match line.split_once(' ') {
                Some((left, right)) => Ok((left.to_owned(), right.to_owned())),
                None => Err(TextError::invalid("a merge", format!("{} bytes without a space", line.len()), "two pieces")),
            },
        }
    }
}

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Vocabulary;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("ids by token or a list of pieces with scores")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocabulary, A::Error> {
                let mut ids = HashMap::new();
                while let Some((token, id)) = map.next_entry()? {
                    ids.insert(token, id);
                }
                Ok(Vocabulary::Ids(ids))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vocabulary, A::Error> {
                let (mut pieces, mut scores) = (Pieces::default(), Vec::new());
                while let Some((Spelled(piece), score)) = list.next_element()? {
                    if piece.is_empty() || piece.len() > LONGEST_PIECE {
                        let found = format!("piece {} is {} bytes long, wanted 1 to {LONGEST_PIECE} bytes", pieces.len(), piece.len());
                        return Err(A::Error::custom(found));
                    }
                    pieces.push(&piece);
                    scores.push(score);
                }
                Ok(Vocabulary::Scores(pieces, scores))
            }
        }
        deserializer.deserialize_any(Either)
    }
}
