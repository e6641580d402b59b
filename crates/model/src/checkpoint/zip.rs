//! The table of a zip archive: which bytes of the file each stored part is.
//!
//! Own code rather than a crate: tensors are viewed in place, so all that is wanted is ranges, each checked against the
//! file, against its local header and against its neighbours (overlapping parts are how small archives unpack to
//! petabytes). Follows PKWARE's APPNOTE 6.3, with zip64, without encryption and spanning.
use std::collections::BTreeMap;
use std::ops::Range;

use super::bytes::Cursor;
use super::error::Defect;

/// More parts than any checkpoint has tensors.
const MAX_ENTRIES: u64 = 1 << 18;
const END: [u8; 4] = *b"PK\x05\x06";
const END_LEN: usize = 22;
const LOCATOR_LEN: usize = 20;
const NOT_HERE: u32 = u32::MAX;

/// The parts of an archive by name.
pub(super) type Archive<'a> = BTreeMap<&'a str, Part>;

/// A part of an archive, its bytes not touched yet.
#[derive(Clone, Debug)]
pub(super) struct Part {
    method: u16,
    /// Length after decompression.
    len: u64,
    range: Range<usize>,
}

impl Part {
    /// The bytes of the file that are this part.
    pub(super) fn stored(&self, name: &str) -> Result<Range<usize>, Defect> {
        if self.method != 0 {
            return Err(Defect::Compressed { entry: name.to_owned() });
        }
        Ok(self.range.clone())
    }

    /// The part's bytes, inflated if they must be, never more than `limit`.
    pub(super) fn read<'a>(&self, file: &'a [u8], name: &str, limit: usize) -> Result<std::borrow::Cow<'a, [u8]>, Defect> {
        if self.len > limit as u64 {
            return Err(Defect::Limit { what: "bytes of a pickle in an archive", found: self.len, limit: limit as u64 });
        }
        let bytes = &file[self.range.clone()];
        match self.method {
            0 => Ok(bytes.into()),
            8 => match miniz_oxide::inflate::decompress_to_vec_with_limit(bytes, self.len as usize) {
                Ok(out) if out.len() as u64 == self.len => Ok(out.into()),
                _ => Err(Defect::Zip { what: "a compressed part does not inflate to the length it claims" }),
            },
            _ => Err(Defect::Compressed { entry: name.to_owned() }),
        }
    }
}

/// Reads the table of the archive that is `file`.
pub(super) fn open(file: &[u8]) -> Result<Archive<'_>, Defect> {
    let (directory, count) = directory(file)?;
    if count > MAX_ENTRIES {
        return Err(Defect::Limit { what: "parts of the archive", found: count, limit: MAX_ENTRIES });
    }
    let mut cursor = Cursor::new(&file[..directory.end], directory.start);
    let mut archive = Archive::new();
    let mut claimed = Vec::new();
    for _ in 0..count {
        let (name, part, all) = entry(file, &mut cursor, directory.start)?;
        if archive.insert(name, part).is_some() {
            return Err(Defect::Duplicate { name: name.to_owned() });
        }
        claimed.push((all.start, all.end, name));
    }
    claimed.sort_unstable();
    match claimed.windows(2).find(|pair| pair[0].1 > pair[1].0) {
        Some(pair) => Err(Defect::Overlap { first: pair[0].2.to_owned(), second: pair[1].2.to_owned() }),
        None => Ok(archive),
    }
}

/// Where the central directory is, and how many entries it has.
fn directory(file: &[u8]) -> Result<(Range<usize>, u64), Defect> {
    // The end record is followed by a comment of at most 65,535 bytes; its own length field says which candidate is right.
    let first = file.len().saturating_sub(END_LEN + usize::from(u16::MAX));
    let last = file.len().checked_sub(END_LEN).ok_or(Defect::Zip { what: "there is no table of contents; the file was cut" })?;
    let fits = |at: &usize| {
        file[*at..].starts_with(&END) && usize::from(u16::from_le_bytes([file[at + 20], file[at + 21]])) == file.len() - at - END_LEN
    };
    let end = (first..=last).rev().find(fits).ok_or(Defect::Zip { what: "there is no table of contents; the file was cut" })?;

    let mut cursor = Cursor::new(file, end + 4);
    let what = "the end of the archive";
    let disks = [cursor.u16(what)?, cursor.u16(what)?];
    let [_, count] = [cursor.u16(what)?, cursor.u16(what)?];
    let [len, start] = [cursor.u32(what)?, cursor.u32(what)?];
    let (mut count, mut len, mut start) = (u64::from(count), u64::from(len), u64::from(start));
    let mut limit = end;
    if disks.iter().any(|&d| d != 0 && d != u16::MAX) {
        return Err(Defect::Zip { what: "it is one of several disks" });
    }
    if let Some(at) = end.checked_sub(LOCATOR_LEN).filter(|&at| file[at..].starts_with(b"PK\x06\x07")) {
        let at = Cursor::new(file, at + 8).u64(what)?;
        let at = usize::try_from(at).ok().filter(|&at| at < end).ok_or(Defect::Zip { what: "the zip64 end is outside the file" })?;
        let mut cursor = Cursor::new(file, at);
        if cursor.array(what)? != *b"PK\x06\x06" {
            return Err(Defect::Zip { what: "there is no zip64 end where the file places it" });
        }
        cursor.take(what, 28)?;
        [count, len, start] = [cursor.u64(what)?, cursor.u64(what)?, cursor.u64(what)?];
        limit = at;
    }
    let stop = start.checked_add(len).filter(|&stop| stop <= limit as u64);
    let stop = stop.ok_or(Defect::Zip { what: "the table of contents is outside the file" })?;
    Ok((start as usize..stop as usize, count))
}

