//! What is in a data set: counts, sizes, languages, lengths, what comes twice.
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use hua_data::Failure;
use hua_text::Tokenizer;
use serde::Serialize;

use super::ScanOptions;
use super::scan::{Told, normalised, scan};
use crate::{Error, Progress};

/// Tags that are told, the most frequent first.
const TAGS: usize = 20;

/// Numbers by how often each comes: all that is said of them is exact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution(BTreeMap<u64, u64>);

impl Distribution {
    /// Takes note of a number.
    pub fn add(&mut self, number: u64) {
        *self.0.entry(number).or_default() += 1;
    }

    /// How many numbers.
    pub fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// The number that a share of all are not above: 0.5 is the median.
    pub fn quantile(&self, share: f64) -> u64 {
        let wanted = ((self.count() as f64 * share).ceil() as u64).max(1);
        let mut below = 0;
        let found = self.0.iter().find(|(_, count)| {
            below += **count;
            below >= wanted
        });
        found.map_or(0, |(number, _)| *number)
    }

    /// The mean; 0 of none.
    pub fn mean(&self) -> f64 {
        let sum: f64 = self.0.iter().map(|(number, count)| *number as f64 * *count as f64).sum();
        sum / (self.count().max(1) as f64)
    }

    /// Each number and how often it came, from the least.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().map(|(number, count)| (*number, *count))
    }
}

impl Serialize for Distribution {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Summary {
            min: u64,
            median: u64,
            mean: f64,
            p95: u64,
            max: u64,
        }
        let summary = Summary {
            min: self.quantile(0.0),
            median: self.quantile(0.5),
            mean: (self.mean() * 100.0).round() / 100.0,
            p95: self.quantile(0.95),
            max: self.quantile(1.0),
        };
        summary.serialize(serializer)
    }
}

/// The captions of one language.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LanguageStats {
    /// How many, counted at each picture.
    pub captions: u64,
    /// How many different ones, but for capitals and spaces.
    pub distinct: u64,
    /// How long they are, in characters.
    pub characters: Distribution,
    /// How long they are in tokens of the model that was named, with those at the ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Distribution>,
    /// Of these, longer than the model reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<u64>,
}

/// What is in a data set.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    /// Pictures that are sound.
    pub pictures: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Pictures whose bytes came before.
    pub duplicate_pictures: u64,
    /// Pictures by format.
    pub formats: BTreeMap<String, u64>,
    /// Pixels of a row.
    pub widths: Distribution,
    /// Rows.
    pub heights: Distribution,
    /// Bytes of a file.
    pub file_bytes: Distribution,
    /// Captions, counted at each picture.
    pub captions: u64,
    /// Different ones, but for capitals and spaces.
    pub distinct_captions: u64,
    /// Captions of a picture.
    pub captions_a_picture: Distribution,
    /// By language; `""` where none is said.
    pub languages: BTreeMap<String, LanguageStats>,
    /// The most frequent tags.
    pub tags: Vec<(String, u64)>,
    /// How many different tags.
    pub distinct_tags: u64,
    /// What is listed and cannot be used.
    pub failures: Vec<Failure>,
}

/// Goes through the data set of `sources`; with a tokenizer, captions are counted in its tokens too.
///
/// # Errors
/// [`Error::Data`] if a source cannot be read as a whole; [`Error::Text`].
pub fn stats(sources: &[PathBuf], tokenizer: Option<&Tokenizer>, options: &ScanOptions, progress: &dyn Progress) -> Result<Stats, Error> {
    let mut stats = Stats::default();
    let (mut hashes, mut texts, mut tags, mut failed) = (HashSet::new(), HashSet::new(), BTreeMap::new(), None);
    let mut by_language: BTreeMap<String, HashSet<u128>> = BTreeMap::new();
    scan(sources, options, "looking at pictures", progress, |told| match told {
        Told::Failure(failure) => stats.failures.push(failure),
        Told::Picture(entry, Err(reason)) => stats.failures.push(Failure { name: entry.name, reason }),
        Told::Picture(entry, Ok(seen)) => {
            stats.pictures += 1;
            stats.bytes += seen.bytes;
            stats.duplicate_pictures += u64::from(!hashes.insert(seen.hash));
            *stats.formats.entry(seen.format.to_owned()).or_default() += 1;
            stats.widths.add(u64::from(seen.width));
            stats.heights.add(u64::from(seen.height));
            stats.file_bytes.add(seen.bytes);
            stats.captions_a_picture.add(entry.captions.len() as u64);
            for caption in &entry.captions {
                let hash = normalised(&caption.text);
                let code = caption.language.clone().unwrap_or_default();
                stats.captions += 1;
                stats.distinct_captions += u64::from(texts.insert(hash));
                let language = stats.languages.entry(code.clone()).or_default();
                language.captions += 1;
                language.distinct += u64::from(by_language.entry(code).or_default().insert(hash));
                language.characters.add(caption.text.chars().count() as u64);
                match tokenizer.map(|tokenizer| tokenizer.encode(&caption.text)) {
                    Some(Ok(encoding)) => {
                        language.tokens.get_or_insert_default().add((encoding.ids.len() + encoding.dropped) as u64);
                        *language.cut.get_or_insert(0) += u64::from(encoding.truncated());
                    }
                    Some(Err(e)) => _ = failed.get_or_insert(e),
                    None => {}
                }
            }
            entry.tags.into_iter().for_each(|tag| *tags.entry(tag).or_insert(0) += 1);
        }
    })?;
    if let Some(e) = failed {
        return Err(e.into());
    }
    stats.distinct_tags = tags.len() as u64;
    stats.tags = tags.into_iter().collect();
    stats.tags.sort_by(|(a, m), (b, n)| n.cmp(m).then(a.cmp(b)));
    stats.tags.truncate(TAGS);
    Ok(stats)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_numbers_is_exact() {
        let mut numbers = Distribution::default();
        assert_eq!((numbers.quantile(0.5), numbers.mean()), (0, 0.0));
        for number in [7, 1, 3, 3, 100] {
            numbers.add(number);
        }
        assert_eq!([0.0, 0.2, 0.5, 0.95, 1.0].map(|share| numbers.quantile(share)), [1, 1, 3, 100, 100]);
        assert_eq!(serde_json::to_string(&numbers).unwrap(), r#"{"min":1,"median":3,"mean":22.8,"p95":100,"max":100}"#);
    }
}
