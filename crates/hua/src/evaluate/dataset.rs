//! Chinese-CLIP's data format: a TSV of pictures and a JSONL of texts for each split.
//!
//! Ids may be numbers, as upstream wants, or any strings; base64 may be of the standard or the URL-safe alphabet, padded or not.
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Deserializer};

/// The longest line that is read: a picture file of 192 MB.
const LONGEST_LINE: u64 = 256 << 20;

/// Why a data set cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// Two pictures of one id.
    #[error("`{path}` has two pictures with id `{id}`")]
    DuplicateImage {
        /// The file.
        path: PathBuf,
        /// The id.
        id: String,
    },
    /// A file that is not there or cannot be read.
    #[error("cannot read `{path}`")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A line that is not what it should be.
    #[error("`{path}` line {line}: {found}, wanted {wanted}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What it is.
        found: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// No text names a picture of the split: nothing can be scored.
    #[error("no text of `{path}` names a picture of the split, so there is nothing to score")]
    NoAnswers {
        /// The texts.
        path: PathBuf,
    },
}

/// One line of `{split}_texts.jsonl`.
#[derive(Clone, Debug, Deserialize)]
pub struct TextRecord {
    /// The text.
    pub text: String,
    /// The pictures it describes.
    #[serde(deserialize_with = "ids")]
    pub image_ids: Vec<String>,
    /// Its language, if the data set says so.
    pub lang: Option<String>,
}

/// A split: texts in memory, pictures read one by one.
#[derive(Debug)]
pub struct Dataset {
    /// `{split}_imgs.tsv`.
    pub images_path: PathBuf,
    /// `{split}_texts.jsonl`.
    pub texts_path: PathBuf,
    /// The texts in the order of the file.
    pub texts: Vec<TextRecord>,
}

impl Dataset {
    /// Opens split `split` of the folder `data`.
    ///
    /// # Errors
    /// [`DatasetError`], with file and line.
    pub fn read(data: &Path, split: &str) -> Result<Self, DatasetError> {
        let images_path = data.join(format!("{split}_imgs.tsv"));
        let texts_path = data.join(format!("{split}_texts.jsonl"));
        let mut texts = vec![];
        for line in lines(&texts_path)? {
            let (number, line) = line?;
            if line.trim().is_empty() {
                continue;
            }
            let wanted = "an object with `text` and `image_ids`";
            let record = serde_json::from_str(&line).map_err(|e| DatasetError::Line {
                path: texts_path.clone(),
                line: number,
                found: e.to_string(),
                wanted,
            })?;
            texts.push(record);
        }
        Ok(Self { images_path, texts_path, texts })
    }

    /// How many pictures there are.
    ///
    /// # Errors
    /// [`DatasetError::Io`].
    pub fn image_count(&self) -> Result<usize, DatasetError> {
        let mut count = 0;
        for line in lines(&self.images_path)? {
            line?;
            count += 1;
        }
        Ok(count)
    }

    /// Each picture's id and the bytes of its file.
    ///
    /// # Errors
    /// [`DatasetError`] if the file cannot be opened; each item may be one too.
    pub fn images(&self) -> Result<impl Iterator<Item = Result<(String, Vec<u8>), DatasetError>>, DatasetError> {
        let path = self.images_path.clone();
        let lines = lines(&path)?;
        Ok(lines.map(move |line| {
            let (number, line) = line?;
            let fault = |found: String, wanted| DatasetError::Line { path: path.clone(), line: number, found, wanted };
            let wanted = "an id, a tab and base64";
            let (id, encoded) = line.split_once('\t').ok_or_else(|| fault("no tab".into(), wanted))?;
            let bytes = decode_base64(encoded.trim_end()).map_err(|e| fault(format!("bad base64 ({e})"), wanted))?;
            Ok((id.to_owned(), bytes))
        }))
    }
}

/// Base64 of either alphabet.
pub(crate) fn decode_base64(encoded: &str) -> Result<Vec<u8>, base64::DecodeError> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = if encoded.contains(['-', '_']) { &alphabet::URL_SAFE } else { &alphabet::STANDARD };
    GeneralPurpose::new(alphabet, config).decode(encoded)
}

/// The lines of a file with their numbers.
fn lines(path: &Path) -> Result<impl Iterator<Item = Result<(usize, String), DatasetError>> + use<>, DatasetError> {
    let path = path.to_owned();
    let file = File::open(&path).map_err(|source| DatasetError::Io { path: path.clone(), source })?;
    let (mut reader, mut number) = (BufReader::with_capacity(1 << 20, file), 0);
    Ok(std::iter::from_fn(move || {
        number += 1;
        let mut line = String::new();
        match std::io::Read::take(&mut reader, LONGEST_LINE).read_line(&mut line) {
            Ok(0) => None,
            Ok(n) if n as u64 == LONGEST_LINE => Some(Err(DatasetError::Line {
                path: path.clone(),
                line: number,
                found: "a line of over 256 MiB".into(),
                wanted: "lines of single pictures or texts",
            })),
            Ok(_) => Some(Ok((number, line.trim_end_matches(['\n', '\r']).to_owned()))),
            Err(source) => Some(Err(DatasetError::Io { path: path.clone(), source })),
        }
    }))
}

fn ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Id {
        Number(i64),
        Text(String),
    }
    let ids = Vec::<Id>::deserialize(deserializer)?;
    Ok(ids
        .into_iter()
        .map(|id| match id {
            Id::Number(n) => n.to_string(),
            Id::Text(text) => text,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(images: &str, texts: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("test_imgs.tsv"), images).unwrap();
        std::fs::write(folder.path().join("test_texts.jsonl"), texts).unwrap();
        folder
    }

    #[test]
    fn both_base64_alphabets_and_both_kinds_of_id_are_read() {
        let texts = "{\"text_id\": 1, \"text\": \"虹\", \"image_ids\": [7, \"a/b\"], \"lang\": \"ja\", \"other\": {}}\n\n";
        let folder = folder("7\t+/8=\na/b\t-_8\n", texts);
        let dataset = Dataset::read(folder.path(), "test").unwrap();
        assert_eq!(dataset.texts[0].image_ids, ["7", "a/b"]);
        let images: Vec<_> = dataset.images().unwrap().map(Result::unwrap).collect();
        assert_eq!(images, [("7".to_owned(), vec![251, 255]), ("a/b".to_owned(), vec![251, 255])]);
        assert_eq!(dataset.image_count().unwrap(), 2);
    }

    #[test]
    fn a_bad_line_is_named() {
        let folder = folder("7 no tab\n", "{\"text\": \"x\", \"image_ids\": []}\n{\"text\": 5}\n");
        let error = Dataset::read(folder.path(), "test").unwrap_err().to_string();
        assert!(error.contains("test_texts.jsonl` line 2: "), "{error}");
        std::fs::write(folder.path().join("test_texts.jsonl"), "").unwrap();
        let error = Dataset::read(folder.path(), "test").unwrap().images().unwrap().next().unwrap().unwrap_err().to_string();
        assert!(error.ends_with("line 1: no tab, wanted an id, a tab and base64"), "{error}");
        assert!(matches!(Dataset::read(folder.path(), "dev"), Err(DatasetError::Io { .. })));
    }
}
