//! `hua embed`: vectors of texts and pictures into a file.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use hua::shown::thousands;
use hua::{Embedder, Failure, PictureTimes};
use serde::Serialize;

use crate::complaint::Complaint;
use crate::output::{About, Draft, Format, Growing, Kind, Writer, beside};
use crate::session::{CutTexts, Session};
use crate::table::counted;

/// Texts in memory at a time.
const BATCH: usize = 64;

/// Pictures from which on their pace is of interest.
const WORTH_TELLING: usize = 100;

/// The output that everything else is about.
const EMBEDDING: &str = "embedding";

/// Write the vectors of texts and pictures into a file
///
/// Each vector has length one, so that a dot product is a cosine; texts come first, then pictures in the order of their paths. The
/// extension says what is written: `npy` ([rows, width] f32, ids in OUT.ids.txt), `safetensors` (tensor `embeddings`; ids, model and
/// fingerprint in its metadata), `jsonl` ({"id", "kind", "embedding"} a line). A picture that cannot be read never stops the run: it is listed
/// on stderr and in OUT.errors.jsonl. Vectors of two models cannot be compared.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua embed ~/Pictures -o pictures.npy
  hua embed --texts captions.txt photos/ -o all.safetensors
  echo 彩虹 | hua embed --texts - -o rainbow.jsonl
  hua embed --model altclip-m9 --text 'a lamp' --output projection_state -o condition.safetensors")]
pub struct Arguments {
    /// Pictures, and folders with what is below them
    #[arg(value_name = "PICTURE-OR-DIR")]
    pictures: Vec<PathBuf>,
    /// A file with a text a line; `-` reads stdin
    #[arg(long, value_name = "FILE")]
    texts: Option<PathBuf>,
    /// A text; repeatable
    #[arg(long = "text", value_name = "TEXT")]
    text: Vec<String>,
    /// Which output of the text tower: `embedding`, or for diffusion models AltCLIP's `projection_state` and `last_hidden_state`: a row a
    /// token, not normalised, with the row each text begins at in tensor `offsets` (safetensors only)
    #[arg(long, value_name = "NAME", default_value = EMBEDDING)]
    output: String,
    /// Where to write: OUT.npy, OUT.safetensors or OUT.jsonl
    #[arg(short, value_name = "OUT")]
    out: PathBuf,
    /// Say on stdout what was done, as one JSON object: {"texts", "pictures", "failures", "seconds", "pictures_per_second", "decode_share",
    /// "embed_share"}; shares are of what all threads could have worked, from the first picture to the last
    #[arg(long)]
    json: bool,
}

/// The answer of `--json`.
#[derive(Serialize)]
struct Report {
    texts: usize,
    pictures: usize,
    failures: usize,
    /// From the first to the last picture.
    seconds: f64,
    pictures_per_second: f64,
    decode_share: f64,
    embed_share: f64,
}

pub fn run(arguments: Arguments, session: &Session) -> anyhow::Result<()> {
    let Arguments { pictures, texts, text, output, out, json } = arguments;
    let format = Format::of(&out)?;
    if pictures.is_empty() && texts.is_none() && text.is_empty() {
        return Err(Complaint::caller("nothing to embed").hint("name pictures or folders, or give `--text TEXT` or `--texts FILE`").into());
    }
    if output != EMBEDDING && (format != Format::Safetensors || !pictures.is_empty()) {
        let message = format!("output `{output}` is of texts, and is written as safetensors only");
        return Err(Complaint::caller(message).hint("leave out pictures, and name a file `….safetensors`").into());
    }
    let mut lines = Texts::open(text, texts.as_deref())?;
    let (pictures, mut failures) = hua::picture_files(&pictures)?;
    let embedder = session.embedder()?;
    if output != EMBEDDING {
        if json {
            return Err(Complaint::caller("`--json` tells of embeddings; with another `--output` there is nothing to tell").into());
        }
        return write_output(session, &embedder, lines, &output, &out);
    }
    let about = About { width: embedder.width(), model: embedder.name().to_owned(), fingerprint: embedder.fingerprint().to_owned() };
    let mut writer = format.begin(&out, about)?;
    let texts = add_texts(session, &embedder, &mut lines, &mut *writer)?;
    let found = pictures.len();
    let (embedded, times) = add_pictures(session, &embedder, &pictures, &mut *writer, &mut failures)?;
    session.warn_failures(&failures);
    write_failures(&out, &failures)?;
    if texts + embedded == 0 {
        let message = if found + failures.len() > 0 { "none of the pictures can be used" } else { "no text and no picture to embed" };
        return Err(Complaint::file(message).into());
    }
    writer.finish()?;
    let report = Report::new(texts, embedded, failures.len(), &times);
    session.printer.note(format!("{} and {} in `{}`", counted(texts, "text"), counted(embedded, "picture"), out.display()));
    if found >= WORTH_TELLING {
        session.printer.note(report.pace());
    }
    if json {
        session.printer.json(&report)?;
    }
    Ok(())
}

impl Report {
    fn new(texts: usize, pictures: usize, failures: usize, times: &PictureTimes) -> Self {
        let seconds = times.wall.as_secs_f64();
        let pictures_per_second = if seconds > 0.0 { pictures as f64 / seconds } else { 0.0 };
        let (decode_share, embed_share) = (times.share(times.decode), times.share(times.embed));
        Self { texts, pictures, failures, seconds, pictures_per_second, decode_share, embed_share }
    }

