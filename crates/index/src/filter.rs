//! Which items are meant: SQL on the catalogue, made so that an index answers each of our own conditions.
//!
//! Decided here: what users write is an expression, compiled alone first, with SQLite's authorizer allowing it to read the tables of the
//! catalogue and nothing else. Only what passes stands in a query of ours.
use std::time::{Duration, Instant};

use rusqlite::ErrorCode;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::types::Value;

use crate::catalogue::Catalogue;
use crate::{Error, ItemId, Result};

/// What expressions may read. The tables of FTS5 are read by it, not by whoever asks.
const TABLES: &[&str] = &["captions", "errors", "items", "json_each", "json_tree", "library", "spaces", "tags", "vectors", "words"];
/// Functions that reach beyond the catalogue.
const FORBIDDEN: &[&str] = &["fts3_tokenizer", "fts5", "load_extension"];

/// Some of the items: those that every condition holds for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    terms: Vec<Term>,
    within: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq)]
enum Term {
    Folder(String),
    Items(Vec<ItemId>),
    Tag(String),
    Taken(Option<String>, Option<String>),
    Where(String),
}

impl Filter {
    /// All items.
    pub fn all() -> Self {
        Self::default()
    }

    /// Whether it is all items.
    pub fn is_all(&self) -> bool {
        self.terms.is_empty()
    }

    /// Those of which `sql` is true: an expression as after `WHERE` on the table `items`, which may read the whole catalogue and do
    /// nothing else.
    pub fn and_where(self, sql: impl Into<String>) -> Self {
        self.and(Term::Where(sql.into()))
    }

    /// Those in a folder or anywhere below it; archives and tables are folders too.
    pub fn and_folder(self, folder: impl Into<String>) -> Self {
        self.and(Term::Folder(folder.into()))
    }

    /// Those with a tag, of whatever source.
    pub fn and_tag(self, tag: impl Into<String>) -> Self {
        self.and(Term::Tag(tag.into()))
    }

    /// Those taken from `from` on and before `to`: beginnings of ISO 8601 times, such as `2024` or `2024-05-31`.
    pub fn and_taken(self, from: Option<&str>, to: Option<&str>) -> Self {
        self.and(Term::Taken(from.map(str::to_owned), to.map(str::to_owned)))
    }

    /// Those listed.
    pub fn and_items(self, items: &[ItemId]) -> Self {
        self.and(Term::Items(items.to_vec()))
    }

    /// How long users' expressions may take to evaluate, instead of 30 seconds: what joins a table with itself may take for ever.
    pub fn within(self, limit: Duration) -> Self {
        Self { within: Some(limit), ..self }
    }

    fn and(mut self, term: Term) -> Self {
        self.terms.push(term);
        self
    }

    /// A `SELECT` of the column `id`, each once, and the values of its parameters, from the first on.
    pub(crate) fn select(&self, catalogue: &Catalogue) -> Result<(String, Vec<Value>)> {
        let mut sql = String::from("SELECT id FROM items WHERE 1");
        let mut values: Vec<Value> = vec![];
        let mut value = |value: Value| {
            values.push(value);
            format!("?{}", values.len())
        };
        if let [Term::Tag(tag)] = &self.terms[..] {
            // The index on tags knows all; the items need not be looked at.
            return Ok(("SELECT DISTINCT item AS id FROM tags WHERE tag = ?1".into(), vec![tag.clone().into()]));
        }
        for term in &self.terms {
            sql += " AND (";
            match term {
                Term::Folder(folder) => {
                    let folder = folder.trim_end_matches('/');
                    // Each is a range of the index on folders; what separates a folder from what is in it is one of three characters.
                    sql += &format!("folder = {}", value(folder.to_owned().into()));
                    for separator in ['/', '!', '#'] {
                        let next = char::from(separator as u8 + 1);
                        let (from, to) = (value(format!("{folder}{separator}").into()), value(format!("{folder}{next}").into()));
                        sql += &format!(" OR folder >= {from} AND folder < {to}");
                    }
                }
                Term::Items(items) => {
                    let list: Vec<i64> = items.iter().map(|item| item.0).collect();
                    let list = serde_json::to_string(&list).expect("numbers are JSON");
                    sql += &format!("id IN (SELECT value FROM json_each({}))", value(list.into()));
                }
                Term::Tag(tag) => sql += &format!("id IN (SELECT item FROM tags WHERE tag = {})", value(tag.clone().into())),
                Term::Taken(from, to) => {
                    sql += "taken IS NOT NULL";
                    for (what, at) in [(">=", from), ("<", to)] {
                        if let Some(at) = at {
                            sql += &format!(" AND taken {what} {}", value(at.clone().into()));
                        }
                    }
                }
                Term::Where(expression) => {
                    examine(catalogue, expression)?;
                    // A line of its own: a comment ends there.
                    sql += expression;
                    sql += "\n";
                }
            }
            sql += ")";
        }
        Ok((sql, values))
    }

