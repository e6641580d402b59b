//! Archives of samples, as webdataset and img2dataset write them: tars in which the members of one sample follow each other and share a name up to
//! its first dot. Each picture of a sample is an entry, with the texts and the JSON of the sample.
//!
//! Headers are read one by one and pictures are skipped: an entry says where in the archive its bytes are. In an archive that is compressed with
//! gzip they are read on the way. Names come from long-name records of GNU and pax, of bounded length; a length that the archive does
//! not have room for ends the reading of it, and what came before stays.
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use tar::{EntryType, Header, PaxExtensions};

use crate::sidecar::{self, is_sidecar};
use crate::sources::{Item, Items, modified};
use crate::walk::{escape, is_picture, name_of};
use crate::{Coding, Entry, Error, Failure, Options, Result, Source};

const BLOCK: u64 = 512;
/// Bytes of a record that holds a long name.
const LONGEST_NAME: u64 = 1 << 20;
/// Pictures and texts of one sample: what lies together in memory.
const LARGEST_SAMPLE: usize = 64;

/// The pictures of the archive at `path`.
pub(crate) fn items(path: PathBuf, options: &Options) -> Result<Items> {
    let io = |e| Error::io(&path)(e);
    let mut file = File::open(&path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    let mut magic = [0; 2];
    let compressed = file.read(&mut magic).map_err(io)? == 2 && magic == [0x1f, 0x8b];
    file.seek(SeekFrom::Start(0)).map_err(io)?;
    let reader = BufReader::with_capacity(64 << 10, file);
    let input = if compressed { Input::Gzip(Box::new(MultiGzDecoder::new(reader))) } else { Input::Plain(reader, metadata.len()) };
    Ok(Box::new(Archive {
        name: name_of(&path),
        file: path.into(),
        input,
        at: 0,
        modified: modified(&metadata),
        most: options.max_bytes,
        long_name: None,
        sample: Sample::default(),
        ready: VecDeque::new(),
        ended: false,
    }))
}

/// The archives of a folder, in the order of their names.
pub(crate) fn shards(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(Error::io(folder))?.flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(|path| crate::kind::is_tar(path)).collect();
    files.sort();
    Ok(files)
}

/// The bytes of the archive.
enum Input {
    Gzip(Box<MultiGzDecoder<BufReader<File>>>),
    /// With the length of the file.
    Plain(BufReader<File>, u64),
}

impl Input {
    fn read_exact(&mut self, to: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Gzip(reader) => reader.read_exact(to),
            Self::Plain(reader, _) => reader.read_exact(to),
        }
    }

    /// Passes over bytes; fewer may be there.
    fn skip(&mut self, count: u64) -> io::Result<()> {
        match self {
            Self::Gzip(reader) => io::copy(&mut reader.take(count), &mut io::sink()).map(|_| ()),
            Self::Plain(reader, _) => reader.seek_relative(i64::try_from(count).unwrap_or(i64::MAX)),
        }
    }
}

struct Archive {
    name: String,
    file: Arc<Path>,
    input: Input,
    /// Bytes read or passed over.
    at: u64,
    modified: Option<i64>,
    /// Bytes of a picture that are kept in memory.
    most: u64,
    /// What records before a member say of it.
    long_name: Option<Vec<u8>>,
    sample: Sample,
    ready: VecDeque<Item>,
    ended: bool,
}

/// The members of a sample so far.
#[derive(Default)]
struct Sample {
    key: String,
    pictures: Vec<Entry>,
    sidecars: Vec<(String, Vec<u8>)>,
}

impl Iterator for Archive {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(item);
            }
            if self.ended {
                return None;
            }
            match self.member() {
                Ok(true) => {}
                Ok(false) => {
                    self.ended = true;
                    self.finish_sample();
                }
                Err(reason) => {
                    self.ended = true;
                    self.finish_sample();
                    self.ready.push_back(Err(Failure { name: self.name.clone(), reason }));
                }
            }
        }
    }
}

impl Archive {
    /// Reads the next header and what belongs to it; false at the end of the archive. An error ends the archive.
    fn member(&mut self) -> std::result::Result<bool, String> {
        let Some(header) = self.header()? else { return Ok(false) };
        let begins = self.at;
        let damaged = |e: io::Error| format!("the archive is damaged at byte {begins}: {e}");
        let size = header.entry_size().map_err(damaged)?;
        let kind = header.entry_type();
        // Links and folders have no bytes, whatever their length says.
        let stored = if matches!(kind.as_byte(), b'1'..=b'6') { 0 } else { size };
        if stored > i64::MAX as u64 / 2 {
            return Err(format!("the archive is damaged at byte {begins}: a member of {stored} bytes"));
        }
        if let Input::Plain(_, length) = &self.input
            && stored > length.saturating_sub(self.at)
        {
            return Err(format!("the archive ends within its member `{}`", escape(&header.path_bytes())));
        }
        match kind {
            EntryType::GNULongName => {
                let mut name = self.bounded(stored, LONGEST_NAME)?;
                name.truncate(name.iter().position(|&byte| byte == 0).unwrap_or(name.len()));
                self.long_name = Some(name);
            }
            EntryType::XHeader => {
                let records = self.bounded(stored, LONGEST_NAME)?;
                for record in PaxExtensions::new(&records).flatten() {
                    match record.key_bytes() {
                        b"path" => self.long_name = Some(record.value_bytes().to_vec()),
                        b"size" if !matches!(record.value().map(str::parse::<u64>), Ok(Ok(n)) if n < 8 << 30) => {
                            return Err(format!("the member at byte {begins} has over 8 GiB"));
                        }
                        _ => {}
                    }
                }
            }
            EntryType::Regular | EntryType::Continuous => {
                let name = self.long_name.take().unwrap_or_else(|| header.path_bytes().into_owned());
                self.regular(&escape(&name), stored)?;
            }
            EntryType::GNUSparse => return Err(format!("the member at byte {begins} is sparse, which hua does not read")),
            EntryType::GNULongLink | EntryType::XGlobalHeader => self.skip(stored)?,
            _ => {
                self.long_name = None;
                self.skip(stored)?;
            }
        }
        // Members are filled up to whole blocks.
        self.skip(stored.next_multiple_of(BLOCK) - stored)?;
        Ok(true)
    }

