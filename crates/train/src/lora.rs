//! Low-rank adapters (LoRA, arXiv 2106.09685) as files and as part of a model: PEFT's layout, merging and taking out again.
//!
//! An adapter adds `B A x` to `W x`: `A` is `[rank, inner]`, `B` `[out, rank]`. PEFT multiplies by `lora_alpha / r`; here that factor is part
//! of `A` from the beginning, so that the graph needs no scale. Files are written with `lora_alpha = r`, which says the same without
//! rounding anything; files of others are read with their factor multiplied in. Names are those of the model in transformers, under
//! `base_model.model.`, so that `PeftModel.from_pretrained` takes them.
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hua_graph::{DType, Tensor};
use hua_kernels::{Cores, Isa};
use hua_model::checkpoint::{Checkpoint, CheckpointError, TensorPlan, save_safetensors};
use hua_model::layout::{Container, Form, Layout};
use hua_model::{Model, ModelError, ModelSpec, Tower};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::loss::matrix::times;
use crate::{Error, Result};

/// PEFT's name of the tensors.
pub const TENSORS: &str = "adapter_model.safetensors";
/// PEFT's name of what is said about them.
pub const CONFIG: &str = "adapter_config.json";
/// What PEFT puts before each name.
const PREFIX: &str = "base_model.model.";
/// A configuration longer than this is none.
const LONGEST_CONFIG: u64 = 1 << 20;

/// One of a model's two towers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Of pictures.
    Image,
    /// Of texts.
    Text,
}

/// What is added to one matrix of a tower.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    /// Whose matrix.
    pub side: Side,
    /// hua's name of it, such as `blocks.3.q.weight`.
    pub weight: String,
    /// Columns of `b`, rows of `a`.
    pub rank: usize,
    /// `[rank, inner]`, the factor `alpha / rank` in it.
    pub a: Vec<f32>,
    /// `[out, rank]`.
    pub b: Vec<f32>,
}

impl Adapter {
    /// `B A`, `[out, inner]`.
    fn product(&self) -> Vec<f32> {
        let cores = Cores::new(1, Isa::chosen().unwrap_or_else(|_| Isa::best())).expect("one thread is this one");
        times(&cores, &self.b, &self.a, self.rank)
    }

    /// Adds `B A` to a matrix `[out, inner]`.
    ///
    /// # Panics
    /// If the matrix is of another size.
    pub fn merge(&self, weight: &mut [f32]) {
        self.add(1.0, weight);
    }

    /// Takes `B A` from a matrix it was added to: what was there before, but for the rounding of the sum.
    ///
    /// # Panics
    /// If the matrix is of another size.
    pub fn unmerge(&self, weight: &mut [f32]) {
        self.add(-1.0, weight);
    }

    fn add(&self, sign: f32, weight: &mut [f32]) {
        let product = self.product();
        assert_eq!(weight.len(), product.len(), "`{}` and its adapter", self.weight);
        weight.iter_mut().zip(product).for_each(|(w, x)| *w += sign * x);
    }
}

/// The model with the adapters added to its matrices.
///
/// # Errors
/// [`Error::Adapter`] if the model lacks a matrix or has it in another size.
pub fn merge(model: &Model, adapters: &[Adapter]) -> Result<Model> {
    applied(model, adapters, Adapter::merge)
}

/// The model as it was before [`merge`], but for rounding.
///
/// # Errors
/// As [`merge`].
pub fn unmerge(model: &Model, adapters: &[Adapter]) -> Result<Model> {
    applied(model, adapters, Adapter::unmerge)
}

fn applied(model: &Model, adapters: &[Adapter], apply: fn(&Adapter, &mut [f32])) -> Result<Model> {
    let mut towers =
        [(Side::Image, &model.image), (Side::Text, &model.text)].map(|(side, tower)| (side, tower, tower.weights.tensors().to_vec()));
    for adapter in adapters {
        let (_, tower, tensors) = towers.iter_mut().find(|(side, ..)| *side == adapter.side).expect("there are two sides");
        let place = tower.graph.params().iter().position(|p| p.name == adapter.weight);
        let fits = |i: &usize| {
            let wanted = [adapter.b.len() / adapter.rank.max(1), adapter.a.len() / adapter.rank.max(1)];
            tower.graph.params()[*i].shape == wanted
        };
        let Some(place) = place.filter(fits) else {
            let found = place.map_or("no such matrix".to_owned(), |i| format!("a matrix {:?}", tower.graph.params()[i].shape));
            let wanted = format!("one that `A` of {} and `B` of {} numbers fit", adapter.a.len(), adapter.b.len());
            return Err(misfit(Path::new(TENSORS), format!("`{}`: the model has {found}, wanted {wanted}", adapter.weight)));
        };
        let mut values = tensors[place].to_f32().map_err(|e| misfit(Path::new(TENSORS), e.to_string()))?.into_owned();
        apply(adapter, &mut values);
        tensors[place] = Tensor::from_f32(tensors[place].shape(), values);
    }
    let [(.., image), (.., text)] = towers;
    Ok(model.with_weights(image, text, model.logit_scale())?)
}

