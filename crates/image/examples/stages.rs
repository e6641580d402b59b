//! Milliseconds that each step from a picture file to a model's input takes, on one thread: `stages FILE...`.
//!
//! The least of nine runs: other work on the machine only ever adds.

#![allow(clippy::print_stdout, reason = "a table is what it is for")]

use std::time::Instant;

use hua_image::{DecodeOptions, Picture, Preprocess};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("{:>12} {:>8} {:>10} {:>10}  file", "pixels", "decode", "resize", "normalise");
    let preprocess = Preprocess::chinese_clip(224);
    for path in std::env::args().skip(1) {
        let bytes = std::fs::read(&path)?;
        let picture = Picture::decode(&bytes, &DecodeOptions::default())?;
        let small = preprocess.resized(&picture);
        let decode = least_ms(|| Picture::decode(&bytes, &DecodeOptions::default()).map(|picture| picture.width()));
        let resize = least_ms(|| preprocess.resized(&picture));
        let normalise = least_ms(|| preprocess.apply(&small));
        println!("{:>7}×{:<4} {decode:>8.2} {resize:>10.2} {normalise:>10.3}  {path}", picture.width(), picture.height());
    }
    Ok(())
}

fn least_ms<T>(work: impl Fn() -> T) -> f64 {
    let once = || {
        let start = Instant::now();
        std::hint::black_box(work());
        start.elapsed().as_secs_f64() * 1e3
    };
    (0..9).map(|_| once()).fold(f64::INFINITY, f64::min)
}
