//! Asking a library: by vector, by words, or both, among the items that a filter means.
//!
//! Cosines and BM25 have no common scale, so the two rankings are joined by rank: reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR
//! 2009), which gives an item 1 / (60 + rank) of each ranking it is in, the words' share times a weight. It needs no training, beat
//! the learned methods that its authors compared it with, and is what search engines with vectors do. A sum of calibrated scores was
//! not chosen: words that stand in a caption are evidence of another kind, with no background to hold them against.
use std::collections::{BTreeMap, BTreeSet};

use hua_index::{Filter, Hit, ItemId, Reader, SpaceId};
use hua_kernels::Cores;

use super::{Calibration, Content, Items, Query, QueryError, fold};
use crate::Error;

/// The constant of reciprocal rank fusion.
const RANK: f32 = 60.0;
/// How deep the rankings are that are joined, at least.
const DEPTH: usize = 100;

/// A library and how it is asked.
#[derive(Debug)]
pub struct Asking<'a> {
    /// The library.
    pub reader: &'a Reader,
    /// What the search runs on.
    pub cores: &'a Cores,
    /// Which vectors.
    pub space: SpaceId,
    /// Which items.
    pub filter: Filter,
    /// How many hits at most.
    pub top: usize,
    /// How much the ranking by words counts beside the one by vectors: 0 not at all, 1 as much.
    pub words: f32,
    /// What levels are found with.
    pub calibration: Option<&'a Calibration>,
    /// The least level of a hit, unless the words stand in its captions. It needs a calibration.
    pub least_level: Option<f32>,
}

/// An item that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// Which.
    pub item: ItemId,
    /// The cosine of its vector and the query's; none if it was found by words and has no vector yet.
    pub score: Option<f32>,
    /// How much it stands out, 0 to 1, where there is a calibration.
    pub level: Option<f32>,
    /// Its place in the ranking by words, from 1, if it is in it.
    pub word_rank: Option<usize>,
}

/// What was found for a query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The best first.
    pub hits: Vec<Found>,
    /// The level of the nearest item, should it be too low to be a hit.
    pub nearest: Option<f32>,
}

impl Asking<'_> {
    /// What is found for each query, whose vector, `[width]`, is that of the same place in `vectors`. An item that a query names itself is no answer to it.
    ///
    /// # Errors
    /// If the filter is wrong or the library cannot be read.
    pub fn ask(&self, queries: &[Query], vectors: &[&[f32]]) -> Result<Vec<Answer>, Error> {
        let named: Vec<BTreeSet<ItemId>> = queries.iter().map(|query| self.named(query)).collect::<Result<_, _>>()?;
        let most_named = named.iter().map(BTreeSet::len).max().unwrap_or(0);
        let depth = if self.words > 0.0 { self.top.max(DEPTH) } else { self.top };
        let found = self.reader.search(self.cores, self.space, vectors, &self.filter, depth.saturating_add(most_named))?;
        let mut answers = vec![];
        for (((query, row), named), mut near) in queries.iter().zip(vectors).zip(&named).zip(found) {
            near.retain(|hit| !named.contains(&hit.item));
            near.truncate(depth);
            let ranked = self.rank_words(query, named, depth)?;
            answers.push(self.answer(row, &near, &ranked)?);
        }
        Ok(answers)
    }

    fn answer(&self, vector: &[f32], near: &[Hit], words: &[ItemId]) -> Result<Answer, Error> {
        let background = self.calibration.map(|calibration| (calibration, calibration.background(vector)));
        let level = |score| background.map(|(calibration, background)| calibration.level(background.z(score)));
        let cosines: BTreeMap<ItemId, f32> = near.iter().map(|hit| (hit.item, hit.score)).collect();
        let word_ranks: BTreeMap<ItemId, usize> = words.iter().enumerate().map(|(index, item)| (*item, index + 1)).collect();
        let mut hits = vec![];
        for item in fuse(near, words, self.words) {
            let score = match cosines.get(&item) {
                Some(score) => Some(*score),
                None => self.reader.vector(self.space, item)?.map(|of_item| super::dot(&of_item, vector)),
            };
            hits.push(Found { item, score, level: score.and_then(level), word_rank: word_ranks.get(&item).copied() });
        }
        let nearest = near.first().and_then(|hit| level(hit.score));
        if let Some(least) = self.least_level {
            hits.retain(|hit| hit.word_rank.is_some() || hit.level.is_none_or(|level| level >= least));
        }
        hits.truncate(self.top);
        Ok(Answer { hits, nearest })
    }

    /// The items whose captions, names and tags have the words of the query, in either spelling of Chinese, the best first.
    fn rank_words(&self, query: &Query, named: &BTreeSet<ItemId>, depth: usize) -> Result<Vec<ItemId>, Error> {
        let Some(words) = query.wanted_words().filter(|_| self.words > 0.0) else { return Ok(vec![]) };
        let spellings = BTreeSet::from([fold::simplified(&words).into_owned(), fold::traditional(&words).into_owned(), words]);
        let mut best: BTreeMap<ItemId, f64> = BTreeMap::new();
        for spelling in spellings {
            for hit in self.reader.words(&spelling, &self.filter, depth)? {
                let rank = best.entry(hit.item).or_insert(hit.rank);
                *rank = rank.max(hit.rank);
            }
        }
        let mut ranked: Vec<(ItemId, f64)> = best.into_iter().filter(|(item, _)| !named.contains(item)).collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        ranked.truncate(depth);
        Ok(ranked.into_iter().map(|(item, _)| item).collect())
    }

    /// The items that a query names.
    fn named(&self, query: &Query) -> Result<BTreeSet<ItemId>, Error> {
        let items = query.terms().iter().filter_map(|term| match &term.content {
            Content::Item(item) => Some(item),
            Content::Picture(_) | Content::Words(_) => None,
        });
        let found = items.map(|item| find(self.reader, item)).collect::<Result<Vec<_>, Error>>()?;
        Ok(found.into_iter().flatten().collect())
    }
}

