//! What people type: terms of words and pictures, with weights, added and taken away.
//!
//! ```text
//! query    = [operator] term { operator term }
//! operator = "+" | "-"                    with white space (or the end) on both sides; also ＋ － −
//! term     = [weight ":"] content         no white space and no digit follows the colon
//! weight   = "2" | "0.5" | ".5"
//! content  = quoted                       words, whatever they look like
//!          | "item:" what                 an item of the library, by number or path
//!          | "image:" what                a picture file
//!          | path                         a picture file: ends like one, and has no white space or begins with `./`, `../`, `/` or `~/`
//!          | words
//! what     = quoted | words
//! quoted   = '"' { character | '\"' | '\\' } '"'
//! ```
//!
//! These are rclip's queries (`+`, `-`, `2:golden retriever`, pictures as terms), with two decisions so that ordinary text stays itself: an
//! operator stands alone (`black-and-white`, `C++` and `-5` are words) and no digit follows a weight (`16:9` and `2:30` are words). What
//! looks like more than it should be is put into quotes. A query that is printed and parsed again is the same query.
use std::fmt;

use hua_data::EXTENSIONS;

const MOST_WEIGHT: f32 = 1e6;

/// A query: at least one term.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    terms: Vec<Term>,
}

/// A part of a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// How much it counts; below zero if it is taken away. Never zero.
    pub weight: f32,
    /// What it is.
    pub content: Content,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// An item of the library that is searched: its number or its path.
    Item(String),
    /// A picture file.
    Picture(String),
    /// Words.
    Words(String),
}

/// Why a text is no query.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// Nothing stands there.
    #[error("the query is empty, wanted words or a picture")]
    Empty,
    /// An operator without a term.
    #[error("the query `{query}` has no term after its `{operator}` (character {at})")]
    NoTerm {
        /// What was typed.
        query: String,
        /// The operator.
        operator: char,
        /// Where it stands, counted from 1.
        at: usize,
    },
    /// A weight that weighs nothing, or more than a number can tell apart.
    #[error("the weight `{found}` is not between 0 and {MOST_WEIGHT}")]
    Weight {
        /// What was typed.
        found: String,
    },
    /// Terms that cancel each other out.
    #[error("the terms of `{query}` cancel each other out")]
    Cancelled {
        /// The query.
        query: String,
    },
    /// An item where no library is searched.
    #[error("`item:{item}` names an item of a library, and no library is searched")]
    NoLibrary {
        /// Which.
        item: String,
    },
    /// An item that is not there.
    #[error("the library has no item `{item}` with a vector")]
    NoItem {
        /// Which.
        item: String,
    },
}

impl QueryError {
    /// What the caller may try.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoTerm { query, .. } => Some(format!("to search for these very words, write {}", quoted(query))),
            Self::Weight { .. } => Some("to search for these very words, put them into double quotes".into()),
            _ => None,
        }
    }
}

impl Query {
    /// One term of words, whatever they look like.
    pub fn words(text: impl Into<String>) -> Self {
        Self::of(Content::Words(text.into()))
    }

    /// One term.
    pub fn of(content: Content) -> Self {
        Self { terms: vec![Term { weight: 1.0, content }] }
    }

    /// Reads what was typed; the head of this file has the grammar. White space at the ends does not count.
    ///
    /// # Errors
    /// [`QueryError::Empty`], [`QueryError::NoTerm`], [`QueryError::Weight`].
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let mut terms = vec![];
        let mut rest = text.trim();
        // The operator before the term that comes next, and how much of the text is left from there on.
        let mut operator = None;
        loop {
            let found = leading_operator(rest);
            if let Some((sign, after)) = found.filter(|_| operator.is_none() && terms.is_empty()) {
                operator = Some((sign, rest.len()));
                rest = after;
            }
            if rest.is_empty() || leading_operator(rest).is_some() {
                let Some((sign, left)) = operator else { return Err(QueryError::Empty) };
                let query = text.trim();
                let at = query[..query.len() - left].chars().count() + 1;
                return Err(QueryError::NoTerm { query: query.to_owned(), operator: sign, at });
            }
            let (mut term, after) = term(rest)?;
            if operator.is_some_and(|(sign, _)| sign == '-') {
                term.weight = -term.weight;
            }
            terms.push(term);
            let after = after.trim_start();
            let Some((sign, next)) = leading_operator(after) else { break };
            operator = Some((sign, after.len()));
            rest = next;
        }
        Ok(Self { terms })
    }

    /// The terms, in order.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// This query with the terms of another added, or taken away.
    #[must_use]
    pub fn with(mut self, other: &Self, added: bool) -> Self {
        let sign = if added { 1.0 } else { -1.0 };
        self.terms.extend(other.terms.iter().map(|term| Term { weight: sign * term.weight, content: term.content.clone() }));
        self
    }

    /// The words of the terms that are added, for a search by words; `None` if there are none.
    pub fn wanted_words(&self) -> Option<String> {
        let words = self.terms.iter().filter(|term| term.weight > 0.0).filter_map(|term| match &term.content {
            Content::Words(words) => Some(words.as_str()),
            Content::Item(_) | Content::Picture(_) => None,
        });
        Some(words.collect::<Vec<_>>().join(" ")).filter(|words| !words.is_empty())
    }

    /// The words, if the query is words alone.
    pub fn only_words(&self) -> Option<&str> {
        match &self.terms[..] {
            [Term { weight: 1.0, content: Content::Words(words) }] => Some(words),
            _ => None,
        }
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.terms.iter().enumerate() {
            f.write_str(match (index, term.weight < 0.0) {
                (0, false) => "",
                (0, true) => "- ",
                (_, false) => " + ",
                (_, true) => " - ",
            })?;
            let term = Term { weight: term.weight.abs(), content: term.content.clone() };
            let (plain, safe) = (term.print(str::to_owned), term.print(quoted));
            // Without quotes wherever that reads as the same; one that is open could find its end in a later term.
            let same = (self.terms.len() == 1 || !plain.contains('"')) && Self::parse(&plain).is_ok_and(|query| query.terms == [term]);
            f.write_str(if same { &plain } else { &safe })?;
        }
        Ok(())
    }
}

