//! A model folder opens by the files it holds, and says what is wrong when it does not.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]
use std::error::Error;
use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use hua_text::{Builtin, SpecialIds, TextError, Tokenizer, TokenizerKind, TokenizerOptions, WordPieceRules};
use tempfile::TempDir;

fn unpacked(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let mut bytes = Vec::new();
    GzDecoder::new(fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    bytes
}

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    dir
}

fn open(dir: &TempDir) -> Result<Tokenizer, TextError> {
    Tokenizer::from_dir(dir, &TokenizerOptions::default())
}

fn of_kind(kind: TokenizerKind) -> TokenizerOptions {
    TokenizerOptions { kind: Some(kind), ..TokenizerOptions::default() }
}

const CHINESE: &str = "data/chinese_clip_vocab.txt.gz";
const MERGES: &str = "data/openai_clip_merges.txt.gz";
const XLM_R_JSON: &str = "../../tests/golden/text/xlm_r.json.gz";
const XLM_R_MODEL: &str = "../../tests/golden/text/xlm_r.model.gz";

#[test]
fn a_tokenizer_is_shared_between_threads() {
    fn shared<T: Send + Sync + Clone>() {}
    shared::<Tokenizer>();
}

#[test]
fn a_chinese_clip_folder_opens_with_its_ids() {
    let tokenizer = open(&folder(&[("vocab.txt", &unpacked(CHINESE))])).unwrap();
    assert_eq!(tokenizer.description(), "WordPiece, 21128 ids, at most 52 tokens");
    assert_eq!(tokenizer.special_ids(), SpecialIds { bos: 101, eos: 102, pad: 0, unk: 100 });
    assert_eq!(tokenizer.encode("“虹”").unwrap().ids, [101, 107, 6004, 107, 102]);
    let upstream = TokenizerOptions { word_piece_rules: WordPieceRules::CnClip, ..TokenizerOptions::default() };
    assert_eq!(Tokenizer::builtin(Builtin::ChineseClip, &upstream).unwrap().encode("“虹”").unwrap().ids, [101, 100, 6004, 100, 102]);
}

#[test]
fn a_clip_folder_opens_from_openais_file() {
    let packed = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(MERGES)).unwrap();
    let plain = unpacked(MERGES);
    for file in [("bpe_simple_vocab_16e6.txt.gz", &packed[..]), ("bpe_simple_vocab_16e6.txt", &plain)] {
        let tokenizer = open(&folder(&[file])).unwrap();
        assert_eq!(tokenizer.description(), "byte-pair encoding of CLIP, 49408 ids, at most 77 tokens");
        assert_eq!(tokenizer.encode("A photo of a cat").unwrap().ids, [49406, 320, 1125, 539, 320, 2368, 49407]);
    }
}

#[test]
fn an_altclip_folder_holds_two_tokenizers_to_choose_from() {
    let dir = folder(&[("tokenizer.json", &unpacked(XLM_R_JSON)), ("sentencepiece.bpe.model", &unpacked(XLM_R_MODEL))]);
    assert_eq!(open(&dir).unwrap().kind(), TokenizerKind::Unigram);
    let chosen = Tokenizer::from_dir(&dir, &of_kind(TokenizerKind::SentencePiece)).unwrap();
    assert_eq!(chosen.kind(), TokenizerKind::SentencePiece);
    assert_eq!(chosen.special_ids(), SpecialIds { bos: 0, eos: 2, pad: 1, unk: 3 });
    fs::remove_file(dir.path().join("tokenizer.json")).unwrap();
    assert_eq!(open(&dir).unwrap().kind(), TokenizerKind::SentencePiece);
}

#[test]
fn the_config_shortens_the_default_context_and_the_caller_decides() {
    let vocabulary = unpacked(CHINESE);
    let with = |config: &str| folder(&[("vocab.txt", &vocabulary), ("tokenizer_config.json", config.as_bytes())]);
    for (config, wanted) in [
        (r#"{"model_max_length": 40}"#, 40),
        (r#"{"model_max_length": 512}"#, 52),
        (r#"{"model_max_length": 1000000000000000019884624838656}"#, 52),
        (r#"{"do_lower_case": true}"#, 52),
    ] {
        assert_eq!(open(&with(config)).unwrap().context_length(), wanted, "{config}");
    }
    let longer = TokenizerOptions { context_length: Some(512), ..TokenizerOptions::default() };
    assert_eq!(Tokenizer::from_dir(with(r#"{"model_max_length": 40}"#), &longer).unwrap().context_length(), 512);
    let error = open(&with(r#"{"model_max_length": -1}"#)).unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "a context of 0 tokens, wanted at least 3");
}

#[test]
fn the_config_sets_the_case_rules_of_hugging_face() {
    let vocabulary = b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nA\n";
    let options = TokenizerOptions { word_piece_rules: WordPieceRules::HuggingFace, ..TokenizerOptions::default() };
    let ids = |config: &[u8]| {
        let dir = folder(&[("vocab.txt", vocabulary), ("tokenizer_config.json", config)]);
        Tokenizer::from_dir(dir, &options).unwrap().encode("A a").unwrap().ids
    };
    assert_eq!(ids(b"{}"), [2, 5, 5, 3]);
    assert_eq!(ids(br#"{"do_lower_case": false}"#), [2, 6, 5, 3]);
}

#[test]
fn errors_name_the_folder_or_the_file() {
    let dir = folder(&[]);
    let error = open(&dir).unwrap_err().to_string();
    assert!(error.starts_with(&format!("no tokenizer in `{}`, wanted `tokenizer.json`, ", dir.path().display())), "{error}");

    let dir = folder(&[("tokenizer.json", b"<html>")]);
    let error = open(&dir).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot use `{}` as a tokenizer", dir.path().join("tokenizer.json").display()));
    assert_eq!(error.source().unwrap().to_string(), "not the JSON of a tokenizer that hua can run");

    let dir = folder(&[("vocab.txt", b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n")]);
    let error = Tokenizer::from_dir(&dir, &of_kind(TokenizerKind::Unigram)).unwrap_err();
    assert!(matches!(error, TextError::NoTokenizer { .. }));
}

#[test]
fn a_tokenizer_of_another_kind_is_refused() {
    let error = Tokenizer::builtin(Builtin::OpenAiClip, &of_kind(TokenizerKind::WordPiece)).unwrap_err();
    assert_eq!(error.to_string(), "the tokenizer is byte-pair encoding of CLIP, wanted WordPiece");
}

#[test]
fn a_batch_is_its_texts_one_by_one() {
    let tokenizer = Tokenizer::builtin(Builtin::ChineseClip, &TokenizerOptions::default()).unwrap();
    let texts = ["虹", "", "rainbow"];
    let one_by_one: Vec<_> = texts.iter().map(|text| tokenizer.encode(text).unwrap()).collect();
    assert_eq!(tokenizer.encode_batch(&texts).unwrap(), one_by_one);
}
