//! A library of made vectors, and queries to it: what the benchmark against other programs runs.
//!
//! `million build DIR --count N --width 512 --seed S` makes it, `million add DIR --count 100 --seed S` adds to it, and `million query DIR
//! --queries Q --threads T --k 10 [--where SQL | --tag TAG] [--vectors FILE.f32]` asks. `million vectors FILE --count N --width 512 --seed S` writes
//! vectors as plain f32, for other programs; `build` takes them with `--vectors FILE`. Each prints one line of JSON, times in
//! milliseconds.
//!
//! Vectors are clustered, as pictures are: a thousand centers, and noise about them. Queries are made likewise, about
//! centers of the same seed. Items have what photographs have: a folder, a time, a camera, a caption for every fifth.
#![expect(clippy::print_stdout, reason = "it is what it is for")]
use std::error::Error;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use hua_index::{Caption, Facts, Filter, NewItem, Reader, SpaceSpec, StoredType, Tag, Writer};
use hua_kernels::{Cores, Isa};
use serde_json::json;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Centers of clusters: the same however many vectors are made of them.
const CENTERS: usize = 1000;
/// Items between two commits.
const BATCH: usize = 20_000;

fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let usage = "million build|add|query|vectors PATH [--count N] [--width N] [--seed N] [--queries N] [--threads N] [--k N] [--where SQL | --tag TAG] [--vectors FILE] [--dtype f16|f32]";
    let (command, path) = (arguments.next().ok_or(usage)?, arguments.next().ok_or(usage)?);
    let mut options = Options::default();
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or(usage)?;
        match name.as_str() {
            "--count" => options.count = value.parse()?,
            "--width" => options.width = value.parse()?,
            "--seed" => options.seed = value.parse()?,
            "--queries" => options.queries = value.parse()?,
            "--threads" => options.threads = value.parse()?,
            "--k" => options.k = value.parse()?,
            "--where" => options.filter = Filter::all().and_where(value),
            "--tag" => options.filter = Filter::all().and_tag(value),
            "--vectors" => options.vectors = Some(value),
            "--dtype" if value == "f32" => options.dtype = StoredType::F32,
            "--dtype" if value == "f16" => options.dtype = StoredType::F16,
            _ => return Err(usage.into()),
        }
    }
    let path = Path::new(&path);
    match command.as_str() {
        "build" => build(path, &options),
        "add" => add(path, &options),
        "query" => query(path, &options),
        "vectors" => vectors(path, &options),
        _ => Err(usage.into()),
    }
}

struct Options {
    count: usize,
    width: usize,
    seed: u64,
    queries: usize,
    threads: usize,
    k: usize,
    filter: Filter,
    vectors: Option<String>,
    dtype: StoredType,
}

impl Default for Options {
    fn default() -> Self {
        let (filter, vectors, dtype) = (Filter::all(), None, StoredType::F16);
        Self { count: 1_000_000, width: 512, seed: 1, queries: 100, threads: 2, k: 10, filter, vectors, dtype }
    }
}

fn build(path: &Path, options: &Options) -> Outcome {
    let start = Instant::now();
    let spec = SpaceSpec {
        name: "made".into(),
        fingerprint: "made".into(),
        preprocessing: String::new(),
        width: options.width,
        dtype: options.dtype,
    };
    let mut writer = Writer::create(path, &spec)?;
    let made = fill(&mut writer, options, 0)?;
    drop(writer);
    let all = start.elapsed().as_secs_f64();
    println!("{}", json!({ "items": options.count, "seconds": all, "seconds_without_making_vectors": all - made, "bytes": size(path)? }));
    Ok(())
}

fn add(path: &Path, options: &Options) -> Outcome {
    let mut writer = Writer::open(path)?;
    let width = writer.spaces()?[0].spec.width;
    let before = Reader::open(path)?.stats()?.items;
    let start = Instant::now();
    let made = fill(&mut writer, &Options { width, filter: Filter::all(), vectors: options.vectors.clone(), ..*options }, before as usize)?;
    let all = start.elapsed().as_secs_f64();
    println!("{}", json!({ "items": options.count, "write_and_commit_ms": (all - made) * 1e3 }));
    Ok(())
}

/// Writes items and their vectors; the seconds that making vectors took.
fn fill(writer: &mut Writer, options: &Options, before: usize) -> Outcome<f64> {
    let space = writer.spaces()?[0].id;
    let file = options.vectors.as_ref().map(|path| read(path)).transpose()?;
    let mut made = Made::new(options, before as u64);
    let mut seconds = 0.0;
    for i in 0..options.count {
        let start = Instant::now();
        let vector = match &file {
            Some(all) => all.get(i * options.width..(i + 1) * options.width).ok_or("the file has fewer vectors")?.to_vec(),
            None => made.vector(),
        };
        seconds += start.elapsed().as_secs_f64();
        let id = writer.upsert(&item(before + i))?;
        writer.set_vector(space, id, &vector)?;
        if i % BATCH == BATCH - 1 {
            writer.commit()?;
        }
    }
    writer.commit()?;
    Ok(seconds)
}

