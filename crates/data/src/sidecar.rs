//! What stands beside a picture: captions in `name.txt`, and whatever `name.json` says.
//!
//! That is how img2dataset and webdataset lay out their samples, in folders and in archives; tables have the same names as columns. Which names mean
//! captions and tags is decided here once.
use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};

use crate::{Caption, Entry};

/// The longest text or JSON that is read beside a picture, in bytes.
pub(crate) const LONGEST: u64 = 4 << 20;
/// Endings of files that are one caption.
const TEXTS: [&str; 3] = ["caption", "text", "txt"];
/// Names of fields that are captions; a language may follow, as in `caption_zh`.
const CAPTIONS: [&str; 9] = ["alt", "alt_text", "caption", "captions", "description", "query", "text", "texts", "title"];
/// Names of fields that are tags. Of the plural ones a text is a list.
const TAGS: [&str; 6] = ["class", "keywords", "label", "labels", "tag", "tags"];

/// What a field is, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Captions, in this language if it says so.
    Caption(Option<String>),
    /// The language of the captions without one.
    Language,
    /// Anything else.
    Other,
    /// Tags, and whether a text is a list of them.
    Tags { list: bool },
}

impl Meaning {
    pub(crate) fn of(name: &str) -> Self {
        let name = name.trim();
        let lower = name.to_ascii_lowercase();
        if TAGS.contains(&&*lower) {
            return Self::Tags { list: lower.ends_with('s') && lower != "class" };
        }
        if lower == "lang" || lower == "language" {
            return Self::Language;
        }
        if CAPTIONS.contains(&&*lower) {
            return Self::Caption(None);
        }
        // `caption_zh`, `title-pt-BR`: letters of a language, then at most a script or region.
        for caption in CAPTIONS {
            if let Some(rest) = lower.strip_prefix(caption)
                && let Some(tag) = rest.strip_prefix(['_', '-', '.'])
            {
                let tag = &name[name.len() - tag.len()..];
                if is_language(tag) {
                    return Self::Caption(Some(tag.replace('_', "-")));
                }
            }
        }
        Self::Other
    }
}

/// Names of fields that hold lists; the text in a cell of a table may be such a list, or `meta` an object, as JSON.
const LISTS: [&str; 6] = ["captions", "keywords", "labels", "meta", "tags", "texts"];

/// A value, or what it holds as JSON.
fn unpacked<'a>(name: &str, value: &'a Value) -> Cow<'a, Value> {
    match value {
        Value::String(text) if LISTS.iter().any(|list| name.eq_ignore_ascii_case(list)) && text.starts_with(['[', '{']) => {
            serde_json::from_str(text).map_or(Cow::Borrowed(value), Cow::Owned)
        }
        value => Cow::Borrowed(value),
    }
}

/// Whether this looks like `zh`, `yue`, `pt-BR` or `zh_Hant`.
fn is_language(tag: &str) -> bool {
    let mut parts = tag.split(['-', '_']);
    let letters = |part: &str, lengths: &[usize]| lengths.contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphabetic());
    parts.next().is_some_and(|language| letters(language, &[2, 3]))
        && parts.next().is_none_or(|region| letters(region, &[2, 4]))
        && parts.next().is_none()
}

impl Entry {
    /// Adds a caption, unless it is empty or there already.
    pub(crate) fn add_caption(&mut self, language: Option<&str>, text: &str) {
        let text = text.trim();
        // The JSON beside a text says which language it is in.
        if let Some(known) = self.captions.iter_mut().find(|caption| caption.text == text && caption.language.is_none()) {
            known.language = language.map(str::to_owned);
            return;
        }
        let known = |caption: &Caption| caption.text == text && (language.is_none() || caption.language.as_deref() == language);
        if !text.is_empty() && !self.captions.iter().any(known) {
            self.captions.push(Caption { language: language.map(str::to_owned), text: text.to_owned() });
        }
    }

    pub(crate) fn add_tag(&mut self, tag: &str) {
        let tag = tag.trim();
        if !tag.is_empty() && !self.tags.iter().any(|known| known == tag) {
            self.tags.push(tag.to_owned());
        }
    }

