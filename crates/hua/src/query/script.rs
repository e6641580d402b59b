//! In which script a query is written, and whether the model knows it.
//!
//! A tokenizer alone does not tell: byte-pair encodings know every byte, and the vocabulary of Chinese BERT has the letters of Russian,
//! Korean and Japanese (of "rainbow" in nine languages it lacks the Arabic word alone; a test below says so). So what the families were
//! trained on decides first: OpenAI's texts were English, Chinese-CLIP's and Taiyi's Chinese, with Latin words among them. Besides, a text
//! is strange to any model if half of its tokens are the one for "unknown". A model that is asked in a script it does not know answers
//! all the same, with pictures that have nothing to do with the words: the most frequent complaint of those who search a photo library in
//! Chinese.
use std::fmt;

use hua_text::{Tokenizer, TokenizerKind};

use super::fold;
use crate::Embedder;

/// The scripts of the nine languages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Script {
    /// Arabic.
    Arabic,
    /// Russian.
    Cyrillic,
    /// Chinese characters, in Chinese, Japanese or Korean.
    Han,
    /// Korean.
    Hangul,
    /// Hiragana and katakana: Japanese.
    Kana,
    /// English, Spanish, French, Italian.
    Latin,
}

impl Script {
    /// The script of a character; `None` for digits, signs, emoji and all other scripts.
    pub fn of(c: char) -> Option<Self> {
        Some(match c {
            '\u{600}'..='\u{6ff}' | '\u{750}'..='\u{77f}' | '\u{8a0}'..='\u{8ff}' | '\u{fb50}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}' => {
                Self::Arabic
            }
            '\u{400}'..='\u{52f}' => Self::Cyrillic,
            '\u{2e80}'..='\u{2fdf}' | '々' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' => Self::Han,
            '\u{20000}'..='\u{3fffd}' => Self::Han,
            '\u{1100}'..='\u{11ff}' | '\u{3130}'..='\u{318f}' | '\u{ac00}'..='\u{d7af}' | '\u{ffa0}'..='\u{ffdc}' => Self::Hangul,
            '\u{3041}'..='\u{3096}'
            | '\u{309d}'..='\u{309f}'
            | '\u{30a1}'..='\u{30ff}'
            | '\u{31f0}'..='\u{31ff}'
            | '\u{ff66}'..='\u{ff9d}' => Self::Kana,
            c if c.is_alphabetic() && (c <= '\u{24f}' || matches!(c, '\u{1e00}'..='\u{1eff}' | 'Ａ'..='Ｚ' | 'ａ'..='ｚ')) => {
                Self::Latin
            }
            _ => return None,
        })
    }

    /// The language that is meant if nothing else is known: kana anywhere is Japanese, Hangul anywhere Korean, else the script of most
    /// characters decides. Latin letters could be any of four languages, and count as English.
    pub fn language(text: &str) -> Option<&'static str> {
        Some(match main_script(text)? {
            Self::Arabic => "ar",
            Self::Cyrillic => "ru",
            Self::Han => "zh",
            Self::Hangul => "ko",
            Self::Kana => "ja",
            Self::Latin => "en",
        })
    }

    const ALL: [Self; 6] = [Self::Arabic, Self::Cyrillic, Self::Han, Self::Hangul, Self::Kana, Self::Latin];
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Arabic => "Arabic",
            Self::Cyrillic => "Cyrillic",
            Self::Han => "Chinese",
            Self::Hangul => "Korean",
            Self::Kana => "Japanese",
            Self::Latin => "Latin",
        })
    }
}

fn main_script(text: &str) -> Option<Script> {
    let count = |script| text.chars().filter(|c| Script::of(*c) == Some(script)).count();
    if let Some(telling) = [Script::Kana, Script::Hangul].into_iter().find(|script| count(*script) > 0) {
        return Some(telling);
    }
    // Of as many characters the first script in alphabetical order; a question of determinism, not of taste.
    Script::ALL.into_iter().rev().max_by_key(|script| count(*script)).filter(|script| count(*script) > 0)
}

/// Words that the model was not made for.
#[derive(Clone, Debug, PartialEq)]
pub struct StrangeScript {
    /// The words.
    pub text: String,
    /// Share of tokens that stand for "unknown", 0 to 1.
    pub unknown: f32,
    /// The language of the texts that the model was trained on, if that is why, and the script of these.
    pub trained: Option<(&'static str, Script)>,
}

impl fmt::Display for StrangeScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, unknown, trained } = self;
        match trained {
            Some((language, script)) => {
                write!(f, "the model was trained on {language} texts: what it finds for `{text}`, in {script} script, means little")
            }
            None => write!(f, "the model does not know {:.0} % of `{text}`: what it finds means little", unknown * 100.0),
        }
    }
}

