//! Sources into a [`PairSet`]: what is bad is counted and named, what the recipe does not want is left out, the rest is joined into groups.
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use hua_data::{Entry, Kind, Options, Source, Sources, chinese_clip, name_of};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;

use super::lists::{Lists, Sets};
use super::options::{Duplicates, ReadOptions};
use super::pairs::{ALONE, NewPicture, NewText, PairSet, PictureRow, ReadReport, TextRow};
use crate::{Error, Result};

/// The longest picture file that is read, in bytes.
pub(super) const LONGEST_PICTURE: u64 = 256 << 20;
/// Pictures whose digests are waited for at a time.
const CHECKED_TOGETHER: usize = 4096;

/// What equal things share: the first half of a SHA-256.
type Digest128 = [u8; 16];

/// What was read so far.
#[derive(Default)]
struct Found {
    pictures: Vec<NewPicture>,
    texts: Vec<NewText>,
    /// For each picture, whether a text was there for it, even one that was left out.
    described: Vec<bool>,
    report: ReadReport,
    in_memory: u64,
}

pub(super) fn open(paths: &[PathBuf], options: &ReadOptions) -> Result<PairSet> {
    let reader = Options { split: options.split.clone(), folders_are_tags: options.folders_are_classes, ..Options::default() };
    let mut found = Found::default();
    let sources = Sources::open(paths, &reader)?;
    let roots: Vec<(PathBuf, Kind)> = sources.kinds().map(|(path, kind)| (path.to_owned(), kind)).collect();
    for (path, kind) in roots {
        // A file that was found by its split is read as what it is.
        let single = Options { split: if kind == Kind::Lmdb { None } else { reader.split.clone() }, ..reader.clone() };
        let entries = Sources::open(std::slice::from_ref(&path), &single)?;
        match kind {
            Kind::ChineseClip => found.read_chinese_clip(&path, entries, options)?,
            _ => found.read_entries(entries, options)?,
        }
    }
    let what = paths.iter().map(|path| name_of(path)).collect::<Vec<_>>().join(", ");
    found.finish(&what, options)
}

pub(super) fn build(pictures: Vec<NewPicture>, texts: Vec<NewText>, options: &ReadOptions) -> Result<PairSet> {
    let mut found = Found::default();
    let mut place = vec![];
    for picture in pictures {
        place.push(found.picture(picture.name, picture.source, options)?);
    }
    for (number, text) in texts.into_iter().enumerate() {
        let known = text.pictures.iter().filter_map(|&picture| place.get(picture as usize).copied().flatten()).collect();
        found.text(&format!("text {number}"), NewText { pictures: known, ..text }, options);
    }
    found.finish("data", options)
}

impl Found {
    /// Pictures of the files of a split, then its texts, each of which may have many pictures.
    fn read_chinese_clip(&mut self, path: &Path, entries: Sources, options: &ReadOptions) -> Result<()> {
        let prefix = format!("{}#", name_of(path));
        // What an id stands for; none if its picture was left out.
        let mut ids: HashMap<String, Option<u32>> = HashMap::new();
        for entry in entries {
            match entry {
                Ok(Entry { name, source, .. }) => {
                    let id = name.strip_prefix(&prefix).unwrap_or(&name).to_owned();
                    if ids.contains_key(&id) {
                        self.report.bad.add(name, "the id was there before");
                        continue;
                    }
                    let place = self.picture(name, source, options)?;
                    ids.insert(id, place);
                }
                Err(failure) => self.report.bad.add(failure.name, failure.reason),
            }
        }
        let texts = path.file_name().unwrap_or_default().to_string_lossy().replace("_imgs.tsv", "_texts.jsonl");
        for (number, record) in chinese_clip::records(path)?.enumerate() {
            // Lines that cannot be read were told with the pictures.
            let Ok(record) = record else { continue };
            let name = format!("{texts}#{}", record.text_id.clone().unwrap_or_else(|| format!("{}", number + 1)));
            // So were the ids of pictures that are not there.
            if !record.image_ids.is_empty() && record.image_ids.iter().all(|id| !ids.contains_key(id)) {
                continue;
            }
            let pictures: Vec<u32> = record.image_ids.iter().filter_map(|id| ids.get(id).copied().flatten()).collect();
            if pictures.is_empty() && !record.image_ids.is_empty() {
                self.report.texts_left_out += 1;
                continue;
            }
            let text =
                NewText { text: record.text, language: record.lang.unwrap_or_default(), kind: record.kind.unwrap_or_default(), pictures };
            self.text(&name, text, options);
        }
        Ok(())
    }

