//! Reading `preprocessor_config.json`, the new kind and the old.
//!
//! Missing fields take the defaults of `CLIPImageProcessor`, which `ChineseCLIPImageProcessor` shares: `null` counts as missing.
//! A scalar `size` is a shortest edge, a scalar `crop_size` a square. Keys that only inform are passed over; a value that
//! cannot be honoured is an error, and so is an unknown step (`do_…: true`).

use serde_json::{Map, Value};

use crate::preprocess::{CLIP_MEAN, CLIP_STD, Geometry, MAX_SIDE, Normalize, Preprocess, Size};
use crate::{Error, Filter, Result};

/// The steps that transformers' CLIP processors know.
const STEPS: [&str; 5] = ["do_center_crop", "do_convert_rgb", "do_normalize", "do_rescale", "do_resize"];

impl Preprocess {
    /// The preprocessing that a `preprocessor_config.json` describes.
    ///
    /// `do_convert_rgb: false` is taken as true: for RGB files there is no difference, and other files would not fit
    /// a model with three channels.
    pub fn from_config(json: &[u8]) -> Result<Self> {
        let config: Map<String, Value> = serde_json::from_slice(json).map_err(Error::ConfigJson)?;
        let config = Config(config);
        config.refuse_unknown_kinds()?;
        let crop = config.flag("do_center_crop")?.then(|| config.crop()).transpose()?;
        let target = config.flag("do_resize")?.then(|| config.target()).transpose()?;
        let unbounded = |wanted| Err(config.error("do_center_crop", wanted));
        let geometry = match (target, crop) {
            (Some(Target::ShortestEdge(edge)), Some(crop)) => Geometry::ShortestEdge { edge, crop },
            (Some(Target::ShortestEdge(_)), None) => {
                return unbounded("a crop, since a shortest edge alone gives every picture another size");
            }
            (Some(Target::Squash(to)), crop) => Geometry::Squash { to, crop: crop.unwrap_or(to) },
            (None, Some(crop)) => Geometry::Crop(crop),
            (None, None) => return unbounded("a resize or a crop, since pictures would keep their different sizes"),
        };
        let rescale = config.flag("do_rescale")?.then(|| config.number("rescale_factor", 1.0 / 255.0)).transpose()?;
        let normalize = config
            .flag("do_normalize")?
            .then(|| Ok(Normalize { mean: config.channels("image_mean", CLIP_MEAN)?, std: config.channels("image_std", CLIP_STD)? }))
            .transpose()?;
        if normalize.is_some_and(|normalize| normalize.std.iter().any(|&std| std as f32 == 0.0)) {
            return Err(config.error("image_std", "numbers that can divide"));
        }
        Ok(Self { geometry, rescale, normalize, filter: config.filter()?, ..Self::clip(1) })
    }
}

/// What the resize aims at.
enum Target {
    ShortestEdge(u32),
    Squash(Size),
}

/// The file, with readers that know defaults and say what is wrong.
struct Config(Map<String, Value>);

