//! NumPy's format: a text of Python that says type, order and shape, then the numbers. Read in versions 1 to 3 and in f16, f32 and f64;
//! written in version 1, in f16 or f32.
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use half::f16;
use hua_data::Failure;
use hua_index::StoredType;

use super::draft::Draft;
use super::{Opened, Row, io as failed, malformed};
use crate::Error;

/// Bytes before the numbers: room for any shape, and a multiple of 64 as the format asks.
const HEADER: usize = 128;
/// A header is a line.
const LONGEST_HEADER: usize = 1 << 16;
/// Wider vectors than any model's.
const WIDEST: usize = 1 << 20;

/// A file being read, row by row.
pub(super) struct Reader {
    path: PathBuf,
    numbers: BufReader<File>,
    kind: Kind,
    pub rows: u64,
    pub width: usize,
    next: u64,
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    F16,
    F32,
    F64,
}

impl Kind {
    fn bytes(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

impl Reader {
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(failed(path))?;
        let length = file.metadata().map_err(failed(path))?.len();
        let mut numbers = BufReader::with_capacity(1 << 20, file);
        let (text, begin) = header(&mut numbers).map_err(|_| malformed(path, "does not begin as an npy file", "a header of NumPy"))?;
        let wanted = "a table `[rows, width]` of little-endian f16, f32 or f64 in rows";
        let (kind, rows, width) = parse(&text).ok_or_else(|| malformed(path, format!("holds {}", text.trim()), wanted))?;
        let needed = rows.checked_mul((width * kind.bytes()) as u64).and_then(|n| n.checked_add(begin));
        if needed != Some(length) {
            return Err(malformed(path, format!("has {length} bytes for {rows} rows of {width} numbers"), "as many as its header says"));
        }
        Ok(Self { path: path.to_owned(), numbers, kind, rows, width, next: 0 })
    }
}

impl Iterator for Reader {
    type Item = Result<Vec<f32>, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.rows {
            return None;
        }
        self.next += 1;
        let mut bytes = vec![0; self.width * self.kind.bytes()];
        if let Err(error) = self.numbers.read_exact(&mut bytes) {
            // The file has become shorter: there is no next row either.
            let name = format!("{}#{}", self.path.display(), self.next - 1);
            self.next = self.rows;
            return Some(Err(Failure { name, reason: error.to_string() }));
        }
        Some(Ok(numbers(self.kind, &bytes)))
    }
}

/// Numbers from their bytes, little end first.
pub(super) fn numbers(kind: Kind, bytes: &[u8]) -> Vec<f32> {
    match kind {
        Kind::F16 => bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        Kind::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        Kind::F64 => bytes.chunks_exact(8).map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f32).collect(),
    }
}

/// The header's text and where the numbers begin.
fn header(file: &mut impl Read) -> io::Result<(String, u64)> {
    let broken = || io::Error::from(io::ErrorKind::InvalidData);
    let mut start = [0; 8];
    file.read_exact(&mut start)?;
    if &start[..6] != b"\x93NUMPY" {
        return Err(broken());
    }
    let (length, before) = match start[6] {
        1 => {
            let mut length = [0; 2];
            file.read_exact(&mut length)?;
            (usize::from(u16::from_le_bytes(length)), 10)
        }
        2 | 3 => {
            let mut length = [0; 4];
            file.read_exact(&mut length)?;
            (u32::from_le_bytes(length) as usize, 12)
        }
        _ => return Err(broken()),
    };
    if length > LONGEST_HEADER {
        return Err(broken());
    }
    let mut text = vec![0; length];
    file.read_exact(&mut text)?;
    Ok((String::from_utf8(text).map_err(|_| broken())?, before + length as u64))
}

/// Type, rows and width from `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`.
fn parse(text: &str) -> Option<(Kind, u64, usize)> {
    let after = |key: &str| Some(text.split_once(&format!("'{key}':"))?.1.trim_start());
    let kind = match after("descr")?.strip_prefix('\'')?.split('\'').next()? {
        "<f2" => Kind::F16,
        "<f4" => Kind::F32,
        "<f8" => Kind::F64,
        _ => return None,
    };
    if !after("fortran_order")?.starts_with("False") {
        return None;
    }
    let shape = after("shape")?.strip_prefix('(')?.split(')').next()?;
    let mut sides = shape.split(',').map(str::trim).filter(|side| !side.is_empty());
    let (rows, width) = (sides.next()?.parse().ok()?, sides.next()?.parse().ok()?);
    (sides.next().is_none() && width > 0 && width <= WIDEST).then_some((kind, rows, width))
}

