//! CLIP's byte-pair encoding, from `vocab.json` and `merges.txt` or from OpenAI's `bpe_simple_vocab_16e6.txt[.gz]`.
//!
//! The pipeline is the one of Hugging Face's `CLIPTokenizer` (transformers 5.23.0): NFC, white space to one space,
//! lower case, CLIP's split pattern, bytes as letters. OpenAI's `simple_tokenizer.py` gives other ids for 322 of the
//! 5,056 golden lines: where its `ftfy.fix_text` and `html.unescape` change the text first (`&amp;`, curly quotes,
//! half-width letters, controls), where it leaves a letter and its accent apart, where its lower case knows the final
//! sigma, and where its pattern ignores case (`<|ENDOFTEXT|>` is special to it, U+0345 a letter).
use std::collections::HashMap;
use std::io::Read;

use flate2::read::GzDecoder;
use tokenizers::SplitDelimiterBehavior::Removed;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::{Lowercase, NFC, NormalizerWrapper, Replace, Sequence, replace::ReplacePattern};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreSequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};

use crate::library::{LibraryModel, LibraryTokenizer, added};
use crate::tokenizer::{Backend, Parts};
use crate::{SpecialIds, TextError, TokenizerKind};

/// The words of a text. The first alternative is how CLIP keeps its special tokens whole.
pub(crate) const PATTERN: &str = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
/// Runs of white space.
pub(crate) const SPACES: &str = r"\s+";
const START: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";
/// Marks the last piece of a word.
const WORD_END: &str = "</w>";
/// OpenAI uses the first 48,894 of the 262,144 merges of its file: 49,408 ids less 512 bytes and 2 special tokens.
pub(crate) const OPENAI_MERGES: usize = 49_152 - 256 - 2;
/// Either file in bytes, unpacked; OpenAI's merges have 3.2 million.
const LARGEST: u64 = 16 << 20;

/// From the two files of the Hugging Face layout.
pub(crate) fn from_vocabulary(vocabulary: &[u8], merges: &[u8]) -> Result<Parts, TextError> {
    TextError::limit(vocabulary, LARGEST)?;
    TextError::limit(merges, LARGEST)?;
    let vocabulary: HashMap<String, u32> = serde_json::from_slice(vocabulary)?;
    clip(vocabulary, parse_merges(merges, usize::MAX)?)
}

/// From OpenAI's file alone, plain or gzip: its merges in order give the vocabulary.
pub(crate) fn from_merges(bytes: &[u8]) -> Result<Parts, TextError> {
    let merges = openai_merges(bytes)?;
    clip(openai_tokens(&merges).zip(0..).collect(), merges)
}

/// `vocab.json` and `merges.txt` of the Hugging Face layout, from OpenAI's file.
pub(crate) fn hugging_face_files(bytes: &[u8]) -> Result<[(&'static str, Vec<u8>); 2], TextError> {
    let merges = openai_merges(bytes)?;
    let vocabulary: serde_json::Map<_, _> = openai_tokens(&merges).zip(0..).map(|(token, id): (_, u32)| (token, id.into())).collect();
    let lines = merges.iter().map(|(left, right)| format!("{left} {right}\n"));
    let merges: String = std::iter::once("#version: 0.2\n".to_owned()).chain(lines).collect();
    Ok([("vocab.json", serde_json::to_vec(&vocabulary)?), ("merges.txt", merges.into_bytes())])
}

fn openai_merges(bytes: &[u8]) -> Result<Vec<(String, String)>, TextError> {
    let mut unpacked = Vec::new();
    let plain = if bytes.starts_with(&[0x1f, 0x8b]) {
        GzDecoder::new(bytes).take(LARGEST + 1).read_to_end(&mut unpacked)?;
        &unpacked
    } else {
        bytes
    };
    TextError::limit(plain, LARGEST)?;
    let merges = parse_merges(plain, OPENAI_MERGES)?;
    // The ids of the special tokens follow from the number of merges, so a file cut short would be silently wrong.
    if merges.len() != OPENAI_MERGES {
        return Err(TextError::invalid("the list of merges", format!("{} long", merges.len()), "OpenAI's, 48894 or more"));
    }
    Ok(merges)
}

/// The tokens in the order of their ids.
fn openai_tokens(merges: &[(String, String)]) -> impl Iterator<Item = String> {
    let letters = byte_letters();
    let words: Vec<String> = letters.iter().map(|letter| letter.to_string() + WORD_END).collect();
    let pairs = merges.iter().map(|(left, right)| format!("{left}{right}"));
    letters.into_iter().map(String::from).chain(words).chain(pairs).chain([START.to_owned(), END.to_owned()])
}

fn clip(vocabulary: HashMap<String, u32>, merges: Vec<(String, String)>) -> Result<Parts, TextError> {
    let id = |token: &'static str| {
        vocabulary.get(token).copied().ok_or_else(|| {
            TextError::invalid("the vocabulary", format!("{} tokens without `{token}`", vocabulary.len()), "a CLIP vocabulary")
        })
    };
    let (bos, eos) = (id(START)?, id(END)?);
    let size = vocabulary.values().max().map_or(0, |&id| id as usize + 1);
    let model = byte_pairs(vocabulary, merges, BPE::builder().unk_token(END.to_owned()).end_of_word_suffix(WORD_END.to_owned()))?;
    let library = LibraryTokenizer::new(
        LibraryModel::Library(model.into()),
        Some(normalizer()?),
        Some(pre_tokenizer()?),
        vec![added(START), added(END)],
    )?;
    Ok(Parts {
        backend: Backend::Library(Box::new(library)),
        kind: TokenizerKind::ClipBpe,
        special: SpecialIds { bos, eos, pad: eos, unk: eos },
        prefix: vec![bos],
        suffix: vec![eos],
        vocabulary: size,
    })
}

