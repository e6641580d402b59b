//! Class names and templates: what zero-shot classification puts into words, as data files.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `.json` | `{"language", "classes": […], "templates": […]}`, each of them optional; or a plain list |
//! | `.py`, with `:NAME` behind it where there are several lists | templates as cn_clip writes them: `NAME = [lambda c: f"{c}的照片", …]`; text is read, no code runs |
//! | any other | one a line, as cn_clip's `label_cn.txt`: line k is class k |
//!
//! A template has one `{}` or `{c}` where the name goes. For nine languages hua brings a small set along (`crates/hua/data/zeroshot/`), written for
//! it: every published set differs, and so do scores, so name the set with the score.
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::Error;

/// The sets that hua brings along, by language.
const BUILT_IN: [(&str, &str); 9] = [
    ("ar", include_str!("../../data/zeroshot/ar.json")),
    ("en", include_str!("../../data/zeroshot/en.json")),
    ("es", include_str!("../../data/zeroshot/es.json")),
    ("fr", include_str!("../../data/zeroshot/fr.json")),
    ("it", include_str!("../../data/zeroshot/it.json")),
    ("ja", include_str!("../../data/zeroshot/ja.json")),
    ("ko", include_str!("../../data/zeroshot/ko.json")),
    ("ru", include_str!("../../data/zeroshot/ru.json")),
    ("zh", include_str!("../../data/zeroshot/zh.json")),
];

/// Class names, templates, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassSet {
    /// Of names and templates.
    pub language: Option<String>,
    /// In the order in which classes are numbered.
    #[serde(default)]
    pub classes: Vec<String>,
    /// Each with one `{}`.
    #[serde(default)]
    pub templates: Vec<String>,
}

/// Which list a file without a word about it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Names.
    Classes,
    /// Templates.
    Templates,
}

impl ClassSet {
    /// The templates that hua has for `language`.
    pub fn built_in(language: &str) -> Option<Self> {
        let (_, json) = BUILT_IN.iter().find(|(known, _)| *known == language)?;
        Some(serde_json::from_str(json).expect("the file is part of the program and tested"))
    }

