//! Pictures and texts, which belong together, and which are equal.
//!
//! Decided here: a *group* is what the data joins, directly or through others (a text with four pictures, a picture with five captions, and all that
//! they reach). Within a group nothing is ever a wrong answer. Equal pictures (the same bytes) and equal texts (the same but for case,
//! width and spaces) of different groups are marked, so that no batch takes them for strangers either ([`Duplicates`](super::Duplicates)). In memory are
//! strings and places in files, never pixels: about 100 bytes a picture and 50 and its characters a text.
use std::path::PathBuf;

use hua_data::{Failure, Source};
use serde::Serialize;

use super::lists::Lists;
use super::options::ReadOptions;
use super::read;
use crate::Result;

/// A row that has no class: nothing elsewhere is equal to it.
pub(super) const ALONE: u32 = u32::MAX;

/// A set of pictures and texts. Everything is counted from 0.
#[derive(Debug, Default)]
pub struct PairSet {
    pub(super) pictures: Vec<PictureRow>,
    pub(super) texts: Vec<TextRow>,
    pub(super) strings: Strings,
    pub(super) names: Strings,
    pub(super) languages: Vec<String>,
    pub(super) kinds: Vec<String>,
    pub(super) pictures_of_text: Lists,
    pub(super) texts_of_picture: Lists,
    pub(super) pictures_of_group: Lists,
    pub(super) texts_of_group: Lists,
    /// The groups in which a text or picture equal to others occurs, by its class.
    pub(super) groups_of_class: Lists,
    pub(super) report: ReadReport,
}

#[derive(Debug)]
pub(super) struct PictureRow {
    pub source: Source,
    pub group: u32,
    pub class: u32,
}

#[derive(Debug)]
pub(super) struct TextRow {
    pub language: u16,
    pub kind: u16,
    pub group: u32,
    pub class: u32,
}

/// Many strings in one.
#[derive(Clone, Debug, Default)]
pub(super) struct Strings {
    all: String,
    ends: Vec<usize>,
}

impl Strings {
    pub(super) fn push(&mut self, string: &str) {
        self.all.push_str(string);
        self.ends.push(self.all.len());
    }

    pub(super) fn at(&self, index: u32) -> &str {
        let index = index as usize;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.all[start..self.ends[index]]
    }
}

/// A picture that is to be in a set.
#[derive(Clone, Debug)]
pub struct NewPicture {
    /// The same in every run.
    pub name: String,
    /// Where its bytes are.
    pub source: Source,
}

/// A text that is to be in a set.
#[derive(Clone, Debug, Default)]
pub struct NewText {
    /// The text.
    pub text: String,
    /// A tag of BCP 47; empty if nobody says.
    pub language: String,
    /// A name, keywords, a caption; empty if nobody says.
    pub kind: String,
    /// The pictures it describes.
    pub pictures: Vec<u32>,
}

/// What was found when a set was read. Nothing that is not in the set is missing here.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ReadReport {
    /// Pictures that are learnt from.
    pub pictures: usize,
    /// Texts that are learnt.
    pub texts: usize,
    /// What they make.
    pub groups: usize,
    /// Pictures that the recipe left out.
    pub pictures_left_out: usize,
    /// Texts that the recipe left out, by language, kind or with all of their pictures.
    pub texts_left_out: usize,
    /// Pictures that nothing describes.
    pub pictures_without_text: Bad,
    /// Pictures of which there is an equal one in another group.
    pub equal_pictures: usize,
    /// Texts of which there is an equal one in another group.
    pub equal_texts: usize,
    /// What could not be used.
    pub bad: Bad,
}

/// Things that could not be used: how many, and the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bad {
    /// How many.
    pub count: u64,
    /// The first [`Bad::EXAMPLES`].
    pub examples: Vec<Failure>,
}

impl Bad {
    /// How many are kept by name.
    pub const EXAMPLES: usize = 20;

    /// One more.
    pub fn add(&mut self, name: impl Into<String>, reason: impl Into<String>) {
        self.count += 1;
        if self.examples.len() < Self::EXAMPLES {
            self.examples.push(Failure { name: name.into(), reason: reason.into() });
        }
    }

