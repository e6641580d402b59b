//! `cargo xtask counts`: the instructions of the hot kernels, as callgrind counts them, against those that are written down in
//! `crates/kernels/examples/counts.json`. Counts do not depend on how busy or how fast a machine is, so that a regression of a few per
//! cent fails in CI. Callgrind knows AVX2 but not AVX-512: `--timed` is for those, and for machines at rest.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// How many more instructions than written down, in parts of these, are a regression.
const TOLERANCE: f64 = 0.03;
/// As many times the ratio that is written down is a regression of a timed kernel.
const TIMED: f64 = 0.85;
const ISAS: [&str; 2] = ["avx2", "scalar"];
const FILE: &str = "crates/kernels/examples/counts.json";

/// By instruction set, by kernel.
type Table = BTreeMap<String, BTreeMap<String, f64>>;

/// `--bless` writes down what is found; `--timed` times the best instruction set, or that of `HUA_ISA`, in place of counting.
#[allow(clippy::print_stdout, reason = "its output is its result")]
pub fn counts(arguments: &[String]) -> Result<()> {
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    if let Some(unknown) = arguments.iter().find(|a| !["--bless", "--timed"].contains(&a.as_str())) {
        bail!("`{unknown}` is neither `--bless` nor `--timed`");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(FILE);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|_| "{}".to_owned());
    let mut written: Table = serde_json::from_str(&text).with_context(|| format!("`{FILE}` is no table of counts"))?;
    let program = build()?;
    let (timed, bless) = (has("--timed"), has("--bless"));
    let found =
        if timed { time(&program)? } else { ISAS.iter().map(|isa| Ok((isa.to_string(), count(&program, isa)?))).collect::<Result<_>>()? };
    let mut worse = vec![];
    for (isa, kernels) in &found {
        let wanted = written.entry(isa.clone()).or_default();
        for (name, &found) in kernels {
            let change = wanted.get(name).map(|wanted| found / wanted - 1.0);
            let said = change.map_or_else(|| "       new".to_owned(), |change| format!("{:>+9.2} %", 100.0 * change));
            let regressed = change.is_some_and(|change| if timed { change < TIMED - 1.0 } else { change > TOLERANCE });
            println!("{isa:<14} {name:<34} {found:>14} {said}{}", if regressed { "  <-- worse" } else { "" });
            if regressed || (change.is_none() && !timed) {
                worse.push(format!("{isa}: {name}"));
            }
        }
        if bless {
            wanted.clone_from(kernels);
        }
    }
    if bless {
        std::fs::write(&path, serde_json::to_string_pretty(&written)? + "\n").with_context(|| format!("cannot write `{FILE}`"))?;
        return Ok(());
    }
    ensure!(
        worse.is_empty(),
        "worse than `{FILE}` says, or not in it: {}\n\nhint: if that is the price of something, say of what and run `cargo xtask counts --bless`",
        worse.join(", ")
    );
    Ok(())
}

/// Builds the program with the kernels, and returns its path.
fn build() -> Result<PathBuf> {
    let arguments = ["build", "--release", "--package", "hua-kernels", "--example", "counts", "--message-format", "json"];
    let output = Command::new(env!("CARGO")).args(arguments).stderr(Stdio::inherit()).output().context("cannot run `cargo`")?;
    ensure!(output.status.success(), "`cargo {}` failed", arguments.join(" "));
    let messages = String::from_utf8_lossy(&output.stdout);
    let executable = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find_map(|message| {
        let of = message["target"]["name"] == "counts";
        message["executable"].as_str().filter(|_| of).map(PathBuf::from)
    });
    executable.context("cargo names no program `counts`")
}

/// Instructions of each kernel. Where an instruction is one that this valgrind lacks (old ones lack a few of AVX2's encodings), its
/// kernel is told, and left out.
#[allow(clippy::print_stdout, reason = "part of the table")]
fn count(program: &Path, isa: &str) -> Result<BTreeMap<String, f64>> {
    let out = program.with_file_name(format!("counts.{isa}.{}", std::process::id()));
    let (mut counts, mut skip) = (BTreeMap::new(), 0);
    loop {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--quiet", "--toggle-collect=hua_counted", "--dump-after=hua_counted"])
            .arg(format!("--callgrind-out-file={}", out.display()))
            .arg(program)
            .arg(skip.to_string())
            .env("HUA_ISA", isa)
            .output()
            .context("cannot run `valgrind`, which counts")?;
        let names = String::from_utf8(output.stdout)?;
        for (i, name) in names.lines().enumerate() {
            let dump = PathBuf::from(format!("{}.{}", out.display(), i + 1));
            // It tells its name before it runs.
            let Ok(text) = std::fs::read_to_string(&dump) else { break };
            let total = text.lines().find_map(|line| line.strip_prefix("totals: ")).with_context(|| format!("no total of `{name}`"))?;
            counts.insert(name.to_owned(), total.trim().parse()?);
            std::fs::remove_file(&dump)?;
        }
        let _ = std::fs::remove_file(&out);
        if output.status.success() {
            return Ok(counts);
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(errors.contains("SIGILL"), "valgrind failed: {errors}");
        let name = names.lines().last().context("valgrind lacks an instruction before the first kernel")?;
        println!("{isa:<14} {name:<34} valgrind lacks an instruction of it");
        skip += names.lines().count();
    }
}

/// Ratios to the frozen kernel, of the instruction set that the program chooses.
fn time(program: &Path) -> Result<Table> {
    let output = Command::new(program).arg("--timed").stderr(Stdio::inherit()).output().context("cannot run `counts`")?;
    ensure!(output.status.success(), "`counts --timed` failed");
    let text = String::from_utf8(output.stdout)?;
    let (isa, lines) = text.split_once('\n').context("`counts --timed` names no instruction set")?;
    let lines = lines.lines().filter_map(|line| line.split_once('\t'));
    let ratios = lines.map(|(name, ratio)| Ok((name.to_owned(), ratio.parse()?))).collect::<Result<_>>()?;
    Ok(BTreeMap::from([(format!("{isa}, timed"), ratios)]))
}
