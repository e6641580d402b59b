//! NumPy's format, version 1.0: `[rows, width]` of little-endian f32, with the ids in a text file beside it, a line a row.
//!
//! The header holds the number of rows, which is known at the end: it is written twice, the first time with blanks.

use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use super::{About, Draft, Kind, Writer, beside};

/// Bytes before the numbers: room for any shape, and a multiple of 64 as the format asks.
const HEADER: usize = 128;

/// An npy file and its ids.
pub struct Npy {
    numbers: BufWriter<Draft>,
    ids: BufWriter<Draft>,
    rows: usize,
    width: usize,
}

impl Npy {
    pub fn begin(path: &Path, about: About) -> anyhow::Result<Self> {
        let mut numbers = BufWriter::new(Draft::begin(path)?);
        numbers.write_all(&[b' '; HEADER])?;
        let ids = BufWriter::new(Draft::begin(&beside(path, "ids.txt"))?);
        Ok(Self { numbers, ids, rows: 0, width: about.width })
    }
}

impl Writer for Npy {
    fn add(&mut self, _: Kind, id: &str, row: &[f32]) -> io::Result<()> {
        self.rows += 1;
        for number in row {
            self.numbers.write_all(&number.to_le_bytes())?;
        }
        writeln!(self.ids, "{}", id.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r"))
    }

    fn finish(self: Box<Self>) -> anyhow::Result<()> {
        let mut numbers = self.numbers.into_inner().map_err(|error| error.into_error())?;
        numbers.file().seek(SeekFrom::Start(0))?;
        numbers.file().write_all(&header(self.rows, self.width))?;
        let ids = self.ids.into_inner().map_err(|error| error.into_error())?;
        numbers.finish()?;
        ids.finish()
    }
}

/// The header of `[rows, width]`, [`HEADER`] bytes.
fn header(rows: usize, width: usize) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((HEADER as u16 - 10).to_le_bytes());
    bytes.extend(format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {width}), }}").bytes());
    bytes.resize(HEADER - 1, b' ');
    bytes.push(b'\n');
    bytes
}
