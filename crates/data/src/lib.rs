//! Readers of everything that lists pictures: folders, webdataset tars, Chinese-CLIP's files, tables; of parallel text ([`parallel`]);
//! and writers of the same forms ([`DatasetWriter`]).
//!
//! [`Sources::open`] looks at each path it is given, finds out what it is (see [`Kind`]), and gives one [`Entry`] a picture: a name that
//! stays the same from run to run, where its bytes are, and the captions, tags and other facts that stand beside it. Bytes are read when
//! they are asked for ([`Source::read`]), by whichever thread asks, so that a reader goes through archives and lists at the speed of
//! their headers.
//!
//! What is wrong with one picture, one line or one archive is a [`Failure`] among the entries and ends nothing. An [`Error`] is what cannot be
//! read at all: a path that is not there, a table without a column of pictures.
//!
//! ```
//! use hua_data::{Options, Sources};
//!
//! let folder = tempfile::tempdir()?;
//! std::fs::write(folder.path().join("cat.png"), b"any bytes")?;
//! std::fs::write(folder.path().join("cat.txt"), "a cat on a wall\n")?;
//!
//! for entry in Sources::open(&[folder.path().to_owned()], &Options::default())? {
//!     let entry = entry.expect("nothing is wrong with it");
//!     assert!(entry.name.ends_with("cat.png"));
//!     assert_eq!(entry.captions[0].text, "a cat on a wall");
//!     assert_eq!(*entry.source.read(1 << 20)?, *b"any bytes");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
mod archive;
mod base64;
mod braces;
pub mod chinese_clip;
mod entry;
mod error;
mod kind;
mod language;
mod lines;
mod lmdb;
mod options;
pub mod parallel;
mod sidecar;
mod sources;
mod table;
mod walk;
mod write;

pub use base64::decode_base64;
pub use entry::{Caption, Coding, Entry, Failure, Source};
pub use error::Error;
pub use kind::Kind;
pub use options::{Columns, Options};
pub use sources::Sources;
pub use table::{Column, read_table, write_table};
pub use walk::{EXTENSIONS, Found, Walk, is_picture, name_of};
pub use write::{DatasetWriter, Pictures, Target, WriteOptions, Written};

/// The result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