impl StrangeScript {
    /// Whether `text` is strange to `embedder`'s model.
    pub fn find(embedder: &Embedder, text: &str) -> Option<Self> {
        Self::to(&embedder.spec().family, embedder.tokenizer(), text)
    }

    /// Whether it is to a model of `family` with such a tokenizer.
    fn to(family: &str, tokenizer: &Tokenizer, text: &str) -> Option<Self> {
        let (language, known): (_, &[Script]) = match family {
            "chinese-clip" | "taiyi" => ("Chinese", &[Script::Han, Script::Latin]),
            // A CLIP with another tokenizer has other texts, too.
            _ if tokenizer.kind() == TokenizerKind::ClipBpe => ("English", &[Script::Latin]),
            _ => ("", &Script::ALL),
        };
        let trained = main_script(text).filter(|script| !known.contains(script)).map(|script| (language, script));
        let unknown = unknown_share(tokenizer, text);
        (trained.is_some() || unknown >= 0.5).then(|| Self { text: text.to_owned(), unknown, trained })
    }
}

/// The share of unknown tokens, those around the text not counted.
fn unknown_share(tokenizer: &Tokenizer, text: &str) -> f32 {
    let special = tokenizer.special_ids();
    let Ok(encoding) = tokenizer.encode(text) else { return 1.0 };
    let tokens = encoding.ids.iter().filter(|id| ![special.bos, special.eos].contains(id)).count();
    if tokens == 0 { 0.0 } else { fold::unknown(tokenizer, text) as f32 / tokens as f32 }
}

#[cfg(test)]
mod tests {
    use hua_text::{Builtin, TokenizerOptions};

    use super::*;
    use crate::OpenOptions;

    const RAINBOW: [(&str, &str); 9] = [
        ("en", "rainbow"),
        ("zh", "彩虹"),
        ("es", "arcoíris"),
        ("fr", "arc-en-ciel"),
        ("ru", "радуга"),
        ("ja", "にじ"),
        ("ko", "무지개"),
        ("ar", "قوس قزح"),
        ("it", "arcobaleno"),
    ];

    #[test]
    fn a_script_tells_the_language_as_far_as_it_can() {
        for (language, text) in RAINBOW {
            let expected = if ["es", "fr", "it"].contains(&language) { "en" } else { language };
            assert_eq!(Script::language(text), Some(expected), "{text}");
        }
        assert_eq!(Script::language("猫 cat"), Some("en"));
        assert_eq!(Script::language("虹の色"), Some("ja"));
        assert_eq!(Script::language("🌈 42"), None);
        assert_eq!(Script::language("สายรุ้ง"), None);
    }

    #[test]
    fn what_models_do_not_know() {
        let strange = |which, family: &str| {
            let tokenizer = Tokenizer::builtin(which, &TokenizerOptions::default()).unwrap();
            let found = RAINBOW.iter().filter_map(|(language, text)| Some((*language, StrangeScript::to(family, &tokenizer, text)?)));
            found.collect::<Vec<_>>()
        };
        let chinese = strange(Builtin::ChineseClip, "chinese-clip");
        assert_eq!(chinese.iter().map(|(language, _)| *language).collect::<Vec<_>>(), ["ru", "ja", "ko", "ar"]);
        assert_eq!(chinese.iter().filter(|(_, strange)| strange.unknown > 0.0).map(|(language, _)| *language).collect::<Vec<_>>(), ["ar"]);
        let english = strange(Builtin::OpenAiClip, "clip");
        assert_eq!(english.iter().map(|(language, _)| *language).collect::<Vec<_>>(), ["zh", "ru", "ja", "ko", "ar"]);
        assert_eq!(
            english[0].1.to_string(),
            "the model was trained on English texts: what it finds for `彩虹`, in Chinese script, means little"
        );
    }

    #[test]
    fn the_built_in_model_knows_nine_languages_and_no_tenth() {
        let embedder = Embedder::embedded(&OpenOptions::default()).unwrap();
        for (_, text) in RAINBOW {
            assert_eq!(StrangeScript::find(&embedder, text), None, "{text}");
        }
        let warning = StrangeScript::find(&embedder, "สายรุ้ง").unwrap();
        assert_eq!(warning.to_string(), "the model does not know 50 % of `สายรุ้ง`: what it finds means little");
    }
}
