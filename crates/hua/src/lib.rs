//! Pictures and words of many languages in one space: open a model, embed, compare, classify, search, evaluate.
//!
//! ```
//! use hua::{Embedder, OpenOptions, similarity};
//!
//! // The model that is part of the library; `Embedder::open` takes a folder or the name of a pulled model.
//! let embedder = Embedder::embedded(&OpenOptions::default())?;
//! let words = embedder.embed_texts(&["虹", "радуга", "скрипка"])?;
//! let cosines = similarity(&words, &words)?;
//! assert!(cosines.row(0)[1] > cosines.row(0)[2]);
//! # Ok::<(), hua::Error>(())
//! ```
mod ahead;
pub mod bench;
mod cache;
mod classify;
mod clock;
mod collection;
mod convert;
pub mod datasets;
mod embedder;
mod embeddings;
mod error;
pub mod evaluate;
pub mod exchange;
mod gallery;
pub mod hub;
pub mod library;
mod pipeline;
mod precision;
mod progress;
pub mod query;
pub mod shown;

pub use classify::{Classifier, Score};
pub use collection::{Collection, Failure, Hit, picture_files};
pub use convert::convert;
pub use embedder::{DeviceKind, Embedder, MOST_THREADS, OpenOptions};
pub use embeddings::{Embeddings, Matrix, Truncation, similarity};
pub use error::Error;
pub use gallery::EMBEDDED_MODEL;
pub use hub::Fault;
pub use pipeline::PictureTimes;
pub use precision::{PackedOptions, PackedWhen, PrecisionChoice, PrecisionChoiceError};
pub use progress::{NoProgress, Progress};

pub use hua_data as data;
pub use hua_exec as exec;
pub use hua_graph as graph;
pub use hua_image as image;
pub use hua_index as index;
pub use hua_model as model;
pub use hua_text as text;
