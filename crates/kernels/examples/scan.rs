//! How long a scan takes, and how many of the best rows it finds: `cargo run --release -p hua-kernels --example scan [rows [width [threads]]]`.
//!
//! Rows are made, clustered and not uniform: a common direction, clusters of very different sizes about it, and noise that is wide in a few
//! dimensions and narrow in most, as embeddings have it. Half of the queries are rows with noise, the others are about another common
//! direction, as texts are to pictures. Recall is against exact products of the rows in f32 as they were made.
//!
//! Of 300,000 rows of 512, ten wanted: 10 candidates have a recall of 0.946 (rows with noise) and 0.978 (the others), 12 of 0.997 and 1.000,
//! 15 of 0.999 and 1.000, and more change nothing: what is left is rows that are equal in f16. To ask for the next rows line by line while
//! these are multiplied, rather than for all lines of these before, takes 23 ms where the scan takes 16.
use std::time::Instant;

use hua_kernels::scan::{Best, ScanQuery, ScanRows, dot_f16, dot_f32, quantise_row, scan_segments, stride, to_f16_row};
use hua_kernels::{Cores, Isa};

const CLUSTERS: usize = 2000;
const QUERIES: usize = 200;
const K: usize = 10;
/// Rows of a segment.
const SEGMENT: usize = 1 << 18;

#[allow(clippy::print_stdout, reason = "a program whose output is its result")]
fn main() {
    let number = |i, or| std::env::args().nth(i).and_then(|n| n.parse().ok()).unwrap_or(or);
    let (count, width, threads): (usize, usize, usize) = (number(1, 1_000_000), number(2, 512), number(3, 2));
    let cores = Cores::new(threads, Isa::chosen().expect("`HUA_ISA` names an instruction set")).expect("the system has threads");
    let isa = cores.isa();
    let made = Made::new(width);
    let queries: Vec<Vec<f32>> = (0..QUERIES).map(|i| made.query(i)).collect();
    let stride = stride(width);
    let (mut rows, mut scales, mut stored) = (vec![0; count * stride], vec![0.0; count], vec![0; count * width]);
    let mut exact = vec![Best::new(K); QUERIES];
    for i in 0..count {
        let x = made.row(i);
        scales[i] = quantise_row(&x, &mut rows[i * stride..][..stride]);
        to_f16_row(isa, &x, &mut stored[i * width..][..width]);
        for (query, best) in queries.iter().zip(&mut exact) {
            best.offer(dot_f32(isa, query, &x), i as u32);
        }
    }
    let exact: Vec<Vec<u32>> = exact.into_iter().map(rows_of).collect();
    let all = ScanRows { rows: &rows, scales: &scales, stride, first: 0, dead: &[] };
    let segments: Vec<ScanRows<'_>> = (0..count).step_by(SEGMENT).map(|i| all.part(i..count.min(i + SEGMENT))).collect();
    let scan_queries: Vec<ScanQuery> = queries.iter().map(|query| ScanQuery::new(query)).collect();
    println!("{count} rows of {width}, {threads} threads, {}", isa.name());
    for k in [10, 12, 15, 20, 30, 50, 100] {
        let mut recalls = [0; 2];
        for (i, exact) in exact.iter().enumerate() {
            let best = scan_segments(&cores, &scan_queries[i..=i], &segments, None, k).remove(0);
            let mut ranked = Best::new(K);
            for row in rows_of(best) {
                ranked.offer(dot_f16(isa, &queries[i], &stored[row as usize * width..][..width]), row);
            }
            recalls[i % 2] += rows_of(ranked).iter().filter(|row| exact.contains(row)).count();
        }
        let [rows, texts] = recalls.map(|found| found as f64 / (QUERIES / 2 * K.min(count)) as f64);
        println!("{k:>4} candidates: recall at {K} {rows:.4} of rows with noise, {texts:.4} of others");
    }
    let picked: Vec<u32> = (0..count as u32).filter(|row| row.wrapping_mul(0x9e37_79b9) < u32::MAX / 100).collect();
    for (together, picked) in [(1, None), (2, None), (4, None), (8, None), (1, Some(&picked[..])), (8, Some(&picked[..]))] {
        let mut times: Vec<f64> = (0..40)
            .map(|i| {
                let start = Instant::now();
                scan_segments(&cores, &scan_queries[i..i + together], &segments, picked, 100);
                start.elapsed().as_secs_f64()
            })
            .collect();
        times.sort_by(f64::total_cmp);
        let bytes = picked.map_or(count, <[u32]>::len) * stride;
        let some = if picked.is_some() { "1 % of the rows" } else { "all rows" };
        println!(
            "{together} at once, {some}: p50 {:.2} ms, least {:.2} ms, {:.1} GB/s",
            times[20] * 1e3,
            times[0] * 1e3,
            bytes as f64 / times[20] / 1e9
        );
    }
    let start = Instant::now();
    let sum: f32 = picked.iter().map(|&row| dot_f16(isa, &queries[0], &stored[row as usize * width..][..width])).sum();
    println!("a candidate in f16: {:.0} ns ({sum:.0})", start.elapsed().as_secs_f64() * 1e9 / picked.len() as f64);
}

