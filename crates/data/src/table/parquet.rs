//! Parquet through the `parquet` crate of the Arrow project, without Arrow: rows for reading, columns for writing.
//!
//! Snappy, gzip and lz4 are read (pyarrow's default is snappy); zstd and brotli would bring C along, and are refused by name. The crate is careful
//! with damaged files but not proven so: a panic inside it ends the reading of that file and no more.
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as PhysicalType};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::record::Field;
use parquet::record::reader::RowIter;
use parquet::schema::types::Type;
use serde_json::{Map, Value};

use super::{Row, RowError, Rows};
use crate::{Error, Result};

/// Rows that are written together.
const GROUP: usize = 1 << 17;
/// How deep lists and groups within a field are followed.
const MAX_DEPTH: usize = 16;

pub(super) fn rows(path: &Path, most: u64) -> Result<Rows> {
    let malformed = |found: String| Error::Malformed { path: path.to_owned(), found, wanted: "a Parquet file".into() };
    let file = File::open(path).map_err(Error::io(path))?;
    let reader = guarded(|| SerializedFileReader::new(file)).map_err(|e| malformed(format!("cannot be read: {e}")))?;
    for group in reader.metadata().row_groups() {
        for column in group.columns() {
            if matches!(column.compression(), Compression::BROTLI(_) | Compression::ZSTD(_) | Compression::LZO) {
                let codec = column.compression().to_string();
                let codec = codec.split('(').next().unwrap_or(&codec).to_ascii_lowercase();
                return Err(Error::Malformed {
                    path: path.to_owned(),
                    found: format!("is compressed with {codec}"),
                    wanted: "snappy, gzip, lz4 or none".into(),
                });
            }
            // A page is kept in memory as a whole, and its length is not known before; that of its column is.
            if u64::try_from(column.uncompressed_size()).is_err() {
                return Err(malformed("has a column of negative length".into()));
            }
        }
    }
    let mut rows = guarded(|| Ok(RowIter::from_file_into(Box::new(reader)))).map_err(|e| malformed(format!("cannot be read: {e}")))?;
    let (mut number, mut ended) = (0, false);
    Ok(Box::new(std::iter::from_fn(move || {
        if ended {
            return None;
        }
        number += 1;
        match guarded(|| rows.next().transpose()) {
            Ok(None) => None,
            Ok(Some(row)) => Some(understood(number, row, most)),
            Err(e) => {
                ended = true;
                Some(Err(RowError::Table(format!("row {number}: {e}"))))
            }
        }
    })))
}

/// What `read` gives; a panic within is an error.
fn guarded<T>(read: impl FnOnce() -> std::result::Result<T, ParquetError>) -> std::result::Result<T, ParquetError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err(ParquetError::General("its pages contradict each other".into())))
}

/// A row with its fields by name; of a group within, those that are bytes are kept apart as `group.field`.
fn understood(number: u64, row: parquet::record::Row, most: u64) -> std::result::Result<Row, RowError> {
    let mut understood = Row { number, ..Row::default() };
    for (name, field) in row.into_columns() {
        let value = match field {
            Field::Bytes(bytes) if bytes.len() as u64 > most => {
                return Err(RowError::Row(number, format!("`{name}` has over {most} bytes")));
            }
            Field::Bytes(bytes) => match as_text(&bytes) {
                Some(text) => Value::String(text),
                None => {
                    understood.binary.push((name, bytes.data().to_vec()));
                    continue;
                }
            },
            // Hugging Face's `image`: a group of `bytes` and `path`, of which one may be missing.
            Field::Group(group) => {
                let mut image = Map::new();
                for (inner, field) in group.into_columns() {
                    match field {
                        Field::Bytes(bytes) if inner == "bytes" && !bytes.is_empty() => {
                            understood.binary.push((name.clone(), bytes.data().to_vec()));
                        }
                        Field::Null => {}
                        field => _ = image.insert(inner, json(&field, 1)),
                    }
                }
                if image.is_empty() {
                    continue;
                }
                Value::Object(image)
            }
            Field::Null => continue,
            field => json(&field, 0),
        };
        understood.fields.insert(name, value);
    }
    Ok(understood)
}

/// Bytes that are text, as old writers leave strings. A picture file is none: it has bytes that no UTF-8 has, or zeros.
fn as_text(bytes: &ByteArray) -> Option<String> {
    let text = bytes.as_utf8().ok()?;
    (!text.contains('\0')).then(|| text.to_owned())
}

