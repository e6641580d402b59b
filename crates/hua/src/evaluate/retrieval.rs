//! Finding pictures by texts and texts by pictures: what is asked, and what each query finds.
//!
//! [`score`] takes vectors, whoever made them; [`retrieve`] reads a data set and has a model make them; [`HeldOut`] is for a trainer, whose
//! model changes from step to step. All keep the rank of every query: intervals and comparisons come from ranks, and no model runs for
//! them.
//!
//! A data set is a split in Chinese-CLIP's format, where each text has its list of pictures, or whatever else lists pictures with captions. Of the
//! latter, captions of one language that are the same text are one query with several right answers; CLIP_benchmark asks each caption on its
//! own and takes the other pictures for wrong answers, and so does [`RetrievalSource::Pictures`] with `merge` off.
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use hua_data::Sources;
use serde::Serialize;

use super::bootstrap::{Bootstrap, groups};
use super::recall::{Ranking, best, ranking};
use super::report::{RetrievalReport, report};
use super::{Dataset, DatasetError};
use crate::{Embedder, Embeddings, Error, Failure, Progress, similarity};

/// The language of texts that say none.
const NO_LANGUAGE: &str = "all";

/// What a data set is read from.
#[derive(Clone, Debug)]
pub enum RetrievalSource<'a> {
    /// Anything that lists pictures with captions: shards, tables, folders with text files.
    Pictures {
        /// As [`Sources::open`] takes them.
        paths: &'a [PathBuf],
        /// How they are read.
        options: &'a hua_data::Options,
        /// Captions that are the same text in the same language are one query.
        merge: bool,
    },
    /// `{split}_imgs.tsv` (id, tab, base64 of the picture file) and `{split}_texts.jsonl` (`text_id`, `text`, `image_ids`, optionally `lang`) in a
    /// folder.
    Split {
        /// The folder.
        data: &'a Path,
        /// The beginning of the files' names.
        split: &'a str,
    },
}

/// A text of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryText {
    /// Its id in the file, else its place among the texts.
    pub id: String,
    /// The text.
    pub text: String,
    /// Its language, or `all`.
    pub language: String,
    /// Its right answers: rows of the pictures' vectors.
    pub positives: Vec<usize>,
}

/// A query and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// Row of the texts' or the pictures' vectors.
    pub index: usize,
    /// Queries of one group share texts or pictures ([`super::bootstrap`]).
    pub group: usize,
    /// From 1.
    pub rank: usize,
}

/// The queries of one language that have a right answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LanguageQueries {
    /// Texts ask, all pictures may answer.
    pub text_to_image: Vec<Query>,
    /// Pictures ask, the texts of the language may answer.
    pub image_to_text: Vec<Query>,
}

/// Which texts and pictures belong together.
#[derive(Clone, Copy, Debug)]
pub struct Pairs<'a> {
    /// For each text the rows of its pictures.
    pub positives: &'a [Vec<usize>],
    /// For each text its language.
    pub languages: &'a [String],
}

/// Scores with what they are made of.
#[derive(Clone, Debug)]
pub struct Scored {
    /// The figures.
    pub report: RetrievalReport,
    /// By language.
    pub queries: BTreeMap<String, LanguageQueries>,
}

/// Scores vectors of texts and pictures. `None` if no text has a picture.
///
/// # Errors
/// [`Error::OtherModel`] if they are of different models.
///
/// # Panics
/// If there are not as many lists and languages as texts, or a picture is not there.
pub fn score(texts: &Embeddings, images: &Embeddings, pairs: Pairs<'_>, bootstrap: &Bootstrap) -> Result<Option<Scored>, Error> {
    assert_eq!((texts.len(), texts.len()), (pairs.positives.len(), pairs.languages.len()), "a list and a language for each text");
    let mut of_language: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (text, language) in pairs.languages.iter().enumerate() {
        of_language.entry(language).or_default().push(text);
    }
    let (group_of, _) = groups(pairs.positives, images.len());
    let mut queries = BTreeMap::new();
    for (language, rows) in &of_language {
        let positives: Vec<Vec<usize>> = rows.iter().map(|&text| pairs.positives[text].clone()).collect();
        let of_image = turned(&positives, images.len());
        let own = select(texts, rows);
        let asked = |found: Ranking, row: &dyn Fn(usize) -> usize, first: usize| -> Vec<Query> {
            let ranks = found.ranks.into_iter().enumerate();
            ranks.filter_map(|(i, rank)| Some(Query { index: row(i), group: group_of[first + row(i)], rank: rank? })).collect()
        };
        let text_to_image = asked(ranking(&own, images, &positives, 0)?, &|i| rows[i], 0);
        let image_to_text = asked(ranking(images, &own, &of_image, 0)?, &|i| i, texts.len());
        if !text_to_image.is_empty() {
            queries.insert((*language).to_owned(), LanguageQueries { text_to_image, image_to_text });
        }
    }
    let most = of_language.values().map(Vec::len).max().unwrap_or(0);
    let Some(mut report) = report(&queries, images.len(), most, bootstrap) else { return Ok(None) };
    report.texts_without_image = pairs.positives.iter().filter(|positives| positives.is_empty()).count();
    Ok(Some(Scored { report, queries }))
}

