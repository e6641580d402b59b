//! A picture on its way from one form into another: its id, a name for files, its bytes or its path, and what stands beside it.
use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::draft::DraftFolder;
use super::no_utf8;
use crate::sidecar::Meaning;
use crate::walk::{EXTENSIONS, is_picture};
use crate::{Caption, Entry, Result, Source, table};

/// The longest name of a file that is made of an id, in characters.
const LONGEST_KEY: usize = 64;

/// A picture as forms take it.
pub(super) struct Sample<'a> {
    /// As its source has it.
    pub id: String,
    /// The id as a name of a file: letters, digits, `-` and `_`.
    pub key: String,
    /// Of the file, by content; by its name if the content says nothing.
    pub extension: &'static str,
    /// Empty if there is a path.
    pub bytes: Cow<'a, [u8]>,
    /// Its file, for forms that name files.
    pub path: Option<PathBuf>,
    /// Bytes of the file.
    pub length: u64,
    pub captions: Vec<&'a Caption>,
    pub tags: &'a [String],
    pub meta: Map<String, Value>,
}

impl<'a> Sample<'a> {
    /// Reads the picture, or only looks whether it is there if a path is enough.
    pub fn of(entry: &'a Entry, most: u64, takes_paths: bool) -> std::result::Result<Self, String> {
        let mut meta = entry.meta.clone().unwrap_or_default();
        let id = match meta.remove("id").or_else(|| meta.remove("key")) {
            Some(Value::String(id)) if !id.trim().is_empty() => id,
            Some(Value::Number(id)) => id.to_string(),
            _ => id_of(&entry.name),
        };
        let (bytes, path) = match &entry.source {
            Source::File(path) if takes_paths => (Cow::Borrowed(&[][..]), Some(path.clone())),
            source => (source.read(most).map_err(|e| e.to_string())?, None),
        };
        let length = match &path {
            Some(path) => path.metadata().map_err(|e| e.to_string())?.len(),
            None => bytes.len() as u64,
        };
        if length == 0 {
            return Err("the picture file is empty".into());
        }
        let by_name =
            || EXTENSIONS.iter().find(|known| Path::new(&entry.name).extension().is_some_and(|own| own.eq_ignore_ascii_case(known)));
        let extension = extension_of(&bytes).or_else(|| by_name().copied());
        // A table needs no name for it, an archive and a folder do.
        let extension = extension.unwrap_or("");
        let captions = entry.captions.iter().filter(|caption| !caption.text.is_empty()).collect();
        Ok(Self { key: key_of(&id), id, extension, bytes, path, length, captions, tags: &entry.tags, meta })
    }

    /// Changes id and key if they were given away before; true if the id was.
    pub fn make_unique(&mut self, given: &mut HashSet<u64>) -> bool {
        // Of ids the hashes: at a hundred million of them one may be renamed for nothing.
        let mut take = |kind: u8, text: &str| {
            let mut hasher = DefaultHasher::new();
            // Many file systems do not tell capitals apart.
            (kind, text.to_lowercase()).hash(&mut hasher);
            given.insert(hasher.finish())
        };
        let mut unique = |kind: u8, text: &mut String| {
            if take(kind, text) {
                return false;
            }
            let numbered = (2_u64..).map(|n| format!("{text}-{n}")).find(|other| take(kind, other));
            *text = numbered.expect("numbers do not end");
            true
        };
        let renamed = unique(0, &mut self.id);
        unique(1, &mut self.key);
        renamed
    }

    /// The name of its file, or why it can have none.
    pub fn file_name(&self) -> std::result::Result<String, String> {
        match self.extension {
            "" => Err("it is in no format that hua knows, so its file has no name".into()),
            extension => Ok(format!("{}.{extension}", self.key)),
        }
    }

    /// Captions as JSON: a list of `{"language", "text"}`, and of texts where no language is said.
    pub fn captions_json(&self) -> Value {
        let caption = |caption: &&Caption| match &caption.language {
            Some(language) => json!({ "language": language, "text": caption.text }),
            None => json!(caption.text),
        };
        self.captions.iter().map(caption).collect()
    }

    /// All but the picture as one object. Fields keep their names, but for those that would mean something else here: they are in `meta`.
    pub fn object(&self) -> Map<String, Value> {
        let mut fields = Map::from_iter([("id".to_owned(), json!(self.id))]);
        if !self.captions.is_empty() {
            fields.insert("captions".into(), self.captions_json());
        }
        if !self.tags.is_empty() {
            fields.insert("tags".into(), json!(self.tags));
        }
        let taken =
            |name: &str| ["id", "key", "meta"].contains(&name) || Meaning::of(name) != Meaning::Other || table::is_picture_column(name);
        let (hidden, open): (Map<_, _>, Map<_, _>) = self.meta.clone().into_iter().partition(|(name, _)| taken(name));
        fields.extend(open);
        if !hidden.is_empty() {
            fields.insert("meta".into(), Value::Object(hidden));
        }
        fields
    }

    /// What stands in the JSON beside a picture.
    pub fn sidecar(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec(&self.object()).expect("JSON of JSON");
        text.push(b'\n');
        text
    }
}

