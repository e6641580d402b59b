//! Chinese-CLIP's data format: a TSV of pictures and a JSONL of texts for each split.
//!
//! `SPLIT_imgs.tsv` has `id`, a tab and the picture file in base64; `SPLIT_texts.jsonl` has `text_id`, `text` and `image_ids`. Ids may be numbers, as
//! upstream wants, or any strings; base64 may be of the standard or the URL-safe alphabet, padded or not. For an evaluation every
//! line counts ([`Split`]); as a source of pictures a bad line is passed over and reported.
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Deserializer};

use crate::kind::is_chinese_clip;
use crate::lines::{Line, LineError, Lines};
use crate::sources::{Items, modified};
use crate::walk::name_of;
use crate::{Caption, Coding, Entry, Error, Failure, Options, Result, Source, decode_base64};

/// The longest line that is read: a picture file of 192 MB.
const LONGEST_LINE: u64 = 256 << 20;
/// What a line of pictures should be, and one of texts.
const IMAGE_LINE: &str = "an id, a tab and base64";
const TEXT_LINE: &str = "an object with `text` and `image_ids`";

/// One line of `SPLIT_texts.jsonl`.
#[derive(Clone, Debug, Deserialize)]
pub struct TextRecord {
    /// Its number or name in the file, if it has one.
    #[serde(default, deserialize_with = "id")]
    pub text_id: Option<String>,
    /// The text.
    pub text: String,
    /// The pictures it describes.
    #[serde(deserialize_with = "ids")]
    pub image_ids: Vec<String>,
    /// Its language, if the data set says so.
    pub lang: Option<String>,
    /// What kind of text it is, if the data set says so: a caption, a name, keywords.
    #[serde(default, deserialize_with = "word")]
    pub kind: Option<String>,
}

/// A split: texts in memory, pictures read one by one.
#[derive(Debug)]
pub struct Split {
    /// `SPLIT_imgs.tsv`.
    pub images_path: PathBuf,
    /// `SPLIT_texts.jsonl`.
    pub texts_path: PathBuf,
    /// The texts in the order of the file.
    pub texts: Vec<TextRecord>,
}

impl Split {
    /// Opens split `split` of the folder `data`.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Line`].
    pub fn read(data: &Path, split: &str) -> Result<Self> {
        let images_path = data.join(format!("{split}_imgs.tsv"));
        let texts_path = data.join(format!("{split}_texts.jsonl"));
        let texts = texts(&texts_path)?.collect::<Result<_>>()?;
        Ok(Self { images_path, texts_path, texts })
    }

    /// How many pictures there are.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Line`].
    pub fn image_count(&self) -> Result<usize> {
        lines(&self.images_path)?.try_fold(0, |count, line| line.map(|_| count + 1))
    }

    /// Each picture's id and the bytes of its file.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be opened; each item may be [`Error::Line`].
    pub fn images(&self) -> Result<impl Iterator<Item = Result<(String, Vec<u8>)>> + use<>> {
        let path = self.images_path.clone();
        Ok(lines(&path)?.map(move |line| {
            let line = line?;
            let (id, encoded) = id_and_base64(&path, &line)?;
            let bytes = decode_base64(line.bytes[encoded..].trim_ascii()).map_err(|e| Error::Line {
                path: path.clone(),
                line: line.number,
                found: format!("bad base64 ({e})"),
                wanted: IMAGE_LINE,
            })?;
            Ok((id, bytes))
        }))
    }
}

/// The files of pictures that `path` is or has, of the split `split` if it is given.
pub(crate) fn image_files(path: &Path, split: Option<&str>) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let wanted = |file: &PathBuf| match split {
        Some(split) => file.file_name().is_some_and(|name| name.to_string_lossy() == format!("{split}_imgs.tsv")),
        None => is_chinese_clip(file),
    };
    let entries = fs::read_dir(path).map_err(Error::io(path))?.flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(wanted).collect();
    files.sort();
    if files.is_empty() {
        let wanted = format!("`{}_imgs.tsv`", split.unwrap_or("SPLIT"));
        return Err(Error::Malformed { path: path.to_owned(), found: "has no such split".into(), wanted });
    }
    Ok(files)
}

