//! A random part of a picture: the sampling of torchvision's (and timm's) `RandomResizedCrop`, after Szegedy et al., arXiv 1409.4842.

use serde::{Deserialize, Serialize};

use super::{Random, geometry};
use crate::picture::Picture;

/// How many times a part is drawn before the middle is taken.
const TRIES: usize = 10;

/// Which parts of a picture may stand for it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RandomResizedCrop {
    /// Of the picture's area, at least and at most. Chinese-CLIP: 0.9 to 1; torchvision's default 0.08 to 1.
    pub scale: [f64; 2],
    /// Width by height, at least and at most; its logarithm is even.
    pub ratio: [f64; 2],
}

impl Default for RandomResizedCrop {
    fn default() -> Self {
        Self { scale: [0.9, 1.0], ratio: [3.0 / 4.0, 4.0 / 3.0] }
    }
}

impl RandomResizedCrop {
    /// Left, top, width and height of a part of a picture of `width` and `height`, in pixels.
    pub fn choose(&self, width: u32, height: u32, random: &mut Random) -> [u32; 4] {
        let (w, h) = (f64::from(width), f64::from(height));
        let [low, high] = self.ratio.map(libm::log);
        for _ in 0..TRIES {
            let area = w * h * random.between(self.scale[0], self.scale[1]);
            let ratio = libm::exp(random.between(low, high));
            // Python rounds halves to even.
            let (part_w, part_h) = ((area * ratio).sqrt().round_ties_even(), (area / ratio).sqrt().round_ties_even());
            if (1.0..=w).contains(&part_w) && (1.0..=h).contains(&part_h) {
                let (part_w, part_h) = (part_w as u32, part_h as u32);
                let top = random.below(u64::from(height - part_h) + 1) as u32;
                let left = random.below(u64::from(width - part_w) + 1) as u32;
                return [left, top, part_w, part_h];
            }
        }
        let ratio = w / h;
        let (part_w, part_h) = if ratio < self.ratio[0] {
            (width, (w / self.ratio[0]).round_ties_even() as u32)
        } else if ratio > self.ratio[1] {
            ((h * self.ratio[1]).round_ties_even() as u32, height)
        } else {
            (width, height)
        };
        let (part_w, part_h) = (part_w.clamp(1, width), part_h.clamp(1, height));
        [(width - part_w) / 2, (height - part_h) / 2, part_w, part_h]
    }

    /// The part of `picture`, which is RGB.
    pub(super) fn apply(&self, picture: &Picture, random: &mut Random) -> Picture {
        let [left, top, width, height] = self.choose(picture.width, picture.height, random);
        geometry::part(picture, (left, top), (width, height))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_part_lies_inside_and_is_as_large_and_as_wide_as_was_asked(width in 1_u32..900, height in 1_u32..900, seed: u64) {
            let crop = RandomResizedCrop { scale: [0.3, 0.9], ..RandomResizedCrop::default() };
            let [left, top, w, h] = crop.choose(width, height, &mut Random::new(seed));
            prop_assert!(w >= 1 && h >= 1 && left + w <= width && top + h <= height);
            // The middle that is taken where nothing fits may have any area.
            if width.min(height) > 100 && f64::from(width.max(height)) < 1.2 * f64::from(width.min(height)) {
                let (share, ratio) = (f64::from(w * h) / f64::from(width * height), f64::from(w) / f64::from(h));
                prop_assert!((0.29..0.91).contains(&share), "{share}");
                prop_assert!((0.73..1.37).contains(&ratio), "{ratio}");
            }
        }
    }
}
