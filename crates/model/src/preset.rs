//! The published models' sizes, as data: one JSON file each in `presets/`, compiled in.
//!
//! Presets are for people and tests (counts, graphs, FLOPs, new models of a known size). Opening a checkpoint never looks at them:
//! its own configuration or its tensors' shapes say what it is.
use std::sync::LazyLock;

use hua_graph::Graph;
use serde::Deserialize;

use crate::arch::{ArchError, ImageTower, TextTower};

/// A published model's sizes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// Its name here, such as `chinese-clip-vit-b-16`.
    pub name: String,
    /// The family it belongs to.
    pub family: String,
    /// Where it was published: a name on Hugging Face's hub, or an address.
    pub source: String,
    /// What a reader has to know.
    #[serde(default)]
    pub note: Option<String>,
    /// The longest text it is used with, tokens.
    pub context_length: usize,
    /// The published number of parameters, the logit scale included.
    pub parameters: u64,
    /// The image tower.
    pub image: ImageTower,
    /// The text tower.
    pub text: TextTower,
}

impl Preset {
    /// The graphs of the image tower and of the text tower.
    ///
    /// # Errors
    /// None for the presets here; [`ArchError`] for others.
    pub fn graphs(&self) -> Result<(Graph, Graph), ArchError> {
        Ok((self.image.graph()?, self.text.graph()?))
    }
}

/// All presets.
///
/// ```
/// let preset = hua_model::preset("chinese-clip-vit-b-16").unwrap();
/// let (image, text) = preset.graphs()?;
/// assert_eq!(image.parameter_count() + text.parameter_count() + 1, 188_262_913);
/// # Ok::<(), hua_model::ArchError>(())
/// ```
pub fn presets() -> &'static [Preset] {
    static PRESETS: LazyLock<Vec<Preset>> =
        LazyLock::new(|| FILES.iter().map(|json| serde_json::from_str(json).expect("every preset is read by a test")).collect());
    &PRESETS
}

/// The preset of that name.
pub fn preset(name: &str) -> Option<&'static Preset> {
    presets().iter().find(|p| p.name == name)
}

const FILES: &[&str] = &[
    include_str!("../presets/clip-vit-b-32.json"),
    include_str!("../presets/clip-vit-b-16.json"),
    include_str!("../presets/clip-vit-l-14.json"),
    include_str!("../presets/clip-vit-l-14-336.json"),
    include_str!("../presets/clip-rn50.json"),
    include_str!("../presets/clip-rn101.json"),
    include_str!("../presets/clip-rn50x4.json"),
    include_str!("../presets/clip-rn50x16.json"),
    include_str!("../presets/clip-rn50x64.json"),
    include_str!("../presets/chinese-clip-rn50.json"),
    include_str!("../presets/chinese-clip-vit-b-16.json"),
    include_str!("../presets/chinese-clip-vit-l-14.json"),
    include_str!("../presets/chinese-clip-vit-l-14-336.json"),
    include_str!("../presets/chinese-clip-vit-h-14.json"),
    include_str!("../presets/altclip.json"),
    include_str!("../presets/altclip-m9.json"),
    include_str!("../presets/altclip-m18.json"),
    include_str!("../presets/taiyi-clip-102m.json"),
    include_str!("../presets/taiyi-clip-102m-vit-l.json"),
    include_str!("../presets/taiyi-clip-326m.json"),
    include_str!("../presets/taiyi-clip-326m-vit-h.json"),
];