/// The `i`th item.
fn item(i: usize) -> NewItem {
    let mut hash = [0; 32];
    let mut random = Random(i as u64 ^ 0x5eed);
    hash.chunks_mut(8).for_each(|bytes| bytes.copy_from_slice(&random.next().to_le_bytes()));
    let (year, month, day) = (2005 + i / 50_000 % 20, i / 4_000 % 12 + 1, i / 150 % 28 + 1);
    let caption = |i: usize| Caption { language: Some("en".into()), text: format!("a picture of thing {} by the sea", i % 5000) };
    NewItem {
        path: format!("/photos/{year}/{month:02}-{day:02}/IMG_{i:07}.jpg"),
        bytes: 2_000_000 + random.next() % 1_000_000,
        modified: Some(1_600_000_000_000_000_000 + i as i64),
        hash: Some(hash),
        facts: Facts {
            width: Some(4000),
            height: Some(3000),
            format: Some("jpeg".into()),
            taken: Some(format!("{year}-{month:02}-{day:02}T12:{:02}:{:02}", i / 60 % 60, i % 60)),
            camera: Some(format!("camera {}", i % 100)),
            ..Facts::default()
        },
        captions: if i.is_multiple_of(5) { vec![caption(i)] } else { vec![] },
        tags: if i.is_multiple_of(100) { vec![Tag::new("hundredth")] } else { vec![] },
        meta: None,
    }
}

fn query(path: &Path, options: &Options) -> Outcome {
    let start = Instant::now();
    let reader = Reader::open(path)?;
    let cores = Cores::new(options.threads, Isa::best())?;
    let space = reader.space(None).ok_or("the library has no space")?.clone();
    let opened = ms(start);
    let width = space.spec.width;
    let queries = match &options.vectors {
        Some(path) => read(path)?,
        None => {
            let mut made = Made::new(&Options { width, filter: Filter::all(), vectors: None, ..*options }, u64::MAX / 2);
            (0..options.queries).flat_map(|_| made.vector()).collect()
        }
    };
    let mut times = vec![];
    let mut answers = vec![];
    for query in queries.chunks_exact(width).take(options.queries.max(1)) {
        let start = Instant::now();
        let hits = reader.search(&cores, space.id, &[query], &options.filter, options.k)?.remove(0);
        times.push(ms(start));
        // Items are numbered from 1 in the order of rows.
        answers.push(hits.iter().map(|hit| hit.item.0 - 1).collect::<Vec<_>>());
    }
    let first = *times.first().ok_or("no query")?;
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times[((times.len() - 1) as f64 * part).round() as usize];
    println!(
        "{}",
        json!({
            "open_ms": opened,
            "first_ms": first,
            "p50_ms": at(0.5),
            "p99_ms": at(0.99),
            "queries": times.len(),
            "threads": cores.threads(),
            "resident_bytes": resident(),
            "rows": answers,
        })
    );
    Ok(())
}

fn vectors(path: &Path, options: &Options) -> Outcome {
    let mut made = Made::new(options, 0);
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    for _ in 0..options.count {
        made.vector().iter().try_for_each(|x| file.write_all(&x.to_le_bytes()))?;
    }
    file.flush()?;
    println!("{}", json!({ "vectors": options.count, "width": options.width }));
    Ok(())
}

fn read(path: &str) -> Outcome<Vec<f32>> {
    let bytes = std::fs::read(path)?;
    Ok(bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect())
}

fn ms(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

/// Bytes of all files of a folder.
fn size(path: &Path) -> Outcome<serde_json::Value> {
    let (mut vectors, mut catalogue) = (0, 0);
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            vectors += size(&entry.path())?["catalogue"].as_u64().unwrap_or(0) + size(&entry.path())?["vectors"].as_u64().unwrap_or(0);
        } else {
            catalogue += entry.metadata()?.len();
        }
    }
    Ok(json!({ "vectors": vectors, "catalogue": catalogue }))
}

/// Resident memory of this process at its greatest, where the system tells it.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Vectors about centers.
struct Made {
    centers: Vec<f32>,
    width: usize,
    random: Random,
}

impl Made {
    /// Centers of a seed; the vectors are others for another `stream`.
    fn new(options: &Options, stream: u64) -> Self {
        let mut random = Random(options.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let centers = (0..CENTERS * options.width).map(|_| random.normal()).collect();
        Self { centers, width: options.width, random: Random(options.seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95)) }
    }

    fn vector(&mut self) -> Vec<f32> {
        let centers = self.centers.len() / self.width;
        let center = (self.random.next() % centers as u64) as usize * self.width;
        let mut vector: Vec<f32> = self.centers[center..center + self.width].iter().map(|x| x + 0.7 * self.random.normal()).collect();
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        vector.iter_mut().for_each(|x| *x /= length);
        vector
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Nearly normal: four of sixteen bits each, added.
    fn normal(&mut self) -> f32 {
        let bits = self.next();
        let sum: u32 = (0..4).map(|i| (bits >> (16 * i)) as u32 & 0xffff).sum();
        (sum as f32 - 2.0 * 65_535.0) / 37_837.0
    }
}
