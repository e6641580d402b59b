//! The most probable cut of a text into pieces: Viterbi over the ends of pieces.
//!
//! Follows `Model::EncodeOptimized` of sentencepiece 0.2.3: scores are added in single precision, the first of
//! equals wins, and beyond ±100,000 all open scores are moved back towards zero. Double precision would be better
//! arithmetic and other ids: ten of the golden lines tell the two apart. Time is linear in the text: no piece is longer than [`LONGEST_PIECE`].
use super::proto::{Piece, PieceKind};
use crate::TextError;
use crate::pieces::{LONGEST_PIECE, Pieces};

/// What an unknown character costs more than the worst piece.
const UNKNOWN_PENALTY: f32 = 10.0;
/// Where scores are moved back to zero.
const RESET: f32 = 100_000.0;

/// A vocabulary ready to cut.
#[derive(Debug)]
pub(super) struct Lattice {
    pieces: Pieces,
    /// Of each piece; `None` if it stands for no text.
    scores: Vec<Option<f32>>,
    unknown_score: f32,
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
    /// Checks the pieces; their order gives their ids.
    pub(super) fn new(list: Vec<Piece>) -> Result<Self, TextError> {
        check_first(&list)?;
        let (mut pieces, mut scores) = (Pieces::default(), Vec::with_capacity(list.len()));
        for (id, Piece { text, score, kind }) in list.iter().enumerate() {
            if !score.is_finite() || text.is_empty() || text.len() > LONGEST_PIECE {
                let found = format!("{} bytes with score {score} (piece {id})", text.len());
                return Err(TextError::invalid("a piece", found, "1 to 1024 bytes with a finite score"));
            }
            if pieces.push(text).is_some() {
                return Err(TextError::invalid("a piece", format!("a second `{}` (piece {id})", text.escape_debug()), "distinct pieces"));
            }
            scores.push((*kind == PieceKind::Normal).then_some(*score));
        }
        let lowest = scores.iter().flatten().copied().reduce(f32::min);
        let lowest = lowest.ok_or_else(|| TextError::invalid("the pieces", "special ones alone", "some that spell text"))?;
        Ok(Self { pieces, scores, unknown_score: lowest - UNKNOWN_PENALTY })
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
            for (length, piece) in self.pieces.prefixes(&text[start..]) {
                let Some(score) = self.scores[piece as usize] else { continue };
                let end = start + length;
                reach(&mut nodes[end], Some(piece), start, score + here);
                frontier = frontier.max(end);
                single |= length == c.len_utf8();
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
