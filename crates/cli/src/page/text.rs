//! Text of users in HTML: escaped, and its language as far as the script tells it.

/// `text` as it may stand in an element and in an attribute between double quotes.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// The language that the script of `text` tells, as `lang` takes it; empty (unknown) where many languages share the script. Kana is
/// Japanese and hangul Korean wherever they stand; Han alone is taken as Chinese, though a Japanese word may have no kana.
pub fn language(text: &str) -> &'static str {
    let mut han = false;
    for character in text.chars() {
        match character {
            '\u{3041}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{ff66}'..='\u{ff9d}' => return "ja",
            '\u{1100}'..='\u{11ff}' | '\u{3131}'..='\u{318e}' | '\u{ac00}'..='\u{d7a3}' => return "ko",
            '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}' => han = true,
            _ => {}
        }
    }
    if han { "zh" } else { "" }
}

/// Whether `tag` looks like a language tag (BCP 47), which needs no escaping.
pub fn is_tag(tag: &str) -> bool {
    (2..=35).contains(&tag.len()) && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_html_gives_a_meaning_survives_the_escaping() {
        let text: String = (0..0x500).filter_map(char::from_u32).collect();
        assert!(!escaped(&text).contains(['<', '>', '"', '\'']));
        assert_eq!(escaped("a<b>&\"c'"), "a&lt;b&gt;&amp;&quot;c&#39;");
    }

    #[test]
    fn the_script_tells_chinese_japanese_and_korean_and_nothing_else() {
        let languages = ["海边的日落", "日没の海", "ﾈｺ", "바다 日沒", "غروب", "sunset", ""].map(language);
        assert_eq!(languages, ["zh", "ja", "ja", "ko", "", "", ""]);
    }
}
