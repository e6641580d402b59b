//! CSV, JSON lines and Parquet of parallel text: languages as columns, or a column of languages.
use std::path::Path;

use serde_json::{Map, Value};

use super::tsv::{GROUPS, Grouped, chosen, column};
use super::{Items, Options, Parallel, language, row};
use crate::sidecar::Meaning;
use crate::walk::name_of;
use crate::{Error, Failure, Result, table};

/// Rows in which languages must be found.
const ROWS_TO_CHECK: usize = 100;

pub(super) fn items(path: &Path, options: &Options) -> Result<Items> {
    let told = options.told();
    let options = crate::Options { max_bytes: options.max_bytes, ..crate::Options::default() };
    // What the columns are must show in the first rows; a damaged one among them is not the fault of the others.
    let (mut first, mut seen) = (None, false);
    for (_, fields) in table::numbered(path, &options)?.take(ROWS_TO_CHECK).filter_map(std::result::Result::ok) {
        seen |= !texts(&fields, &told).is_empty();
        first.get_or_insert(fields);
    }
    if let Some(first) = first.filter(|_| !seen) {
        let names: Vec<_> = first.keys().map(|name| format!("`{name}`")).collect();
        return Err(Error::Malformed {
            path: path.to_owned(),
            found: format!("has the columns {}, none of a language", names.join(", ")),
            wanted: "columns like `en` and `zh`, or `language` and `text`".into(),
        });
    }
    let name = name_of(path);
    let rows = table::numbered(path, &options)?.map(move |read| {
        let (number, fields) = read?;
        let name = format!("{name}#{number}");
        let texts = chosen(texts(&fields, &told), &told);
        // The reader of CSV writes this for bytes that are no UTF-8.
        if texts.iter().any(|(_, text)| text.contains(char::REPLACEMENT_CHARACTER)) {
            return Err(Failure { name, reason: "no UTF-8".into() });
        }
        if texts.is_empty() {
            return Err(Failure { name, reason: "no text with a language".into() });
        }
        let keyed = fields.keys().any(|name| Meaning::of(name) == Meaning::Language);
        let key = GROUPS.iter().find_map(|name| fields.get(*name)).filter(|_| keyed).map(Value::to_string);
        // A table leaves empty cells out: what there must be is at least one text, and two where the row is no list of words.
        let row: Parallel = row(name.clone(), texts)?;
        if row.texts.len() < 2 && !keyed {
            return Err(Failure { name, reason: format!("a text in `{}` alone", row.texts[0].0) });
        }
        Ok((key, row))
    });
    Ok(Box::new(Grouped(rows.peekable())))
}

/// What a row says, and in which languages.
fn texts(fields: &Map<String, Value>, told: &[String]) -> Vec<(String, String)> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        // The reader of CSV takes what looks like a number for one.
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let own = fields.iter().find(|(name, _)| Meaning::of(name) == Meaning::Language).and_then(|(_, code)| language(code.as_str()?));
    if let Some(code) = own {
        let said = ["text", "sentence", "caption", "word", "name"].iter().find_map(|name| fields.get(*name).and_then(text));
        return said.map(|said| vec![(code, said)]).unwrap_or_default();
    }
    let mut texts = vec![];
    for (name, value) in fields {
        match value {
            // {"translation": {"en": …, "zh": …}}
            Value::Object(inner) => {
                texts.extend(inner.iter().filter_map(|(name, value)| Some((language(name)?, text(value)?))));
            }
            value => {
                texts.extend(column(name).filter(|code| code != "id" || told.contains(code)).and_then(|code| Some((code, text(value)?))))
            }
        }
    }
    texts
}
