//! A whole step of contrastive training, on request: the side of hua in `bench/peers/train_step.py`.
//!
//! `train_step BATCH [--precision f32|bf16] [--threads N] [--recompute]` makes a step for each line of its input and answers each with a line of
//! JSON: the loss, the seconds, and the most memory so far. A step is both towers forward, the symmetric InfoNCE (Radford et al., 2021), both
//! towers backward, and AdamW (Loshchilov and Hutter, 2019) on every parameter, as plain loops. Towers: ViT-Ti/16 at 128 x 128 pixels, and a
//! BERT of 4 layers of width 256 with 12,000 tokens; texts have 6 to 18 tokens, 12 on average. Weights and batch are random.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for measuring")]
#[path = "../tests/common/mod.rs"]
mod common;

use std::io::BufRead;
use std::time::Instant;

use common::{Blocks, Random, blocks};
use hua_exec::{Batch, Cpu, Isa, Precision, Trainable, Training, TrainingOptions};
use hua_graph::{Act, Builder, ConvSizes, EmbedSizes, Graph, Kind, Mask, Pick};

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
    let cpu = Cpu { threads, precision, isa: Some(Isa::chosen().unwrap()), packed: None };
    let mut random = Random(7);
    let lengths: Vec<usize> = (0..items).map(|i| 6 + i * 7 % 13).collect();
    let (texts, pixels) = (random.texts(&lengths, VOCABULARY), random.normals(items * 3 * SIDE * SIDE, 1.0));
    let mut towers = [image_tower(), text_tower()].map(|graph| Tower::new(&cpu, graph, recompute, &mut random));
    let batches = [Batch::Images(&pixels), Batch::Ids(&texts)];
    let mut scale = Scale { value: (1.0f32 / 0.07).ln(), mean: 0.0, square: 0.0 };
    let seeds: Vec<u64> = (0..items as u64).collect();
    for (turn, line) in std::io::stdin().lock().lines().enumerate() {
        line.unwrap();
        let start = Instant::now();
        let [image, text] = [0, 1].map(|i| towers[i].training.forward(&batches[i], &seeds).unwrap());
        let (loss, [d_image, d_text], d_scale) = contrast(&image.0.data, &text.0.data, scale.value);
        for ((tower, tape), d) in towers.iter_mut().zip([image.1, text.1]).zip([d_image, d_text]) {
            tower.grads.iter_mut().for_each(|grad| grad.fill(0.0));
            tower.training.backward(tape, &d, &mut tower.grads).unwrap();
        }
        let step = Step::new(turn as i32 + 1);
        for tower in &mut towers {
            tower.update(threads, step);
        }
        step.one(&mut scale.value, d_scale, &mut scale.mean, &mut scale.square);
        let seconds = start.elapsed().as_secs_f64();
        println!("{{\"items\": {items}, \"loss\": {loss}, \"seconds\": {seconds}, \"peak_mib\": {:.1}}}", peak_mib());
    }
}

/// A graph, its parameters, and what AdamW knows of them.
struct Tower {
    training: Box<dyn Training>,
    params: Vec<Vec<f32>>,
    grads: Vec<Vec<f32>>,
    means: Vec<Vec<f32>>,
    squares: Vec<Vec<f32>>,
}

impl Tower {
    fn new(cpu: &Cpu, graph: Graph, recompute: bool, random: &mut Random) -> Self {
        let weights = random.weights(&graph);
        let params: Vec<Vec<f32>> = weights.tensors().iter().map(|tensor| tensor.to_f32().unwrap().into_owned()).collect();
        let options = TrainingOptions { recompute, ..TrainingOptions::all(&graph) };
        let [grads, means, squares] = [(); 3].map(|()| options.gradients(&graph));
        let slices: Vec<&[f32]> = params.iter().map(Vec::as_slice).collect();
        let training = cpu.load_training(&graph, &slices, &options).unwrap();
        Self { training, params, grads, means, squares }
    }

