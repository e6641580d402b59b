//! `hua train merge` and `hua train unmerge`: low-rank adapters (LoRA) into a model and out of it, in PEFT's files.

use std::path::{Path, PathBuf};

use clap::Args;
use hua::Embedder;
use hua::graph::DType;
use hua::model::{Model, SaveOptions};
use hua::shown::thousands;
use hua_train::lora::{self, Adapter};
use hua_train::tasks::BUILT_IN;
use serde_json::Value;

use crate::complaint::Complaint;
use crate::session::Session;
use crate::table::counted;

/// Write low-rank adapters into the model they belong to
///
/// ADAPTER is a folder with `adapter_config.json` and `adapter_model.safetensors`, as PEFT writes them and as a run with `lora.keep = true`
/// does. The model is the one that `--model` names, else the one that the adapters name.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua train merge run/best/adapter -o merged
  hua train merge adapter -o merged --model altclip-m9")]
pub struct Merge {
    /// Folder of the adapters
    #[arg(value_name = "ADAPTER")]
    adapter: PathBuf,
    /// Folder to write the model into
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
}

/// Take merged adapters out of a model again
///
/// The model that `--model` names is one that the adapters were merged into; what is written is the model before, but for the last bits of its
/// numbers.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua train unmerge run/best/adapter --model merged -o as-it-was")]
pub struct Unmerge {
    /// Folder of the adapters
    #[arg(value_name = "ADAPTER")]
    adapter: PathBuf,
    /// Folder to write the model into
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
}

pub fn merge(Merge { adapter, out }: Merge, session: &Session) -> anyhow::Result<()> {
    let named = session.settings.model.clone().or_else(|| base(&adapter));
    let options = session.open_options()?;
    let embedder = match &named {
        Some(name) => Embedder::open_with(name, &options)?,
        None => Embedder::embedded(&options)?,
    };
    apply(&embedder, &adapter, &out, lora::merge, "merged into", session)
}

pub fn unmerge(Unmerge { adapter, out }: Unmerge, session: &Session) -> anyhow::Result<()> {
    let Some(name) = &session.settings.model else {
        let complaint = Complaint::caller("no model to take the adapters out of");
        return Err(complaint.hint("`--model` names the merged one").into());
    };
    let embedder = Embedder::open_with(name, &session.open_options()?)?;
    apply(&embedder, &adapter, &out, lora::unmerge, "taken out of", session)
}

fn apply(
    embedder: &Embedder,
    adapter: &Path,
    out: &Path,
    change: fn(&Model, &[Adapter]) -> hua_train::Result<Model>,
    done: &str,
    session: &Session,
) -> anyhow::Result<()> {
    let model = embedder.model();
    let adapters = lora::read(adapter, &model.spec)?;
    let changed = change(model, &adapters)?;
    let written = changed.save(out, &SaveOptions { layout: None, dtype: Some(DType::F32) }).map_err(hua::Error::from)?;
    let mut total = 0;
    for path in &written {
        total += path.metadata().map_or(0, |metadata| metadata.len());
        session.printer.data(path.display())?;
    }
    let count = counted(adapters.len(), "adapter");
    session.printer.note(format!("{count} {done} `{}`: {} files, {} bytes", embedder.name(), written.len(), thousands(total)));
    Ok(())
}

/// The model that PEFT's configuration names; None for the built-in one.
fn base(adapter: &Path) -> Option<String> {
    let text = std::fs::read_to_string(adapter.join(lora::CONFIG)).ok()?;
    let config: Value = serde_json::from_str(&text).ok()?;
    config.get("base_model_name_or_path")?.as_str().filter(|name| !["", BUILT_IN, hua::EMBEDDED_MODEL].contains(name)).map(str::to_owned)
}
