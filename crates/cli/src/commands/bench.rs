//! `hua bench`: how fast a model is on this machine, how much memory it takes, and how soon it answers.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, ValueEnum};
use hua::Progress;
use hua::bench::{self, Cell, Shape, Tower};
use hua::exec::Precision;
use serde::{Deserialize, Serialize};

use crate::complaint::Complaint;
use crate::session::Session;
use crate::settings::Settings;
use crate::table::{Align, Table};

/// Measure how fast a model is on this machine
///
/// Each tower with random input: pictures or texts in a second, how long a batch takes, and how much of what the machine's cores can do
/// at most that is (operations that the embedding needs, against a loop in registers). Then, in fresh processes, how soon a first answer
/// is there and how much memory that took. What else runs on the machine counts: look at `p50` and `least` together.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua bench
  hua bench --model OFA-Sys/chinese-clip-vit-base-patch16 --tower image --batch 1,8,32 --thread-counts 1,2
  hua bench --precisions f32,int8 --length 12 --json > bench.json")]
pub struct Arguments {
    /// Which towers
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["image", "text"])]
    tower: Vec<Which>,
    /// Precisions
    #[arg(long, value_delimiter = ',', value_name = "LIST", default_values = ["f32", "bf16", "int8"])]
    precisions: Vec<Precision>,
    /// Items of a batch
    #[arg(long, value_delimiter = ',', value_name = "LIST", default_values_t = [1, 8, 32])]
    batch: Vec<usize>,
    /// Tokens of a text, special ones included; at most what the model reads
    #[arg(long, value_delimiter = ',', value_name = "LIST", default_values_t = [12, 52])]
    length: Vec<usize>,
    /// Numbers of threads [default: what `--threads` says]
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    thread_counts: Vec<usize>,
    /// Seconds for each measurement, about
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    seconds: f64,
    /// One JSON object: {"isa", "cells": […], "cold": […]}
    #[arg(long)]
    json: bool,
    /// Answer once and say how much memory that took: what the fresh processes do
    #[arg(long, hide = true)]
    once: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Which {
    Image,
    Text,
}

/// A first answer of a fresh process.
#[derive(Deserialize, Serialize)]
struct Cold {
    precision: String,
    /// From the start of the process to its first text embedding.
    seconds: f64,
    /// Most memory that was resident, mapped files included; none where the system does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_mb: Option<f64>,
}

#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    isa: &'a str,
    cells: &'a [Cell],
    cold: &'a [Cold],
}

pub fn run(arguments: Arguments, session: &Session) -> anyhow::Result<()> {
    let embedder = session.embedder()?;
    if arguments.once {
        embedder.embed_texts(&["彩虹"])?;
        let memory = peak_memory().map_or(-1.0, |bytes| bytes as f64 / 1e6);
        return Ok(session.printer.data(memory)?);
    }
    let longest = embedder.spec().context_length;
    if let Some(length) = arguments.length.iter().find(|&&length| length < 3 || length > longest) {
        return Err(Complaint::caller(format!("`--length` is {length}, the model reads 3 to {longest} tokens")).into());
    }
    let threads = match &arguments.thread_counts[..] {
        [] if session.settings.threads == 0 => vec![std::thread::available_parallelism().map_or(1, Into::into)],
        [] => vec![session.settings.threads],
        counts => counts.to_vec(),
    };
    if arguments.batch.contains(&0) || threads.iter().any(|count| !(1..=hua::MOST_THREADS).contains(count)) {
        return Err(Complaint::caller(format!("a batch is at least 1, a number of threads 1 to {}", hua::MOST_THREADS)).into());
    }
    let time = Duration::try_from_secs_f64(arguments.seconds)
        .map_err(|_| Complaint::caller(format!("`--seconds` is {}, not a time", arguments.seconds)))?;
    let shapes = shapes(&arguments, &threads);
    let bar = session.bar();
    bar.start("measuring", shapes.len() as u64);
    let mut cells = Vec::new();
    bench::run(&embedder, &shapes, time, |cell| {
        bar.advance(1);
        cells.push(cell);
    })?;
    drop(bar);
    drop(embedder);
    let cold = arguments.precisions.iter().map(|&precision| cold(precision, &session.settings)).collect::<Result<Vec<_>, _>>()?;
    let name = session.settings.model.as_deref().unwrap_or(hua::EMBEDDED_MODEL);
    if arguments.json {
        return session.printer.json_pretty(&Report { model: name, isa: bench::isa()?, cells: &cells, cold: &cold });
    }
    session.printer.heading(&format!("{name}, {}", bench::isa()?))?;
    session.printer.data(speeds(&cells))?;
    session.printer.data("")?;
    Ok(session.printer.data(starts(&cold))?)
}

