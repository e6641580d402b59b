//! From a picture to a model's input: resize, centre crop, rescale, normalise, in that order, with the numbers of
//! transformers' `CLIPImageProcessorPil` to the last bit.
//!
//! A [`Preprocess`] is plain data: presets make it, a `preprocessor_config.json` makes it, and a model's
//! specification stores it. That each output has one fixed size is part of the type's promise.
//!
//! Only the part of the resized picture that the crop keeps is ever computed.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::picture::{Alpha, Mode, Picture};
use crate::resize::{Filter, resize};

/// The longest side of a model's input, in pixels, that a configuration may ask for.
pub const MAX_SIDE: u32 = 8192;

/// The means of CLIP's training pictures, R, G, B of 0 … 1.
pub const CLIP_MEAN: [f64; 3] = [0.48145466, 0.4578275, 0.40821073];
/// The standard deviations of CLIP's training pictures, R, G, B of 0 … 1.
pub const CLIP_STD: [f64; 3] = [0.26862954, 0.26130258, 0.27577711];

/// Height and width in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// Rows.
    pub height: u32,
    /// Pixels in a row.
    pub width: u32,
}

impl Size {
    /// As high as wide.
    pub const fn square(side: u32) -> Self {
        Self { height: side, width: side }
    }
}

/// What the input is made of, and how large it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Geometry {
    /// The middle of the picture at its own size.
    Crop(Size),
    /// The shorter side becomes `edge`, the longer one keeps the proportion (cut to whole pixels); then the middle.
    ShortestEdge {
        /// Pixels of the shorter side.
        edge: u32,
        /// The part that is kept; what the picture lacks is black.
        crop: Size,
    },
    /// The whole picture pressed into `to`, whatever its proportion; then the middle, unless `crop` is `to`.
    Squash {
        /// The size to press into.
        to: Size,
        /// The part that is kept.
        crop: Size,
    },
}

/// Subtract, then divide, for each channel.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalize {
    /// Subtracted from R, G, B.
    pub mean: [f64; 3],
    /// Divides R, G, B.
    pub std: [f64; 3],
}

/// Whether the picture becomes RGB before it is resized or afterwards. Matters for palette, alpha and bilevel files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConvertOrder {
    /// transformers, and what one wants.
    #[default]
    RgbFirst,
    /// `cn_clip` exactly: palettes are resized by their nearest index.
    ResizeFirst,
}

/// How a model wants its pictures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Which part of the picture, at which size.
    pub geometry: Geometry,
    /// How pixels are averaged.
    pub filter: Filter,
    /// Multiplies the bytes; `None` leaves 0 … 255.
    pub rescale: Option<f64>,
    /// Applied after `rescale`.
    pub normalize: Option<Normalize>,
    /// When the picture becomes RGB.
    #[serde(default)]
    pub order: ConvertOrder,
    /// What becomes of transparency.
    #[serde(default)]
    pub alpha: Alpha,
}

/// A model's input: `[3, height, width]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Pixels {
    /// Rows and columns.
    pub size: Size,
    /// All of red, then green, then blue; rows from the top.
    pub data: Vec<f32>,
}

impl Preprocess {
    /// CLIP and AltCLIP at `size` pixels: shortest edge, centre crop.
    pub fn clip(size: u32) -> Self {
        Self::with(Geometry::ShortestEdge { edge: size, crop: Size::square(size) })
    }

    /// Chinese-CLIP and Taiyi at `size` pixels: pressed into a square.
    pub fn chinese_clip(size: u32) -> Self {
        Self::with(Geometry::Squash { to: Size::square(size), crop: Size::square(size) })
    }

    /// `cn_clip`'s own transform, which resizes before it converts and then drops alpha. The same as
    /// [`chinese_clip`](Self::chinese_clip) for pictures that are RGB or grey in their file.
    pub fn cn_clip(size: u32) -> Self {
        Self { order: ConvertOrder::ResizeFirst, alpha: Alpha::Drop, ..Self::chinese_clip(size) }
    }

    fn with(geometry: Geometry) -> Self {
        Self {
            geometry,
            filter: Filter::Bicubic,
            rescale: Some(1.0 / 255.0),
            normalize: Some(Normalize { mean: CLIP_MEAN, std: CLIP_STD }),
            order: ConvertOrder::RgbFirst,
            alpha: Alpha::OverWhite,
        }
    }

    /// The size of every output.
    pub fn output_size(&self) -> Size {
        match self.geometry {
            Geometry::Crop(crop) | Geometry::ShortestEdge { crop, .. } | Geometry::Squash { crop, .. } => crop,
        }
    }

