//! Pictures made a little different for training: the operations that upstream uses, with Pillow's bytes, and random choices among them that are
//! the same on every machine.
//!
//! [`Augment`] is what a recipe says; [`Augment::pixels`] turns a decoded picture, a model's [`Preprocess`] and a [`Random`] generator into the model's
//! input. The order is fixed: RGB, background, part (or the model's own geometry), mirror, colour policy, affine, colour jitter, numbers. From the part on, pictures
//! have the model's size.
//!
//! References: timm's `create_transform` as cn_clip calls it (`color_jitter=None`, `auto_augment='original'`, bicubic, fill 123,117,104), and torchvision's
//! `RandomResizedCrop`, `RandomAffine` and `ColorJitter`. Unlike both, nothing is mirrored unless asked: a mirror reverses writing.
//!
//! ```
//! use hua_image::augment::{Augment, Random};
//! use hua_image::{Picture, Preprocess};
//!
//! let red = Picture::from_rgb8(40, 20, [255, 0, 0].repeat(40 * 20))?;
//! let preprocess = Preprocess::chinese_clip(16);
//! let augment = Augment::chinese_clip();
//! let pixels = |seed| augment.pixels(&red, &preprocess, &mut Random::new(seed));
//! assert_eq!(pixels(1).data.len(), 3 * 16 * 16);
//! assert_eq!(pixels(1), pixels(1));
//! # Ok::<(), hua_image::Error>(())
//! ```

mod background;
mod crop;
mod geometry;
mod operation;
mod policy;
mod random;
mod tone;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

pub use background::RandomBackground;
pub use crop::RandomResizedCrop;
pub use geometry::{Affine, Canvas, Interpolation};
pub use operation::Operation;
pub use policy::Policy;
pub use random::{Random, seed_of};

use crate::picture::{Mode, Picture};
use crate::preprocess::{Geometry, Pixels, Preprocess};
use crate::{Error, Result};

/// Chinese-CLIP's fill colour: CLIP's mean colour in bytes.
pub const FILL: [u8; 3] = [123, 117, 104];

/// How training pictures are changed. Nothing is, by default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// A random part instead of the model's resize and crop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop: Option<RandomResizedCrop>,
    /// Another colour behind drawings on white.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub background: Option<RandomBackground>,
    /// Likelihood of a mirror from left to right, which reverses writing. 0 unless asked; upstream's is 0.5.
    pub flip: f64,
    /// A pair of operations of AutoAugment's ImageNet policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_augment: Option<AutoAugment>,
    /// Turned, moved, scaled, sheared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affine: Option<RandomAffine>,
    /// Brightness, contrast, saturation and hue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color_jitter: Option<ColorJitter>,
}

/// A pair of operations of AutoAugment's ImageNet policy, bicubic.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AutoAugment {
    /// Whose reading of the levels.
    pub policy: Policy,
    /// Likelihood that a pair is drawn at all.
    pub probability: f64,
    /// What a turned picture does not cover.
    pub fill: Fill,
}

impl Default for AutoAugment {
    fn default() -> Self {
        Self { policy: Policy::default(), probability: 1.0, fill: Fill::default() }
    }
}

/// A random affine change about the middle, as torchvision's `RandomAffine`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RandomAffine {
    /// Likelihood that a picture is changed.
    pub probability: f64,
    /// Turned by at most so many degrees either way.
    pub degrees: f64,
    /// Moved by at most this much of the width and of the height.
    pub translate: [f64; 2],
    /// As large as this at least and at most.
    pub scale: [f64; 2],
    /// Sheared along x by at most so many degrees either way.
    pub shear: f64,
    /// What it does not cover.
    pub fill: Fill,
    /// How a pixel is read between pixels.
    pub interpolation: Interpolation,
}

impl Default for RandomAffine {
    fn default() -> Self {
        Self {
            probability: 1.0,
            degrees: 0.0,
            translate: [0.0; 2],
            scale: [1.0; 2],
            shear: 0.0,
            fill: Fill::default(),
            interpolation: Interpolation::Bilinear,
        }
    }
}

/// Random changes of colour in a random order, as torchvision's `ColorJitter`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ColorJitter {
    /// Likelihood that a picture is changed.
    pub probability: f64,
    /// The factor is 1 plus or minus at most this, never below 0.
    pub brightness: f64,
    /// The same.
    pub contrast: f64,
    /// The same.
    pub saturation: f64,
    /// Turned by at most this much of a circle either way, up to 0.5.
    pub hue: f64,
}

