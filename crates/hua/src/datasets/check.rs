//! Whether a data set is what a trainer needs: every picture there and sound, every caption readable, nothing twice by mistake, nothing
//! of one split in another.
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use hua_data::{Caption, Entry, parallel::language};
use hua_image::Limits;
use serde::Serialize;
use serde_json::Value;

use super::ScanOptions;
use super::scan::{Seen, Told, normalised, scan};
use crate::{Error, Progress};

/// Examples that are kept of each finding.
const EXAMPLES: usize = 5;
/// A picture with a side below this has nothing to see: a tracking pixel, a spacer, a bullet.
const TINY: u32 = 16;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The data set is not what it should be.
    Error,
    /// Good to know; many sound data sets have it.
    Warning,
}

/// One kind of thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is, as `duplicate_picture`.
    pub kind: &'static str,
    /// What it means, in a few words.
    pub what: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// How many.
    pub count: u64,
    /// The first few.
    pub examples: Vec<Example>,
}

/// Where something was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Example {
    /// The picture or file.
    pub name: String,
    /// What about it.
    pub what: String,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Pictures that are sound.
    pub pictures: u64,
    /// Captions, counted at each picture.
    pub captions: u64,
    /// Captions by language; `""` where none is said.
    pub languages: BTreeMap<String, u64>,
    /// What was found, errors first.
    pub findings: Vec<Finding>,
}

impl Checked {
    /// Whether nothing is wrong with it.
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity == Severity::Warning)
    }
}

/// Kinds of findings in the order in which they are told: kind, what it means, severity.
const KINDS: [(&str, &str, Severity); 14] = [
    ("not_usable", "listed, and cannot be used", Severity::Error),
    ("broken_picture", "pictures that cannot be read or decoded", Severity::Error),
    ("duplicate_id", "ids that come twice", Severity::Error),
    ("empty_caption", "captions without a letter", Severity::Error),
    ("not_utf8", "captions that were not UTF-8", Severity::Error),
    ("huge_picture", "pictures of more pixels than are decoded", Severity::Error),
    ("leaked_picture", "pictures that the other data set has too", Severity::Error),
    ("no_pictures", "no picture that can be used", Severity::Error),
    ("leaked_caption", "captions that the other data set has too", Severity::Warning),
    ("duplicate_picture", "pictures whose bytes came before", Severity::Warning),
    ("repeated_caption", "captions that another picture has too", Severity::Warning),
    ("no_caption", "pictures without caption or tag", Severity::Warning),
    ("unknown_language", "captions whose language is no code", Severity::Warning),
    ("tiny_picture", "pictures with a side under 16 pixels", Severity::Warning),
];

/// Goes through the data set of `sources`; with `against`, also looks for pictures and captions that the other has too.
///
/// # Errors
/// [`Error::Data`] if a source cannot be read as a whole.
pub fn check(sources: &[PathBuf], against: &[PathBuf], options: &ScanOptions, progress: &dyn Progress) -> Result<Checked, Error> {
    let mut other = Other::default();
    if !against.is_empty() {
        let headers = ScanOptions { decode: false, ..options.clone() };
        scan(against, &headers, "reading the other data set", progress, |told| {
            if let Told::Picture(entry, seen) = told {
                seen.iter().for_each(|seen| _ = other.pictures.entry(seen.hash).or_insert_with(|| entry.name.clone()));
                other.captions.extend(entry.captions.iter().filter(|caption| !caption.text.is_empty()).map(|c| normalised(&c.text)));
            }
        })?;
    }
    let mut state = State { other, ..State::default() };
    scan(sources, options, "checking pictures", progress, |told| match told {
        Told::Picture(entry, seen) => state.picture(entry, seen),
        Told::Failure(failure) => state.note("not_usable", &failure.name, failure.reason.clone()),
    })?;
    Ok(state.finish())
}

/// What the other data set has.
#[derive(Default)]
struct Other {
    /// Names by hash.
    pictures: HashMap<u128, String>,
    captions: HashSet<u128>,
}

/// A check on its way.
#[derive(Default)]
struct State {
    found: HashMap<&'static str, (u64, Vec<Example>)>,
    pictures: u64,
    captions: u64,
    without_caption: u64,
    languages: BTreeMap<String, u64>,
    /// Names of the pictures so far, and which of them has which bytes.
    names: Vec<Box<str>>,
    ids: HashSet<u128>,
    hashes: HashMap<u128, u32>,
    /// The picture that had a caption first.
    texts: HashMap<u128, u32>,
    /// Captions that were said to leak, each once.
    leaked: HashSet<u128>,
    other: Other,
}

