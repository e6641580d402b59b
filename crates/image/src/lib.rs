//! Picture files to the pixels a model sees, byte for byte what Pillow gives.
//!
//! Three steps, each usable alone: a file becomes a [`Picture`] in the mode its format has ([`Picture::open`],
//! [`Picture::decode`]), a picture is resized with Pillow's very bytes ([`Picture::resize`]), and a [`Preprocess`] makes a
//! model's input of it, with the numbers of transformers' PIL processors.
//!
//! The references are Pillow 13.0.0 and transformers 5.23.0. JPEG is the exception to "byte for byte": its standard
//! leaves the last place open, and decoders differ there (see `decode/jpeg.rs` for how much).
//!
//! For training, [`augment`] changes pictures at random, with the bytes of Pillow too.
//!
//! Files are hostile until proven otherwise: the header is checked against [`Limits`] before any pixel buffer exists.
//!
//! ```
//! use hua_image::{DecodeOptions, Picture, Preprocess};
//!
//! // A red picture, twice as wide as high, goes through a file ...
//! let red = Picture::from_rgb8(40, 20, [255, 0, 0].repeat(40 * 20))?;
//! let picture = Picture::decode(&red.encode_png(), &DecodeOptions::default())?;
//!
//! // ... and becomes what CLIP sees at 16×16: three planes of normalised numbers.
//! let pixels = Preprocess::clip(16).apply(&picture);
//! assert_eq!(pixels.data.len(), 3 * 16 * 16);
//! assert_eq!(pixels.data[0], (1.0_f32 - 0.48145466) / 0.26862954);
//!
//! // A model's own description works as well.
//! let config = br#"{"size": {"height": 16, "width": 16}, "do_center_crop": false}"#;
//! assert_eq!(Preprocess::from_config(config)?, Preprocess::chinese_clip(16));
//! # Ok::<(), hua_image::Error>(())
//! ```

pub mod augment;
mod config;
mod convert;
mod decode;
mod error;
mod facts;
mod format;
mod limits;
mod orientation;
mod picture;
mod preprocess;
mod preview;
mod resize;
mod tags;

pub use decode::{DecodeOptions, Grey16};
pub use error::{Error, Result};
pub use facts::{Facts, facts};
pub use format::Format;
pub use limits::Limits;
pub use picture::{Alpha, Mode, Palette, Picture};
pub use preprocess::{CLIP_MEAN, CLIP_STD, ConvertOrder, Geometry, MAX_SIDE, Normalize, Pixels, Preprocess, Size};
pub use resize::Filter;
