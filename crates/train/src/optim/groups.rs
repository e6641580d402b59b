//! Which parameters decay, how fast each learns, and by which rule.
//!
//! Upstream's rule (cn_clip's `training/main.py`) looks for `bn`, `ln`, `bias` and `logit_scale` in cn_clip's own names, wherever they stand
//! in them: BERT's `LayerNorm.weight` has a capital L and decays, as do all embeddings and the gain of a ResNet's
//! `downsample.1`. The layouts that read cn_clip's files know its names.
use hua_model::family;

use crate::params::ParamSet;
use crate::recipe::{NoDecay, OptimKind, OptimSection, TowerSection};

/// What the optimiser does with one parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    /// Whether weight decay is for it.
    pub decays: bool,
    /// Its learning rate as a multiple of the base rate.
    pub lr_factor: f64,
    /// Whether its updates are made orthogonal (Muon).
    pub orthogonal: bool,
}

/// The groups of all parameters, `[set][parameter]`. A set called `image` or `text` is that tower; any other stands beside them.
pub fn groups(sets: &[ParamSet], optim: &OptimSection, image: &TowerSection, text: &TowerSection) -> Vec<Vec<Group>> {
    let of = |set: &ParamSet| {
        let tower = match set.name.as_str() {
            "image" => Some(image),
            "text" => Some(text),
            _ => None,
        };
        let deepest = set.names.iter().map(|name| depth(name)).filter(|&d| d != usize::MAX).max().unwrap_or(0) + 1;
        let group = |(name, shape): (&String, &Vec<usize>)| {
            let lr_factor = match tower {
                Some(tower) => {
                    let embeddings = if name.starts_with("embed.") { f64::from(tower.embeddings_lr_factor) } else { 1.0 };
                    let below = deepest - depth(name).min(deepest);
                    f64::from(tower.lr_factor) * embeddings * f64::from(tower.layer_decay).powi(below as i32)
                }
                None if is_logit(name) => optim.logit_scale_lr_factor,
                None => 1.0,
            };
            let orthogonal = optim.kind == OptimKind::Muon && tower.is_some() && is_between_layers(name, shape);
            Group { decays: decays(optim.no_decay, set, name, shape), lr_factor, orthogonal }
        };
        set.names.iter().zip(&set.shapes).map(group).collect()
    };
    sets.iter().map(of).collect()
}

/// How far from the input a parameter is: 0 for embeddings, `i + 1` for block or stage `i`, the greatest number for what follows them.
fn depth(name: &str) -> usize {
    let number = |text: &str| text.split('.').next().and_then(|digits| digits.parse::<usize>().ok());
    if name.starts_with("embed.") {
        0
    } else if let Some(rest) = name.strip_prefix("blocks.") {
        number(rest).map_or(usize::MAX, |i| i + 1)
    } else if let Some(rest) = name.strip_prefix("stage") {
        number(rest).unwrap_or(usize::MAX)
    } else {
        usize::MAX
    }
}

/// Whether it is a matrix from numbers to numbers within a block. Low-rank adapters are not: an orthogonal update would be far too large for them.
fn is_between_layers(name: &str, shape: &[usize]) -> bool {
    shape.len() == 2 && name.starts_with("blocks.") && name.ends_with(".weight") && !name.contains(".lora_")
}

fn is_logit(name: &str) -> bool {
    matches!(name, "logit_scale" | "logit_bias")
}

fn decays(rule: NoDecay, set: &ParamSet, name: &str, shape: &[usize]) -> bool {
    match rule {
        NoDecay::CnClip => {
            let name = upstream_name(set, name);
            !["bn", "ln", "bias", "logit_scale"].iter().any(|part| name.contains(part))
        }
        NoDecay::None => true,
        NoDecay::OpenClip => shape.len() >= 2,
        NoDecay::Standard => {
            shape.len() >= 2
                && !["embed.positions", "embed.tokens", "embed.types", "pool.positions"].iter().any(|start| name.starts_with(start))
        }
    }
}

/// What cn_clip or OpenAI's code calls a parameter; hua's name for one that they do not have.
fn upstream_name(set: &ParamSet, name: &str) -> String {
    let layout = |family_name: &str, layout: &str| family(family_name).ok()?.layouts().iter().find(|l| l.name == layout).copied();
    let bert = set.find("embed.norm.weight").is_some();
    let place = match set.name.as_str() {
        "image" => layout("chinese-clip", "cn-clip").and_then(|layout| layout.image_place(name)),
        "text" if bert => layout("chinese-clip", "cn-clip").and_then(|layout| layout.text_place(name)),
        "text" => layout("clip", "openai").and_then(|layout| layout.text_place(name)),
        _ => None,
    };
    place.map_or_else(|| name.to_owned(), |(name, _)| name)
}
