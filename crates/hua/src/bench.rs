//! How fast a model is on this machine: what `hua bench` shows.
//!
//! A cell is one tower at one precision with one number of threads and one shape of batch. It is run until its time is over, and
//! the time of every run is kept, so that latencies are those of real runs and not a mean. Inputs are random: what is in them does
//! not change how long they take.
use std::collections::HashMap;
use std::time::{Duration, Instant};

use hua_exec::{Batch, Cpu, Device, Precision, Program};
use hua_kernels::Isa;
use serde::Serialize;

use crate::{Embedder, Error};

/// Which tower is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tower {
    /// Pictures, from pixels on.
    Image,
    /// Texts, from token ids on.
    Text,
}

/// What is measured.
#[derive(Clone, Debug)]
pub struct Shape {
    /// The tower.
    pub tower: Tower,
    /// What it computes in.
    pub precision: Precision,
    /// Threads that share a batch.
    pub threads: usize,
    /// Items of a batch.
    pub batch: usize,
    /// Tokens of each text.
    pub tokens: usize,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// The tower.
    pub tower: Tower,
    /// `f32`, `bf16` or `int8`.
    pub precision: &'static str,
    /// Threads that shared a batch.
    pub threads: usize,
    /// Items of a batch.
    pub batch: usize,
    /// Tokens of each text; none for pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<usize>,
    /// How often the batch was run.
    pub runs: usize,
    /// Items in a second, of the median run.
    pub items_per_second: f64,
    /// Milliseconds that a batch took.
    pub latency_ms: Latency,
    /// 10⁹ operations of the matrix products in a second: those that the embedding really needs.
    pub gflops: f64,
    /// That, in percent of what this machine's threads can do in registers alone.
    pub percent_of_peak: f64,
}

/// Percentiles of a batch's time, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// The shortest.
    pub least: f64,
    /// Half of the runs took at most this.
    pub p50: f64,
    /// Nine of ten.
    pub p90: f64,
    /// 99 of 100.
    pub p99: f64,
}

/// The instruction set that is used: `avx512`, `avx2`, `neon` or `scalar`.
///
/// # Errors
/// If `HUA_ISA` names one that the machine lacks.
pub fn isa() -> Result<&'static str, Error> {
    Ok(Isa::chosen().map_err(hua_exec::ExecError::from)?.name())
}

/// Runs the cells one after the other, each for about `time`, and tells `found` of each. A tower is loaded once for cells that follow
/// one another and differ in their batch alone.
///
/// # Errors
/// [`Error::Exec`].
pub fn run(embedder: &Embedder, shapes: &[Shape], time: Duration, mut found: impl FnMut(Cell)) -> Result<(), Error> {
    let isa = Isa::chosen().map_err(hua_exec::ExecError::from)?;
    let mut peaks: HashMap<Precision, f64> = HashMap::new();
    // Cells that differ in their batch alone, one group after the other, so that there are never two programs.
    for group in shapes.chunk_by(|a, b| (a.tower, a.precision, a.threads) == (b.tower, b.precision, b.threads)) {
        let Shape { tower, precision, threads, .. } = group[0];
        let model = embedder.model();
        let of = if tower == Tower::Image { &model.image } else { &model.text };
        let program = Cpu { threads, precision, ..Cpu::default() }.load(&of.graph, &of.weights)?;
        let peak = *peaks.entry(precision).or_insert_with(|| hua_kernels::peak(isa, precision));
        for shape in group {
            found(measure(embedder, &*program, shape, peak, time)?);
        }
    }
    Ok(())
}

fn measure(embedder: &Embedder, program: &dyn Program, shape: &Shape, peak: f64, time: Duration) -> Result<Cell, Error> {
    let (pixels, ids);
    let batch = match shape.tower {
        Tower::Image => {
            pixels = random_pixels(embedder.spec().image.image_size().pow(2) * 3 * shape.batch);
            Batch::Images(&pixels)
        }
        Tower::Text => {
            ids = (0..shape.batch).map(|i| random_ids(embedder, shape.tokens, i)).collect::<Vec<_>>();
            Batch::Ids(&ids)
        }
    };
    program.run(&batch, &["embedding"])?;
    let mut times = vec![];
    let start = Instant::now();
    while times.len() < 3 || start.elapsed() < time {
        let start = Instant::now();
        program.run(&batch, &["embedding"])?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize] * 1e3;
    let seconds = at(0.5) / 1e3;
    let needed = program.flops("embedding", shape.tokens)? as f64 * shape.batch as f64;
    Ok(Cell {
        tower: shape.tower,
        precision: shape.precision.name(),
        threads: shape.threads,
        batch: shape.batch,
        tokens: (shape.tower == Tower::Text).then_some(shape.tokens),
        runs: times.len(),
        items_per_second: shape.batch as f64 / seconds,
        latency_ms: Latency { least: times[0] * 1e3, p50: at(0.5), p90: at(0.9), p99: at(0.99) },
        gflops: needed / seconds / 1e9,
        percent_of_peak: needed / seconds / (peak * shape.threads as f64) * 100.0,
    })
}

/// Numbers as they come out of the preprocessing: about -2 to 2.
fn random_pixels(count: usize) -> Vec<f32> {
    let mut state = 7u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 22) as f32 - 2.0
    };
    (0..count).map(|_| next()).collect()
}

/// A text of `tokens` tokens: the special ones around others.
fn random_ids(embedder: &Embedder, tokens: usize, item: usize) -> Vec<u32> {
    let special = embedder.tokenizer().special_ids();
    let vocabulary = embedder.spec().text.vocabulary() as u32;
    let reserved = [special.bos, special.eos, special.pad, special.unk];
    let inner = (0..u32::MAX).map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(item as u32 * 977) >> 4) % vocabulary);
    let inner = inner.filter(|id| !reserved.contains(id)).take(tokens.saturating_sub(2));
    let mut ids: Vec<u32> = [special.bos].into_iter().chain(inner).chain([special.eos]).collect();
    ids.truncate(tokens.max(1));
    ids
}
