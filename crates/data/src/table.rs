//! Tables that list pictures: CSV and TSV with a line of names, JSON lines, Parquet. A row names a file or holds its bytes, and says more of it.
//!
//! Columns are found by their names (open_clip's `filepath` and `title`, clip-retrieval's `image_path` and `caption`, the `image` of Hugging Face's data
//! sets with `bytes` and `path` within) or are told ([`Columns`](crate::Columns)). Relative paths are against the folder of the table. Rows that
//! name the same file one after another are one picture with several captions.
mod csv;
mod jsonl;
mod parquet;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::iter::Peekable;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value};

pub use self::parquet::{Column, write_table};
use crate::sidecar::Meaning;
use crate::sources::{Item, Items, file};
use crate::walk::{Found, name_of};
use crate::{Columns, Entry, Error, Failure, Kind, Options, Result, Source, decode_base64};

/// Names of columns that hold bytes, in base64 where the table is text; the first that is there counts.
const BYTES: [&str; 11] = ["image_bytes", "bytes", "image_base64", "img_base64", "base64", "b64", "jpg", "jpeg", "png", "webp", "blob"];
/// Names of columns that hold paths, the same.
const PATHS: [&str; 13] = [
    "filepath",
    "file_path",
    "image_path",
    "img_path",
    "path",
    "file_name",
    "filename",
    "image_file",
    "file",
    "image",
    "img",
    "picture",
    "photo",
];
/// No path of a file is longer; base64 of a picture is.
const LONGEST_PATH: usize = 1024;
/// Rows in which a picture must be found for the table to be one of pictures.
const ROWS_TO_CHECK: usize = 100;

/// One row, read but not yet understood.
#[derive(Debug, Default)]
struct Row {
    /// Counted from 1, without the line of names.
    number: u64,
    fields: Map<String, Value>,
    /// Fields that are bytes and no text.
    binary: Vec<(String, Vec<u8>)>,
}

type Rows = Box<dyn Iterator<Item = std::result::Result<Row, RowError>> + Send>;

/// Why a row cannot be had. After [`Self::Row`] the next one follows.
#[derive(Debug)]
enum RowError {
    Row(u64, String),
    Table(String),
}

impl RowError {
    fn failure(self, table: &str) -> Failure {
        match self {
            Self::Row(number, reason) => Failure { name: format!("{table}#{number}"), reason },
            Self::Table(reason) => Failure { name: table.to_owned(), reason },
        }
    }
}

/// Looks into a table without going through it.
pub(crate) fn check(path: &Path, kind: Kind, options: &Options) -> Result<()> {
    let (mut names, mut wrong) = (vec![], None);
    for row in rows(path, kind, options)?.take(ROWS_TO_CHECK) {
        match row {
            Ok(mut row) => {
                names = row.fields.keys().cloned().chain(row.binary.iter().map(|(name, _)| name.clone())).collect();
                if picture(&mut row, &options.columns).is_ok() {
                    return Ok(());
                }
            }
            Err(RowError::Row(number, reason)) => _ = wrong.get_or_insert(format!("has no sound row; row {number}: {reason}")),
            Err(RowError::Table(reason)) => {
                wrong = Some(reason);
                break;
            }
        }
    }
    let Columns { path: path_column, bytes, .. } = &options.columns;
    let found = match (names.is_empty(), wrong) {
        (true, None) => return Ok(()),
        (true, Some(wrong)) => wrong,
        (false, _) => {
            format!("has the columns {}, none with pictures", names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", "))
        }
    };
    let wanted = match path_column.as_ref().or(bytes.as_ref()) {
        Some(name) => format!("a column `{name}`"),
        None if kind == Kind::Jsonl => "an object a line, with a field like `path`, `image` or `image_bytes`".into(),
        None => "a column like `filepath`, `image` or `image_bytes`".into(),
    };
    Err(Error::Malformed { path: path.to_owned(), found, wanted })
}

/// The pictures of a table.
pub(crate) fn items(path: &Path, kind: Kind, options: &Options) -> Result<Items> {
    let rows = rows(path, kind, options)?;
    let metadata = std::fs::metadata(path).map_err(Error::io(path))?;
    let list = List { path: path.to_owned(), options: options.clone(), modified: crate::sources::modified(&metadata) };
    Ok(Box::new(Merged(rows.map(move |row| list.item(row)).peekable())))
}

