//! Searching folders, files and the gallery.

use std::path::PathBuf;

use hua::query::{Calibration, NoItems};
use hua::{Collection, Embedder};

use super::queries::Typed;
use super::show::{Answer, Hit, Outputs, Shown};
use super::{How, nothing, warn_uncalibrated};
use crate::session::Session;
use crate::table::counted;

pub fn search(
    session: &Session,
    embedder: &Embedder,
    sources: &[PathBuf],
    queries: Typed,
    how: &How<'_>,
    outputs: Outputs,
) -> anyhow::Result<()> {
    let queries = queries.embed(session, embedder, &NoItems)?;
    let bar = session.bar();
    let collection = match sources.is_empty() {
        true => Collection::gallery(embedder, how.cache, &bar)?,
        false => Collection::open(embedder, sources, how.cache, &bar)?,
    };
    drop(bar);
    session.warn_failures(collection.failures());
    if let Some(error) = collection.not_kept() {
        session.printer.warning(format!("vectors of pictures are not kept: {error}"));
    }
    let places: Vec<String> = sources.iter().map(|path| format!("`{}`", path.display())).collect();
    let place = if sources.is_empty() { "the built-in gallery".to_owned() } else { places.join(", ") };
    let about = format!("{} in {place}", counted(collection.len(), "picture"));
    session.printer.note(&about);

    let calibration = match how.min_score {
        Some(_) => Calibration::of_collection(embedder, &collection)?,
        None => None,
    };
    if how.min_score.is_some() && calibration.is_none() {
        warn_uncalibrated(session);
    }
    let found = collection.search(&queries.embeddings, how.top)?;
    let mut answers = vec![];
    for (vector, hits) in queries.embeddings.rows().zip(found) {
        let background = calibration.as_ref().map(|calibration| (calibration, calibration.background(vector)));
        let level = |score| background.map(|(calibration, background)| calibration.level(background.z(score)));
        let nearest = hits.first().and_then(|hit| level(hit.score));
        let mut hits: Vec<Hit> = hits
            .into_iter()
            .map(|hit| Hit {
                path: collection.name(hit.index).to_owned(),
                score: Some(hit.score),
                level: level(hit.score),
                shown: Shown::Of(hit.index),
                ..Hit::default()
            })
            .collect();
        hits.retain(|hit| hit.level.is_none_or(|level| how.min_score.is_none_or(|least| level >= least)));
        let note = hits.is_empty().then(|| nothing(how.min_score, nearest));
        answers.push(Answer { hits, note });
    }
    let title = format!("{} · {}", embedder.name(), about.replace('`', ""));
    outputs.show(session, &title, queries.asked, answers, |shown| match shown {
        Shown::File(_) => None,
        Shown::Of(index) => collection.picture(embedder, *index).ok(),
    })
}