/// The pictures of one file with the texts of the file beside it. The texts are held in memory; the pictures stay where they are until they are
/// read.
pub(crate) fn items(path: &Path, options: &Options) -> Result<Items> {
    let mut failures = vec![];
    let texts = texts_path(path);
    let mut captions = captions(&texts, &mut failures);
    let modified = fs::metadata(path).ok().and_then(|metadata| modified(&metadata));
    let (path, file, most) = (path.to_owned(), Arc::<Path>::from(path), options.max_bytes);
    let mut lines = lines(&path)?;
    let picture = move |line: Result<Line>, captions: &mut HashMap<String, Vec<Caption>>| {
        let read = line.and_then(|line| id_and_base64(&path, &line).map(|(id, encoded)| (id, encoded, line)));
        let (id, encoded, line) = read.map_err(|e| Failure { name: name_of(&path), reason: e.reason() })?;
        let name = format!("{}#{id}", name_of(&path));
        let (offset, length) = (line.offset + encoded as u64, (line.bytes.len() - encoded) as u64);
        if length / 4 * 3 > most {
            return Err(Failure { name, reason: format!("over {most} bytes are too many for a picture") });
        }
        let mut entry = Entry::new(name, Source::Part { file: file.clone(), offset, length, coding: Coding::Base64 });
        entry.captions = captions.remove(&id).unwrap_or_default();
        entry.bytes = Some(length / 4 * 3);
        entry.modified = modified;
        Ok(entry)
    };
    let mut lost: Option<std::vec::IntoIter<Failure>> = None;
    let pictures = std::iter::from_fn(move || match lines.next() {
        Some(line) => Some(picture(line, &mut captions)),
        None => lost.get_or_insert_with(|| without_pictures(std::mem::take(&mut captions), &texts)).next().map(Err),
    });
    Ok(Box::new(failures.into_iter().map(Err).chain(pictures)))
}

/// The pictures that texts name and that are not there, in the order of their ids.
fn without_pictures(captions: HashMap<String, Vec<Caption>>, texts: &Path) -> std::vec::IntoIter<Failure> {
    let mut left: Vec<_> = captions.into_iter().collect();
    left.sort();
    let failure = |(id, captions): (String, Vec<Caption>)| {
        let first = captions.first().map(|caption| caption.text.chars().take(40).collect::<String>()).unwrap_or_default();
        let texts_of_it = if captions.len() == 1 { "a text names".to_owned() } else { format!("{} texts name", captions.len()) };
        Failure { name: name_of(texts), reason: format!("{texts_of_it} picture `{id}`, which is not there: `{first}`") }
    };
    left.into_iter().map(failure).collect::<Vec<_>>().into_iter()
}

/// What the texts beside `images`, which is `SPLIT_imgs.tsv`, say beside text, pictures and language: how many of them, by the field.
///
/// # Errors
/// [`Error::Io`] if the file cannot be opened; bad lines say nothing here.
pub fn other_fields(images: &Path) -> Result<BTreeMap<String, u64>> {
    let mut fields = BTreeMap::new();
    let path = texts_path(images);
    if !path.exists() {
        return Ok(fields);
    }
    for line in lines(&path)?.flatten() {
        let record: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&line.bytes).unwrap_or_default();
        for (name, _) in record.into_iter().filter(|(name, _)| !["text", "image_ids", "lang"].contains(&&**name)) {
            *fields.entry(name).or_default() += 1;
        }
    }
    Ok(fields)
}

/// `SPLIT_texts.jsonl` for `SPLIT_imgs.tsv`.
fn texts_path(images: &Path) -> PathBuf {
    let name = images.file_name().unwrap_or_default().to_string_lossy();
    images.with_file_name(format!("{}_texts.jsonl", name.strip_suffix("_imgs.tsv").unwrap_or(&name)))
}

