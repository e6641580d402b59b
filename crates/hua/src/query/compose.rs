//! One vector of each query.
//!
//! The vector of a query is the weighted sum of the unit vectors of its terms, divided by its length: vector arithmetic as Mikolov, Yih and
//! Zweig (2013) did it with words, and as rclip and Marqo do it with pictures and texts. rclip does not divide, which gives the same order;
//! divided, a score is a cosine. A term alone keeps its vector to the bit.
use std::path::{Path, PathBuf};

use hua_image::Picture;

use super::script::StrangeScript;
use super::{Content, Query, QueryError, Template, fold};
use crate::{Embedder, Embeddings, Error, Truncation};

/// A sum shorter than this share of its parts is an accident of rounding.
const CANCELLED: f64 = 1e-4;

/// What is done to words before they are embedded.
#[derive(Clone, Debug)]
pub struct Aids {
    /// Whether they are folded into the spelling that the model knows ([`fold`]).
    pub fold: bool,
    /// The sentences they are put into.
    pub template: Template,
}

impl Default for Aids {
    fn default() -> Self {
        Self { fold: true, template: Template::None }
    }
}

/// Where items of a library have their vectors from.
pub trait Items {
    /// The vector of the item with that number or path.
    ///
    /// # Errors
    /// If there is none.
    fn vector(&self, item: &str) -> Result<Vec<f32>, Error>;
}

/// Where there are no items: a folder, the gallery.
#[derive(Clone, Copy, Debug)]
pub struct NoItems;

impl Items for NoItems {
    fn vector(&self, item: &str) -> Result<Vec<f32>, Error> {
        Err(QueryError::NoLibrary { item: item.to_owned() }.into())
    }
}

/// Vectors of queries, and what there is to tell.
#[derive(Debug)]
pub struct Vectors {
    /// A row a query.
    pub embeddings: Embeddings,
    /// The pictures of the queries, with their paths, in order.
    pub pictures: Vec<(String, Picture)>,
    /// Words that were longer than the model reads, and how much was left out.
    pub cut: Vec<(String, Truncation)>,
    /// Words that were folded, before and after.
    pub folded: Vec<(String, String)>,
    /// Words that the model does not know.
    pub strange: Vec<StrangeScript>,
}

/// The vector of each query.
///
/// # Errors
/// [`Error::Query`] if terms cancel each other out or an item is not there; [`Error::Image`] and [`Error::Io`] for pictures; as
/// [`Embedder::embed_texts`].
pub fn vectors(embedder: &Embedder, queries: &[Query], aids: &Aids, items: &dyn Items) -> Result<Vectors, Error> {
    let (mut texts, mut folded, mut strange) = (vec![], vec![], vec![]);
    // How many texts each term of words became, in order.
    let mut counts = vec![];
    let mut pictures = vec![];
    for term in queries.iter().flat_map(Query::terms) {
        match &term.content {
            Content::Item(_) => {}
            Content::Picture(path) => pictures.push((path.clone(), embedder.read_picture(&at_home(path))?)),
            Content::Words(words) => {
                let known = if aids.fold { fold(embedder, words) } else { words.into() };
                if known != *words {
                    folded.push((words.clone(), known.clone().into_owned()));
                }
                strange.extend(StrangeScript::find(embedder, &known));
                let sentences = aids.template.apply(&embedder.spec().family, &known);
                counts.push(sentences.len());
                texts.extend(sentences);
            }
        }
    }
    let of_texts = embedder.embed_texts(&texts)?;
    let cut = of_texts.truncated().iter().map(|cut| (texts[cut.index].clone(), *cut)).collect();
    let shown: Vec<Picture> = pictures.iter().map(|(_, picture)| picture.clone()).collect();
    let of_pictures = embedder.embed_images(&shown)?;
    let (mut next_text, mut next_picture, mut counts) = (0, 0, counts.into_iter());
    let mut data = vec![];
    for query in queries {
        let mut parts = vec![];
        for term in query.terms() {
            let vector = match &term.content {
                Content::Item(item) => items.vector(item)?,
                Content::Picture(_) => {
                    next_picture += 1;
                    of_pictures.row(next_picture - 1).to_vec()
                }
                Content::Words(_) => {
                    let sentences: Vec<(f32, &[f32])> =
                        (0..counts.next().unwrap_or(0)).map(|i| (1.0, of_texts.row(next_text + i))).collect();
                    next_text += sentences.len();
                    sum(&sentences).unwrap_or_else(|| sentences[0].1.to_vec())
                }
            };
            parts.push((term.weight, vector));
        }
        let parts: Vec<(f32, &[f32])> = parts.iter().map(|(weight, vector)| (*weight, &vector[..])).collect();
        data.extend(sum(&parts).ok_or_else(|| QueryError::Cancelled { query: query.to_string() })?);
    }
    let embeddings = Embeddings::from_rows(embedder.fingerprint(), embedder.width(), data);
    Ok(Vectors { embeddings, pictures, cut, folded, strange })
}

