//! A tower in training: which of its parameters are trained, large batches in small memory, adapters.
//!
//! A batch that is larger than a chunk goes through three passes (GradCache, arXiv 2101.06983): all chunks forward with nothing kept, the loss
//! on the whole batch, then chunk after chunk forward once more and backward with the gradients that the loss gave their embeddings. An
//! item's embedding does not depend on its batch, and its random masks come from its own seed, so the second pass forward gives the bits of
//! the first: what comes out is the gradient of the whole batch, but for the order in which it is summed.
use hua_exec::{Batch, Rows, Tape, Trainable, Training, TrainingOptions};
use hua_graph::{Graph, Kind, LoraPair, Regularisation, Tensor, for_training, lora};
use hua_model::Tower;

use crate::lora::{Adapter, Side};
use crate::params::ParamSet;
use crate::recipe::{Lora, TowerSection, Trained};
use crate::{Error, Result};

/// Items of a batch when nothing is trained.
const EMBEDDED_TOGETHER: usize = 64;

/// How a tower is trained, beside what the recipe says of it.
#[derive(Clone, Debug)]
pub struct EncoderOptions {
    /// Items in memory with their activations; 0 for all.
    pub chunk: usize,
    /// Keep only what goes into each block.
    pub recompute: bool,
    /// Where the first numbers of adapters come from.
    pub seed: u64,
    /// What the loss is made of: `embedding`, or the name of a node that gives one row an item.
    pub output: String,
}

impl Default for EncoderOptions {
    fn default() -> Self {
        Self { chunk: 0, recompute: false, seed: 0, output: "embedding".to_owned() }
    }
}

/// A tower in training. Its parameters are in a [`ParamSet`] of its graph's order, adapters at the end.
#[derive(Debug)]
pub struct Encoder {
    side: Side,
    graph: Graph,
    training: Box<dyn Training>,
    pairs: Vec<LoraPair>,
    /// Parameters without adapters.
    own: usize,
    chunk: usize,
    width: usize,
    trains: bool,
}

/// Embeddings of a batch, and what their backward pass needs.
pub struct Pass {
    rows: Vec<f32>,
    tape: Option<Tape>,
}

impl Pass {
    /// The embeddings, raw, `[items, width]`.
    pub fn rows(&self) -> &[f32] {
        &self.rows
    }
}

