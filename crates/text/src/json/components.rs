//! The normalisers and splitters that hua lets into the library.
//!
//! Each is checked so that a short text cannot grow without bound and no pattern runs that hua has not seen: a
//! replacement is one character for one or more, a table of characters comes once and with short replacements, and
//! patterns are compared with the known ones.
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokenizers::SplitDelimiterBehavior;
use tokenizers::normalizers::{
    BertNormalizer, Lowercase, NFC, NFD, NFKC, NFKD, NormalizerWrapper, Precompiled, Prepend, Replace, Sequence, Strip, StripAccents,
    replace::ReplacePattern,
};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::sequence::Sequence as PreSequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::pre_tokenizers::whitespace::{Whitespace, WhitespaceSplit};

use crate::TextError;
use crate::charsmap::Charsmap;
use crate::clip::{PATTERN, SPACES};

/// Real files have at most three.
const MOST: usize = 8;
/// The patterns of XLM-R, of CLIP, and of CLIP before its special tokens entered it.
const PATTERNS: [&str; 4] = [" {2,}", SPACES, PATTERN, r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"];

/// What may clean a text.
#[derive(Deserialize)]
#[serde(tag = "type")]
pub(super) enum NormalizerSpec {
    BertNormalizer {
        clean_text: bool,
        handle_chinese_chars: bool,
        strip_accents: Option<bool>,
        lowercase: bool,
    },
    Lowercase,
    #[serde(rename = "NFC")]
    Nfc,
    #[serde(rename = "NFD")]
    Nfd,
    #[serde(rename = "NFKC")]
    Nfkc,
    #[serde(rename = "NFKD")]
    Nfkd,
    Precompiled {
        precompiled_charsmap: String,
    },
    Prepend {
        prepend: String,
    },
    Replace {
        pattern: Pattern,
        content: String,
    },
    Sequence {
        normalizers: Vec<NormalizerSpec>,
    },
    Strip {
        strip_left: bool,
        strip_right: bool,
    },
    StripAccents,
}

/// What may split a text.
#[derive(Deserialize)]
#[serde(tag = "type")]
pub(super) enum PreTokenizerSpec {
    BertPreTokenizer,
    ByteLevel {
        #[serde(default = "yes")]
        add_prefix_space: bool,
        #[serde(default = "yes")]
        use_regex: bool,
    },
    Metaspace {
        replacement: char,
        add_prefix_space: Option<bool>,
        prepend_scheme: Option<PrependScheme>,
        split: Option<bool>,
    },
    Sequence {
        pretokenizers: Vec<PreTokenizerSpec>,
    },
    Split {
        pattern: Pattern,
        behavior: SplitDelimiterBehavior,
        invert: bool,
    },
    Whitespace,
    WhitespaceSplit,
}

#[derive(Deserialize)]
pub(super) enum Pattern {
    Regex(String),
    String(String),
}

fn yes() -> bool {
    true
}

impl NormalizerSpec {
    /// The library's normaliser.
    pub(super) fn build(self) -> Result<NormalizerWrapper, TextError> {
        let mut steps = Vec::new();
        self.flatten(&mut steps);
        let tables = steps.iter().filter(|step| matches!(step, Self::Precompiled { .. })).count();
        if steps.len() > MOST || tables > 1 {
            return Err(TextError::invalid("`normalizer`", format!("{} steps, {tables} tables", steps.len()), "at most 8 and 1"));
        }
        let mut built = steps.into_iter().map(Self::step).collect::<Result<Vec<_>, _>>()?;
        Ok(if built.len() == 1 { built.remove(0) } else { Sequence::new(built).into() })
    }

    fn flatten(self, steps: &mut Vec<Self>) {
        match self {
            Self::Sequence { normalizers } => normalizers.into_iter().for_each(|inner| inner.flatten(steps)),
            step => steps.push(step),
        }
    }

    fn step(self) -> Result<NormalizerWrapper, TextError> {
        Ok(match self {
            Self::BertNormalizer { clean_text, handle_chinese_chars, strip_accents, lowercase } => {
                BertNormalizer::new(clean_text, handle_chinese_chars, strip_accents, lowercase).into()
            }
            Self::Lowercase => Lowercase.into(),
            Self::Nfc => NFC.into(),
            Self::Nfd => NFD.into(),
            Self::Nfkc => NFKC.into(),
            Self::Nfkd => NFKD.into(),
            Self::Precompiled { precompiled_charsmap } => table(&precompiled_charsmap)?.into(),
            Self::Prepend { prepend } => match prepend.chars().count() {
                1 => Prepend::new(prepend).into(),
                found => return Err(TextError::invalid("what `Prepend` prepends", format!("{found} characters"), "1 character")),
            },
            Self::Replace { pattern, content } => replace(pattern, content)?.into(),
            Self::Sequence { .. } => return Err(TextError::invalid("`normalizer`", "a sequence in a sequence", "a flat one")),
            Self::Strip { strip_left, strip_right } => Strip::new(strip_left, strip_right).into(),
            Self::StripAccents => StripAccents.into(),
        })
    }
}

/// A table of characters, proved to be walkable before the library gets it.
fn table(base64: &str) -> Result<Precompiled, TextError> {
    let bytes = STANDARD.decode(base64).map_err(|e| TextError::invalid("the precompiled charsmap", e.to_string(), "base64"))?;
    Charsmap::parse(&bytes)?;
    Precompiled::from(&bytes).map_err(|e| TextError::Library { what: "the precompiled charsmap", source: Box::new(e) })
}

fn replace(pattern: Pattern, content: String) -> Result<Replace, TextError> {
    if content.chars().count() > 1 {
        return Err(TextError::invalid("what `Replace` inserts", format!("{} bytes", content.len()), "at most one character"));
    }
    let pattern = match pattern {
        Pattern::Regex(regex) => ReplacePattern::Regex(known(regex)?),
        Pattern::String(text) => ReplacePattern::String(literal(text)?),
    };
    Replace::new(pattern, content).map_err(TextError::library("a pattern"))
}

/// A regular expression that hua has seen.
fn known(regex: String) -> Result<String, TextError> {
    if PATTERNS.contains(&regex.as_str()) {
        return Ok(regex);
    }
    let found = regex.chars().take(80).flat_map(char::escape_debug).collect::<String>();
    Err(TextError::invalid("a regular expression", format!("`{found}`"), "one of XLM-R or CLIP"))
}

fn literal(text: String) -> Result<String, TextError> {
    match text.len() {
        1..=64 => Ok(text),
        found => Err(TextError::invalid("a pattern", format!("{found} bytes"), "1 to 64 bytes")),
    }
}

impl PreTokenizerSpec {
    /// The library's splitter.
    pub(super) fn build(self) -> Result<PreTokenizerWrapper, TextError> {
        let mut steps = Vec::new();
        self.flatten(&mut steps);
        let bytes = steps.iter().filter(|step| matches!(step, Self::ByteLevel { .. })).count();
        if steps.len() > MOST || bytes > 1 {
            return Err(TextError::invalid("`pre_tokenizer`", format!("{} steps, {bytes} to bytes", steps.len()), "at most 8 and 1"));
        }
        let mut built = steps.into_iter().map(Self::step).collect::<Result<Vec<_>, _>>()?;
        Ok(if built.len() == 1 { built.remove(0) } else { PreSequence::new(built).into() })
    }

    fn flatten(self, steps: &mut Vec<Self>) {
        match self {
            Self::Sequence { pretokenizers } => pretokenizers.into_iter().for_each(|inner| inner.flatten(steps)),
            step => steps.push(step),
        }
    }

    fn step(self) -> Result<PreTokenizerWrapper, TextError> {
        Ok(match self {
            Self::BertPreTokenizer => BertPreTokenizer.into(),
            Self::ByteLevel { add_prefix_space, use_regex } => ByteLevel::new(add_prefix_space, true, use_regex).into(),
            Self::Metaspace { replacement, add_prefix_space, prepend_scheme, split } => {
                let scheme = match (prepend_scheme, add_prefix_space) {
                    (Some(scheme), _) => scheme,
                    (None, Some(false)) => PrependScheme::Never,
                    (None, _) => PrependScheme::Always,
                };
                Metaspace::new(replacement, scheme, split.unwrap_or(true)).into()
            }
            Self::Sequence { .. } => return Err(TextError::invalid("`pre_tokenizer`", "a sequence in a sequence", "a flat one")),
            Self::Split { pattern, behavior, invert } => {
                let pattern = match pattern {
                    Pattern::Regex(regex) => SplitPattern::Regex(known(regex)?),
                    Pattern::String(text) => SplitPattern::String(literal(text)?),
                };
                Split::new(pattern, behavior, invert).map_err(TextError::library("a pattern"))?.into()
            }
            Self::Whitespace => Whitespace.into(),
            Self::WhitespaceSplit => WhitespaceSplit.into(),
        })
    }
}