/// For each picture its texts.
pub(super) fn turned(positives: &[Vec<usize>], images: usize) -> Vec<Vec<usize>> {
    let mut of_image = vec![vec![]; images];
    for (text, positives) in positives.iter().enumerate() {
        for &image in positives {
            of_image[image].push(text);
        }
    }
    of_image
}

/// Some rows, in the order in which they are named.
fn select(of: &Embeddings, rows: &[usize]) -> Embeddings {
    Embeddings::from_rows(of.fingerprint(), of.width(), rows.iter().flat_map(|&row| of.row(row)).copied().collect())
}

/// Texts and pictures that a trainer holds out, as its towers see them at some step.
#[derive(Clone, Copy, Debug)]
pub struct HeldOut<'a> {
    /// Numbers of a vector.
    pub width: usize,
    /// `[texts, width]`, of any length.
    pub texts: &'a [f32],
    /// `[pictures, width]`, of any length.
    pub images: &'a [f32],
    /// For each text the rows of its pictures.
    pub positives: &'a [Vec<usize>],
    /// For each text its language; `all` where there is none.
    pub languages: &'a [String],
}

/// What a text finds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Example {
    /// Which text.
    pub text: usize,
    /// Of its best right answer, from 1; `None` if it has none.
    pub rank: Option<usize>,
    /// The pictures it finds with their cosines, best first.
    pub found: Vec<(usize, f32)>,
}

impl HeldOut<'_> {
    /// The report that [`retrieve`] would give. Without intervals (`resamples` 0) it costs two products of the matrices.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if a vector is not finite, [`DatasetError::NoAnswers`] if no text has a picture.
    ///
    /// # Panics
    /// If the sizes do not fit each other.
    pub fn score(&self, bootstrap: &Bootstrap) -> Result<Scored, Error> {
        let [texts, images] = self.embeddings()?;
        let pairs = Pairs { positives: self.positives, languages: self.languages };
        score(&texts, &images, pairs, bootstrap)?.ok_or_else(|| DatasetError::NoAnswers { path: "held-out texts".into() }.into())
    }

    /// What each of some texts finds: its `top` best pictures.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if a vector is not finite.
    ///
    /// # Panics
    /// If a text is not there.
    pub fn examples(&self, texts: &[usize], top: usize) -> Result<Vec<Example>, Error> {
        let [all, images] = self.embeddings()?;
        let positives: Vec<Vec<usize>> = texts.iter().map(|&text| self.positives[text].clone()).collect();
        let found = ranking(&select(&all, texts), &images, &positives, top)?;
        let examples = texts.iter().zip(found.ranks).zip(found.best);
        Ok(examples.map(|((&text, rank), found)| Example { text, rank, found }).collect())
    }

    fn embeddings(&self) -> Result<[Embeddings; 2], Error> {
        for (what, rows) in [("text", self.texts), ("picture", self.images)] {
            if let Some(bad) = rows.iter().position(|x| !x.is_finite()) {
                return Err(Error::NotFinite { of: format!("held-out {what} {}", bad / self.width) });
            }
        }
        Ok([self.texts, self.images].map(|rows| Embeddings::normalized("held out", self.width, rows.to_vec())))
    }
}

