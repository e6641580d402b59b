//! Sentences to put a query into, such as "a photo of a {}.": closer to what a model was trained on than a word alone.
//!
//! The English one is of CLIP's paper (Radford et al., 2021, section 3.1.4), the Chinese one of Chinese-CLIP's and FlagAI's zero-shot
//! templates, the others say the same. Off unless asked for: whether a template helps depends on the pictures as much as on the model. On
//! the emoji of `data/emoji-9l` (`valid`, text to picture, mean of R@1, 5 and 10) the built-in model, trained on bare names, falls from 73.8 to 16.6
//! in English, from 74.8 to 43.8 in Chinese, and to between 13.3 (Russian) and 46.4 (Korean) in the others
//! (`cargo test -p hua --release --lib templates_on_emoji -- --ignored --nocapture`). Photographs and full-size models are not measured here.
use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::script::Script;

static TEMPLATES: &str = include_str!("data/templates.json");

/// What words are put into before they are embedded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Template {
    /// The family's sentences in the language that the words seem to be in.
    Auto,
    /// The family's sentences in this language.
    Language(String),
    /// Nothing: words as they are.
    #[default]
    None,
    /// These, each with one `{}`; the mean of their vectors counts.
    Sentences(Vec<String>),
}

impl Template {
    /// What a user typed: `auto`, `none`, a language that any family has sentences for, or a sentence with one `{}`. `None` if it is
    /// nothing of these.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Auto),
            "none" => Some(Self::None),
            _ if data().values().any(|languages| languages.contains_key(text)) => Some(Self::Language(text.to_owned())),
            _ => (text.matches("{}").count() == 1).then(|| Self::Sentences(vec![text.to_owned()])),
        }
    }

    /// What is embedded for `text` in a model of `family`: at least one text, and `text` alone where the family has no sentences.
    pub fn apply(&self, family: &str, text: &str) -> Vec<String> {
        let of_language = |language: &str| data().get(family).and_then(|languages| languages.get(language));
        let sentences = match self {
            Self::Auto => Script::language(text).and_then(of_language),
            Self::Language(language) => of_language(language),
            Self::None => None,
            Self::Sentences(sentences) => Some(sentences),
        };
        match sentences {
            Some(sentences) if !sentences.is_empty() => sentences.iter().map(|sentence| sentence.replace("{}", text)).collect(),
            _ => vec![text.to_owned()],
        }
    }
}

/// By family, then by language.
fn data() -> &'static BTreeMap<String, BTreeMap<String, Vec<String>>> {
    static DATA: OnceLock<BTreeMap<String, BTreeMap<String, Vec<String>>>> = OnceLock::new();
    DATA.get_or_init(|| serde_json::from_str(TEMPLATES).expect("the file is part of the program and tested"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_has_one_place_for_the_words_and_every_family_is_one() {
        let families: Vec<&str> = hua_model::FAMILIES.iter().map(|family| family.name()).collect();
        for (family, languages) in data() {
            assert!(families.contains(&&**family), "{family}");
            for sentence in languages.values().flatten() {
                assert_eq!(sentence.matches("{}").count(), 1, "{sentence}");
            }
        }
    }

    #[test]
    fn words_are_put_into_sentences_of_their_language() {
        assert_eq!(Template::Auto.apply("altclip", "كمان"), ["صورة كمان."]);
        assert_eq!(Template::Language("fr".into()).apply("altclip", "violon"), ["une photo de violon."]);
        assert_eq!(Template::Auto.apply("chinese-clip", "violin"), ["violin"]);
        assert_eq!(Template::None.apply("clip", "violin"), ["violin"]);
        assert_eq!(Template::parse("my {}").unwrap().apply("clip", "a{}b"), ["my a{}b"]);
        assert_eq!([Template::parse("x"), Template::parse("{} {}")], [None, None]);
    }

    #[test]
    #[ignore = "a measurement: prints what the head of this file says"]
    fn templates_on_emoji() {
        use crate::{Collection, Embedder, NoProgress, OpenOptions, evaluate};
        let embedder = Embedder::embedded(&OpenOptions::default()).unwrap();
        let pictures = Collection::gallery(&embedder, None, &NoProgress).unwrap();
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/emoji-9l");
        let rows: std::collections::HashMap<String, usize> =
            (0..pictures.len()).map(|index| (pictures.name(index).split(' ').next().unwrap().to_owned(), index)).collect();
        let records = evaluate::Dataset::read(&folder, "valid").unwrap().texts;
        for (name, template) in [("alone", Template::None), ("in sentences", Template::Auto), ("traditional", Template::None)] {
            for language in ["en", "zh", "es", "fr", "ru", "ja", "ko", "ar", "it"] {
                let of_language: Vec<_> = records.iter().filter(|text| text.lang.as_deref() == Some(language)).collect();
                let template = if template == Template::Auto { Template::Language(language.into()) } else { template.clone() };
                let spelled = |text: &str| if name == "traditional" { super::super::traditional(text).into_owned() } else { text.into() };
                let texts: Vec<String> = of_language.iter().flat_map(|text| template.apply("altclip", &spelled(&text.text))).collect();
                let positives: Vec<Vec<usize>> =
                    of_language.iter().map(|text| text.image_ids.iter().map(|id| rows[id]).collect()).collect();
                let embedded = embedder.embed_texts(&texts).unwrap();
                let found = evaluate::recalls(&embedded, pictures.embeddings(), &positives).unwrap().unwrap();
                println!("{name} {language}: {:?}", found.values());
                if name == "traditional" && language == "zh" {
                    let folded: Vec<String> = texts.iter().map(|text| super::super::fold(&embedder, text).into_owned()).collect();
                    let found = evaluate::recalls(&embedder.embed_texts(&folded).unwrap(), pictures.embeddings(), &positives);
                    println!("traditional, folded: {:?}", found.unwrap().unwrap().values());
                }
            }
        }
    }
}