fn misfit(path: &Path, reason: String) -> Error {
    Error::Adapter { path: path.to_owned(), reason }
}

/// Writes adapters of a model `base` into `folder` as PEFT reads them. Returns the files.
///
/// # Errors
/// [`Error::Adapter`] if transformers has no such model, or holds a matrix otherwise than hua does; [`Error::Hua`] and [`Error::Io`] if they
/// cannot be written.
pub fn save(folder: &Path, spec: &ModelSpec, base: &str, adapters: &[Adapter]) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let layout = layout(folder, spec)?;
    let mut tensors = BTreeMap::new();
    let mut ranks = BTreeMap::new();
    for adapter in adapters {
        let Some(module) = module(layout, adapter.side, &adapter.weight) else {
            return Err(misfit(folder, format!("transformers has no matrix of its own for `{}`", adapter.weight)));
        };
        let (inner, out) = (adapter.a.len() / adapter.rank, adapter.b.len() / adapter.rank);
        tensors.insert(format!("{PREFIX}{module}.lora_A.weight"), (vec![adapter.rank, inner], &adapter.a));
        tensors.insert(format!("{PREFIX}{module}.lora_B.weight"), (vec![out, adapter.rank], &adapter.b));
        ranks.insert(within_block(&module).to_owned(), adapter.rank);
    }
    let rank = adapters.first().map_or(1, |adapter| adapter.rank);
    let modules: Vec<_> = ranks.keys().cloned().collect();
    let others: BTreeMap<_, _> = ranks.into_iter().filter(|(_, r)| *r != rank).collect();
    let config = json!({
        "peft_type": "LORA", "task_type": null, "base_model_name_or_path": base, "inference_mode": true,
        "r": rank, "lora_alpha": rank, "target_modules": modules, "rank_pattern": others, "alpha_pattern": others,
        "lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": false, "use_rslora": false, "use_dora": false,
        "modules_to_save": null, "init_lora_weights": true,
    });
    let plan: Vec<_> =
        tensors.iter().map(|(name, (shape, _))| TensorPlan { name: name.clone(), dtype: DType::F32, shape: shape.clone() }).collect();
    let path = folder.join(TENSORS);
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    let fetch = |name: &str| -> std::result::Result<Tensor, CheckpointError> {
        let (shape, values) = &tensors[name];
        Ok(Tensor::from_f32(shape, values.to_vec()))
    };
    save_safetensors(&path, &plan, &metadata, fetch).map_err(ModelError::from)?;
    let config_path = folder.join(CONFIG);
    let text = serde_json::to_string_pretty(&config).expect("plain data is JSON");
    fs::write(&config_path, text + "\n").map_err(Error::io(&config_path))?;
    Ok(vec![path, config_path])
}

/// What of PEFT's configuration changes what an adapter means.
#[derive(Deserialize)]
struct Config {
    peft_type: String,
    r: usize,
    lora_alpha: f64,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
    #[serde(default)]
    fan_in_fan_out: bool,
    #[serde(default)]
    bias: Option<String>,
    #[serde(default)]
    modules_to_save: Value,
    #[serde(default)]
    alpha_pattern: BTreeMap<String, f64>,
}

impl Config {
    /// What cannot be done with it.
    fn strange(&self) -> Option<String> {
        let empty = self.modules_to_save.is_null() || self.modules_to_save.as_array().is_some_and(Vec::is_empty);
        match self {
            _ if self.peft_type != "LORA" => Some(format!("it is of type `{}`, wanted `LORA`", self.peft_type)),
            _ if self.r == 0 => Some("its rank is 0".to_owned()),
            _ if self.use_dora => Some("it is DoRA, which scales the matrix itself; merge it with PEFT first".to_owned()),
            _ if self.fan_in_fan_out => Some("its matrices are transposed (`fan_in_fan_out`)".to_owned()),
            _ if self.bias.as_deref().is_some_and(|bias| bias != "none") => Some("it trains biases too".to_owned()),
            _ if !empty => Some("it replaces whole layers (`modules_to_save`)".to_owned()),
            _ => None,
        }
    }

    /// What `B A` is multiplied by in a module.
    fn factor(&self, module: &str, rank: usize) -> f64 {
        let of_pattern = self.alpha_pattern.iter().find(|(name, _)| module == *name || module.ends_with(&format!(".{name}")));
        let alpha = of_pattern.map_or(self.lora_alpha, |(_, alpha)| *alpha);
        alpha / if self.use_rslora { (rank as f64).sqrt() } else { rank as f64 }
    }
}

