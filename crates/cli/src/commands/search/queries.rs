//! From what was typed to queries and their vectors.

use std::path::PathBuf;

use clap::Args;
use hua::image::Picture;
use hua::query::{Aids, Content, Items, Query, Template, vectors};
use hua::{Embedder, Embeddings};

use crate::complaint::Complaint;
use crate::session::{CutTexts, Session};
use crate::sheet::Asked;

/// How queries are put together.
#[derive(Args)]
#[command(next_help_heading = "Queries")]
pub struct Composing {
    /// Add this to every query: words or a picture, with a weight if need be; repeatable
    #[arg(long, value_name = "TERM")]
    plus: Vec<String>,
    /// Take this away from every query; repeatable
    #[arg(long, value_name = "TERM")]
    minus: Vec<String>,
    /// Queries are words as they stand: `+`, `-`, weights and paths mean nothing
    #[arg(long)]
    literal: bool,
    /// Put words into a sentence: one with `{}`, or the model family's in a language (`en`, `zh` …) or in that of the words (`auto`)
    #[arg(long, value_name = "SENTENCE", default_value = "none", value_parser = template)]
    template: Template,
    /// Ask with words as they are typed: full-width letters and, for models that know simplified Chinese alone, traditional characters
    /// are folded otherwise
    #[arg(long)]
    no_fold: bool,
}

fn template(text: &str) -> Result<Template, String> {
    Template::parse(text).ok_or_else(|| "neither `auto`, `none`, a language, nor a sentence with one `{}`".to_owned())
}

/// Queries that were read but not embedded.
pub struct Typed {
    pub queries: Vec<Query>,
    aids: Aids,
}

/// Queries with their vectors.
pub struct Queries {
    pub queries: Vec<Query>,
    pub asked: Vec<Asked>,
    pub embeddings: Embeddings,
}

impl Composing {
    /// Whether there are queries among the options.
    pub fn has_queries(&self) -> bool {
        !self.plus.is_empty()
    }

    /// The queries: words first, then pictures, then items.
    pub fn read(self, words: Vec<String>, images: &[PathBuf], items: &[String]) -> anyhow::Result<Typed> {
        let Self { plus, minus, literal, template, no_fold } = self;
        let parse = |text: &str| Query::parse(text).map_err(hua::Error::from);
        let mut queries = match literal {
            true => words.into_iter().map(Query::words).collect(),
            false => joined(words).iter().map(|text| parse(text)).collect::<Result<Vec<_>, _>>()?,
        };
        queries.extend(images.iter().map(|path| Query::of(Content::Picture(path.to_string_lossy().into_owned()))));
        queries.extend(items.iter().map(|item| Query::of(Content::Item(item.clone()))));
        let mut plus = plus.iter().map(|text| parse(text)).collect::<Result<Vec<_>, _>>()?;
        let minus = minus.iter().map(|text| parse(text)).collect::<Result<Vec<_>, _>>()?;
        if queries.is_empty() && !plus.is_empty() {
            queries.push(plus.remove(0));
        }
        for query in &mut queries {
            let added = plus.iter().map(|term| (term, true)).chain(minus.iter().map(|term| (term, false)));
            *query = added.fold(query.clone(), |query, (term, added)| query.with(term, added));
        }
        Ok(Typed { queries, aids: Aids { fold: !no_fold, template } })
    }
}

/// An operator that is an argument of its own, as rclip's users type it, joins the arguments on both sides.
fn joined(words: Vec<String>) -> Vec<String> {
    let mut joined: Vec<String> = vec![];
    let mut open = false;
    for word in words {
        let operator = matches!(&*word, "+" | "-");
        match joined.last_mut() {
            // What begins with an operator is still one query.
            Some(last) if operator || open => {
                last.push(' ');
                last.push_str(&word);
            }
            _ => joined.push(word),
        }
        open = operator;
    }
    joined
}

impl Typed {
    /// Embeds the queries, and says what there is to say about them.
    pub fn embed(self, session: &Session, embedder: &Embedder, items: &dyn Items) -> anyhow::Result<Queries> {
        let Self { queries, aids } = self;
        let found = vectors(embedder, &queries, &aids, items)?;
        for (before, after) in &found.folded {
            session.printer.note(format!("`{before}` is asked as `{after}`; `--no-fold` asks it as it is"));
        }
        for strange in &found.strange {
            session.printer.warning(format!("{strange}; choose a model that knows the language with `--model`"));
        }
        let (texts, truncated): (Vec<String>, Vec<_>) =
            found.cut.into_iter().enumerate().map(|(index, (text, cut))| (text, hua::Truncation { index, ..cut })).unzip();
        let mut cut = CutTexts::default();
        cut.add(&texts, &truncated);
        session.warn_cut(&cut);
        let mut pictures = found.pictures.into_iter();
        let asked = queries.iter().map(|query| asked(query, &mut pictures)).collect();
        Ok(Queries { queries, asked, embeddings: found.embeddings })
    }
}

/// A query as it is shown, with its pictures, which are the next of `pictures`.
fn asked(query: &Query, pictures: &mut impl Iterator<Item = (String, Picture)>) -> Asked {
    let count = query.terms().iter().filter(|term| matches!(term.content, Content::Picture(_))).count();
    let mut own: Vec<(String, Picture)> = pictures.take(count).collect();
    match (query.only_words(), query.terms()) {
        (Some(words), _) => Asked::Words(words.to_owned()),
        (None, [term]) if term.weight > 0.0 && count == 1 => {
            let (name, picture) = own.remove(0);
            Asked::Picture { picture, name }
        }
        _ => Asked::Composed { pictures: own.into_iter().map(|(_, picture)| picture).collect(), words: query.to_string() },
    }
}

/// The complaint about options that only a library understands.
pub fn needs_library(option: &str, place: &str) -> Complaint {
    Complaint::caller(format!("`{option}` needs a library, and {place} is none")).hint("`hua index DIR -o LIB` makes one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_that_are_arguments_join_their_neighbours() {
        let joined_of = |words: &[&str]| joined(words.iter().map(|word| (*word).to_owned()).collect());
        assert_eq!(joined_of(&["horse", "+", "stripes", "-", "2:grass", "cow"]), ["horse + stripes - 2:grass", "cow"]);
        assert_eq!(joined_of(&["-", "dog", "+"]), ["- dog +"]);
        assert_eq!(joined_of(&["a - b", "c"]), ["a - b", "c"]);
    }
}