    /// Runs a query that this filter is part of. What goes wrong is the expression's fault, or the catalogue's.
    pub(crate) fn run<T>(&self, catalogue: &Catalogue, query: impl FnOnce() -> rusqlite::Result<T>) -> Result<T> {
        /// Steps of SQLite's machine between two looks at the clock: about a tenth of a millisecond.
        const STEPS: i32 = 10_000;
        let own = self.terms.iter().find_map(|term| if let Term::Where(sql) = term { Some(sql) } else { None });
        let Some(filter) = own else { return query().map_err(catalogue.error()) };
        let limit = self.within.unwrap_or(Duration::from_secs(30));
        let start = Instant::now();
        let db = &catalogue.db;
        db.progress_handler(STEPS, Some(move || start.elapsed() > limit)).map_err(catalogue.error())?;
        let done = query();
        db.progress_handler(0, None::<fn() -> bool>).map_err(catalogue.error())?;
        done.map_err(|error| {
            let reason = match error.sqlite_error_code() {
                Some(ErrorCode::OperationInterrupted) => format!("it takes longer than {limit:?}"),
                Some(ErrorCode::Unknown | ErrorCode::TooBig | ErrorCode::TypeMismatch | ErrorCode::OutOfMemory) => reason(&error),
                _ => return catalogue.error()(error),
            };
            Error::Filter { filter: filter.clone(), reason }
        })
    }
}

/// Compiles a user's expression in two ways: alone, so that it cannot close our parenthesis and open its own, and in parentheses, so that
/// nothing follows it.
fn examine(catalogue: &Catalogue, expression: &str) -> Result<()> {
    let refuse = |reason: String| Error::Filter { filter: expression.to_owned(), reason };
    if expression.contains('\0') {
        return Err(refuse("it holds a zero byte".into()));
    }
    let db = &catalogue.db;
    db.authorizer(Some(allow)).map_err(catalogue.error())?;
    let compile = |sql: String| match db.prepare(&sql) {
        Ok(statement) if statement.parameter_count() > 0 => Err(refuse("it has a parameter, and no value for it".into())),
        Ok(_) => Ok(()),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::AuthorizationForStatementDenied) => {
            Err(refuse("it may read the tables of the catalogue and do nothing else".into()))
        }
        Err(error) => Err(refuse(reason(&error))),
    };
    let both = compile(format!("SELECT id FROM items WHERE {expression}\n"))
        .and_then(|()| compile(format!("SELECT id FROM items WHERE (\n{expression}\n)")));
    db.authorizer(None::<fn(AuthContext<'_>) -> Authorization>).map_err(catalogue.error())?;
    both
}

fn allow(context: AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Select => Authorization::Allow,
        AuthAction::Read { table_name, .. } if TABLES.iter().any(|t| table_name.eq_ignore_ascii_case(t)) => Authorization::Allow,
        AuthAction::Function { function_name } if !FORBIDDEN.iter().any(|f| function_name.eq_ignore_ascii_case(f)) => Authorization::Allow,
        _ => Authorization::Deny,
    }
}

/// What SQLite says of an expression, without the statement that we put it into.
fn reason(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqlInputError { msg, .. } | rusqlite::Error::SqliteFailure(_, Some(msg)) => msg.clone(),
        other => other.to_string(),
    }
}