    fn update(&mut self, threads: usize, step: Step) {
        let each = self.params.iter_mut().zip(&self.grads).zip(self.means.iter_mut().zip(&mut self.squares));
        std::thread::scope(|scope| {
            for ((params, grads), (means, squares)) in each {
                let piece = if params.len() > 100_000 { params.len().div_ceil(threads) } else { params.len() };
                let pieces = params.chunks_mut(piece).zip(grads.chunks(piece)).zip(means.chunks_mut(piece).zip(squares.chunks_mut(piece)));
                for ((params, grads), (means, squares)) in pieces {
                    let update = move || {
                        for ((x, d), (mean, square)) in params.iter_mut().zip(grads).zip(means.iter_mut().zip(squares)) {
                            step.one(x, *d, mean, square);
                        }
                    };
                    if grads.len() > 50_000 {
                        scope.spawn(update);
                    } else {
                        update();
                    }
                }
            }
        });
        let slices: Vec<&[f32]> = self.params.iter().map(Vec::as_slice).collect();
        self.training.set_params(&slices);
    }
}

/// The temperature's logarithm, negated, and what AdamW knows of it.
struct Scale {
    value: f32,
    mean: f32,
    square: f32,
}

/// The constants of one step of AdamW.
#[derive(Clone, Copy)]
struct Step {
    rate: f32,
    root: f32,
}

impl Step {
    const BETAS: [f32; 2] = [0.9, 0.98];
    const RATE: f32 = 1e-4;

    fn new(step: i32) -> Self {
        let [first, second] = Self::BETAS.map(|beta| 1.0 - beta.powi(step));
        Self { rate: Self::RATE / first, root: second.sqrt().recip() }
    }

    #[inline(always)]
    fn one(self, x: &mut f32, d: f32, mean: &mut f32, square: &mut f32) {
        let [first, second] = Self::BETAS;
        *mean = first * *mean + (1.0 - first) * d;
        *square = second * *square + (1.0 - second) * d * d;
        *x = *x * (1.0 - Self::RATE * 0.1) - self.rate * *mean / (square.sqrt() * self.root + 1e-6);
    }
}

/// The symmetric InfoNCE of `[items, OUT]` both, and its gradients.
fn contrast(image: &[f32], text: &[f32], scale: f32) -> (f64, [Vec<f32>; 2], f32) {
    let n = image.len() / OUT;
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let unit = |rows: &[f32]| -> Vec<f32> {
        rows.chunks(OUT).flat_map(|row| row.iter().map(|x| x / dot(row, row).sqrt()).collect::<Vec<_>>()).collect()
    };
    let (a, b) = (unit(image), unit(text));
    let scores: Vec<f32> = a.chunks(OUT).flat_map(|a| b.chunks(OUT).map(|b| dot(a, b)).collect::<Vec<_>>()).collect();
    let factor = scale.exp();
    let mut d = vec![0.0f32; n * n];
    let mut loss = 0.0;
    for columns in [false, true] {
        for i in 0..n {
            let at = |j: usize| if columns { j * n + i } else { i * n + j };
            let sum: f64 = (0..n).map(|j| f64::from(factor * scores[at(j)]).exp()).sum();
            loss += (sum.ln() - f64::from(factor * scores[at(i)])) / (2 * n) as f64;
            for j in 0..n {
                let p = f64::from(factor * scores[at(j)]).exp() / sum;
                d[at(j)] += ((p - f64::from(u8::from(i == j))) / (2 * n) as f64) as f32;
            }
        }
    }
    let d_scale = d.iter().zip(&scores).map(|(d, s)| d * s).sum::<f32>() * factor;
    let gradient = |rows: &[f32], own: &[f32], others: &[f32], at: &dyn Fn(usize, usize) -> f32| -> Vec<f32> {
        let mut all = vec![];
        for (i, (row, own)) in rows.chunks(OUT).zip(own.chunks(OUT)).enumerate() {
            let mut g = vec![0.0; OUT];
            others.chunks(OUT).enumerate().for_each(|(j, o)| g.iter_mut().zip(o).for_each(|(g, o)| *g += at(i, j) * factor * o));
            let (along, length) = (dot(&g, own), dot(row, row).sqrt());
            all.extend(g.iter().zip(own).map(|(g, own)| (g - own * along) / length));
        }
        all
    };
    let d_image = gradient(image, &a, &b, &|i, j| d[i * n + j]);
    let d_text = gradient(text, &b, &a, &|i, j| d[j * n + i]);
    (loss, [d_image, d_text], d_scale)
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