    /// Pictures with the texts beside them.
    fn read_entries(&mut self, entries: Sources, options: &ReadOptions) -> Result<()> {
        for entry in entries {
            match entry {
                Ok(Entry { name, source, captions, tags, .. }) => {
                    let Some(picture) = self.picture(name.clone(), source, options)? else { continue };
                    let alone = captions.is_empty() && options.folders_are_classes;
                    for caption in captions {
                        let language = caption.language.unwrap_or_default();
                        self.text(&name, NewText { text: caption.text, language, kind: String::new(), pictures: vec![picture] }, options);
                    }
                    for tag in tags.into_iter().filter(|_| alone) {
                        let text = NewText { text: tag, language: String::new(), kind: "class".into(), pictures: vec![picture] };
                        self.text(&name, text, options);
                    }
                }
                Err(failure) => self.report.bad.add(failure.name, failure.reason),
            }
        }
        Ok(())
    }

    /// Takes in a picture, unless the recipe leaves it out.
    fn picture(&mut self, name: String, source: Source, options: &ReadOptions) -> Result<Option<u32>> {
        if options.leave_out.iter().any(|pattern| matches(pattern, &name)) {
            self.report.pictures_left_out += 1;
            return Ok(None);
        }
        if let Source::Bytes(bytes) = &source {
            self.in_memory += bytes.len() as u64;
            if self.in_memory > options.max_memory {
                return Err(Error::BadData {
                    name,
                    found: format!("a source that cannot be read in pieces, with over {} bytes of pictures", options.max_memory),
                    wanted: "tars or Chinese-CLIP's files, which `hua data convert` makes of it, or a larger `max_memory`".into(),
                });
            }
        }
        self.pictures.push(NewPicture { name, source });
        self.described.push(false);
        Ok(Some(self.pictures.len() as u32 - 1))
    }

    /// Takes in a text, unless it is bad or the recipe leaves it out.
    fn text(&mut self, name: &str, mut text: NewText, options: &ReadOptions) {
        let trimmed = text.text.trim();
        if trimmed.is_empty() {
            return self.report.bad.add(name, "an empty text");
        }
        if text.pictures.is_empty() {
            return self.report.bad.add(name, "a text of no picture");
        }
        text.pictures.iter().for_each(|&picture| self.described[picture as usize] = true);
        if !wanted(&options.languages, &text.language, primary) || !wanted(&options.kinds, &text.kind, |kind| kind) {
            self.report.texts_left_out += 1;
            return;
        }
        if trimmed.len() != text.text.len() {
            text.text = trimmed.to_owned();
        }
        text.pictures.sort_unstable();
        text.pictures.dedup();
        self.texts.push(text);
    }

    /// Checks pictures, joins groups, finds what is equal.
    fn finish(mut self, what: &str, options: &ReadOptions) -> Result<PairSet> {
        let mut used = vec![false; self.pictures.len()];
        self.texts.iter().flat_map(|text| &text.pictures).for_each(|&picture| used[picture as usize] = true);
        for ((picture, _), _) in self.pictures.iter().zip(&self.described).zip(&used).filter(|((_, described), _)| !**described) {
            self.report.pictures_without_text.add(picture.name.clone(), "no text describes it");
        }
        let digests = self.check(&mut used, options);
        let listed = self.pictures.len() + self.texts.len();
        // What is bad may not be among what is listed, since it could not be read as anything.
        let all = listed as u64 + self.report.bad.count;
        if self.report.bad.count as f64 > options.max_bad * all as f64 {
            return Err(Error::BadData {
                name: what.to_owned(),
                found: format!("{} of {all} pictures and texts cannot be used{}", self.report.bad.count, self.report.bad.first()),
                wanted: format!("at most {} % (`max_bad`)", options.max_bad * 100.0),
            });
        }
        let set = self.join(&used, digests, options);
        if set.texts.is_empty() {
            let found = format!(
                "no pair: {} pictures without text, {} pictures and {} texts left out, {} bad",
                set.report.pictures_without_text.count, set.report.pictures_left_out, set.report.texts_left_out, set.report.bad.count
            );
            return Err(Error::BadData { name: what.to_owned(), found, wanted: "pictures with texts".into() });
        }
        Ok(set)
    }