impl Encoder {
    /// A tower on a device, and its parameters with what is trained marked.
    ///
    /// # Errors
    /// [`Error::Recipe`] if the tower has no such layers, [`Error::Hua`] if the device cannot train it.
    pub fn new(
        device: &dyn Trainable,
        tower: &Tower,
        side: Side,
        section: &TowerSection,
        options: &EncoderOptions,
    ) -> Result<(Self, ParamSet)> {
        let name = match side {
            Side::Image => "image",
            Side::Text => "text",
        };
        let wrong = |key: &str, found: String, wanted: &str| Error::recipe(format!("{name}.{key}"), found, wanted);
        let mut set = ParamSet::of_tower(name, tower).map_err(hua_exec::ExecError::from)?;
        let own = set.len();
        let frozen = section.train == Trained::None;
        let regular = match side {
            _ if frozen => Regularisation::default(),
            Side::Image => Regularisation { keep_tokens: section.keep_tokens, ..Regularisation::default() },
            Side::Text => Regularisation { dropout: section.dropout, ..Regularisation::default() },
        };
        let mut graph = for_training(&tower.graph, &regular).map_err(|e| wrong("dropout", e.to_string(), "a rate from 0 to below 1"))?;
        let mut pairs = vec![];
        match &section.train {
            Trained::All => {}
            Trained::None => set.trained.fill(false),
            Trained::LastLayers(count) => {
                last_layers(&mut set, *count).map_err(|(found, wanted)| wrong("train.last_layers", found, &wanted))?
            }
            Trained::Lora(Lora { rank, alpha, targets, .. }) => {
                set.trained.fill(false);
                (graph, pairs) = lora(&graph, *rank, targets)
                    .map_err(|e| wrong("train.lora", e.to_string(), "a rank of at least 1 and layers that there are"))?;
                for param in &graph.params()[own..] {
                    let values = first_numbers(&param.name, &param.shape, alpha / *rank as f32, options.seed);
                    set.push(&param.name, param.shape.clone(), values, true);
                }
            }
        }
        if graph.output(&options.output).is_none() && !graph.expose(&options.output) {
            let known: Vec<_> = graph.outputs().iter().map(|output| output.name.clone()).collect();
            return Err(wrong("output", format!("`{}`", options.output), &format!("the name of a node, or one of {}", known.join(", "))));
        }
        let output = graph.output(&options.output).expect("it is one now");
        let Kind::Vector { width } = graph.node(output).kind else {
            return Err(wrong("output", format!("`{}`, {}", options.output, graph.node(output).kind), "one row for each item"));
        };
        // What the output does not need gets no gradient, so it is not trained: other outputs' own layers.
        let needed = graph.needed(&[output]);
        let mut reached = vec![false; set.len()];
        for (node, _) in graph.nodes().iter().zip(&needed).filter(|(_, needed)| **needed) {
            node.op.params().iter().for_each(|param| reached[param.index()] = true);
        }
        set.trained.iter_mut().zip(reached).for_each(|(trained, reached)| *trained &= reached);

        let training_options =
            TrainingOptions { trained: set.trained.clone(), output: options.output.clone(), recompute: options.recompute };
        let training = device.load_training(&graph, &set.slices(), &training_options)?;
        let chunk = if options.chunk == 0 { usize::MAX } else { options.chunk };
        let trains = set.trained.contains(&true);
        Ok((Self { side, graph, training, pairs, own, chunk, width, trains }, set))
    }

    /// Numbers of an embedding.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Whether anything of it is trained.
    pub fn trains(&self) -> bool {
        self.trains
    }

    /// Whether an item's embedding in training is always the one in use: nothing random in it, and nothing trained.
    pub fn is_constant(&self) -> bool {
        !self.trains
    }

    /// Hands new numbers to the executor.
    pub fn set_params(&mut self, set: &ParamSet) {
        self.training.set_params(&set.slices());
    }

    /// Embeddings of a batch in training, one seed an item. What `backward` needs is kept if the batch is one chunk.
    ///
    /// # Errors
    /// [`Error::Hua`] if the batch is not what the tower takes.
    pub fn forward(&mut self, batch: Batch<'_>, seeds: &[u64]) -> Result<Pass> {
        if seeds.len() <= self.chunk && self.trains {
            let (Rows { data, .. }, tape) = self.training.forward(&batch, seeds)?;
            return Ok(Pass { rows: data, tape: Some(tape) });
        }
        let mut rows = Vec::with_capacity(seeds.len() * self.width);
        let chunk = if self.trains { self.chunk } else { EMBEDDED_TOGETHER };
        for (first, seeds) in chunks(seeds, chunk) {
            let part = self.part(batch, first, seeds.len());
            rows.extend(self.training.forward_only(&part, seeds)?.data);
        }
        Ok(Pass { rows, tape: None })
    }

