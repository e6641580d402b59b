//! The pieces of a Unigram vocabulary, and which of them a text begins with.
//!
//! XLM-R has a quarter of a million, and who asks for one embedding waits until they can be looked up. So they lie in one string
//! behind one another, and a hash table holds their numbers: that is there ten times as soon as a trie with a node for each
//! character. The hash goes on byte by byte, so that looking for every beginning of a text hashes none twice.
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use hashbrown::HashTable;

/// In bytes; bounds the time that is spent at each position of a text. XLM-R's longest piece has 48.
pub(crate) const LONGEST_PIECE: usize = 1024;

/// Distinct pieces, numbered in the order in which they came.
#[derive(Debug)]
pub(crate) struct Pieces {
    text: String,
    /// Where each ends in `text`; it begins where the one before ends.
    ends: Vec<u32>,
    /// Hash and number of each.
    index: HashTable<(u32, u32)>,
    seed: Hash,
    longest: usize,
}

impl Default for Pieces {
    fn default() -> Self {
        // Another seed for each table, so that no file can be written whose pieces all collide.
        let seed = Hash(RandomState::new().hash_one(()));
        Self { text: String::new(), ends: Vec::new(), index: HashTable::new(), seed, longest: 0 }
    }
}

impl Pieces {
    /// Adds a piece of 1 to [`LONGEST_PIECE`] bytes. It takes the place of an equal one before it, whose number is returned.
    ///
    /// # Panics
    /// Beyond 4 GB of text.
    pub(crate) fn push(&mut self, piece: &str) -> Option<u32> {
        let (number, hash) = (self.ends.len() as u32, self.seed.all(piece.as_bytes()));
        self.text.push_str(piece);
        self.ends.push(u32::try_from(self.text.len()).expect("vocabularies are bounded by the size of their files"));
        self.longest = self.longest.max(piece.len());
        let Self { text, ends, index, .. } = self;
        if let Some((_, old)) = index.find_mut(spread(hash), |&(h, other)| h == hash && bytes(text, ends, other) == piece.as_bytes()) {
            return Some(std::mem::replace(old, number));
        }
        index.insert_unique(spread(hash), (hash, number), |&(hash, _)| spread(hash));
        None
    }

    /// How many were added.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The piece of this number.
    pub(crate) fn get(&self, number: u32) -> Option<&str> {
        ((number as usize) < self.len()).then(|| &self.text[range(&self.ends, number)])
    }

    /// The number of a piece.
    pub(crate) fn find(&self, piece: &str) -> Option<u32> {
        self.look_up(self.seed.all(piece.as_bytes()), piece.as_bytes())
    }

    /// The pieces that `text` begins with, shortest first: length in bytes and number.
    pub(crate) fn prefixes(&self, text: &str) -> impl Iterator<Item = (usize, u32)> {
        let most = &text.as_bytes()[..text.len().min(self.longest)];
        most.iter()
            .enumerate()
            .scan(self.seed, |hash, (i, &byte)| {
                *hash = hash.with(byte);
                // In the middle of a character there is nothing to find, since pieces are text.
                let found = if text.is_char_boundary(i + 1) { self.look_up(hash.mixed(), &most[..=i]) } else { None };
                Some(found.map(|number| (i + 1, number)))
            })
            .flatten()
    }

    fn look_up(&self, hash: u32, piece: &[u8]) -> Option<u32> {
        let same = |&(h, number): &(u32, u32)| h == hash && bytes(&self.text, &self.ends, number) == piece;
        self.index.find(spread(hash), same).map(|&(_, number)| number)
    }
}

fn range(ends: &[u32], number: u32) -> Range<usize> {
    let start = (number as usize).checked_sub(1).map_or(0, |before| ends[before]);
    start as usize..ends[number as usize] as usize
}

fn bytes<'a>(text: &'a str, ends: &[u32], number: u32) -> &'a [u8] {
    &text.as_bytes()[range(ends, number)]
}

/// FNV-1a of the bytes so far (Fowler, Noll, Vo), from a seed.
#[derive(Clone, Copy, Debug)]
struct Hash(u64);

impl Hash {
    fn with(self, byte: u8) -> Self {
        Self((self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
    }

    /// FNV's lower bits are poor: MurmurHash3's step mixes the upper ones into them.
    fn mixed(self) -> u32 {
        let h = (self.0 ^ self.0 >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
        (h >> 32) as u32
    }

    fn all(self, bytes: &[u8]) -> u32 {
        bytes.iter().fold(self, |hash, &byte| hash.with(byte)).mixed()
    }
}

/// For the table, which looks at the highest and the lowest bits.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_text_begins_with_the_pieces_that_it_begins_with(
            pieces in proptest::collection::vec("[ab虹é]{1,4}", 0..60),
            text in "[ab虹é]{0,8}",
        ) {
            let mut table = Pieces::default();
            for (i, piece) in pieces.iter().enumerate() {
                let before = pieces[..i].iter().rposition(|other| other == piece);
                prop_assert_eq!(table.push(piece), before.map(|at| at as u32));
            }
            prop_assert_eq!(table.len(), pieces.len());
            for (i, piece) in pieces.iter().enumerate() {
                prop_assert_eq!(table.get(i as u32), Some(&piece[..]));
                prop_assert_eq!(table.find(piece), pieces.iter().rposition(|other| other == piece).map(|at| at as u32));
            }
            prop_assert_eq!(table.get(pieces.len() as u32), None);
            let mut wanted: Vec<_> = (1..=text.len()).filter(|&n| text.is_char_boundary(n)).map(|n| (n, &text[..n])).collect();
            wanted.retain(|(_, prefix)| pieces.iter().any(|piece| piece == prefix));
            let wanted: Vec<_> = wanted.into_iter().map(|(n, prefix)| (n, table.find(prefix).unwrap())).collect();
            prop_assert_eq!(table.prefixes(&text).collect::<Vec<_>>(), wanted);
        }
    }
}
