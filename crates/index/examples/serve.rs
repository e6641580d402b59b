//! hua's side of `bench/search`: searches a library that the example `million` made, as it is asked.
//!
//! `serve LIBRARY QUERIES.f32 THREADS` reads lines such as `{"queries": [3], "picked": false, "k": 10}`, which name queries of the file by
//! their numbers, and answers each with `{"seconds": 0.02, "rows": [[17, 4, ...]]}`. What is picked is what has the tag of every hundredth.
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

use hua_index::{Filter, Reader};
use hua_kernels::{Cores, Isa, MappedFile};
use serde_json::{Value, json};

/// One item of a hundred has it.
const PICKED: &str = "hundredth";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [library, queries, threads] = &arguments[..] else { return Err("serve LIBRARY QUERIES.f32 THREADS".into()) };
    let cores = Cores::new(threads.parse()?, Isa::chosen()?)?;
    let reader = Reader::open(Path::new(library))?;
    let space = reader.space(None).ok_or("the library has no space")?.clone();
    let queries = MappedFile::open(Path::new(queries))?;
    let row = 4 * space.spec.width;
    for line in std::io::stdin().lock().lines() {
        let asked: Value = serde_json::from_str(&line?)?;
        let number = |value: &Value| value.as_u64().map(|n| n as usize).ok_or("a number is missing");
        let mut vectors: Vec<Vec<f32>> = vec![];
        for i in asked["queries"].as_array().ok_or("no `queries`")? {
            let bytes = queries.as_ref().chunks_exact(row).nth(number(i)?).ok_or("no such query")?;
            vectors.push(bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect());
        }
        let vectors: Vec<&[f32]> = vectors.iter().map(Vec::as_slice).collect();
        let start = Instant::now();
        let filter = if asked["picked"] == true { Filter::all().and_tag(PICKED) } else { Filter::all() };
        let hits = reader.search(&cores, space.id, &vectors, &filter, number(&asked["k"])?)?;
        let seconds = start.elapsed().as_secs_f64();
        // Items are numbered from 1 in the order of rows.
        let rows: Vec<Vec<i64>> = hits.iter().map(|hits| hits.iter().map(|hit| hit.item.0 - 1).collect()).collect();
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", json!({ "seconds": seconds, "rows": rows }))?;
        out.flush()?;
    }
    Ok(())
}
