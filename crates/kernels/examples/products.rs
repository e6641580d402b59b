//! How fast the kernels are: `cargo run --release -p hua-kernels --example products [threads]` prints G(FL)OP/s of the products of a
//! ViT-B/16 and of a short text, best of several rounds, beside what a loop of nothing but fused multiply-adds reaches.
use std::time::Instant;

use hua_kernels::{Cores, Epilogue, Isa, PartUnpacked as Part, product_unpacked as product};

fn main() {
    let threads = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(1);
    let cores = Cores::new(threads, Isa::best()).expect("the system has threads");
    #[allow(clippy::print_stdout, reason = "a program whose output is its result")]
    for (rows, inner, out) in [
        (197, 768, 768),
        (197, 768, 3072),
        (197, 3072, 768),
        (1576, 768, 768),
        (1576, 768, 3072),
        (1576, 3072, 768),
        (12, 768, 3072),
        (12, 3072, 768),
        (1, 768, 3072),
        (257, 1024, 4096),
        (257, 4096, 1024),
    ] {
        let x = vec![0.5; rows * inner];
        // As many weights as a model has, so that they come from memory.
        let weights: Vec<Vec<f32>> = (0..(64 << 20) / (inner * out * 4) + 1).map(|_| vec![0.5; out * inner]).collect();
        let mut y = vec![0.0; rows * out];
        let flops = 2.0 * (rows * inner * out) as f64;
        let mut best = f64::MAX;
        for i in 0..(40e9 / flops / 10.0).clamp(10.0, 400.0) as usize {
            let start = Instant::now();
            let parts = [Part { weight: &weights[i % weights.len()], bias: None }];
            product(&cores, &x, inner, &parts, Epilogue::default(), &mut y);
            best = best.min(start.elapsed().as_secs_f64());
        }
        println!("{:>7} {rows:>5} x {inner:>4} x {out:>4} {:>7.1} GFLOP/s", cores.isa().name(), flops / best / 1e9);
    }
}
