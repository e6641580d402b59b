//! Any bytes as a tokenizer file; the first byte says which kind. What can be read must also encode.
#![no_main]

use hua_text::{Tokenizer, TokenizerOptions};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&kind, bytes)) = bytes.split_first() else { return };
    let options = TokenizerOptions::default();
    let tokenizer = match kind {
        b'j' => Tokenizer::from_json_bytes(bytes, &options),
        b's' => Tokenizer::from_sentencepiece_bytes(bytes, &options),
        b'v' => Tokenizer::from_vocab_bytes(bytes, &options),
        _ => Tokenizer::from_clip_merges_bytes(bytes, &options),
    };
    if let Ok(tokenizer) = tokenizer {
        _ = tokenizer.encode("一只水獭 otters ¶ 👍🏽");
    }
});