impl Default for ColorJitter {
    fn default() -> Self {
        Self { probability: 1.0, brightness: 0.0, contrast: 0.0, saturation: 0.0, hue: 0.0 }
    }
}

/// A colour for what a picture does not cover: `[r, g, b]`, `"random"` or `"corner"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Fill {
    /// This one.
    Color([u8; 3]),
    /// Found anew for each picture.
    Found(Found),
}

/// Where the colour of each picture is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// The pixel in the upper left corner: what is on one colour stays on it.
    Corner,
    /// Any colour.
    Random,
}

impl Default for Fill {
    fn default() -> Self {
        Self::Color(FILL)
    }
}

impl Fill {
    fn color(self, picture: &Picture, random: &mut Random) -> [u8; 3] {
        let any = std::array::from_fn(|_| random.below(256) as u8);
        match self {
            Self::Color(color) => color,
            Self::Found(Found::Corner) => [picture.data[0], picture.data[1], picture.data[2]],
            Self::Found(Found::Random) => any,
        }
    }
}

impl Augment {
    /// What `cn_clip --use-augment` does, without its mirror.
    pub fn chinese_clip() -> Self {
        Self { crop: Some(RandomResizedCrop::default()), auto_augment: Some(AutoAugment::default()), ..Self::default() }
    }

    /// Whether every picture stays as it is, whatever the generator: features may then be computed once.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses numbers that make no sense.
    ///
    /// # Errors
    /// [`Error::Config`] names the first.
    pub fn check(&self) -> Result<()> {
        const SHARE: &str = "a number from 0 to 1";
        const RANGE: &str = "two numbers above 0, the smaller first";
        const AMOUNT: &str = "a number of at least 0";
        let wrong = |key: &str, found: String, wanted| Err(Error::Config { key: key.into(), found, wanted });
        let share = |x: f64| (0.0..=1.0).contains(&x);
        let range = |[low, high]: [f64; 2]| low > 0.0 && low <= high && high.is_finite();
        let amount = |x: f64| x >= 0.0 && x.is_finite();
        let Self { crop, background, flip, auto_augment, affine, color_jitter } = self;
        let mut checks = vec![("flip", share(*flip), format!("{flip}"), SHARE)];
        if let Some(RandomResizedCrop { scale, ratio }) = *crop {
            checks.push((
                "crop.scale",
                range(scale) && scale[1] <= 1.0,
                format!("{scale:?}"),
                "two numbers from 0 to 1, the smaller first",
            ));
            checks.push(("crop.ratio", range(ratio), format!("{ratio:?}"), RANGE));
        }
        let shares = [
            ("background.probability", background.map(|b| b.probability)),
            ("auto_augment.probability", auto_augment.map(|a| a.probability)),
            ("affine.probability", affine.map(|a| a.probability)),
            ("affine.translate", affine.map(|a| a.translate[0])),
            ("affine.translate", affine.map(|a| a.translate[1])),
            ("color_jitter.probability", color_jitter.map(|c| c.probability)),
        ];
        checks.extend(shares.iter().filter_map(|&(key, x)| x.map(|x| (key, share(x), format!("{x}"), SHARE))));
        if let Some(affine) = affine {
            checks.push(("affine.degrees", amount(affine.degrees), affine.degrees.to_string(), AMOUNT));
            checks.push(("affine.shear", (0.0..90.0).contains(&affine.shear), affine.shear.to_string(), "degrees from 0 to below 90"));
            checks.push(("affine.scale", range(affine.scale), format!("{:?}", affine.scale), RANGE));
        }
        if let Some(ColorJitter { brightness, contrast, saturation, hue, .. }) = *color_jitter {
            let amounts =
                [("color_jitter.brightness", brightness), ("color_jitter.contrast", contrast), ("color_jitter.saturation", saturation)];
            checks.extend(amounts.map(|(key, x)| (key, amount(x), x.to_string(), AMOUNT)));
            checks.push(("color_jitter.hue", (0.0..=0.5).contains(&hue), hue.to_string(), "a number from 0 to 0.5"));
        }
        match checks.into_iter().find(|(_, right, ..)| !right) {
            Some((key, _, found, wanted)) => wrong(key, found, wanted),
            None => Ok(()),
        }
    }