    /// The languages that hua has templates for.
    pub fn languages() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(language, _)| *language)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Labels`] if it is not what the head of this file says.
    pub fn read(path: &Path, wanted: Wanted) -> Result<Self, Error> {
        let (path, list) = match path.to_str().and_then(|text| text.rsplit_once(".py:")) {
            Some((file, list)) => (PathBuf::from(format!("{file}.py")), Some(list.to_owned())),
            None => (path.to_owned(), None),
        };
        let text = std::fs::read_to_string(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
        let text = text.trim_start_matches('\u{feff}');
        let fault = |what: String| Error::Labels { what: format!("`{}`: {what}", path.display()) };
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        let entries = match extension {
            "json" if text.trim_start().starts_with('{') => return Self::parse(text).map_err(fault),
            "json" => serde_json::from_str(text).map_err(|e| fault(format!("{e}, wanted a list of texts")))?,
            "py" => lambdas(text, list.as_deref()).map_err(fault)?,
            _ => lines(text).map_err(fault)?,
        };
        if entries.is_empty() {
            return Err(fault("it is empty".into()));
        }
        let set = match wanted {
            Wanted::Classes => Self { classes: entries, ..Self::default() },
            Wanted::Templates => Self { templates: entries, ..Self::default() },
        };
        set.checked().map_err(fault)
    }

    fn parse(json: &str) -> Result<Self, String> {
        let set: Self = serde_json::from_str(json).map_err(|e| format!("{e}, wanted `language`, `classes` and `templates`"))?;
        set.checked()
    }

    fn checked(mut self) -> Result<Self, String> {
        for template in &mut self.templates {
            *template = template.replace("{c}", "{}");
            if template.matches("{}").count() != 1 {
                return Err(format!("template `{template}` wants one `{{}}` where the name goes"));
            }
        }
        match self.classes.iter().position(|class| class.trim().is_empty()) {
            Some(empty) => Err(format!("class {} has no name", empty + 1)),
            None => Ok(self),
        }
    }
}

/// A line each. Blank ones at the end are none; one in the midst would shift the numbers of all that follow.
fn lines(text: &str) -> Result<Vec<String>, String> {
    let lines: Vec<String> = text.trim_end().lines().map(|line| line.trim().to_owned()).collect();
    match lines.iter().position(String::is_empty) {
        Some(empty) if lines.len() > 1 => Err(format!("line {} is empty, wanted a name or template a line", empty + 1)),
        Some(_) => Ok(vec![]),
        None => Ok(lines),
    }
}

/// The texts behind `lambda c: f` of the list of this name, or of the only list.
fn lambdas(text: &str, list: Option<&str>) -> Result<Vec<String>, String> {
    let mut found: Vec<(String, Vec<String>)> = vec![];
    for line in text.lines() {
        if let Some((name, _)) = line.split_once("= [").filter(|(name, _)| !name.starts_with([' ', '#', '\t'])) {
            found.push((name.trim().to_owned(), vec![]));
        }
        for part in line.split("lambda c:").skip(1) {
            let Some((_, entries)) = found.last_mut() else { continue };
            let part = part.trim_start().trim_start_matches('f');
            let quote = part.chars().next().filter(|c| matches!(c, '"' | '\'')).ok_or_else(|| format!("no text in `{}`", line.trim()))?;
            let inner = part[1..].split(quote).next().unwrap_or_default();
            entries.push(inner.to_owned());
        }
    }
    found.retain(|(_, entries)| !entries.is_empty());
    let names = || found.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match list {
        Some(list) => match found.iter().find(|(name, _)| name == list) {
            Some((_, entries)) => Ok(entries.clone()),
            None => Err(format!("it has no list `{list}`, only {}", names())),
        },
        None if found.len() == 1 => Ok(found.remove(0).1),
        None if found.is_empty() => Err("no list of `lambda c: f\"…\"` in it".into()),
        None => Err(format!("it has several lists ({}); name one behind the file, as in `{{FILE}}:{}`", names(), found[0].0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str, list: &str, wanted: Wanted) -> Result<ClassSet, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        ClassSet::read(Path::new(&format!("{}{list}", path.display())), wanted).map_err(|e| e.to_string())
    }

    #[test]
    fn every_built_in_set_has_templates_of_its_language() {
        for language in ClassSet::languages() {
            let set = ClassSet::built_in(language).unwrap().checked().unwrap();
            assert_eq!(set.language.as_deref(), Some(language));
            assert!(set.templates.len() >= 5 && set.classes.is_empty(), "{language}");
            let mut once = set.templates.clone();
            once.sort();
            once.dedup();
            assert_eq!(once.len(), set.templates.len(), "{language}");
        }
        assert_eq!(ClassSet::built_in("xx"), None);
    }

    #[test]
    fn line_k_of_a_label_file_is_class_k() {
        let set = read("label_cn.txt", "\u{feff}飞机\r\n 汽车 \n鸟\n\n", "", Wanted::Classes).unwrap();
        assert_eq!(set.classes, ["飞机", "汽车", "鸟"]);
        let error = read("label_cn.txt", "飞机\n\n鸟\n", "", Wanted::Classes).unwrap_err();
        assert!(error.contains("line 2 is empty"), "{error}");
        assert!(read("label_cn.txt", "\n", "", Wanted::Classes).unwrap_err().contains("it is empty"));
    }

    #[test]
    fn json_has_both_lists_or_is_one() {
        let set = read("a.json", r#"{"language": "en", "classes": ["cat"], "templates": ["a {c}."]}"#, "", Wanted::Classes).unwrap();
        assert_eq!((set.classes, set.templates, set.language), (vec!["cat".into()], vec!["a {}.".into()], Some("en".into())));
        assert_eq!(read("a.json", r#"["一张{}"]"#, "", Wanted::Templates).unwrap().templates, ["一张{}"]);
        assert!(read("a.json", r#"["none"]"#, "", Wanted::Templates).unwrap_err().contains("template `none` wants one `{}`"));
        assert!(read("a.json", r#"{"clases": []}"#, "", Wanted::Classes).unwrap_err().contains("unknown field"));
    }

    #[test]
    fn templates_of_cn_clip_are_read_from_its_code() {
        let code = "# x = [\none_templates = [lambda c: f\"{c}的图片\"]\n\nfood = [\n    lambda c: f'一种叫{c}的食物',\n    lambda c: f\"{c}\",\n]\n";
        assert_eq!(read("t.py", code, ":food", Wanted::Templates).unwrap().templates, ["一种叫{}的食物", "{}"]);
        assert_eq!(read("t.py", code, ":one_templates", Wanted::Templates).unwrap().templates, ["{}的图片"]);
        assert!(read("t.py", code, "", Wanted::Templates).unwrap_err().contains("several lists (`one_templates`, `food`)"));
        assert!(read("t.py", code, ":none", Wanted::Templates).unwrap_err().contains("has no list `none`"));
        assert!(read("t.py", "import os\n", "", Wanted::Templates).unwrap_err().contains("no list of"));
    }
}
