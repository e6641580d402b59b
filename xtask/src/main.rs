//! What developers of hua run: `cargo xtask check` before handing in, `cargo xtask goldens` to make the golden files anew.
mod counts;

use std::process::Command;

use anyhow::{Context, Result, bail};

const USAGE: &str = "usage: cargo xtask COMMAND

  check     format, lints, documentation, tests: what CI runs
  counts    count the instructions of the hot kernels and fail where they are more than written down (needs valgrind);
            --bless writes them down; --timed: ratios to a frozen kernel, for AVX-512, which valgrind does not know
  goldens   make the golden files anew but for token ids, which need upstream's files (needs Python with what
            tests/golden/README.md names; token ids: tests/golden/make_text.py)
  peers     measure hua against other engines (needs Python; see bench/peers/README.md)";

/// The scripts that need nothing but Python.
/// Those of gradients and pipeline read the models.
const GOLDENS: [&str; 14] = [
    "augment",
    "checkpoints",
    "data",
    "eval",
    "exchange",
    "facts",
    "image",
    "models",
    "gradients",
    "optim",
    "pipeline",
    "recalls",
    "losses",
    "lora",
];

fn main() -> Result<()> {
    let command = std::env::args().nth(1).unwrap_or_default();
    match command.as_str() {
        "check" => run("bash", &[".ci/run"]),
        "counts" => counts::counts(&std::env::args().skip(2).collect::<Vec<_>>()),
        "goldens" => GOLDENS.iter().try_for_each(|script| run("python3", &[&format!("tests/golden/make_{script}.py")])),
        "peers" => run("python3", &["bench/peers/peers.py"]),
        _ => bail!("{USAGE}"),
    }
}

/// Runs a program in the root of the repository.
fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let status = Command::new(program).args(arguments).current_dir(root).status().with_context(|| format!("cannot run `{program}`"))?;
    if !status.success() {
        bail!("`{program} {}` failed: {status}", arguments.join(" "));
    }
    Ok(())
}
