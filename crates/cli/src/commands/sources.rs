//! Which of the words after `hua search` are places to search in and which are queries.
//!
//! The rule: existing paths count as sources up to the first argument that is none; all that follows is asked. `--in` names sources
//! outright, and then every argument is a query; so is all that stands after `--`, and all that follows a library, where a picture is
//! more likely asked for than searched in. Whatever was guessed is said on stderr.

use std::path::{Path, PathBuf};

use hua::library::is_library;
use hua::query::Query;

use crate::complaint::Complaint;

/// What was typed.
pub struct Typed {
    /// Arguments before `--`.
    pub words: Vec<String>,
    /// Arguments after `--`: queries, whatever they look like.
    pub after_dashes: Vec<String>,
    /// Of `--in`.
    pub given: Vec<PathBuf>,
    /// Whether there are queries besides the words (`--image`).
    pub other_queries: bool,
}

/// What it means.
#[derive(Debug, PartialEq, Eq)]
pub struct Split {
    /// Empty: the built-in gallery.
    pub sources: Vec<PathBuf>,
    pub queries: Vec<String>,
    /// What a reader may have meant otherwise.
    pub note: Option<String>,
}

/// Splits by the rule above.
pub fn split(typed: Typed) -> Result<Split, Complaint> {
    let Typed { mut words, after_dashes, given, other_queries } = typed;
    if let Some(missing) = given.iter().find(|path| !path.exists()) {
        return Err(not_there(missing));
    }
    let guessed = match words.first() {
        _ if !given.is_empty() => 0,
        Some(first) if is_library(Path::new(first)) => 1,
        _ => words.iter().take_while(|word| Path::new(word).exists()).count(),
    };
    let queries = words.split_off(guessed);
    if let Some(missing) = queries.first().filter(|query| given.is_empty() && looks_like_a_path(query)) {
        return Err(not_there(Path::new(missing)).hint(format!("to search for these words, write `hua search -- '{missing}'`")));
    }
    let mut queries = queries;
    queries.extend(after_dashes);
    if queries.is_empty() && !other_queries {
        return Err(match words.last() {
            Some(last) => Complaint::caller(format!("no query: `{last}` exists, so it was taken as a place to search in"))
                .hint(format!("add words to search for, or `--image FILE`; to search for the word, write `hua search -- '{last}'`")),
            None => Complaint::caller("no query").hint("add words to search for, or `--image FILE`"),
        });
    }
    if let Some(empty) = queries.iter().position(|query| query.trim().is_empty()) {
        return Err(Complaint::caller(format!("query {} of {} is empty, wanted words to search for", empty + 1, queries.len())));
    }
    let note = note(&words, &queries);
    let sources = if given.is_empty() { words.into_iter().map(PathBuf::from).collect() } else { given };
    Ok(Split { sources, queries, note })
}

/// What to say about a guess: a plain word that happens to be a file, on either side.
fn note(sources: &[String], queries: &[String]) -> Option<String> {
    let plain = |word: &&String| !word.contains(['/', '\\', '.']);
    if let Some(word) = sources.iter().find(plain) {
        return Some(format!("`{word}` exists, so it is searched in; `--` before it makes it a query"));
    }
    let query = queries.iter().find(|query| Path::new(query).exists() && is_words(query))?;
    Some(format!("`{query}` exists too, but is taken as a query; `--in '{query}'` searches in it"))
}

/// Nobody searches for the words `./holiday` or `photos/2024`; they mistyped a path.
fn looks_like_a_path(word: &str) -> bool {
    word.contains('/') && !word.contains(char::is_whitespace) && is_words(word)
}

/// Whether it is asked for as words, and not as a picture or an item.
fn is_words(query: &str) -> bool {
    Query::parse(query).is_ok_and(|query| query.only_words().is_some())
}

fn not_there(path: &Path) -> Complaint {
    Complaint::caller(format!("`{}` does not exist, wanted a folder or a picture", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(words: &[&str]) -> Typed {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        Typed { words, after_dashes: vec![], given: vec![], other_queries: false }
    }

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    // Tests run in the crate's folder, where `src` and `Cargo.toml` exist.

    #[test]
    fn existing_paths_are_sources_up_to_the_first_that_is_none() {
        let found = split(typed(&["src/commands", "Cargo.toml", "彩虹", "src"])).unwrap();
        assert_eq!(found.sources, ["src/commands", "Cargo.toml"].map(PathBuf::from));
        assert_eq!(found.queries, ["彩虹", "src"]);
        assert_eq!(found.note.unwrap(), "`src` exists too, but is taken as a query; `--in 'src'` searches in it");
    }

    #[test]
    fn without_a_path_the_gallery_is_asked() {
        let found = split(typed(&["rainbow", "red/green and blue"])).unwrap();
        assert_eq!(found, Split { sources: vec![], queries: strings(&["rainbow", "red/green and blue"]), note: None });
    }

    #[test]
    fn a_word_that_is_a_folder_is_told() {
        let found = split(typed(&["src", "dog"])).unwrap();
        assert_eq!(found.note.unwrap(), "`src` exists, so it is searched in; `--` before it makes it a query");
        let found = split(Typed { after_dashes: strings(&["src"]), ..typed(&[]) }).unwrap();
        assert_eq!((found.sources.len(), found.queries.len()), (0, 1));
    }

    #[test]
    fn named_sources_make_every_argument_a_query() {
        let found = split(Typed { given: vec!["src".into()], ..typed(&["Cargo.toml", "dog"]) }).unwrap();
        assert_eq!((found.sources, found.queries), (vec![PathBuf::from("src")], strings(&["Cargo.toml", "dog"])));
    }

    #[test]
    fn a_mistyped_path_and_a_missing_query_are_the_callers_fault() {
        for (words, message) in [
            (&["./none", "dog"][..], "`./none` does not exist, wanted a folder or a picture"),
            (&["src"][..], "no query: `src` exists, so it was taken as a place to search in"),
            (&[][..], "no query"),
            (&["dog", " "][..], "query 2 of 2 is empty, wanted words to search for"),
        ] {
            let complaint = split(typed(words)).unwrap_err();
            assert_eq!((complaint.to_string().as_str(), complaint.exit_code()), (message, 2));
        }
        assert!(split(Typed { other_queries: true, ..typed(&["src"]) }).is_ok());
        assert!(split(Typed { given: vec!["none".into()], ..typed(&["dog"]) }).is_err());
    }
}