    /// How many, and the first with its reason.
    pub fn summary(&self) -> String {
        format!("{}{}", self.count, self.first())
    }

    /// The first with its reason, as the end of a sentence.
    pub(super) fn first(&self) -> String {
        self.examples.first().map_or_else(String::new, |first| format!(", the first `{}`: {}", first.name, first.reason))
    }
}

impl PairSet {
    /// Reads whatever lists pictures and texts: Chinese-CLIP's files, LMDB, archives, tables, folders.
    ///
    /// # Errors
    /// [`Error::Hua`](crate::Error::Hua) if a source cannot be read at all, [`Error::BadData`](crate::Error::BadData) if too much of it is bad or nothing is left.
    pub fn open(paths: &[PathBuf], options: &ReadOptions) -> Result<Self> {
        read::open(paths, options)
    }

    /// A set of pictures and texts that are at hand; those that cannot be used are left out and told as [`PairSet::open`] does.
    ///
    /// # Errors
    /// [`Error::BadData`](crate::Error::BadData).
    pub fn new(pictures: Vec<NewPicture>, texts: Vec<NewText>, options: &ReadOptions) -> Result<Self> {
        read::build(pictures, texts, options)
    }

    /// How many pictures there are.
    pub fn pictures(&self) -> usize {
        self.pictures.len()
    }

    /// How many texts there are.
    pub fn texts(&self) -> usize {
        self.texts.len()
    }

    /// How many groups there are.
    pub fn groups(&self) -> usize {
        self.pictures_of_group.rows()
    }

    /// Where a picture's bytes are.
    pub fn source(&self, picture: u32) -> &Source {
        &self.pictures[picture as usize].source
    }

    /// What its source calls a picture.
    pub fn name(&self, picture: u32) -> &str {
        self.names.at(picture)
    }

    /// A text.
    pub fn text(&self, text: u32) -> &str {
        self.strings.at(text)
    }

    /// The language of a text; empty if nobody says.
    pub fn language(&self, text: u32) -> &str {
        &self.languages[usize::from(self.texts[text as usize].language)]
    }

    /// The kind of a text; empty if nobody says.
    pub fn kind(&self, text: u32) -> &str {
        &self.kinds[usize::from(self.texts[text as usize].kind)]
    }

    /// All languages, in the order they were met.
    pub fn languages(&self) -> &[String] {
        &self.languages
    }

    /// All kinds of texts, in the order they were met.
    pub fn kinds(&self) -> &[String] {
        &self.kinds
    }

    /// The pictures that a text describes: at least one.
    pub fn pictures_of(&self, text: u32) -> &[u32] {
        self.pictures_of_text.row(text)
    }

    /// The texts that describe a picture: at least one.
    pub fn texts_of(&self, picture: u32) -> &[u32] {
        self.texts_of_picture.row(picture)
    }

    /// The group of a picture.
    pub fn group_of_picture(&self, picture: u32) -> u32 {
        self.pictures[picture as usize].group
    }

    /// The group of a text.
    pub fn group_of_text(&self, text: u32) -> u32 {
        self.texts[text as usize].group
    }

    /// The pictures of a group: at least one.
    pub fn group_pictures(&self, group: u32) -> &[u32] {
        self.pictures_of_group.row(group)
    }

    /// The texts of a group: at least one.
    pub fn group_texts(&self, group: u32) -> &[u32] {
        self.texts_of_group.row(group)
    }

    /// The groups in which there is a picture equal to this one, its own among them; none if there is no such picture in another group.
    pub fn groups_like_picture(&self, picture: u32) -> &[u32] {
        self.groups_of(self.pictures[picture as usize].class)
    }

    /// The groups in which there is a text equal to this one, its own among them; none if there is no such text in another group.
    pub fn groups_like_text(&self, text: u32) -> &[u32] {
        self.groups_of(self.texts[text as usize].class)
    }

    fn groups_of(&self, class: u32) -> &[u32] {
        if class == ALONE { &[] } else { self.groups_of_class.row(class) }
    }

    /// What was found when the set was read.
    pub fn report(&self) -> &ReadReport {
        &self.report
    }
}
