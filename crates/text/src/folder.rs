//! Ways into a tokenizer: a model folder, or the bytes of its files.
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use crate::bert::{self, BertCase};
use crate::tokenizer::Parts;
use crate::{TextError, Tokenizer, TokenizerKind, TokenizerOptions, clip, json, sentencepiece};

const JSON: &str = "tokenizer.json";
const MODEL: &str = "sentencepiece.bpe.model";
const VOCABULARY_TEXT: &str = "vocab.txt";
const VOCABULARY_JSON: &str = "vocab.json";
const MERGES: &str = "merges.txt";
const OPENAI: [&str; 2] = ["bpe_simple_vocab_16e6.txt.gz", "bpe_simple_vocab_16e6.txt"];
const CONFIG: &str = "tokenizer_config.json";
const WANTED: &str =
    "`tokenizer.json`, `sentencepiece.bpe.model`, `vocab.txt`, `vocab.json` with `merges.txt`, or `bpe_simple_vocab_16e6.txt.gz`";

/// A `model_max_length` above this means "none" (transformers writes 10^30).
const LONGEST_CONTEXT: f64 = 1e6;

/// The part of `tokenizer_config.json` that changes ids.
#[derive(Default, Deserialize)]
struct Config {
    model_max_length: Option<f64>,
    do_lower_case: Option<bool>,
    strip_accents: Option<bool>,
    tokenize_chinese_chars: Option<bool>,
}

impl Config {
    fn read(dir: &Path) -> Result<Self, TextError> {
        let path = dir.join(CONFIG);
        if !path.is_file() {
            return Ok(Self::default());
        }
        in_file(&path, |bytes| Ok(serde_json::from_slice(bytes)?))
    }

    fn max_length(&self) -> usize {
        // A float-to-integer cast saturates, so a negative length becomes 0 and is refused as too short.
        self.model_max_length.filter(|length| *length <= LONGEST_CONTEXT).map_or(usize::MAX, |length| length as usize)
    }

    fn case(&self) -> BertCase {
        BertCase {
            lower: self.do_lower_case.unwrap_or(true),
            strip_accents: self.strip_accents,
            ideographs: self.tokenize_chinese_chars.unwrap_or(true),
        }
    }
}

impl Tokenizer {
    /// Opens the tokenizer of a model folder: the first of `tokenizer.json`, `sentencepiece.bpe.model`, `vocab.txt`,
    /// `vocab.json` with `merges.txt`, `bpe_simple_vocab_16e6.txt[.gz]` that [`TokenizerOptions::kind`] allows.
    /// `tokenizer_config.json` may shorten the default context and set the case rules of a `vocab.txt`.
    ///
    /// # Errors
    /// [`TextError::NoTokenizer`] if the folder has none of the files, [`TextError::File`] around anything else.
    pub fn from_dir(dir: impl AsRef<Path>, options: &TokenizerOptions) -> Result<Self, TextError> {
        let dir = dir.as_ref();
        let config = Config::read(dir)?;
        let present = |name: &str| Some(dir.join(name)).filter(|path| path.is_file());
        let wants = |kind| options.kind.is_none_or(|wanted| wanted == kind);
        let max_length = config.max_length();
        let open = |path: &Path, read: &dyn Fn(&[u8]) -> Result<Parts, TextError>| {
            in_file(path, |bytes| Self::new(read(bytes)?, options, max_length))
        };
        if let Some(path) = present(JSON).filter(|_| options.kind != Some(TokenizerKind::SentencePiece)) {
            open(&path, &|bytes| json::read(bytes, options.word_piece_rules))
        } else if let Some(path) = present(MODEL).filter(|_| wants(TokenizerKind::SentencePiece)) {
            open(&path, &sentencepiece::read)
        } else if let Some(path) = present(VOCABULARY_TEXT).filter(|_| wants(TokenizerKind::WordPiece)) {
            open(&path, &|bytes| bert::word_piece(bert::read_vocabulary(bytes)?, options.word_piece_rules, config.case()))
        } else if let (Some(vocabulary), Some(merges)) = (present(VOCABULARY_JSON), present(MERGES)) {
            let merges = in_file(&merges, |bytes| Ok(bytes.to_vec()))?;
            open(&vocabulary, &|bytes| clip::from_vocabulary(bytes, &merges))
        } else if let Some(path) = OPENAI.into_iter().find_map(present) {
            open(&path, &clip::from_merges)
        } else {
            Err(TextError::NoTokenizer { dir: dir.to_owned(), wanted: WANTED })
        }
    }

    /// From the content of a `tokenizer.json`.
    ///
    /// # Errors
    /// If it is not one, or needs what hua does not run.
    pub fn from_json_bytes(bytes: &[u8], options: &TokenizerOptions) -> Result<Self, TextError> {
        Self::new(json::read(bytes, options.word_piece_rules)?, options, usize::MAX)
    }

    /// From the content of a `sentencepiece.bpe.model` with XLM-R's three first pieces.
    ///
    /// # Errors
    /// If it is not one, or not Unigram.
    pub fn from_sentencepiece_bytes(bytes: &[u8], options: &TokenizerOptions) -> Result<Self, TextError> {
        Self::new(sentencepiece::read(bytes)?, options, usize::MAX)
    }

    /// From the content of BERT's `vocab.txt`.
    ///
    /// # Errors
    /// If it is not UTF-8 or lacks a special token.
    pub fn from_vocab_bytes(bytes: &[u8], options: &TokenizerOptions) -> Result<Self, TextError> {
        let parts = bert::word_piece(bert::read_vocabulary(bytes)?, options.word_piece_rules, BertCase::default())?;
        Self::new(parts, options, usize::MAX)
    }

    /// From the content of CLIP's `vocab.json` and `merges.txt`.
    ///
    /// # Errors
    /// If a merge leads out of the vocabulary or a special token is missing.
    pub fn from_clip_bytes(vocabulary: &[u8], merges: &[u8], options: &TokenizerOptions) -> Result<Self, TextError> {
        Self::new(clip::from_vocabulary(vocabulary, merges)?, options, usize::MAX)
    }

    /// From the content of OpenAI's `bpe_simple_vocab_16e6.txt`, plain or gzip.
    ///
    /// # Errors
    /// If a line is not a merge.
    pub fn from_clip_merges_bytes(bytes: &[u8], options: &TokenizerOptions) -> Result<Self, TextError> {
        Self::new(clip::from_merges(bytes)?, options, usize::MAX)
    }
}

/// Runs `read` on the content of a file and names the file in its error.
fn in_file<T>(path: &Path, read: impl FnOnce(&[u8]) -> Result<T, TextError>) -> Result<T, TextError> {
    let content = || {
        let mut bytes = Vec::new();
        // `tokenizer.json` may be the largest; each reader has a limit of its own.
        File::open(path)?.take(json::LARGEST + 1).read_to_end(&mut bytes)?;
        TextError::limit(&bytes, json::LARGEST)?;
        read(&bytes)
    };
    content().map_err(|source| TextError::File { path: path.to_owned(), source: Box::new(source) })
}