/// The id that a name says: behind the `#` of a list, the member of an archive without its ending, or the name of a file without it.
fn id_of(name: &str) -> String {
    let own = name.rsplit_once('!').map_or(name, |(_, member)| member);
    if let Some((list, id)) = own.rsplit_once('#').filter(|(list, id)| !id.is_empty() && !is_picture(Path::new(id)) && !list.is_empty()) {
        // `photos/a#b/c` is no list.
        if !id.contains('/') || list.ends_with("_imgs.tsv") {
            return id.to_owned();
        }
    }
    let base = own.rsplit('/').next().unwrap_or(own);
    let stem = if is_picture(Path::new(base)) { base.rsplit_once('.').map_or(base, |(stem, _)| stem) } else { base };
    if stem.is_empty() { own.to_owned() } else { stem.to_owned() }
}

/// An id as the name of a file.
pub(super) fn key_of(id: &str) -> String {
    let safe = |c: char| if c.is_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
    let key: String = id.chars().map(safe).take(LONGEST_KEY).collect();
    if key.is_empty() { "_".into() } else { key }
}

/// The usual ending for a picture file with this content.
fn extension_of(bytes: &[u8]) -> Option<&'static str> {
    Some(match bytes {
        [0xFF, 0xD8, 0xFF, ..] => "jpg",
        [0x89, b'P', b'N', b'G', ..] => "png",
        [b'G', b'I', b'F', b'8', ..] => "gif",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "webp",
        [b'B', b'M', ..] => "bmp",
        [_, _, _, _, b'f', b't', b'y', b'p', b'a', b'v', b'i', ..] => "avif",
        [_, _, _, _, b'f', b't', b'y', b'p', b'h' | b'm', ..] => "heic",
        // TIFF is also what most RAW files are inside: their names say more.
        _ => return None,
    })
}

/// The files that a table of paths names: where they are, or in a folder beside the table.
pub(super) struct Places {
    table: PathBuf,
    folder: Option<DraftFolder>,
}

impl Places {
    pub fn begin(table: &Path) -> Self {
        Self { table: table.to_owned(), folder: None }
    }

    /// Gives a picture the path that the table is to name: relative to the table if it lies below its folder, else absolute.
    pub fn place(&mut self, sample: &mut Sample) -> Result<std::result::Result<(), String>> {
        if let Some(path) = &sample.path {
            let beside = self.table.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let (Ok(own), Ok(beside)) = (path.canonicalize(), beside.canonicalize()) else {
                return Ok(Err("its file has gone".into()));
            };
            let own = own.strip_prefix(&beside).map_or(own.clone(), Path::to_owned);
            if own.to_str().is_none_or(|path| path.contains("://")) {
                return Ok(Err(no_utf8(&own)));
            }
            sample.path = Some(own);
            return Ok(Ok(()));
        }
        let name = match sample.file_name() {
            Ok(name) => name,
            Err(reason) => return Ok(Err(reason)),
        };
        if self.folder.is_none() {
            let stem = self.table.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            self.folder = Some(DraftFolder::begin(&self.table.with_file_name(format!("{stem}_pictures")))?);
        }
        let folder = self.folder.as_ref().expect("just made");
        folder.write(Path::new(&name), &sample.bytes)?;
        sample.path = Some(Path::new(folder.path().file_name().unwrap_or_default()).join(name));
        Ok(Ok(()))
    }

    pub fn finish(&mut self) -> Result<Option<PathBuf>> {
        self.folder.take().map(DraftFolder::finish).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_what_the_name_says() {
        for (name, id) in [
            ("data/train_imgs.tsv#a/b.png", "b"),
            ("data/train_imgs.tsv#a/b", "a/b"),
            ("data/train_imgs.tsv#7", "7"),
            ("list.csv#12", "12"),
            ("a.tar!000/0001.jpg", "0001"),
            ("photos/猫.JPG", "猫"),
            ("photos/a#b.jpg", "a#b"),
            ("photos/c#/d", "d"),
            ("x", "x"),
        ] {
            assert_eq!(id_of(name), id, "{name}");
        }
        assert_eq!((key_of("a/b.c 猫").as_str(), key_of("").as_str()), ("a_b_c_猫", "_"));
    }

    #[test]
    fn ids_that_come_again_get_a_number() {
        let entries = ["A", "a", "a/b", "a_b", "A"].map(|id| Entry::new(format!("x_imgs.tsv#{id}"), Source::Bytes(b"BM?".to_vec())));
        let mut given = HashSet::new();
        let mut seen = vec![];
        for entry in &entries {
            let mut sample = Sample::of(entry, 100, false).unwrap();
            let renamed = sample.make_unique(&mut given);
            seen.push((sample.id.clone(), sample.key.clone(), renamed));
        }
        let seen: Vec<_> = seen.iter().map(|(id, key, renamed)| (&**id, &**key, *renamed)).collect();
        assert_eq!(seen, [("A", "A", false), ("a-2", "a-2", true), ("a/b", "a_b", false), ("a_b", "a_b-2", false), ("A-3", "A-3", true)]);
    }
}
