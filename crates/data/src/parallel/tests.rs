//! Every form of parallel text, sound and damaged.
use std::fs;
use std::io::Write;

use proptest::prelude::*;

use super::*;

struct Place(tempfile::TempDir);

impl Place {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for (name, content) in files {
            fs::write(place.path(name), content).unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Rows as `en:hello zh:你好`, failures as `! file#line: reason`.
    fn read(&self, names: &[&str], languages: &[&str]) -> Vec<String> {
        self.open(names, languages).unwrap().map(|item| self.shown(item)).collect()
    }

    fn open(&self, names: &[&str], languages: &[&str]) -> Result<ParallelText> {
        let paths: Vec<_> = names.iter().map(|name| self.path(name)).collect();
        open(&paths, &Options { languages: languages.iter().map(|code| (*code).to_owned()).collect(), ..Options::default() })
    }

    fn error(&self, names: &[&str], languages: &[&str]) -> String {
        self.open(names, languages).unwrap_err().to_string().replace(&format!("{}/", self.0.path().display()), "")
    }

    fn shown(&self, item: Item) -> String {
        match item {
            Ok(row) => row.texts.iter().map(|(code, text)| format!("{code}:{text}")).collect::<Vec<_>>().join(" "),
            Err(failure) => format!("! {}: {}", failure.name.rsplit('/').next().unwrap(), failure.reason),
        }
    }
}

#[test]
fn columns_of_tsv_are_languages_by_their_names() {
    let table = "id\teng\tcmn\tnote\tpt_BR\n1\thello\t你好\tx\tolá\n2\t\"Quoted\t \tx\t\"sim\r\n3\tonly\t\t\t\n4\ttwo\t二\n\n";
    let place = Place::new(&[("a.tsv", table.as_bytes())]);
    assert_eq!(
        place.read(&["a.tsv"], &[]),
        ["en:hello zh:你好 pt-BR:olá", "en:\"Quoted pt-BR:\"sim", "! a.tsv#4: a text in `en` alone", "! a.tsv#5: 3 columns, wanted 5"]
    );
    // Of named columns those that were told are taken, and of two none may be empty.
    assert_eq!(place.read(&["a.tsv"], &["cmn", "en"])[..2], ["en:hello zh:你好", "! a.tsv#3: nothing in `zh`"]);
}

#[test]
fn a_table_without_names_needs_its_languages_told() {
    let place = Place::new(&[("a.tsv", "Go.\tVa !\tCC-BY\nHi.\tSalut.\tCC-BY\n".as_bytes()), ("none.tsv", b"\n")]);
    assert_eq!(place.read(&["a.tsv"], &["eng", "fra"]), ["en:Go. fr:Va !", "en:Hi. fr:Salut."]);
    assert_eq!(place.read(&["a.tsv"], &["", "fr"]), ["fr:Va !", "fr:Salut."]);
    let error = place.error(&["a.tsv"], &[]);
    assert!(
        error.starts_with("`a.tsv` does not say its languages: its first line has 3 columns, the first of them `Go.`; wanted"),
        "{error}"
    );
    assert_eq!(place.read(&["none.tsv"], &[]), [""; 0]);
}

#[test]
fn rows_of_language_and_text_are_read_as_words_and_as_pairs() {
    let place = Place::new(&[
        ("words.tsv", "en\tcat\nzh\t猫\nxx\t?\nen\t \nen\n".as_bytes()),
        ("pairs.tsv", "en\thello\tzh\t你好\nen\ta\tfr\tb\tit\tc\n".as_bytes()),
        ("named.tsv", "lang\ttext\tconcept\nen\tcat\t7\nja\t猫\t7\nen\tdog\t8\nfr\tchien\t\n".as_bytes()),
    ]);
    let words = ["en:cat", "zh:猫", "! words.tsv#3: `xx` is no language", "! words.tsv#4: nothing in `en`"];
    assert_eq!(place.read(&["words.tsv"], &[])[..4], words);
    assert_eq!(place.read(&["words.tsv"], &[])[4], "! words.tsv#5: 1 columns, wanted a text for each language");
    assert_eq!(place.read(&["pairs.tsv"], &[]), ["en:hello zh:你好", "en:a fr:b it:c"]);
    assert_eq!(place.read(&["named.tsv"], &[]), ["en:cat ja:猫", "en:dog", "fr:chien"]);
}

#[test]
fn moses_pairs_are_found_by_pattern_by_names_and_by_languages() {
    let place =
        Place::new(&[("c.en", b"one\ntwo\n\nfour"), ("c.zh", "一\n\u{20}\n三\n四\n".as_bytes()), ("c.fr", b"un\ndeux\ntrois\nquatre\n")]);
    let wanted = ["en:one zh:一", "! c.en#2: nothing in `zh`", "! c.en#3: nothing in `en`", "en:four zh:四"];
    assert_eq!(place.read(&["c.{en,zh}"], &[]), wanted);
    assert_eq!(place.read(&["c.en", "c.zh"], &[]), wanted);
    assert_eq!(place.read(&["c"], &["en", "zh"]), wanted);
    assert_eq!(place.read(&["c.{en,zh,fr}"], &[])[1..3], ["en:two fr:deux", "zh:三 fr:trois"]);
    assert_eq!(place.read(&["c.fr"], &[]), ["fr:un", "fr:deux", "fr:trois", "fr:quatre"]);
}

#[test]
fn moses_files_of_different_lengths_are_refused_with_both_counts() {
    let place = Place::new(&[("c.en", b"one\ntwo\n"), ("c.zh", "一\n二\n三\n".as_bytes())]);
    let error = place.error(&["c.{en,zh}"], &[]);
    assert!(error.starts_with("`c.en` has 2 lines, `c.zh` has 3 lines: "), "{error}");
}

#[test]
fn bad_bytes_and_long_lines_are_failures_of_their_lines() {
    let place = Place::new(&[
        ("a.tsv", b"en\tfr\none\t\xff\ntwo\tdeux\n"),
        ("c.en", b"\xe9t\xe9\nok\n"),
        ("c.fr", b"summer\nok\n"),
        ("t.csv", b"en,fr\n\xff,x\ntwo,deux\n"),
    ]);
    assert_eq!(place.read(&["a.tsv"], &[]), ["! a.tsv#2: no UTF-8", "en:two fr:deux"]);
    assert_eq!(place.read(&["c.{en,fr}"], &[]), ["! c.en#1: no UTF-8", "en:ok fr:ok"]);
    assert_eq!(place.read(&["t.csv"], &[]), ["! t.csv#1: no UTF-8", "en:two fr:deux"]);
    let options = Options { max_bytes: 7, ..Options::default() };
    let rows: Vec<_> = open(&[place.path("a.tsv")], &options).unwrap().map(|item| place.shown(item)).collect();
    assert_eq!(rows, ["! a.tsv#2: no UTF-8", "! a.tsv#3: a line of over 7 bytes"]);
}

#[test]
fn tables_have_languages_as_columns_or_in_one() {
    let place = Place::new(&[
        ("a.csv", "id,text_en,text_zh\n1,\"one, two\",12\n2,three,\n".as_bytes()),
        ("a.jsonl", "{\"translation\": {\"en\": \"one\", \"cmn\": \"一\"}}\n[]\n{\"x\": 1}\n".as_bytes()),
        ("b.jsonl", "{\"id\": 1, \"lang\": \"en\", \"text\": \"cat\"}\n{\"id\": 1, \"lang\": \"ja\", \"text\": \"猫\"}\n".as_bytes()),
        ("c.csv", b"width,height\n1,2\n"),
    ]);
    assert_eq!(place.read(&["a.csv"], &[]), ["en:one, two zh:12", "! a.csv#2: a text in `en` alone"]);
    let rows = place.read(&["a.jsonl"], &[]);
    assert_eq!((&*rows[0], &*rows[2]), ("zh:一 en:one", "! a.jsonl#3: no text with a language"));
    assert!(rows[1].starts_with("! a.jsonl#2: "), "{}", rows[1]);
    assert_eq!(place.read(&["b.jsonl"], &[]), ["en:cat ja:猫"]);
    assert!(place.error(&["c.csv"], &[]).contains("has the columns `height`, `width`, none of a language"));
}

#[test]
fn tatoebas_exports_give_each_pair_once() {
    let place = Place::new(&[
        ("sentences.csv", "1\tcmn\t我们试试看！\n2\teng\tLet's try.\n3\tfra\tEssayons !\n4\t\\N\t?\nx\teng\ty\n5\teng\n".as_bytes()),
        ("links.csv", b"1\t2\n2\t1\n2\t3\n3\t2\n3\t99\n98\t97\nbad\n"),
        ("pairs.tsv", "1276\tLet's try.\t1\t我们试试看！\n".as_bytes()),
    ]);
    let failures = ["! sentences.csv#5: no number in the first column", "! sentences.csv#6: 2 columns, wanted number, language and text"];
    let rows = place.read(&[""], &[]);
    assert_eq!(rows[..2], failures);
    assert_eq!(rows[2..4], ["zh:我们试试看！ en:Let's try.", "en:Let's try. fr:Essayons !"]);
    assert_eq!(
        rows[4..],
        [
            "! links.csv#7: no two numbers with a tab between them",
            "! links.csv: 2 links with sentences that are not there, the first from 3 to 99"
        ]
    );
    assert_eq!(place.read(&["sentences.csv"], &["en", "zh"])[2..4], ["zh:我们试试看！ en:Let's try.", rows[4].as_str()]);
    assert_eq!(place.read(&["pairs.tsv"], &["eng", "cmn"]), ["en:Let's try. zh:我们试试看！"]);
}

#[test]
fn what_is_no_parallel_text_is_refused_and_compressed_files_are_read() {
    let mut gzip = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    gzip.write_all("\u{feff}en\tzh\na\t一\n".as_bytes()).unwrap();
    let place = Place::new(&[("a.tsv.gz", &gzip.finish().unwrap()), ("cat.png", b"\x89PNG")]);
    assert_eq!(place.read(&["a.tsv.gz"], &[]), ["en:a zh:一"]);
    assert!(place.error(&["cat.png"], &[]).starts_with("`cat.png` is no parallel text by its name"));
    assert!(place.error(&[""], &[]).contains("is a folder without `sentences.csv` and `links.csv`"));
    assert!(matches!(place.open(&["none.tsv"], &[]), Err(Error::Io { .. })));
    assert!(matches!(place.open(&["none.{en,zh}"], &[]), Err(Error::Missing { .. })));
}

proptest! {
    #[test]
    fn any_texts_come_back_from_columns_and_from_moses(rows in prop::collection::vec(("[^\t\r\n\u{feff}]{1,12}", "[a-z一-龥\"' ]{1,12}"), 1..20)) {
        let filled = |text: &str| !text.trim().is_empty();
        let rows: Vec<_> = rows.into_iter().filter(|(a, b)| filled(a) && filled(b)).collect();
        let lines: String = rows.iter().map(|(a, b)| format!("{a}\t{b}\n")).collect();
        let side = |which: fn(&(String, String)) -> &String| rows.iter().map(|row| format!("{}\n", which(row))).collect::<String>();
        let place = Place::new(&[
            ("a.tsv", format!("en\tzh\n{lines}").as_bytes()),
            ("a.en", side(|row| &row.0).as_bytes()),
            ("a.zh", side(|row| &row.1).as_bytes()),
        ]);
        let wanted: Vec<_> = rows.iter().map(|(a, b)| format!("en:{} zh:{}", a.trim(), b.trim())).collect();
        prop_assert_eq!(place.read(&["a.tsv"], &[]), wanted.clone());
        prop_assert_eq!(place.read(&["a.{en,zh}"], &[]), wanted);
    }

    #[test]
    fn any_bytes_are_rows_or_failures(content in prop::collection::vec(any::<u8>(), 0..200), name in prop::sample::select(vec!["a.tsv", "a.csv", "a.jsonl", "a.en"])) {
        let place = Place::new(&[(name, &content)]);
        for languages in [&[][..], &["en", "zh"]] {
            if let Ok(rows) = place.open(&[name], languages) {
                for row in rows.flatten() {
                    prop_assert!(row.texts.iter().all(|(code, text)| !code.is_empty() && !text.trim().is_empty()));
                }
            }
        }
    }
}
