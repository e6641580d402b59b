//! SentencePiece's table of character replacements, `precompiled_charsmap`, checked before anyone walks it.
//!
//! The bytes are: length of a trie (u32), the trie (Darts-clone double array of u32 units), then the replacements, each
//! closed by NUL. Walking is xor and index; the `tokenizers` crate indexes without a check, so a made-up trie would
//! panic there. [`Charsmap::parse`] proves every step of every walk to be inside, for both users.
//!
//! The two users match differently, and both are right: SentencePiece takes the longest key at each position; the
//! fast tokenizer of Hugging Face looks up graphemes and takes the *shortest* key. See `sentencepiece/normalize.rs`.
use crate::TextError;

/// In bytes; XLM-R's table has 237,539.
const LARGEST: u64 = 1 << 20;
/// In bytes. U+FDFA, the longest of Unicode, becomes 33; without a bound a short text could become gigabytes.
const LONGEST_REPLACEMENT: usize = 256;
const WANTED: &str = "a double array whose every step stays inside, then UTF-8 replacements";

/// Replacements of characters by others, as a double-array trie over UTF-8 bytes.
#[derive(Clone, Debug)]
pub(crate) struct Charsmap {
    units: Vec<u32>,
    replacements: String,
}

impl Charsmap {
    /// Reads the table; refuses one in which a walk could leave the trie or the replacements.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, TextError> {
        let invalid = |found: &str| TextError::invalid("the precompiled charsmap", found, WANTED);
        TextError::limit(bytes, LARGEST)?;
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| invalid("shorter than its own length"))?;
        let length = u32::from_le_bytes(*length) as usize;
        if length > rest.len() || !length.is_multiple_of(4) || length == 0 {
            return Err(invalid(&format!("a trie of {length} bytes in {}", rest.len())));
        }
        let (trie, replacements) = rest.split_at(length);
        let units: Vec<u32> = trie.as_chunks::<4>().0.iter().map(|unit| u32::from_le_bytes(*unit)).collect();
        let replacements = std::str::from_utf8(replacements).map_err(|_| invalid("a text that is not UTF-8"))?.to_owned();
        let map = Self { units, replacements };
        for (at, &unit) in map.units.iter().enumerate() {
            map.check(at, unit).map_err(|found| invalid(&found))?;
        }
        Ok(map)
    }

    /// A unit with a label leads to 256 possible children and perhaps to a value; all must exist.
    fn check(&self, at: usize, unit: u32) -> Result<(), String> {
        if unit & VALUE != 0 {
            return Ok(());
        }
        let base = at ^ offset(unit);
        if (base | 0xff) >= self.units.len() {
            return Err(format!("a trie that leads from unit {at} to {base} of {}", self.units.len()));
        }
        if has_value(unit) {
            let value = (self.units[base] & !VALUE) as usize;
            if self.replacement(value).is_none() {
                return Err(format!("an endless replacement at byte {value} of {}", self.replacements.len()));
            }
        }
        Ok(())
    }

    /// The longest key at the start of `text`: its length in bytes and its replacement.
    pub(crate) fn longest_prefix(&self, text: &str) -> Option<(usize, &str)> {
        let mut at = offset(*self.units.first()?);
        let mut found = None;
        for (index, byte) in text.bytes().enumerate() {
            at ^= usize::from(byte);
            let unit = *self.units.get(at)?;
            if unit & (VALUE | 0xff) != u32::from(byte) {
                break;
            }
            at ^= offset(unit);
            if has_value(unit) && text.is_char_boundary(index + 1) {
                let value = (self.units.get(at)? & !VALUE) as usize;
                found = Some((index + 1, value));
            }
        }
        found.and_then(|(length, value)| Some((length, self.replacement(value)?)))
    }

    /// The replacement that starts at byte `value`, up to its NUL.
    fn replacement(&self, value: usize) -> Option<&str> {
        let rest = self.replacements.get(value..)?;
        let length = rest.bytes().take(LONGEST_REPLACEMENT + 1).position(|byte| byte == 0)?;
        Some(&rest[..length])
    }
}

/// Set in units that hold a value instead of a label.
const VALUE: u32 = 1 << 31;

fn has_value(unit: u32) -> bool {
    unit & (1 << 8) != 0
}

fn offset(unit: u32) -> usize {
    ((unit >> 10) << ((unit & (1 << 9)) >> 6)) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A trie that maps "b" to "x".
    fn tiny() -> Vec<u8> {
        let mut units = vec![0u32; 768];
        units[0] = 256 << 10;
        units[256 + 0x62] = 0x62 | 1 << 8 | (((256 + 0x62) ^ 512) << 10) as u32;
        units[512] = VALUE;
        let mut bytes = 3072u32.to_le_bytes().to_vec();
        bytes.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
        bytes.extend(b"x\0");
        bytes
    }

    #[test]
    fn a_key_is_found_with_its_replacement() {
        let map = Charsmap::parse(&tiny()).unwrap();
        assert_eq!(map.longest_prefix("bc"), Some((1, "x")));
        assert_eq!(map.longest_prefix("cb"), None);
        assert_eq!(map.longest_prefix(""), None);
    }

    #[test]
    fn a_walk_that_would_leave_the_trie_is_refused() {
        let mut bytes = tiny();
        bytes[4..8].copy_from_slice(&(4096u32 << 10).to_le_bytes());
        assert!(Charsmap::parse(&bytes).is_err());
        assert!(Charsmap::parse(&tiny()[..3000]).is_err());
    }

    #[test]
    fn a_replacement_without_an_end_is_refused() {
        let mut bytes = tiny();
        bytes.pop();
        assert!(Charsmap::parse(&bytes).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_walk_leaves_a_table_that_was_accepted(
            changes in proptest::collection::vec((0usize..768, any::<u8>(), any::<bool>(), any::<bool>(), 0u32..1024), 0..40),
            text in "[a-d虹\u{301}\u{0}\u{ff}]{0,12}",
        ) {
            let mut bytes = tiny();
            for (at, label, has_value, wide, offset) in changes {
                let unit = u32::from(label) | u32::from(has_value) << 8 | u32::from(wide) << 9 | offset << 10;
                bytes[4 + at * 4..][..4].copy_from_slice(&unit.to_le_bytes());
            }
            if let Ok(map) = Charsmap::parse(&bytes) {
                let _ = map.longest_prefix(&text);
                // The library walks the same table without looking.
                let library = tokenizers::normalizers::Precompiled::from(&bytes).unwrap();
                let mut normalized = tokenizers::NormalizedString::from(text);
                tokenizers::Normalizer::normalize(&library, &mut normalized).unwrap();
            }
        }
    }
}
