//! The lines of a file, each with its number and place, none longer than is allowed.
use std::io::{self, BufRead, Read};

/// One line, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Counted from 1.
    pub number: usize,
    /// Where it begins, in bytes.
    pub offset: u64,
    pub bytes: Vec<u8>,
}

/// Why a line cannot be had. After [`Self::Long`] the next line follows, after [`Self::Io`] nothing.
#[derive(Debug)]
pub(crate) enum LineError {
    Io(io::Error),
    Long { number: usize, most: u64 },
}

pub(crate) struct Lines<R> {
    reader: R,
    number: usize,
    offset: u64,
    most: u64,
}

impl<R: BufRead> Lines<R> {
    /// Lines of at most `most` bytes.
    pub fn new(reader: R, most: u64) -> Self {
        Self { reader, number: 0, offset: 0, most }
    }

    fn read(&mut self) -> Result<Option<Line>, LineError> {
        self.number += 1;
        let offset = self.offset;
        let mut bytes = vec![];
        let read = (&mut self.reader).take(self.most.saturating_add(1)).read_until(b'\n', &mut bytes).map_err(LineError::Io)?;
        self.offset += read as u64;
        if read == 0 {
            return Ok(None);
        }
        if read as u64 > self.most && bytes.last() != Some(&b'\n') {
            drop(bytes);
            self.offset += self.reader.skip_until(b'\n').map_err(LineError::Io)? as u64;
            return Err(LineError::Long { number: self.number, most: self.most });
        }
        while let Some(b'\n' | b'\r') = bytes.last() {
            bytes.pop();
        }
        Ok(Some(Line { number: self.number, offset, bytes }))
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Line, LineError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.most == 0 {
            return None;
        }
        let line = self.read().transpose();
        if let Some(Err(LineError::Io(_))) = line {
            self.most = 0;
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_know_where_they_are_and_long_ones_are_passed_over() {
        let text = b"ab\r\n\n1234567\n12345678\nlast";
        let lines: Vec<_> = Lines::new(&text[..], 7).collect();
        let place = |line: &Result<Line, LineError>| line.as_ref().map(|l| (l.number, l.offset, l.bytes.clone())).ok();
        assert_eq!(place(&lines[0]), Some((1, 0, b"ab".to_vec())));
        assert_eq!(place(&lines[1]), Some((2, 4, vec![])));
        assert_eq!(place(&lines[2]), Some((3, 5, b"1234567".to_vec())));
        assert!(matches!(lines[3], Err(LineError::Long { number: 4, most: 7 })));
        assert_eq!(place(&lines[4]), Some((5, 22, b"last".to_vec())));
        assert_eq!(lines.len(), 5);
    }
}
