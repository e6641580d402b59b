//! What a recipe says about data: how it is read, how batches are drawn from it, how texts are varied, how far ahead pictures are prepared.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How a set of pairs is read (`[data.read]`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReadOptions {
    /// The split of Chinese-CLIP's files (`train`); all if none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// The languages that are learnt; all if empty. Texts of no language are kept.
    #[serde(deserialize_with = "crate::recipe::lists::one_or_many")]
    pub languages: Vec<String>,
    /// The kinds of texts that are learnt (the key `kind` of Chinese-CLIP's texts); all if empty. Texts of no kind are kept.
    #[serde(deserialize_with = "crate::recipe::lists::one_or_many")]
    pub kinds: Vec<String>,
    /// Pictures that are left out, by name: `*` stands for anything (`*_imgs.tsv#*3`).
    #[serde(deserialize_with = "crate::recipe::lists::one_or_many")]
    pub leave_out: Vec<String>,
    /// In a folder of folders, the name of a picture's folder is its text.
    pub folders_are_classes: bool,
    /// What becomes of equal pictures and equal texts in different groups.
    pub duplicates: Duplicates,
    /// Read every picture once before the run: what is missing or no picture is found then, and so are equal pictures. Costs one pass.
    pub check: bool,
    /// The share of bad pictures and texts from which on the data is refused, 0 to 1. Fewer are counted, told and left out.
    pub max_bad: f64,
    /// Bytes of pictures that may be held in memory where a source cannot be read in pieces (tables with bytes, compressed archives).
    pub max_memory: u64,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            split: None,
            languages: vec![],
            kinds: vec![],
            leave_out: vec![],
            folders_are_classes: false,
            duplicates: Duplicates::default(),
            check: true,
            max_bad: 0.05,
            max_memory: 4 << 30,
        }
    }
}

/// What becomes of equal pictures and equal texts in different groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duplicates {
    /// Nothing: they are wrong answers to each other, as upstream has it.
    Ignore,
    /// Their groups become one.
    Join,
    /// They do not come in one batch; where that cannot be, they count as one group in it.
    #[default]
    Mark,
}

/// How batches are drawn (`[data.sampling]`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sampling {
    /// What an epoch goes through once.
    pub unit: Unit,
    /// Texts of a group, in distinct languages as far as there are; of units that are groups.
    pub texts_per_group: usize,
    /// Pictures of a group; of units that are groups.
    pub pictures_per_group: usize,
    /// How likely a kind of text is beside the others (`{ name = 1.0, keyword = 0.5 }`); 1 for those that are not named. Where units are pairs, the
    /// share of epochs that a text of the kind comes in, at most 1.
    pub kinds: BTreeMap<String, f64>,
    /// How likely a language is beside the others, the same.
    pub languages: BTreeMap<String, f64>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { unit: Unit::default(), texts_per_group: 1, pictures_per_group: 1, kinds: BTreeMap::new(), languages: BTreeMap::new() }
    }
}

/// What an epoch goes through once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Pictures and texts that belong together.
    Group,
    /// A text and one of its pictures.
    #[default]
    Pair,
}

/// How texts are varied (`[data.texts]`). Nothing is, by default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TextAugment {
    /// Of a list of words, some in another order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list_dropout: Option<ListDropout>,
    /// Likelihood of another case: lower, first letter, first letters, or all capital.
    pub recase: f64,
    /// Sentences around a text by language, with `{}` in its place: `{ en = ["a picture of {}"] }`.
    pub templates: BTreeMap<String, Vec<String>>,
    /// Likelihood of a template where its language has one.
    pub template_probability: f64,
    /// The kinds of texts that get templates; all if empty.
    #[serde(deserialize_with = "crate::recipe::lists::one_or_many")]
    pub template_kinds: Vec<String>,
}

/// Of a list of words, some in another order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListDropout {
    /// The kinds of texts that are lists; all if empty.
    #[serde(deserialize_with = "crate::recipe::lists::one_or_many")]
    pub kinds: Vec<String>,
    /// What stands between the words.
    pub separator: String,
    /// Words that stay, at least.
    pub least: usize,
    /// Words that stay, at most.
    pub most: usize,
    /// Likelihood that a list is cut; else it stays whole.
    pub probability: f64,
}

