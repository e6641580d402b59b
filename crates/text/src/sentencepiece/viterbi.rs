//! The most probable cut of a text into pieces: Viterbi over the ends of pieces.
//!
//! Follows `Model::EncodeOptimized` of sentencepiece 0.2.3: scores are added in single precision, the first of
//! equals wins, and beyond ±100,000 all open scores are moved back towards zero. Double precision would be better
//! arithmetic and other ids: ten of the golden lines tell the two apart. Time is linear in the text: no piece is longer than [`LONGEST_PIECE`].
use std::collections::HashSet;

use super::proto::{Piece, PieceKind};
use crate::TextError;

/// What an unknown character costs more than the worst piece.
const UNKNOWN_PENALTY: f32 = 10.0;
/// Where scores are moved back to zero.
const RESET: f32 = 100_000.0;
/// In bytes; XLM-R's longest piece has 48.
const LONGEST_PIECE: usize = 1024;

/// A vocabulary ready to cut.
#[derive(Debug)]
pub(super) struct Lattice {
    /// Sorted by bytes.
    pieces: Vec<Entry>,
    unknown_score: f32,
}

#[derive(Debug)]
struct Entry {
    bytes: Box<[u8]>,
    id: u32,
    score: f32,
}

/// The best way to reach a position of the text.
#[derive(Clone, Copy)]
struct Node {
    /// `None` is the unknown piece.
    piece: Option<u32>,
    start: usize,
    score: f32,
    reached: bool,
}

impl Lattice {
    /// Sorts and checks the pieces; their order gives their ids.
    pub(super) fn new(pieces: Vec<Piece>) -> Result<Self, TextError> {
        check_first(&pieces)?;
        let mut lowest = f32::MAX;
        let mut entries = Vec::with_capacity(pieces.len());
        let mut seen = HashSet::with_capacity(pieces.len());
        for (id, piece) in pieces.iter().enumerate() {
            if !piece.score.is_finite() || piece.text.is_empty() || piece.text.len() > LONGEST_PIECE {
                let found = format!("{} bytes with score {} (piece {id})", piece.text.len(), piece.score);
                return Err(TextError::invalid("a piece", found, "1 to 1024 bytes with a finite score"));
            }
            if !seen.insert(piece.text.as_str()) {
                return Err(TextError::invalid(
                    "a piece",
                    format!("a second `{}` (piece {id})", piece.text.escape_debug()),
                    "distinct pieces",
                ));
            }
            if piece.kind == PieceKind::Normal {
                lowest = lowest.min(piece.score);
                entries.push(Entry { bytes: piece.text.as_bytes().into(), id: id as u32, score: piece.score });
            }
        }
        if entries.is_empty() {
            return Err(TextError::invalid("the pieces", "special ones alone", "some that spell text"));
        }
        entries.sort_unstable_by(|a, b| a.bytes.cmp(&b.bytes));
        Ok(Self { pieces: entries, unknown_score: lowest - UNKNOWN_PENALTY })
    }

    /// The pieces of `text` in order; a run of unknown characters is one `None`.
    pub(super) fn segment(&self, text: &str) -> Vec<Option<u32>> {
        let mut nodes = vec![Node { piece: None, start: 0, score: 0.0, reached: false }; text.len() + 1];
        let mut frontier = 0;
        for (start, c) in text.char_indices() {
            if nodes[start].score.abs() > RESET {
                let offset = nodes[start].score;
                nodes[start].score = 0.0;
                nodes[start + 1..=frontier].iter_mut().filter(|node| node.reached).for_each(|node| node.score -= offset);
            }
            let here = nodes[start].score;
            let mut single = false;
            for entry in self.prefixes(&text.as_bytes()[start..]) {
                let end = start + entry.bytes.len();
                reach(&mut nodes[end], Some(entry.id), start, entry.score + here);
                frontier = frontier.max(end);
                single |= entry.bytes.len() == c.len_utf8();
            }
            if !single {
                let end = start + c.len_utf8();
                reach(&mut nodes[end], None, start, self.unknown_score + here);
                frontier = frontier.max(end);
            }
        }
        let mut pieces = Vec::new();
        let mut end = text.len();
        while end > 0 {
            let node = nodes[end];
            if node.piece.is_some() || pieces.last() != Some(&None) {
                pieces.push(node.piece);
            }
            end = node.start;
        }
        pieces.reverse();
        pieces
    }

    /// The pieces that `bytes` starts with, shortest first.
    fn prefixes(&self, bytes: &[u8]) -> impl Iterator<Item = &Entry> {
        let mut range = &self.pieces[..];
        bytes
            .iter()
            .enumerate()
            .map_while(move |(depth, byte)| {
                // All of `range` agree with `bytes` up to `depth`, so they are sorted by the byte there.
                let at = |entry: &Entry| entry.bytes.get(depth).copied();
                let from = range.partition_point(|entry| at(entry) < Some(*byte));
                let to = from + range[from..].partition_point(|entry| at(entry) == Some(*byte));
                range = &range[from..to];
                (!range.is_empty()).then(|| range.first().filter(|entry| entry.bytes.len() == depth + 1))
            })
            .flatten()
    }
}

/// Keeps the better way to a node; the first of equals.
fn reach(node: &mut Node, piece: Option<u32>, start: usize, score: f32) {
    if !node.reached || score > node.score {
        *node = Node { piece, start, score, reached: true };
    }
}

/// XLM-R's numbering stands on the first three pieces.
fn check_first(pieces: &[Piece]) -> Result<(), TextError> {
    let first: Vec<_> = pieces.iter().take(3).map(|piece| piece.text.as_str()).collect();
    let unknown = pieces.iter().position(|piece| piece.kind == PieceKind::Unknown);
    if first != ["<unk>", "<s>", "</s>"] || unknown != Some(0) || pieces[1..].iter().any(|piece| piece.kind == PieceKind::Unknown) {
        return Err(TextError::invalid("the start of the pieces", format!("{first:?}"), "`<unk>`, `<s>`, `</s>`, as in XLM-R"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lattice(normal: &[(&str, f32)]) -> Lattice {
        let piece = |text: &str, score, kind| Piece { text: text.to_owned(), score, kind };
        let mut pieces =
            vec![piece("<unk>", 0.0, PieceKind::Unknown), piece("<s>", 0.0, PieceKind::Control), piece("</s>", 0.0, PieceKind::Control)];
        pieces.extend(normal.iter().map(|(text, score)| piece(text, *score, PieceKind::Normal)));
        Lattice::new(pieces).unwrap()
    }

    #[test]
    fn the_most_probable_cut_wins() {
        let lattice = lattice(&[("a", -1.0), ("b", -1.0), ("ab", -1.5), ("abc", -9.0), ("c", -1.0)]);
        assert_eq!(lattice.segment("abc"), [Some(5), Some(7)]);
    }

    #[test]
    fn unknown_characters_in_a_row_are_one_piece() {
        assert_eq!(lattice(&[("a", -1.0)]).segment("a虹虹a<s>"), [Some(3), None, Some(3), None]);
    }

    #[test]
    fn long_texts_do_not_run_out_of_precision() {
        let lattice = lattice(&[("a", -40.0), ("aa", -79.9)]);
        assert_eq!(lattice.segment(&"a".repeat(20_000)), [Some(4); 10_000]);
    }
}