    /// Reads every used picture once: those that are no pictures are used no more. Returns what their bytes have in common.
    fn check(&mut self, used: &mut [bool], options: &ReadOptions) -> Option<Vec<Digest128>> {
        if !options.check {
            return None;
        }
        let mut digests = vec![Digest128::default(); self.pictures.len()];
        let all: Vec<usize> = (0..self.pictures.len()).filter(|&picture| used[picture]).collect();
        for some in all.chunks(CHECKED_TOGETHER) {
            let checked: Vec<Result<Digest128, String>> = some.par_iter().map(|&picture| checked(&self.pictures[picture].source)).collect();
            for (&picture, checked) in some.iter().zip(checked) {
                match checked {
                    Ok(digest) => digests[picture] = digest,
                    Err(reason) => {
                        used[picture] = false;
                        self.report.bad.add(self.pictures[picture].name.clone(), reason);
                    }
                }
            }
        }
        Some(digests)
    }

    /// The set of what is used.
    fn join(self, used: &[bool], digests: Option<Vec<Digest128>>, options: &ReadOptions) -> PairSet {
        let Self { pictures, texts, mut report, .. } = self;
        // Places among those that stay.
        let mut place = vec![ALONE; pictures.len()];
        let mut set = PairSet::default();
        let mut picture_digests = vec![];
        for (old, NewPicture { name, source }) in pictures.into_iter().enumerate().filter(|(old, _)| used[*old]) {
            place[old] = set.pictures.len() as u32;
            set.names.push(&name);
            set.pictures.push(PictureRow { source, group: 0, class: ALONE });
            picture_digests.extend(digests.as_ref().map(|digests| digests[old]));
        }
        let mut links: Vec<(u32, u32)> = vec![];
        let mut text_digests = vec![];
        let (mut languages, mut kinds) = (Names::default(), Names::default());
        for NewText { text, language, kind, pictures } in texts {
            let number = set.texts.len() as u32;
            let before = links.len();
            links.extend(pictures.iter().map(|&old| place[old as usize]).filter(|&new| new != ALONE).map(|new| (number, new)));
            if links.len() == before {
                report.texts_left_out += 1;
                continue;
            }
            text_digests.push(digest(normalized(&text).as_bytes()));
            set.strings.push(&text);
            set.texts.push(TextRow { language: languages.number(language), kind: kinds.number(kind), group: 0, class: ALONE });
        }
        (set.languages, set.kinds) = (languages.names, kinds.names);
        let (picture_count, text_count) = (set.pictures.len(), set.texts.len());
        set.pictures_of_text = Lists::new(text_count, links.iter().copied());
        set.texts_of_picture = Lists::new(picture_count, links.iter().map(|&(text, picture)| (picture, text)));
        if options.duplicates == Duplicates::Ignore {
            picture_digests.clear();
            text_digests.clear();
        }
        let equal = [runs(&picture_digests, 0), runs(&text_digests, picture_count as u32)];

        // Pictures come first, then texts.
        let mut sets = Sets::new(picture_count + text_count);
        for &(text, picture) in &links {
            sets.join(picture, picture_count as u32 + text);
        }
        if options.duplicates == Duplicates::Join {
            equal.iter().flatten().for_each(|run| run.windows(2).for_each(|two| sets.join(two[0], two[1])));
        }
        let mut group_of_root = HashMap::new();
        let mut groups: Vec<u32> = vec![];
        for item in 0..(picture_count + text_count) as u32 {
            let next = group_of_root.len() as u32;
            groups.push(*group_of_root.entry(sets.of(item)).or_insert(next));
        }
        let mut class_groups: Vec<(u32, u32)> = vec![];
        let mut classes = 0;
        let mut class_of = vec![ALONE; picture_count + text_count];
        let mut counts = [0; 2];
        for (count, runs) in counts.iter_mut().zip(&equal) {
            for run in runs {
                let mut among: Vec<u32> = run.iter().map(|&item| groups[item as usize]).collect();
                among.sort_unstable();
                among.dedup();
                if among.len() > 1 {
                    run.iter().for_each(|&item| class_of[item as usize] = classes);
                    class_groups.extend(among.into_iter().map(|group| (classes, group)));
                    classes += 1;
                    *count += run.len();
                }
            }
        }
        set.groups_of_class = Lists::new(classes as usize, class_groups.iter().copied());
        for (item, row) in set.pictures.iter_mut().enumerate() {
            (row.group, row.class) = (groups[item], class_of[item]);
        }
        for (item, row) in set.texts.iter_mut().enumerate() {
            (row.group, row.class) = (groups[picture_count + item], class_of[picture_count + item]);
        }
        let members = |rows: std::ops::Range<usize>| groups[rows].iter().enumerate().map(|(item, &group)| (group, item as u32));
        set.pictures_of_group = Lists::new(group_of_root.len(), members(0..picture_count));
        set.texts_of_group = Lists::new(group_of_root.len(), members(picture_count..picture_count + text_count));
        (report.pictures, report.texts, report.groups) = (picture_count, text_count, group_of_root.len());
        [report.equal_pictures, report.equal_texts] = counts;
        set.report = report;
        set
    }
}

