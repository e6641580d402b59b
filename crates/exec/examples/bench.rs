//! A whole tower with random weights, run on request: the side of hua in `bench/peers`.
//!
//! `bench (vit_b16|roberta_base) BATCH [THREADS]` runs the tower once for each line of its input and answers each with a line of
//! JSON. Whoever asks can so run several programs in turn, and count what each of them took.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for measuring")]
#[path = "../tests/common/mod.rs"]
mod common;

use std::io::BufRead;
use std::time::Instant;

use common::{Random, VitSizes, roberta, vit};
use hua_exec::{Batch, Cpu, Device};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize| arguments.get(i).and_then(|n| n.parse().ok()).unwrap_or(1usize);
    let (items, threads) = (number(1), number(2));
    let mut random = Random(7);
    let (graph, texts, pixels) = match arguments.first().map(String::as_str) {
        Some("vit_b16") => {
            let sizes = VitSizes { side: 224, patch: 16, width: 768, layers: 12, heads: 12, out: 512 };
            (vit(&sizes), vec![], random.normals(items * 3 * 224 * 224, 1.0))
        }
        // 12 tokens a text; a small vocabulary, since only rows of it are read.
        Some("roberta_base") => (roberta(1000, 768, 12, 12), random.texts(&vec![12; items], 1000), vec![]),
        _ => panic!("bench (vit_b16|roberta_base) BATCH [THREADS]"),
    };
    let weights = random.weights(&graph);
    let program = Cpu { threads }.load(&graph, &weights).unwrap();
    let batch = if pixels.is_empty() { Batch::Ids(&texts) } else { Batch::Images(&pixels) };
    for line in std::io::stdin().lock().lines() {
        line.unwrap();
        let start = Instant::now();
        let rows = program.run(&batch, &["embedding"]).unwrap();
        println!("{{\"items\": {}, \"seconds\": {}}}", rows[0].lengths.len(), start.elapsed().as_secs_f64());
    }
}
