//! The hot kernels on numbers that never change, to count or to time them: `cargo xtask counts` runs this under callgrind, which counts
//! the instructions of each call of `hua_counted`; `cargo xtask counts --timed` runs it with `--timed`. An argument that is a number
//! leaves out so many kernels.
//!
//! Timed, each line is a ratio: how many times a simple frozen kernel's time the kernel's is less, both taken in turn, the least of
//! each. What the machine does besides, and how fast it is, then hardly matters.
use std::hint::black_box;
use std::time::{Duration, Instant};

use hua_kernels::scan::{Best, ScanQuery, ScanRows, dot_f16, quantise_row, scan, scan_picked, to_f16_row};
use hua_kernels::{
    Activation, AlignedBytes, Attention, Cores, Epilogue, Heads, HeadsGradient, Isa, LayerNormGradients, Layout, Packed, Part,
    PartGradient, Precision, Span, Values, activate, activate_backward, attention, attention_backward, l2_normalize, layer_norm,
    layer_norm_backward, pack, product, weight_gradients,
};

/// A name, and what to run.
type Counted<'a> = (String, Box<dyn FnMut() + 'a>);

#[allow(clippy::print_stdout, reason = "a program whose output is its result")]
fn main() {
    let cores = Cores::new(1, Isa::chosen().expect("`HUA_ISA` names an instruction set")).expect("the system has threads");
    let argument = std::env::args().nth(1).unwrap_or_default();
    let timed = argument == "--timed";
    if timed {
        println!("{}", cores.isa().name());
    }
    for (name, mut kernel) in kernels(&cores).into_iter().skip(argument.parse().unwrap_or(0)) {
        if !timed {
            println!("{name}");
        }
        // Once before, so that memory is there and the machine was asked what it has.
        kernel();
        if timed {
            println!("{name}\t{:.3}", ratio(&mut kernel));
        } else {
            hua_counted(&mut kernel);
        }
    }
}

/// What callgrind counts, by this name.
// SAFETY: no other symbol has the name.
#[unsafe(no_mangle)]
#[inline(never)]
fn hua_counted(kernel: &mut dyn FnMut()) {
    kernel();
    // Something after the call, so that it is no jump.
    black_box(());
}

fn kernels(cores: &Cores) -> Vec<Counted<'_>> {
    let plain = Isa::named("scalar").expect("every machine has plain Rust");
    let plain = Cores::new(1, plain).expect("the system has threads");
    let mut kernels: Vec<Counted<'_>> = vec![];
    for precision in Precision::ALL {
        // A few cuts, a last panel that is not full; a text's only row; rows that are hardly used once they are prepared.
        for (rows, inner, out) in [(50, 392, 101), (1, 768, 256), (64, 768, 16)] {
            let (x, weight) = (numbers(rows * inner), numbers(out * inner));
            let layout = Layout::new(cores.isa(), precision, out, inner);
            let mut packed = AlignedBytes::new(layout.bytes());
            // By plain Rust if panels are as wide, since Debian 12's valgrind lacks an instruction of the packing; bytes are the same.
            let packer = if Layout::new(plain.isa(), precision, out, inner) == layout { &plain } else { cores };
            pack(packer, layout, Values::F32(&weight), &mut packed);
            let mut y = vec![0.0; rows * out];
            kernels.push((
                format!("{precision} product {rows} x {inner} x {out}"),
                Box::new(move || {
                    let weight = Packed::new(layout, &packed);
                    product(cores, &x, inner, &[Part { weight, bias: None }], Epilogue::default(), &mut y);
                }),
            ));
        }
    }
    for (causal, tokens) in [(false, 197), (true, 52)] {
        let (heads, size) = (2, 64);
        let stride = 3 * heads * size;
        let qkv = numbers(tokens * stride);
        let mut out = vec![0.0; tokens * heads * size];
        let spans = [Span { queries: 0..tokens, keys: 0..tokens, position: 0 }];
        let name = format!("attention {tokens} x {heads} x {size}{}", if causal { ", causal" } else { "" });
        let run = move || {
            let [q, k, v] = [0, 1, 2].map(|i| Heads { data: &qkv, stride, offset: i * heads * size });
            attention(cores, Attention { q, k, v, heads, size, causal, spans: &spans }, &mut out);
        };
        kernels.push((name, Box::new(run)));
    }
    let (rows, width) = (64, 768);
    let (x, weight, bias) = (numbers(rows * width), numbers(width), numbers(width));
    let mut y = x.clone();
    kernels.push((format!("layer norm {rows} x {width}"), Box::new(move || layer_norm(cores, &x, &weight, &bias, 1e-5, &mut y))));
    for (name, act) in [("gelu", Activation::Gelu), ("quick gelu", Activation::QuickGelu)] {
        let (x, mut y) = (numbers(rows * width), vec![0.0; rows * width]);
        let run = move || {
            y.copy_from_slice(&x);
            activate(cores.isa(), act, &mut y);
        };
        kernels.push((format!("{name} {rows} x {width}"), Box::new(run)));
    }
    let mut rows = numbers(64 * 512);
    kernels.push(("lengths 64 x 512".to_owned(), Box::new(move || l2_normalize(cores.isa(), &mut rows, 512))));
    kernels.extend(searches(cores));
    kernels.extend(gradients(cores));
    kernels
}