impl Term {
    fn print(&self, text: impl Fn(&str) -> String) -> String {
        let weight = if self.weight == 1.0 { String::new() } else { format!("{}:", self.weight) };
        match &self.content {
            Content::Item(item) => format!("{weight}item:{}", text(item)),
            // A path that can be told by its looks needs no prefix.
            Content::Picture(path) if is_picture_path(&text(path)) => format!("{weight}{}", text(path)),
            Content::Picture(path) => format!("{weight}image:{}", text(path)),
            Content::Words(words) => format!("{weight}{}", text(words)),
        }
    }
}

/// An operator at the beginning of `text`, which is `+` or `-`, and what comes behind it and its white space.
fn leading_operator(text: &str) -> Option<(char, &str)> {
    let first = text.chars().next()?;
    let sign = match first {
        '+' | '＋' => '+',
        '-' | '－' | '−' => '-',
        _ => return None,
    };
    let after = &text[first.len_utf8()..];
    (after.is_empty() || after.starts_with(char::is_whitespace)).then(|| (sign, after.trim_start()))
}

/// A term at the beginning of `text`, and what comes behind it.
fn term(text: &str) -> Result<(Term, &str), QueryError> {
    let (weight, text) = weight(text)?;
    let (content, after) = if let Some((words, after)) = leading_quoted(text) {
        (Content::Words(words), after)
    } else if let Some((what, after)) = text.strip_prefix("item:").and_then(what) {
        (Content::Item(what), after)
    } else if let Some((what, after)) = text.strip_prefix("image:").and_then(what) {
        (Content::Picture(what), after)
    } else {
        let (words, after) = leading_words(text);
        (if is_picture_path(words) { Content::Picture(words.into()) } else { Content::Words(words.into()) }, after)
    };
    match &content {
        Content::Words(words) if words.trim().is_empty() => Err(QueryError::Empty),
        _ => Ok((Term { weight, content }, after)),
    }
}

/// What follows `item:` or `image:`; nothing may come between.
fn what(text: &str) -> Option<(String, &str)> {
    let found = leading_quoted(text).or_else(|| {
        let (words, after) = leading_words(text);
        Some((words.to_owned(), after))
    });
    found.filter(|(what, _)| !what.is_empty() && !text.starts_with(char::is_whitespace))
}

/// The weight at the beginning of a term and the rest of it.
fn weight(text: &str) -> Result<(f32, &str), QueryError> {
    let digits = text.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    let after = text[digits..].strip_prefix([':', '：']);
    let is_weight = |after: &&str| after.starts_with(|c: char| !c.is_whitespace() && !c.is_numeric());
    let Some(after) = after.filter(is_weight) else { return Ok((1.0, text)) };
    let Ok(weight) = text[..digits].parse::<f32>() else { return Ok((1.0, text)) };
    if weight > 0.0 && weight <= MOST_WEIGHT { Ok((weight, after)) } else { Err(QueryError::Weight { found: text[..digits].to_owned() }) }
}

/// A quoted text that is a whole term: an operator or the end follows.
fn leading_quoted(text: &str) -> Option<(String, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut words = String::new();
    let mut characters = inner.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => match characters.next()?.1 {
                escaped @ ('"' | '\\') => words.push(escaped),
                other => words.extend(['\\', other]),
            },
            '"' => {
                let after = &inner[at + 1..];
                let ends = after.trim_start().is_empty()
                    || after.starts_with(char::is_whitespace) && leading_operator(after.trim_start()).is_some();
                return ends.then_some((words, after));
            }
            other => words.push(other),
        }
    }
    None
}

/// Text up to the next operator, and what comes from there on.
fn leading_words(text: &str) -> (&str, &str) {
    let mut before_is_space = false;
    for (at, character) in text.char_indices() {
        if before_is_space && leading_operator(&text[at..]).is_some() {
            return (text[..at].trim(), &text[at..]);
        }
        before_is_space = character.is_whitespace();
    }
    (text.trim(), "")
}

