//! Unigram as Hugging Face runs it, over [`Pieces`]: the model of the `tokenizers` crate, loaded in a tenth of its time.
//!
//! The rules are those of tokenizers 0.23 (`models/unigram/model.rs`): scores are added in double precision, the first of equals
//! wins, an unknown character costs 10 more than the worst piece, unknown characters in a row are one token. Normaliser,
//! splitter and added tokens remain the library's.
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tokenizers::models::{ModelWrapper, TrainerWrapper};
use tokenizers::{Model, Result, Token};

use crate::pieces::Pieces;

/// What an unknown character costs more than the worst piece.
const UNKNOWN_PENALTY: f64 = 10.0;

/// A vocabulary with scores.
#[derive(Debug)]
pub(crate) struct Unigram {
    pieces: Pieces,
    scores: Vec<f64>,
    unknown: u32,
    unknown_score: f64,
    byte_fallback: bool,
}

/// The best way to reach a position of the text.
#[derive(Clone, Copy)]
struct Node {
    piece: u32,
    /// Where that piece begins; nobody has come here yet if that is not before the position.
    start: usize,
    score: f64,
}

impl Unigram {
    /// `scores` has one for each piece, and `unknown` is one of them.
    pub(super) fn new(pieces: Pieces, scores: Vec<f64>, unknown: u32, byte_fallback: bool) -> Self {
        let lowest = scores.iter().copied().fold(f64::INFINITY, f64::min);
        Self { pieces, scores, unknown, unknown_score: lowest - UNKNOWN_PENALTY, byte_fallback }
    }

    /// Where the pieces of the most probable cut of `text` end.
    fn cut(&self, text: &str) -> Vec<usize> {
        let mut nodes = vec![Node { piece: 0, start: usize::MAX, score: 0.0 }; text.len() + 1];
        for (start, c) in text.char_indices() {
            let here = nodes[start].score;
            let mut reach = |end: usize, piece, score| {
                let node = &mut nodes[end];
                if node.start == usize::MAX || score > node.score {
                    *node = Node { piece, start, score };
                }
            };
            let mut single = false;
            for (length, piece) in self.pieces.prefixes(&text[start..]) {
                reach(start + length, piece, self.scores[piece as usize] + here);
                single |= length == c.len_utf8();
            }
            if !single {
                reach(start + c.len_utf8(), self.unknown, self.unknown_score + here);
            }
        }
        let mut ends = Vec::new();
        let (mut end, mut after_unknown) = (text.len(), false);
        while end > 0 {
            let Node { piece, start, .. } = nodes[end];
            let unknown = piece == self.unknown;
            // Of unknown pieces in a row, the last says where the token ends.
            if !(unknown && after_unknown) {
                ends.push(end);
            }
            (end, after_unknown) = (start, unknown);
        }
        ends.reverse();
        ends
    }

    /// A token for each byte, if the vocabulary has them all.
    fn bytes(&self, text: &str, place: (usize, usize)) -> Option<Vec<Token>> {
        let token = |byte: u8| {
            let spelled = format!("<0x{byte:02X}>");
            self.pieces.find(&spelled).map(|id| Token::new(id, spelled, place))
        };
        text.bytes().map(token).collect()
    }
}

impl Model for Unigram {
    type Trainer = TrainerWrapper;

    fn tokenize(&self, text: &str) -> Result<Vec<Token>> {
        let mut tokens = Vec::new();
        let mut start = 0;
        for end in self.cut(text) {
            let (piece, place) = (&text[start..end], (start, end));
            let known = self.pieces.find(piece);
            match self.bytes(piece, place).filter(|_| known.is_none() && self.byte_fallback) {
                Some(bytes) => tokens.extend(bytes),
                None => tokens.push(Token::new(known.unwrap_or(self.unknown), piece.to_owned(), place)),
            }
            start = end;
        }
        Ok(tokens)
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        self.pieces.find(token)
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        self.pieces.get(id).map(str::to_owned)
    }

    fn get_vocab(&self) -> HashMap<String, u32> {
        (0..self.pieces.len() as u32).filter_map(|id| Some((self.pieces.get(id)?.to_owned(), id))).collect()
    }

    fn get_vocab_size(&self) -> usize {
        self.pieces.len()
    }

    fn save(&self, _folder: &Path, _name: Option<&str>) -> Result<Vec<PathBuf>> {
        Err("a vocabulary that was read is not written".into())
    }

    fn get_trainer(&self) -> TrainerWrapper {
        ModelWrapper::from(tokenizers::models::unigram::Unigram::default()).get_trainer()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1024, ..ProptestConfig::default() })]

        /// Few scores, so that equal sums are common; `<unk>` in the text too.
        #[test]
        fn every_text_is_cut_as_the_library_cuts_it(
            spelled in proptest::collection::vec(("[ab虹é]{1,4}|<0x6[12]>|<0xE8>|<unk>", 0u8..4), 1..40),
            unknown in 0usize..40,
            byte_fallback in any::<bool>(),
            text in "([ab虹éx]|<unk>){0,12}",
        ) {
            let list: Vec<(String, f64)> = spelled.iter().map(|(piece, score)| (piece.clone(), -f64::from(*score) / 3.0)).collect();
            let unknown = unknown % list.len();
            let library = tokenizers::models::unigram::Unigram::from(list.clone(), Some(unknown), byte_fallback).unwrap();
            let mut pieces = Pieces::default();
            list.iter().for_each(|(piece, _)| { pieces.push(piece); });
            let scores = list.into_iter().map(|(_, score)| score).collect();
            let own = Unigram::new(pieces, scores, unknown as u32, byte_fallback);
            let found: Vec<_> = own.tokenize(&text).unwrap().into_iter().map(|t| (t.id, t.value, t.offsets)).collect();
            let wanted: Vec<_> = library.tokenize(&text).unwrap().into_iter().map(|t| (t.id, t.value, t.offsets)).collect();
            prop_assert_eq!(found, wanted);
        }
    }
}
