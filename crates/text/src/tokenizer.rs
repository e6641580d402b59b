//! The tokenizer that everyone else sees: text in, ids of real length out, truncation reported.
//!
//! A back end cuts text into ids without special tokens; this file puts the special tokens around them and keeps the
//! closing one when it cuts, as every reference does (`[CLS]` + first n + `[SEP]`).
use std::fmt;
use std::sync::Arc;

use crate::bert::BertTokenizer;
use crate::library::LibraryTokenizer;
use crate::sentencepiece::SentencePiece;
use crate::{TextError, TokenizerKind, TokenizerOptions};

/// The token ids of one text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// Ids with the special tokens around them: between 2 and the context length, never padded.
    pub ids: Vec<u32>,
    /// Tokens of the text that did not fit; 0 if the text is whole.
    pub dropped: usize,
}

impl Encoding {
    /// Whether the end of the text was cut off.
    pub fn truncated(&self) -> bool {
        self.dropped > 0
    }
}

/// The ids that a model gives a meaning of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpecialIds {
    /// Opens every encoding: `[CLS]`, `<s>`, `<|startoftext|>`.
    pub bos: u32,
    /// Closes every encoding: `[SEP]`, `</s>`, `<|endoftext|>`.
    pub eos: u32,
    /// Fills short rows where someone must pad: `[PAD]`, `<pad>`; CLIP pads with its `<|endoftext|>`.
    pub pad: u32,
    /// Stands for what the vocabulary lacks.
    pub unk: u32,
}

/// Text to token ids. Cheap to clone, shareable between threads.
///
/// ```
/// use hua_text::{Builtin, Tokenizer, TokenizerOptions};
///
/// let tokenizer = Tokenizer::builtin(Builtin::ChineseClip, &TokenizerOptions::default())?;
/// let encoding = tokenizer.encode("皮卡丘")?;
/// assert_eq!(encoding.ids, [101, 4649, 1305, 687, 102]);
/// assert!(!encoding.truncated());
///
/// let long = tokenizer.encode(&"虹".repeat(60))?;
/// assert_eq!((long.ids.len(), long.dropped), (52, 10));
/// # Ok::<(), hua_text::TextError>(())
/// ```
#[derive(Clone)]
pub struct Tokenizer(Arc<Inner>);

struct Inner {
    backend: Backend,
    kind: TokenizerKind,
    special: SpecialIds,
    prefix: Vec<u32>,
    suffix: Vec<u32>,
    vocabulary: usize,
    context_length: usize,
}

/// The part that cuts.
pub(crate) enum Backend {
    /// cn_clip's rules.
    Bert(BertTokenizer),
    /// All that the `tokenizers` crate does alone.
    Library(Box<LibraryTokenizer>),
    /// SentencePiece's own rules.
    SentencePiece(SentencePiece),
}

/// What a reader found out about a tokenizer.
pub(crate) struct Parts {
    pub backend: Backend,
    pub kind: TokenizerKind,
    pub special: SpecialIds,
    /// Ids before the text.
    pub prefix: Vec<u32>,
    /// Ids after it.
    pub suffix: Vec<u32>,
    /// One more than the highest id.
    pub vocabulary: usize,
}

impl Tokenizer {
    /// Checks what the reader found against what the caller wants. `max_length` bounds the default context.
    pub(crate) fn new(parts: Parts, options: &TokenizerOptions, max_length: usize) -> Result<Self, TextError> {
        let Parts { backend, kind, special, prefix, suffix, vocabulary } = parts;
        if let Some(wanted) = options.kind.filter(|wanted| *wanted != kind) {
            return Err(TextError::invalid("the tokenizer", kind.description(), wanted.description()));
        }
        let context_length = options.context_length.unwrap_or(kind.default_context_length().min(max_length));
        let least = prefix.len() + suffix.len() + 1;
        if context_length < least {
            return Err(TextError::ContextLength { found: context_length, wanted: least });
        }
        Ok(Self(Arc::new(Inner { backend, kind, special, prefix, suffix, vocabulary, context_length })))
    }

    /// The ids of `text`: opening special token, tokens, closing special token; at most [`Self::context_length`].
    ///
    /// # Errors
    /// [`TextError::Encode`] if the vocabulary has no unknown token and the text needs one.
    pub fn encode(&self, text: &str) -> Result<Encoding, TextError> {
        let inner = &*self.0;
        let tokens = match &inner.backend {
            Backend::Bert(bert) => bert.tokens(text)?,
            Backend::Library(library) => library.tokens(text)?,
            Backend::SentencePiece(sentencepiece) => sentencepiece.tokens(text),
        };
        let kept = tokens.len().min(inner.context_length - inner.prefix.len() - inner.suffix.len());
        let ids = [&inner.prefix[..], &tokens[..kept], &inner.suffix[..]].concat();
        Ok(Encoding { ids, dropped: tokens.len() - kept })
    }

    /// [`Self::encode`] for each text, in order.
    ///
    /// # Errors
    /// The first error of [`Self::encode`].
    pub fn encode_batch<S: AsRef<str>>(&self, texts: &[S]) -> Result<Vec<Encoding>, TextError> {
        texts.iter().map(|text| self.encode(text.as_ref())).collect()
    }

    /// How the text is cut.
    pub fn kind(&self) -> TokenizerKind {
        self.0.kind
    }

    /// The most tokens of an encoding, special ones included.
    pub fn context_length(&self) -> usize {
        self.0.context_length
    }

    /// The rows that an embedding table needs: one more than the highest id.
    pub fn vocabulary_size(&self) -> usize {
        self.0.vocabulary
    }

    /// Opening, closing, padding and unknown token.
    pub fn special_ids(&self) -> SpecialIds {
        self.0.special
    }

    /// One line for `inspect`, such as "WordPiece, 21128 ids, at most 52 tokens".
    pub fn description(&self) -> String {
        let Inner { kind, vocabulary, context_length, .. } = &*self.0;
        format!("{}, {vocabulary} ids, at most {context_length} tokens", kind.description())
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokenizer({})", self.description())
    }
}