/// The rows of a table as they are, whatever they are about: what holds text, numbers or lists, by the names of the columns. Of a table of text,
/// numbers are numbers where their column is neither a caption nor a tag.
///
/// # Errors
/// [`Error`] if it cannot be read as a whole; each row may be a [`Failure`], and the table ends behind one that leaves no way on.
pub fn read_table(
    path: &Path,
    options: &Options,
) -> Result<impl Iterator<Item = std::result::Result<Map<String, Value>, Failure>> + Send + use<>> {
    Ok(numbered(path, options)?.map(|row| row.map(|(_, fields)| fields)))
}

/// A row and its number.
type Numbered = (u64, Map<String, Value>);

/// The same, with the number of each row.
pub(crate) fn numbered(
    path: &Path,
    options: &Options,
) -> Result<impl Iterator<Item = std::result::Result<Numbered, Failure>> + Send + use<>> {
    let kind = Kind::of(path)?;
    if !matches!(kind, Kind::Csv | Kind::Jsonl | Kind::Parquet) {
        let wanted = "a table: CSV, TSV, JSON lines or Parquet".into();
        return Err(Error::Malformed { path: path.to_owned(), found: "is none by its name and content".into(), wanted });
    }
    let name = name_of(path);
    Ok(rows(path, kind, options)?.map(move |row| row.map(|row| (row.number, row.fields)).map_err(|e| e.failure(&name))))
}

fn rows(path: &Path, kind: Kind, options: &Options) -> Result<Rows> {
    match kind {
        Kind::Jsonl => Ok(jsonl::rows(open(path)?, options.max_bytes)),
        Kind::Parquet => parquet::rows(path, options.max_bytes),
        _ => csv::rows(path, open(path)?, options.max_bytes),
    }
}

/// The bytes of a file, out of gzip if they are in it, without the mark of Unicode.
pub(crate) fn open(path: &Path) -> Result<Box<dyn BufRead + Send>> {
    let file = File::open(path).map_err(Error::io(path))?;
    let mut reader = BufReader::with_capacity(256 << 10, file);
    let mut reader: Box<dyn BufRead + Send> = match reader.fill_buf().map_err(Error::io(path))? {
        [0x1f, 0x8b, ..] => Box::new(BufReader::with_capacity(256 << 10, MultiGzDecoder::new(reader))),
        _ => Box::new(reader),
    };
    if reader.fill_buf().is_ok_and(|head| head.starts_with(b"\xEF\xBB\xBF")) {
        reader.consume(3);
    }
    Ok(reader)
}

/// What all rows of a table share.
struct List {
    path: PathBuf,
    options: Options,
    modified: Option<i64>,
}

/// The picture of a row.
#[derive(Debug, PartialEq)]
enum Picture {
    Bytes(Vec<u8>),
    Path(String),
}

impl List {
    fn item(&self, row: std::result::Result<Row, RowError>) -> Item {
        let list = name_of(&self.path);
        let name = |number: u64| format!("{list}#{number}");
        let mut row = row.map_err(|e| e.failure(&list))?;
        let number = row.number;
        let failed = |reason| Failure { name: name(number), reason };
        let picture = picture(&mut row, &self.options.columns).map_err(failed)?;
        let mut entry = match picture {
            Picture::Bytes(bytes) => {
                let length = bytes.len() as u64;
                if length > self.options.max_bytes {
                    return Err(failed(format!("over {} bytes are too many for a picture", self.options.max_bytes)));
                }
                let mut entry = Entry::new(name(number), Source::Bytes(bytes));
                (entry.bytes, entry.modified) = (Some(length), self.modified);
                entry
            }
            Picture::Path(path) if path.contains("://") => {
                return Err(Failure { name: path, reason: "an address; hua reads files and downloads no pictures".into() });
            }
            Picture::Path(path) => {
                // What stands beside the file is not asked for: the table says it.
                let options = Options { sidecars: false, ..Options::default() };
                let path = self.path.parent().unwrap_or(Path::new("")).join(path);
                file(Found { path, class: None }, &options)?
            }
        };
        for name in &self.options.columns.captions {
            if let Some(mut value) = row.fields.remove(name) {
                if value.is_number() {
                    value = Value::String(value.to_string());
                }
                let language = if let Meaning::Caption(language) = Meaning::of(name) { language } else { None };
                entry.add_captions(language.as_deref(), &value);
            }
        }
        if !self.options.columns.captions.is_empty() {
            // Other columns may sound like captions and were not named.
            let (others, rest) = row.fields.into_iter().partition(|(name, _)| matches!(Meaning::of(name), Meaning::Caption(_)));
            (entry.meta, row.fields) = (Some(others), rest);
        }
        entry.add_fields(row.fields);
        Ok(entry)
    }
}