    /// Adds to `grads` what follows from the gradients of the embeddings, `[items, width]`; `batch` and `seeds` are those of `forward`.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn backward(&mut self, batch: Batch<'_>, seeds: &[u64], pass: Pass, d_rows: &[f32], grads: &mut [Vec<f32>]) -> Result<()> {
        if !self.trains {
            return Ok(());
        }
        if let Some(tape) = pass.tape {
            return Ok(self.training.backward(tape, d_rows, grads)?);
        }
        for (first, seeds) in chunks(seeds, self.chunk) {
            let part = self.part(batch, first, seeds.len());
            let (_, tape) = self.training.forward(&part, seeds)?;
            self.training.backward(tape, &d_rows[first * self.width..][..seeds.len() * self.width], grads)?;
        }
        Ok(())
    }

    /// Embeddings as in use, raw, `[items, width]`: nothing dropped.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn embed(&self, batch: Batch<'_>) -> Result<Vec<f32>> {
        let count = match batch {
            Batch::Ids(ids) => ids.len(),
            Batch::Images(pixels) => pixels.len() / self.item(),
        };
        let mut rows = Vec::with_capacity(count * self.width);
        for first in (0..count).step_by(EMBEDDED_TOGETHER) {
            let part = self.part(batch, first, EMBEDDED_TOGETHER.min(count - first));
            rows.extend(self.training.run(&part)?.data);
        }
        Ok(rows)
    }

    /// The tower's own tensors with adapters merged into them, or left out.
    pub fn tensors(&self, set: &ParamSet, merged: bool) -> Vec<Tensor> {
        let mut tensors = set.tensors();
        tensors.truncate(self.own);
        if merged {
            for (pair, adapter) in self.pairs.iter().zip(self.adapters(set)) {
                let i = pair.weight.index();
                let mut values = set.values[i].clone();
                adapter.merge(&mut values);
                tensors[i] = Tensor::from_f32(&set.shapes[i], values);
            }
        }
        tensors
    }

    /// Its adapters.
    pub fn adapters(&self, set: &ParamSet) -> Vec<Adapter> {
        let of = |pair: &LoraPair| Adapter {
            side: self.side,
            weight: self.graph.param(pair.weight).name.clone(),
            rank: self.graph.param(pair.a).shape[0],
            a: set.values[pair.a.index()].clone(),
            b: set.values[pair.b.index()].clone(),
        };
        self.pairs.iter().map(of).collect()
    }

    fn part<'a>(&self, batch: Batch<'a>, first: usize, count: usize) -> Batch<'a> {
        match batch {
            Batch::Ids(ids) => Batch::Ids(&ids[first..first + count]),
            Batch::Images(pixels) => Batch::Images(&pixels[first * self.item()..][..count * self.item()]),
        }
    }

    /// Numbers of a picture.
    fn item(&self) -> usize {
        let image = |kind: Kind| match kind {
            Kind::Image { channels, height, width } => Some(channels * height * width),
            _ => None,
        };
        self.graph.nodes().iter().find_map(|node| image(node.kind)).unwrap_or(1)
    }
}

/// Pieces of `seeds` with where they begin.
fn chunks(seeds: &[u64], chunk: usize) -> impl Iterator<Item = (usize, &[u64])> {
    seeds.chunks(chunk.min(seeds.len()).max(1)).scan(0, |first, seeds| {
        let start = *first;
        *first += seeds.len();
        Some((start, seeds))
    })
}

/// Freezes all that comes before the last so many blocks; parameters are in the order in which the tower uses them.
fn last_layers(set: &mut ParamSet, count: usize) -> std::result::Result<(), (String, String)> {
    let block = |name: &str| name.strip_prefix("blocks.")?.split('.').next()?.parse::<usize>().ok();
    let blocks = set.names.iter().filter_map(|name| block(name)).max().map_or(0, |last| last + 1);
    if count == 0 || count > blocks {
        return Err((count.to_string(), format!("1 to {blocks}, the blocks of this tower")));
    }
    let first = set.names.iter().position(|name| block(name) == Some(blocks - count)).expect("there are so many blocks");
    set.trained[..first].fill(false);
    Ok(())
}

/// `A` as `kaiming_uniform_(a = √5)` has it, times `alpha / rank`; `B` zero, so that the first step begins with the model as it was.
fn first_numbers(name: &str, shape: &[usize], factor: f32, seed: u64) -> Vec<f32> {
    let count = shape.iter().product();
    if name.ends_with("lora_b.weight") {
        return vec![0.0; count];
    }
    let bound = f64::from(factor) / (shape[1] as f64).sqrt();
    let of_name = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let mut random = hua_image::augment::Random::of(&[seed, of_name]);
    (0..count).map(|_| ((2.0 * random.unit() - 1.0) * bound) as f32).collect()
}
