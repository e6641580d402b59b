//! Writes a model in any layout of its family: the rules that read it, backwards.
//!
//! Parts that a file keeps in one tensor are put together again, projections are transposed back. One tensor is in memory at a time.
//! Tokenizer and preprocessor go along as they are.
use std::collections::{BTreeMap, btree_map};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hua_graph::{DType, Tensor};
use serde_json::{Value, json};

use crate::checkpoint::{Scalar, TensorPlan, save_sharded, save_torch};
use crate::family::{Family, family};
use crate::layout::{Container, Form, Layout};
use crate::names::LOGIT_SCALE;
use crate::spec::PREPROCESSOR;
use crate::{Model, ModelError, Preprocessing};

/// Files of weights are split beyond this many bytes, so that no hub or file system minds them.
const SHARD: u64 = 10 << 30;
/// A tokenizer's file longer than this is none.
const LONGEST_FILE: u64 = 128 << 20;

/// How to write a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SaveOptions {
    /// The layout, such as `hugging-face`; without one, the first of its family's.
    pub layout: Option<String>,
    /// The type of all numbers; without one, each tensor keeps its own.
    pub dtype: Option<DType>,
}

/// What a file's tensor is made of.
enum Pieces<'a> {
    Parts(Vec<Option<&'a Tensor>>),
    Plain(&'a Tensor),
    Transposed(&'a Tensor),
}

impl Model {
    /// Writes the model into `folder`, which is made if it is not there. Returns the files that were written.
    ///
    /// # Errors
    /// [`ModelError::Layout`] if the layout has no place for this model, [`ModelError::Exists`] rather than replacing a model,
    /// [`ModelError::Range`] if a number is too large for the type.
    pub fn save(&self, folder: impl AsRef<Path>, options: &SaveOptions) -> Result<Vec<PathBuf>, ModelError> {
        let folder = folder.as_ref();
        let family = family(&self.spec.family)?;
        let layout = self.layout(family, options)?;
        let config = match layout.container {
            Container::HuggingFace => {
                Some(family.config(&self.spec).ok_or_else(|| self.misfit(layout.name, "Hugging Face's transformers has no such model"))?)
            }
            Container::Torch { .. } => {
                let back = family.without_config(&self.spec);
                if back.image.as_ref() != Some(&self.spec.image) || back.text != self.spec.text {
                    let reason =
                        "it carries no configuration, and this model's heads, activations, epsilons or end of text are not the usual";
                    return Err(self.misfit(layout.name, reason));
                }
                None
            }
        };
        let pieces = self.pieces(layout)?;
        let plan: Vec<_> = pieces.iter().map(|(name, pieces)| pieces.plan(name, options.dtype)).collect();
        let fetch = |name: &str| pieces[name].tensor(name, options.dtype);
        // Whatever would be written over belongs to a model: another's tokenizer would go unseen.
        let weights = match layout.container {
            Container::HuggingFace => &["config.json", "model.safetensors", "model.safetensors.index.json", PREPROCESSOR][..],
            Container::Torch { file, .. } => &[file],
        };
        let names = weights.iter().copied().chain(self.companions.iter().map(|(name, _)| *name));
        if let Some(path) = names.map(|name| folder.join(name)).find(|path| path.symlink_metadata().is_ok()) {
            return Err(ModelError::Exists { path });
        }
        std::fs::create_dir_all(folder).map_err(ModelError::io(folder))?;
        let mut written = match layout.container {
            Container::HuggingFace => {
                let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
                save_sharded(folder, &plan, &metadata, SHARD, fetch)?
            }
            Container::Torch { file, prefix, wrapped } => {
                let beside = [("epoch", Scalar::Int(0)), ("step", Scalar::Int(0)), ("name", Scalar::Text(self.spec.family.clone()))];
                let beside = if wrapped { &beside[..] } else { &[] };
                save_torch(&folder.join(file), &plan, prefix, beside, fetch)?;
                vec![folder.join(file)]
            }
        };
        let mut write = |name: &str, content: &[u8]| {
            let path = folder.join(name);
            written.push(path.clone());
            std::fs::write(&path, content).map_err(ModelError::io(&path))
        };
        for (name, file) in &self.companions {
            write(name, &file.read(LONGEST_FILE).map_err(ModelError::io(Path::new(name)))?)?;
        }
        if let Some(mut config) = config {
            if let Some(dtype) = only(plan.iter().map(|tensor| tensor.dtype)) {
                config["torch_dtype"] = json!(torch_name(dtype));
            }
            write("config.json", &pretty(&config))?;
            if let Some(preprocessor) = preprocessor(&self.spec.preprocessing) {
                write(PREPROCESSOR, &pretty(&preprocessor))?;
            }
        }
        Ok(written)
    }

    fn layout(&self, family: &'static dyn Family, options: &SaveOptions) -> Result<&'static Layout, ModelError> {
        let layouts = family.layouts();
        let named = |layout: &&&'static Layout| options.layout.as_ref().is_none_or(|name| name == layout.name);
        layouts.iter().find(named).copied().ok_or_else(|| {
            let known: Vec<_> = layouts.iter().map(|layout| format!("`{}`", layout.name)).collect();
            self.misfit(options.layout.as_deref().unwrap_or_default(), &format!("it has only {}", known.join(", ")))
        })
    }

    /// The tensors of a file in `layout`, by name.
    fn pieces(&self, layout: &'static Layout) -> Result<BTreeMap<String, Pieces<'_>>, ModelError> {
        let mut pieces = BTreeMap::from([(LOGIT_SCALE.to_owned(), Pieces::Plain(&self.logit_scale))]);
        type Place = fn(&Layout, &str) -> Option<(String, Form)>;
        for (tower, place) in [(&self.image, Layout::image_place as Place), (&self.text, Layout::text_place)] {
            for (param, tensor) in tower.graph.params().iter().zip(tower.weights.tensors()) {
                let (name, form) =
                    place(layout, &param.name).ok_or_else(|| self.misfit(layout.name, &format!("it has no name for `{}`", param.name)))?;
                match (pieces.entry(name), form) {
                    (btree_map::Entry::Vacant(entry), Form::Plain) => _ = entry.insert(Pieces::Plain(tensor)),
                    (btree_map::Entry::Vacant(entry), Form::Transposed) => _ = entry.insert(Pieces::Transposed(tensor)),
                    (entry, Form::Part { index, of }) => {
                        if let Pieces::Parts(parts) = entry.or_insert_with(|| Pieces::Parts(vec![None; of])) {
                            parts[index] = Some(tensor);
                        }
                    }
                    (btree_map::Entry::Occupied(entry), _) => {
                        return Err(self.misfit(layout.name, &format!("it has two tensors `{}`", entry.key())));
                    }
                }
            }
        }
        Ok(pieces)
    }

    fn misfit(&self, layout: &str, reason: &str) -> ModelError {
        ModelError::Layout { family: self.spec.family.clone(), layout: layout.to_owned(), reason: reason.to_owned() }
    }
}

impl Pieces<'_> {
    fn plan(&self, name: &str, dtype: Option<DType>) -> TensorPlan {
        let (own, shape) = match self {
            Self::Plain(tensor) => (tensor.dtype(), tensor.shape().to_vec()),
            Self::Transposed(tensor) => (tensor.dtype(), Form::Transposed.stored_shape(tensor.shape())),
            Self::Parts(parts) => {
                let shapes = parts.iter().flatten().map(|part| part.shape());
                let mut shape = shapes.clone().next().unwrap_or_default().to_vec();
                if let Some(rows) = shape.first_mut() {
                    *rows = shapes.filter_map(|shape| shape.first()).sum();
                }
                // Parts of several types are written in the one that holds them all.
                (only(parts.iter().flatten().map(|part| part.dtype())).unwrap_or(DType::F32), shape)
            }
        };
        TensorPlan { name: name.to_owned(), dtype: dtype.unwrap_or(own), shape }
    }

    fn tensor(&self, name: &str, dtype: Option<DType>) -> Result<Tensor, ModelError> {
        let plan = self.plan(name, dtype);
        let tensor = match self {
            Self::Plain(tensor) => (*tensor).clone(),
            Self::Transposed(tensor) => tensor.transposed().expect("only matrices are stored transposed"),
            Self::Parts(parts) => {
                let mut bytes = vec![];
                for part in parts.iter().flatten() {
                    bytes.extend_from_slice(convert(name, part, plan.dtype)?.bytes());
                }
                let len = bytes.len();
                return Tensor::new(plan.dtype, plan.shape, Arc::new(bytes), 0..len)
                    .map_err(|source| ModelError::Tensor { name: name.to_owned(), source });
            }
        };
        convert(name, &tensor, plan.dtype)
    }
}

/// `tensor` in another type; a number that was finite stays so.
fn convert(name: &str, tensor: &Tensor, dtype: DType) -> Result<Tensor, ModelError> {
    let error = |source| ModelError::Tensor { name: name.to_owned(), source };
    let converted = tensor.to_dtype(dtype).map_err(error)?;
    if dtype == DType::F16 && tensor.dtype() != dtype {
        let (before, after) = (tensor.to_f32().map_err(error)?, converted.to_f32().map_err(error)?);
        if let Some((found, _)) = before.iter().zip(after.iter()).find(|(before, after)| before.is_finite() && !after.is_finite()) {
            return Err(ModelError::Range { name: name.to_owned(), found: *found, dtype });
        }
    }
    Ok(converted)
}

/// The one value that all are, if they are one.
fn only<T: PartialEq>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}

fn torch_name(dtype: DType) -> &'static str {
    match dtype {
        DType::Bf16 => "bfloat16",
        DType::F16 => "float16",
        DType::F32 => "float32",
        DType::I64 => "int64",
    }
}

fn pretty(value: &Value) -> Vec<u8> {
    let mut text = format!("{value:#}");
    text.push('\n');
    text.into_bytes()
}

/// A `preprocessor_config.json` that says the same; nothing if the model came with one, which goes along as it is.
fn preprocessor(preprocessing: &Preprocessing) -> Option<Value> {
    let (kind, size, crop) = match *preprocessing {
        Preprocessing::ChineseClip { size } => ("ChineseCLIPImageProcessor", size, None),
        Preprocessing::Clip { size } => ("CLIPImageProcessor", size, Some(size)),
        Preprocessing::File(_) => return None,
    };
    let square = json!({"height": size, "width": size});
    Some(json!({
        "image_processor_type": kind, "do_convert_rgb": true, "do_resize": true, "resample": 3,
        "size": if crop.is_some() { json!({"shortest_edge": size}) } else { square.clone() },
        "do_center_crop": crop.is_some(), "crop_size": square,
        "do_rescale": true, "rescale_factor": 1.0 / 255.0, "do_normalize": true,
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
    }))
}
