//! Texts varied for training: lists cut, case changed, sentences around names.
use hua_image::augment::Random;

use super::options::{ListDropout, TextAugment};
use super::read::primary;

impl TextAugment {
    /// A text as it is learnt this time.
    pub fn apply(&self, text: &str, language: &str, kind: &str, random: &mut Random) -> String {
        // Each step has a generator of its own, so that turning one on or off leaves the others as they were.
        let root = random.bits();
        let step = |number| Random::of(&[root, number]);
        let mut now = match &self.list_dropout {
            Some(list) if of_kind(&list.kinds, kind) => list.apply(text, &mut step(0)),
            _ => text.to_owned(),
        };
        let mut case = step(1);
        if case.chance(self.recase) {
            now = recased(&now, case.index(4));
        }
        let mut template = step(2);
        let templates = self.templates.get(language).or_else(|| self.templates.get(primary(language)));
        if let Some(templates) = templates.filter(|templates| !templates.is_empty() && of_kind(&self.template_kinds, kind))
            && template.chance(self.template_probability)
        {
            now = templates[template.index(templates.len())].replacen("{}", &now, 1);
        }
        now
    }
}

impl ListDropout {
    /// `least` to `most` of the words in a random order; a text of fewer words keeps all of them.
    fn apply(&self, text: &str, random: &mut Random) -> String {
        let mut words: Vec<&str> = text.split(&self.separator).map(str::trim).filter(|word| !word.is_empty()).collect();
        if !random.chance(self.probability) || words.len() < 2 {
            return text.to_owned();
        }
        random.shuffle(&mut words);
        words.truncate(self.least + random.index(self.most - self.least + 1));
        words.join(&self.separator)
    }
}

fn of_kind(kinds: &[String], kind: &str) -> bool {
    kinds.is_empty() || kinds.iter().any(|known| known == kind)
}

/// The text in another case; languages without case stay as they are.
fn recased(text: &str, how: usize) -> String {
    match how {
        0 => text.to_lowercase(),
        1 => capitalized(text),
        2 => text.split(' ').map(capitalized).collect::<Vec<_>>().join(" "),
        _ => text.to_uppercase(),
    }
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn all(augment: &TextAugment, text: &str, language: &str, kind: &str) -> BTreeSet<String> {
        (0..500).map(|seed| augment.apply(text, language, kind, &mut Random::new(seed))).collect()
    }

    #[test]
    fn by_default_a_text_stays_as_it_is() {
        assert_eq!(all(&TextAugment::default(), "a, b, c", "en", "keyword"), ["a, b, c".to_owned()].into());
    }

    #[test]
    fn of_a_list_two_to_four_words_stay_in_any_order() {
        let augment = TextAugment { list_dropout: Some(ListDropout::default()), ..TextAugment::default() };
        let found = all(&augment, "a, b, c, d, e, f", "en", "keyword");
        let counts: BTreeSet<usize> = found.iter().map(|text| text.split(", ").count()).collect();
        assert_eq!(counts, [2, 3, 4].into());
        assert!(found.contains("c, a"));
        assert!(found.iter().all(|text| text.split(", ").collect::<BTreeSet<_>>().len() == text.split(", ").count()), "no word twice");
        assert_eq!(all(&augment, "a, b", "en", "name"), ["a, b".to_owned()].into(), "a name is no list");
        assert_eq!(all(&augment, "one", "en", "keyword"), ["one".to_owned()].into());
    }

    #[test]
    fn case_changes_where_there_is_case() {
        let augment = TextAugment { recase: 1.0, ..TextAugment::default() };
        let expected = ["red cat", "Red cat", "Red Cat", "RED CAT"].map(str::to_owned);
        assert_eq!(all(&augment, "red cat", "en", ""), expected.into());
        assert_eq!(all(&augment, "红猫", "zh", ""), ["红猫".to_owned()].into());
    }

    #[test]
    fn templates_are_of_the_texts_language() {
        let templates = BTreeMap::from([("pt".into(), vec!["uma foto de {}".into()]), ("en".into(), vec!["{}!".into(), "the {}".into()])]);
        let augment = TextAugment { templates, template_probability: 0.5, template_kinds: vec!["name".into()], ..TextAugment::default() };
        assert_eq!(all(&augment, "x", "pt-BR", "name"), ["x", "uma foto de x"].map(str::to_owned).into());
        assert_eq!(all(&augment, "x", "en", "name"), ["x", "x!", "the x"].map(str::to_owned).into());
        assert_eq!(all(&augment, "x", "en", "keyword"), ["x".to_owned()].into());
        assert_eq!(all(&augment, "x", "ja", "name"), ["x".to_owned()].into());
    }
}