/// Names by number.
#[derive(Default)]
struct Names {
    names: Vec<String>,
    numbers: HashMap<String, u16>,
}

impl Names {
    /// The number of a name. What comes after 65,535 different ones is taken for the last.
    fn number(&mut self, name: String) -> u16 {
        if let Some(&number) = self.numbers.get(&name) {
            return number;
        }
        if self.names.len() == usize::from(u16::MAX) {
            return u16::MAX - 1;
        }
        let number = self.names.len() as u16;
        self.names.push(name.clone());
        self.numbers.insert(name, number);
        number
    }
}

/// Reads a picture and says what its bytes have in common with others, or what is wrong with it.
fn checked(source: &Source) -> Result<Digest128, String> {
    let bytes = source.read(LONGEST_PICTURE).map_err(|e| e.to_string())?;
    if hua_image::facts(&bytes).format.is_none() {
        return Err(hua_image::Format::of(&bytes).map_or_else(|e| e.to_string(), |format| format!("a {format} file without a size")));
    }
    Ok(digest(&bytes))
}

fn digest(bytes: &[u8]) -> Digest128 {
    let mut half = Digest128::default();
    half.copy_from_slice(&Sha256::digest(bytes)[..16]);
    half
}

/// A text without what nobody means: case, width and other forms of the same characters, spaces.
fn normalized(text: &str) -> String {
    let folded: String = text.nfkc().flat_map(char::to_lowercase).collect();
    folded.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The items, counted from `first`, that have equal digests, where there are several.
fn runs(digests: &[Digest128], first: u32) -> Vec<Vec<u32>> {
    let mut order: Vec<u32> = (0..digests.len() as u32).collect();
    order.sort_unstable_by_key(|&item| (digests[item as usize], item));
    let runs = order.chunk_by(|&a, &b| digests[a as usize] == digests[b as usize]).filter(|run| run.len() > 1);
    let mut runs: Vec<Vec<u32>> = runs.map(|run| run.iter().map(|item| first + item).collect()).collect();
    // By their first items: the order of hashes means nothing.
    runs.sort_unstable();
    runs
}

/// Whether a text of this language or kind is learnt.
fn wanted(list: &[String], name: &str, part: impl Fn(&str) -> &str) -> bool {
    list.is_empty() || name.is_empty() || list.iter().any(|wanted| wanted == name || wanted == part(name))
}

/// `pt` of `pt-BR`.
pub(super) fn primary(language: &str) -> &str {
    language.split(['-', '_']).next().unwrap_or(language)
}

/// Whether a name is what a pattern says, in which `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    let parts: Vec<&str> = pattern.split('*').collect();
    let [first, .., last] = &*parts else { return pattern == name };
    let Some(mut rest) = name.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else { return false };
    parts[1..parts.len() - 1].iter().all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name, expected) in [
            ("*3", "train_imgs.tsv#1203", true),
            ("*3", "train_imgs.tsv#1204", false),
            ("*_imgs.tsv#*3", "a/train_imgs.tsv#33", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("", "", true),
            ("x", "xy", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn texts_are_equal_whatever_their_case_width_and_spaces() {
        assert_eq!(normalized(" Ｃａｔ  FACE\t"), normalized("cat face"));
        assert_eq!(normalized("ﾈｺ"), normalized("ネコ"));
        assert_ne!(normalized("chat"), normalized("cat"));
    }
}