/// A model's answers to a data set, with what they were made from.
#[derive(Clone, Debug)]
pub struct Retrieval {
    /// The figures.
    pub report: RetrievalReport,
    /// By language.
    pub queries: BTreeMap<String, LanguageQueries>,
    /// The texts, in the order of the file.
    pub texts: Vec<QueryText>,
    /// A row a text.
    pub text_embeddings: Embeddings,
    /// Ids of the pictures, in the order of the file; those that could not be read are not among them.
    pub images: Vec<String>,
    /// A row a picture.
    pub image_embeddings: Embeddings,
}

impl Retrieval {
    /// The `top` pictures that a text finds, with their cosines, best first.
    ///
    /// # Errors
    /// None that can happen: texts and pictures are of one model.
    pub fn found(&self, text: usize, top: usize) -> Result<Vec<(usize, f32)>, Error> {
        Ok(best(similarity(&self.text_embeddings.range(text..text + 1), &self.image_embeddings)?.row(0), top))
    }
}

/// Scores `embedder` on split `split` of a data set in Chinese-CLIP's format in the folder `data`: [`retrieve`] without intervals.
///
/// # Errors
/// As [`retrieve`].
pub fn retrieval(embedder: &Embedder, data: &Path, split: &str, progress: &dyn Progress) -> Result<RetrievalReport, Error> {
    let bootstrap = Bootstrap { resamples: 0, ..Bootstrap::default() };
    Ok(retrieve(embedder, &RetrievalSource::Split { data, split }, &bootstrap, progress)?.report)
}

/// Scores `embedder` on a data set.
///
/// # Errors
/// [`Error::Dataset`] or [`Error::Data`] if files are missing, damaged, or hold no text with a picture. A picture that cannot be decoded is
/// left out and reported.
pub fn retrieve(
    embedder: &Embedder,
    source: &RetrievalSource<'_>,
    bootstrap: &Bootstrap,
    progress: &dyn Progress,
) -> Result<Retrieval, Error> {
    let Read { images, image_embeddings, texts, failures, path } = match source {
        RetrievalSource::Pictures { paths, options, merge } => read_pictures(embedder, paths, options, *merge, progress)?,
        RetrievalSource::Split { data, split } => read_split(embedder, data, split, progress)?,
    };
    if texts.iter().all(|text| text.positives.is_empty()) {
        return Err(DatasetError::NoAnswers { path }.into());
    }
    progress.start("embedding texts", texts.len() as u64);
    let mut of_language: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (row, text) in texts.iter().enumerate() {
        of_language.entry(&text.language).or_default().push(row);
    }
    let width = embedder.width();
    let (mut data, mut texts_cut) = (vec![0.0; texts.len() * width], 0);
    for rows in of_language.values() {
        let strings: Vec<&str> = rows.iter().map(|&row| texts[row].text.as_str()).collect();
        let embeddings = embedder.embed_texts(&strings)?;
        for (&row, embedding) in rows.iter().zip(embeddings.rows()) {
            data[row * width..][..width].copy_from_slice(embedding);
        }
        texts_cut += embeddings.truncated().len();
        progress.advance(rows.len() as u64);
    }
    progress.finish();
    let text_embeddings = Embeddings::from_rows(embedder.fingerprint(), width, data);
    let (positives, languages): (Vec<_>, Vec<_>) = texts.iter().map(|text| (text.positives.clone(), text.language.clone())).unzip();
    let pairs = Pairs { positives: &positives, languages: &languages };
    let scored = embedder.pool.install(|| score(&text_embeddings, &image_embeddings, pairs, bootstrap))?;
    let Some(Scored { mut report, queries }) = scored else { return Err(DatasetError::NoAnswers { path }.into()) };
    (report.texts_cut, report.failures) = (texts_cut, failures);
    Ok(Retrieval { report, queries, texts, text_embeddings, images, image_embeddings })
}

/// A data set with its pictures embedded.
struct Read {
    images: Vec<String>,
    image_embeddings: Embeddings,
    texts: Vec<QueryText>,
    failures: Vec<Failure>,
    /// Where its texts are, for errors.
    path: PathBuf,
}

