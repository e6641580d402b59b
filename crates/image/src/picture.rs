//! A decoded picture in the mode its file has, with Pillow's meaning of modes.
//!
//! The mode is kept because some reference pipelines resize before they convert to RGB: a palette is then resized by
//! nearest neighbour on its indices, alpha is premultiplied, and the pixels differ. Follows `PIL.Image.Image`.

use crate::convert;
use crate::{Error, Filter, Result, resize};

/// What one pixel of a [`Picture`] is; the names in backticks are Pillow's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// `1`: one byte, 0 or 255.
    Bilevel,
    /// `CMYK`: four bytes, 255 is full ink.
    Cmyk,
    /// `L`: one byte.
    Grey,
    /// `I;16`: two bytes, little end first.
    Grey16,
    /// `LA`: two bytes.
    GreyAlpha,
    /// `P`: one byte that points into the [`Palette`].
    Palette,
    /// `RGB`: three bytes.
    Rgb,
    /// `RGBA`: four bytes, alpha not premultiplied.
    Rgba,
}

impl Mode {
    /// Bytes per pixel.
    pub fn bytes(self) -> usize {
        match self {
            Self::Bilevel | Self::Grey | Self::Palette => 1,
            Self::Grey16 | Self::GreyAlpha => 2,
            Self::Rgb => 3,
            Self::Cmyk | Self::Rgba => 4,
        }
    }
}

/// The colours of a palette picture. Entries that the file does not define are black, as in Pillow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Palette {
    /// Red, green, blue of each index.
    pub colors: [[u8; 3]; 256],
    /// The alpha of each index; `None` when nothing is transparent.
    pub alpha: Option<[u8; 256]>,
}

impl Palette {
    /// A palette whose first entries are `colors` (R, G, B in turn).
    pub fn from_rgb(colors: &[u8]) -> Self {
        let mut palette = Self { colors: [[0; 3]; 256], alpha: None };
        for (entry, color) in palette.colors.iter_mut().zip(colors.chunks_exact(3)) {
            *entry = [color[0], color[1], color[2]];
        }
        palette
    }
}

/// What to do with transparency when a picture becomes RGB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alpha {
    /// Forget it: Pillow's `convert("RGB")`, `cn_clip` and transformers 4. Whatever colour hides under a transparent pixel appears.
    Drop,
    /// Put the picture on white: transformers 5, and what a viewer shows.
    #[default]
    OverWhite,
}

/// A picture in memory: rows from the top, pixels from the left, no padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) mode: Mode,
    /// Width × height × [`Mode::bytes`].
    pub(crate) data: Vec<u8>,
    /// Present exactly in [`Mode::Palette`].
    pub(crate) palette: Option<Box<Palette>>,
    /// The RGB colour that stands for "transparent" (PNG `tRNS`, GIF) in modes without alpha.
    pub(crate) color_key: Option<[u8; 3]>,
}

impl Picture {
    /// An RGB picture from `data`, three bytes a pixel, rows from the top.
    pub fn from_rgb8(width: u32, height: u32, data: Vec<u8>) -> Result<Self> {
        Self::from_raw(width, height, Mode::Rgb, data)
    }

    /// A picture of any mode but [`Mode::Palette`] from its bytes, [`Mode::bytes`] for each pixel.
    pub fn from_raw(width: u32, height: u32, mode: Mode, data: Vec<u8>) -> Result<Self> {
        let palette = (mode == Mode::Palette).then(|| Box::new(Palette::from_rgb(&[])));
        Self::checked(Self { width, height, mode, data, palette, color_key: None })
    }

    /// A palette picture: one index a pixel.
    pub fn from_indices(width: u32, height: u32, indices: Vec<u8>, palette: Palette) -> Result<Self> {
        Self::checked(Self { width, height, mode: Mode::Palette, data: indices, palette: Some(Box::new(palette)), color_key: None })
    }

    fn checked(self) -> Result<Self> {
        let Self { width, height, ref data, .. } = self;
        let wanted = (width as usize).saturating_mul(height as usize).saturating_mul(self.mode.bytes());
        if wanted == 0 || data.len() != wanted {
            return Err(Error::Length { width, height, found: data.len(), wanted: wanted.max(self.mode.bytes()) });
        }
        Ok(self)
    }

    /// The same size and palette with other pixels; for steps whose arithmetic already fixes the length.
    pub(crate) fn with_data(&self, width: u32, height: u32, mode: Mode, data: Vec<u8>) -> Self {
        debug_assert_eq!(data.len(), width as usize * height as usize * mode.bytes());
        Self { width, height, mode, data, palette: self.palette.clone(), color_key: self.color_key }
    }

    /// Pixels in a row.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// What a pixel is.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The pixels: width × height × [`Mode::bytes`].
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The palette of a [`Mode::Palette`] picture.
    pub fn palette(&self) -> Option<&Palette> {
        self.palette.as_deref()
    }

    /// Whether any pixel may be transparent, by alpha, palette or colour key.
    pub fn has_transparency(&self) -> bool {
        matches!(self.mode, Mode::GreyAlpha | Mode::Rgba)
            || self.color_key.is_some()
            || self.palette.as_ref().is_some_and(|palette| palette.alpha.is_some())
    }

    /// The picture as RGB, transparency put on white.
    pub fn to_rgb8(&self) -> Self {
        self.to_rgb8_with(Alpha::OverWhite)
    }

    /// The picture as RGB, transparency treated as `alpha` says.
    pub fn to_rgb8_with(&self, alpha: Alpha) -> Self {
        convert::to_rgb8(self, alpha)
    }

    /// The picture at another size, in its own mode, with Pillow's bytes.
    ///
    /// As `PIL.Image.resize`: bilevel and palette pictures always use the nearest pixel, alpha is premultiplied for the
    /// time of the resize, an equal size is a copy. A side of zero is taken as one.
    pub fn resize(&self, width: u32, height: u32, filter: Filter) -> Self {
        let (width, height) = (width.max(1), height.max(1));
        resize::resize(self, (width, height), (0..width, 0..height), filter)
    }

    /// The picture as a PNG file; greys, RGB and RGBA keep their mode, the rest becomes RGB first.
    pub fn encode_png(&self) -> Vec<u8> {
        let color = match self.mode {
            Mode::Grey | Mode::Bilevel if self.color_key.is_none() => png::ColorType::Grayscale,
            Mode::GreyAlpha => png::ColorType::GrayscaleAlpha,
            Mode::Rgb if self.color_key.is_none() => png::ColorType::Rgb,
            Mode::Rgba => png::ColorType::Rgba,
            _ => return self.to_rgb8().encode_png(),
        };
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, self.width, self.height);
        encoder.set_color(color);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().expect("a checked size and a Vec cannot be refused");
        writer.write_image_data(&self.data).expect("the length was checked when the picture was made");
        writer.finish().expect("writing to a Vec cannot fail");
        out
    }
}
