//! AutoAugment's policy for ImageNet: one of 25 pairs of operations, each with a likelihood and a level (arXiv 1805.09501, table 9).
//!
//! Two copies of it are in use, which agree on the table and differ in what a level means:
//!
//! | | Chinese-CLIP, by timm's `original` | torchvision's `AutoAugment` |
//! | --- | --- | --- |
//! | levels | 0 to 10 | indices 0 to 9 |
//! | Posterize | `int(0.4 level) + 4` bits, 8 is none | 8 bits down to 4 |
//! | Solarize | from `int(25.6 level)` on | from 255 down to 0 |
//! | Color, Contrast, Sharpness | `0.1 + 0.18 level` | 1 plus or minus `0.1 level` |
//! | Rotate, ShearX | up to 30 degrees, 0.3 | the same over 9 |

use serde::{Deserialize, Serialize};

use super::geometry::Affine;
use super::{Operation, Random};

/// Whose reading of the levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// What Chinese-CLIP was trained with: timm's `original`.
    #[default]
    ChineseClip,
    /// torchvision's `AutoAugmentPolicy.IMAGENET`.
    Torchvision,
}

/// The operations of the policy, before a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    AutoContrast,
    Color,
    Contrast,
    Equalize,
    Invert,
    Posterize,
    Rotate,
    Sharpness,
    ShearX,
    Solarize,
}

/// An operation, its likelihood and its level.
type Step = (Kind, f64, u8);

use Kind::*;

/// The pairs, in the order of the paper. The level of an operation that has none is 0.
const PAIRS: [[Step; 2]; 25] = [
    [(Posterize, 0.4, 8), (Rotate, 0.6, 9)],
    [(Solarize, 0.6, 5), (AutoContrast, 0.6, 0)],
    [(Equalize, 0.8, 0), (Equalize, 0.6, 0)],
    [(Posterize, 0.6, 7), (Posterize, 0.6, 6)],
    [(Equalize, 0.4, 0), (Solarize, 0.2, 4)],
    [(Equalize, 0.4, 0), (Rotate, 0.8, 8)],
    [(Solarize, 0.6, 3), (Equalize, 0.6, 0)],
    [(Posterize, 0.8, 5), (Equalize, 1.0, 0)],
    [(Rotate, 0.2, 3), (Solarize, 0.6, 8)],
    [(Equalize, 0.6, 0), (Posterize, 0.4, 6)],
    [(Rotate, 0.8, 8), (Color, 0.4, 0)],
    [(Rotate, 0.4, 9), (Equalize, 0.6, 0)],
    [(Equalize, 0.0, 0), (Equalize, 0.8, 0)],
    [(Invert, 0.6, 0), (Equalize, 1.0, 0)],
    [(Color, 0.6, 4), (Contrast, 1.0, 8)],
    [(Rotate, 0.8, 8), (Color, 1.0, 2)],
    [(Color, 0.8, 8), (Solarize, 0.8, 7)],
    [(Sharpness, 0.4, 7), (Invert, 0.6, 0)],
    [(ShearX, 0.6, 5), (Equalize, 1.0, 0)],
    [(Color, 0.4, 0), (Equalize, 0.6, 0)],
    [(Equalize, 0.4, 0), (Solarize, 0.2, 4)],
    [(Solarize, 0.6, 5), (AutoContrast, 0.6, 0)],
    [(Invert, 0.6, 0), (Equalize, 1.0, 0)],
    [(Color, 0.6, 4), (Contrast, 1.0, 8)],
    [(Equalize, 0.8, 0), (Equalize, 0.6, 0)],
];

impl Policy {
    /// The operations for one picture, in their order: none, one or two.
    pub fn choose(self, random: &mut Random) -> Vec<Operation> {
        let pair = PAIRS[random.index(PAIRS.len())];
        let chosen = pair.map(|(kind, likelihood, level)| {
            let (applies, negative) = (random.chance(likelihood), random.chance(0.5));
            applies.then(|| self.operation(kind, level, negative))
        });
        chosen.into_iter().flatten().collect()
    }

    /// All 25 pairs with the operations as they are when they apply, `negative` where they have a sign; with their likelihoods.
    pub fn pairs(self, negative: bool) -> [[(Operation, f64); 2]; 25] {
        PAIRS.map(|pair| pair.map(|(kind, likelihood, level)| (self.operation(kind, level, negative), likelihood)))
    }

    fn operation(self, kind: Kind, level: u8, negative: bool) -> Operation {
        let sign = if negative { -1.0 } else { 1.0 };
        let level = f64::from(level);
        match (self, kind) {
            (_, AutoContrast) => Operation::AutoContrast,
            (_, Equalize) => Operation::Equalize,
            (_, Invert) => Operation::Invert,
            (Self::ChineseClip, Color) => Operation::Color(level / 10.0 * 1.8 + 0.1),
            (Self::ChineseClip, Contrast) => Operation::Contrast(level / 10.0 * 1.8 + 0.1),
            (Self::ChineseClip, Sharpness) => Operation::Sharpness(level / 10.0 * 1.8 + 0.1),
            (Self::ChineseClip, Posterize) => Operation::Posterize((level / 10.0 * 4.0) as u32 + 4),
            (Self::ChineseClip, Rotate) => Operation::Rotate(sign * (level / 10.0 * 30.0)),
            (Self::ChineseClip, ShearX) => Operation::ShearX(sign * (level / 10.0 * 0.3)),
            (Self::ChineseClip, Solarize) => Operation::Solarize((level / 10.0 * 256.0).floor()),
            (Self::Torchvision, Color) => Operation::Color(1.0 + sign * linspace(0.0, 0.9, level)),
            (Self::Torchvision, Contrast) => Operation::Contrast(1.0 + sign * linspace(0.0, 0.9, level)),
            (Self::Torchvision, Sharpness) => Operation::Sharpness(1.0 + sign * linspace(0.0, 0.9, level)),
            (Self::Torchvision, Posterize) => Operation::Posterize(8 - (level / 2.25).round_ties_even() as u32),
            (Self::Torchvision, Rotate) => Operation::Rotate(sign * linspace(0.0, 30.0, level)),
            // `affine` about the corner, not the middle, so that it is the shear of the paper.
            (Self::Torchvision, ShearX) => {
                let degrees = libm::atan(sign * linspace(0.0, 0.3, level)).to_degrees();
                let [_, shear, ..] = Affine { angle: 0.0, shift: [0.0; 2], scale: 1.0, shear: [degrees, 0.0] }.matrix([0.0; 2]);
                Operation::ShearX(shear)
            }
            (Self::Torchvision, Solarize) => Operation::Solarize(linspace(255.0, 0.0, level)),
        }
    }
}

/// `torch.linspace(start, end, 10)[level]`: in f32, from the nearer end.
fn linspace(start: f32, end: f32, level: f64) -> f64 {
    let (step, level) = ((end - start) / 9.0, level as f32);
    f64::from(if level < 5.0 { start + step * level } else { end - step * (9.0 - level) })
}
