//! Searching a library.

use std::path::{Path, PathBuf};

use clap::Args;
use hua::index::{Filter, Reader};
use hua::library::live_space;
use hua::query::{Asking, Calibration, Found, LibraryItems, cores, near};
use hua::shown::thousands;
use hua::{Embedder, Error};

use super::queries::{Typed, needs_library};
use super::show::{Answer, Hit, More, Outputs, Shown};
use super::{How, nothing, warn_uncalibrated};
use crate::complaint::Complaint;
use crate::session::Session;

/// Which items of a library are meant, and what else it understands.
#[derive(Args)]
#[command(next_help_heading = "In a library")]
pub struct Choice {
    /// More like this item, by its number or path; repeatable
    #[arg(long, value_name = "ITEM")]
    like: Vec<String>,
    /// Count words in captions, tags and names too, this much beside the pictures themselves; 1 if no number is given
    #[arg(long = "words", value_name = "WEIGHT", num_args = 0..=1, require_equals = true, default_missing_value = "1")]
    weight: Option<f32>,
    /// Only items of which this SQL is true: what follows WHERE, on the catalogue's table `items`; repeatable
    #[arg(long = "where", value_name = "SQL")]
    filter: Vec<String>,
    /// Only items in this folder and below it; repeatable, and then in one of them
    #[arg(long, value_name = "DIR")]
    folder: Vec<PathBuf>,
    /// Only pictures taken then or later: 2024, 2024-05, 2024-05-31 or with a time, 2024-05-31T18:20
    #[arg(long, value_name = "DATE", value_parser = date)]
    after: Option<String>,
    /// Only pictures taken before then
    #[arg(long, value_name = "DATE", value_parser = date)]
    before: Option<String>,
    /// Only items with this tag; repeatable, and then with all of them
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Only pictures taken at most so far from a place: degrees north, degrees east, kilometres
    #[arg(long, value_name = "LAT,LON,KM", value_parser = place, allow_hyphen_values = true)]
    near: Option<Place>,
}

/// A circle on the map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    north: f64,
    east: f64,
    km: f64,
}

fn place(text: &str) -> Result<Place, String> {
    let numbers: Vec<f64> = text.split(',').filter_map(|number| number.trim().parse().ok()).collect();
    match numbers[..] {
        [north, east, km] if north.abs() <= 90.0 && east.abs() <= 180.0 && km >= 0.0 && text.split(',').count() == 3 => {
            Ok(Place { north, east, km })
        }
        _ => Err("wanted degrees north, degrees east and kilometres, such as 35.68,139.77,50".into()),
    }
}

/// The beginning of an ISO 8601 time: at least a year, and each part whole.
fn date(text: &str) -> Result<String, String> {
    const WHOLE: &str = "0000-00-00T00:00:00";
    let fits = text.len() <= WHOLE.len()
        && [4, 7, 10, 13, 16, 19].contains(&text.len())
        && text.bytes().zip(WHOLE.bytes()).all(|(found, wanted)| if wanted == b'0' { found.is_ascii_digit() } else { found == wanted });
    match fits {
        true => Ok(text.to_owned()),
        false => Err("wanted a date such as 2024, 2024-05 or 2024-05-31, or with a time, 2024-05-31T18:20".into()),
    }
}

impl Choice {
    /// Whether there are queries among the options.
    pub fn has_queries(&self) -> bool {
        !self.like.is_empty()
    }

    /// Items to find others like.
    pub fn alike(&self) -> &[String] {
        &self.like
    }

    /// Complains about an option that is given though no library is searched.
    pub fn refuse(&self, sources: &[PathBuf]) -> Result<(), Complaint> {
        let Self { like, weight, filter, folder, after, before, tag, near } = self;
        let given = [
            ("--like", !like.is_empty()),
            ("--words", weight.is_some()),
            ("--where", !filter.is_empty()),
            ("--folder", !folder.is_empty()),
            ("--after", after.is_some()),
            ("--before", before.is_some()),
            ("--tag", !tag.is_empty()),
            ("--near", near.is_some()),
        ];
        let place = sources.first().map_or("the built-in gallery".to_owned(), |path| format!("`{}`", path.display()));
        given.iter().find(|(_, given)| *given).map_or(Ok(()), |(option, _)| Err(needs_library(option, &place)))
    }

