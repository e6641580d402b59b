//! How texts of users and numbers are shown on pages and in tables.

/// `text` as it may stand in HTML, in an element and in an attribute between double quotes; control characters and marks of direction, which
/// could make a text look like another, are left out.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            control if control.is_control() && control != '\n' => {}
            other => out.push(other),
        }
    }
    out
}

/// The language that the script of `text` tells, as `lang` takes it; empty (unknown) where many languages share the script. Without one,
/// Chinese and Japanese get each other's glyphs. Kana is Japanese and hangul Korean wherever they stand; Han alone is taken as Chinese,
/// though a Japanese word may have no kana.
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

/// `1234567` as `1,234,567`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_html_gives_a_meaning_survives_the_escaping() {
        let text: String = (0..0x2100).filter_map(char::from_u32).collect();
        assert!(!escaped(&text).contains(['<', '>', '"', '\'', '\u{202e}', '\0', '\u{7f}']));
        assert_eq!(escaped("a<b>&\"c'"), "a&lt;b&gt;&amp;&quot;c&#39;");
    }

    #[test]
    fn the_script_tells_chinese_japanese_and_korean_and_nothing_else() {
        let languages = ["海边的日落", "日没の海", "ﾈｺ", "바다 日沒", "غروب", "sunset", ""].map(language);
        assert_eq!(languages, ["zh", "ja", "ja", "ko", "", "", ""]);
    }

    #[test]
    fn digits_stand_in_threes() {
        assert_eq!([0, 12, 999, 1000, 123_456, 1_234_567].map(thousands), ["0", "12", "999", "1,000", "123,456", "1,234,567"]);
    }
}
