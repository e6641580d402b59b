//! Batches of pictures and texts, prepared ahead.
//!
//! A unit of a batch is one job: read, decode and change its pictures, vary and tokenise its texts. Threads do the jobs of the next few batches;
//! they are put together in their order, and everything random comes from the unit's seed, so that batches are the same bits for any
//! number of threads. A picture that cannot be used is replaced: by another of its text or group, else by another unit; it is counted and
//! told ([`PairBatch::bad`]), and too many of them end the run.
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hua_data::Failure;
use hua_image::augment::{Augment, Random};
use hua_image::{DecodeOptions, Preprocess};
use hua_text::Tokenizer;

use super::options::{Loading, Sampling, TextAugment, Unit};
use super::pairs::{Bad, PairSet};
use super::pictures::Pictures;
use super::planner::{Cursor, Draw, Planner, Purpose, Taken};
use super::workers::Workers;
use crate::{Error, Result};

/// Units that are tried in the place of one that cannot be used.
const REPLACEMENTS: u64 = 100;

/// What a loader needs to know beside its set.
#[derive(Clone, Debug)]
pub struct PairLoaderOptions {
    /// Units of a batch.
    pub batch: usize,
    /// Where all randomness comes from.
    pub seed: u64,
    /// How batches are drawn.
    pub sampling: Sampling,
    /// How pictures are changed.
    pub augment: Augment,
    /// How texts are varied.
    pub texts: TextAugment,
    /// How far ahead batches are prepared.
    pub loading: Loading,
    /// Whether pictures are read at all; without, only their numbers are given, for a task that has their features.
    pub pixels: bool,
    /// How the model wants pictures.
    pub preprocess: Preprocess,
    /// How pictures are decoded.
    pub decode: DecodeOptions,
    /// The model's tokenizer, with its context length.
    pub tokenizer: Tokenizer,
    /// The share of pictures that turn out bad from which on the run ends, 0 to 1.
    pub max_bad: f64,
}

impl PairLoaderOptions {
    /// The defaults for a model that wants pictures and texts so.
    pub fn new(preprocess: Preprocess, tokenizer: Tokenizer) -> Self {
        Self {
            batch: 64,
            seed: 0,
            sampling: Sampling::default(),
            augment: Augment::default(),
            texts: TextAugment::default(),
            loading: Loading::default(),
            pixels: true,
            preprocess,
            decode: DecodeOptions::default(),
            tokenizer,
            max_bad: 0.05,
        }
    }
}

/// A batch. Where units are pairs, picture and text of one place belong together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PairBatch {
    /// The pictures, by their numbers in the set.
    pub pictures: Vec<u32>,
    /// `[pictures, 3, height, width]`; empty if the loader was told to read none.
    pub pixels: Vec<f32>,
    /// The texts, by their numbers in the set.
    pub texts: Vec<u32>,
    /// The token ids of each text.
    pub ids: Vec<Vec<u32>>,
    /// The group of each picture.
    pub picture_groups: Vec<u32>,
    /// The group of each text.
    pub text_groups: Vec<u32>,
    /// Pictures and texts, by their places here, that have another group each and yet are no wrong answers to each other: an equal picture or text
    /// is in the other's group. In order. Few, since what is alike waits for another batch where it can.
    pub alike: Vec<(u32, u32)>,
    /// A seed for each picture, for dropout.
    pub picture_seeds: Vec<u64>,
    /// A seed for each text, for dropout.
    pub text_seeds: Vec<u64>,
    /// Texts that were longer than the model's context.
    pub truncated: usize,
    /// Epochs that were over when the batch was drawn.
    pub epoch: u64,
    /// What could not be used and was replaced.
    pub bad: Vec<Failure>,
    /// How long [`PairLoader::next`] waited for it.
    pub waited: Duration,
}