/// The texts of the file at `path` by picture; a file that is not there has none.
pub(crate) fn captions(path: &Path, failures: &mut Vec<Failure>) -> HashMap<String, Vec<Caption>> {
    let mut captions: HashMap<String, Vec<Caption>> = HashMap::new();
    let mut fail = |e: Error| failures.push(Failure { name: name_of(path), reason: e.reason() });
    match texts(path) {
        Ok(records) => {
            for record in records {
                match record {
                    Ok(TextRecord { text, image_ids, lang, .. }) => {
                        for id in image_ids {
                            captions.entry(id).or_default().push(Caption { language: lang.clone(), text: text.trim().to_owned() });
                        }
                    }
                    Err(e) => fail(e),
                }
            }
        }
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => fail(e),
    }
    captions
}

/// The texts of `SPLIT_texts.jsonl` beside `images`, which is `SPLIT_imgs.tsv`, one at a time; none if there is no such file.
///
/// # Errors
/// [`Error::Io`] if the file cannot be opened; each record may be [`Error::Line`].
pub fn records(images: &Path) -> Result<impl Iterator<Item = Result<TextRecord>> + use<>> {
    let records = match texts(&texts_path(images)) {
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => None,
        records => Some(records?),
    };
    Ok(records.into_iter().flatten())
}

/// The records of a file of texts; empty lines are none.
fn texts(path: &Path) -> Result<impl Iterator<Item = Result<TextRecord>> + use<>> {
    let path = path.to_owned();
    let records = lines(&path)?.filter(|line| !line.as_ref().is_ok_and(|line| line.bytes.trim_ascii().is_empty()));
    Ok(records.map(move |line| {
        let line = line?;
        serde_json::from_slice(&line.bytes).map_err(|e| Error::Line {
            path: path.clone(),
            line: line.number,
            found: e.to_string(),
            wanted: TEXT_LINE,
        })
    }))
}

/// The id in a line of pictures, and where in the line its base64 begins.
fn id_and_base64(path: &Path, line: &Line) -> Result<(String, usize)> {
    let fault = |found: &str| Error::Line { path: path.to_owned(), line: line.number, found: found.into(), wanted: IMAGE_LINE };
    let tab = line.bytes.iter().position(|&byte| byte == b'\t').ok_or_else(|| fault("no tab"))?;
    let id = std::str::from_utf8(&line.bytes[..tab]).map_err(|_| fault("an id that is no UTF-8"))?;
    Ok((id.to_owned(), tab + 1))
}

/// The lines of a file.
fn lines(path: &Path) -> Result<impl Iterator<Item = Result<Line>> + use<>> {
    let path = path.to_owned();
    let file = File::open(&path).map_err(Error::io(&path))?;
    Ok(Lines::new(BufReader::with_capacity(1 << 20, file), LONGEST_LINE).map(move |line| {
        line.map_err(|e| match e {
            LineError::Io(source) => Error::Io { path: path.clone(), source },
            LineError::Long { number, .. } => Error::Line {
                path: path.clone(),
                line: number,
                found: "a line of over 256 MiB".into(),
                wanted: "lines of single pictures or texts",
            },
        })
    }))
}

/// An id as it is written: a number, as upstream wants, or any string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Number(i64),
    Text(String),
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        match id {
            Id::Number(n) => n.to_string(),
            Id::Text(text) => text,
        }
    }
}

fn id<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<String>, D::Error> {
    Ok(Option::<Id>::deserialize(deserializer)?.map(String::from))
}

/// A word, whatever it was written as: a field that is none of the format's must not spoil a record.
fn word<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<String>, D::Error> {
    Ok(match Option::<serde_json::Value>::deserialize(deserializer)? {
        None => None,
        Some(serde_json::Value::String(word)) => Some(word),
        Some(other) => Some(other.to_string()),
    })
}

