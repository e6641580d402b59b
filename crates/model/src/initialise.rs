//! A model with random weights, of a folder that says its sizes: where training from nothing starts.
//!
//! Decided here: each architecture begins as its authors began it.
//!
//! - CLIP's blocks, in both towers (`CLIP.initialize_parameters` of OpenAI's `clip/model.py`; Radford et al., 2021): normal, with standard
//!   deviation `width^-½` for query, key and value, `(2 width)^-½` into the MLP, and `width^-½ (2 layers)^-½` for the two that are added
//!   to the rows, so that their sum does not grow with depth. transformers has query, key, value and output the other way round.
//! - CLIP's picture embeddings (`VisionTransformer` there): class and positions `width^-½`, patches as PyTorch's `Conv2d`: uniform within
//!   `±fan_in^-½`. CLIP's texts: tokens 0.02, positions 0.01.
//! - BERT (Devlin et al., 2018; `_init_weights` of transformers, `initializer_range`): 0.02 for all matrices and tables, the heads of AltCLIP
//!   and Taiyi too.
//! - Projections into the common space: `fan_in^-½` in all families. Gains are 1, biases 0, the logit scale is ln(1 / 0.07).
//!
//! A parameter's numbers depend on the seed, its tower and its name alone, so that the rest of a model can change around it.
use std::path::Path;

use hua_graph::{Graph, ParamSpec, Tensor, Weights};

use crate::arch::{ArchError, ImageTower, TextTower};
use crate::families::by_config;
use crate::model::{Pictures, assemble, preprocessing};
use crate::source::Source;
use crate::spec::PREPROCESSOR;
use crate::{Family, Model, ModelError, OpenOptions, Tower};

/// BERT's `initializer_range`.
const BERT: f64 = 0.02;

impl Model {
    /// A model with random weights, f32, of a folder with `config.json`, and a tokenizer and a `preprocessor_config.json` that go with it.
    /// The same seed gives the same numbers.
    ///
    /// # Errors
    /// [`ModelError::NoConfig`], [`ModelError::Value`] for sizes that hua does not know, [`ModelError::Arch`] for such as are no model's.
    pub fn initialise(folder: impl AsRef<Path>, seed: u64, options: &OpenOptions) -> Result<Self, ModelError> {
        let folder = folder.as_ref();
        let source = Source::without_weights(folder)?;
        let no_config = || ModelError::NoConfig { path: folder.to_owned(), family: "a model with random weights", other_family: None };
        let (family, towers) = by_config(&folder.join("config.json"), source.settings("config.json").ok_or_else(no_config)?)?;
        let graph_error = |source: ArchError| ModelError::Arch { path: folder.to_owned(), source };
        let image =
            towers.image.ok_or_else(|| ModelError::NoImageTower { path: folder.to_owned(), width: towers.text.embedding_width() })?;

        let image_tower = tower(image.graph().map_err(graph_error)?, seed, "image", &Spread::of_image(&image));
        let text_tower = tower(towers.text.graph().map_err(graph_error)?, seed, "text", &Spread::of_text(&towers.text));
        let pictures = Pictures {
            preprocessing: preprocessing(&source, family, &image),
            sizes: image,
            tower: image_tower,
            logit_scale: Tensor::from_f32(&[], vec![(1.0f32 / 0.07).ln()]),
            preprocessor_file: source.companion(PREPROCESSOR),
        };
        assemble(&source, family, first_layout(family), options, pictures, (towers.text, text_tower))
    }
}

fn first_layout(family: &'static dyn Family) -> &'static str {
    family.layouts().first().expect("every family has a layout, which a test checks").name
}

/// Standard deviations of a tower's parameters.
#[derive(Clone, Copy, Debug)]
enum Spread {
    Bert,
    Clip { width: f64, layers: f64 },
    ResNet,
}

/// How one parameter is filled.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fill {
    Constant(f32),
    Normal(f64),
    /// Between minus and plus this.
    Uniform(f64),
}

impl Spread {
    fn of_image(tower: &ImageTower) -> Self {
        match tower {
            ImageTower::ResNet(_) => Self::ResNet,
            ImageTower::Vit(vit) => Self::Clip { width: vit.width as f64, layers: vit.layers as f64 },
        }
    }

    fn of_text(tower: &TextTower) -> Self {
        match tower {
            TextTower::Bert(_) => Self::Bert,
            TextTower::Clip(clip) => Self::Clip { width: clip.width as f64, layers: clip.layers as f64 },
        }
    }