/// Both rankings joined, the best first, those of the same rank by id.
fn fuse(near: &[Hit], words: &[ItemId], weight: f32) -> Vec<ItemId> {
    let mut ranks: BTreeMap<ItemId, f32> = BTreeMap::new();
    for (index, hit) in near.iter().enumerate() {
        *ranks.entry(hit.item).or_default() += 1.0 / (RANK + (index + 1) as f32);
    }
    for (index, item) in words.iter().enumerate() {
        *ranks.entry(*item).or_default() += weight / (RANK + (index + 1) as f32);
    }
    let mut fused: Vec<(ItemId, f32)> = ranks.into_iter().collect();
    fused.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    fused.into_iter().map(|(item, _)| item).collect()
}

/// The item of that number, or else of that path.
fn find(reader: &Reader, item: &str) -> Result<Option<ItemId>, Error> {
    if let Ok(number) = item.parse()
        && reader.item(ItemId(number))?.is_some()
    {
        return Ok(Some(ItemId(number)));
    }
    Ok(reader.item_at(item)?)
}

/// The items of a library, for queries that name them.
#[derive(Clone, Copy, Debug)]
pub struct LibraryItems<'a> {
    /// The library.
    pub reader: &'a Reader,
    /// Which vectors.
    pub space: SpaceId,
}