/// The sum of unit vectors, each with its weight, divided by its length; `None` if nothing is left.
fn sum(parts: &[(f32, &[f32])]) -> Option<Vec<f32>> {
    if let [(weight, vector)] = parts {
        return Some(if *weight > 0.0 { vector.to_vec() } else { vector.iter().map(|x| -x).collect() });
    }
    let width = parts.first()?.1.len();
    let mut total = vec![0.0f64; width];
    for (weight, vector) in parts {
        for (to, x) in total.iter_mut().zip(*vector) {
            *to += f64::from(*weight) * f64::from(*x);
        }
    }
    let length = total.iter().map(|x| x * x).sum::<f64>().sqrt();
    let weights: f64 = parts.iter().map(|(weight, _)| f64::from(weight.abs())).sum();
    (length > CANCELLED * weights).then(|| total.iter().map(|x| (x / length) as f32).collect())
}

/// A path below `~`, which a shell does not see inside quotes.
fn at_home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::home_dir()) {
        (Some(below), Some(home)) => home.join(below),
        _ => Path::new(path).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{OpenOptions, similarity};

    fn unit(vector: &[f32]) -> Vec<f32> {
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        vector.iter().map(|x| x / length).collect()
    }

    #[test]
    fn a_query_is_the_sum_of_its_terms() {
        let (x, y) = (vec![1.0, 0.0], vec![0.0, 1.0]);
        assert_eq!(sum(&[(3.0, &x), (-4.0, &y)]).unwrap(), [0.6, -0.8]);
        assert_eq!(sum(&[(2.0, &unit(&[0.3, 0.1]))]).unwrap(), unit(&[0.3, 0.1]));
        assert_eq!(sum(&[(1.0, &x), (-1.0, &x)]), None);
    }

    #[test]
    fn words_of_a_query_pull_and_push() {
        let embedder = Embedder::embedded(&OpenOptions::default()).unwrap();
        let parse = |text: &str| Query::parse(text).unwrap();
        let queries = [parse("red heart"), parse("red heart - heart"), parse("2:red heart + violin"), parse("ＨＥＡＲＴ"), parse("HEART")];
        let found = vectors(&embedder, &queries, &Aids::default(), &NoItems).unwrap();
        let plain = embedder.embed_texts(&["red heart", "heart", "violin"]).unwrap();
        let cosines = similarity(&found.embeddings, &plain).unwrap();
        assert_eq!(found.embeddings.row(0), plain.row(0));
        assert!(cosines.row(1)[1] < cosines.row(0)[1], "what is taken away is further off");
        assert!(cosines.row(2)[2] > cosines.row(0)[2], "what is added is nearer");
        assert!(cosines.row(2)[0] > cosines.row(2)[2], "what weighs more is nearest");
        assert_eq!(found.embeddings.row(3), found.embeddings.row(4));
        assert_eq!(found.folded, [("ＨＥＡＲＴ".to_owned(), "HEART".to_owned())]);
        let error = vectors(&embedder, &[parse("dog - dog")], &Aids::default(), &NoItems).unwrap_err();
        assert_eq!(error.to_string(), "the terms of `dog - dog` cancel each other out");
        let error = vectors(&embedder, &[parse("item:3")], &Aids::default(), &NoItems).unwrap_err();
        assert_eq!(error.to_string(), "`item:3` names an item of a library, and no library is searched");
    }

    proptest! {
        #[test]
        fn a_sum_has_length_one_and_scaling_all_weights_changes_nothing(
            parts in prop::collection::vec((prop_oneof![-5.0f32..-0.1, 0.1f32..5.0], prop::array::uniform8(-1.0f32..1.0)), 2..5),
            scale in 0.1f32..10.0,
        ) {
            let vectors: Vec<(f32, Vec<f32>)> =
                parts.iter().filter(|(_, x)| x.iter().any(|x| x.abs() > 0.1)).map(|(w, x)| (*w, unit(x))).collect();
            let weighted = |scale: f32| vectors.iter().map(|(w, x)| (w * scale, &x[..])).collect::<Vec<_>>();
            if let (Some(once), Some(scaled)) = (sum(&weighted(1.0)), sum(&weighted(scale))) {
                prop_assert!((once.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-4);
                for (a, b) in once.iter().zip(&scaled) {
                    prop_assert!((a - b).abs() < 2e-3, "{} {}", a, b);
                }
            }
        }
    }
}