fn read_split(embedder: &Embedder, data: &Path, split: &str, progress: &dyn Progress) -> Result<Read, Error> {
    let dataset = Dataset::read(data, split).map_err(DatasetError::from)?;
    let mut failures = vec![];
    progress.start("embedding pictures", dataset.image_count().map_err(DatasetError::from)? as u64);
    let encoded = dataset.images().map_err(DatasetError::from)?.map(|image| image.map_err(DatasetError::from));
    let (image_embeddings, images) = embedder.embed_encoded(encoded, &mut failures, progress)?;
    progress.finish();
    let mut rows = HashMap::new();
    for (row, id) in images.iter().enumerate() {
        if rows.insert(id.as_str(), row).is_some() {
            return Err(DatasetError::DuplicateImage { path: dataset.images_path.clone(), id: id.clone() }.into());
        }
    }
    let texts = dataset.texts.into_iter().enumerate().map(|(place, record)| QueryText {
        id: record.text_id.unwrap_or_else(|| place.to_string()),
        text: record.text,
        language: record.lang.unwrap_or_else(|| NO_LANGUAGE.to_owned()),
        positives: record.image_ids.iter().filter_map(|id| rows.get(id.as_str()).copied()).collect(),
    });
    let texts = texts.collect();
    Ok(Read { images, image_embeddings, texts, failures, path: dataset.texts_path })
}

fn read_pictures(
    embedder: &Embedder,
    paths: &[PathBuf],
    options: &hua_data::Options,
    merge: bool,
    progress: &dyn Progress,
) -> Result<Read, Error> {
    let mut listed = Pictures::read(embedder, paths, options, progress)?;
    let mut texts: Vec<QueryText> = vec![];
    let mut known: HashMap<(String, String), usize> = HashMap::new();
    for (image, entry) in listed.entries.iter_mut().enumerate() {
        for caption in std::mem::take(&mut entry.captions) {
            let language = caption.language.unwrap_or_else(|| NO_LANGUAGE.to_owned());
            let place = texts.len();
            let place = if merge { *known.entry((language.clone(), caption.text.clone())).or_insert(place) } else { place };
            match texts.get_mut(place) {
                Some(text) => text.positives.push(image),
                None => texts.push(QueryText { id: place.to_string(), text: caption.text, language, positives: vec![image] }),
            }
        }
    }
    let images = listed.entries.into_iter().map(|entry| entry.name).collect();
    let path = paths.first().cloned().unwrap_or_default();
    if texts.is_empty() {
        return Err(DatasetError::NoCaptions { path }.into());
    }
    Ok(Read { images, image_embeddings: listed.embeddings, texts, failures: listed.failures, path })
}

/// The pictures of some sources, embedded.
pub(super) struct Pictures {
    /// Those that could be.
    pub entries: Vec<hua_data::Entry>,
    /// A row an entry.
    pub embeddings: Embeddings,
    pub failures: Vec<Failure>,
}

impl Pictures {
    pub fn read(embedder: &Embedder, paths: &[PathBuf], options: &hua_data::Options, progress: &dyn Progress) -> Result<Self, Error> {
        let (mut entries, mut data, mut failures) = (vec![], vec![], vec![]);
        let unlisted = std::sync::Mutex::new(vec![]);
        progress.start("embedding pictures", 0);
        let listed = Sources::open(paths, options)?.filter_map(|item| match item {
            Ok(entry) => Some(entry),
            Err(hua_data::Failure { name, reason }) => {
                let mut unlisted = unlisted.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                unlisted.push(Failure { path: name, reason });
                None
            }
        });
        let most = embedder.decode.limits.max_bytes;
        let name = |entry: &hua_data::Entry| entry.name.clone();
        let read = |entry: &mut hua_data::Entry| -> Result<Vec<u8>, Error> {
            let failed = |source| Error::Io { path: entry.name.clone().into(), source };
            Ok(entry.source.read(most).map_err(failed)?.into_owned())
        };
        embedder.embed_stream(listed, usize::MAX, name, read, |mut entry, row: Result<Vec<f32>, Error>| {
            progress.advance(1);
            match row {
                Ok(row) => {
                    data.extend(row);
                    // A file within a table would stay in memory for as long as its entry.
                    entry.source = hua_data::Source::Bytes(vec![]);
                    entries.push(entry);
                }
                Err(error) => failures.push(Failure { path: entry.name, reason: error.reason() }),
            }
            Ok::<(), Error>(())
        })?;
        progress.finish();
        failures.extend(unlisted.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner));
        if entries.is_empty() {
            return Err(Error::NoPictures { sources: paths.to_vec(), failures });
        }
        Ok(Self { entries, embeddings: Embeddings::from_rows(embedder.fingerprint(), embedder.width(), data), failures })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `tests/golden/recalls.json`; README.md there says what it is.
    #[derive(serde::Deserialize)]
    struct Golden {
        grain: f32,
        image_ids: Vec<Vec<usize>>,
        scores: Vec<Vec<f32>>,
        text_to_image: BTreeMap<String, f64>,
        image_to_text: BTreeMap<String, f64>,
    }

