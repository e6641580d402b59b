//! A whole tower with random weights, run on request: the side of hua in `bench/peers`.
//!
//! `bench TOWER BATCH [LENGTH] [--precision f32|bf16|int8] [--threads N]` runs the tower once for each line of its input and answers
//! each with a line of JSON, the first also with the most that the cores do in registers (operations a second). Whoever asks can so
//! run several programs in turn, and count what each of them took. `LENGTH` is the tokens of a text.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for measuring")]
#[path = "../tests/common/mod.rs"]
mod common;

use std::io::BufRead;
use std::time::Instant;

use common::{Random, VitSizes, roberta, vit};
use hua_exec::{Batch, Cpu, Device, Precision};
use hua_graph::Graph;
use hua_kernels::{Isa, peak};

const USAGE: &str = "bench (vit_b16|vit_l14|roberta_base|xlmr_large) BATCH [LENGTH] [--precision f32|bf16|int8] [--threads N]";
/// Rows of the token table: few, since only those of a text's ids are read.
const VOCABULARY: usize = 1000;
/// Side of a picture.
const SIDE: usize = 224;

fn main() {
    let (mut named, mut precision, mut threads) = (vec![], Precision::F32, 1);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--precision" => precision = arguments.next().and_then(|name| name.parse().ok()).expect(USAGE),
            "--threads" => threads = arguments.next().and_then(|n| n.parse().ok()).expect(USAGE),
            _ => named.push(argument),
        }
    }
    let number = |i: usize, default: usize| named.get(i).map_or(default, |n| n.parse().expect(USAGE));
    let (items, length) = (number(1, 1), number(2, 12));

    let (graph, is_text) = tower(named.first().map_or("", String::as_str));
    let mut random = Random(7);
    let (texts, pixels) = if is_text {
        (random.texts(&vec![length; items], VOCABULARY), vec![])
    } else {
        (vec![], random.normals(items * 3 * SIDE * SIDE, 1.0))
    };
    let weights = random.weights(&graph);
    let isa = Isa::chosen().unwrap();
    let program = Cpu { threads, precision, isa: Some(isa), packed: None }.load(&graph, &weights).unwrap();
    drop(weights);
    let mut notes = format!(", \"notes\": {{\"isa\": \"{isa:?}\", \"peak\": {:.0}}}", peak(isa, precision) * threads as f64);
    let batch = if is_text { Batch::Ids(&texts) } else { Batch::Images(&pixels) };
    for line in std::io::stdin().lock().lines() {
        line.unwrap();
        let start = Instant::now();
        let rows = program.run(&batch, &["embedding"]).unwrap();
        println!("{{\"items\": {}, \"seconds\": {}{notes}}}", rows[0].lengths.len(), start.elapsed().as_secs_f64());
        notes.clear();
    }
}

/// A graph, and whether it reads texts.
fn tower(name: &str) -> (Graph, bool) {
    match name {
        "vit_b16" => (vit(&VitSizes { side: SIDE, patch: 16, width: 768, layers: 12, heads: 12, out: 512 }), false),
        "vit_l14" => (vit(&VitSizes { side: SIDE, patch: 14, width: 1024, layers: 24, heads: 16, out: 768 }), false),
        "roberta_base" => (roberta(VOCABULARY, 768, 12, 12), true),
        "xlmr_large" => (roberta(VOCABULARY, 1024, 24, 16), true),
        other => panic!("no tower `{other}`: {USAGE}"),
    }
}
