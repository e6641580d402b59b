//! One pass over a data set: each picture is read once, hashed, and its header read or its pixels decoded, by all threads; what comes of it is told in
//! the order of the data set.
use std::path::PathBuf;

use hua_data::{Entry, Sources};
use hua_image::{DecodeOptions, Facts, Picture, facts};
use rayon::prelude::*;
use ring::digest::{SHA256, digest};

use crate::{Error, MOST_THREADS, Progress};

/// How a data set is read.
#[derive(Clone, Debug, Default)]
pub struct ScanOptions {
    /// How its files are read.
    pub data: hua_data::Options,
    /// Decode every picture, which finds those that are cut off; otherwise headers are read.
    pub decode: bool,
    /// How many threads; 0 for all cores.
    pub threads: usize,
}

/// What one picture file is.
pub(super) struct Seen {
    /// The first 128 bits of its SHA-256.
    pub hash: u128,
    pub bytes: u64,
    pub format: &'static str,
    /// Pixels, as it is shown.
    pub width: u32,
    pub height: u32,
}

/// What a pass tells.
pub(super) enum Told {
    /// A picture, or why its file is none.
    Picture(Entry, Result<Seen, String>),
    /// Something that is listed and cannot be used.
    Failure(hua_data::Failure),
}

/// Pictures whose files lie in memory at a time, for each thread.
const AT_ONCE: usize = 8;

/// Goes through the data set of `paths`.
///
/// # Errors
/// [`Error::Data`] if a source cannot be read as a whole; [`Error::Threads`].
pub(super) fn scan(
    paths: &[PathBuf],
    options: &ScanOptions,
    what: &str,
    progress: &dyn Progress,
    mut tell: impl FnMut(Told),
) -> Result<(), Error> {
    let mut sources = Sources::open(paths, &options.data)?;
    let threads = options.threads;
    if threads > MOST_THREADS {
        return Err(Error::Threads { threads, reason: format!("at most {MOST_THREADS} make sense") });
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|e| Error::Threads { threads, reason: e.to_string() })?;
    progress.start(what, 0);
    let mut failed = 0;
    loop {
        let items: Vec<_> = sources.by_ref().take(AT_ONCE * pool.current_num_threads()).collect();
        if items.is_empty() {
            break;
        }
        let told: Vec<_> = pool.install(|| {
            items
                .into_par_iter()
                .map(|item| match item {
                    Ok(entry) => {
                        let seen = look(&entry, options);
                        Told::Picture(entry, seen)
                    }
                    Err(failure) => Told::Failure(failure),
                })
                .collect()
        });
        progress.advance(told.len() as u64);
        failed += told.iter().filter(|told| !matches!(told, Told::Picture(_, Ok(_)))).count() as u64;
        progress.failed(failed);
        told.into_iter().for_each(&mut tell);
    }
    progress.finish();
    Ok(())
}

fn look(entry: &Entry, options: &ScanOptions) -> Result<Seen, String> {
    let bytes = entry.source.read(options.data.max_bytes).map_err(|e| e.to_string())?;
    if bytes.is_empty() {
        return Err("the file is empty".into());
    }
    let hash = digest(&SHA256, &bytes);
    let hash = u128::from_be_bytes(hash.as_ref()[..16].try_into().expect("SHA-256 has 32 bytes"));
    let Facts { width, height, format, .. } = facts(&bytes);
    let seen = |format, width, height| Ok(Seen { hash, bytes: bytes.len() as u64, format, width, height });
    match (format, width, height) {
        // What hua knows by name and does not decode has to say so.
        (Some(format), Some(width), Some(height)) if !options.decode && !matches!(format, "HEIC" | "HEIF" | "AVIF") => {
            seen(format, width, height)
        }
        _ => {
            let picture = Picture::decode(&bytes, &DecodeOptions::default()).map_err(|e| e.to_string())?;
            seen(format.unwrap_or("?"), picture.width(), picture.height())
        }
    }
}

/// A hash of a text as people compare them: NFKC, without capitals, one space between words.
pub(super) fn normalised(text: &str) -> u128 {
    use unicode_normalization::UnicodeNormalization;
    let folded: String = text.nfkc().flat_map(char::to_lowercase).collect();
    let folded = folded.split_whitespace().collect::<Vec<_>>().join(" ");
    let hash = digest(&SHA256, folded.as_bytes());
    u128::from_be_bytes(hash.as_ref()[..16].try_into().expect("SHA-256 has 32 bytes"))
}