fn is_picture_path(text: &str) -> bool {
    let name = text.rsplit(['/', '\\']).next().unwrap_or_default();
    let ends_like_one = name
        .rsplit_once('.')
        .is_some_and(|(stem, extension)| !stem.is_empty() && EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known)));
    let begins_like_one = ["./", "../", "/", "~/"].iter().any(|start| text.starts_with(start));
    ends_like_one && (begins_like_one || !text.contains(char::is_whitespace))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(weight: f32, words: &str) -> Term {
        Term { weight, content: Content::Words(words.into()) }
    }

    #[test]
    fn terms_are_weighted_added_and_taken_away() {
        let query = Query::parse(" 2:golden retriever + ./swing.jpg - 0.5:\"a - b\" ＋ item:42 － 3：湖 ").unwrap();
        let expected = [
            words(2.0, "golden retriever"),
            Term { weight: 1.0, content: Content::Picture("./swing.jpg".into()) },
            words(-0.5, "a - b"),
            Term { weight: 1.0, content: Content::Item("42".into()) },
            words(-3.0, "湖"),
        ];
        assert_eq!(query.terms(), expected);
        assert_eq!(query.to_string(), "2:golden retriever + ./swing.jpg - 0.5:\"a - b\" + item:42 - 3:湖");
        assert_eq!(query.wanted_words().unwrap(), "golden retriever");
        assert_eq!(Query::parse("- night").unwrap().terms(), [words(-1.0, "night")]);
    }

    #[test]
    fn ordinary_text_with_such_characters_is_itself() {
        for text in [
            "a black-and-white photo",
            "C++ -5°",
            "16:9 screen",
            "at 2:30 am",
            "note: red",
            "3: the return",
            "he said \"no\" - twice\"",
            "\"open",
            "item: shoes",
            "the file beach.jpg",
            "T-Shirt+Hose",
            "a – b — c",
            "1.2.3:x",
            "🌈:虹",
            "c:\\",
            "/r/cats",
            ".jpg",
        ] {
            let query = Query::parse(text).unwrap();
            // The one with a lonely minus is two terms; quotes make it one.
            match text.contains(" - ") {
                true => assert_eq!(Query::parse(&quoted(text)).unwrap().only_words(), Some(text)),
                false => assert_eq!(query.only_words(), Some(text)),
            }
        }
    }

    #[test]
    fn what_is_no_query_is_told_with_its_place() {
        let message = |text: &str| Query::parse(text).unwrap_err().to_string();
        assert_eq!(message(" "), "the query is empty, wanted words or a picture");
        assert_eq!(message("猫 + + dog"), "the query `猫 + + dog` has no term after its `+` (character 3)");
        assert_eq!(message("5 -"), "the query `5 -` has no term after its `-` (character 3)");
        assert_eq!(message("+"), "the query `+` has no term after its `+` (character 1)");
        assert_eq!(message("0:dog"), "the weight `0` is not between 0 and 1000000");
        assert_eq!(message("9999999:dog"), "the weight `9999999` is not between 0 and 1000000");
        assert_eq!(message("\"\""), "the query is empty, wanted words or a picture");
        assert_eq!(Query::parse("5 -").unwrap_err().hint().unwrap(), "to search for these very words, write \"5 -\"");
    }

    fn content() -> impl Strategy<Value = Content> {
        let text = prop_oneof!["\\PC{1,12}", "[a-z0-9 :.+\"\\\\－-]{1,12}"].prop_filter("not blank", |text| !text.trim().is_empty());
        (0..3, text).prop_map(|(kind, text)| match kind {
            0 => Content::Item(text),
            1 => Content::Picture(text),
            _ => Content::Words(text),
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_is_parsed_as_the_same(terms in prop::collection::vec((content(), 1u32..4000, any::<bool>()), 1..5)) {
            let terms: Vec<Term> = terms
                .into_iter()
                .map(|(content, weight, minus)| Term { weight: weight as f32 / if minus { -1000.0 } else { 1000.0 }, content })
                .collect();
            let query = Query { terms };
            prop_assert_eq!(Query::parse(&query.to_string()).unwrap(), query);
        }

        #[test]
        fn any_text_is_a_query_or_an_error_and_printing_it_changes_nothing(text in prop_oneof!["\\PC*", "[a-c0-9 :.+\"\\\\-]*"]) {
            if let Ok(query) = Query::parse(&text) {
                prop_assert_eq!(Query::parse(&query.to_string()).unwrap(), query);
            }
        }

        #[test]
        fn any_text_can_be_quoted(text in "\\PC*[^ ]") {
            let query = Query::parse(&quoted(&text));
            prop_assert!(text.trim().is_empty() || query.unwrap().only_words() == Some(&*text));
        }

        #[test]
        fn a_plain_sentence_is_itself(text in "[\\p{L}]{1,8}([ '’,、-]?[\\p{L}\\p{N}]{1,8}){0,6}[.!?。]?") {
            let query = Query::parse(&text).unwrap();
            prop_assert_eq!(query.only_words(), Some(&*text));
        }
    }
}