    /// The items that are meant.
    fn filter(self, reader: &Reader) -> Result<Filter, Error> {
        let Self { like: _, weight: _, filter, folder, after, before, tag, near: place } = self;
        let mut meant = filter.into_iter().fold(Filter::all(), Filter::and_where);
        meant = tag.into_iter().fold(meant, Filter::and_tag);
        if after.is_some() || before.is_some() {
            meant = meant.and_taken(after.as_deref(), before.as_deref());
        }
        meant = match &folder[..] {
            [] => meant,
            [only] => meant.and_folder(kept_path(only)),
            several => {
                let mut items = vec![];
                for folder in several {
                    items.extend(reader.items(&meant.clone().and_folder(kept_path(folder)))?);
                }
                items.sort_unstable();
                items.dedup();
                meant.and_items(&items)
            }
        };
        match place {
            Some(Place { north, east, km }) => near(reader, meant, (north, east), km),
            None => Ok(meant),
        }
    }
}

/// A folder as libraries keep paths: whole, with links followed. One that is not there (any more) may be in the library all the same.
fn kept_path(folder: &Path) -> String {
    let path = std::fs::canonicalize(folder).or_else(|_| std::path::absolute(folder)).unwrap_or_else(|_| folder.to_owned());
    path.to_string_lossy().into_owned()
}

pub fn search(
    session: &Session,
    embedder: &Embedder,
    path: &Path,
    queries: Typed,
    choice: Choice,
    how: &How<'_>,
    outputs: Outputs,
) -> anyhow::Result<()> {
    let reader = Reader::open(path).map_err(Error::from)?;
    let space = live_space(path, reader.spaces(), embedder)?.id;
    let cores = cores(session.settings.threads)?;
    let queries = queries.embed(session, embedder, &LibraryItems { reader: &reader, space })?;
    let weight = choice.weight.unwrap_or(0.0);
    if !weight.is_finite() || weight < 0.0 {
        return Err(Complaint::caller(format!("`--words` is {weight}, wanted a number from 0 on")).into());
    }
    let filter = choice.filter(&reader)?;
    let items = reader.count(&Filter::all()).map_err(Error::from)?;
    let mut about = format!("{} pictures in `{}`", thousands(items), path.display());
    if !filter.is_all() {
        about = format!("{} of {about}", thousands(reader.count(&filter).map_err(Error::from)?));
    }
    session.printer.note(&about);
    let calibration = match how.min_score {
        Some(_) => Calibration::of_library(embedder, &reader, space, &cores, how.cache)?,
        None => None,
    };
    if how.min_score.is_some() && calibration.is_none() {
        warn_uncalibrated(session);
    }
    let asking = Asking {
        reader: &reader,
        cores: &cores,
        space,
        filter,
        top: how.top,
        words: weight,
        calibration: calibration.as_ref(),
        least_level: how.min_score,
    };
    let mut answers = vec![];
    let vectors: Vec<&[f32]> = queries.embeddings.rows().collect();
    for answer in asking.ask(&queries.queries, &vectors)? {
        let hits = answer.hits.iter().map(|found| hit(&reader, found)).collect::<Result<Vec<_>, Error>>()?;
        let note = hits.is_empty().then(|| nothing(how.min_score, answer.nearest));
        answers.push(Answer { hits, note });
    }
    let title = format!("{} · {}", embedder.name(), about.replace('`', ""));
    outputs.show(session, &title, queries.asked, answers, |shown| match shown {
        Shown::File(path) => embedder.read_picture(path).ok(),
        Shown::Of(_) => None,
    })
}

/// What is shown of an item.
fn hit(reader: &Reader, found: &Found) -> Result<Hit, Error> {
    let Some(item) = reader.item(found.item)? else {
        return Err(hua::index::Error::NoItem { item: found.item }.into());
    };
    Ok(Hit {
        shown: Shown::File(PathBuf::from(&item.path)),
        path: item.path,
        score: found.score,
        level: found.level,
        word_rank: found.word_rank,
        more: Some(More { item: item.id.0, taken: item.facts.taken, captions: item.captions, tags: item.tags }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_beginnings_of_times() {
        for good in ["2024", "2024-05", "2024-05-31", "2024-05-31T18", "2024-05-31T18:20", "2024-05-31T18:20:59"] {
            assert_eq!(date(good).as_deref(), Ok(good));
        }
        for bad in ["", "24", "2024-5", "2024-05-", "2024/05/31", "yesterday", "2024-05-31 18:20", "2024-05-31T18:20:59Z"] {
            assert!(date(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_place_is_three_numbers_on_the_map() {
        assert_eq!(place("-33.9, 151.2,10"), Ok(Place { north: -33.9, east: 151.2, km: 10.0 }));
        for bad in ["", "1,2", "91,0,1", "0,181,1", "0,0,-1", "a,b,c", "1,2,3,4", "NaN,0,1"] {
            assert!(place(bad).is_err(), "{bad}");
        }
    }
}