    /// Takes captions and tags out of fields by their names, and keeps the other fields as they are.
    pub(crate) fn add_fields(&mut self, fields: Map<String, Value>) {
        let language = fields.iter().find(|(name, _)| Meaning::of(name) == Meaning::Language).and_then(|(_, value)| value.as_str());
        let mut meta = self.meta.take().unwrap_or_default();
        for (name, value) in &fields {
            let value = &*unpacked(name, value);
            match Meaning::of(name) {
                Meaning::Caption(own) => self.add_captions(own.as_deref().or(language), value),
                Meaning::Tags { list } => self.add_tags(value, list),
                Meaning::Language => {}
                // Where hua keeps the fields of another form.
                Meaning::Other if name == "meta" && value.is_object() => {
                    meta.extend(value.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())))
                }
                Meaning::Other => _ = meta.insert(name.clone(), value.clone()),
            }
        }
        self.meta = (!meta.is_empty()).then_some(meta);
    }

    /// A text, a list of texts or of `{"language", "text"}`, or texts by language.
    pub(crate) fn add_captions(&mut self, language: Option<&str>, value: &Value) {
        match value {
            Value::String(text) => self.add_caption(language, text),
            Value::Array(texts) => {
                for text in texts {
                    let field = |names: [&str; 2]| names.iter().find_map(|name| text.get(name)).and_then(Value::as_str);
                    match text.as_str() {
                        Some(text) => self.add_caption(language, text),
                        None => field(["text", "caption"])
                            .into_iter()
                            .for_each(|text| self.add_caption(field(["language", "lang"]).or(language), text)),
                    }
                }
            }
            Value::Object(by_language) => {
                for (key, value) in by_language {
                    if !value.is_object() {
                        self.add_captions(if is_language(key) { Some(key) } else { language }, value);
                    }
                }
            }
            _ => {}
        }
    }

    pub(crate) fn add_tags(&mut self, value: &Value, list: bool) {
        match value {
            Value::String(text) if list => text.split([',', ';', '|', '，', '、']).for_each(|tag| self.add_tag(tag)),
            Value::String(text) => self.add_tag(text),
            Value::Number(number) => self.add_tag(&number.to_string()),
            Value::Array(tags) => tags.iter().filter(|tag| !tag.is_array()).for_each(|tag| self.add_tags(tag, false)),
            _ => {}
        }
    }

    /// Adds what a file beside the picture says, by the ending of its name; false if such files mean nothing here.
    pub(crate) fn add_sidecar(&mut self, ending: &str, content: &[u8]) -> bool {
        let content = content.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(content);
        match ending {
            "json" => {
                // JSON that is damaged or no object says nothing of the picture, which is sound all the same.
                if let Ok(fields) = serde_json::from_slice(content) {
                    self.add_fields(fields);
                }
            }
            "cls" => self.add_tag(&String::from_utf8_lossy(content)),
            ending if TEXTS.contains(&ending) => self.add_caption(None, &String::from_utf8_lossy(content)),
            _ => return false,
        }
        true
    }

    /// Adds what the files beside the picture file at `path` say.
    pub(crate) fn add_sidecars(&mut self, path: &Path) {
        for ending in TEXTS.iter().chain(&["json"]) {
            let mut content = vec![];
            let read = File::open(path.with_extension(ending)).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut content));
            if read.is_ok() && content.len() as u64 <= LONGEST {
                self.add_sidecar(ending, &content);
            }
        }
    }
}

/// Whether a member of an archive with this ending stands beside a picture.
pub(crate) fn is_sidecar(ending: &str) -> bool {
    matches!(ending, "cls" | "json") || TEXTS.contains(&ending)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;

    fn entry() -> Entry {
        Entry::new("x", Source::Bytes(vec![]))
    }

    #[test]
    fn a_name_says_what_a_field_is() {
        assert_eq!(Meaning::of("Caption"), Meaning::Caption(None));
        assert_eq!(Meaning::of("caption_zh"), Meaning::Caption(Some("zh".into())));
        assert_eq!(Meaning::of("title-pt-BR"), Meaning::Caption(Some("pt-BR".into())));
        assert_eq!(Meaning::of("text_zh_Hant"), Meaning::Caption(Some("zh-Hant".into())));
        for other in ["caption_id2", "text_length", "subtitle", "url", "caption_", "captionzh", "", "é"] {
            assert_eq!(Meaning::of(other), Meaning::Other, "{other}");
        }
        assert_eq!(Meaning::of("tags"), Meaning::Tags { list: true });
        assert_eq!(Meaning::of("class"), Meaning::Tags { list: false });
    }

    #[test]
    fn fields_become_captions_tags_and_the_rest() {
        let mut entry = entry();
        entry.add_caption(None, "a cat");
        let json = r#"{"caption": " a cat ", "captions": {"ja": ["猫", ""], "de": "Katze"}, "tags": "pet; indoor", "label": 7,
                       "width": 640, "exif": {"a": 1}, "url": null}"#;
        assert!(entry.add_sidecar("json", json.as_bytes()));
        let captions: Vec<_> = entry.captions.iter().map(|c| (c.language.as_deref(), &*c.text)).collect();
        assert_eq!(captions, [(None, "a cat"), (Some("de"), "Katze"), (Some("ja"), "猫")]);
        assert_eq!(entry.tags, ["7", "pet", "indoor"]);
        assert_eq!(serde_json::to_string(&entry.meta).unwrap(), r#"{"exif":{"a":1},"url":null,"width":640}"#);
    }

    #[test]
    fn the_language_of_the_record_is_that_of_its_captions() {
        let mut entry = entry();
        entry.add_sidecar("json", r#"{"text": "猫", "lang": "zh", "caption_en": "cat"}"#.as_bytes());
        let captions: Vec<_> = entry.captions.iter().map(|c| (c.language.as_deref(), &*c.text)).collect();
        assert_eq!(captions, [(Some("en"), "cat"), (Some("zh"), "猫")]);
        assert_eq!(entry.meta, None);
    }

    #[test]
    fn damaged_sidecars_say_nothing() {
        let mut entry = entry();
        for json in ["", "[1]", "{\"caption\": ", "\u{feff}{}"] {
            assert!(entry.add_sidecar("json", json.as_bytes()));
        }
        assert!(!entry.add_sidecar("xmp", b"?"));
        assert_eq!(entry, self::entry());
    }
}
