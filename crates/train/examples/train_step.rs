//! A whole step of contrastive training, on request: the side of hua in `bench/peers/train_step.py`.
//!
//! `train_step BATCH [--precision f32|bf16] [--threads N] [--recompute]` makes a step for each line of its input and answers each with a line of
//! JSON: the loss, the seconds, and the most memory so far. A step is what the trainer does with a batch that is there: both towers forward, the
//! symmetric InfoNCE (Radford et al., 2021), both towers backward, and AdamW (Loshchilov and Hutter, 2019) on every parameter, without clipping. Towers:
//! ViT-Ti/16 at 128 x 128 pixels, and a BERT of 4 layers of width 256 with 12,000 tokens; texts have 6 to 18 tokens, 12 on average.
//! Weights and batch are random.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for measuring")]
#[path = "../../exec/tests/common/mod.rs"]
mod common;

use std::io::BufRead;
use std::time::Instant;

use common::{Blocks, Random, blocks};
use hua_exec::{Batch, Cpu, Isa, Precision, Trainable, Training, TrainingOptions};
use hua_graph::{Act, Builder, ConvSizes, EmbedSizes, Graph, Kind, Mask, Pick};
use hua_kernels::Cores;
use hua_train::loss::{Contrast, Groups, Units, info_nce};
use hua_train::optim::{Optimiser, groups};
use hua_train::recipe::{OptimSection, TowerSection};
use hua_train::{Grads, ParamSet};

const USAGE: &str = "train_step BATCH [--precision f32|bf16] [--threads N] [--recompute]";
/// Numbers of an embedding.
const OUT: usize = 256;
const VOCABULARY: usize = 12_000;
const SIDE: usize = 128;

fn main() {
    let (mut items, mut precision, mut threads, mut recompute) = (64, Precision::F32, 2, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--precision" => precision = arguments.next().and_then(|name| name.parse().ok()).expect(USAGE),
            "--threads" => threads = arguments.next().and_then(|n| n.parse().ok()).expect(USAGE),
            "--recompute" => recompute = true,
            _ => items = argument.parse().expect(USAGE),
        }
    }
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().unwrap();
    let cpu = Cpu { threads, precision, isa: Some(Isa::chosen().unwrap()), packed: None };
    let cores = Cores::new(threads, Isa::chosen().unwrap()).unwrap();
    let mut random = Random(7);
    let lengths: Vec<usize> = (0..items).map(|i| 6 + i * 7 % 13).collect();
    let (texts, pixels) = (random.texts(&lengths, VOCABULARY), random.normals(items * 3 * SIDE * SIDE, 1.0));
    let graphs = [image_tower(), text_tower()];
    let mut sets: Vec<ParamSet> = ["image", "text"].iter().zip(&graphs).map(|(name, graph)| params(name, graph, &mut random)).collect();
    let mut towers: Vec<Box<dyn Training>> = graphs
        .iter()
        .zip(&sets)
        .map(|(graph, set)| {
            let options = TrainingOptions { recompute, ..TrainingOptions::all(graph) };
            cpu.load_training(graph, &set.slices(), &options).unwrap()
        })
        .collect();
    let mut scale = ParamSet::new("extra");
    scale.push("logit_scale", vec![], vec![(1.0f32 / 0.07).ln()], true);
    sets.push(scale);
    let section = OptimSection { weight_decay: 0.1, ..OptimSection::default() };
    let tower = TowerSection::default();
    let mut optimiser = Optimiser::new(&section, &sets, groups(&sets, &section, &tower, &tower));
    let mut grads = Grads::zeros(&sets);
    let batches = [Batch::Images(&pixels), Batch::Ids(&texts)];
    let seeds: Vec<u64> = (0..items as u64).collect();
    for line in std::io::stdin().lock().lines() {
        line.unwrap();
        let start = Instant::now();
        grads.clear();
        let [image, text] = [0, 1].map(|i| towers[i].forward(&batches[i], &seeds).unwrap());
        let [images, words] = [&image.0, &text.0].map(|rows| Units::of(&rows.data, OUT));
        let found = info_nce(&cores, images.rows(), words.rows(), OUT, &Groups::pairs(items), Contrast::new(sets[2].values[0][0]));
        let rows = [images.backward(&found.d_a), words.backward(&found.d_b)];
        for (set, ((tower, tape), d)) in towers.iter_mut().zip([image.1, text.1]).zip(rows).enumerate() {
            tower.backward(tape, &d, grads.set(set)).unwrap();
        }
        grads.set(2)[0][0] = found.d_logit_scale;
        optimiser.update(&mut sets, &grads, 1e-4);
        towers.iter_mut().zip(&sets).for_each(|(tower, set)| tower.set_params(&set.slices()));
        let seconds = start.elapsed().as_secs_f64();
        let loss = found.loss;
        println!("{{\"items\": {items}, \"loss\": {loss}, \"seconds\": {seconds}, \"peak_mib\": {:.1}}}", peak_mib());
    }
}

fn params(name: &str, graph: &Graph, random: &mut Random) -> ParamSet {
    let mut set = ParamSet::new(name);
    for (spec, tensor) in graph.params().iter().zip(random.weights(graph).tensors()) {
        set.push(&spec.name, spec.shape.clone(), tensor.to_f32().unwrap().into_owned(), spec.trained);
    }
    set
}

/// ViT-Ti/16 (Touvron et al., 2021) with a projection.
fn image_tower() -> Graph {
    let mut g = Builder::default();
    let x = g.input(Kind::Image { channels: 3, height: SIDE, width: SIDE });
    let x = g.conv("patch", x, ConvSizes { out: 192, size: 16, stride: 16, pad: 0, bias: true });
    let x = g.flatten(x);
    let x = g.prepend("class", x);
    let x = g.add_positions("positions", x, (SIDE / 16) * (SIDE / 16) + 1);
    let x = blocks(&mut g, x, Blocks { count: 12, heads: 3, act: Act::Gelu, mask: Mask::Full, post: false });
    let x = g.pick(x, Pick::First, None);
    let x = g.layer_norm("norm", x, 1e-5);
    let x = g.linear_no_bias("project", x, OUT);
    g.output("embedding", x);
    g.finish().unwrap()
}

/// A BERT of 4 layers.
fn text_tower() -> Graph {
    let mut g = Builder::default();
    let ids = g.input(Kind::Ids);
    let x = g.embed(ids, EmbedSizes { vocab: VOCABULARY, positions: 64, first_position: 0, types: 0, width: 256 });
    let x = g.layer_norm("norm", x, 1e-5);
    let x = blocks(&mut g, x, Blocks { count: 4, heads: 4, act: Act::Gelu, mask: Mask::Full, post: true });
    let x = g.pick(x, Pick::First, None);
    let x = g.linear_no_bias("project", x, OUT);
    g.output("embedding", x);
    g.finish().unwrap()
}

/// The most memory that the process had, where the system tells it (`VmHWM` of `/proc/self/status`).
fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / 1024.0
}
