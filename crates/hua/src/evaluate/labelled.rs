//! Pictures with classes: a folder by class, or anything else that lists pictures with tags.
//!
//! The classes of a picture are its tags: the folder directly below the named one that it lies in, the column `label`, `labels`, `class` or `tags` of a table, or the
//! column that is named. Pictures without any are left out and counted, never taken for a class.
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use hua_data::Entry;
use serde_json::Value;

use super::retrieval::Pictures;
use crate::{Embedder, Embeddings, Error, Failure, Progress};

/// Where labelled pictures are.
#[derive(Clone, Debug)]
pub struct LabelledSource<'a> {
    /// Folders by class, tables, archives.
    pub paths: &'a [PathBuf],
    /// How they are read. What stands beside picture files does not count: their folder is their class.
    pub options: &'a hua_data::Options,
    /// The column that holds the classes, if it is not found by its name.
    pub column: Option<&'a str>,
}

/// Labelled pictures, embedded.
#[derive(Clone, Debug)]
pub struct Labelled {
    /// Names of the pictures.
    pub names: Vec<String>,
    /// The classes of each, as they are written there; at least one.
    pub labels: Vec<Vec<String>>,
    /// A row a picture.
    pub embeddings: Embeddings,
    /// Pictures that could not be used.
    pub failures: Vec<Failure>,
    /// Pictures that no class was said of.
    pub without_class: usize,
}

impl Labelled {
    /// Reads and embeds them.
    ///
    /// # Errors
    /// [`Error::Data`] if a source cannot be read; [`Error::NoPictures`]; [`Error::Labels`] if no picture has a class.
    pub fn read(embedder: &Embedder, source: &LabelledSource<'_>, progress: &dyn Progress) -> Result<Self, Error> {
        let options = hua_data::Options { folders_are_tags: true, sidecars: false, ..source.options.clone() };
        let Pictures { entries, embeddings, failures } = Pictures::read(embedder, source.paths, &options, progress)?;
        let (mut names, mut labels, mut data, mut without_class) = (vec![], vec![], vec![], 0);
        for (entry, row) in entries.into_iter().zip(embeddings.rows()) {
            let own = classes(&entry, source.column);
            if own.is_empty() {
                without_class += 1;
                continue;
            }
            names.push(entry.name);
            labels.push(own);
            data.extend_from_slice(row);
        }
        if names.is_empty() {
            let paths: Vec<_> = source.paths.iter().map(|path| format!("`{}`", path.display())).collect();
            let what = format!("no picture in {} has a class; wanted a folder for each class, or a column `label`", paths.join(", "));
            return Err(Error::Labels { what });
        }
        let embeddings = Embeddings::from_rows(embedder.fingerprint(), embedder.width(), data);
        Ok(Self { names, labels, embeddings, failures, without_class })
    }

    /// Whether some picture has several classes.
    pub fn is_multi_label(&self) -> bool {
        self.labels.iter().any(|labels| labels.len() > 1)
    }

    /// All labels, sorted, each once.
    pub fn distinct(&self) -> BTreeSet<&str> {
        self.labels.iter().flatten().map(String::as_str).collect()
    }
}

fn classes(entry: &Entry, column: Option<&str>) -> Vec<String> {
    let Some(column) = column else { return entry.tags.clone() };
    let text = |value: &Value| match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    match entry.meta.as_ref().and_then(|meta| meta.get(column)) {
        Some(Value::Array(values)) => values.iter().filter_map(text).collect(),
        Some(value) => text(value).into_iter().collect(),
        None => vec![],
    }
}

/// Which class each label is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbering {
    /// What the classes are called.
    pub classes: Vec<String>,
    of_label: HashMap<String, usize>,
}

