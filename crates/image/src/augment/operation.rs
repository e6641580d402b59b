//! One change of a picture, without anything random: what policies are made of.

use super::geometry::{self, Affine, Canvas};
use super::tone;
use crate::picture::{Mode, Picture};

/// A change of a picture's pixels; the size stays. The bytes are those of Pillow, as torchvision and timm call it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operation {
    /// Turned, moved, scaled and sheared about the middle: torchvision's `affine`.
    Affine(Affine),
    /// Each channel stretched over 0 to 255.
    AutoContrast,
    /// 0 is black, 1 the picture, 2 twice as bright.
    Brightness(f64),
    /// 0 is grey, 1 the picture.
    Color(f64),
    /// 0 is the mean grey, 1 the picture.
    Contrast(f64),
    /// Each channel with as even a histogram as can be.
    Equalize,
    /// Mirrored from left to right: not for pictures with writing.
    Flip,
    /// The hue turned by this much of a circle, -0.5 to 0.5.
    Hue(f64),
    /// The negative.
    Invert,
    /// The upper bits of each channel, 1 to 8.
    Posterize(u32),
    /// Degrees, anticlockwise: `Image.rotate`.
    Rotate(f64),
    /// 0 is smoothed, 1 the picture, 2 sharpened.
    Sharpness(f64),
    /// Pixels to the left for each row.
    ShearX(f64),
    /// Pixels up for each column.
    ShearY(f64),
    /// Bytes from this on are inverted.
    Solarize(f64),
    /// Pixels to the left.
    TranslateX(f64),
    /// Pixels up.
    TranslateY(f64),
}

impl Operation {
    /// `picture` changed. One that is not RGB becomes RGB on white first.
    pub fn apply(&self, picture: &Picture, canvas: Canvas) -> Picture {
        if picture.mode != Mode::Rgb || picture.color_key.is_some() {
            return self.apply(&picture.to_rgb8(), canvas);
        }
        let affine = |matrix| geometry::transform(picture, matrix, canvas);
        match *self {
            Self::Affine(change) => affine(change.matrix([picture.width, picture.height].map(|side| f64::from(side) * 0.5))),
            Self::AutoContrast => tone::auto_contrast(picture),
            Self::Brightness(factor) => tone::brightness(picture, factor),
            Self::Color(factor) => tone::color(picture, factor),
            Self::Contrast(factor) => tone::contrast(picture, factor),
            Self::Equalize => tone::equalize(picture),
            Self::Flip => geometry::mirror(picture),
            Self::Hue(turns) => tone::hue(picture, turns),
            Self::Invert => tone::invert(picture),
            Self::Posterize(bits) => tone::posterize(picture, bits),
            Self::Rotate(degrees) => geometry::rotate(picture, degrees, canvas),
            Self::Sharpness(factor) => tone::sharpness(picture, factor),
            Self::ShearX(shear) => affine([1.0, shear, 0.0, 0.0, 1.0, 0.0]),
            Self::ShearY(shear) => affine([1.0, 0.0, 0.0, shear, 1.0, 0.0]),
            Self::Solarize(threshold) => tone::solarize(picture, threshold),
            Self::TranslateX(pixels) => affine([1.0, 0.0, pixels, 0.0, 1.0, 0.0]),
            Self::TranslateY(pixels) => affine([1.0, 0.0, 0.0, 0.0, 1.0, pixels]),
        }
    }
}
