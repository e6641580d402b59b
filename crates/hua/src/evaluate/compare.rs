//! Two models on the same queries: the difference of every figure with its interval, and the queries on which they part.
//!
//! The comparison is paired: both models are asked the same queries, and every drawing of the bootstrap takes the same ones for both. The
//! interval of a difference is therefore much narrower than the two intervals suggest; a difference whose interval excludes 0 is one that the
//! choice of queries does not explain. What is compared are ranks by query, of a run just made or of a saved one ([`Results`]).
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::DatasetError;
use super::bootstrap::{Bootstrap, Interval};
use super::recall::round2;
use super::report::{FIGURES, LanguageIntervals, Numbers, Tally};
use super::retrieval::{LanguageQueries, Query, Retrieval};
use crate::Error;

/// The first field of a saved file.
const FORMAT: &str = "hua-retrieval-1";
/// What a file of results should be.
const WANTED: &str = "a `results.json` of `hua eval retrieval --out`";

/// The rank of every query of a run: what is saved, and what is compared.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    format: String,
    /// The model's name.
    pub model: String,
    /// The model's fingerprint.
    pub fingerprint: String,
    /// What the data set was read from.
    pub data: String,
    queries: BTreeMap<String, Directions>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Directions {
    text_to_image: Column,
    image_to_text: Column,
}

/// Queries one after another.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Column {
    /// Of texts, their ids; of pictures, theirs.
    ids: Vec<String>,
    /// What they ask with, if it is text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    texts: Vec<String>,
    groups: Vec<usize>,
    /// From 1.
    ranks: Vec<usize>,
}

impl Results {
    /// Of a run of the model of this name on `data`.
    pub fn of(run: &Retrieval, model: &str, data: &str) -> Self {
        let column = |queries: &[Query], id: &dyn Fn(usize) -> String, text: Option<&dyn Fn(usize) -> String>| Column {
            ids: queries.iter().map(|query| id(query.index)).collect(),
            texts: text.map(|text| queries.iter().map(|query| text(query.index)).collect()).unwrap_or_default(),
            groups: queries.iter().map(|query| query.group).collect(),
            ranks: queries.iter().map(|query| query.rank).collect(),
        };
        let directions = |of: &LanguageQueries| Directions {
            text_to_image: column(&of.text_to_image, &|row| run.texts[row].id.clone(), Some(&|row| run.texts[row].text.clone())),
            image_to_text: column(&of.image_to_text, &|row| run.images[row].clone(), None),
        };
        Self {
            format: FORMAT.to_owned(),
            model: model.to_owned(),
            fingerprint: run.text_embeddings.fingerprint().to_owned(),
            data: data.to_owned(),
            queries: run.queries.iter().map(|(language, of)| (language.clone(), directions(of))).collect(),
        }
    }

    /// Reads what was saved.
    ///
    /// # Errors
    /// [`DatasetError::Io`], [`DatasetError::Results`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = std::fs::read(path).map_err(|source| DatasetError::Io { path: path.to_owned(), source })?;
        let malformed = |found: String| DatasetError::Results { path: path.to_owned(), found, wanted: WANTED };
        let results: Self = serde_json::from_slice(&bytes).map_err(|e| malformed(e.to_string()))?;
        if results.format != FORMAT {
            return Err(malformed(format!("its format is `{}`", results.format)).into());
        }
        let columns = results.queries.values().flat_map(|of| [&of.text_to_image, &of.image_to_text]);
        for Column { ids, texts, groups, ranks } in columns {
            let n = ids.len();
            if groups.len() != n || ranks.len() != n || !(texts.is_empty() || texts.len() == n) || ranks.contains(&0) {
                return Err(malformed("its lists are not of one length, or a rank is 0".into()).into());
            }
        }
        Ok(results)
    }

    /// The JSON to save.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write(&self, to: impl io::Write) -> io::Result<()> {
        Ok(serde_json::to_writer(to, self)?)
    }
}

/// A query that one model answers at the first place and the other does not.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Flip {
    /// Its language.
    pub language: String,
    /// Whether a text asks.
    pub text_to_image: bool,
    /// Of the text or the picture that asks.
    pub id: String,
    /// What it asks with, if that is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// With the first model, from 1.
    pub rank_a: usize,
    /// With the second.
    pub rank_b: usize,
}

/// Figures of a language in the order of [`LanguageIntervals`]: R@1, R@5 and R@10 of texts, the same of pictures, MR.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Of the first model, percent.
    pub a: [f64; FIGURES],
    /// Of the second.
    pub b: [f64; FIGURES],
    /// The second less the first, points.
    pub difference: [f64; FIGURES],
    /// Of the differences; none without drawings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intervals: Option<LanguageIntervals>,
    /// Queries of both directions that only the first model answers at the first place.
    pub only_a: usize,
    /// And only the second.
    pub only_b: usize,
}

