//! SentencePiece's normaliser: replace characters by the longest key of the table, fold spaces, mark word starts.
//!
//! Follows `Normalizer::Normalize` of sentencepiece 0.2.3. A space is written as U+2581 when the model escapes it.
use super::proto::NormalizerSpec;
use crate::TextError;
use crate::charsmap::Charsmap;

/// How a space is written inside pieces.
const ESCAPED_SPACE: &str = "\u{2581}";

/// Text as the model's pieces are written.
#[derive(Debug)]
pub(super) struct Normalizer {
    charsmap: Option<Charsmap>,
    space: &'static str,
    add_dummy_prefix: bool,
    fold_spaces: bool,
}

impl Normalizer {
    /// Checks the table of replacements.
    pub(super) fn new(spec: NormalizerSpec) -> Result<Self, TextError> {
        let charsmap = if spec.charsmap.is_empty() { None } else { Some(Charsmap::parse(&spec.charsmap)?) };
        let space = if spec.escape_whitespaces { ESCAPED_SPACE } else { " " };
        Ok(Self { charsmap, space, add_dummy_prefix: spec.add_dummy_prefix, fold_spaces: spec.remove_extra_whitespaces })
    }

    /// The normalised text; empty if there is nothing but spaces.
    pub(super) fn normalize(&self, text: &str) -> String {
        let mut rest = text;
        if self.fold_spaces {
            while let (length, " ") = self.prefix(rest) {
                rest = &rest[length..];
            }
        }
        let mut out = String::with_capacity(rest.len() + self.space.len());
        if rest.is_empty() {
            return out;
        }
        if self.add_dummy_prefix {
            out.push_str(self.space);
        }
        let mut after_space = self.fold_spaces;
        while !rest.is_empty() {
            let (length, replacement) = self.prefix(rest);
            rest = &rest[length..];
            let replacement = if after_space { replacement.trim_start_matches(' ') } else { replacement };
            if !replacement.is_empty() {
                out.push_str(&replacement.replace(' ', self.space));
                after_space = self.fold_spaces && replacement.ends_with(' ');
            }
        }
        if self.fold_spaces {
            out.truncate(out.trim_end_matches(self.space).len());
        }
        out
    }

    /// The bytes taken from the start of `text` and what they become; `(0, "")` at the end.
    fn prefix<'a>(&'a self, text: &'a str) -> (usize, &'a str) {
        let replaced = self.charsmap.as_ref().and_then(|map| map.longest_prefix(text));
        replaced.unwrap_or_else(|| {
            let length = text.chars().next().map_or(0, char::len_utf8);
            (length, &text[..length])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_fold_and_words_are_marked() {
        let normalizer = Normalizer::new(NormalizerSpec::default()).unwrap();
        assert_eq!(normalizer.normalize("  a  b "), "▁a▁b");
        assert_eq!(normalizer.normalize("   "), "");
        assert_eq!(normalizer.normalize(""), "");
    }

    #[test]
    fn spaces_stay_where_the_model_keeps_them() {
        let spec = NormalizerSpec { remove_extra_whitespaces: false, add_dummy_prefix: false, ..NormalizerSpec::default() };
        assert_eq!(Normalizer::new(spec).unwrap().normalize(" a  b "), "▁a▁▁b▁");
    }
}