    /// A size at which nothing much is lost, for [`DecodeOptions::shrink_on_load`](crate::DecodeOptions::shrink_on_load): twice the one that
    /// pictures are resized to; `None` where they are not.
    pub fn enough(&self) -> Option<Size> {
        match self.geometry {
            Geometry::Crop(_) => None,
            Geometry::ShortestEdge { edge, .. } => Some(Size::square(2 * edge)),
            Geometry::Squash { to, .. } => Some(Size { height: 2 * to.height, width: 2 * to.width }),
        }
    }

    /// `picture` as the model sees it: `[3, height, width]`.
    pub fn apply(&self, picture: &Picture) -> Pixels {
        let size = self.output_size();
        let mut data = vec![0.0; 3 * size.height as usize * size.width as usize];
        self.apply_into(picture, &mut data);
        Pixels { size, data }
    }

    /// The same into a place of the caller's, for instance one item of a batch.
    ///
    /// # Panics
    /// When `out` is not `3 * height * width` long.
    pub fn apply_into(&self, picture: &Picture, out: &mut [f32]) {
        let rgb = self.resized(picture);
        let plane = rgb.width as usize * rgb.height as usize;
        assert_eq!(out.len(), 3 * plane, "the place for a picture's pixels has another size");
        for (channel, (out, table)) in out.chunks_exact_mut(plane).zip(self.tables()).enumerate() {
            let samples = rgb.data.as_chunks::<3>().0.iter().map(|pixel| table[usize::from(pixel[channel])]);
            out.iter_mut().zip(samples).for_each(|(out, sample)| *out = sample);
        }
    }

    /// The bytes before they become numbers: RGB, of [`output_size`](Self::output_size).
    pub fn resized(&self, picture: &Picture) -> Picture {
        let size = self.target(picture);
        let crop = self.output_size();
        let (columns, left) = middle(size.width, crop.width);
        let (rows, top) = middle(size.height, crop.height);
        let window = (columns, rows);
        let part = match self.order {
            ConvertOrder::RgbFirst if picture.mode == Mode::Rgb && !picture.has_transparency() => {
                resize(picture, (size.width, size.height), window, self.filter)
            }
            ConvertOrder::RgbFirst => resize(&picture.to_rgb8_with(self.alpha), (size.width, size.height), window, self.filter),
            ConvertOrder::ResizeFirst => resize(picture, (size.width, size.height), window, self.filter).to_rgb8_with(self.alpha),
        };
        pad(part, crop, left as usize, top as usize)
    }

    /// The size that the whole picture would have after the resize.
    fn target(&self, picture: &Picture) -> Size {
        let (width, height) = (picture.width, picture.height);
        match self.geometry {
            Geometry::Crop(_) => Size { height, width },
            Geometry::Squash { to, .. } => to,
            Geometry::ShortestEdge { edge, .. } => {
                let (short, long) = (width.min(height), width.max(height));
                // Python divides the whole product as a double and cuts the fraction off.
                let long = ((u64::from(edge) * u64::from(long)) as f64 / f64::from(short)) as u32;
                if width <= height { Size { height: long, width: edge } } else { Size { height: edge, width: long } }
            }
        }
    }

    /// What each byte becomes in each channel. Product in f64, cut to f32, then difference and quotient in f32: as numpy does it.
    fn tables(&self) -> [[f32; 256]; 3] {
        std::array::from_fn(|channel| {
            std::array::from_fn(|byte| {
                let value = self.rescale.map_or(byte as f32, |factor| (byte as f64 * factor) as f32);
                self.normalize.map_or(value, |normalize| (value - normalize.mean[channel] as f32) / normalize.std[channel] as f32)
            })
        })
    }
}

/// One axis of a centre crop of `crop` from `size` pixels: what is kept, and how many black pixels come before it.
fn middle(size: u32, crop: u32) -> (Range<u32>, u32) {
    if size >= crop {
        let first = (size - crop) / 2;
        (first..first + crop, 0)
    } else {
        (0..size, (crop - size).div_ceil(2))
    }
}

/// Puts an RGB picture on black, `left` and `top` pixels from the corner.
fn pad(part: Picture, size: Size, left: usize, top: usize) -> Picture {
    if (part.width, part.height) == (size.width, size.height) {
        return part;
    }
    let (width, part_row) = (size.width as usize * 3, part.width as usize * 3);
    let mut data = vec![0; width * size.height as usize];
    for (out, row) in data.chunks_exact_mut(width).skip(top).zip(part.data.chunks_exact(part_row)) {
        out[left * 3..left * 3 + part_row].copy_from_slice(row);
    }
    Picture { width: size.width, height: size.height, mode: Mode::Rgb, data, palette: None, color_key: None }
}
