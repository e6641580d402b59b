//! Reads whatever it is given to the end; shared by the tests and the fuzzer. The first byte says what the file is called.
use hua_data::{Options, Sources, parallel};

/// What the file may be called.
const SOURCES: [&str; 8] = ["a.tar", "a.tar.gz", "a.csv", "a.tsv", "a.jsonl", "a.parquet", "valid_imgs.tsv", "data.mdb"];
const TEXTS: [&str; 5] = ["a.tsv", "a.csv", "a.jsonl", "a.en", "sentences.csv"];
/// What is kept of a hostile file in memory at a time.
const MOST: u64 = 1 << 16;

/// Reads a data set of pictures: the first byte, then the content of its file.
pub fn data(input: &[u8]) {
    let Some((kind, content)) = input.split_first() else { return };
    let folder = tempfile::tempdir().expect("a folder for the file");
    let name = SOURCES[usize::from(*kind) % SOURCES.len()];
    std::fs::write(folder.path().join(name), content).expect("room for the file");
    // The same bytes as texts of the pictures, and as the pairs of an LMDB.
    std::fs::write(folder.path().join("valid_texts.jsonl"), content).expect("room for the file");
    let options = Options { max_bytes: MOST, ..Options::default() };
    let Ok(entries) = Sources::open(&[folder.path().join(name)], &options) else { return };
    // Each byte may begin an entry, and no more than one; a bound is there to be noticed. Of Parquet a few bytes may stand for any number of rows.
    let most = content.len() * 2 + 16;
    for (count, entry) in entries.take(if name == "a.parquet" { most } else { usize::MAX }).enumerate() {
        assert!(count <= most, "more than {most} entries of {} bytes", content.len());
        match entry {
            Ok(entry) => {
                assert!(!entry.name.is_empty());
                if let Ok(bytes) = entry.source.read(MOST) {
                    assert!(bytes.len() as u64 <= MOST);
                }
            }
            Err(failure) => assert!(!failure.reason.is_empty()),
        }
    }
}

/// Reads parallel text: the first byte, then the content of its file.
pub fn texts(input: &[u8]) {
    let Some((kind, content)) = input.split_first() else { return };
    let folder = tempfile::tempdir().expect("a folder for the file");
    let name = TEXTS[usize::from(*kind) % TEXTS.len()];
    // Both files of an export in one: sentences, an empty line, links.
    let (first, second) = match content.windows(2).position(|pair| pair == b"\n\n") {
        Some(at) => (&content[..at], &content[at + 2..]),
        None => (content, content),
    };
    std::fs::write(folder.path().join(name), if name == "sentences.csv" { first } else { content }).expect("room for the file");
    std::fs::write(folder.path().join("links.csv"), second).expect("room for the file");
    for languages in [vec![], vec!["en".to_owned(), "zh".to_owned()]] {
        let options = parallel::Options { languages, max_bytes: MOST };
        let Ok(rows) = parallel::open(&[folder.path().join(name)], &options) else { continue };
        for row in rows.flatten() {
            assert!(!row.texts.is_empty() && row.texts.iter().all(|(code, text)| !code.is_empty() && !text.trim().is_empty()));
        }
    }
}
