//! The models' real sizes with random numbers, against transformers: too large to commit, made by `tests/golden/full_size.py DIR`.
//!
//! Runs where `HUA_FULL_SIZE_DIR` names that DIR; elsewhere it says so and passes.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "tests, which tell how near they came")]
mod reading;

use std::path::Path;
use std::time::Instant;

use hua_exec::Cpu;
use hua_model::{Model, OpenOptions};
use reading::{Distance, Golden};

/// Norm of the difference by norm of the reference. A full-size tower has 24 layers of f32 rounding.
const TOLERANCE: f64 = 1e-4;

fn check(name: &str, parameters: u64) {
    let Some(folder) = std::env::var_os("HUA_FULL_SIZE_DIR") else {
        println!("not run: HUA_FULL_SIZE_DIR names no folder made by tests/golden/full_size.py");
        return;
    };
    let folder = Path::new(&folder).join(name);
    let start = Instant::now();
    let model = Model::open(&folder, &OpenOptions::default()).unwrap();
    assert_eq!(model.parameter_count(), parameters);
    println!("{name}: opened in {:.1?}", start.elapsed());
    let distances = Golden::open(&folder).compare(&model, &Cpu::default());
    println!("{name}: compared after {:.1?}; {}", start.elapsed(), peak_memory());
    for Distance { tap, relative } in &distances {
        println!("  {relative:.1e} {tap}");
    }
    assert!(distances.iter().all(|d| d.relative <= TOLERANCE), "{distances:?}");
}

/// What the kernel has counted, where it counts.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let lines = status.lines().filter(|line| line.starts_with("VmHWM") || line.starts_with("RssAnon"));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join(", ")
}

#[test]
fn altclip_at_full_size_agrees_with_transformers() {
    check("altclip", 864_186_113);
}

#[test]
fn chinese_clip_at_full_size_agrees_with_transformers() {
    check("chinese-clip", 188_262_913);
}