/// Whether a column of this name would be taken for that of the pictures.
pub(crate) fn is_picture_column(name: &str) -> bool {
    BYTES.iter().chain(&PATHS).any(|known| known.eq_ignore_ascii_case(name))
}

/// Takes the picture out of a row, or says why there is none.
fn picture(row: &mut Row, columns: &Columns) -> std::result::Result<Picture, String> {
    if let Some(name) = &columns.bytes {
        return named(row, name, true).unwrap_or_else(|| Err(format!("nothing in column `{name}`")));
    }
    if let Some(name) = &columns.path {
        return named(row, name, false).unwrap_or_else(|| Err(format!("nothing in column `{name}`")));
    }
    let found = BYTES.iter().map(|name| (name, true)).chain(PATHS.iter().map(|name| (name, false)));
    for (name, is_bytes) in found {
        // Names are compared without regard to capitals: `Image_Path`.
        let names = row.fields.keys().chain(row.binary.iter().map(|(name, _)| name));
        let own = names.into_iter().find(|own| own.eq_ignore_ascii_case(name)).cloned();
        if let Some(picture) = own.and_then(|own| named(row, &own, is_bytes)) {
            return picture;
        }
    }
    match &*row.binary {
        [_] => Ok(Picture::Bytes(row.binary.remove(0).1)),
        _ => Err("no picture in this row".into()),
    }
}

/// The picture in the field of this name, if something is there.
fn named(row: &mut Row, name: &str, is_bytes: bool) -> Option<std::result::Result<Picture, String>> {
    if let Some(at) = row.binary.iter().position(|(own, _)| own == name) {
        return Some(Ok(Picture::Bytes(row.binary.swap_remove(at).1)));
    }
    let base64 = |text: &str| decode_base64(text.trim()).map(Picture::Bytes).map_err(|e| format!("bad base64 in `{name}` ({e})"));
    match row.fields.get(name)? {
        Value::String(text) if text.is_empty() => return None,
        Value::String(_) => {}
        // {"bytes": ..., "path": ...}
        Value::Object(_) => {
            let Some(Value::Object(mut image)) = row.fields.remove(name) else { return None };
            let text = |value: Option<Value>| value.and_then(|v| if let Value::String(text) = v { Some(text) } else { None });
            let (bytes, path) = (text(image.remove("bytes")), text(image.remove("path")));
            return match (bytes, path) {
                (Some(bytes), _) => Some(base64(&bytes)),
                (None, path) => path.map(|path| Ok(Picture::Path(path))),
            };
        }
        _ => return None,
    }
    let Some(Value::String(text)) = row.fields.remove(name) else { return None };
    if let Some((_, encoded)) = text.strip_prefix("data:").and_then(|data| data.split_once(";base64,")) {
        return Some(base64(encoded));
    }
    Some(if is_bytes || text.len() > LONGEST_PATH { base64(&text) } else { Ok(Picture::Path(text)) })
}

/// Entries of the same file one after another as one.
struct Merged<I: Iterator<Item = Item>>(Peekable<I>);

impl<I: Iterator<Item = Item>> Iterator for Merged<I> {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        let mut item = self.0.next()?;
        if let Ok(entry) = &mut item
            && matches!(entry.source, Source::File(_))
        {
            let source = entry.source.clone();
            while let Some(Ok(next)) = self.0.next_if(|next| next.as_ref().is_ok_and(|next| next.source == source)) {
                next.captions.iter().for_each(|caption| entry.add_caption(caption.language.as_deref(), &caption.text));
                next.tags.iter().for_each(|tag| entry.add_tag(tag));
            }
        }
        Some(item)
    }
}

#[cfg(test)]
mod tests;