/// What training does besides.
fn gradients(cores: &Cores) -> Vec<Counted<'_>> {
    let (rows, inner, out) = (300, 101, 100);
    let (dy, x, mut weight, mut bias) = (numbers(rows * out), numbers(rows * inner), vec![0.0; out * inner], vec![0.0; out]);
    let weights = move || {
        let part = PartGradient { out, weight: Some(&mut weight), bias: Some(&mut bias) };
        weight_gradients(cores, Precision::F32, &dy, &x, inner, &mut [part]);
    };
    let (tokens, heads, size) = (65, 2, 64);
    let stride = 3 * heads * size;
    let (qkv, d_out, mut d) = (numbers(tokens * stride), numbers(tokens * heads * size), vec![0.0; tokens * stride]);
    let spans = [Span { queries: 0..tokens, keys: 0..tokens, position: 0 }];
    let attention = move || {
        let [q, k, v] = [0, 1, 2].map(|i| Heads { data: &qkv, stride, offset: i * heads * size });
        let to = [0, 1, 2].map(|i| HeadsGradient { buffer: 0, stride, offset: i * heads * size });
        attention_backward(cores, Attention { q, k, v, heads, size, causal: false, spans: &spans }, &d_out, &mut [&mut d], to);
    };
    let width = 768;
    let (x, dy, gain, mut dx) = (numbers(64 * width), numbers(64 * width), numbers(width), vec![0.0; 64 * width]);
    let mut sums = [vec![0.0; width], vec![0.0; width]];
    let norm = move || {
        let [weight, bias] = &mut sums;
        let to = LayerNormGradients { x: Some(&mut dx), add: true, weight: Some(weight), bias: Some(bias) };
        layer_norm_backward(cores, &x, &gain, 1e-5, &dy, to);
    };
    let (given, mut x, mut d) = (numbers(64 * width), vec![0.0; 64 * width], vec![1.0; 64 * width]);
    let gelu = move || {
        x.copy_from_slice(&given);
        activate_backward(cores.isa(), Activation::Gelu, &mut x, &mut d);
    };
    vec![
        (format!("gradients of weights {rows} x {inner} x {out}"), Box::new(weights)),
        (format!("attention backward {tokens} x {heads} x {size}"), Box::new(attention)),
        (format!("layer norm backward 64 x {width}"), Box::new(norm)),
        (format!("gelu backward 64 x {width}"), Box::new(gelu)),
    ]
}

/// Scans of a few rows, by one query and by more, and what ranks their candidates.
fn searches(cores: &Cores) -> Vec<Counted<'_>> {
    let (isa, rows, width) = (cores.isa(), 1000, 512);
    let x = numbers(rows * width);
    let mut bytes = vec![0; rows * width];
    let scales: Vec<f32> = x.chunks(width).zip(bytes.chunks_mut(width)).map(|(x, to)| quantise_row(x, to)).collect();
    let picked: Vec<u32> = (0..rows as u32).step_by(3).collect();
    let of = move |count: usize, picked: Option<&[u32]>| {
        let queries: Vec<ScanQuery> = x.chunks(width).step_by(7).take(count).map(ScanQuery::new).collect();
        let rows = ScanRows { rows: &bytes, scales: &scales, stride: width, first: 0, dead: &[] };
        let mut best = vec![Best::new(40); count];
        match picked {
            Some(picked) => scan_picked(isa, &queries, &rows, picked, &mut best),
            None => scan(isa, &queries, &rows, &mut best),
        }
        black_box(best);
    };
    let (one, five) = (of.clone(), of.clone());
    let (row, query) = (numbers(width), numbers(width));
    let mut halves = vec![0; width];
    let mut stored = halves.clone();
    to_f16_row(isa, &row, &mut stored);
    vec![
        (format!("scan {rows} x {width}"), Box::new(move || one(1, None))),
        (format!("scan {rows} x {width}, 5 queries"), Box::new(move || five(5, None))),
        (format!("scan 334 of {rows} x {width}"), Box::new(move || of(1, Some(&picked)))),
        (format!("f16 of {width}"), Box::new(move || to_f16_row(isa, &row, &mut halves))),
        (
            format!("f16 product of {width}"),
            Box::new(move || {
                black_box(dot_f16(isa, &query, &stored));
            }),
        ),
    ]
}

/// So many numbers between -2 and 2, always the same.
fn numbers(count: usize) -> Vec<f32> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 22) as f32 - 2.0
    };
    (0..count).map(|_| next()).collect()
}

/// The frozen kernel's time over that of `kernel`.
fn ratio(kernel: &mut dyn FnMut()) -> f64 {
    let (x, w, mut y) = (numbers(8 * 256), numbers(256 * 64), vec![0.0; 8 * 64]);
    let mut run = || frozen(black_box(&x), black_box(&w), black_box(&mut y));
    let (mut least, mut least_frozen) = (f64::MAX, f64::MAX);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(400) {
        least_frozen = least_frozen.min(seconds(&mut run));
        least = least.min(seconds(kernel));
    }
    least_frozen / least
}

fn seconds(run: &mut dyn FnMut()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_secs_f64()
}

/// `y = x w`, with x `[8, 256]` and w `[256, 64]`: what kernels are timed against. It is compiled for AVX-512 where the machine has it,
/// and must never change.
fn frozen(x: &[f32], w: &[f32], y: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx2,fma")]
        fn wide(x: &[f32], w: &[f32], y: &mut [f32]) {
            plain(x, w, y);
        }
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the machine has the features.
            return unsafe { wide(x, w, y) };
        }
    }
    plain(x, w, y);
}

#[inline(always)]
fn plain(x: &[f32], w: &[f32], y: &mut [f32]) {
    for (x, y) in x.chunks_exact(256).zip(y.chunks_exact_mut(64)) {
        let mut sums = [0f32; 64];
        for (x, w) in x.iter().zip(w.as_chunks::<64>().0) {
            for (sum, w) in sums.iter_mut().zip(w) {
                *sum += x * w;
            }
        }
        y.copy_from_slice(&sums);
    }
}
