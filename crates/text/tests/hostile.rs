//! Files made to hurt: none panics, none takes long, and each is refused with its reason or works.
//!
//! `corpus/` holds small files by reader (`.json`, `.model`, `.vocab`, `.merges`), each named for what is wrong with it;
//! those that are in order start with `fine`. What fuzzing found is in `fuzz/corpus/tokenizer`.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]
use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use hua_text::{TextError, Tokenizer, TokenizerOptions, WordPieceRules};
use proptest::prelude::*;

type Reader = fn(&[u8], &TokenizerOptions) -> Result<Tokenizer, TextError>;

const READERS: [(&str, Reader); 4] = [
    ("json", Tokenizer::from_json_bytes),
    ("merges", Tokenizer::from_clip_merges_bytes),
    ("model", Tokenizer::from_sentencepiece_bytes),
    ("vocab", Tokenizer::from_vocab_bytes),
];

const TEXTS: [&str; 8] =
    ["", " ", "a b ab abb", "虹<mask>虹 <s>[MASK]<|endoftext|>", "b\u{301}bB\0\u{fffd}", "  a  ", "ｶﾞ ﷺ 👩‍👩‍👧", "aaaaaaaaaaaaaaaaaaaaaaaa"];

/// A `vocab.json` in which `a` and `b` may merge.
const CLIP: &[u8] = br#"{"a": 0, "b": 1, "ab": 2, "<|startoftext|>": 3, "<|endoftext|>": 4}"#;

fn corpus() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 70);
    files
}

fn options(word_piece_rules: WordPieceRules) -> TokenizerOptions {
    TokenizerOptions { word_piece_rules, ..TokenizerOptions::default() }
}

/// Opens and, if that works, cuts texts; the first error counts.
fn exercise(read: Reader, bytes: &[u8], rules: WordPieceRules) -> Result<(), TextError> {
    let tokenizer = read(bytes, &options(rules))?;
    for text in TEXTS.map(str::to_owned).into_iter().chain(["a".repeat(10_000), "b ".repeat(5_000), "虹".repeat(3_000)]) {
        let encoding = tokenizer.encode(&text)?;
        assert!(encoding.ids.len() <= tokenizer.context_length());
        assert!(encoding.ids.iter().all(|id| (*id as usize) < tokenizer.vocabulary_size()));
    }
    Ok(())
}

fn reasons(error: &dyn Error) -> String {
    let mut all = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        write!(all, ": {cause}").unwrap();
        source = cause.source();
    }
    all
}

#[test]
fn every_hostile_file_is_refused_for_its_reason() {
    let mut report = String::new();
    for path in corpus() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let read = READERS.iter().find(|(ending, _)| name.ends_with(&format!(".{ending}"))).unwrap().1;
        let outcome = exercise(read, &std::fs::read(&path).unwrap(), WordPieceRules::HuggingFace);
        assert!(outcome.is_ok() || !name.starts_with("fine"), "{name}: {}", reasons(&outcome.unwrap_err()));
        writeln!(report, "{name}: {}", outcome.map_or_else(|error| reasons(&error), |()| "works".to_owned())).unwrap();
    }
    insta::assert_snapshot!(report);
}

#[test]
fn no_reader_panics_on_a_file_of_another() {
    for path in corpus() {
        let bytes = std::fs::read(&path).unwrap();
        for (_, read) in READERS {
            let _ = exercise(read, &bytes, WordPieceRules::Training);
        }
        let _ = Tokenizer::from_clip_bytes(&bytes, b"a b\n", &TokenizerOptions::default());
        let _ = Tokenizer::from_clip_bytes(CLIP, &bytes, &TokenizerOptions::default());
    }
}

/// As `fuzz/fuzz_targets/tokenizer.rs`: the first byte says which reader.
#[test]
fn what_fuzzing_found_stays_found() {
    let inputs = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/tokenizer")).unwrap();
    let mut count = 0;
    for input in inputs {
        let bytes = std::fs::read(input.unwrap().path()).unwrap();
        let (kind, bytes) = bytes.split_first().unwrap();
        let reader = match kind {
            b'j' => "json",
            b's' => "model",
            b'v' => "vocab",
            _ => "merges",
        };
        let read = READERS.iter().find(|(name, _)| *name == reader).unwrap().1;
        let _ = exercise(read, bytes, WordPieceRules::HuggingFace);
        count += 1;
    }
    assert!(count > 0);
}

/// A file of the corpus that works, by number.
fn fine() -> impl Strategy<Value = (Reader, Vec<u8>)> {
    let files: Vec<_> = corpus().into_iter().filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("fine")).collect();
    proptest::sample::select(files).prop_map(|path| {
        let ending = path.extension().unwrap().to_str().unwrap();
        (READERS.iter().find(|(name, _)| *name == ending).unwrap().1, std::fs::read(&path).unwrap())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for (_, read) in READERS {
            let _ = exercise(read, &bytes, WordPieceRules::HuggingFace);
        }
    }

    #[test]
    fn arbitrary_merges_never_panic(merges in "([ab]{0,2} [ab]{0,2}\n|#version\n){0,20}|\\PC{0,40}") {
        if let Ok(tokenizer) = Tokenizer::from_clip_bytes(CLIP, merges.as_bytes(), &TokenizerOptions::default()) {
            prop_assert!(tokenizer.encode("abba baab").is_ok());
        }
    }

    #[test]
    fn damaged_files_never_panic(
        (read, mut bytes) in fine(),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::weighted(0.2, any::<proptest::sample::Index>()),
    ) {
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let _ = exercise(read, &bytes, WordPieceRules::HuggingFace);
    }

    #[test]
    fn any_text_is_cut_by_any_tokenizer((read, bytes) in fine(), text in "\\PC{0,80}|[ab▁<>s/\\[\\]MASK| \u{301}\u{200d}\u{0}-\u{20}]{0,80}") {
        for rules in [WordPieceRules::CnClip, WordPieceRules::HuggingFace, WordPieceRules::Training] {
            prop_assert!(read(&bytes, &options(rules)).unwrap().encode(&text).is_ok());
        }
    }

    #[test]
    fn truncation_keeps_the_start_and_the_closing_token((read, bytes) in fine(), text in "[ab 虹]{0,60}", length in 3usize..20) {
        let open = |context_length| read(&bytes, &TokenizerOptions { context_length: Some(context_length), ..TokenizerOptions::default() }).unwrap();
        let whole = open(1_000).encode(&text).unwrap();
        let cut = open(length).encode(&text).unwrap();
        prop_assert_eq!(whole.dropped, 0);
        prop_assert_eq!(cut.dropped, whole.ids.len() - cut.ids.len());
        prop_assert_eq!(cut.ids.len(), whole.ids.len().min(length));
        prop_assert_eq!(cut.ids.last(), whole.ids.last());
        prop_assert_eq!(&cut.ids[..cut.ids.len() - 1], &whole.ids[..cut.ids.len() - 1]);
        prop_assert_eq!(cut.truncated(), cut.dropped > 0);
    }
}
