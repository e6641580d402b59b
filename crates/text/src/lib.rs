//! Strings to token ids, exactly as each model family was trained.
//!
//! One type, [`Tokenizer`], stands in front of four ways to cut text: WordPiece (Chinese-CLIP, Taiyi), Unigram as
//! `tokenizer.json` has it, Unigram as SentencePiece runs it (AltCLIP: the two differ on rare characters), and CLIP's
//! byte-pair encoding. The `tokenizers` crate does the cutting wherever it gives the reference's ids; where it cannot
//! (cn_clip's cleaning rules, SentencePiece's normaliser) the code is here, next to the reason.
//!
//! Files are hostile until proven otherwise: every reader takes bytes, checks each number that the library would trust,
//! and answers with a [`TextError`]. Nothing here pads; an [`Encoding`] is as long as its text.
mod bert;
mod builtin;
mod charsmap;
mod clip;
mod error;
mod folder;
mod json;
mod library;
mod options;
mod pieces;
mod sentencepiece;
mod tokenizer;

pub use builtin::Builtin;
pub use error::TextError;
pub use options::{TokenizerKind, TokenizerOptions, WordPieceRules};
pub use tokenizer::{Encoding, SpecialIds, Tokenizer};