/// The pictures and texts, by their places in the batch, that have another group each and yet are no strangers: the text, or one equal to it, stands in
/// the picture's group, or the picture, or one equal to it, in the text's.
fn alike(batch: &PairBatch, set: &PairSet) -> Vec<(u32, u32)> {
    let places = |groups: &[u32]| {
        let mut places: HashMap<u32, Vec<u32>> = HashMap::new();
        (0..).zip(groups).for_each(|(place, &group)| places.entry(group).or_default().push(place));
        places
    };
    let (pictures, texts) = (places(&batch.picture_groups), places(&batch.text_groups));
    let of = |places: &HashMap<u32, Vec<u32>>, group: u32| places.get(&group).cloned().unwrap_or_default();
    let mut alike = vec![];
    for (place, &picture) in (0..).zip(&batch.pictures) {
        alike.extend(set.groups_like_picture(picture).iter().flat_map(|&group| of(&texts, group)).map(|text| (place, text)));
    }
    // Texts may have become equal by being varied.
    let mut by_ids: HashMap<&[u32], Vec<u32>> = HashMap::new();
    (0..).zip(&batch.ids).for_each(|(place, ids)| by_ids.entry(ids).or_default().push(place));
    for (place, (&text, ids)) in (0..).zip(batch.texts.iter().zip(&batch.ids)) {
        let equal = by_ids[&**ids].iter().map(|&other| batch.text_groups[other as usize]);
        let groups = set.groups_like_text(text).iter().copied().chain(equal);
        alike.extend(groups.flat_map(|group| of(&pictures, group)).map(|picture| (picture, place)));
    }
    alike.retain(|&(picture, text)| batch.picture_groups[picture as usize] != batch.text_groups[text as usize]);
    alike.sort_unstable();
    alike.dedup();
    alike
}

/// Gives batch after batch, without end.
pub struct PairLoader {
    planner: Planner,
    worker: Arc<Worker>,
    workers: Workers<Draw, Prepared>,
    ahead: usize,
    /// Batches that are being prepared, each with where the data goes on behind it.
    planned: VecDeque<(Vec<Draw>, u64, Cursor)>,
    /// Where the data goes on behind the last batch that was given.
    cursor: Cursor,
    bad: HashSet<Item>,
    examples: Bad,
    max_bad: f64,
}

/// What a job needs.
struct Worker {
    pictures: Pictures,
    sampling: Sampling,
    augment: Augment,
    texts: TextAugment,
    tokenizer: Tokenizer,
    pixels: bool,
}

/// A unit that was prepared. Empty if nothing of it can be used.
#[derive(Debug, Default)]
struct Prepared {
    pictures: Vec<u32>,
    pixels: Vec<f32>,
    texts: Vec<u32>,
    ids: Vec<Vec<u32>>,
    truncated: usize,
    bad: Vec<(Item, Failure)>,
}

/// What can be bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Item {
    Picture(u32),
    Text(u32),
}

impl Prepared {
    fn is_whole(&self) -> bool {
        !self.pictures.is_empty() && !self.texts.is_empty()
    }
}

impl PairLoader {
    /// Begins with the first batch of the first epoch.
    ///
    /// # Errors
    /// [`Error::BadData`] if there are fewer units than a batch has.
    pub fn new(set: Arc<PairSet>, options: PairLoaderOptions) -> Result<Self> {
        let PairLoaderOptions { batch, seed, sampling, augment, texts, loading, pixels, preprocess, decode, tokenizer, max_bad } = options;
        let planner = Planner::new(Arc::clone(&set), sampling.clone(), batch, seed)?;
        let pictures = Pictures::new(set, preprocess, decode, &loading);
        let worker = Arc::new(Worker { pictures, sampling, augment, texts, tokenizer, pixels });
        let doing = Arc::clone(&worker);
        let workers = Workers::new(loading.threads, Arc::new(move |draw| doing.prepare(&draw)));
        let cursor = planner.cursor().clone();
        let (bad, examples) = (HashSet::new(), Bad::default());
        Ok(Self { planner, worker, workers, ahead: loading.ahead.max(1), planned: VecDeque::new(), cursor, bad, examples, max_bad })
    }