impl Default for ListDropout {
    fn default() -> Self {
        Self { kinds: vec!["keyword".into()], separator: ", ".into(), least: 2, most: 4, probability: 1.0 }
    }
}

/// How far ahead batches are prepared (`[data.loading]`). None of it changes a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Loading {
    /// Threads that read, decode, change and tokenise. With 0 that is done when a batch is asked for.
    pub threads: usize,
    /// Batches that are prepared ahead.
    pub ahead: usize,
    /// What is kept of pictures that were read.
    pub cache: Cache,
    /// The most bytes that the cache takes; when it is full, what is not in it is read each time.
    pub cache_bytes: u64,
}

impl Default for Loading {
    fn default() -> Self {
        Self { threads: 1, ahead: 3, cache: Cache::default(), cache_bytes: 1 << 30 }
    }
}

/// What is kept of pictures that were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cache {
    /// Decoded pictures, as they are before anything is changed.
    Decoded,
    /// Nothing.
    #[default]
    None,
}

impl ReadOptions {
    /// Refuses what cannot be; `section` is where the recipe says it.
    ///
    /// # Errors
    /// [`Error::Recipe`].
    pub fn check(&self, section: &str) -> Result<()> {
        share(section, "max_bad", self.max_bad)
    }
}

impl Sampling {
    /// Refuses what cannot be; `section` is where the recipe says it.
    ///
    /// # Errors
    /// [`Error::Recipe`].
    pub fn check(&self, section: &str) -> Result<()> {
        for (key, count) in [("texts_per_group", self.texts_per_group), ("pictures_per_group", self.pictures_per_group)] {
            if count == 0 {
                return Err(Error::recipe(format!("{section}.{key}"), "0", "at least 1"));
            }
        }
        for (key, weights) in [("kinds", &self.kinds), ("languages", &self.languages)] {
            for (name, &weight) in weights {
                let most = if self.unit == Unit::Pair { 1.0 } else { f64::MAX };
                if !(0.0..=most).contains(&weight) {
                    let wanted =
                        if self.unit == Unit::Pair { "a share of 0 to 1, since units are pairs" } else { "a weight of at least 0" };
                    return Err(Error::recipe(format!("{section}.{key}.{name}"), weight.to_string(), wanted));
                }
            }
        }
        Ok(())
    }

    /// How likely a text of a language and kind is.
    pub(crate) fn weight(&self, language: &str, kind: &str) -> f64 {
        let of = |weights: &BTreeMap<String, f64>, name: &str| weights.get(name).copied().unwrap_or(1.0);
        of(&self.languages, language) * of(&self.kinds, kind)
    }
}

impl TextAugment {
    /// Refuses what cannot be; `section` is where the recipe says it.
    ///
    /// # Errors
    /// [`Error::Recipe`].
    pub fn check(&self, section: &str) -> Result<()> {
        share(section, "recase", self.recase)?;
        share(section, "template_probability", self.template_probability)?;
        for (language, templates) in &self.templates {
            let key = || format!("{section}.templates.{language}");
            if templates.is_empty() {
                return Err(Error::recipe(key(), "empty", "at least one template"));
            }
            if let Some(template) = templates.iter().find(|template| template.matches("{}").count() != 1) {
                return Err(Error::recipe(key(), format!("`{template}`"), "a sentence with one `{}`"));
            }
        }
        if let Some(list) = &self.list_dropout {
            share(section, "list_dropout.probability", list.probability)?;
            if list.least == 0 || list.least > list.most {
                return Err(Error::recipe(format!("{section}.list_dropout.least"), list.least.to_string(), format!("1 to {}", list.most)));
            }
            if list.separator.is_empty() {
                return Err(Error::recipe(format!("{section}.list_dropout.separator"), "empty", "what stands between words"));
            }
        }
        Ok(())
    }
}

impl Loading {
    /// Refuses what cannot be; `section` is where the recipe says it.
    ///
    /// # Errors
    /// [`Error::Recipe`].
    pub fn check(&self, section: &str) -> Result<()> {
        if self.ahead == 0 {
            return Err(Error::recipe(format!("{section}.ahead"), "0", "at least 1"));
        }
        Ok(())
    }
}

fn share(section: &str, key: &str, found: f64) -> Result<()> {
    if (0.0..=1.0).contains(&found) {
        Ok(())
    } else {
        Err(Error::recipe(format!("{section}.{key}"), found.to_string(), "a number from 0 to 1"))
    }
}