impl Config {
    /// The value, unless it is missing or `null`.
    fn value(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    fn error(&self, key: &str, wanted: &'static str) -> Error {
        let found = self.0.get(key).map_or_else(|| "missing".into(), |value| format!("`{}`", shorten(&value.to_string())));
        Error::Config { key: key.into(), found, wanted }
    }

    /// One of the processor's own steps; all of them are on unless the file says otherwise.
    fn flag(&self, key: &str) -> Result<bool> {
        self.value(key).map_or(Ok(true), |value| value.as_bool().ok_or_else(|| self.error(key, "`true` or `false`")))
    }

    fn refuse_unknown_kinds(&self) -> Result<()> {
        for key in ["image_processor_type", "feature_extractor_type"] {
            if self.value(key).is_some_and(|kind| !kind.as_str().is_some_and(|kind| kind.to_ascii_lowercase().contains("clip"))) {
                return Err(self.error(key, "a CLIP or Chinese-CLIP processor, whose defaults are known"));
            }
        }
        let step = |key: &str| key.starts_with("do_") || key == "use_square_size";
        let unknown = self.0.iter().find(|(key, value)| step(key) && !STEPS.contains(&key.as_str()) && **value == true);
        unknown.map_or(Ok(()), |(key, _)| Err(self.error(key, "no step but resize, centre crop, rescale, normalise and conversion to RGB")))
    }

    fn target(&self) -> Result<Target> {
        const WANTED: &str = "a number of pixels, `{\"shortest_edge\"}` or `{\"height\", \"width\"}` of 1 to 8192";
        let Some(value) = self.value("size") else { return Ok(Target::ShortestEdge(224)) };
        let wrong = || self.error("size", WANTED);
        if let Some(edge) = side(value) {
            let square = self.value("default_to_square").is_some_and(|square| *square == true);
            return Ok(if square { Target::Squash(Size::square(edge)) } else { Target::ShortestEdge(edge) });
        }
        if let Some([height, width]) = pair(value) {
            return Ok(Target::Squash(Size { height, width }));
        }
        let fields: Vec<(&str, &Value)> = fields(value).ok_or_else(wrong)?;
        match fields[..] {
            [("shortest_edge", edge)] => side(edge).map(Target::ShortestEdge).ok_or_else(wrong),
            _ => height_and_width(&fields).map(Target::Squash).ok_or_else(wrong),
        }
    }

    fn crop(&self) -> Result<Size> {
        let Some(value) = self.value("crop_size") else { return Ok(Size::square(224)) };
        let size = side(value)
            .map(Size::square)
            .or_else(|| pair(value).map(|[height, width]| Size { height, width }))
            .or_else(|| height_and_width(&fields(value)?));
        size.ok_or_else(|| self.error("crop_size", "a number of pixels or `{\"height\", \"width\"}` of 1 to 8192"))
    }

    fn filter(&self) -> Result<Filter> {
        let Some(value) = self.value("resample") else { return Ok(Filter::Bicubic) };
        value.as_u64().and_then(Filter::from_code).ok_or_else(|| self.error("resample", "one of Pillow's codes 0 to 5"))
    }

    fn number(&self, key: &str, default: f64) -> Result<f64> {
        let Some(value) = self.value(key) else { return Ok(default) };
        value.as_f64().filter(|number| number.is_finite()).ok_or_else(|| self.error(key, "a number"))
    }

    /// Three numbers, or one for all three.
    fn channels(&self, key: &str, default: [f64; 3]) -> Result<[f64; 3]> {
        let Some(value) = self.value(key) else { return Ok(default) };
        let finite = |value: &Value| value.as_f64().filter(|&number| (number as f32).is_finite());
        let numbers = match value {
            Value::Array(values) => values.iter().map(finite).collect::<Option<Vec<f64>>>().and_then(|values| values.try_into().ok()),
            value => finite(value).map(|number| [number; 3]),
        };
        numbers.ok_or_else(|| self.error(key, "three numbers, for red, green and blue"))
    }
}

/// A side that a model's input can have.
fn side(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|side| u32::try_from(side).ok()).filter(|side| (1..=MAX_SIDE).contains(side))
}

fn pair(value: &Value) -> Option<[u32; 2]> {
    let [first, second] = value.as_array()?.as_slice() else { return None };
    Some([side(first)?, side(second)?])
}

/// The fields of an object that are not `null`, by name.
fn fields(value: &Value) -> Option<Vec<(&str, &Value)>> {
    Some(value.as_object()?.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.as_str(), value)).collect())
}

fn height_and_width(fields: &[(&str, &Value)]) -> Option<Size> {
    let field = |name: &str| fields.iter().find(|(key, _)| *key == name).and_then(|(_, value)| side(value));
    (fields.len() == 2).then_some(Size { height: field("height")?, width: field("width")? })
}

/// Enough of a value to recognise it.
fn shorten(text: &str) -> String {
    if text.chars().count() <= 60 { text.into() } else { text.chars().take(60).chain("…".chars()).collect() }
}