    /// The next header; none at the end, which is two blocks of zeros or simply the end of the file.
    fn header(&mut self) -> std::result::Result<Option<Header>, String> {
        for _ in 0..2 {
            let mut block = [0; BLOCK as usize];
            let at = self.at;
            let cut = |e: io::Error| format!("the archive ends within a header at byte {at}: {e}");
            match self.input.read_exact(&mut block[..1]) {
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                other => other.map_err(cut)?,
            }
            self.input.read_exact(&mut block[1..]).map_err(cut)?;
            self.at += BLOCK;
            if block.iter().all(|&byte| byte == 0) {
                continue;
            }
            let header = Header::from_byte_slice(&block).clone();
            // The sum of all bytes, with spaces where the sum itself stands.
            let sum: u32 = block[..148].iter().chain(&block[156..]).map(|&byte| u32::from(byte)).sum::<u32>() + 8 * u32::from(b' ');
            if header.cksum().ok() != Some(sum) {
                return Err(format!("the archive is damaged at byte {at}: wanted a header"));
            }
            return Ok(Some(header));
        }
        Ok(None)
    }

    /// A file: a picture, something beside one, or nothing that matters.
    fn regular(&mut self, name: &str, size: u64) -> std::result::Result<(), String> {
        let (folder, base) = name.rsplit_once('/').map_or(("", name), |(folder, base)| (folder, base));
        let key = &name[..name.len() - base.len() + base.find('.').unwrap_or(base.len())];
        let ending = base.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
        let hidden = base.starts_with('.') || folder.split('/').any(|part| part.starts_with('.') && part.len() > 2);
        if key != self.sample.key || self.sample.pictures.len() + self.sample.sidecars.len() >= LARGEST_SAMPLE {
            self.finish_sample();
            self.sample.key = key.to_owned();
        }
        if hidden {
            return self.skip(size);
        }
        if is_picture(Path::new(base)) {
            let name = format!("{}!{name}", self.name);
            let offset = self.at;
            let source = match &self.input {
                Input::Plain(..) => {
                    self.skip(size)?;
                    Source::Part { file: self.file.clone(), offset, length: size, coding: Coding::Plain }
                }
                Input::Gzip(_) if size > self.most => {
                    self.ready.push_back(Err(Failure { name, reason: format!("over {} bytes are too many for a picture", self.most) }));
                    return self.skip(size);
                }
                Input::Gzip(_) => Source::Bytes(self.bounded(size, self.most)?),
            };
            let mut entry = Entry::new(name, source);
            (entry.bytes, entry.modified) = (Some(size), self.modified);
            self.sample.pictures.push(entry);
        } else if is_sidecar(&ending) && size <= sidecar::LONGEST {
            let content = self.bounded(size, sidecar::LONGEST)?;
            self.sample.sidecars.push((ending, content));
        } else {
            self.skip(size)?;
        }
        Ok(())
    }

    /// Gives out the pictures of a sample with what stands beside them. A text comes before the JSON, which may say it again.
    fn finish_sample(&mut self) {
        let Sample { pictures, mut sidecars, .. } = std::mem::take(&mut self.sample);
        sidecars.sort_by_key(|(ending, _)| ending == "json");
        for mut picture in pictures {
            for (ending, content) in &sidecars {
                picture.add_sidecar(ending, content);
            }
            self.ready.push_back(Ok(picture));
        }
    }

    /// Bytes that are kept, if they are no more than `most`.
    fn bounded(&mut self, size: u64, most: u64) -> std::result::Result<Vec<u8>, String> {
        if size > most {
            return Err(format!("a record of {size} bytes at byte {} of the archive; at most {most} are read", self.at));
        }
        let mut bytes = vec![];
        let at = self.at;
        let read = match &mut self.input {
            Input::Gzip(reader) => reader.take(size).read_to_end(&mut bytes),
            Input::Plain(reader, _) => reader.take(size).read_to_end(&mut bytes),
        };
        let found = read.map_err(|e| format!("the archive is damaged behind byte {at}: {e}"))?;
        if found as u64 != size {
            return Err(format!("the archive ends within a member at byte {at}"));
        }
        self.at += size;
        Ok(bytes)
    }

    fn skip(&mut self, count: u64) -> std::result::Result<(), String> {
        self.input.skip(count).map_err(|e| format!("the archive is damaged behind byte {}: {e}", self.at))?;
        self.at = self.at.saturating_add(count);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
