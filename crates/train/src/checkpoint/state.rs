//! `training_state.json`: how far a run is, and by which recipe.
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use toml::Table;

use crate::params::ParamSet;
use crate::recipe::Recipe;
use crate::{Error, Result};

const FILE: &str = "training_state.json";
/// A state longer than this is none.
const LONGEST: u64 = 64 << 20;
/// Of keys that differ, how many are named.
const LISTED: usize = 8;
/// Changes when a state means something else.
const VERSION: u32 = 1;
/// Keys that change nothing of what is computed.
const FREE: [&str; 4] = ["checkpoint.best", "checkpoint.every_minutes", "checkpoint.every_steps", "train.time_limit_minutes"];

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Of this form.
    pub version: u32,
    /// Steps done, skipped ones included: the number of the next.
    pub step: u64,
    /// Updates of each parameter set by the optimiser.
    pub updates: Vec<u64>,
    /// Updates of the moving average, if there is one.
    pub average_updates: Option<u64>,
    /// Steps whose numbers were not finite.
    pub skipped: u64,
    /// Of them, those in a row up to now.
    pub skipped_in_a_row: u32,
    /// Where in the data the next step begins, as the task says it.
    pub cursor: Value,
    /// The best evaluation.
    pub best: Option<Best>,
    /// Steps at the newest evaluation.
    pub evaluated_at: Option<u64>,
    /// Evaluations since the best.
    pub worse: u32,
    /// Seconds of training, all sessions together.
    pub seconds: f64,
    /// The recipe, TOML, everything filled in.
    pub recipe: String,
    /// Of the numbers that are not trained.
    pub frozen: String,
}

/// The best evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// Its headline, exact: JSON's numbers need not come back as they went.
    #[serde(with = "exact")]
    pub headline: f64,
    /// Steps taken at it.
    pub step: u64,
}

mod exact {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(x: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(x)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl State {
    /// Of a run that has not begun.
    pub fn new(recipe: &Recipe, sets: &[ParamSet], cursor: Value) -> Self {
        Self {
            version: VERSION,
            step: 0,
            updates: vec![0; sets.len()],
            average_updates: (recipe.optim.ema > 0.0).then_some(0),
            skipped: 0,
            skipped_in_a_row: 0,
            cursor,
            best: None,
            evaluated_at: None,
            worse: 0,
            seconds: 0.0,
            recipe: recipe.to_toml(),
            frozen: frozen(sets),
        }
    }

    /// Whether a run of this recipe with these parameters can go on from it; `folder` is for the message.
    ///
    /// # Errors
    /// [`Error::OtherRecipe`] with what differs, [`Error::State`] if numbers that are not trained are others.
    pub fn check(&self, folder: &Path, recipe: &Recipe, sets: &[ParamSet]) -> Result<()> {
        let differences = differences(&self.recipe, &recipe.to_toml());
        if !differences.is_empty() {
            return Err(Error::OtherRecipe { path: folder.to_owned(), differences });
        }
        if self.updates.len() != sets.len() {
            let reason = format!("it counts the updates of {} parameter sets, the run has {}", self.updates.len(), sets.len());
            return Err(Error::State { path: folder.join(FILE), reason });
        }
        if self.frozen != frozen(sets) {
            let reason = "the model that the recipe starts from has other numbers than when the run began".to_owned();
            return Err(Error::State { path: folder.join(FILE), reason });
        }
        Ok(())
    }
}

pub(super) fn write(folder: &Path, state: &State) -> Result<()> {
    let path = folder.join(FILE);
    let text = serde_json::to_string_pretty(state).expect("a state is plain data");
    std::fs::write(&path, text + "\n").map_err(Error::io(&path))
}

pub(super) fn read(folder: &Path) -> Result<State> {
    let path = folder.join(FILE);
    let wrong = |reason: String| Error::State { path: path.clone(), reason };
    let mut text = String::new();
    let file = File::open(&path).map_err(Error::io(&path))?;
    file.take(LONGEST + 1).read_to_string(&mut text).map_err(Error::io(&path))?;
    if text.len() as u64 > LONGEST {
        return Err(wrong(format!("it is longer than {LONGEST} bytes")));
    }
    let value: Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    match value.get("version").and_then(Value::as_u64) {
        Some(version) if version == u64::from(VERSION) => {}
        found => return Err(wrong(format!("its version is {}, wanted {VERSION}", found.map_or("absent".to_owned(), |v| v.to_string())))),
    }
    serde_json::from_value(value).map_err(|error| wrong(error.to_string()))
}

/// What two recipes (TOML) say otherwise, key by key; keys that change nothing of what is computed left out.
pub fn differences(before: &str, now: &str) -> Vec<String> {
    let [before, now] = [before, now].map(|text| {
        let mut flat = BTreeMap::new();
        flatten(&text.parse::<Table>().unwrap_or_default(), "", &mut flat);
        flat
    });
    let keys = before.keys().chain(now.keys().filter(|key| !before.contains_key(*key)));
    let shown = |value: Option<&String>| value.map_or("absent".to_owned(), Clone::clone);
    let differ = keys.filter(|key| !FREE.contains(&key.as_str()) && before.get(*key) != now.get(*key));
    let mut all: Vec<_> = differ.map(|key| format!("`{key}` was {} and is {}", shown(before.get(key)), shown(now.get(key)))).collect();
    if all.len() > LISTED {
        let more = all.len() - LISTED;
        all.truncate(LISTED);
        all.push(format!("and {more} more"));
    }
    all
}

fn flatten(table: &Table, within: &str, flat: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let key = if within.is_empty() { key.clone() } else { format!("{within}.{key}") };
        match value {
            toml::Value::Table(table) => flatten(table, &key, flat),
            other => _ = flat.insert(key, other.to_string()),
        }
    }
}

/// A digest of all numbers that are not trained, and of the names and shapes of all.
fn frozen(sets: &[ParamSet]) -> String {
    let mut digest = Sha256::new();
    for set in sets {
        for (((name, shape), values), trained) in set.names.iter().zip(&set.shapes).zip(&set.values).zip(&set.trained) {
            digest.update(format!("{} {name} {shape:?} {trained}\n", set.name));
            if !trained {
                for value in values {
                    digest.update(value.to_le_bytes());
                }
            }
        }
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