fn ids<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<String>, D::Error> {
    Ok(Vec::<Id>::deserialize(deserializer)?.into_iter().map(String::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sources;

    fn folder(images: &str, texts: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("test_imgs.tsv"), images).unwrap();
        fs::write(folder.path().join("test_texts.jsonl"), texts).unwrap();
        folder
    }

    #[test]
    fn both_base64_alphabets_and_both_kinds_of_id_are_read() {
        let texts = "{\"text_id\": 1, \"text\": \"虹\", \"image_ids\": [7, \"a/b\"], \"lang\": \"ja\", \"other\": {}}\n\n";
        let folder = folder("7\t+/8=\na/b\t-_8\n", texts);
        let split = Split::read(folder.path(), "test").unwrap();
        assert_eq!((split.texts[0].text_id.as_deref(), &*split.texts[0].image_ids), (Some("1"), &["7".to_owned(), "a/b".to_owned()][..]));
        let images: Vec<_> = split.images().unwrap().map(|image| image.unwrap()).collect();
        assert_eq!(images, [("7".to_owned(), vec![251, 255]), ("a/b".to_owned(), vec![251, 255])]);
        assert_eq!(split.image_count().unwrap(), 2);
    }

    #[test]
    fn a_bad_line_is_named() {
        let folder = folder("7 no tab\n", "{\"text\": \"x\", \"image_ids\": []}\n{\"text\": 5}\n");
        let error = Split::read(folder.path(), "test").unwrap_err().to_string();
        assert!(error.contains("test_texts.jsonl` line 2: "), "{error}");
        fs::write(folder.path().join("test_texts.jsonl"), "").unwrap();
        let error = Split::read(folder.path(), "test").unwrap().images().unwrap().next().unwrap().unwrap_err().to_string();
        assert!(error.ends_with("line 1: no tab, wanted an id, a tab and base64"), "{error}");
        assert!(matches!(Split::read(folder.path(), "dev"), Err(Error::Io { .. })));
    }

    #[test]
    fn as_a_source_bad_lines_are_passed_over_and_reported() {
        let texts = "{\"text\": \"一\", \"image_ids\": [7]}\nnot JSON\n{\"text\": \"二\", \"image_ids\": [7, 8]}\n";
        let folder = folder("7\t+/8=\r\nno tab\n8\t!!!!\n", texts);
        let items: Vec<_> = Sources::open(&[folder.path().to_owned()], &Options::default()).unwrap().collect();
        let reason = |item: usize| items[item].as_ref().unwrap_err().reason.clone();
        assert!(reason(0).contains("line 2: expected"), "{}", reason(0));
        assert!(reason(2).contains("line 2: no tab"), "{}", reason(2));
        let entry = items[1].as_ref().unwrap();
        assert!(entry.name.ends_with("test_imgs.tsv#7"), "{}", entry.name);
        assert_eq!(entry.captions.iter().map(|c| &*c.text).collect::<Vec<_>>(), ["一", "二"]);
        assert_eq!(*entry.source.read(100).unwrap(), [251, 255]);
        assert!(items[3].as_ref().unwrap().source.read(100).unwrap_err().to_string().contains("bad base64"));
        assert_eq!(items.len(), 4);
    }

    #[test]
    fn texts_of_pictures_that_are_not_there_are_failures() {
        let texts = "{\"text\": \"a cat\", \"image_ids\": [7, 9], \"kind\": 1}\n{\"text\": \"b\", \"image_ids\": [9, 8]}\n";
        let folder = folder("7\t+/8=\n", texts);
        let items: Vec<_> = Sources::open(&[folder.path().to_owned()], &Options::default()).unwrap().collect();
        assert_eq!(items[0].as_ref().unwrap().captions.len(), 1);
        let reasons: Vec<_> = items[1..].iter().map(|item| &*item.as_ref().unwrap_err().reason).collect();
        assert_eq!(reasons, ["a text names picture `8`, which is not there: `b`", "2 texts name picture `9`, which is not there: `a cat`"]);
        assert_eq!(other_fields(&folder.path().join("test_imgs.tsv")).unwrap(), BTreeMap::from([("kind".to_owned(), 1)]));
    }

    #[test]
    fn a_split_may_be_chosen() {
        let folder = folder("7\t+/8=\n", "");
        fs::write(folder.path().join("train_imgs.tsv"), "1\t+/8=\n2\t+/8=\n").unwrap();
        let count = |split: Option<&str>| {
            let options = Options { split: split.map(str::to_owned), ..Options::default() };
            Sources::open(&[folder.path().to_owned()], &options).map(Iterator::count)
        };
        assert_eq!(count(None).unwrap(), 3);
        assert_eq!(count(Some("train")).unwrap(), 2);
        assert!(count(Some("valid")).unwrap_err().to_string().ends_with("has no such split; wanted `valid_imgs.tsv`"));
    }
}
