//! Which items are meant: SQL on the catalogue.
use crate::ItemId;

/// Some of the items: those that every condition holds for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    terms: Vec<Term>,
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

    fn and(mut self, term: Term) -> Self {
        self.terms.push(term);
        self
    }
}
