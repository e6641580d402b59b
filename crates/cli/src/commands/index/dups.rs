//! `hua index dups`: near-duplicates.

use std::path::PathBuf;

use clap::Args;
use hua::Error;
use hua::index::{Filter, Reader, SpaceId};
use hua::query::{DuplicateOptions, SUGGESTED_COSINE, cores, duplicates};
use hua::shown::thousands;
use serde::Serialize;

use super::open;
use crate::complaint::Complaint;
use crate::session::Session;
use crate::table::{Align, Table, counted};

/// Find pictures that are nearly the same
///
/// Groups pictures whose vectors are so near that they are copies, other sizes or edits of one picture. Every pair is compared, so nothing
/// is missed; that takes seconds for ten thousand pictures, a minute or so for a hundred thousand, and hours for a million. Every picture of a
/// group is near to the first; pictures that are only joined by others in between come into groups of their own, unless `--chains`.
///
/// Nothing is deleted. The first of a group has the most neighbours, and is the one that came first among several.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua index dups library
  hua index dups library --least 0.99 --where \"folder LIKE '/home/me/phone%'\"
  hua index dups library --json | jq -r '.items[1:][] | select(.same_file) | .path'      copies, the first left out")]
pub struct Arguments {
    /// The library
    #[arg(value_name = "LIB")]
    library: PathBuf,
    /// The least cosine of two pictures that are nearly the same
    #[arg(long, value_name = "COSINE", default_value = SUGGESTED)]
    least: f32,
    /// Leave pictures together that are joined by others in between
    #[arg(long)]
    chains: bool,
    /// Only items of which this SQL is true, as in `hua search`
    #[arg(long = "where", value_name = "SQL")]
    filter: Option<String>,
    /// One JSON object a group a line: {"items": [{"item", "path", "score", "same_file"}]}
    #[arg(long)]
    json: bool,
}

/// [`SUGGESTED_COSINE`] as clap wants it; a test says that it is.
const SUGGESTED: &str = "0.97";

#[derive(Serialize)]
struct Group {
    items: Vec<Member>,
}

#[derive(Serialize)]
struct Member {
    item: i64,
    path: String,
    score: f32,
    same_file: bool,
}

pub fn run(Arguments { library, least, chains, filter, json }: Arguments, session: &Session) -> anyhow::Result<()> {
    if !(0.5..=1.0).contains(&least) {
        let message = format!("`--least` is {least}, wanted a cosine from 0.5 to 1, such as {SUGGESTED_COSINE}");
        return Err(Complaint::caller(message).into());
    }
    let reader = open(&library)?;
    let space = live(&reader)?;
    let filter = filter.map_or_else(Filter::all, |sql| Filter::all().and_where(sql));
    let bar = session.bar();
    let groups = duplicates(&reader, &cores(session.settings.threads)?, space, &DuplicateOptions { least, chains, filter }, &bar)?;
    drop(bar);
    let mut more = 0;
    for (number, group) in groups.iter().enumerate() {
        let mut items = vec![];
        for member in &group.items {
            let path = reader.item(member.item).map_err(Error::from)?.map(|item| item.path).unwrap_or_default();
            items.push(Member { item: member.item.0, path, score: member.score, same_file: member.same_file });
        }
        more += items.len() - 1;
        if json {
            session.printer.json(&Group { items })?;
            continue;
        }
        if number > 0 {
            session.printer.data("")?;
        }
        let mut table = Table::plain(&[Align::Right, Align::Right, Align::Left, Align::Left]);
        for member in items {
            let same = if member.same_file { "same file" } else { "" };
            table.row([member.item.to_string(), format!("{:.3}", member.score), member.path, same.into()]);
        }
        session.printer.data(table)?;
    }
    let found = counted(groups.len(), "group");
    session.printer.note(format!("{found}; {} pictures besides the first of each", thousands(more as u64)));
    Ok(())
}

/// The space that answers. What compares pictures with pictures alone needs no model.
pub fn live(reader: &Reader) -> Result<SpaceId, Complaint> {
    let none = || Complaint::file(format!("`{}` has no vectors that answer", reader.path().display()));
    reader.space(None).map(|space| space.id).ok_or_else(none)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cosine_in_the_help_is_the_suggested_one() {
        assert_eq!(SUGGESTED.parse(), Ok(SUGGESTED_COSINE));
    }
}
