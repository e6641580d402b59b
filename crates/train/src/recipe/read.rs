//! From a TOML file and overrides to a [`Recipe`], and back.
use std::path::Path;

use toml::{Table, Value};

use super::Recipe;
use crate::{Error, Result};

/// A recipe longer than this is none.
const LONGEST: u64 = 1 << 20;

impl Recipe {
    /// Reads a recipe and applies `sets`, each `section.key=value`; a value that is no TOML is a string.
    ///
    /// # Errors
    /// [`Error::Toml`] for what is no recipe, with the key; [`Error::Recipe`] for a number that cannot be, and an override that is none.
    pub fn read(path: &Path, sets: &[String]) -> Result<Self> {
        let length = std::fs::metadata(path).map_err(Error::io(path))?.len();
        if length > LONGEST {
            return Err(Error::Toml { path: path.to_owned(), message: format!("it has {length} bytes, at most {LONGEST} are taken") });
        }
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        Self::parse(path, &text, sets)
    }

    /// The recipe in `text`, which is what `path` holds.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn parse(path: &Path, text: &str, sets: &[String]) -> Result<Self> {
        let wrong = |message: String| Error::Toml { path: path.to_owned(), message };
        let mut table: Table = text.parse().map_err(|error: toml::de::Error| wrong(error.to_string().trim_end().to_owned()))?;
        for set in sets {
            apply(&mut table, set)?;
        }
        let recipe: Self = serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| {
            let key = error.path().to_string();
            wrong(format!("`{key}`: {}", error.into_inner().message().trim_end()))
        })?;
        recipe.check()?;
        Ok(recipe)
    }

    /// The recipe as TOML, with everything that it did not say filled in.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a recipe is plain data")
    }
}

/// Replaces one value.
fn apply(table: &mut Table, set: &str) -> Result<()> {
    let wrong = || Error::recipe("--set", format!("`{set}`"), "`section.key=value`");
    let (key, value) = set.split_once('=').ok_or_else(wrong)?;
    let value =
        format!("x = {value}").parse::<Table>().ok().and_then(|mut t| t.remove("x")).unwrap_or_else(|| Value::String(value.to_owned()));
    let mut keys: Vec<&str> = key.trim().split('.').collect();
    let last = keys.pop().filter(|key| !key.is_empty()).ok_or_else(wrong)?;
    let mut at = table;
    for key in keys {
        at = at.entry(key).or_insert_with(|| Value::Table(Table::new())).as_table_mut().ok_or_else(wrong)?;
    }
    at.insert(last.to_owned(), value);
    Ok(())
}
