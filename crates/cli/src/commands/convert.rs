//! `hua convert`: a model's files in another layout or type of numbers.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use hua::graph::DType;
use hua::model::SaveOptions;
use hua::shown::thousands;

use crate::session::Session;

/// Write a model in another layout of its family, or with other numbers
///
/// Layouts are the ways a family's files name and arrange the same weights: `hf` (Hugging Face: config.json and safetensors), `cn-clip` and
/// `cn-clip-flash` (a .pt for Chinese-CLIP's own code), `openai` (a .pt for OpenAI's), and Taiyi's. Pickled weights become safetensors that
/// way. Tokenizer and preprocessor go along; a model that lies at OUT already is not replaced. The files are printed on stdout.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua convert ./clip_cn_vit-b-16.pt -o chinese-clip-hf
  hua convert OFA-Sys/chinese-clip-vit-base-patch16 -o out --to cn-clip --dtype f16")]
pub struct Arguments {
    /// A name on a hub or a path; default: what `--model` says, or the built-in model
    #[arg(value_name = "MODEL")]
    name: Option<String>,
    /// Folder to write into
    #[arg(short, value_name = "OUT")]
    out: PathBuf,
    /// Layout: `hf`, `cn-clip`, `cn-clip-flash`, `openai`, `fengshen`, … as the family has them; default: `hf`, and for Taiyi `fengshen`
    #[arg(long, value_name = "LAYOUT")]
    to: Option<String>,
    /// Type of the numbers; without it each tensor keeps its own
    #[arg(long, value_enum, value_name = "TYPE")]
    dtype: Option<Numbers>,
}

/// Types of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Numbers {
    Bf16,
    F16,
    F32,
}

pub fn run(arguments: Arguments, session: &Session) -> anyhow::Result<()> {
    let Arguments { name, out, to, dtype } = arguments;
    let layout = to.map(|to| if to == "hf" { "hugging-face".to_owned() } else { to });
    let dtype = dtype.map(|numbers| match numbers {
        Numbers::Bf16 => DType::Bf16,
        Numbers::F16 => DType::F16,
        Numbers::F32 => DType::F32,
    });
    let options = SaveOptions { layout, dtype };
    let name = name.or_else(|| session.settings.model.clone());
    let written = hua::convert(name.as_deref(), &session.open_options()?, &out, &options)?;
    let mut total = 0;
    for path in &written {
        total += path.metadata().map_or(0, |metadata| metadata.len());
        session.printer.data(path.display())?;
    }
    session.printer.note(format!("{} files, {} bytes", written.len(), thousands(total)));
    Ok(())
}