fn shapes(arguments: &Arguments, threads: &[usize]) -> Vec<Shape> {
    let mut shapes = Vec::new();
    for which in &arguments.tower {
        let (tower, lengths) = match which {
            Which::Image => (Tower::Image, &[0][..]),
            Which::Text => (Tower::Text, &arguments.length[..]),
        };
        for &precision in &arguments.precisions {
            for &threads in threads {
                for &tokens in lengths {
                    shapes.extend(arguments.batch.iter().map(|&batch| Shape { tower, precision, threads, batch, tokens }));
                }
            }
        }
    }
    shapes
}

fn speeds(cells: &[Cell]) -> Table {
    let right = |title| (title, Align::Right);
    let mut table = Table::titled(&[
        ("tower", Align::Left),
        ("precision", Align::Left),
        right("threads"),
        right("batch"),
        right("items/s"),
        right("least ms"),
        right("p50"),
        right("p90"),
        right("p99"),
        right("GFLOP/s"),
        right("% of peak"),
    ]);
    for cell in cells {
        let tower = match cell.tokens {
            Some(tokens) => format!("text, {tokens} tokens"),
            None => "image".to_owned(),
        };
        let time = |ms: f64| format!("{ms:.*}", if ms < 10.0 { 2 } else { 1 });
        let latency = &cell.latency_ms;
        table.row([
            tower,
            cell.precision.to_owned(),
            cell.threads.to_string(),
            cell.batch.to_string(),
            format!("{:.1}", cell.items_per_second),
            time(latency.least),
            time(latency.p50),
            time(latency.p90),
            time(latency.p99),
            format!("{:.1}", cell.gflops),
            format!("{:.0}", cell.percent_of_peak),
        ]);
    }
    table
}

fn starts(cold: &[Cold]) -> Table {
    let mut table = Table::titled(&[("precision", Align::Left), ("first text after, s", Align::Right), ("peak memory, MB", Align::Right)]);
    for Cold { precision, seconds, peak_mb } in cold {
        let memory = peak_mb.map_or("unknown".to_owned(), |mb| format!("{mb:.0}"));
        table.row([precision.clone(), format!("{seconds:.3}"), memory]);
    }
    table
}

/// Starts this program anew with the same options, twice, so that the second finds its files in the system's memory.
fn cold(precision: Precision, settings: &Settings) -> anyhow::Result<Cold> {
    let program = std::env::current_exe().context("cannot find this program to start it anew")?;
    let mut last = None;
    for _ in 0..2 {
        let mut command = Command::new(&program);
        command.args(["bench", "--once", "--quiet", "--precision", precision.name()]).args(settings.model_flags());
        let start = Instant::now();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start this program anew")?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let seconds = start.elapsed().as_secs_f64();
        let status = child.wait()?;
        anyhow::ensure!(status.success(), "a fresh process of this program failed ({status})");
        let peak_mb = line.trim().parse::<f64>().ok().filter(|mb| *mb >= 0.0);
        last = Some(Cold { precision: precision.name().to_owned(), seconds, peak_mb });
    }
    last.context("no process was started")
}

/// Bytes that were resident at most, as Linux tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
