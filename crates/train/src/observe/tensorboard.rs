//! TensorBoard's event files, which other tools of the field read too (Weights & Biases, Aim, `tbparse`).
//!
//! A file is a row of records in TFRecord framing (tensorflow `tsl/lib/io/record_writer.cc`): the length in eight bytes, its masked
//! CRC-32C, the record, its masked CRC-32C. A record is a protobuf message `Event` (tensorboard `compat/proto/event.proto`), of which a
//! scalar needs five fields of three types; they are written by hand, and no protobuf library comes in.
//!
//! What it decided: a run that is resumed begins a new file with a `SessionLog` of status START, at which TensorBoard forgets what older
//! files say of that step and later ones; so steps that were done twice are shown once (as torch's `SummaryWriter(purge_step=…)`).

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// One event file, appended to.
#[derive(Debug)]
pub struct EventFile {
    file: File,
    path: PathBuf,
    /// Bytes of the file that are whole records.
    whole: u64,
    /// Records that could not be written yet.
    pending: Vec<u8>,
}

impl EventFile {
    /// Begins a new file in `folder`; what other files of the folder say of `first_step` and later steps no longer counts.
    pub fn create(folder: &Path, first_step: u64) -> io::Result<Self> {
        let (seconds, process) = (now() as u64, std::process::id());
        for number in 0.. {
            // The name sorts by time, which is the order in which TensorBoard reads; two in a second are told apart.
            let path = folder.join(format!("events.out.tfevents.{seconds:010}.hua.{process}.{number}"));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => {
                    let mut events = Self { file, path, whole: 0, pending: Vec::new() };
                    events.write(&event(0, Field::Bytes(3, b"brain.Event:2")))?;
                    events.write(&event(first_step, Field::Bytes(7, &message(&[Field::Varint(1, START)]))))?;
                    return Ok(events);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        unreachable!("the numbers do not end")
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the values of one step, each under its tag (`train/loss`).
    pub fn scalars(&mut self, step: u64, values: &[(String, f64)]) -> io::Result<()> {
        let mut summary = Vec::new();
        for (tag, value) in values {
            let value = message(&[Field::Bytes(1, tag.as_bytes()), Field::Float(2, *value as f32)]);
            Field::Bytes(1, &value).write(&mut summary);
        }
        self.write(&event(step, Field::Bytes(5, &summary)))
    }

    /// Appends a record, after those that a full disk held back; half a record never stays.
    fn write(&mut self, record: &[u8]) -> io::Result<()> {
        let length = (record.len() as u64).to_le_bytes();
        self.pending.extend_from_slice(&length);
        self.pending.extend_from_slice(&masked(crc32c(&length)).to_le_bytes());
        self.pending.extend_from_slice(record);
        self.pending.extend_from_slice(&masked(crc32c(record)).to_le_bytes());
        super::append(&mut self.file, &mut self.whole, &mut self.pending)
    }
}

/// `SessionLog.SessionStatus.START`.
const START: u64 = 1;

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// A message `Event`: `wall_time` = 1, `step` = 2, and what happened.
fn event(step: u64, what: Field<'_>) -> Vec<u8> {
    message(&[Field::Double(1, now()), Field::Varint(2, step), what])
}

fn message(fields: &[Field<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in fields {
        field.write(&mut out);
    }
    out
}

/// A field of a protobuf message: its number and its value.
enum Field<'a> {
    Bytes(u32, &'a [u8]),
    Double(u32, f64),
    Float(u32, f32),
    Varint(u32, u64),
}

impl Field<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut key = |number: u32, wire: u32| varint(out, u64::from(number << 3 | wire));
        match *self {
            Self::Varint(number, value) => {
                key(number, 0);
                varint(out, value);
            }
            Self::Double(number, value) => {
                key(number, 1);
                out.extend_from_slice(&value.to_le_bytes());
            }
            Self::Bytes(number, value) => {
                key(number, 2);
                varint(out, value.len() as u64);
                out.extend_from_slice(value);
            }
            Self::Float(number, value) => {
                key(number, 5);
                out.extend_from_slice(&value.to_le_bytes());
            }
        }
    }
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// CRC-32C (Castagnoli, reflected), by a table of bytes: events are short and few.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| CRC[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

/// As TFRecord keeps a checksum, so that one of data that holds checksums is not weak.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

const CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads records, and fails on any that is torn or whose checksums are wrong.
    fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let (head, rest) = bytes.split_at(12);
            let length = u64::from_le_bytes(head[..8].try_into().unwrap()) as usize;
            assert_eq!(head[8..], masked(crc32c(&head[..8])).to_le_bytes());
            let (record, rest) = rest.split_at(length);
            assert_eq!(rest[..4], masked(crc32c(record)).to_le_bytes());
            found.push(record.to_vec());
            bytes = &rest[4..];
        }
        found
    }

    /// The fields of a message: number, and the bytes of the value.
    fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
        fn number(bytes: &mut &[u8]) -> u64 {
            let (mut value, mut shift) = (0, 0);
            loop {
                let byte = bytes[0];
                *bytes = &bytes[1..];
                value |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    return value;
                }
            }
        }
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let key = number(&mut bytes);
            let length = match key & 7 {
                0 => {
                    let value = number(&mut bytes);
                    found.push((key >> 3, value.to_le_bytes().to_vec()));
                    continue;
                }
                1 => 8,
                2 => number(&mut bytes) as usize,
                5 => 4,
                wire => panic!("wire type {wire}"),
            };
            let (value, rest) = bytes.split_at(length);
            found.push((key >> 3, value.to_vec()));
            bytes = rest;
        }
        found
    }

    fn only(fields: &[(u64, Vec<u8>)], number: u64) -> Vec<u8> {
        fields.iter().find(|(found, _)| *found == number).map(|(_, value)| value.clone()).unwrap_or_else(|| panic!("no field {number}"))
    }

    #[test]
    fn the_checksum_is_castagnolis() {
        // The check value of the catalogue of CRCs, and the 32 zero bytes of RFC 3720, B.4.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn what_is_written_is_read_back_record_by_record() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = EventFile::create(folder.path(), 301).unwrap();
        events.scalars(301, &[("train/loss".into(), 2.5), ("recall/ja".into(), 0.125)]).unwrap();
        let records = records(&std::fs::read(events.path()).unwrap());
        assert_eq!(records.len(), 3);
        assert_eq!(only(&fields(&records[0]), 3), b"brain.Event:2");
        let start = fields(&records[1]);
        assert_eq!(only(&start, 2), 301_u64.to_le_bytes());
        assert_eq!(only(&fields(&only(&start, 7)), 1), START.to_le_bytes());
        let scalars = fields(&records[2]);
        assert_eq!(only(&scalars, 2), 301_u64.to_le_bytes());
        let time = f64::from_le_bytes(only(&scalars, 1).try_into().unwrap());
        assert!(time > 1.7e9, "seconds since 1970");
        let values: Vec<(String, f32)> = fields(&only(&scalars, 5))
            .into_iter()
            .map(|(number, value)| {
                assert_eq!(number, 1);
                let value = fields(&value);
                (String::from_utf8(only(&value, 1)).unwrap(), f32::from_le_bytes(only(&value, 2).try_into().unwrap()))
            })
            .collect();
        assert_eq!(values, [("train/loss".to_owned(), 2.5), ("recall/ja".to_owned(), 0.125)]);
    }

    #[test]
    fn two_files_of_one_second_have_names_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (EventFile::create(folder.path(), 0).unwrap(), EventFile::create(folder.path(), 0).unwrap());
        assert_ne!(first.path(), second.path());
    }
}
