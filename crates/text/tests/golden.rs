//! Every line of `tests/golden/text/` gives the ids of the reference, all of them.
//!
//! `tests/golden/make_text.py` made the lines (names and keywords in nine languages, hard cases, 10,000-character
//! lines, random sequences) and asked each reference. With `HUA_XLM_R=DIR` the full XLM-R files, which are too large to
//! commit, are checked as well; the script says how to make them.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]
use std::fmt::Write;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use hua_text::{Builtin, Tokenizer, TokenizerKind, TokenizerOptions, WordPieceRules};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/text")
}

fn unpack(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    bytes
}

fn golden(name: &str) -> Vec<u8> {
    unpack(&folder().join(name))
}

fn lines(folder: &Path) -> Vec<String> {
    serde_json::from_slice(&unpack(&folder.join("lines.json.gz"))).unwrap()
}

fn ids(folder: &Path, name: &str) -> Vec<Vec<u32>> {
    let text = String::from_utf8(unpack(&folder.join(format!("{name}.ids.gz")))).unwrap();
    text.lines().map(|line| line.split(' ').map(|id| id.parse().unwrap()).collect()).collect()
}

/// Whole texts, so that the ids of 10,000-character lines are compared to the end.
fn whole(rules: WordPieceRules) -> TokenizerOptions {
    TokenizerOptions { context_length: Some(100_000), kind: None, word_piece_rules: rules }
}

/// Compares all lines and shows the first that differ.
fn agree_in(folder: &Path, name: &str, tokenizer: &Tokenizer) {
    let (lines, wanted) = (lines(folder), ids(folder, name));
    assert!(lines.len() >= 3_000);
    assert_eq!(lines.len(), wanted.len());
    let mut report = String::new();
    let mut differing = 0;
    for (line, wanted) in lines.iter().zip(&wanted) {
        let found = tokenizer.encode(line).unwrap();
        assert!(found.ids.iter().all(|id| (*id as usize) < tokenizer.vocabulary_size()));
        if found.ids != *wanted {
            differing += 1;
            if differing <= 10 {
                let start: String = line.chars().take(60).collect();
                let at = found.ids.iter().zip(wanted).position(|(a, b)| a != b).unwrap_or(0);
                let near = |ids: &[u32]| ids[at.min(ids.len())..(at + 8).min(ids.len())].to_vec();
                writeln!(report, "{start:?} from {at}: found {:?}, wanted {:?}", near(&found.ids), near(wanted)).unwrap();
            }
        }
    }
    assert!(differing == 0, "{name}: {differing} of {} lines differ\n{report}", lines.len());
}

fn agree(name: &str, tokenizer: &Tokenizer) {
    agree_in(&folder(), name, tokenizer);
}

#[test]
fn chinese_clip_equals_the_public_tokenize_of_cn_clip() {
    agree("cn_clip", &Tokenizer::builtin(Builtin::ChineseClip, &whole(WordPieceRules::CnClip)).unwrap());
}

#[test]
fn chinese_clip_equals_what_cn_clip_trained_with() {
    agree("cn_clip_training", &Tokenizer::builtin(Builtin::ChineseClip, &whole(WordPieceRules::Training)).unwrap());
}

#[test]
fn a_bert_vocabulary_equals_hugging_faces_tokenizer() {
    agree("bert", &Tokenizer::builtin(Builtin::ChineseClip, &whole(WordPieceRules::HuggingFace)).unwrap());
}

#[test]
fn a_bert_tokenizer_json_follows_all_three_rules() {
    let json = golden("bert.json.gz");
    agree("bert", &Tokenizer::from_json_bytes(&json, &whole(WordPieceRules::HuggingFace)).unwrap());
    agree("cn_clip", &Tokenizer::from_json_bytes(&json, &whole(WordPieceRules::CnClip)).unwrap());
    agree("cn_clip_training", &Tokenizer::from_json_bytes(&json, &whole(WordPieceRules::Training)).unwrap());
}

#[test]
fn clip_merges_equal_hugging_faces_tokenizer() {
    agree("clip", &Tokenizer::builtin(Builtin::OpenAiClip, &whole(WordPieceRules::default())).unwrap());
}

#[test]
fn a_clip_tokenizer_json_equals_hugging_faces_tokenizer() {
    agree("clip", &Tokenizer::from_json_bytes(&golden("clip.json.gz"), &whole(WordPieceRules::default())).unwrap());
}

#[test]
fn clips_two_files_equal_hugging_faces_tokenizer() {
    let json: serde_json::Value = serde_json::from_slice(&golden("clip.json.gz")).unwrap();
    let vocabulary = serde_json::to_vec(&json["model"]["vocab"]).unwrap();
    let merge = |pair: &serde_json::Value| format!("{} {}\n", pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
    let merges: String = json["model"]["merges"].as_array().unwrap().iter().map(merge).collect();
    let merges = format!("#version: 0.2\n{merges}");
    agree("clip", &Tokenizer::from_clip_bytes(&vocabulary, merges.as_bytes(), &whole(WordPieceRules::default())).unwrap());
}

#[test]
fn xlm_r_json_equals_hugging_faces_fast_tokenizer() {
    let tokenizer = Tokenizer::from_json_bytes(&golden("xlm_r.json.gz"), &whole(WordPieceRules::default())).unwrap();
    assert_eq!(tokenizer.kind(), TokenizerKind::Unigram);
    agree("xlm_r_json", &tokenizer);
}

#[test]
fn xlm_r_model_equals_sentencepiece() {
    let tokenizer = Tokenizer::from_sentencepiece_bytes(&golden("xlm_r.model.gz"), &whole(WordPieceRules::default())).unwrap();
    assert_eq!(tokenizer.kind(), TokenizerKind::SentencePiece);
    agree("xlm_r_model", &tokenizer);
}

#[test]
fn the_emoji_model_equals_its_own_tokenizer_json() {
    agree("emoji_9l", &Tokenizer::from_json_bytes(&golden("emoji_9l.json.gz"), &whole(WordPieceRules::default())).unwrap());
}

#[test]
fn the_two_forms_of_xlm_r_share_their_vocabulary() {
    let json = Tokenizer::from_json_bytes(&golden("xlm_r.json.gz"), &TokenizerOptions::default()).unwrap();
    let model = Tokenizer::from_sentencepiece_bytes(&golden("xlm_r.model.gz"), &TokenizerOptions::default()).unwrap();
    assert_eq!(json.vocabulary_size(), model.vocabulary_size());
    assert_eq!(json.special_ids(), model.special_ids());
    // Voicing marks of half-width kana: one reference composes graphemes, the other characters.
    assert_ne!(json.encode("ｶﾞ").unwrap(), model.encode("ｶﾞ").unwrap());
}

#[test]
fn the_full_xlm_r_files_agree_where_they_are_at_hand() {
    let Some(dir) = std::env::var_os("HUA_XLM_R").map(PathBuf::from) else { return };
    let options = |kind| TokenizerOptions { kind: Some(kind), ..whole(WordPieceRules::default()) };
    agree_in(&dir, "xlm_r_json", &Tokenizer::from_dir(&dir, &options(TokenizerKind::Unigram)).unwrap());
    agree_in(&dir, "xlm_r_model", &Tokenizer::from_dir(&dir, &options(TokenizerKind::SentencePiece)).unwrap());
}
