//! Which pictures and texts make each batch, without reading any of them.
//!
//! Units (texts, or groups) come in the order of their epoch, epoch after epoch, as one stream; a batch may hold the end of one and the beginning of the
//! next, so that every batch is whole and every unit comes once an epoch. A unit whose group is in the batch already, or that has an equal
//! picture or text with a group of it, waits for the next batch. Where too many wait (most of the data is one group), the first of them
//! goes all the same, and the loader says what is alike. Texts that many groups share are chosen less often where a group has others.
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use hua_image::augment::{Random, seed_of};
use serde::{Deserialize, Serialize};

use super::options::{Sampling, Unit};
use super::order::Permutation;
use super::pairs::PairSet;
use crate::{Error, Result};

/// Units that may wait, for each of a batch, before the first goes all the same.
const MOST_WAITING: usize = 4;

/// What a seed is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    Order = 1,
    Draw = 2,
    Replacement = 3,
    PictureAugment = 4,
    PictureDropout = 5,
    TextAugment = 6,
    TextDropout = 7,
}

/// Where in the data the next batch begins. Saved with a checkpoint, it goes on exactly there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// Epochs that are over.
    pub epoch: u64,
    /// Units of this epoch that were taken.
    pub position: u64,
    /// Units that wait for a batch without their group: epoch and unit.
    pub waiting: VecDeque<(u64, u64)>,
    /// How many units the data had: with another number, the cursor means nothing.
    pub units: u64,
}

/// One unit of a batch.
#[derive(Clone, Debug)]
pub(super) struct Draw {
    pub epoch: u64,
    pub unit: u64,
    /// Everything random about it.
    pub seed: u64,
    pub group: u32,
    pub pictures: Vec<u32>,
    pub texts: Vec<u32>,
}

/// The groups of a batch, and those that have something equal to it.
#[derive(Debug, Default)]
pub(super) struct Taken {
    groups: HashSet<u32>,
    like: HashSet<u32>,
}

pub(super) struct Planner {
    set: Arc<PairSet>,
    sampling: Sampling,
    batch: usize,
    seed: u64,
    /// Texts or groups that can be drawn.
    units: Vec<u32>,
    cursor: Cursor,
}

impl Planner {
    pub(super) fn new(set: Arc<PairSet>, sampling: Sampling, batch: usize, seed: u64) -> Result<Self> {
        let likely = |&text: &u32| sampling.weight(set.language(text), set.kind(text)) > 0.0;
        let units: Vec<u32> = match sampling.unit {
            Unit::Pair => (0..set.texts() as u32).filter(likely).collect(),
            Unit::Group => (0..set.groups() as u32).filter(|&group| set.group_texts(group).iter().any(&likely)).collect(),
        };
        if batch == 0 || units.len() < batch {
            let what = if sampling.unit == Unit::Pair { "texts" } else { "groups" };
            return Err(Error::BadData {
                name: "data".into(),
                found: format!("{} {what} that can be drawn", units.len()),
                wanted: format!("at least as many as a batch of {batch} has"),
            });
        }
        let cursor = Cursor { units: units.len() as u64, ..Cursor::default() };
        Ok(Self { set, sampling, batch, seed, units, cursor })
    }

    /// How many units of an epoch are drawn, about: a kind of text may come in a share of the epochs alone.
    pub(super) fn units_per_epoch(&self) -> f64 {
        match self.sampling.unit {
            Unit::Group => self.units.len() as f64,
            Unit::Pair => self.units.iter().map(|&text| self.sampling.weight(self.set.language(text), self.set.kind(text))).sum(),
        }
    }

    pub(super) fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    pub(super) fn seek(&mut self, cursor: &Cursor) -> Result<()> {
        let units = self.units.len() as u64;
        if cursor.units != units || cursor.position > units || cursor.waiting.iter().any(|&(_, unit)| unit >= units) {
            return Err(Error::BadData {
                name: "the place in the data that the checkpoint names".into(),
                found: format!("a place among {} units", cursor.units),
                wanted: format!("one among {units}: the data is not what it was"),
            });
        }
        self.cursor = cursor.clone();
        Ok(())
    }

    /// The next batch.
    pub(super) fn next(&mut self) -> Vec<Draw> {
        let (mut draws, mut taken) = (Vec::with_capacity(self.batch), Taken::default());
        let mut still_waiting = VecDeque::new();
        // Those that wait come first, in their order.
        while draws.len() < self.batch
            && let Some((epoch, unit)) = self.cursor.waiting.pop_front()
        {
            let draw = self.draw(epoch, unit).expect("a unit that waits was drawn before");
            match taken.clashes(&draw, &self.set) {
                true => still_waiting.push_back((epoch, unit)),
                false => taken.add(draw, &self.set, &mut draws),
            }
        }
        still_waiting.append(&mut self.cursor.waiting);
        self.cursor.waiting = still_waiting;
        while draws.len() < self.batch {
            if self.cursor.waiting.len() >= MOST_WAITING * self.batch
                && let Some((epoch, unit)) = self.cursor.waiting.pop_front()
            {
                let draw = self.draw(epoch, unit).expect("a unit that waits was drawn before");
                taken.add(draw, &self.set, &mut draws);
                continue;
            }
            let (epoch, unit) = self.advance();
            let Some(draw) = self.draw(epoch, unit) else { continue };
            match taken.clashes(&draw, &self.set) {
                true => self.cursor.waiting.push_back((epoch, unit)),
                false => taken.add(draw, &self.set, &mut draws),
            }
        }
        draws
    }