/// A file being written; its shape is known at the end.
pub(super) struct Writer {
    draft: Draft,
    stored: StoredType,
    width: usize,
    pub rows: usize,
}

impl Writer {
    pub fn begin(path: &Path, width: usize, stored: StoredType) -> Result<Self, Error> {
        let mut draft = Draft::begin(path)?;
        draft.write_all(&[b' '; HEADER]).map_err(draft.failed())?;
        Ok(Self { draft, stored, width, rows: 0 })
    }

    /// Adds a row of `width` numbers.
    pub fn add(&mut self, row: &[f32]) -> Result<(), Error> {
        self.rows += 1;
        self.draft.write_all(&bytes(self.stored, row)).map_err(self.draft.failed())
    }

    pub fn finish(self) -> Result<(), Error> {
        let kind = match self.stored {
            StoredType::F16 => "<f2",
            StoredType::F32 => "<f4",
        };
        let mut head = b"\x93NUMPY\x01\x00".to_vec();
        head.extend((HEADER as u16 - 10).to_le_bytes());
        head.extend(format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({}, {}), }}", self.rows, self.width).bytes());
        head.resize(HEADER - 1, b' ');
        head.push(b'\n');
        self.draft.finish(&head)
    }
}

/// The bytes of numbers, little end first.
pub(super) fn bytes(stored: StoredType, row: &[f32]) -> Vec<u8> {
    match stored {
        StoredType::F16 => row.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
        StoredType::F32 => row.iter().flat_map(|x| x.to_le_bytes()).collect(),
    }
}

/// `vectors.npy` with its names in `vectors.ids.txt`, as `hua embed` writes them.
pub(super) fn open(path: &Path) -> Result<Opened, Error> {
    let reader = Reader::open(path)?;
    let beside = path.with_extension("ids.txt");
    let names = match std::fs::read_to_string(&beside) {
        Ok(text) => text.lines().map(unescaped).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => vec![],
        Err(error) => return Err(failed(&beside)(error)),
    };
    if !names.is_empty() && names.len() as u64 != reader.rows {
        return Err(malformed(&beside, format!("has {} lines", names.len()), format!("{}, one a row", reader.rows)));
    }
    let (total, own) = (reader.rows, path.display().to_string());
    let rows = reader.zip(0usize..).map(move |(vector, number)| {
        let name = names.get(number).cloned().unwrap_or_else(|| format!("{own}#{number}"));
        vector.map(|vector| Row { name, vector, captions: vec![], meta: None })
    });
    Ok(Opened { fingerprint: None, total: Some(total), rows: Box::new(rows) })
}

/// A name as a line.
pub(super) fn escaped(name: &str) -> String {
    name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r")
}

fn unescaped(line: &str) -> String {
    let mut name = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (character, character == '\\') {
            (_, true) => match characters.next() {
                Some('n') => name.push('\n'),
                Some('r') => name.push('\r'),
                Some(other) => name.push(other),
                None => name.push('\\'),
            },
            (other, false) => name.push(other),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_numpy_are_understood_and_others_refused() {
        let read = |text: &str| parse(text).map(|(kind, rows, width)| (kind.bytes(), rows, width));
        assert_eq!(read("{'descr': '<f2', 'fortran_order': False, 'shape': (3, 512), }"), Some((2, 3, 512)));
        assert_eq!(read("{'shape': (0, 4), 'fortran_order': False, 'descr': '<f8'}"), Some((8, 0, 4)));
        for text in [
            "{'descr': '>f4', 'fortran_order': False, 'shape': (3, 4), }",
            "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 4), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 0), }",
            "{'descr': '|O', 'fortran_order': False, 'shape': (3, 4), }",
            "",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_name_with_line_breaks_is_one_line_and_comes_back() {
        for name in ["a\nb\\n\r.jpg", "\\", "彩虹.png", ""] {
            assert!(!escaped(name).contains(['\n', '\r']));
            assert_eq!(unescaped(&escaped(name)), name);
        }
    }
}