    #[test]
    fn several_right_answers_and_ties_score_as_in_cn_clip() {
        let golden: Golden = serde_json::from_str(include_str!("../../../../tests/golden/recalls.json")).unwrap();
        // Pictures are unit vectors, so that a text's numbers are its scores.
        let width = golden.scores[0].len();
        let unit = |i: usize| (0..width).map(move |j| if i == j { 1.0 } else { 0.0 });
        let images = Embeddings::from_rows("golden", width, (0..width).flat_map(unit).collect());
        let texts = Embeddings::from_rows("golden", width, golden.scores.concat().iter().map(|score| score / golden.grain).collect());
        let languages = vec!["all".to_owned(); texts.len()];
        let pairs = Pairs { positives: &golden.image_ids, languages: &languages };
        let found = score(&texts, &images, pairs, &Bootstrap::default()).unwrap().unwrap();
        let scores = &found.report.languages["all"];

        let close = |found: f64, wanted: f64| assert!((found - wanted).abs() < 0.005 + 1e-9, "{found} for {wanted}");
        for (recalls, wanted) in [(scores.text_to_image, &golden.text_to_image), (scores.image_to_text, &golden.image_to_text)] {
            close(recalls.at_1, wanted["R@1"]);
            close(recalls.at_5, wanted["R@5"]);
            close(recalls.at_10, wanted["R@10"]);
        }
        // MR is a mean of figures that were rounded, and rounded again.
        let wanted = (golden.text_to_image["mean_recall"] + golden.image_to_text["mean_recall"]) / 2.0;
        assert!((scores.mean_recall - wanted).abs() <= 0.01, "{} for {wanted}", scores.mean_recall);
        // Right answers connect most of them, so each query stands alone.
        let intervals = found.report.intervals.unwrap();
        let of_mean = intervals.mean.mean_recall;
        assert!(of_mean.0 < wanted && wanted < of_mean.1 && of_mean.1 - of_mean.0 < 40.0, "{of_mean:?} around {wanted}");
        assert_eq!(intervals.languages["all"], intervals.mean);
    }

    #[test]
    fn a_trainer_gets_the_scores_and_sees_what_a_text_finds() {
        let languages = ["en".to_owned(), "zh".to_owned(), "en".to_owned()];
        let held_out = HeldOut {
            width: 2,
            texts: &[2.0, 0.1, 0.0, 3.0, 1.0, 1.0],
            images: &[0.5, 0.0, 0.0, 9.0],
            positives: &[vec![0], vec![0], vec![]],
            languages: &languages,
        };
        let found = held_out.score(&Bootstrap { resamples: 0, ..Bootstrap::default() }).unwrap();
        assert_eq!(found.report.languages["en"].text_to_image.at_1, 100.0);
        assert_eq!(found.report.languages["zh"].text_to_image.values(), [0.0, 100.0, 100.0]);
        assert_eq!((found.report.texts_without_image, found.report.intervals.is_none()), (1, true));
        assert_eq!(found.queries["zh"].text_to_image, [Query { index: 1, group: 1, rank: 2 }]);
        assert_eq!(found.queries["en"].image_to_text, [Query { index: 0, group: 3, rank: 1 }]);
        let examples = held_out.examples(&[1, 2], 1).unwrap();
        assert_eq!((examples[0].rank, examples[0].found[0].0), (Some(2), 1));
        assert_eq!((examples[1].rank, examples[1].found[0].0), (None, 0));

        let lost = HeldOut { texts: &[f32::NAN; 6], ..held_out };
        assert!(matches!(lost.score(&Bootstrap::default()), Err(Error::NotFinite { .. })));
        let nothing = HeldOut { positives: &[vec![], vec![], vec![]], ..held_out };
        assert!(matches!(nothing.score(&Bootstrap::default()), Err(Error::Dataset(DatasetError::NoAnswers { .. }))));
    }
}
