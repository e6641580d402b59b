//! Tables for people: columns as wide as their widest cell, measured in terminal cells (a Han character is two wide, a combining
//! mark none), so that mixed scripts line up. For machines there is `--json`.

use std::fmt;

use hua::shown::thousands;
use unicode_width::UnicodeWidthStr;

use crate::printer::printable;

/// Which side of the column the text keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// Rows under optional titles; `Display` lays it out, two spaces between columns, without a final line feed.
#[derive(Clone, Debug)]
pub struct Table {
    align: Vec<Align>,
    rows: Vec<Vec<String>>,
    indent: usize,
}

impl Table {
    /// A table with a row of titles.
    pub fn titled(columns: &[(&str, Align)]) -> Self {
        let mut table = Self::plain(&columns.iter().map(|(_, align)| *align).collect::<Vec<_>>());
        table.row(columns.iter().map(|(title, _)| (*title).to_owned()));
        table
    }

    /// A table without titles.
    pub fn plain(align: &[Align]) -> Self {
        Self { align: align.to_vec(), rows: Vec::new(), indent: 0 }
    }

    /// Spaces before every line.
    pub fn indented(mut self, spaces: usize) -> Self {
        self.indent = spaces;
        self
    }

    /// Adds a row; cells beyond the columns are left out, missing ones are empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut row: Vec<String> = cells.into_iter().map(|cell| printable(&cell).replace('\n', "\\n")).collect();
        row.resize(self.align.len(), String::new());
        self.rows.push(row);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<usize> =
            (0..self.align.len()).map(|column| self.rows.iter().map(|row| row[column].width()).max().unwrap_or(0)).collect();
        for (number, row) in self.rows.iter().enumerate() {
            let mut line = " ".repeat(self.indent);
            for ((cell, &width), align) in row.iter().zip(&widths).zip(&self.align) {
                let fill = " ".repeat(width - cell.width());
                match align {
                    Align::Left => line.extend([cell, fill.as_str(), "  "]),
                    Align::Right => line.extend([fill.as_str(), cell, "  "]),
                }
            }
            let line = line.trim_end();
            if number > 0 { write!(out, "\n{line}")? } else { write!(out, "{line}")? }
        }
        Ok(())
    }
}

/// `1 picture`, `2,000 pictures`.
pub fn counted(number: usize, noun: &str) -> String {
    format!("{} {noun}{}", thousands(number as u64), if number == 1 { "" } else { "s" })
}

/// A quantity with a decimal prefix and three or four figures: `35.1 G`.
pub fn with_prefix(quantity: u64) -> String {
    const PREFIXES: [(u64, &str); 4] = [(1_000_000_000_000, "T"), (1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    match PREFIXES.iter().find(|(size, _)| quantity >= *size) {
        Some((size, prefix)) => {
            let value = quantity as f64 / *size as f64;
            format!("{value:.*} {prefix}", if value < 100.0 { 1 } else { 0 })
        }
        None => format!("{quantity} "),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn columns_line_up_in_every_script() {
        let mut table = Table::titled(&[("rank", Align::Right), ("word", Align::Left), ("score", Align::Right)]);
        for (rank, word, score) in
            [("1", "rainbow", "0.5"), ("2", "彩虹", "0.25"), ("10", "무지개", "1.125"), ("3", "قوس قزح", "0"), ("4", "e\u{301}", "1")]
        {
            table.row([rank, word, score].map(String::from));
        }
        assert_snapshot!(table, @"
        rank  word     score
           1  rainbow    0.5
           2  彩虹      0.25
          10  무지개   1.125
           3  قوس قزح      0
           4  e\u{301}            1
        ");
    }

    #[test]
    fn a_line_feed_in_a_cell_does_not_break_the_row() {
        let mut table = Table::plain(&[Align::Left]).indented(2);
        table.row(["a\nb".to_owned()]);
        assert_eq!(table.to_string(), "  a\\nb");
    }

    #[test]
    fn numbers_are_grouped_and_prefixed() {
        assert_eq!([7, 1234, 864_186_113].map(thousands), ["7", "1,234", "864,186,113"]);
        assert_eq!([7, 35_100_000_000, 188_262_913].map(with_prefix), ["7 ", "35.1 G", "188 M"]);
    }
}