    /// What it reads from.
    pub fn set(&self) -> &Arc<PairSet> {
        self.worker.pictures.set()
    }

    /// The pictures as the model sees them, for whoever wants them one by one.
    pub fn pictures(&self) -> &Pictures {
        &self.worker.pictures
    }

    /// Batches of an epoch, at least 1: the units of an epoch by those of a batch, rounded.
    pub fn batches_per_epoch(&self, batch: usize) -> u64 {
        ((self.planner.units_per_epoch() / batch as f64).round() as u64).max(1)
    }

    /// Where the data goes on behind the last batch that was given.
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Goes on from where [`PairLoader::cursor`] was.
    ///
    /// # Errors
    /// [`Error::BadData`] if the cursor is one of other data.
    pub fn seek(&mut self, cursor: &Cursor) -> Result<()> {
        self.planner.seek(cursor)?;
        self.workers.clear();
        self.planned.clear();
        self.cursor = cursor.clone();
        Ok(())
    }

    /// Pictures that turned out bad since this loader was made.
    pub fn bad(&self) -> &Bad {
        &self.examples
    }

    /// The next batch.
    ///
    /// # Errors
    /// [`Error::BadData`] if too many pictures turned out bad.
    #[expect(clippy::should_implement_trait, reason = "it never ends, and it can fail")]
    pub fn next(&mut self) -> Result<PairBatch> {
        let asked = Instant::now();
        while self.planned.len() < self.ahead {
            let epoch = self.planner.cursor().epoch;
            let draws = self.planner.next();
            draws.iter().for_each(|draw| self.workers.push(draw.clone()));
            self.planned.push_back((draws, epoch, self.planner.cursor().clone()));
        }
        let (mut draws, epoch, cursor) = self.planned.pop_front().expect("a batch was planned just now");
        let mut prepared: Vec<Prepared> = draws
            .iter()
            .map(|draw| {
                let panicked = |&picture: &u32| {
                    (Item::Picture(picture), Failure { name: self.set().name(picture).into(), reason: "decoding it panicked".into() })
                };
                self.workers.pop().unwrap_or_else(|| Prepared { bad: draw.pictures.iter().map(panicked).collect(), ..Prepared::default() })
            })
            .collect();
        let mut batch = PairBatch { epoch, ..PairBatch::default() };
        self.replace(&mut draws, &mut prepared, &mut batch)?;
        for (draw, prepared) in draws.iter().zip(prepared) {
            let seeds = |items: &[u32], purpose| items.iter().map(|&item| draw.seed_of(purpose, item)).collect::<Vec<_>>();
            batch.picture_seeds.extend(seeds(&prepared.pictures, Purpose::PictureDropout));
            batch.text_seeds.extend(seeds(&prepared.texts, Purpose::TextDropout));
            batch.picture_groups.extend(prepared.pictures.iter().map(|_| draw.group));
            batch.text_groups.extend(prepared.texts.iter().map(|_| draw.group));
            batch.pictures.extend(prepared.pictures);
            batch.pixels.extend(prepared.pixels);
            batch.texts.extend(prepared.texts);
            batch.ids.extend(prepared.ids);
            batch.truncated += prepared.truncated;
        }
        batch.alike = alike(&batch, self.set());
        self.cursor = cursor;
        batch.waited = asked.elapsed();
        Ok(batch)
    }

