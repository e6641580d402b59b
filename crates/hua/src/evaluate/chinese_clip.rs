//! The files of Chinese-CLIP's evaluation (`cn_clip/eval/`, 1.6.0), so that its scripts and hua's answers can be put beside each other.
//!
//! | file | upstream's script | what |
//! | --- | --- | --- |
//! | `SPLIT_predictions.jsonl` | `make_topk_predictions.py` | `{"text_id", "image_ids"}`: the ten best of all pictures for each text |
//! | `SPLIT_tr_predictions.jsonl` | `make_topk_predictions_tr.py` | `{"image_id", "text_ids"}`: the ten best of all texts for each picture |
//! | `SPLIT_score.json`, `SPLIT_tr_score.json` | `evaluation.py`, `evaluation_tr.py` | `{"success", "score", "scoreJson"}` of them |
//! | `SPLIT_imgs.img_feat.jsonl`, `SPLIT_texts.txt_feat.jsonl` | `extract_features.py` | `{"image_id", "feature"}`, `{"text_id", "feature"}` |
//!
//! Upstream knows no languages: all texts are candidates of a picture. It counts a text without a right answer as missed, and of two texts of
//! one id the last; both are done here too, in these files alone. Its scripts refuse split with fewer than ten candidates and ids that are
//! no numbers; here the score is of as many candidates as there are, and such ids are written as text.
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use super::recall::{Ranking, hits, ranking};
use super::retrieval::{Retrieval, turned};
use crate::Error;

/// Candidates of a prediction.
const TOP: usize = 10;

/// What `evaluation.py` writes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// Always here; upstream's scripts write `false` and why.
    pub success: bool,
    /// Mean of the three recalls, percent.
    pub score: f64,
    /// The recalls.
    #[serde(rename = "scoreJson")]
    pub score_json: ScoreJson,
}

/// The recalls of one direction, percent and not rounded.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ScoreJson {
    /// The mean.
    pub score: f64,
    /// The mean again.
    pub mean_recall: f64,
    /// R@1.
    pub r1: f64,
    /// R@5.
    pub r5: f64,
    /// R@10.
    pub r10: f64,
}

impl Score {
    /// Of ranks from 1, `None` for a query without a right answer, which counts as missed. The order of the operations is that of
    /// `evaluation.py`, so that the numbers are the same to the last bit.
    pub fn of(ranks: &[Option<usize>]) -> Self {
        let (hits, _) = hits(ranks.iter().flatten().copied());
        let [r1, r5, r10] = hits.map(|hits| hits as f64 / ranks.len() as f64);
        let score = (r1 + r5 + r10) / 3.0 * 100.0;
        let score_json = ScoreJson { score, mean_recall: score, r1: r1 * 100.0, r5: r5 * 100.0, r10: r10 * 100.0 };
        Self { success: true, score, score_json }
    }
}

/// Both directions of a run.
#[derive(Clone, Debug)]
pub struct Predictions {
    /// Texts ask; a row a text.
    pub text_to_image: Ranking,
    /// Pictures ask, all texts may answer; a row a picture.
    pub image_to_text: Ranking,
}

impl Predictions {
    /// Of all texts and pictures of `run`, whatever their languages.
    ///
    /// # Errors
    /// [`Error::OtherModel`] if its vectors are of different models, which they are not.
    pub fn of(run: &Retrieval) -> Result<Self, Error> {
        let positives: Vec<Vec<usize>> = run.texts.iter().map(|text| text.positives.clone()).collect();
        let of_image = turned(&positives, run.images.len());
        Ok(Self {
            text_to_image: ranking(&run.text_embeddings, &run.image_embeddings, &positives, TOP)?,
            image_to_text: ranking(&run.image_embeddings, &run.text_embeddings, &of_image, TOP)?,
        })
    }