/// The next entry: its name, where its bytes are, and all bytes it occupies, local header included.
fn entry<'a>(file: &'a [u8], cursor: &mut Cursor<'a>, directory: usize) -> Result<(&'a str, Part, Range<usize>), Defect> {
    let what = "an entry of the archive";
    if cursor.array(what)? != *b"PK\x01\x02" {
        return Err(Defect::Zip { what: "the table of contents holds something that is not an entry" });
    }
    cursor.take(what, 4)?;
    let flags = cursor.u16(what)?;
    let method = cursor.u16(what)?;
    cursor.take(what, 8)?;
    let (packed, len) = (cursor.u32(what)?, cursor.u32(what)?);
    let lens = [cursor.u16(what)?, cursor.u16(what)?, cursor.u16(what)?];
    cursor.take(what, 8)?;
    let header = cursor.u32(what)?;
    let name = cursor.take(what, lens[0].into())?;
    let extra = cursor.take(what, lens[1].into())?;
    cursor.take(what, lens[2].into())?;
    if flags & 1 != 0 {
        return Err(Defect::Zip { what: "it is encrypted" });
    }
    let [len, packed, header] = widen(extra, [len, packed, header])?;
    let text = std::str::from_utf8(name).map_err(|_| Defect::Zip { what: "the name of a part is not UTF-8" })?;
    if method == 0 && len != packed {
        return Err(Defect::Zip { what: "a stored part has two lengths" });
    }

    let start = usize::try_from(header).ok().filter(|&at| at < directory).ok_or(Defect::Zip { what: "a part is outside the file" })?;
    let mut local = Cursor::new(&file[..directory], start);
    if local.array(what)? != *b"PK\x03\x04" {
        return Err(Defect::Zip { what: "a part does not start where the table of contents places it" });
    }
    local.take(what, 4)?;
    let local_method = local.u16(what)?;
    local.take(what, 16)?;
    let lens = [local.u16(what)?, local.u16(what)?];
    if local.take(what, lens[0].into())? != name || local_method != method {
        return Err(Defect::Zip { what: "a part and the table of contents disagree about it" });
    }
    local.take(what, lens[1].into())?;
    let at = local.at();
    let end = packed.checked_add(at as u64).filter(|&end| end <= directory as u64);
    let end =
        end.ok_or(Defect::Range { name: text.to_owned(), start: at as u64, end: packed.saturating_add(at as u64), len: directory as u64 })?;
    Ok((text, Part { method, len, range: at..end as usize }, start..end as usize))
}

/// Replaces the 32-bit fields that say "not here" by those of the zip64 extra field, in the order that field has them.
fn widen(extra: &[u8], fields: [u32; 3]) -> Result<[u64; 3], Defect> {
    let what = "an extra field of the archive";
    let mut wide = fields.map(u64::from);
    if !fields.contains(&NOT_HERE) {
        return Ok(wide);
    }
    let mut cursor = Cursor::new(extra, 0);
    while cursor.at() < extra.len() {
        let (id, len) = (cursor.u16(what)?, cursor.u16(what)?);
        let mut field = Cursor::new(cursor.take(what, len.into())?, 0);
        if id == 1 {
            for (wide, _) in wide.iter_mut().zip(fields).filter(|(_, short)| *short == NOT_HERE) {
                *wide = field.u64(what)?;
            }
            return Ok(wide);
        }
    }
    Err(Defect::Zip { what: "an entry lacks its zip64 field" })
}
