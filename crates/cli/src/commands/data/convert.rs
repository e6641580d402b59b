//! `hua data convert`: a data set in another form.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use hua::data::{Failure, Pictures, Target, WriteOptions};
use hua::datasets::convert;
use hua::shown::thousands;

use crate::commands::index::lists::Lists;
use crate::complaint::Complaint;
use crate::output::{Draft, beside};
use crate::session::Session;
use crate::table::counted;

/// Write a data set in another form
///
/// Picture files are copied byte for byte, with their captions and languages, tags and other fields. What the form has no place for is
/// counted and said, and so is what could not be read, which is listed in DST.errors.jsonl. DST gets its name when all of it is written;
/// what is there already is not replaced.
///
/// Forms: `webdataset` (tars as img2dataset writes them: one if DST ends in .tar, else a folder of them), `parquet`, `jsonl`, `csv` (a row a
/// caption, as open_clip reads it; .tsv for tabs), `folders` (a picture lies in the folder of its first tag), `chinese-clip`
/// (SPLIT_imgs.tsv and SPLIT_texts.jsonl). The ending of DST says which, or `--to`.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua data convert MUGE --split train -o muge-train.parquet
  hua data convert shards/ -o flickr --to chinese-clip
  hua data convert captions.csv -o shards --to webdataset --shard 5000
  hua data convert photos --folders-are-tags -o photos.jsonl --pictures bytes")]
pub struct Arguments {
    /// Folders, and files that list pictures
    #[arg(value_name = "SRC", required = true)]
    sources: Vec<PathBuf>,
    /// File or folder to write
    #[arg(short, value_name = "DST")]
    out: PathBuf,
    /// Form to write; default: what the ending of DST says
    #[arg(long, value_enum, value_name = "FORM")]
    to: Option<Form>,
    /// Where a table has its pictures: in it, or in files (those that are none yet go into a folder beside it); default: parquet in it, csv and
    /// jsonl in files
    #[arg(long, value_enum, value_name = "WHERE")]
    pictures: Option<Where>,
    /// Pictures of one tar, where a folder of them is written
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    shard: usize,
    /// Name of the split that is written in Chinese-CLIP's form; default: that of `--split`, else `train`
    #[arg(long, value_name = "NAME")]
    as_split: Option<String>,
    #[command(flatten)]
    lists: Lists,
    /// Say on stdout what was done, as one JSON object; otherwise the files are printed there
    #[arg(long)]
    json: bool,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    ChineseClip,
    Csv,
    Folders,
    Jsonl,
    Lmdb,
    Parquet,
    Webdataset,
}

/// Where a table has its pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Where {
    Bytes,
    Paths,
}

pub fn run(arguments: Arguments, session: &Session) -> anyhow::Result<()> {
    let Arguments { sources, out, to, pictures, shard, as_split, lists, json } = arguments;
    let target = target(&out, to)?;
    let data = lists.options();
    let split = as_split.or_else(|| data.split.clone()).unwrap_or_else(|| "train".into());
    if split.contains(['/', '\\']) || split.is_empty() {
        return Err(Complaint::caller(format!("`{split}` cannot be a split: it is the beginning of a file's name")).into());
    }
    let pictures = match pictures {
        None => Pictures::Auto,
        Some(Where::Bytes) => Pictures::Bytes,
        Some(Where::Paths) => Pictures::Paths,
    };
    let options = WriteOptions { pictures, split, shard, max_bytes: data.max_bytes };
    let bar = session.bar();
    let done = convert(&sources, &data, target, &out, &options, &bar);
    drop(bar);
    let done = match done {
        Err(hua::Error::NoPictures { failures, .. }) => {
            session.warn_failures(&failures);
            return Err(Complaint::file("no picture that can be used, so nothing is written").into());
        }
        done => done?,
    };
    let told: Vec<_> =
        done.failures.iter().map(|Failure { name, reason }| hua::Failure { path: name.clone(), reason: reason.clone() }).collect();
    session.warn_failures(&told);
    list_failures(&out, &done.failures)?;
    for (what, count) in &done.lost {
        session.printer.warning(format!("this form has no place for {what}: {} left behind", thousands(*count)));
    }
    if done.renamed > 0 {
        let renamed = counted(done.renamed as usize, "picture");
        session.printer.warning(format!("an id that had come before has a number behind it now: {renamed}"));
    }
    if json {
        session.printer.json(&done)?;
    } else {
        done.files.iter().try_for_each(|file| session.printer.data(file.display()))?;
    }
    let (pictures, captions) = (counted(done.pictures as usize, "picture"), counted(done.captions as usize, "caption"));
    session.printer.note(format!("{pictures} with {captions}, {} bytes of picture files", thousands(done.bytes)));
    Ok(())
}

fn target(out: &Path, to: Option<Form>) -> Result<Target, Complaint> {
    Ok(match to {
        Some(Form::ChineseClip) => Target::ChineseClip,
        Some(Form::Csv) => Target::Csv,
        Some(Form::Folders) => Target::Folders,
        Some(Form::Jsonl) => Target::Jsonl,
        Some(Form::Lmdb) => {
            return Err(Complaint::caller("hua reads LMDB and does not write it")
                .hint("write `--to chinese-clip`; upstream's `build_lmdb_dataset.py` makes an LMDB of it"));
        }
        Some(Form::Parquet) => Target::Parquet,
        Some(Form::Webdataset) => Target::Webdataset,
        None => Target::of(out).ok_or_else(|| {
            Complaint::caller(format!(
                "the ending of `{}` does not say what to write, wanted .csv, .tsv, .jsonl, .parquet or .tar",
                out.display()
            ))
            .hint("for a folder say which kind: `--to webdataset`, `--to chinese-clip` or `--to folders`")
        })?,
    })
}

/// DST.errors.jsonl: `{"name", "reason"}` a line; taken away if an earlier run left one and nothing failed now.
fn list_failures(out: &Path, failures: &[Failure]) -> anyhow::Result<()> {
    let path = beside(out, "errors.jsonl");
    if failures.is_empty() {
        return match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.into()),
            _ => Ok(()),
        };
    }
    let mut file = Draft::begin(&path)?;
    for failure in failures {
        serde_json::to_writer(&mut file, failure)?;
        file.write_all(b"\n")?;
    }
    file.finish()
}