impl Items for LibraryItems<'_> {
    fn vector(&self, item: &str) -> Result<Vec<f32>, Error> {
        let found = find(self.reader, item)?.map(|id| self.reader.vector(self.space, id)).transpose()?.flatten();
        found.ok_or_else(|| QueryError::NoItem { item: item.to_owned() }.into())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use hua_index::{Caption, Facts, NewItem, SpaceSpec, StoredType, Tag, Writer};
    use proptest::prelude::*;

    use super::super::{SUGGESTED_LEVEL, cores, dot, near};
    use super::*;

    const WIDTH: usize = 24;

    /// Numbers that look random.
    struct Noise(u64);

    impl Noise {
        fn next(&mut self) -> f32 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 40) as f32 / (1 << 24) as f32 - 0.5
        }

        /// A direction, near to `towards` if there is one.
        fn unit(&mut self, towards: Option<&[f32]>) -> Vec<f32> {
            let mut row: Vec<f32> = (0..WIDTH).map(|i| self.next() + towards.map_or(0.0, |t| 3.0 * t[i])).collect();
            let length = dot(&row, &row).sqrt();
            row.iter_mut().for_each(|x| *x /= length);
            row
        }
    }

    /// A library of items with these vectors, named and captioned by number.
    fn library(folder: &Path, vectors: &[Vec<f32>]) -> (Reader, SpaceId) {
        let spec =
            SpaceSpec { name: "made".into(), fingerprint: "f".into(), preprocessing: "p".into(), width: WIDTH, dtype: StoredType::F32 };
        let mut writer = Writer::create(folder, &spec).unwrap();
        let space = writer.spaces().unwrap()[0].id;
        for (number, vector) in vectors.iter().enumerate() {
            let text = if number % 2 == 0 { format!("氣球 number{number}") } else { format!("balloon number{number}") };
            let place = Facts { latitude: Some(number as f64 * 0.1), longitude: Some(179.95), ..Facts::default() };
            let item = NewItem {
                path: format!("/{}/{number:04}.jpg", number % 3),
                facts: Facts { taken: Some(format!("20{:02}-01-01", number % 30)), ..place },
                captions: vec![Caption { language: None, text }],
                tags: vec![Tag::new(if number % 5 == 0 { "fifth" } else { "other" })],
                ..NewItem::default()
            };
            let id = writer.upsert(&item).unwrap();
            writer.set_vector(space, id, vector).unwrap();
        }
        writer.commit().unwrap();
        (Reader::open(folder).unwrap(), space)
    }

    fn asking<'a>(reader: &'a Reader, cores: &'a Cores, space: SpaceId, top: usize) -> Asking<'a> {
        Asking { reader, cores, space, filter: Filter::all(), top, words: 0.0, calibration: None, least_level: None }
    }

    #[test]
    fn what_is_there_is_found_and_what_is_not_is_answered_with_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut noise = Noise(1);
        let topics: Vec<Vec<f32>> = (0..8).map(|_| noise.unit(None)).collect();
        let vectors: Vec<Vec<f32>> = (0..400).map(|i| noise.unit(if i < 80 { Some(&topics[i % 8]) } else { None })).collect();
        let (reader, space) = library(folder.path(), &vectors);
        let cores = cores(1).unwrap();
        let background: Vec<Vec<f32>> = (0..128).map(|_| noise.unit(None)).collect();
        let rows: Vec<&[f32]> = background.iter().map(|row| &row[..]).collect();
        let best = reader.search(&cores, space, &rows, &Filter::all(), 1).unwrap();
        let pairs: Vec<(&[f32], f32)> = rows.iter().zip(&best).map(|(row, hits)| (*row, hits[0].score)).collect();
        let calibration = Calibration::new(WIDTH, vectors.concat(), &pairs).unwrap();
        let asking = Asking { calibration: Some(&calibration), least_level: Some(SUGGESTED_LEVEL), ..asking(&reader, &cores, space, 10) };
        let query = [Query::words("anything")];
        for topic in &topics {
            let answer = asking.ask(&query, &[topic]).unwrap().remove(0);
            assert!(answer.hits.len() >= 5 && answer.hits.iter().all(|hit| hit.level >= Some(SUGGESTED_LEVEL)));
        }
        // One of ten is answered, give or take three standard deviations of 400 throws and of the background's own 128.
        let absent: Vec<Vec<f32>> = (0..400).map(|_| noise.unit(None)).collect();
        let answered = absent.iter().filter(|row| !asking.ask(&query, &[row]).unwrap()[0].hits.is_empty()).count() as f32 / 400.0;
        let slack = 3.0 * (0.09f32 / 400.0 + 0.09 / 128.0).sqrt();
        assert!(answered <= 1.0 - SUGGESTED_LEVEL + slack, "{answered}");
    }

    #[test]
    fn items_that_a_query_names_are_no_answers_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut noise = Noise(2);
        let vectors: Vec<Vec<f32>> = (0..20).map(|_| noise.unit(None)).collect();
        let (reader, space) = library(folder.path(), &vectors);
        let cores = cores(1).unwrap();
        let asking = asking(&reader, &cores, space, 20);
        let path = "/1/0007.jpg";
        let id = reader.item_at(path).unwrap().unwrap();
        let items = LibraryItems { reader: &reader, space };
        for text in [format!("item:{path}"), format!("item:{id}")] {
            let query = Query::parse(&text).unwrap();
            assert!(dot(&items.vector(&text["item:".len()..]).unwrap(), &vectors[7]) > 0.99999);
            let hits = asking.ask(&[query], &[&vectors[7]]).unwrap().remove(0).hits;
            assert!(hits.len() == 19 && hits.iter().all(|hit| hit.item != id));
        }
        assert_eq!(items.vector("999").unwrap_err().to_string(), "the library has no item `999` with a vector");
    }

    #[test]
    fn words_bring_up_what_is_captioned_so_in_either_spelling() {
        let folder = tempfile::tempdir().unwrap();
        let mut noise = Noise(3);
        let query = noise.unit(None);
        let opposite: Vec<f32> = query.iter().map(|x| -x).collect();
        let mut vectors: Vec<Vec<f32>> = (0..150).map(|_| noise.unit(None)).collect();
        vectors[120] = opposite;
        let (reader, space) = library(folder.path(), &vectors);
        let cores = cores(1).unwrap();
        let with = |words: f32, text: &str| {
            let asking = Asking { words, ..asking(&reader, &cores, space, 5) };
            asking.ask(&[Query::words(text)], &[&query]).unwrap().remove(0).hits
        };
        let named = reader.item_at("/0/0120.jpg").unwrap().unwrap();
        assert!(with(0.0, "气球 number120").iter().all(|hit| hit.item != named));
        let found = with(2.0, "气球 number120");
        assert_eq!((found[0].item, found[0].word_rank), (named, Some(1)));
        assert!(found[0].score.unwrap() < -0.999, "its own cosine is told");
        // Words of no caption change nothing.
        assert_eq!(with(2.0, "unheard"), with(0.0, "unheard"));
    }

    #[test]
    fn near_a_place_is_a_circle_even_across_the_date_line() {
        let folder = tempfile::tempdir().unwrap();
        let vectors: Vec<Vec<f32>> = (0..30).map(|i| Noise(i).unit(None)).collect();
        let (reader, _) = library(folder.path(), &vectors);
        let found = near(&reader, Filter::all(), (1.0, -179.95), 30.0).unwrap();
        let paths: Vec<String> = reader.items(&found).unwrap().into_iter().map(|id| reader.item(id).unwrap().unwrap().path).collect();
        // 0.1 degrees east are 11.1 km, each 0.1 degrees north another 11.1.
        assert_eq!(paths, ["/2/0008.jpg", "/0/0009.jpg", "/1/0010.jpg", "/2/0011.jpg", "/0/0012.jpg"]);
    }

    proptest! {
        #[test]
        fn fusing_with_no_weight_or_no_words_is_the_ranking_by_vectors(
            items in prop::collection::hash_set(0i64..50, 0..20),
            words in prop::collection::hash_set(0i64..50, 0..20),
        ) {
            let near: Vec<Hit> = items.into_iter().map(|item| Hit { item: ItemId(item), score: 0.0 }).collect();
            let words: Vec<ItemId> = words.into_iter().map(ItemId).collect();
            let order: Vec<ItemId> = near.iter().map(|hit| hit.item).collect();
            prop_assert_eq!(fuse(&near, &[], 1.0), order.clone());
            let fused = fuse(&near, &words, 1.0);
            prop_assert!(order.iter().chain(&words).all(|item| fused.contains(item)));
            // Who is in both rankings comes before who stands behind him in both.
            let place = |of: &[ItemId], item: &ItemId| of.iter().position(|other| other == item);
            for a in &fused {
                for b in &fused {
                    if let (Some(x), Some(y), Some(z), Some(w)) = (place(&order, a), place(&order, b), place(&words, a), place(&words, b))
                        && x < y && z < w
                    {
                        prop_assert!(place(&fused, a) < place(&fused, b));
                    }
                }
            }
        }
    }
}
