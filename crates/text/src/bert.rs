//! WordPiece as Chinese-CLIP was trained: cn_clip's cleaning rules, the library's greedy matching.
//!
//! The library's own BERT rules drop every category `C*`, lower-case letter by letter and recognise special tokens
//! inside the text. cn_clip 1.6.0 (`clip/bert_tokenizer.py`, Google's original) does none of these, so its cleaning is
//! written out here: drop `Cc`, `Cf`, NUL and U+FFFD; spaces around ideographs; lower case; NFD without `Mn`; split at
//! punctuation. Its training and evaluation (`training/data.py`, `eval/data.py`) lower-case and straighten the double
//! quotes before that; the public `tokenize()` does not, which turns them into `[UNK]`.
//!
//! Categories are those of a newer Unicode than Python's; the vocabulary knows no character assigned in between.
use std::collections::HashMap;

use tokenizers::Model;
use tokenizers::models::wordpiece::WordPiece;
use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

use crate::library::{LibraryTokenizer, added, bert_normalizer};
use crate::tokenizer::{Backend, Parts};
use crate::{SpecialIds, TextError, TokenizerKind, WordPieceRules};

/// Longer words are unknown.
const CN_CLIP_WORD: usize = 200;
/// The same in Hugging Face's tokenizer.
const HUGGING_FACE_WORD: usize = 100;
/// The tokens that Hugging Face recognises in a text.
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// A `vocab.txt` in bytes; the Chinese one has 109,540.
const LARGEST: u64 = 4 << 20;

/// What `tokenizer_config.json` may say about Hugging Face's rules.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BertCase {
    /// Lower-case the text.
    pub lower: bool,
    /// Drop accents; as `lower` if the file does not say.
    pub strip_accents: Option<bool>,
    /// Put spaces around ideographs.
    pub ideographs: bool,
}

impl Default for BertCase {
    fn default() -> Self {
        Self { lower: true, strip_accents: None, ideographs: true }
    }
}

/// The ids of a `vocab.txt`: one token a line, its number is its id.
pub(crate) fn read_vocabulary(bytes: &[u8]) -> Result<HashMap<String, u32>, TextError> {
    TextError::limit(bytes, LARGEST)?;
    let text = std::str::from_utf8(bytes).map_err(|e| TextError::invalid("the vocabulary", format!("not UTF-8 ({e})"), "UTF-8"))?;
    // Both readers of reference split at line feeds alone: U+2028 is a token of the Chinese vocabulary.
    let lines = text.strip_suffix('\n').unwrap_or(text).split('\n');
    Ok(lines.enumerate().map(|(id, line)| (line.strip_suffix('\r').unwrap_or(line).to_owned(), id as u32)).collect())
}

/// A WordPiece tokenizer with the rules asked for.
pub(crate) fn word_piece(vocabulary: HashMap<String, u32>, rules: WordPieceRules, case: BertCase) -> Result<Parts, TextError> {
    let id = |token: &'static str| {
        vocabulary.get(token).copied().ok_or_else(|| {
            TextError::invalid("the vocabulary", format!("{} tokens without `{token}`", vocabulary.len()), "a BERT vocabulary")
        })
    };
    let special = SpecialIds { bos: id("[CLS]")?, eos: id("[SEP]")?, pad: id("[PAD]")?, unk: id("[UNK]")? };
    let size = vocabulary.values().max().map_or(0, |&id| id as usize + 1);
    let recognised: Vec<_> = SPECIAL.into_iter().filter(|token| vocabulary.contains_key(*token)).map(added).collect();
    let words = if rules == WordPieceRules::HuggingFace { HUGGING_FACE_WORD } else { CN_CLIP_WORD };
    let pieces = WordPiece::builder()
        .vocab(vocabulary.into_iter().collect::<tokenizers::models::bpe::Vocab>())
        .max_input_chars_per_word(words)
        .build()
        .map_err(TextError::library("the vocabulary"))?;
    let backend = match rules {
        WordPieceRules::CnClip => Backend::Bert(BertTokenizer { pieces, straighten_quotes: false }),
        WordPieceRules::Training => Backend::Bert(BertTokenizer { pieces, straighten_quotes: true }),
        WordPieceRules::HuggingFace => Backend::Library(Box::new(LibraryTokenizer::bert(pieces, bert_normalizer(case), recognised)?)),
    };
    Ok(Parts { backend, kind: TokenizerKind::WordPiece, special, prefix: vec![special.bos], suffix: vec![special.eos], vocabulary: size })
}

/// cn_clip's tokenizer.
pub(crate) struct BertTokenizer {
    pieces: WordPiece,
    straighten_quotes: bool,
}

impl BertTokenizer {
    /// The ids of `text`, without special tokens.
    pub(crate) fn tokens(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let text = if self.straighten_quotes { &text.to_lowercase().replace(['“', '”'], "\"") } else { text };
        let mut ids = Vec::new();
        for word in spaced(text).split_whitespace() {
            let word: String = word.to_lowercase().nfd().filter(|c| c.general_category() != GeneralCategory::NonspacingMark).collect();
            for part in split_at_punctuation(&word) {
                ids.extend(self.pieces.tokenize(part).map_err(TextError::Encode)?.iter().map(|token| token.id));
            }
        }
        Ok(ids)
    }
}

/// `text` without control characters, every white space a space, and spaces around ideographs.
fn spaced(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' | '\n' | '\r' => out.push(' '),
            '\0' | '\u{fffd}' => {}
            _ if is_ideograph(c) => out.extend([' ', c, ' ']),
            _ => match c.general_category() {
                GeneralCategory::Control | GeneralCategory::Format => {}
                GeneralCategory::SpaceSeparator => out.push(' '),
                _ => out.push(c),
            },
        }
    }
    out
}

/// The runs between punctuation marks, and the marks one by one. NFD may have made spaces; they separate as well.
fn split_at_punctuation(word: &str) -> impl Iterator<Item = &str> {
    word.split_inclusive(is_punctuation).flat_map(|run| {
        let mark = run.char_indices().next_back().filter(|(_, c)| is_punctuation(*c)).map_or(run.len(), |(at, _)| at);
        let (before, mark) = run.split_at(mark);
        before.split_whitespace().chain((!mark.is_empty()).then_some(mark))
    })
}

/// All ASCII that is neither letter, digit, space nor control, and category `P*`.
fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation() || c.general_category_group() == GeneralCategoryGroup::Punctuation
}

/// The eight blocks of ideographs that BERT knows.
fn is_ideograph(c: char) -> bool {
    matches!(u32::from(c),
        0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x20000..=0x2a6df | 0x2a700..=0x2b73f
        | 0x2b740..=0x2b81f | 0x2b820..=0x2ceaf | 0x2f800..=0x2fa1f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_split_at_every_punctuation_mark() {
        let parts: Vec<_> = split_at_punctuation("a,b。。c").collect();
        assert_eq!(parts, ["a", ",", "b", "。", "。", "c"]);
        assert_eq!(split_at_punctuation("").count(), 0);
    }

    #[test]
    fn ideographs_stand_alone_and_controls_vanish() {
        assert_eq!(spaced("a中\u{200b}b\tc\u{a0}d\u{fffd}\0"), "a 中 b c d");
    }

    #[test]
    fn a_line_separator_is_a_token_of_its_own() {
        let vocabulary = read_vocabulary("a\n\u{2028}\nb\r\n".as_bytes()).unwrap();
        assert_eq!((vocabulary["\u{2028}"], vocabulary["b"]), (1, 2));
    }
}
