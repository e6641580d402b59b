//! `hua similarity`: cosines of a few texts and pictures, side by side.

use std::path::PathBuf;

use clap::Args;
use hua::image::Picture;
use serde::Serialize;

use crate::complaint::Complaint;
use crate::session::{CutTexts, Session};
use crate::table::{Align, Table};

/// Show the cosines of texts and pictures with each other
///
/// For a quick look at what a model thinks: every text with every picture, or, if only one kind is given, each with all of its kind.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua similarity --image cat.jpg --text 'a cat' --text 一只猫
  hua similarity --text rainbow --text 彩虹 --text violin")]
pub struct Arguments {
    /// A picture; repeatable
    #[arg(long = "image", value_name = "FILE")]
    images: Vec<PathBuf>,
    /// A text; repeatable
    #[arg(long = "text", value_name = "TEXT")]
    texts: Vec<String>,
    /// One JSON object: {"rows", "columns", "cosines": [[…]]}
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    rows: &'a [String],
    columns: &'a [String],
    cosines: Vec<&'a [f32]>,
}

pub fn run(arguments: Arguments, session: &Session) -> anyhow::Result<()> {
    let Arguments { images, texts, json } = arguments;
    if images.is_empty() && texts.is_empty() {
        return Err(Complaint::caller("nothing to compare").hint("give `--text TEXT` or `--image FILE`, each as often as you like").into());
    }
    let embedder = session.embedder()?;
    let pictures: Vec<Picture> = images.iter().map(|path| embedder.read_picture(path)).collect::<Result<_, _>>()?;
    let names: Vec<String> = images.iter().map(|path| path.display().to_string()).collect();
    let (rows, columns, cosines) = match (texts.is_empty(), pictures.is_empty()) {
        (true, _) => {
            let pictures = embedder.embed_images(&pictures)?;
            (names.clone(), names, hua::similarity(&pictures, &pictures)?)
        }
        (false, no_pictures) => {
            let embedded = embedder.embed_texts(&texts)?;
            let mut cut = CutTexts::default();
            cut.add(&texts, embedded.truncated());
            session.warn_cut(&cut);
            if no_pictures {
                (texts.clone(), texts, hua::similarity(&embedded, &embedded)?)
            } else {
                (texts, names, hua::similarity(&embedded, &embedder.embed_images(&pictures)?)?)
            }
        }
    };
    if json {
        let cosines = (0..cosines.rows).map(|row| cosines.row(row)).collect();
        return session.printer.json(&Answer { rows: &rows, columns: &columns, cosines });
    }
    let titles = [("", Align::Left)].into_iter().chain(columns.iter().map(|column| (column.as_str(), Align::Right)));
    let mut table = Table::titled(&titles.collect::<Vec<_>>());
    for (row, name) in rows.iter().enumerate() {
        let cells = cosines.row(row).iter().map(|cosine| format!("{cosine:.3}"));
        table.row([name.clone()].into_iter().chain(cells));
    }
    Ok(session.printer.data(table)?)
}
