//! Many names in one, as shells and webdataset write them: `{00000..00010}.tar`, `{train,valid}/x.tsv`.
//!
//! Several pairs of braces multiply; inside one another they do not stand. A range whose ends have leading zeros keeps their length.

/// More names than any data set has files.
const MOST: usize = 1_000_000;

/// The names that `pattern` stands for, in order; the pattern itself if it has no braces of this kind. `None` if they are too many.
pub(crate) fn expand(pattern: &str) -> Option<Vec<String>> {
    let mut names = vec![String::new()];
    let mut rest = pattern;
    while let Some((before, inside, after)) = braces(rest) {
        let choices = choices(inside)?;
        if names.len().checked_mul(choices.len())? > MOST {
            return None;
        }
        names = names.iter().flat_map(|name| choices.iter().map(move |choice| format!("{name}{before}{choice}"))).collect();
        rest = after;
    }
    names.iter_mut().for_each(|name| name.push_str(rest));
    Some(names)
}

/// What is before, in and behind the first braces that hold a choice.
fn braces(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let open = from + text[from..].find('{')?;
        let close = open + text[open..].find('}')?;
        let inside = &text[open + 1..close];
        if !inside.contains('{') && (inside.contains(',') || range(inside).is_some()) {
            return Some((&text[..open], inside, &text[close + 1..]));
        }
        from = open + 1;
    }
}

fn choices(inside: &str) -> Option<Vec<String>> {
    let Some((first, last, width)) = range(inside) else { return Some(inside.split(',').map(str::to_owned).collect()) };
    if first.abs_diff(last) >= MOST as u64 {
        return None;
    }
    let numbers: Box<dyn Iterator<Item = u64>> = if first <= last { Box::new(first..=last) } else { Box::new((last..=first).rev()) };
    Some(numbers.map(|number| format!("{number:0width$}")).collect())
}

/// The ends of `first..last` and how many digits each number has at least.
fn range(inside: &str) -> Option<(u64, u64, usize)> {
    let (first, last) = inside.split_once("..")?;
    let number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
    let width = if [first, last].iter().any(|end| end.len() > 1 && end.starts_with('0')) { first.len().max(last.len()) } else { 0 };
    Some((number(first)?, number(last)?, width.min(20)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_stand_for_many_names() {
        for (pattern, names) in [
            ("x.tar", &["x.tar"][..]),
            ("{008..010}.tar", &["008.tar", "009.tar", "010.tar"]),
            ("{9..11}", &["9", "10", "11"]),
            ("{3..1}", &["3", "2", "1"]),
            ("{a,虹}/{0..1}.tar", &["a/0.tar", "a/1.tar", "虹/0.tar", "虹/1.tar"]),
            ("{x}{}{1..}{-1..2}}", &["{x}{}{1..}{-1..2}}"]),
            ("{{1..2}", &["{1", "{2"]),
            ("a{", &["a{"]),
        ] {
            assert_eq!(expand(pattern).unwrap(), names, "{pattern}");
        }
        for pattern in ["{0..99999999}", "{0..18446744073709551615}", "{0..9999}{0..9999}"] {
            assert_eq!(expand(pattern), None, "{pattern}");
        }
    }
}