impl State {
    fn note(&mut self, kind: &'static str, name: &str, what: String) {
        let (count, examples) = self.found.entry(kind).or_default();
        *count += 1;
        if examples.len() < EXAMPLES {
            examples.push(Example { name: name.to_owned(), what });
        }
    }

    fn picture(&mut self, entry: Entry, seen: Result<Seen, String>) {
        let name = &*entry.name;
        if !self.ids.insert(hashed(&id(&entry))) {
            self.note("duplicate_id", name, format!("`{}` comes again", id(&entry)));
        }
        let number = self.names.len() as u32;
        self.names.push(name.into());
        match seen {
            Ok(seen) => {
                self.pictures += 1;
                self.size(name, &seen);
                if let Some(first) = self.hashes.get(&seen.hash) {
                    let first = format!("the same bytes as `{}`", self.names[*first as usize]);
                    self.note("duplicate_picture", name, first);
                } else {
                    self.hashes.insert(seen.hash, number);
                }
                if let Some(other) = self.other.pictures.get(&seen.hash) {
                    let other = format!("the same bytes as `{other}`");
                    self.note("leaked_picture", name, other);
                }
            }
            Err(reason) => self.note("broken_picture", name, reason),
        }
        if entry.captions.is_empty() && entry.tags.is_empty() {
            self.without_caption += 1;
            self.note("no_caption", name, "nothing is said of it".into());
        }
        for caption in &entry.captions {
            self.caption(name, number, caption);
        }
    }

    fn size(&mut self, name: &str, seen: &Seen) {
        let size = format!("{} x {} pixels", seen.width, seen.height);
        if u64::from(seen.width) * u64::from(seen.height) > Limits::default().max_pixels {
            self.note("huge_picture", name, size);
        } else if seen.width.min(seen.height) < TINY {
            self.note("tiny_picture", name, size);
        }
    }

    fn caption(&mut self, name: &str, number: u32, Caption { language: code, text }: &Caption) {
        self.captions += 1;
        *self.languages.entry(code.clone().unwrap_or_default()).or_default() += 1;
        if let Some(code) = code.as_ref().filter(|code| language(code).is_none()) {
            self.note("unknown_language", name, format!("`{code}`"));
        }
        if text.trim().is_empty() {
            return self.note("empty_caption", name, "an empty caption".into());
        }
        if text.contains(char::REPLACEMENT_CHARACTER) {
            self.note("not_utf8", name, start(text));
        }
        let hash = normalised(text);
        match self.texts.get(&hash) {
            Some(first) if *first != number => {
                let first = format!("`{}`, as `{}`", start(text), self.names[*first as usize]);
                self.note("repeated_caption", name, first);
            }
            Some(_) => {}
            None => _ = self.texts.insert(hash, number),
        }
        if self.other.captions.contains(&hash) && self.leaked.insert(hash) {
            self.note("leaked_caption", name, format!("`{}`", start(text)));
        }
    }

    fn finish(mut self) -> Checked {
        // A data set without any text is one of pictures alone, and sound.
        if self.without_caption == self.names.len() as u64 {
            self.found.remove("no_caption");
        }
        if self.pictures == 0 {
            self.note("no_pictures", "", "nothing to train on".into());
        }
        let mut found = self.found;
        let findings = KINDS.into_iter().filter_map(|(kind, what, severity)| {
            let (count, examples) = found.remove(kind)?;
            Some(Finding { kind, what, severity, count, examples })
        });
        Checked { pictures: self.pictures, captions: self.captions, languages: self.languages, findings: findings.collect() }
    }
}

/// How a text begins, for people.
fn start(text: &str) -> String {
    text.chars().take(40).collect()
}

/// What is to come once: the name, or in a table its `id`.
fn id(entry: &Entry) -> String {
    let own = entry.meta.as_ref().and_then(|meta| meta.get("id").or_else(|| meta.get("key")));
    match (entry.name.rsplit_once('#'), own) {
        (Some((list, _)), Some(own @ (Value::String(_) | Value::Number(_)))) => format!("{list}#{own}"),
        _ => entry.name.clone(),
    }
}

/// A text as it is, hashed.
fn hashed(text: &str) -> u128 {
    let hash = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    u128::from_be_bytes(hash.as_ref()[..16].try_into().expect("SHA-256 has 32 bytes"))
}
