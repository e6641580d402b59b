//! What the caller knows about the model when it opens a tokenizer.

/// How text is cut into pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenizerKind {
    /// Byte-pair encoding of lower-cased text: CLIP.
    ClipBpe,
    /// Unigram read from `sentencepiece.bpe.model`, with the ids of XLM-R; equal to Google's `sentencepiece`.
    SentencePiece,
    /// Unigram read from `tokenizer.json`; equal to Hugging Face's fast tokenizer.
    Unigram,
    /// WordPiece: Chinese-CLIP, Taiyi.
    WordPiece,
}

impl TokenizerKind {
    /// A few words for `inspect`.
    pub fn description(self) -> &'static str {
        match self {
            Self::ClipBpe => "byte-pair encoding of CLIP",
            Self::SentencePiece => "Unigram as SentencePiece runs it",
            Self::Unigram => "Unigram",
            Self::WordPiece => "WordPiece",
        }
    }

    /// The context length where neither the caller nor the folder names one, in tokens.
    pub(crate) fn default_context_length(self) -> usize {
        match self {
            Self::WordPiece => 52,
            Self::ClipBpe | Self::SentencePiece | Self::Unigram => 77,
        }
    }
}

/// Which of the three readings of BERT's rules a WordPiece model was trained with.
///
/// They differ in rare characters, in words of 100 to 200 characters and in special tokens that the text spells out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WordPieceRules {
    /// The public `tokenize()` of cn_clip: as [`Self::Training`], but `“` and `”` stay and become unknown.
    CnClip,
    /// Hugging Face's BERT tokenizer: words up to 100 characters, every category `C*` dropped, `[MASK]` recognised.
    HuggingFace,
    /// What Chinese-CLIP was trained and evaluated with: lower case, `“` and `”` become `"`, then cn_clip's tokenizer
    /// (words up to 200 characters, `Cc` and `Cf` dropped, special tokens never recognised in the text).
    #[default]
    Training,
}

/// What to open and how; `TokenizerOptions::default()` takes what the files say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenizerOptions {
    /// The most tokens of an encoding, special ones included. Without it: what the families were trained with, 52 for
    /// WordPiece and 77 for the others, or `model_max_length` of `tokenizer_config.json` if that is less.
    pub context_length: Option<usize>,
    /// The only kind to accept. It chooses where a folder holds two, as AltCLIP's does (`tokenizer.json` and
    /// `sentencepiece.bpe.model`; the first one wins otherwise).
    pub kind: Option<TokenizerKind>,
    /// Used by WordPiece alone.
    pub word_piece_rules: WordPieceRules,
}
