//! How fast attention, norms and activations are on one thread: `cargo run --release -p hua-kernels --example attention [tokens]`.
//! Attention in % of what registers alone reach in the same run, for the multiplications that are needed, beside what dot products of
//! unpacked keys reached on a Zen 3 core; the others in cycles a number, taking a core for one that does two multiply-adds of
//! registers in each. The median of several rounds.
use hua_kernels::{Activation, Attention, Cores, Heads, Isa, Precision, Span, activate, attention, l2_normalize, layer_norm, peak};

/// Items, tokens, heads, numbers of a head, whether the mask is causal; and % of the peak before keys were packed.
const SHAPES: [(usize, usize, usize, usize, bool, f64); 11] = [
    (8, 197, 12, 64, false, 47.0),
    (1, 197, 12, 64, false, 47.0),
    (16, 50, 12, 64, false, 41.0),
    (4, 257, 16, 64, false, 37.0),
    (1, 577, 16, 64, false, 39.0),
    (4, 257, 16, 80, false, 52.0),
    (2, 257, 16, 88, false, 54.0),
    (64, 12, 12, 64, false, 29.0),
    (64, 12, 12, 64, true, 14.0),
    (16, 52, 12, 64, false, 38.0),
    (16, 77, 8, 64, true, 16.0),
];

#[allow(clippy::print_stdout, reason = "a program whose output is its result")]
fn main() {
    let only: Option<usize> = std::env::args().nth(1).and_then(|n| n.parse().ok());
    let isa = Isa::chosen().expect("`HUA_ISA` names an instruction set");
    let cores = Cores::new(1, isa).expect("no thread is started");
    println!("attention, {} (items x tokens x heads x size)", isa.name());
    for (items, tokens, heads, size, causal, before) in SHAPES.into_iter().filter(|shape| only.is_none_or(|n| n == shape.1)) {
        let width = heads * size;
        let data = numbers(items * tokens * 3 * width);
        let part = |i| Heads { data: &data, stride: 3 * width, offset: i * width };
        let rows = |i| i * tokens..(i + 1) * tokens;
        let spans: Vec<Span> = (0..items).map(|i| Span { queries: rows(i), keys: rows(i), position: 0 }).collect();
        let of = Attention { q: part(0), k: part(1), v: part(2), heads, size, causal, spans: &spans };
        let mut out = vec![0.0; items * tokens * width];
        let pairs = if causal { tokens * (tokens + 1) / 2 } else { tokens * tokens };
        let operations = (4 * items * heads * pairs * size) as f64;
        let share = median(|| operations / seconds(|| attention(&cores, of, &mut out)) / peak(isa, Precision::F32));
        let mask = if causal { "causal" } else { "" };
        println!("{items:>3} x {tokens:>3} x {heads} x {size} {mask:>6} {:>5.1} % of peak, before {before} %", 100.0 * share);
    }
    println!("cycles a number");
    let cycle = |seconds: f64| seconds * peak(isa, Precision::F32) / if isa.name() == "avx512" { 64.0 } else { 32.0 };
    let values = numbers(3072);
    for act in [Activation::Gelu, Activation::GeluTanh, Activation::QuickGelu, Activation::Tanh, Activation::Relu] {
        let mut x = values.clone();
        let round = || {
            x.copy_from_slice(&values);
            activate(isa, act, &mut x);
        };
        println!("{:>20} {:.2}", format!("{act:?}"), cycles(round, values.len(), cycle));
    }
    for (rows, width) in [(197, 768), (12, 768), (257, 1024)] {
        let mut x = numbers(rows * width);
        let (weight, bias, mut out) = (numbers(width), numbers(width), vec![0.0; rows * width]);
        let round = || layer_norm(&cores, &x, &weight, &bias, 1e-5, &mut out);
        println!("layer norm {:>9} {:.2}", format!("{rows}x{width}"), cycles(round, rows * width, cycle));
        println!("l2 norm    {:>9} {:.2}", format!("{rows}x{width}"), cycles(|| l2_normalize(isa, &mut x, width), rows * width, cycle));
    }
}

fn cycles(mut round: impl FnMut(), count: usize, cycle: impl Fn(f64) -> f64) -> f64 {
    median(|| cycle(seconds(&mut round)) / count as f64)
}

fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919) % 2003) as f32 / 500.0 - 2.0).collect()
}

/// Of nine measurements.
fn median(mut measure: impl FnMut() -> f64) -> f64 {
    let mut all: Vec<f64> = (0..9).map(|_| measure()).collect();
    all.sort_by(f64::total_cmp);
    all[4]
}

/// Of one round of many, a few milliseconds together, without the time that other programs took.
fn seconds(mut round: impl FnMut()) -> f64 {
    let (start, mut rounds) = (clock(), 0);
    loop {
        round();
        rounds += 1;
        let took = clock() - start;
        if took > 5e-3 {
            return took / f64::from(rounds);
        }
    }
}

/// Seconds that this thread ran.
fn clock() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is there to be written.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
