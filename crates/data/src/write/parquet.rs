//! Parquet: `id`, `image_bytes` or `filepath`, and `captions`, `tags`, `meta` as JSON. A group of rows lies in memory until it has 64 MiB.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as PhysicalType};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, Type};
use serde_json::json;

use super::draft::Draft;
use super::{Form, Lost, Pictures, Sample, WriteOptions, failed};
use crate::{Error, Result};

/// Bytes of rows that are written together, and how many rows at most.
const GROUP_BYTES: usize = 64 << 20;
const GROUP_ROWS: usize = 1 << 16;
const TEXTS: [&str; 4] = ["id", "captions", "tags", "meta"];

pub(super) struct Writer {
    file: SerializedFileWriter<Draft>,
    path: PathBuf,
    paths: bool,
    /// The columns of the group that is filled: pictures, then [`TEXTS`].
    columns: [Vec<Option<ByteArray>>; 5],
    bytes: usize,
}

impl Writer {
    pub fn begin(path: &Path, options: &WriteOptions) -> Result<Self> {
        let paths = options.pictures == Pictures::Paths;
        let draft = Draft::begin(path)?;
        let file = begun(draft, paths).map_err(broken(path))?;
        Ok(Self { file, path: path.to_owned(), paths, columns: Default::default(), bytes: 0 })
    }

    fn flush(&mut self) -> std::result::Result<(), ParquetError> {
        if self.columns[0].is_empty() {
            return Ok(());
        }
        let mut group = self.file.next_row_group()?;
        for column in &mut self.columns {
            let mut writer = group.next_column()?.expect("the schema has as many columns");
            let levels: Vec<i16> = column.iter().map(|value| i16::from(value.is_some())).collect();
            let there: Vec<ByteArray> = column.drain(..).flatten().collect();
            writer.typed::<ByteArrayType>().write_batch(&there, Some(&levels), None)?;
            writer.close()?;
        }
        group.close()?;
        self.bytes = 0;
        Ok(())
    }
}

fn begun(draft: Draft, paths: bool) -> std::result::Result<SerializedFileWriter<Draft>, ParquetError> {
    let column = |name: &str, logical: Option<LogicalType>| {
        let column = Type::primitive_type_builder(name, PhysicalType::BYTE_ARRAY).with_repetition(Repetition::OPTIONAL);
        column.with_logical_type(logical).build().map(Arc::new)
    };
    let text = || Some(LogicalType::String);
    let mut columns = vec![if paths { column("filepath", text())? } else { column("image_bytes", None)? }];
    for name in TEXTS {
        columns.push(column(name, text())?);
    }
    let schema = Arc::new(Type::group_type_builder("schema").with_fields(columns).build()?);
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        // Picture files are as short as they get, and none comes twice.
        .set_column_compression(ColumnPath::from("image_bytes"), Compression::UNCOMPRESSED)
        .set_column_dictionary_enabled(ColumnPath::from("image_bytes"), false)
        .set_column_statistics_enabled(ColumnPath::from("image_bytes"), parquet::file::properties::EnabledStatistics::None);
    SerializedFileWriter::new(draft, schema, Arc::new(properties.build()))
}

/// An error of the crate, with what the operating system said if it did.
fn broken(path: &Path) -> impl FnOnce(ParquetError) -> Error + use<> {
    let path = path.to_owned();
    move |e| {
        let source = match e {
            ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
                Ok(e) => *e,
                Err(other) => std::io::Error::other(other),
            },
            other => std::io::Error::other(other),
        };
        failed(&path)(source)
    }
}

impl Form for Writer {
    fn add(&mut self, sample: &Sample, _: &mut Lost<'_>) -> Result<std::result::Result<(), String>> {
        let text = |text: Option<String>| text.map(|text| ByteArray::from(text.into_bytes()));
        let picture = match &sample.path {
            Some(path) => ByteArray::from(path.to_string_lossy().into_owned().into_bytes()),
            None => ByteArray::from(sample.bytes.to_vec()),
        };
        let row = [
            Some(picture),
            text(Some(sample.id.clone())),
            text((!sample.captions.is_empty()).then(|| sample.captions_json().to_string())),
            text((!sample.tags.is_empty()).then(|| json!(sample.tags).to_string())),
            text((!sample.meta.is_empty()).then(|| json!(sample.meta).to_string())),
        ];
        self.bytes += row.iter().flatten().map(ByteArray::len).sum::<usize>();
        for (column, value) in self.columns.iter_mut().zip(row) {
            column.push(value);
        }
        if self.bytes >= GROUP_BYTES || self.columns[0].len() >= GROUP_ROWS {
            self.flush().map_err(broken(&self.path))?;
        }
        Ok(Ok(()))
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<PathBuf>> {
        self.flush().map_err(broken(&self.path))?;
        let Self { file, path, .. } = *self;
        let draft = file.into_inner().map_err(broken(&path))?;
        Ok(vec![draft.finish()?])
    }

    fn takes_paths(&self) -> bool {
        self.paths
    }
}