impl Numbering {
    /// With names from a file, a label is the class it is called like; else, if it is a number, the class of that number from 0; else, if there are as
    /// many labels as names, the k-th label in sorted order is class k, as torchvision's `ImageFolder` numbers folders and Chinese-CLIP its label
    /// files. Without names, labels are called as they are, with blanks for underscores, in sorted order.
    ///
    /// # Errors
    /// [`Error::Labels`] if none of these fits.
    pub fn of(labels: &BTreeSet<&str>, names: &[String]) -> Result<Self, Error> {
        let number = |label: &str| label.parse::<usize>().ok();
        let numbered = |of: &mut dyn FnMut(usize, &str) -> usize| -> HashMap<String, usize> {
            labels.iter().enumerate().map(|(place, label)| ((*label).to_owned(), of(place, label))).collect()
        };
        let places: HashMap<&str, usize> = names.iter().enumerate().rev().map(|(place, name)| (name.as_str(), place)).collect();
        if names.is_empty() {
            if labels.iter().all(|label| number(label).is_some()) {
                let what = format!("the classes are numbers ({} of them) and have no names", labels.len());
                return Err(Error::Labels { what: format!("{what}; give a file with a name a line, line k for class k") });
            }
            let classes = labels.iter().map(|label| label.replace('_', " ")).collect();
            return Ok(Self { classes, of_label: numbered(&mut |place, _| place) });
        }
        let of_label = if labels.iter().all(|label| places.contains_key(label)) {
            numbered(&mut |_, label| places[label])
        } else if labels.iter().all(|label| number(label).is_some_and(|class| class < names.len())) {
            numbered(&mut |_, label| number(label).unwrap_or_default())
        } else if labels.len() == names.len() {
            numbered(&mut |place, _| place)
        } else {
            let strange: Vec<_> = labels.iter().filter(|label| !places.contains_key(*label)).take(3).map(|l| format!("`{l}`")).collect();
            let what = format!("{} names for {} classes, and no class is called {}", names.len(), labels.len(), strange.join(", "));
            return Err(Error::Labels { what });
        };
        Ok(Self { classes: names.to_vec(), of_label })
    }

    /// The classes of pictures.
    ///
    /// # Errors
    /// [`Error::Labels`] for a label that was not there when classes were numbered.
    pub fn targets(&self, labels: &[Vec<String>]) -> Result<Vec<Vec<usize>>, Error> {
        let class = |label: &String| {
            let found = self.of_label.get(label).copied();
            found.ok_or_else(|| Error::Labels { what: format!("class `{label}` is not among those that were learned") })
        };
        labels.iter().map(|labels| labels.iter().map(class).collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbering(labels: &[&str], names: &[&str]) -> Result<Vec<usize>, String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let found = Numbering::of(&labels.iter().copied().collect(), &names).map_err(|e| e.to_string())?;
        let labels: Vec<Vec<String>> = labels.iter().map(|label| vec![(*label).to_owned()]).collect();
        Ok(found.targets(&labels).unwrap().concat())
    }

    #[test]
    fn labels_are_names_or_numbers_or_in_the_order_of_the_names() {
        assert_eq!(numbering(&["dog", "cat"], &["cat", "bird", "dog"]).unwrap(), [2, 0]);
        assert_eq!(numbering(&["002", "000"], &["cat", "bird", "dog"]).unwrap(), [2, 0]);
        assert_eq!(numbering(&["n03", "n01", "n02"], &["cat", "bird", "dog"]).unwrap(), [2, 0, 1]);
        assert_eq!(numbering(&["b_c", "a"], &[]).unwrap(), [1, 0]);
        assert_eq!(Numbering::of(&["b_c"].into(), &[]).unwrap().classes, ["b c"]);
    }

    #[test]
    fn labels_that_fit_no_name_are_refused() {
        let error = numbering(&["n03", "n01"], &["cat", "bird", "dog"]).unwrap_err();
        assert_eq!(error, "3 names for 2 classes, and no class is called `n01`, `n03`");
        assert!(numbering(&["0", "1"], &[]).unwrap_err().contains("are numbers (2 of them)"));
        let found = Numbering::of(&["a"].into(), &[]).unwrap();
        assert!(found.targets(&[vec!["b".into()]]).unwrap_err().to_string().contains("class `b` is not among"));
    }
}
