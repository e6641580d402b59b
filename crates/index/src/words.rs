//! Texts as words that can be looked up, in any language.
//!
//! Decided here: FTS5 splits at spaces only, and we cut the text before it, at writing and at asking alike. A text is brought to NFKC,
//! small letters, without accents. Letters and digits make a word, but in scripts that are written without spaces between words (Chinese,
//! Japanese, Korean, Thai, Lao, Khmer, Burmese) each character makes one with the character behind it, the last of a run alone: so every
//! character begins exactly one word. A run of two or more is found by its pairs in a row, a single character by how words begin.
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Letters of a word at most; longer ones are noise, such as base64.
const LONGEST: usize = 64;

/// The text as words with spaces between, for FTS5 to index.
pub(crate) fn cut(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for run in runs(text) {
        match run {
            Run::Dense(run) => (0..run.len()).for_each(|i| push(&mut out, run[i..].iter().take(2))),
            Run::Word(word) => push(&mut out, word.iter()),
        }
    }
    out
}

/// What finds texts with all of these words, in the language of FTS5; `None` if there is no word.
pub(crate) fn query(text: &str) -> Option<String> {
    let terms: Vec<String> = runs(text)
        .map(|run| match run {
            Run::Dense(run) if run.len() == 1 => format!("\"{}\"*", run[0]),
            Run::Dense(run) => {
                let pairs: Vec<String> = run.windows(2).map(|pair| pair.iter().collect()).collect();
                format!("\"{}\"", pairs.join(" "))
            }
            Run::Word(word) => format!("\"{}\"", word.iter().collect::<String>()),
        })
        .collect();
    (!terms.is_empty()).then(|| terms.join(" "))
}

fn push<'a>(out: &mut String, word: impl Iterator<Item = &'a char>) {
    if !out.is_empty() {
        out.push(' ');
    }
    out.extend(word);
}

enum Run {
    /// Of a script without spaces.
    Dense(Vec<char>),
    Word(Vec<char>),
}

/// The runs of a text.
fn runs(text: &str) -> impl Iterator<Item = Run> {
    let mut letters = text.nfkd().filter(|c| !is_accent(*c)).nfkc().flat_map(char::to_lowercase).peekable();
    std::iter::from_fn(move || {
        while letters.next_if(|&c| !is_letter(c)).is_some() {}
        let dense = is_dense(*letters.peek()?);
        let mut run = vec![];
        while let Some(c) = letters.next_if(|&c| is_letter(c) && is_dense(c) == dense) {
            if dense || run.len() < LONGEST {
                run.push(c);
            }
        }
        Some(if dense { Run::Dense(run) } else { Run::Word(run) })
    })
}

fn is_letter(c: char) -> bool {
    c.is_alphanumeric() || is_combining_mark(c)
}

/// Marks of Latin, Greek, Cyrillic, Hebrew and Arabic letters, which people leave out.
fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{591}'..='\u{5c7}' | '\u{640}' | '\u{64b}'..='\u{65f}' | '\u{670}')
}

/// Scripts that are written without spaces between words; Korean, which has some, puts so much into one word that it is cut too.
fn is_dense(c: char) -> bool {
    matches!(c,
        '\u{e00}'..='\u{eff}' // Thai, Lao
        | '\u{1000}'..='\u{109f}' // Burmese
        | '\u{1100}'..='\u{11ff}' // Hangul letters
        | '\u{1780}'..='\u{17ff}' // Khmer
        | '\u{2e80}'..='\u{2fdf}' | '\u{3005}'..='\u{3007}' | '\u{3021}'..='\u{3029}' // radicals, 々
        | '\u{3040}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' // kana
        | '\u{3130}'..='\u{318f}' | '\u{a960}'..='\u{a97f}' | '\u{ac00}'..='\u{d7ff}' // Hangul
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}') // ideographs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_small_letters_without_accents_and_scripts_without_spaces_are_pairs() {
        for (text, wanted) in [
            ("Photos/IMG_0001.JPG", "photos img 0001 jpg"),
            ("Café Ångström", "cafe angstrom"),
            ("海边的日落", "海边 边的 的日 日落 落"),
            ("猫", "猫"),
            ("2024年の春", "2024 年の の春 春"),
            ("ﾈｺ ｶﾞ", "ネコ コ ガ"),
            ("고양이", "고양 양이 이"),
            ("แมว", "แม มว ว"),
            ("قِطَّة", "قطة"),
            ("  — … ", ""),
        ] {
            assert_eq!(cut(text), wanted, "{text}");
        }
    }

    #[test]
    fn a_query_is_phrases_and_never_the_language_of_fts5() {
        assert_eq!(query("红 cat").unwrap(), "\"红\"* \"cat\"");
        assert_eq!(query("小白猫").unwrap(), "\"小白 白猫\"");
        assert_eq!(query("a\" OR b*").unwrap(), "\"a\" \"or\" \"b\"");
        assert_eq!(query("NOT (\"-"), Some("\"not\"".into()));
        assert_eq!(query("!?"), None);
    }
}
