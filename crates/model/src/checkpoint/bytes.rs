//! Reading little-endian numbers from bytes that may end at any moment.
use super::error::Defect;

/// A position in bytes. Every read says what it reads, so that the error of a cut file does too.
#[derive(Clone)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at: at.min(bytes.len()) }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn take(&mut self, what: &'static str, len: u64) -> Result<&'a [u8], Defect> {
        let left = &self.bytes[self.at..];
        let taken = usize::try_from(len).ok().and_then(|n| left.get(..n));
        let taken = taken.ok_or(Defect::Truncated { what, wanted: len, found: left.len() as u64 })?;
        self.at += taken.len();
        Ok(taken)
    }

    /// Up to the next line feed, which is taken too and not returned.
    pub(super) fn line(&mut self, what: &'static str) -> Result<&'a [u8], Defect> {
        let left = &self.bytes[self.at..];
        let len = left.iter().position(|&b| b == b'\n').ok_or(Defect::Truncated {
            what,
            wanted: left.len() as u64 + 1,
            found: left.len() as u64,
        })?;
        self.at += len + 1;
        Ok(&left[..len])
    }

    pub(super) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Defect> {
        Ok(self.take(what, N as u64)?.try_into().expect("`take` gave N bytes"))
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, Defect> {
        self.array::<1>(what).map(|[b]| b)
    }

    pub(super) fn u16(&mut self, what: &'static str) -> Result<u16, Defect> {
        self.array(what).map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, Defect> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, Defect> {
        self.array(what).map(u64::from_le_bytes)
    }
}