/// Reads PEFT's adapters of a model from `folder`.
///
/// # Errors
/// [`Error::Adapter`] if they are of another kind than plain LoRA, or name something that the model lacks.
pub fn read(folder: &Path, spec: &ModelSpec) -> Result<Vec<Adapter>> {
    let path = folder.join(CONFIG);
    let length = fs::metadata(&path).map_err(Error::io(&path))?.len();
    let too_long = || Error::io(&path)(io::Error::other(format!("it has {length} bytes, at most {LONGEST_CONFIG} are taken")));
    let text = if length > LONGEST_CONFIG { Err(too_long()) } else { fs::read_to_string(&path).map_err(Error::io(&path)) }?;
    let config: Config = serde_json::from_str(&text).map_err(|e| misfit(&path, e.to_string()))?;
    if let Some(strange) = config.strange() {
        return Err(misfit(&path, strange));
    }
    let layout = layout(folder, spec)?;
    let path = folder.join(TENSORS);
    let checkpoint = Checkpoint::open(&path).map_err(ModelError::from)?;
    let mut names: BTreeMap<String, String> = checkpoint.names().map(|name| (spelled(name), name.to_owned())).collect();
    let mut adapters = vec![];
    let towers = [(Side::Image, spec.image.graph()), (Side::Text, spec.text.graph())];
    for (side, graph) in towers {
        let graph = graph.map_err(|e| misfit(folder, e.to_string()))?;
        for param in graph.params() {
            let Some(module) = module(layout, side, &param.name) else { continue };
            let [a, b] = ["A", "B"].map(|x| names.remove(&spelled(&format!("{PREFIX}{module}.lora_{x}.weight"))));
            let (Some(a), Some(b)) = (&a, &b) else {
                match a.or(b) {
                    Some(alone) => return Err(misfit(&path, format!("`{alone}` is there without the other matrix of its adapter"))),
                    None => continue,
                }
            };
            let (a_shape, b_shape) = (checkpoint.shape(a).unwrap_or_default(), checkpoint.shape(b).unwrap_or_default());
            let rank = a_shape.first().copied().unwrap_or_default();
            let wanted = (vec![rank, param.shape.get(1).copied().unwrap_or_default()], vec![param.shape[0], rank]);
            if rank == 0 || (a_shape, b_shape) != (&wanted.0[..], &wanted.1[..]) {
                return Err(misfit(
                    &path,
                    format!("`{module}` has adapters {a_shape:?} and {b_shape:?}, wanted {:?} and {:?}", wanted.0, wanted.1),
                ));
            }
            let numbers = |name: &str| -> Result<Vec<f32>> {
                let tensor = checkpoint.tensor(name).map_err(ModelError::from)?;
                Ok(tensor.to_f32().map_err(|e| misfit(&path, format!("`{name}`: {e}")))?.into_owned())
            };
            let factor = config.factor(&module, rank) as f32;
            let mut adapter = Adapter { side, weight: param.name.clone(), rank, a: numbers(a)?, b: numbers(b)? };
            adapter.a.iter_mut().for_each(|x| *x *= factor);
            adapters.push(adapter);
        }
    }
    match names.values().next() {
        Some(name) => Err(misfit(&path, format!("{} of its tensors belong to no matrix of the model, such as `{name}`", names.len()))),
        None => Ok(adapters),
    }
}

/// The name of a layer within its block, which PEFT finds the layer of every block by: transformers spells what stands before it in one way in
/// files and, since its fifth version, in another in its models.
fn within_block(module: &str) -> &str {
    let number = module.split('.').find(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    number.and_then(|number| module.split_once(&format!(".{number}."))).map_or(module, |(_, within)| within)
}

/// A name in one spelling: transformers has `encoder.layer` and `encoder.layers` for the same.
fn spelled(name: &str) -> String {
    name.replace(".encoder.layers.", ".encoder.layer.")
}

/// How transformers names the tensors of such a model.
fn layout(path: &Path, spec: &ModelSpec) -> Result<&'static Layout> {
    let layouts = hua_model::family(&spec.family)?.layouts();
    let found = layouts.iter().copied().find(|layout| layout.container == Container::HuggingFace);
    found.ok_or_else(|| misfit(path, format!("transformers has no model of the family `{}`", spec.family)))
}

/// transformers' name of the layer of a matrix.
fn module(layout: &Layout, side: Side, weight: &str) -> Option<String> {
    let (name, form) = match side {
        Side::Image => layout.image_place(weight)?,
        Side::Text => layout.text_place(weight)?,
    };
    (form == Form::Plain).then(|| name.strip_suffix(".weight").map(str::to_owned)).flatten()
}

/// The tower of a side.
pub fn tower(model: &Model, side: Side) -> &Tower {
    match side {
        Side::Image => &model.image,
        Side::Text => &model.text,
    }
}