    /// Puts other units in the place of those of which nothing can be used, and what was drawn in that of what was replaced within a unit.
    fn replace(&mut self, draws: &mut [Draw], prepared: &mut [Prepared], batch: &mut PairBatch) -> Result<()> {
        for place in 0..draws.len() {
            let mut attempt = 0;
            loop {
                self.count(std::mem::take(&mut prepared[place].bad), batch)?;
                if prepared[place].is_whole() {
                    draws[place].pictures.clone_from(&prepared[place].pictures);
                    break;
                }
                let mut taken = Taken::default();
                let set = Arc::clone(self.set());
                draws.iter().enumerate().filter(|&(other, _)| other != place).for_each(|(_, draw)| taken.note(draw, &set));
                let replacement = loop {
                    attempt += 1;
                    if attempt > REPLACEMENTS {
                        return Err(self.refused("no unit that could take the place of a bad one"));
                    }
                    // Where everything clashes, anything is better than nothing.
                    let free = if attempt > REPLACEMENTS / 2 { &Taken::default() } else { &taken };
                    if let Some(draw) = self.planner.replacement(&draws[place], attempt, free) {
                        break draw;
                    }
                };
                prepared[place] = self.worker.prepare(&replacement);
                // The seed of the unit that was planned finds the next one, should this be bad too.
                draws[place] = Draw { epoch: draws[place].epoch, ..replacement };
            }
        }
        Ok(())
    }

    /// Counts bad pictures and texts, each once.
    fn count(&mut self, bad: Vec<(Item, Failure)>, batch: &mut PairBatch) -> Result<()> {
        for (item, failure) in bad {
            if self.bad.insert(item) {
                self.examples.add(failure.name.clone(), failure.reason.clone());
                batch.bad.push(failure);
            }
        }
        if self.bad.len() as f64 > (self.max_bad * self.set().pictures() as f64).max(1.0) {
            return Err(self.refused(&format!("at most {} % of bad pictures (`max_bad`)", self.max_bad * 100.0)));
        }
        Ok(())
    }

    fn refused(&self, wanted: &str) -> Error {
        let found = format!("{} of {} pictures cannot be used{}", self.bad.len(), self.set().pictures(), self.examples.first());
        Error::BadData { name: "data".into(), found, wanted: wanted.to_owned() }
    }
}

impl std::fmt::Debug for PairLoader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PairLoader").field("cursor", &self.cursor).field("workers", &self.workers).finish_non_exhaustive()
    }
}

impl Worker {
    /// A unit as the model sees it.
    fn prepare(&self, draw: &Draw) -> Prepared {
        let mut out = Prepared::default();
        let set = self.pictures.set();
        // Others of the same text or group, should one that was drawn be bad.
        let mut others: Option<VecDeque<u32>> = None;
        for &drawn in &draw.pictures {
            let mut picture = drawn;
            loop {
                if !self.pixels {
                    out.pictures.push(picture);
                    break;
                }
                match self.pictures.pixels(picture, &self.augment, draw.seed_of(Purpose::PictureAugment, picture)) {
                    Ok(pixels) => {
                        out.pixels.extend(pixels);
                        out.pictures.push(picture);
                        break;
                    }
                    Err(failure) => out.bad.push((Item::Picture(picture), failure)),
                }
                let others = others.get_or_insert_with(|| {
                    let all = match self.sampling.unit {
                        Unit::Group => set.group_pictures(draw.group),
                        Unit::Pair => set.pictures_of(draw.texts[0]),
                    };
                    let mut others: Vec<u32> = all.iter().copied().filter(|picture| !draw.pictures.contains(picture)).collect();
                    Random::new(draw.seed_of(Purpose::Replacement, 0)).shuffle(&mut others);
                    others.into()
                });
                let Some(other) = others.pop_front() else { break };
                picture = other;
            }
        }
        for &text in &draw.texts {
            let mut random = Random::new(draw.seed_of(Purpose::TextAugment, text));
            let written = self.texts.apply(set.text(text), set.language(text), set.kind(text), &mut random);
            match self.tokenizer.encode(&written) {
                Ok(encoding) => {
                    out.truncated += usize::from(encoding.truncated());
                    out.ids.push(encoding.ids);
                    out.texts.push(text);
                }
                Err(e) => {
                    out.bad.push((Item::Text(text), Failure { name: written, reason: e.to_string() }));
                }
            }
        }
        out
    }
}
