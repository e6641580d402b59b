//! How fast the products are: `cargo run --release -p hua-kernels --example products [threads [precision [rows [inner [out]]]]]` prints
//! G(FL)OP/s of the products of ViT-B/16, ViT-L/14 and of a short text, best of several rounds, in % of what registers alone reach in
//! the same run; and for products of few rows GB/s of the weights, beside what reading alone reaches. A 0 stands for all.
use std::time::{Duration, Instant};

use hua_kernels::{AlignedBytes, Cores, Epilogue, Isa, Layout, Packed, Part, Precision, Values, pack, peak, product};

/// Rows, inner, out.
const SHAPES: [(usize, usize, usize); 19] = [
    (1, 768, 3072),
    (1, 3072, 768),
    (12, 768, 768),
    (12, 768, 2304),
    (12, 768, 3072),
    (12, 3072, 768),
    (52, 768, 3072),
    (52, 3072, 768),
    (197, 768, 768),
    (197, 768, 2304),
    (197, 768, 3072),
    (197, 3072, 768),
    (257, 1024, 4096),
    (257, 4096, 1024),
    (1576, 768, 768),
    (1576, 768, 3072),
    (1576, 3072, 768),
    (1576, 1024, 4096),
    (1576, 4096, 1024),
];

#[allow(clippy::print_stdout, reason = "a program whose output is its result")]
fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize| arguments.get(i).and_then(|n| n.parse().ok()).unwrap_or(0usize);
    let cores = Cores::new(number(0).max(1), Isa::chosen().expect("`HUA_ISA` names an instruction set")).expect("the system has threads");
    let only: Option<Precision> = arguments.get(1).and_then(|name| name.parse().ok());
    let reading = reading(&cores);
    println!("{} {} threads, reading {:.1} GB/s", cores.isa().name(), cores.threads(), reading / 1e9);
    for shape in SHAPES {
        let (rows, inner, out) = shape;
        if [(2, rows), (3, inner), (4, out)].into_iter().any(|(i, n)| ![0, n].contains(&number(i))) {
            continue;
        }
        print!("{rows:>5} x {inner:>4} x {out:>4}");
        for precision in Precision::ALL.into_iter().filter(|&p| only.is_none_or(|only| only == p)) {
            let (speed, bytes) = measure(&cores, precision, shape);
            let share = speed / (peak(cores.isa(), precision) * cores.threads() as f64);
            print!("   {precision} {:>6.1} {:>4.1} %", speed / 1e9, 100.0 * share);
            if rows <= 24 {
                print!(" {:>5.1} GB/s", bytes / 1e9);
            }
        }
        println!();
    }
}

/// Operations and bytes of weights a second.
fn measure(cores: &Cores, precision: Precision, (rows, inner, out): (usize, usize, usize)) -> (f64, f64) {
    let x: Vec<f32> = (0..rows * inner).map(|i| (i % 17) as f32 / 17.0).collect();
    let weight: Vec<f32> = (0..out * inner).map(|i| (i % 13) as f32 / 13.0 - 0.5).collect();
    let bias = vec![0.5; out];
    let layout = Layout::new(cores.isa(), precision, out, inner);
    // As many weights as a model has, so that they come from memory.
    let count = (96 << 20) / layout.bytes() + 1;
    let mut weights: Vec<AlignedBytes> = (0..count).map(|_| AlignedBytes::new(layout.bytes())).collect();
    pack(cores, layout, Values::F32(&weight), &mut weights[0]);
    let (first, others) = weights.split_at_mut(1);
    others.iter_mut().for_each(|other| other.copy_from_slice(&first[0]));
    let mut y = vec![0.0; rows * out];
    let mut best = f64::MAX;
    let begin = Instant::now();
    for weight in weights.iter().cycle() {
        let start = clock(cores);
        product(cores, &x, inner, &[Part { weight: Packed::new(layout, weight), bias: Some(&bias) }], Epilogue::default(), &mut y);
        best = best.min(clock(cores) - start);
        if begin.elapsed() > Duration::from_millis(300) {
            break;
        }
    }
    (2.0 * (rows * inner * out) as f64 / best, layout.bytes() as f64 / best)
}

/// Bytes a second that are read from memory when nothing is done with them but a sum.
fn reading(cores: &Cores) -> f64 {
    let mut bytes = AlignedBytes::new(96 << 20);
    bytes.fill(1);
    let piece = 1 << 20;
    let mut best = f64::MAX;
    for _ in 0..5 {
        for range in 0..8 {
            let start = clock(cores);
            cores.each(12, |i| {
                let words = bytes[(range * 12 + i) * piece..][..piece].chunks_exact(64);
                std::hint::black_box(words.fold([0u64; 8], |sums, line| {
                    std::array::from_fn(|j| sums[j] ^ u64::from_ne_bytes(line[8 * j..][..8].try_into().expect("eight bytes")))
                }));
            });
            best = best.min(clock(cores) - start);
        }
    }
    (12 * piece) as f64 / best
}

/// Seconds: of one thread those that it ran, so that other programs take no part of them; of several those on the wall.
fn clock(cores: &Cores) -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let clock = if cores.threads() == 1 { libc::CLOCK_THREAD_CPUTIME_ID } else { libc::CLOCK_MONOTONIC };
    // SAFETY: `time` is there to be written.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