    /// The next unit of the stream.
    fn advance(&mut self) -> (u64, u64) {
        if self.cursor.position == self.cursor.units {
            (self.cursor.epoch, self.cursor.position) = (self.cursor.epoch + 1, 0);
        }
        let Cursor { epoch, position, units, .. } = self.cursor;
        self.cursor.position += 1;
        (epoch, Permutation::new(units, seed_of(&[self.seed, Purpose::Order as u64]), epoch).item(position))
    }

    /// What a unit is this time; none if it does not come in this epoch.
    fn draw(&self, epoch: u64, unit: u64) -> Option<Draw> {
        let seed = seed_of(&[self.seed, Purpose::Draw as u64, epoch, unit]);
        let mut random = Random::new(seed);
        let item = self.units[unit as usize];
        let (group, pictures, texts) = match self.sampling.unit {
            Unit::Pair => {
                let share = self.sampling.weight(self.set.language(item), self.set.kind(item));
                let pictures = self.set.pictures_of(item);
                if !random.chance(share) {
                    return None;
                }
                (self.set.group_of_text(item), vec![pictures[random.index(pictures.len())]], vec![item])
            }
            Unit::Group => {
                let texts = self.some_texts(item, &mut random);
                let mut pictures = self.set.group_pictures(item).to_vec();
                random.shuffle(&mut pictures);
                pictures.truncate(self.sampling.pictures_per_group);
                (item, pictures, texts)
            }
        };
        Some(Draw { epoch, unit, seed, group, pictures, texts })
    }

    /// Texts of a group: languages first, by their weights, none twice before all have come; then a text of the language, by the weight of its kind.
    fn some_texts(&self, group: u32, random: &mut Random) -> Vec<u32> {
        let set = &self.set;
        // Of a text that many groups share, each has its part: it says little of any of them.
        let weight = |text: u32| self.sampling.weight(set.language(text), set.kind(text)) / set.groups_like_text(text).len().max(1) as f64;
        let mut left: Vec<u32> = set.group_texts(group).iter().copied().filter(|&text| weight(text) > 0.0).collect();
        let mut chosen = vec![];
        let mut languages: Vec<&str> = vec![];
        while chosen.len() < self.sampling.texts_per_group && !left.is_empty() {
            if languages.is_empty() {
                languages = left.iter().map(|&text| set.language(text)).collect();
                languages.sort_unstable();
                languages.dedup();
            }
            let language = random.weighted(languages.iter().map(|language| self.sampling.weight(language, "")));
            let language = languages.swap_remove(language.unwrap_or(0));
            let text = random.weighted(left.iter().map(|&text| if set.language(text) == language { weight(text) } else { 0.0 }));
            let Some(text) = text else { continue };
            chosen.push(left.swap_remove(text));
            languages.retain(|&language| left.iter().any(|&text| set.language(text) == language));
        }
        chosen
    }

    /// Another unit in the place of one that cannot be used: one that clashes with nothing that is `taken`, if there is one within a few tries.
    pub(super) fn replacement(&self, of: &Draw, attempt: u64, taken: &Taken) -> Option<Draw> {
        let mut random = Random::of(&[self.seed, Purpose::Replacement as u64, of.epoch, of.unit, attempt]);
        let mut units = (0..100).map(|_| random.below(self.units.len() as u64));
        units.find_map(|unit| self.draw(of.epoch, unit).filter(|draw| !taken.clashes(draw, &self.set)))
    }
}

impl Draw {
    /// A seed for one of its items.
    pub(super) fn seed_of(&self, purpose: Purpose, item: u32) -> u64 {
        seed_of(&[self.seed, purpose as u64, u64::from(item)])
    }

    /// The groups in which it, or something equal to what was drawn of it, occurs.
    fn like<'s>(&'s self, set: &'s PairSet) -> impl Iterator<Item = u32> + 's {
        let pictures = self.pictures.iter().flat_map(|&picture| set.groups_like_picture(picture));
        let texts = self.texts.iter().flat_map(|&text| set.groups_like_text(text));
        std::iter::once(self.group).chain(pictures.chain(texts).copied())
    }
}

impl Taken {
    /// Whether anything of the batch could be taken for something of `draw`, or the other way round.
    fn clashes(&self, draw: &Draw, set: &PairSet) -> bool {
        self.like.contains(&draw.group) || draw.like(set).any(|group| self.groups.contains(&group))
    }

    fn add(&mut self, draw: Draw, set: &PairSet, draws: &mut Vec<Draw>) {
        self.note(&draw, set);
        draws.push(draw);
    }

    /// Takes a draw of the batch into account.
    pub(super) fn note(&mut self, draw: &Draw, set: &PairSet) {
        self.groups.insert(draw.group);
        self.like.extend(draw.like(set));
    }
}
