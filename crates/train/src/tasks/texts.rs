//! Texts with what a teacher reads for them, in an order that is computed: epoch after epoch, the same for any number of threads.
use std::collections::HashMap;
use std::path::PathBuf;

use hua_data::parallel;
use hua_image::augment::seed_of;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::data::{Bad, PairSet, Permutation};
use crate::{Error, Result};

/// What seeds are for; other than those of the pairs.
const ORDER: u64 = 101;
const DROPOUT: u64 = 102;

/// A text of the student.
#[derive(Debug)]
pub(crate) struct TextItem {
    pub text: String,
    pub language: String,
    /// Which text the teacher reads.
    pub target: u32,
    /// Texts of one row say the same.
    pub row: u32,
}

/// Texts, and the different texts that the teacher reads.
#[derive(Debug, Default)]
pub(crate) struct TextItems {
    pub items: Vec<TextItem>,
    pub targets: Vec<String>,
    known: HashMap<String, u32>,
    rows: u32,
    pub bad: Bad,
}

impl TextItems {
    /// Of files of parallel text.
    pub(crate) fn read(paths: &[PathBuf], pivot: Option<&str>) -> Result<Self> {
        let mut all = Self::default();
        let pivot = pivot.map(|code| parallel::language(code).unwrap_or_else(|| code.to_owned()));
        for row in parallel::open(paths, &parallel::Options::default())? {
            match row {
                Ok(row) => {
                    all.row(&row.name, row.texts.iter().map(|(language, text)| (language.as_str(), text.as_str())), pivot.as_deref())
                }
                Err(failure) => all.bad.add(failure.name, failure.reason),
            }
        }
        let what = paths.first().map(|path| path.display().to_string()).unwrap_or_default();
        all.not_empty(&what)
    }

    /// Of the texts of pairs: those of one group say the same.
    pub(crate) fn of_pairs(set: &PairSet, pivot: Option<&str>) -> Result<Self> {
        let mut all = Self::default();
        for group in 0..set.groups() as u32 {
            let texts = set.group_texts(group).iter().map(|&text| (set.language(text), set.text(text)));
            all.row(&format!("group {group}"), texts, pivot);
        }
        all.not_empty("the training pairs")
    }

    fn row<'a>(&mut self, name: &str, texts: impl Iterator<Item = (&'a str, &'a str)> + Clone, pivot: Option<&str>) {
        let shared = match pivot {
            None => None,
            Some(pivot) => match texts.clone().find(|(language, _)| *language == pivot) {
                Some((_, text)) => Some(self.target(text)),
                None => return self.bad.add(name, format!("no text in `{pivot}`, which the teacher reads")),
            },
        };
        for (language, text) in texts {
            let target = shared.unwrap_or_else(|| self.target(text));
            self.items.push(TextItem { text: text.to_owned(), language: language.to_owned(), target, row: self.rows });
        }
        self.rows += 1;
    }

    fn target(&mut self, text: &str) -> u32 {
        if let Some(&known) = self.known.get(text) {
            return known;
        }
        let next = self.targets.len() as u32;
        self.targets.push(text.to_owned());
        self.known.insert(text.to_owned(), next);
        next
    }

    /// Leaves out the texts whose target is not `known`.
    pub(crate) fn keep(&mut self, known: impl Fn(&str) -> bool, reason: &str) -> Result<()> {
        let (targets, bad) = (&self.targets, &mut self.bad);
        self.items.retain(|item| {
            let target = &targets[item.target as usize];
            let keep = known(target);
            if !keep {
                bad.add(target.clone(), reason);
            }
            keep
        });
        if self.items.is_empty() { Err(self.refused("the texts")) } else { Ok(()) }
    }

    fn not_empty(self, what: &str) -> Result<Self> {
        if self.items.is_empty() { Err(self.refused(what)) } else { Ok(self) }
    }

    fn refused(&self, what: &str) -> Error {
        let found = format!("no text that can be used; bad rows: {}", self.bad.summary());
        Error::BadData { name: what.to_owned(), found, wanted: "texts, and with `pivot` one in that language in each row".to_owned() }
    }
}

/// Where the next batch begins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    epoch: u64,
    position: u64,
    items: u64,
}

/// Batches of items, without end; every item comes once an epoch.
#[derive(Debug)]
pub(crate) struct Stream {
    batch: usize,
    seed: u64,
    place: Place,
}

impl Stream {
    /// Of so many items; a batch may be larger than there are.
    pub(crate) fn new(items: usize, batch: usize, seed: u64) -> Self {
        Self { batch, seed, place: Place { items: items as u64, ..Place::default() } }
    }

    /// The items of the next batch, with a seed for the dropout of each.
    pub(crate) fn next(&mut self) -> (Vec<usize>, Vec<u64>) {
        let mut batch = (vec![], vec![]);
        while batch.0.len() < self.batch {
            let Place { epoch, position, items } = self.place;
            let item = Permutation::new(items, seed_of(&[self.seed, ORDER]), epoch).item(position);
            batch.0.push(item as usize);
            batch.1.push(seed_of(&[self.seed, DROPOUT, epoch, item]));
            self.place = if position + 1 < items {
                Place { position: position + 1, ..self.place }
            } else {
                Place { epoch: epoch + 1, position: 0, items }
            };
        }
        batch
    }

    /// Batches of an epoch, rounded, at least 1.
    pub(crate) fn batches_per_epoch(&self) -> u64 {
        ((self.place.items as f64 / self.batch as f64).round() as u64).max(1)
    }

    pub(crate) fn cursor(&self) -> Value {
        serde_json::to_value(&self.place).expect("plain data is JSON")
    }

    pub(crate) fn set_cursor(&mut self, cursor: &Value) -> Result<()> {
        let place: Option<Place> = serde_json::from_value(cursor.clone()).ok();
        match place.filter(|place| place.items == self.place.items && place.position < place.items) {
            Some(place) => self.place = place,
            None => {
                return Err(Error::BadData {
                    name: "the place in the texts that the checkpoint names".to_owned(),
                    found: cursor.to_string(),
                    wanted: format!("one among {} texts: the data is not what it was", self.place.items),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_goes_on_from_its_cursor_is_the_stream() {
        let mut stream = Stream::new(10, 4, 7);
        let first: Vec<_> = (0..7).map(|_| stream.next()).collect();
        let mut items: Vec<usize> = first.iter().flat_map(|batch| batch.0.clone()).take(10).collect();
        items.sort_unstable();
        assert_eq!(items, (0..10).collect::<Vec<_>>());
        let mut again = Stream::new(10, 4, 7);
        (0..3).for_each(|_| drop(again.next()));
        let mut resumed = Stream::new(10, 4, 7);
        resumed.set_cursor(&again.cursor()).unwrap();
        assert_eq!((3..7).map(|_| resumed.next()).collect::<Vec<_>>(), first[3..]);
        assert!(Stream::new(11, 4, 7).set_cursor(&again.cursor()).is_err());
    }
}