fn json(field: &Field, depth: usize) -> Value {
    if depth > MAX_DEPTH {
        return Value::Null;
    }
    match field {
        Field::Null => Value::Null,
        Field::Bool(value) => (*value).into(),
        Field::Byte(value) => (*value).into(),
        Field::Short(value) => (*value).into(),
        Field::Int(value) | Field::Date(value) | Field::TimeMillis(value) => (*value).into(),
        Field::Long(value) | Field::TimeMicros(value) | Field::TimestampMillis(value) | Field::TimestampMicros(value) => (*value).into(),
        Field::UByte(value) => (*value).into(),
        Field::UShort(value) => (*value).into(),
        Field::UInt(value) => (*value).into(),
        Field::ULong(value) => (*value).into(),
        Field::Float(value) => (*value).into(),
        Field::Double(value) => (*value).into(),
        Field::Str(text) => text.as_str().into(),
        Field::Bytes(bytes) => as_text(bytes).map_or(Value::Null, Value::String),
        Field::Group(row) => {
            row.get_column_iter().map(|(name, field)| (name.clone(), json(field, depth + 1))).collect::<Map<_, _>>().into()
        }
        Field::ListInternal(list) => list.elements().iter().map(|field| json(field, depth + 1)).collect(),
        other => Value::String(other.to_string()),
    }
}

/// A column to write; a row may have nothing in it.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// Numbers with a fraction.
    Float(Vec<Option<f64>>),
    /// Whole numbers.
    Int(Vec<Option<i64>>),
    /// Texts.
    Text(Vec<Option<String>>),
}

impl Column {
    /// How many rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Float(values) => values.len(),
            Self::Int(values) => values.len(),
            Self::Text(values) => values.len(),
        }
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Writes a Parquet file of these columns, compressed with snappy, as pandas and clip-retrieval read it.
///
/// # Errors
/// [`Error::Io`] if it cannot be written.
///
/// # Panics
/// If columns have different lengths or one has the name of another.
pub fn write_table(path: &Path, columns: &[(&str, Column)]) -> Result<()> {
    let rows = columns.first().map_or(0, |(_, column)| column.len());
    assert!(columns.iter().all(|(_, column)| column.len() == rows), "all columns have a value for each row");
    let names: std::collections::HashSet<_> = columns.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), columns.len(), "each column has a name of its own");
    let file = File::create(path).map_err(Error::io(path))?;
    written(file, columns, rows).map_err(|e| Error::Io { path: path.to_owned(), source: std::io::Error::other(e) })
}

fn written(file: File, columns: &[(&str, Column)], rows: usize) -> std::result::Result<(), ParquetError> {
    let fields: std::result::Result<Vec<_>, ParquetError> =
        columns.iter().map(|(name, column)| Ok(Arc::new(schema(name, column)?))).collect();
    let schema = Arc::new(Type::group_type_builder("schema").with_fields(fields?).build()?);
    let properties = Arc::new(WriterProperties::builder().set_compression(Compression::SNAPPY).build());
    let mut writer = SerializedFileWriter::new(file, schema, properties)?;
    for start in (0..rows).step_by(GROUP) {
        let end = rows.min(start + GROUP);
        let mut group = writer.next_row_group()?;
        for (_, column) in columns {
            let mut writer = group.next_column()?.expect("the schema has as many columns");
            match (writer.untyped(), column) {
                (ColumnWriter::DoubleColumnWriter(writer), Column::Float(values)) => {
                    let (there, levels) = packed(&values[start..end], |value| *value);
                    writer.write_batch(&there, Some(&levels), None)?;
                }
                (ColumnWriter::Int64ColumnWriter(writer), Column::Int(values)) => {
                    let (there, levels) = packed(&values[start..end], |value| *value);
                    writer.write_batch(&there, Some(&levels), None)?;
                }
                (ColumnWriter::ByteArrayColumnWriter(writer), Column::Text(values)) => {
                    let (there, levels) = packed(&values[start..end], |text| ByteArray::from(text.as_str()));
                    writer.write_batch(&there, Some(&levels), None)?;
                }
                _ => unreachable!("the schema was made from the columns"),
            }
            writer.close()?;
        }
        group.close()?;
    }
    writer.close()?;
    Ok(())
}

fn schema(name: &str, column: &Column) -> std::result::Result<Type, ParquetError> {
    let (kind, logical) = match column {
        Column::Float(_) => (PhysicalType::DOUBLE, None),
        Column::Int(_) => (PhysicalType::INT64, None),
        Column::Text(_) => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
    };
    Type::primitive_type_builder(name, kind).with_repetition(Repetition::OPTIONAL).with_logical_type(logical).build()
}

/// The values that are there, and for each row whether it has one.
fn packed<T, U>(values: &[Option<T>], value: impl Fn(&T) -> U) -> (Vec<U>, Vec<i16>) {
    (values.iter().flatten().map(value).collect(), values.iter().map(|value| i16::from(value.is_some())).collect())
}