    fn pace(&self) -> String {
        let percent = |share: f64| format!("{:.0} %", 100.0 * share);
        let (decode, embed) = (percent(self.decode_share), percent(self.embed_share));
        format!("{:.1} pictures a second; of the cores' time decode + resize {decode}, embed {embed}", self.pictures_per_second)
    }
}

/// Texts of the command line, then of a file or stdin, read as they are needed.
struct Texts {
    given: std::vec::IntoIter<String>,
    lines: Option<(Box<dyn BufRead>, PathBuf)>,
}

impl Texts {
    fn open(given: Vec<String>, file: Option<&Path>) -> anyhow::Result<Self> {
        let lines: Option<(Box<dyn BufRead>, PathBuf)> = match file {
            None => None,
            Some(path) if path == Path::new("-") => Some((Box::new(std::io::stdin().lock()), "stdin".into())),
            Some(path) => {
                let file =
                    std::fs::File::open(path).map_err(|error| Complaint::caller(format!("cannot read `{}`: {error}", path.display())))?;
                if path.is_dir() {
                    return Err(Complaint::caller(format!("`{}` is a folder, wanted a file with a text a line", path.display())).into());
                }
                Some((Box::new(std::io::BufReader::new(file)), path.to_owned()))
            }
        };
        Ok(Self { given: given.into_iter(), lines })
    }

    /// The next at most [`BATCH`] texts; none at the end. A byte order mark is no part of a text. Empty lines are texts too, so that rows keep their numbers.
    fn batch(&mut self) -> anyhow::Result<Vec<String>> {
        let mut batch: Vec<String> = self.given.by_ref().take(BATCH).collect();
        if let Some((reader, path)) = &mut self.lines {
            while batch.len() < BATCH {
                let mut line = String::new();
                if reader.read_line(&mut line).with_context(|| format!("cannot read `{}`", path.display()))? == 0 {
                    break;
                }
                batch.push(line.trim_start_matches('\u{feff}').trim_end_matches(['\n', '\r']).to_owned());
            }
        }
        Ok(batch)
    }
}

fn add_texts(session: &Session, embedder: &Embedder, texts: &mut Texts, writer: &mut dyn Writer) -> anyhow::Result<usize> {
    let (mut count, mut cut) = (0, CutTexts::default());
    loop {
        let batch = texts.batch()?;
        if batch.is_empty() {
            session.warn_cut(&cut);
            return Ok(count);
        }
        let embeddings = embedder.embed_texts(&batch)?;
        cut.add(&batch, embeddings.truncated());
        for (text, row) in batch.iter().zip(embeddings.rows()) {
            writer.add(Kind::Text, text, row)?;
        }
        count += batch.len();
    }
}

fn add_pictures(
    session: &Session,
    embedder: &Embedder,
    paths: &[PathBuf],
    writer: &mut dyn Writer,
    failures: &mut Vec<Failure>,
) -> anyhow::Result<(usize, PictureTimes)> {
    let bar = session.bar();
    bar.begin("embedding pictures", paths.len() as u64);
    let mut count = 0;
    let times = embedder.embed_each_file(paths, |path, row| {
        match row {
            Ok(row) => {
                writer.add(Kind::Image, &path.to_string_lossy(), &row)?;
                count += 1;
            }
            Err(error) => failures.push(Failure { path: path.display().to_string(), reason: error.reason() }),
        }
        bar.step(1);
        anyhow::Ok(())
    })?;
    Ok((count, times))
}

/// OUT.errors.jsonl: `{"path", "reason"}` a line; taken away if an earlier run left one and nothing failed now.
fn write_failures(out: &Path, failures: &[Failure]) -> anyhow::Result<()> {
    let path = beside(out, "errors.jsonl");
    if failures.is_empty() {
        return match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove `{}`", path.display()))
            }
            _ => Ok(()),
        };
    }
    let mut draft = Draft::begin(&path)?;
    for failure in failures {
        serde_json::to_writer(&mut draft, failure)?;
        draft.write_all(b"\n")?;
    }
    draft.finish()
}

/// Another output than the embedding: rows of all texts one after the other, and the row that each text begins at.
fn write_output(session: &Session, embedder: &Embedder, mut texts: Texts, output: &str, out: &Path) -> anyhow::Result<()> {
    let mut file: Option<Growing> = None;
    let (mut ids, mut offsets, mut rows, mut width) = (Vec::new(), vec![0], 0, 0);
    loop {
        let batch = texts.batch()?;
        if batch.is_empty() {
            break;
        }
        let found = embedder.text_output(&batch, output)?;
        width = found.width;
        let file = match &mut file {
            Some(file) => file,
            none => none.insert(Growing::begin(out, width)?),
        };
        for row in found.iter() {
            file.add(row)?;
        }
        for length in found.lengths {
            rows += length;
            offsets.push(rows as i64);
        }
        ids.extend(batch);
    }
    let Some(file) = file else { return Err(Complaint::file("no text to embed").into()) };
    let metadata = [
        ("ids", serde_json::to_string(&ids)?),
        ("model", embedder.name().to_owned()),
        ("fingerprint", embedder.fingerprint().to_owned()),
        ("normalized", "false".to_owned()),
    ];
    file.finish(output, &offsets, metadata)?;
    let texts = thousands(ids.len() as u64);
    session.printer.note(format!("`{output}` of {texts} texts, {} rows of {width}, is in `{}`", thousands(rows as u64), out.display()));
    Ok(())
}