    /// `picture` changed, and as the model sees it: `[3, height, width]`.
    pub fn pixels(&self, picture: &Picture, preprocess: &Preprocess, random: &mut Random) -> Pixels {
        let size = preprocess.output_size();
        let mut data = vec![0.0; 3 * size.height as usize * size.width as usize];
        self.pixels_into(picture, preprocess, random, &mut data);
        Pixels { size, data }
    }

    /// The same into a place of the caller's.
    ///
    /// # Panics
    /// When `out` is not `3 * height * width` long.
    pub fn pixels_into(&self, picture: &Picture, preprocess: &Preprocess, random: &mut Random, out: &mut [f32]) {
        if self.is_none() {
            return preprocess.apply_into(picture, out);
        }
        let changed = self.apply(picture, preprocess, random);
        // The geometry is done; what is left is the numbers.
        Preprocess { geometry: Geometry::Crop(preprocess.output_size()), ..*preprocess }.apply_into(&changed, out);
    }

    /// The bytes before they become numbers: RGB, of the model's size.
    pub fn apply(&self, picture: &Picture, preprocess: &Preprocess, random: &mut Random) -> Picture {
        // Each step has a generator of its own, so that turning one on or off leaves the others as they were.
        let root = random.bits();
        let step = |number| Random::of(&[root, number]);
        let plain = picture.mode() == Mode::Rgb && !picture.has_transparency();
        let mut rgb = if plain { Cow::Borrowed(picture) } else { Cow::Owned(picture.to_rgb8_with(preprocess.alpha)) };
        if let Some(background) = &self.background {
            rgb = Cow::Owned(background.apply(rgb.into_owned(), &mut step(0)));
        }
        let mut now = match &self.crop {
            Some(crop) => {
                let size = preprocess.output_size();
                crop.apply(&rgb, &mut step(1)).resize(size.width, size.height, preprocess.filter)
            }
            None => preprocess.resized(&rgb),
        };
        if step(2).chance(self.flip) {
            now = geometry::mirror(&now);
        }
        if let Some(auto) = &self.auto_augment {
            now = auto.apply(now, &mut step(3));
        }
        if let Some(affine) = &self.affine {
            now = affine.apply(now, &mut step(4));
        }
        if let Some(jitter) = &self.color_jitter {
            now = jitter.apply(now, &mut step(5));
        }
        now
    }
}

impl AutoAugment {
    fn apply(&self, mut picture: Picture, random: &mut Random) -> Picture {
        let canvas = Canvas { interpolation: Interpolation::Bicubic, fill: self.fill.color(&picture, random) };
        if random.chance(self.probability) {
            for operation in self.policy.choose(random) {
                picture = operation.apply(&picture, canvas);
            }
        }
        picture
    }
}

impl RandomAffine {
    fn apply(&self, picture: Picture, random: &mut Random) -> Picture {
        let canvas = Canvas { interpolation: self.interpolation, fill: self.fill.color(&picture, random) };
        if !random.chance(self.probability) {
            return picture;
        }
        let angle = random.between(-self.degrees, self.degrees);
        let most = [self.translate[0] * f64::from(picture.width), self.translate[1] * f64::from(picture.height)];
        let shift = most.map(|most| random.between(-most, most).round_ties_even());
        let scale = random.between(self.scale[0], self.scale[1]);
        let shear = [random.between(-self.shear, self.shear), 0.0];
        Operation::Affine(Affine { angle, shift, scale, shear }).apply(&picture, canvas)
    }
}

impl ColorJitter {
    fn apply(&self, mut picture: Picture, random: &mut Random) -> Picture {
        if !random.chance(self.probability) {
            return picture;
        }
        let [brightness, contrast, saturation] = [self.brightness, self.contrast, self.saturation]
            .map(|most| (most > 0.0).then(|| random.between((1.0 - most).max(0.0), 1.0 + most)));
        let hue = (self.hue > 0.0).then(|| random.between(-self.hue, self.hue));
        let mut operations = [
            brightness.map(Operation::Brightness),
            contrast.map(Operation::Contrast),
            saturation.map(Operation::Color),
            hue.map(Operation::Hue),
        ];
        random.shuffle(&mut operations);
        let canvas = Canvas { interpolation: Interpolation::Nearest, fill: FILL };
        for operation in operations.into_iter().flatten() {
            picture = operation.apply(&picture, canvas);
        }
        picture
    }
}