impl Difference {
    /// The interval of the difference in MR.
    pub fn mean_recall(&self) -> Option<Interval> {
        self.intervals.as_ref().map(|intervals| intervals.mean_recall)
    }
}

/// The second model beside the first.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The first model's name.
    pub a: String,
    /// The second's.
    pub b: String,
    /// By language.
    pub languages: BTreeMap<String, Difference>,
    /// Mean over the languages.
    pub mean: Difference,
    /// Those that differ at R@1, the farthest apart first.
    pub flips: Vec<Flip>,
}

/// Compares two runs on the same queries.
///
/// # Errors
/// [`DatasetError::OtherQueries`] if they are not the same.
pub fn compare(a: &Results, b: &Results, bootstrap: &Bootstrap) -> Result<Comparison, Error> {
    let (of_a, mut of_b) = (queries(a), BTreeMap::new());
    let mut flips = vec![];
    for (language, first) in &a.queries {
        let second = b.queries.get(language).ok_or_else(|| other(a, b, format!("language `{language}` is missing from the second")))?;
        let mut directions = LanguageQueries::default();
        for text_to_image in [true, false] {
            let side = |of: &Directions| if text_to_image { of.text_to_image.clone() } else { of.image_to_text.clone() };
            let (first, second) = (side(first), side(second));
            let matched = matched(&first, &second).map_err(|what| other(a, b, format!("in `{language}`, {what}")))?;
            for (place, query) in matched.iter().enumerate() {
                let (rank_a, rank_b) = (first.ranks[place], query.rank);
                if (rank_a == 1) != (rank_b == 1) {
                    let text = first.texts.get(place).cloned();
                    flips.push(Flip { language: language.clone(), text_to_image, id: first.ids[place].clone(), text, rank_a, rank_b });
                }
            }
            *if text_to_image { &mut directions.text_to_image } else { &mut directions.image_to_text } = matched;
        }
        of_b.insert(language.clone(), directions);
    }
    if let Some(language) = b.queries.keys().find(|language| !a.queries.contains_key(*language)) {
        return Err(other(a, b, format!("language `{language}` is missing from the first")).into());
    }
    flips.sort_by_key(|flip| std::cmp::Reverse(flip.rank_a.abs_diff(flip.rank_b)));
    let numbers = Numbers::of(&of_a);
    let (a_tally, b_tally) = (Tally::of(&of_a, &numbers), Tally::of(&of_b, &numbers));
    let subtract = |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| b - a).collect() };
    let found = bootstrap.intervals(a_tally.groups, |drawn| subtract(&a_tally.figures(drawn), &b_tally.figures(drawn)));
    let (plain_a, plain_b) = (a_tally.plain(), b_tally.plain());
    let difference = |row: usize, language: Option<&str>| {
        let range = row * FIGURES..(row + 1) * FIGURES;
        let figures = |of: &[f64]| std::array::from_fn(|i| round2(of[range.start + i]));
        let own = || flips.iter().filter(|flip| language.is_none_or(|language| flip.language == language));
        Difference {
            a: figures(&plain_a),
            b: figures(&plain_b),
            difference: figures(&subtract(&plain_a, &plain_b)),
            intervals: found.get(range.clone()).map(LanguageIntervals::of),
            only_a: own().filter(|flip| flip.rank_a == 1).count(),
            only_b: own().filter(|flip| flip.rank_b == 1).count(),
        }
    };
    let languages: BTreeMap<_, _> =
        of_a.keys().enumerate().map(|(row, language)| (language.clone(), difference(row, Some(language)))).collect();
    let mean = difference(languages.len(), None);
    Ok(Comparison { a: a.model.clone(), b: b.model.clone(), languages, mean, flips })
}

fn other(a: &Results, b: &Results, found: String) -> DatasetError {
    DatasetError::OtherQueries { first: format!("{} on {}", a.model, a.data), second: format!("{} on {}", b.model, b.data), found }
}

fn queries(of: &Results) -> BTreeMap<String, LanguageQueries> {
    let column = |column: &Column| -> Vec<Query> {
        let rows = column.groups.iter().zip(&column.ranks).enumerate();
        rows.map(|(index, (&group, &rank))| Query { index, group, rank }).collect()
    };
    let both = |of: &Directions| LanguageQueries { text_to_image: column(&of.text_to_image), image_to_text: column(&of.image_to_text) };
    of.queries.iter().map(|(language, of)| (language.clone(), both(of))).collect()
}