    /// The scores of texts and of pictures.
    pub fn scores(&self, run: &Retrieval) -> [Score; 2] {
        // Of two texts of one id the last counts, as in upstream's dictionaries.
        let last: HashMap<&str, usize> = run.texts.iter().enumerate().map(|(row, text)| (&*text.id, row)).collect();
        let of_texts: Vec<_> = (0..run.texts.len()).filter(|&row| last[&*run.texts[row].id] == row).collect();
        let of_texts: Vec<_> = of_texts.into_iter().map(|row| self.text_to_image.ranks[row]).collect();
        // `transform_ir_annotation_to_tr.py` lists the pictures that some text names.
        let of_images: Vec<_> = self.image_to_text.ranks.iter().copied().filter(Option::is_some).collect();
        [Score::of(&of_texts), Score::of(&of_images)]
    }
}

/// Writes predictions and scores, and with `features` the vectors, of `run` into `folder`; gives the files.
///
/// # Errors
/// [`Error::Io`].
pub fn write(run: &Retrieval, folder: &Path, split: &str, features: bool) -> Result<Vec<PathBuf>, Error> {
    let predictions = Predictions::of(run)?;
    let (text, image) = (|row: usize| id(&run.texts[row].id), |row: usize| id(&run.images[row]));
    let [score, tr_score] = predictions.scores(run);
    let (texts, images) = (&run.text_embeddings, &run.image_embeddings);
    let mut files = Files { folder, written: vec![] };
    let found = &predictions.text_to_image.best;
    files.lines(
        &format!("{split}_predictions.jsonl"),
        found
            .iter()
            .enumerate()
            .map(|(row, found)| TextPrediction { text_id: text(row), image_ids: found.iter().map(|&(row, _)| image(row)).collect() }),
    )?;
    let found = &predictions.image_to_text.best;
    files.lines(
        &format!("{split}_tr_predictions.jsonl"),
        found
            .iter()
            .enumerate()
            .map(|(row, found)| ImagePrediction { image_id: image(row), text_ids: found.iter().map(|&(row, _)| text(row)).collect() }),
    )?;
    files.lines(&format!("{split}_score.json"), std::iter::once(score))?;
    files.lines(&format!("{split}_tr_score.json"), std::iter::once(tr_score))?;
    if features {
        let of_images = images.rows().enumerate().map(|(row, feature)| ImageFeature { image_id: image(row), feature });
        files.lines(&format!("{split}_imgs.img_feat.jsonl"), of_images)?;
        let of_texts = texts.rows().enumerate().map(|(row, feature)| TextFeature { text_id: text(row), feature });
        files.lines(&format!("{split}_texts.txt_feat.jsonl"), of_texts)?;
    }
    Ok(files.written)
}

#[derive(Serialize)]
struct TextPrediction<'a> {
    text_id: Id<'a>,
    image_ids: Vec<Id<'a>>,
}

#[derive(Serialize)]
struct ImagePrediction<'a> {
    image_id: Id<'a>,
    text_ids: Vec<Id<'a>>,
}

#[derive(Serialize)]
struct ImageFeature<'a> {
    image_id: Id<'a>,
    feature: &'a [f32],
}

#[derive(Serialize)]
struct TextFeature<'a> {
    text_id: Id<'a>,
    feature: &'a [f32],
}

/// A number where it is one, as upstream's scripts want.
#[derive(Serialize)]
#[serde(untagged)]
enum Id<'a> {
    Number(i64),
    Text(&'a str),
}

fn id(text: &str) -> Id<'_> {
    match text.parse::<i64>() {
        Ok(number) if number.to_string() == text => Id::Number(number),
        _ => Id::Text(text),
    }
}

struct Files<'a> {
    folder: &'a Path,
    written: Vec<PathBuf>,
}

impl Files<'_> {
    fn lines<T: Serialize>(&mut self, name: &str, mut values: impl Iterator<Item = T>) -> Result<(), Error> {
        let path = self.folder.join(name);
        let mut write = || -> io::Result<()> {
            let mut file = BufWriter::new(File::create(&path)?);
            values.try_for_each(|value| {
                value.serialize(&mut Serializer::with_formatter(&mut file, Spaced))?;
                file.write_all(b"\n")
            })?;
            file.flush()
        };
        write().map_err(|source| Error::Io { path: path.clone(), source })?;
        self.written.push(path);
        Ok(())
    }
}

/// JSON with blanks where Python's `json` has them.
pub(super) struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}
