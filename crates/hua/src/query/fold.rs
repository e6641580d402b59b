//! Other spellings of one text: full-width and half-width forms, traditional and simplified Chinese characters.
//!
//! Letters, digits and spaces in full width become the usual ones, half-width kana and jamo become whole ones. This is the part of NFKC
//! that changes what people type and never what they mean; full-width punctuation stays, for Chinese is written with it and models have
//! read it so. Tokenizers that apply NFKC themselves (XLM-R's) give the same ids before and after; BERT's and CLIP's do not.
//!
//! Chinese is folded character by character with OpenCC's tables (`data/README.md`), which is enough for a model that cuts text into
//! characters; words of which each side says something else (软件, 軟體) are another matter. The Chinese names of `data/emoji-9l` (`valid`), mean of R@1, 5
//! and 10 with the built-in model: 74.8 as they are, 45.1 in traditional characters, 66.1 when [`fold`] has had those: a model of more than
//! Chinese is given simplified ones only where it does not know the others, and it knows more of them than it understands
//! (`cargo test -p hua --release --lib templates_on_emoji -- --ignored --nocapture`).
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

use hua_text::{Tokenizer, TokenizerKind};
use unicode_normalization::UnicodeNormalization;

use super::script::Script;
use crate::Embedder;

static HAN: &str = include_str!("data/han.txt");

/// Families whose texts were written in simplified characters.
const SIMPLIFIED_FAMILIES: [&str; 2] = ["chinese-clip", "taiyi"];

/// `text` in the spelling that `embedder`'s model knows best: narrow, and simplified where the model was trained on that alone or where
/// it does not know the traditional characters. Japanese stays as it is.
pub fn fold<'a>(embedder: &Embedder, text: &'a str) -> Cow<'a, str> {
    let narrow = narrow(text);
    if narrow.chars().any(|c| Script::of(c) == Some(Script::Kana)) {
        return narrow;
    }
    let Cow::Owned(simplified) = simplified(&narrow) else { return narrow };
    let of_simplified = SIMPLIFIED_FAMILIES.contains(&&*embedder.spec().family);
    let better = || unknown(embedder.tokenizer(), &simplified) < unknown(embedder.tokenizer(), &narrow);
    if of_simplified || better() { Cow::Owned(simplified) } else { narrow }
}

/// Full-width letters, digits and spaces as usual ones; half-width kana and jamo as whole ones. Text without any is as it was.
pub fn narrow(text: &str) -> Cow<'_, str> {
    if !text.chars().any(changes_width) {
        return Cow::Borrowed(text);
    }
    let mut folded = String::with_capacity(text.len());
    // A run at a time, so that a voiced mark joins its kana and nothing else is composed or taken apart.
    let mut rest = text;
    while let Some(start) = rest.find(changes_width) {
        folded.push_str(&rest[..start]);
        let run = &rest[start..];
        let end = run.find(|c| !changes_width(c)).unwrap_or(run.len());
        folded.extend(run[..end].nfkc());
        rest = &run[end..];
    }
    folded.push_str(rest);
    Cow::Owned(folded)
}

fn changes_width(c: char) -> bool {
    matches!(c, '\u{3000}' | '０'..='９' | 'Ａ'..='Ｚ' | 'ａ'..='ｚ' | '\u{ff66}'..='\u{ffdc}')
}

/// Traditional characters as simplified ones. What may stay as it is in simplified text stays.
pub fn simplified(text: &str) -> Cow<'_, str> {
    mapped(text, &tables().simplified)
}

/// Simplified characters as traditional ones. What may stay as it is in traditional text stays.
pub fn traditional(text: &str) -> Cow<'_, str> {
    mapped(text, &tables().traditional)
}

/// How many unknown tokens a text has. CLIP's byte pairs know every byte, and so nothing of the text.
pub(crate) fn unknown(tokenizer: &Tokenizer, text: &str) -> usize {
    if tokenizer.kind() == TokenizerKind::ClipBpe {
        return 0;
    }
    let special = tokenizer.special_ids();
    tokenizer.encode(text).map_or(0, |encoding| encoding.ids.iter().filter(|id| **id == special.unk).count())
}

struct Tables {
    simplified: HashMap<char, char>,
    traditional: HashMap<char, char>,
}

fn tables() -> &'static Tables {
    static TABLES: OnceLock<Tables> = OnceLock::new();
    TABLES.get_or_init(|| {
        let mut parts = HAN.split("# ").skip(1).map(|part| {
            let characters: Vec<char> = part.lines().skip(1).flat_map(str::chars).collect();
            characters.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
        });
        let mut next = || parts.next().unwrap_or_default();
        Tables { simplified: next(), traditional: next() }
    })
}

fn mapped<'a>(text: &'a str, table: &HashMap<char, char>) -> Cow<'a, str> {
    match text.chars().any(|c| table.contains_key(&c)) {
        true => Cow::Owned(text.chars().map(|c| *table.get(&c).unwrap_or(&c)).collect()),
        false => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use hua_text::{Builtin, TokenizerOptions};
    use proptest::prelude::*;

    use super::*;
    use crate::OpenOptions;

    #[test]
    fn characters_are_folded_and_what_is_right_already_stays() {
        assert_eq!(simplified("龍舟與氣球"), "龙舟与气球");
        assert_eq!(traditional("龙舟与气球"), "龍舟與氣球");
        // Correct in simplified text too: 著名, 乾坤.
        for text in ["著名的后海", "乾坤", "rainbow", "虹が出た"] {
            assert!(matches!(simplified(text), Cow::Borrowed(_)), "{text}");
        }
        assert!(tables().simplified.len() > 2500 && tables().traditional.len() > 2500);
    }

    #[test]
    fn width_is_folded_and_punctuation_stays() {
        assert_eq!(narrow("ＢＭＷ　３２０ｉ，红色！"), "BMW 320i，红色！");
        assert_eq!(narrow("ｶﾞｰﾃﾞﾝ"), "ガーデン");
        assert_eq!(narrow("ﾡ"), "\u{1100}");
        assert!(matches!(narrow("½ ™ ① é e\u{301}"), Cow::Borrowed(_)));
    }

    #[test]
    fn the_built_in_model_is_asked_in_characters_that_it_knows() {
        let embedder = Embedder::embedded(&OpenOptions::default()).unwrap();
        assert_eq!(fold(&embedder, "氣球"), "气球");
        assert_eq!(fold(&embedder, "風船と龍"), "風船と龍");
        assert_eq!(fold(&embedder, "ｒａｉｎｂｏｗ"), "rainbow");
    }

    #[test]
    fn berts_and_clips_vocabularies_tell_widths_apart() {
        for (which, text) in [(Builtin::ChineseClip, "３２０ｉ"), (Builtin::OpenAiClip, "ＢＭＷ")] {
            let tokenizer = Tokenizer::builtin(which, &TokenizerOptions::default()).unwrap();
            assert_ne!(tokenizer.encode(text).unwrap().ids, tokenizer.encode(&narrow(text)).unwrap().ids, "{which:?}");
        }
    }

    proptest! {
        #[test]
        fn folding_twice_is_folding_once(text in "[\\p{Han}Ａ-ｚ０-９ｱ-ﾟ a-z　]{0,20}") {
            let once = narrow(&text).into_owned();
            prop_assert_eq!(narrow(&once), once.as_str());
            let once = simplified(&text).into_owned();
            prop_assert_eq!(simplified(&once), once.as_str());
        }
    }
}