fn rows_of(best: Best) -> Vec<u32> {
    best.into_sorted().into_iter().map(|(_, row)| row).collect()
}

/// What rows and queries are made of.
struct Made {
    centres: Vec<Vec<f32>>,
    common: [Vec<f32>; 2],
    width: usize,
}

impl Made {
    fn new(width: usize) -> Self {
        let noise = |seed: u64| Random(seed).noise(width);
        let centres = (0..CLUSTERS as u64).map(|i| noise(1000 + i)).collect();
        Self { centres, common: [noise(1), noise(2)], width }
    }

    /// Row `i`, of length 1.
    fn row(&self, i: usize) -> Vec<f32> {
        let mut random = Random(1 << 40 | i as u64);
        let of = random.unit();
        let centre = &self.centres[(of * of * CLUSTERS as f32) as usize % CLUSTERS];
        let noise = random.noise(self.width);
        unit((0..self.width).map(|j| self.common[0][j] + 0.7 * centre[j] + 0.5 * noise[j]).collect())
    }

    /// Query `i`, of length 1.
    fn query(&self, i: usize) -> Vec<f32> {
        let mut random = Random(1 << 50 | i as u64);
        let noise = random.noise(self.width);
        if i.is_multiple_of(2) {
            let row = self.row((random.unit() * 1e5) as usize);
            return unit(row.iter().zip(noise).map(|(row, noise)| row + 0.2 * noise).collect());
        }
        let centre = &self.centres[i * 13 % CLUSTERS];
        unit((0..self.width).map(|j| self.common[1][j] + 0.4 * centre[j] + 0.4 * noise[j]).collect())
    }
}

fn unit(mut x: Vec<f32>) -> Vec<f32> {
    let length = x.iter().map(|x| x * x).sum::<f32>().sqrt();
    x.iter_mut().for_each(|x| *x /= length);
    x
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    /// From 0 to 1.
    fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 24) as f32
    }

    /// About a length of 1, widest in the first dimensions: each number a sum of four even ones, nearly normal.
    fn noise(&mut self, width: usize) -> Vec<f32> {
        let mut x: Vec<f32> = (0..width)
            .map(|i| {
                let bits = self.bits();
                let sum: f32 = [0, 16, 32, 48].map(|shift| (bits >> shift & 0xffff) as f32).iter().sum();
                (sum / 65536.0 - 2.0) / (1.0 + i as f32 / 16.0).sqrt()
            })
            .collect();
        let length = x.iter().map(|x| x * x).sum::<f32>().sqrt();
        x.iter_mut().for_each(|x| *x /= length);
        x
    }
}