/// The second's queries in the first's order, in the first's groups.
fn matched(first: &Column, second: &Column) -> Result<Vec<Query>, String> {
    // An id may be there twice; then the first of one is the first of the other.
    let mut places: HashMap<&str, std::collections::VecDeque<usize>> = HashMap::new();
    for (place, id) in second.ids.iter().enumerate() {
        places.entry(id).or_default().push_back(place);
    }
    if first.ids.len() != second.ids.len() {
        return Err(format!("one has {} queries and the other {}", first.ids.len(), second.ids.len()));
    }
    let mut found = vec![];
    for (index, id) in first.ids.iter().enumerate() {
        let place = places.get_mut(&**id).and_then(std::collections::VecDeque::pop_front);
        let place = place.ok_or_else(|| format!("query `{id}` is missing from the second"))?;
        if first.texts.get(index) != second.texts.get(place) {
            return Err(format!("query `{id}` is another text in the second"));
        }
        found.push(Query { index, group: first.groups[index], rank: second.ranks[place] });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(model: &str, ranks: &[usize]) -> Results {
        let column = |texts: bool| Column {
            ids: (0..ranks.len()).map(|i| i.to_string()).collect(),
            texts: if texts { (0..ranks.len()).map(|i| format!("text {i}")).collect() } else { vec![] },
            groups: (0..ranks.len()).collect(),
            ranks: ranks.to_vec(),
        };
        let directions = Directions { text_to_image: column(true), image_to_text: column(false) };
        Results {
            format: FORMAT.into(),
            model: model.into(),
            fingerprint: String::new(),
            data: "d".into(),
            queries: [("en".to_owned(), directions)].into(),
        }
    }

    #[test]
    fn a_model_beside_itself_differs_by_exactly_nothing() {
        let ranks: Vec<usize> = (0..200).map(|i| 1 + i % 7).collect();
        let found = compare(&results("a", &ranks), &results("b", &ranks), &Bootstrap::default()).unwrap();
        assert_eq!(found.mean.difference, [0.0; FIGURES]);
        assert_eq!((found.mean.mean_recall(), found.flips.len()), (Some(Interval(0.0, 0.0)), 0));
    }

    #[test]
    fn an_interval_of_a_difference_is_narrow_because_it_is_paired() {
        // The second answers ten more of 200 at once: 5 points, while each figure alone is uncertain by 7.
        let a: Vec<usize> = (0..200).map(|i| if i < 100 { 1 } else { 2 }).collect();
        let b: Vec<usize> = (0..200).map(|i| if i < 110 { 1 } else { 2 }).collect();
        let found = compare(&results("a", &a), &results("b", &b), &Bootstrap::default()).unwrap();
        assert_eq!((found.mean.a[0], found.mean.b[0], found.mean.difference[0]), (50.0, 55.0, 5.0));
        let interval = found.languages["en"].intervals.as_ref().unwrap().text_to_image.at_1;
        assert!(interval.excludes_zero() && interval.0 > 1.5 && interval.1 < 9.0, "{interval:?}");
        assert_eq!((found.mean.only_a, found.mean.only_b), (0, 20));
        let wanted =
            Flip { language: "en".into(), text_to_image: true, id: "100".into(), text: Some("text 100".into()), rank_a: 2, rank_b: 1 };
        assert_eq!(found.flips[0], wanted);
    }

    #[test]
    fn queries_are_matched_by_id_and_others_are_refused() {
        let (a, mut b) = (results("a", &[1, 2, 3]), results("b", &[3, 2, 1]));
        let column = &mut b.queries.get_mut("en").unwrap().text_to_image;
        column.ids.reverse();
        column.texts.reverse();
        let found = compare(&a, &b, &Bootstrap::default()).unwrap();
        assert!(found.flips.iter().all(|flip| !flip.text_to_image), "{:?}", found.flips);
        b.queries.get_mut("en").unwrap().text_to_image.ids[0] = "9".into();
        let error = compare(&a, &b, &Bootstrap::default()).unwrap_err().to_string();
        assert!(error.ends_with("in `en`, query `2` is missing from the second"), "{error}");
        let error = compare(&a, &results("b", &[1]), &Bootstrap::default()).unwrap_err().to_string();
        assert!(error.ends_with("one has 3 queries and the other 1"), "{error}");
    }

    #[test]
    fn what_is_saved_is_read_and_what_is_not_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.json");
        results("a", &[1, 4]).write(std::fs::File::create(&path).unwrap()).unwrap();
        assert_eq!(compare(&Results::read(&path).unwrap(), &results("b", &[1, 4]), &Bootstrap::default()).unwrap().flips, []);
        let text = std::fs::read_to_string(&path).unwrap();
        for (bad, wanted) in [
            (text.replace("[1,4]", "[0,4]"), "a rank is 0"),
            (text.replace("[1,4]", "[1]"), "not of one length"),
            (text.replace(FORMAT, "other"), "its format is `other`"),
            ("{}".to_owned(), "missing field"),
        ] {
            std::fs::write(&path, bad).unwrap();
            let error = Results::read(&path).unwrap_err().to_string();
            assert!(error.contains(wanted) && error.contains("results.json"), "{error}");
        }
    }
}