    fn fill(self, param: &ParamSpec) -> Fill {
        let name = param.name.as_str();
        let (node, kind) = name.rsplit_once('.').unwrap_or(("", name));
        let fan_in: usize = param.shape.iter().skip(1).product();
        let last = node.rsplit('.').next().unwrap_or(node);
        match (self, kind) {
            (_, "bias" | "mean") => return Fill::Constant(0.0),
            (_, "variance") => return Fill::Constant(1.0),
            (_, "weight") if param.shape.len() == 1 => return Fill::Constant(1.0),
            _ if node == "final.project" => return Fill::Normal((fan_in as f64).powf(-0.5)),
            _ => {}
        }
        match self {
            Self::Bert => Fill::Normal(BERT),
            Self::Clip { width, layers } => Fill::Normal(match (last, kind) {
                ("patch", _) => return Fill::Uniform((fan_in as f64).powf(-0.5)),
                ("tokens", _) => 0.02,
                ("positions", _) => 0.01,
                (_, "class" | "positions") | ("q" | "k" | "v", _) => width.powf(-0.5),
                ("up", _) => (2.0 * width).powf(-0.5),
                _ => (width * 2.0 * layers).powf(-0.5),
            }),
            // PyTorch's defaults; the attention pooling as OpenAI's code has it.
            Self::ResNet if node.starts_with("pool") => Fill::Normal((fan_in as f64).powf(-0.5)),
            Self::ResNet => Fill::Uniform((fan_in as f64).powf(-0.5)),
        }
    }
}

fn tower(graph: Graph, seed: u64, which: &str, spread: &Spread) -> Tower {
    let tensors = graph.params().iter().map(|param| {
        let mut random = Random::new(seed, which, &param.name);
        let len = param.shape.iter().product();
        let values = match spread.fill(param) {
            Fill::Constant(value) => vec![value; len],
            Fill::Normal(deviation) => (0..len).map(|_| (deviation * random.normal()) as f32).collect(),
            Fill::Uniform(most) => (0..len).map(|_| (most * (2.0 * random.uniform() - 1.0)) as f32).collect(),
        };
        Tensor::from_f32(&param.shape, values)
    });
    let weights = Weights::new(&graph, tensors.collect()).expect("each tensor has its parameter's shape");
    Tower { graph, weights }
}

/// SplitMix64 (Steele, Lea & Flood, 2014): plain, and the same for ever, which no library's generator promises.
struct Random(u64);

impl Random {
    /// A stream for each parameter: its name by FNV-1a.
    fn new(seed: u64, tower: &str, name: &str) -> Self {
        let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        let name = tower.bytes().chain([b'.']).chain(name.bytes()).fold(0xcbf2_9ce4_8422_2325, fnv);
        let mut seeded = Self(seed);
        Self(seeded.next() ^ name)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// From 0 to below 1.
    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Standard normal, by Box and Muller.
    fn normal(&mut self) -> f64 {
        let (radius, angle) = (1.0 - self.uniform(), self.uniform());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_numbers_have_mean_0_and_deviation_1() {
        let mut random = Random::new(7, "text", "embed.tokens.weight");
        let n = 100_000;
        let (sum, squares) = (0..n).map(|_| random.normal()).fold((0.0, 0.0), |(s, q), x| (s + x, q + x * x));
        assert!((sum / f64::from(n)).abs() < 0.01 && (squares / f64::from(n) - 1.0).abs() < 0.02, "{sum} {squares}");
    }

    #[test]
    fn every_parameter_is_filled_as_its_architecture_says() {
        let spec = |name: &str, shape: &[usize]| ParamSpec { name: name.to_owned(), shape: shape.to_vec(), trained: true };
        let clip = Spread::Clip { width: 64.0, layers: 2.0 };
        for (spread, name, shape, wanted) in [
            (clip, "embed.class", &[64][..], Fill::Normal(0.125)),
            (clip, "embed.positions", &[5, 64], Fill::Normal(0.125)),
            (clip, "embed.positions.weight", &[5, 64], Fill::Normal(0.01)),
            (clip, "embed.tokens.weight", &[9, 64], Fill::Normal(0.02)),
            (clip, "embed.patch.weight", &[64, 1, 2, 2], Fill::Uniform(0.5)),
            (clip, "embed.norm.weight", &[64], Fill::Constant(1.0)),
            (clip, "blocks.0.q.weight", &[64, 64], Fill::Normal(0.125)),
            (clip, "blocks.0.q.bias", &[64], Fill::Constant(0.0)),
            (clip, "blocks.1.out.weight", &[64, 64], Fill::Normal(0.0625)),
            (clip, "blocks.1.mlp.down.weight", &[64, 256], Fill::Normal(0.0625)),
            (clip, "blocks.1.mlp.up.weight", &[256, 64], Fill::Normal(128f64.powf(-0.5))),
            (clip, "final.project.weight", &[16, 64], Fill::Normal(0.125)),
            (Spread::Bert, "embed.types.weight", &[1, 64], Fill::Normal(0.02)),
            (Spread::Bert, "final.transform.weight", &[32, 64], Fill::Normal(0.02)),
            (Spread::Bert, "final.project.weight", &[16, 64], Fill::Normal(0.125)),
        ] {
            assert_eq!(spread.fill(&spec(name, shape)), wanted, "{name}");
        }
    }
}
