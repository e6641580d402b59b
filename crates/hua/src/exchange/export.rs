//! A library written in the format of another program.
use std::collections::HashSet;
use std::path::Path;

use hua_index::{Filter, Item, Reader, Space};
use serde::Serialize;

use super::{Format, clip_retrieval, features, npy, safetensors, table};
use crate::{Error, Progress};

/// What is written.
#[derive(Clone, Debug)]
pub struct ExportOptions<'a> {
    /// Those items.
    pub filter: &'a Filter,
    /// Whether lines of JSON hold vectors; the formats of vectors always do, tables never.
    pub vectors: bool,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// Items that were written.
    pub items: u64,
    /// Items of the filter that have no vector yet, and were left out for it.
    pub without_vector: u64,
}

/// One of the formats, being written.
enum Writer {
    ClipRetrieval(clip_retrieval::Writer),
    Features(features::Writer),
    Npy(npy::Writer, Vec<String>),
    Safetensors(safetensors::Writer),
    Table(table::Writer),
}

/// Writes the items of `reader`, by id, with their vectors in `space`.
///
/// # Errors
/// [`Error::Index`] if the library cannot be read or the filter is wrong, [`Error::Io`] if `to` cannot be written; a file that was there
/// before is then as it was. clip-retrieval's folder must not be there before.
pub fn export(
    reader: &Reader,
    space: &Space,
    to: &Path,
    format: Format,
    options: &ExportOptions<'_>,
    progress: &dyn Progress,
) -> Result<Exported, Error> {
    let ids = reader.items(options.filter)?;
    let wants_vectors = options.vectors || !matches!(format, Format::Csv | Format::Jsonl | Format::Parquet);
    progress.start("exporting", ids.len() as u64);
    let spec = &space.spec;
    let mut writer = match format {
        Format::ChineseClip => {
            let mut numbers = HashSet::new();
            let mut all = true;
            for id in &ids {
                let path = reader.item(*id)?.map(|item| item.path).unwrap_or_default();
                all &= features::number(&path).is_some_and(|number| numbers.insert(number));
            }
            Writer::Features(features::Writer::begin(to, all)?)
        }
        Format::ClipRetrieval => Writer::ClipRetrieval(clip_retrieval::Writer::begin(to, spec.width)?),
        Format::Npy => Writer::Npy(npy::Writer::begin(to, spec.width, spec.dtype)?, vec![]),
        Format::Safetensors => Writer::Safetensors(safetensors::Writer::begin(to, spec)?),
        Format::Csv | Format::Jsonl | Format::Parquet => Writer::Table(table::Writer::begin(to, format)?),
    };
    let mut done = Exported::default();
    for id in ids {
        progress.advance(1);
        let Some(item) = reader.item(id)? else { continue };
        let vector = if wants_vectors { reader.vector(space.id, id)? } else { None };
        if wants_vectors && vector.is_none() {
            done.without_vector += 1;
            continue;
        }
        writer.add(item, vector.as_deref())?;
        done.items += 1;
    }
    writer.finish(to)?;
    progress.finish();
    Ok(done)
}

impl Writer {
    fn add(&mut self, item: Item, vector: Option<&[f32]>) -> Result<(), Error> {
        let row = vector.unwrap_or_default();
        match self {
            Self::ClipRetrieval(writer) => writer.add(item, row),
            Self::Features(writer) => writer.add(&item.path, row),
            Self::Npy(writer, names) => {
                names.push(npy::escaped(&item.path));
                writer.add(row)
            }
            Self::Safetensors(writer) => writer.add(&item.path, row),
            Self::Table(writer) => writer.add(&item, vector),
        }
    }

    fn finish(self, to: &Path) -> Result<(), Error> {
        match self {
            Self::ClipRetrieval(writer) => writer.finish(),
            Self::Features(writer) => writer.finish(),
            Self::Npy(writer, names) => {
                writer.finish()?;
                let beside = to.with_extension("ids.txt");
                let text: String = names.into_iter().flat_map(|name| [name, "\n".into()]).collect();
                std::fs::write(&beside, text).map_err(super::io(beside))
            }
            Self::Safetensors(writer) => writer.finish(),
            Self::Table(writer) => writer.finish(),
        }
    }
}