/// A model of byte pairs. The library panics on a merge whose result is longer than every token, so each is looked up.
pub(crate) fn byte_pairs(
    vocabulary: HashMap<String, u32>,
    merges: Vec<(String, String)>,
    builder: tokenizers::models::bpe::BpeBuilder,
) -> Result<BPE, TextError> {
    let mut joined = String::new();
    for (rank, (left, right)) in merges.iter().enumerate() {
        joined.clear();
        joined.extend([left.as_str(), right.as_str()]);
        if [left, right, &joined].into_iter().any(|token| !vocabulary.contains_key(token)) {
            let found = format!("`{}` + `{}` (merge {rank})", shortened(left), shortened(right));
            return Err(TextError::invalid("a merge", found, "two tokens of the vocabulary that make a third"));
        }
    }
    builder.vocab_and_merges(vocabulary.into_iter().collect::<Vocab>(), merges).build().map_err(TextError::library("the merges"))
}

/// The first `most` merges: two pieces a line, best first; a version line may stand before them.
fn parse_merges(bytes: &[u8], most: usize) -> Result<Vec<(String, String)>, TextError> {
    let text = std::str::from_utf8(bytes).map_err(|e| TextError::invalid("the list of merges", format!("not UTF-8 ({e})"), "UTF-8"))?;
    let lines = text.lines().enumerate().filter(|(at, line)| !(line.is_empty() || *at == 0 && line.contains("#version")));
    lines
        .take(most)
        .map(|(at, line)| {
            let (left, right) =
                line.split_once(' ').filter(|(left, right)| !left.is_empty() && !right.is_empty() && !right.contains(' ')).ok_or_else(
                    || TextError::invalid("a merge", format!("`{}` (line {})", shortened(line), at + 1), "two pieces with a space between"),
                )?;
            Ok((left.to_owned(), right.to_owned()))
        })
        .collect()
}

/// Enough of a hostile line to find it.
fn shortened(line: &str) -> String {
    line.chars().take(40).flat_map(char::escape_debug).collect()
}

/// The 256 letters that stand for bytes, in the order of OpenAI's ids: printable bytes as themselves, then the others.
fn byte_letters() -> Vec<char> {
    let printable = |byte: &u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let themselves = (0..=255).filter(printable).map(char::from);
    let others = ('\u{100}'..).take((0..=255).filter(|byte| !printable(byte)).count());
    themselves.chain(others).collect()
}

fn normalizer() -> Result<NormalizerWrapper, TextError> {
    let spaces = Replace::new(ReplacePattern::Regex(SPACES.to_owned()), " ").map_err(TextError::library("a pattern"))?;
    Ok(Sequence::new(vec![NFC.into(), spaces.into(), Lowercase.into()]).into())
}

fn pre_tokenizer() -> Result<PreTokenizerWrapper, TextError> {
    let words = Split::new(SplitPattern::Regex(PATTERN.to_owned()), Removed, true).map_err(TextError::library("a pattern"))?;
    Ok(PreSequence::new(vec![words.into(), ByteLevel::new(false, true, true).into()]).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_openais_letters() {
        let letters = byte_letters();
        assert_eq!(letters.len(), 256);
        assert_eq!((letters[0], letters[93], letters[94], letters[187], letters[188], letters[255]), ('!', '~', '¡', 'ÿ', 'Ā', 'Ń'));
    }

    #[test]
    fn a_merge_outside_the_vocabulary_is_refused() {
        let vocabulary = br#"{"a": 0, "b": 1, "<|startoftext|>": 2, "<|endoftext|>": 3}"#;
        let error = from_vocabulary(vocabulary, b"#version: 0.2\na b\n").err().unwrap();
        assert_eq!(error.to_string(), "a merge is `a` + `b` (merge 0), wanted two tokens of the vocabulary that make a third");
        assert!(from_vocabulary(vocabulary, b"").is_ok());
        assert!(from_vocabulary(vocabulary, b"a").is_err());
    }
}
