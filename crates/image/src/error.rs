//! What can go wrong between a picture file and a model's pixels: one enum, values rather than sentences.

use std::path::PathBuf;

use crate::format::Format;

/// The result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything this crate refuses. [`Error::InFile`] wraps the others with the path when there is one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A `preprocessor_config.json` that is not what it should be.
    #[error("`{key}` is {found}; wanted {wanted}")]
    Config {
        /// The key in the file.
        key: String,
        /// What is there.
        found: String,
        /// What could have been honoured.
        wanted: &'static str,
    },
    /// A `preprocessor_config.json` that is not JSON.
    #[error("the preprocessor configuration is not a JSON object")]
    ConfigJson(#[source] serde_json::Error),
    /// The bytes begin like a picture and then contradict themselves.
    #[error("damaged {format} file: {reason}")]
    Damaged {
        /// The format that the first bytes announce.
        format: Format,
        /// The decoder's own words.
        reason: String,
    },
    /// A picture without pixels.
    #[error("the {format} file says it is {width}×{height}; wanted at least one pixel")]
    Empty {
        /// The format that the first bytes announce.
        format: Format,
        /// Pixels, from the header.
        width: u32,
        /// Pixels, from the header.
        height: u32,
    },
    /// An error inside the named file.
    #[error("`{}`: {source}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<Error>,
    },
    /// The file could not be read at all.
    #[error("cannot read `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// Pixel data and size given by a caller do not fit together.
    #[error("{found} bytes of pixels for {width}×{height}; wanted {wanted}")]
    Length {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// Bytes given.
        found: usize,
        /// Bytes that the size asks for.
        wanted: usize,
    },
    /// A RAW file without a JPEG that could stand for it.
    #[error("the {name} file has no preview of over 160 pixels; of RAW files hua reads the JPEG that cameras put into them")]
    NoPreview {
        /// `DNG`, `NEF` and so on.
        name: &'static str,
    },
    /// The bytes are no picture.
    #[error("not a picture: the content looks like {found}; wanted JPEG, PNG, WebP, GIF, BMP or TIFF")]
    NotAPicture {
        /// A guess at what it is.
        found: &'static str,
    },
    /// The header asks for more memory than [`Limits::max_bytes`](crate::Limits::max_bytes).
    #[error("decoding {width}×{height} needs about {needed} bytes; the limit is {limit}")]
    TooManyBytes {
        /// Pixels, from the header.
        width: u32,
        /// Pixels, from the header.
        height: u32,
        /// An upper estimate for the decoder and its output together.
        needed: u64,
        /// The limit in force.
        limit: u64,
    },
    /// The header announces more pixels than [`Limits::max_pixels`](crate::Limits::max_pixels).
    #[error("the picture is {width}×{height}, {} pixels; the limit is {limit}", u64::from(*width) * u64::from(*height))]
    TooManyPixels {
        /// Pixels, from the header.
        width: u32,
        /// Pixels, from the header.
        height: u32,
        /// The limit in force.
        limit: u64,
    },
    /// The file ends before the picture does.
    #[error("truncated {format} file: {reason}")]
    Truncated {
        /// The format that the first bytes announce.
        format: Format,
        /// Where it stopped.
        reason: String,
    },
    /// A picture file in a coding that is not supported at all.
    #[error("{name} pictures are coded as {codec}, which hua does not decode; export the picture as JPEG")]
    Undecoded {
        /// `AVIF` or `HEIC`.
        name: &'static str,
        /// The coding.
        codec: &'static str,
    },
    /// A sound file of a kind that is not supported.
    #[error("unsupported {format} kind: {reason}")]
    Unsupported {
        /// The format that the first bytes announce.
        format: Format,
        /// What kind it is, and what is supported.
        reason: String,
    },
}
