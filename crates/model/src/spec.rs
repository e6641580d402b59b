//! What a model is, without its numbers: plain data that `inspect` shows and that an index is checked against.
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::arch::{ImageTower, TextTower};

/// What a model is. One that exists is right: it is only made from a checkpoint that fits it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// The family, such as `altclip`.
    pub family: String,
    /// How its file names its tensors, such as `hugging-face`.
    pub layout: String,
    /// The image tower.
    pub image: ImageTower,
    /// The text tower.
    pub text: TextTower,
    /// Numbers of an embedding, of pictures and texts alike.
    pub embedding_width: usize,
    /// The longest text, tokens, special ones included.
    pub context_length: usize,
    /// What pictures go through.
    pub preprocessing: Preprocessing,
    /// How texts become ids.
    pub tokenizer: TokenizerSpec,
    /// Which model it is: 64 hexadecimal digits, equal for equal models with equal files beside them, in whatever layout.
    pub fingerprint: String,
}

/// What pictures go through before the image tower.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preprocessing {
    /// As cn_clip does: squashed to a square.
    ChineseClip {
        /// Side of the square, pixels.
        size: usize,
    },
    /// As OpenAI's CLIP does: the shorter side to `size`, then the middle.
    Clip {
        /// Side of the square, pixels.
        size: usize,
    },
    /// As the model's `preprocessor_config.json` says.
    File(Value),
}

/// How texts become ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerSpec {
    /// What kind of tokenizer it is.
    pub kind: TokenizerKind,
    /// The folder with its files. Without one, the kind's well-known vocabulary is meant; a model that is part of the program has its
    /// files there, too.
    pub folder: Option<PathBuf>,
}

/// Kinds of tokenizers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenizerKind {
    /// CLIP's byte-pair encoding, of 49,408 ids.
    ClipBpe,
    /// XLM-R's SentencePiece model.
    Unigram,
    /// BERT's pieces; the well-known vocabulary is Chinese BERT's, of 21,128 ids.
    WordPiece,
}

/// The files that a tokenizer can be made of. A folder with one of them has its own tokenizer.
pub(crate) const TOKENIZER_FILES: [&str; 7] = [
    "tokenizer.json",
    "sentencepiece.bpe.model",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "bpe_simple_vocab_16e6.txt.gz",
    "bpe_simple_vocab_16e6.txt",
];
/// Settings beside them.
pub(crate) const TOKENIZER_SETTINGS: [&str; 3] = ["added_tokens.json", "special_tokens_map.json", "tokenizer_config.json"];
/// What pictures go through.
pub(crate) const PREPROCESSOR: &str = "preprocessor_config.json";
