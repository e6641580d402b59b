//! `training_state.safetensors`: the numbers that a run goes on from.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hua_graph::{DType, Tensor};
use hua_model::checkpoint::{Checkpoint, CheckpointError, ElementType, TensorPlan, save_safetensors};

use super::Contents;
use super::folder::model_error;
use crate::optim::Moments;
use crate::params::ParamSet;
use crate::{Error, Result};

const FILE: &str = "training_state.safetensors";

/// What the file holds of each parameter.
const VALUE: &str = "value";
const MEAN: &str = "mean";
const SQUARE: &str = "square";
const AVERAGE: &str = "average";

/// The numbers that a run goes on from, `[set][parameter]`, empty where a parameter is frozen.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensors {
    /// The parameters.
    pub values: Vec<Vec<Vec<f32>>>,
    /// The optimiser's means.
    pub moments: Vec<Vec<Moments>>,
    /// The moving average.
    pub average: Option<Vec<Vec<Vec<f32>>>>,
}

impl Tensors {
    /// Reads the file in `folder`, strictly: what is missing, misshapen or not of these sets is an error.
    pub(super) fn read(folder: &Path, sets: &[ParamSet], average: bool) -> Result<Self> {
        let path = folder.join(FILE);
        let file = Checkpoint::open(&path).map_err(|error| match error {
            CheckpointError::Io { path, source } => Error::io(path)(source),
            other => Error::State { path: path.clone(), reason: other.to_string() },
        })?;
        let mut reader = Reader { path: &path, file: &file, used: BTreeSet::new() };
        let values = reader.all(VALUE, sets)?;
        let means = reader.all(MEAN, sets)?;
        let squares = reader.some(SQUARE, sets)?;
        let average = average.then(|| reader.all(AVERAGE, sets)).transpose()?;
        reader.finish()?;
        let pair =
            |(means, squares): (Vec<_>, Vec<_>)| means.into_iter().zip(squares).map(|(mean, square)| Moments { mean, square }).collect();
        Ok(Self { values, moments: means.into_iter().zip(squares).map(pair).collect(), average })
    }
}

pub(super) fn write(folder: &Path, contents: &Contents<'_>) -> Result<()> {
    let mut plan = vec![];
    let mut numbers: BTreeMap<String, &[f32]> = BTreeMap::new();
    for (s, set) in contents.sets.iter().enumerate() {
        for i in (0..set.len()).filter(|&i| set.trained[i]) {
            let moments = &contents.optimiser.moments[s][i];
            let average = contents.average.map(|average| (AVERAGE, average.values[s][i].as_slice()));
            let of_all: [(&str, &[f32]); 3] = [(VALUE, &set.values[i]), (MEAN, &moments.mean), (SQUARE, &moments.square)];
            let kept = of_all.into_iter().filter(|(what, values)| *what != SQUARE || values.len() == set.values[i].len());
            for (what, values) in kept.chain(average) {
                let name = name(what, set, i);
                plan.push(TensorPlan { name: name.clone(), dtype: DType::F32, shape: set.shapes[i].clone() });
                numbers.insert(name, values);
            }
        }
    }
    let shapes: BTreeMap<String, Vec<usize>> = plan.iter().map(|tensor| (tensor.name.clone(), tensor.shape.clone())).collect();
    let fetch = |name: &str| Ok::<_, CheckpointError>(Tensor::from_f32(&shapes[name], numbers[name].to_vec()));
    save_safetensors(&folder.join(FILE), &plan, &BTreeMap::new(), fetch).map_err(|error| model_error(error.into()))
}

fn name(what: &str, set: &ParamSet, i: usize) -> String {
    format!("{what}.{}.{}", set.name, set.names[i])
}

struct Reader<'a> {
    path: &'a Path,
    file: &'a Checkpoint,
    used: BTreeSet<String>,
}

impl Reader<'_> {
    fn wrong(&self, reason: String) -> Error {
        Error::State { path: self.path.to_owned(), reason }
    }

    fn all(&mut self, what: &str, sets: &[ParamSet]) -> Result<Vec<Vec<Vec<f32>>>> {
        let mut all = Vec::with_capacity(sets.len());
        for set in sets {
            let each = (0..set.len()).map(|i| if set.trained[i] { self.one(name(what, set, i), &set.shapes[i]) } else { Ok(vec![]) });
            all.push(each.collect::<Result<_>>()?);
        }
        Ok(all)
    }

    /// As `all`, and empty where the file has none: the trainer knows whether its optimiser needs it.
    fn some(&mut self, what: &str, sets: &[ParamSet]) -> Result<Vec<Vec<Vec<f32>>>> {
        let mut all = Vec::with_capacity(sets.len());
        for set in sets {
            let there = |i: usize| set.trained[i] && self.file.shape(&name(what, set, i)).is_some();
            let each: Vec<bool> = (0..set.len()).map(there).collect();
            let each = each.into_iter().enumerate();
            let each = each.map(|(i, there)| if there { self.one(name(what, set, i), &set.shapes[i]) } else { Ok(vec![]) });
            all.push(each.collect::<Result<_>>()?);
        }
        Ok(all)
    }

    fn one(&mut self, name: String, shape: &[usize]) -> Result<Vec<f32>> {
        let Some(found) = self.file.shape(&name) else { return Err(self.wrong(format!("it lacks `{name}`"))) };
        if found != shape {
            return Err(self.wrong(format!("`{name}` has shape {found:?}, wanted {shape:?}")));
        }
        let element = self.file.element(&name);
        if element.and_then(ElementType::dtype) != Some(DType::F32) {
            return Err(self.wrong(format!("`{name}` is not of f32")));
        }
        let tensor = self.file.tensor(&name).map_err(|error| self.wrong(error.to_string()))?;
        let values = tensor.to_f32().map_err(|error| self.wrong(format!("`{name}`: {error}")))?.into_owned();
        if let Some(bad) = values.iter().find(|x| !x.is_finite()) {
            return Err(self.wrong(format!("`{name}` holds {bad}")));
        }
        self.used.insert(name);
        Ok(values)
    }

    fn finish(self) -> Result<()> {
        let foreign: Vec<_> = self.file.names().filter(|name| !self.used.contains(*name)).collect();
        match foreign.first() {
            None => Ok(()),
            Some(first) => Err(self.wrong(format!("it has {} tensors that this run has not, such as `{first}`", foreign.len()))),
        }
    }
}
