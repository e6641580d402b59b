//! The packed matrices of a program, one after the other: in memory, or in a file that the next process maps and uses in place.
//!
//! The file begins with a text that says what is in it: the version of packing, instruction set, precision, model, graph, and where
//! each matrix lies. A reader knows that text before it opens the file, for all of it follows from the graph and the model; so nothing
//! is parsed and no length is trusted. A file whose text or size is another (stale, foreign, cut, damaged) is not there, and is written
//! anew. It is written under another name first and renamed when it is whole and on the disk, so that a process that is killed leaves
//! nothing that looks like one. What no reader could see without reading all of it are bits that flip later within the matrices: they
//! would give wrong vectors, as in a checkpoint.
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use hua_graph::{Param, Weights};
use hua_kernels::{AlignedBytes, Cores, Layout, MappedFile, Packed};

use crate::ExecError;
use crate::cpu::recipe::Recipe;

/// Goes up whenever the kernels pack otherwise, or matrices are made otherwise: `packed_bytes_are_those_of_this_version` knows what they
/// look like.
pub(crate) const VERSION: u32 = 2;
/// Matrices begin at multiples of this, and the first of them on a page of any size in use.
const LINE: usize = 64;
const PAGE: usize = 4096;
/// Unfinished files older than this were left by a process that was killed.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Packed matrices kept in files, so that the next process need not make them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedCache {
    /// The folder of the files. It is made when the first is written.
    pub folder: PathBuf,
    /// What tells the model's weights from all others: one line.
    pub model: String,
    /// Whether to write a file that is not there; else only those are used that are.
    pub write: bool,
}

/// Packed matrices.
#[derive(Debug)]
pub(crate) struct Store {
    bytes: Bytes,
    /// Where each parameter's matrix lies, by parameter.
    places: Vec<Option<(Layout, usize)>>,
}

#[derive(Debug)]
enum Bytes {
    File(MappedFile),
    Memory(AlignedBytes),
}

impl Store {
    /// Finds the matrices in the cache or makes them. `cache` comes with what tells the graph and the precision from others.
    pub(crate) fn load(
        cores: &Cores,
        recipes: Vec<Recipe>,
        weights: &Weights,
        cache: Option<(&PackedCache, &str)>,
    ) -> Result<Self, ExecError> {
        let mut places = vec![None; weights.tensors().len()];
        let mut lay = |start: usize| {
            recipes.iter().fold(start, |at, recipe| {
                places[recipe.param.index()] = Some((recipe.layout, at));
                at + recipe.layout.bytes().next_multiple_of(LINE)
            })
        };
        if let Some((cache, graph)) = cache {
            let mut text = describe(cores, &recipes, &cache.model, graph);
            text.resize(text.len().next_multiple_of(PAGE), b'\n');
            let whole = lay(text.len());
            let path = cache.folder.join(file_name(cores, &cache.model, graph));
            let file = match open(&path, &text, whole) {
                None if cache.write => write(&path, &text, cores, &recipes, weights)?.and_then(|()| open(&path, &text, whole)),
                found => found,
            };
            if let Some(file) = file {
                return Ok(Self { bytes: Bytes::File(file), places });
            }
        }
        let whole = lay(0);
        let mut bytes = AlignedBytes::new(whole);
        for recipe in &recipes {
            let (layout, at) = places[recipe.param.index()].expect("every recipe has a place");
            recipe.pack(weights, cores, &mut bytes[at..at + layout.bytes()])?;
        }
        Ok(Self { bytes: Bytes::Memory(bytes), places })
    }

    /// The matrix of a parameter.
    pub(crate) fn get(&self, param: Param) -> Packed<'_> {
        let (layout, at) = self.places[param.index()].expect("every product has its matrix");
        let bytes: &[u8] = match &self.bytes {
            Bytes::File(file) => file.as_ref(),
            Bytes::Memory(bytes) => bytes,
        };
        Packed::new(layout, &bytes[at..at + layout.bytes()])
    }
}

/// The text at the beginning of a file.
fn describe(cores: &Cores, recipes: &[Recipe], model: &str, graph: &str) -> Vec<u8> {
    let order = if cfg!(target_endian = "little") { "little" } else { "big" };
    let mut text = format!("hua packed weights, version {VERSION}\n{} {order}-endian\n", cores.isa().name());
    let mut line = |of: &str, what: &str| writeln!(text, "{of} {}", what.escape_debug()).expect("a string takes all");
    line("model", model);
    line("graph", graph);
    for Recipe { param, layout, .. } in recipes {
        let (precision, out, inner) = (layout.precision(), layout.out(), layout.inner());
        line("weight", &format!("{} {precision} {out} x {inner}, {} bytes", param.index(), layout.bytes()));
    }
    text.push_str("end\n");
    text.into_bytes()
}

/// The same name for all versions of packing, so that the file of an old one is replaced.
fn file_name(cores: &Cores, model: &str, graph: &str) -> String {
    format!("{:016x}-{}.packed", fnv(format!("{model}\n{graph}").as_bytes()), cores.isa().name())
}

/// FNV-1a (Fowler, Noll, Vo).
pub(crate) fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The file, if it is one that begins with this text and is as long as it should be.
fn open(path: &Path, text: &[u8], whole: usize) -> Option<MappedFile> {
    // Asked first, since opening a pipe waits for a writer.
    let metadata = fs::metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() != whole as u64 {
        return None;
    }
    let file = MappedFile::open(path).ok()?;
    let bytes: &[u8] = file.as_ref();
    (bytes.len() == whole && bytes.starts_with(text)).then_some(file)
}

/// Makes the matrices one after the other and writes each as soon as it is made. Nothing if the file cannot be written.
fn write(path: &Path, text: &[u8], cores: &Cores, recipes: &[Recipe], weights: &Weights) -> Result<Option<()>, ExecError> {
    let Some(folder) = path.parent() else { return Ok(None) };
    if fs::create_dir_all(folder).is_err() {
        return Ok(None);
    }
    clean(folder);
    /// Tells the files apart that threads of this process write at the same time.
    static FILES: AtomicUsize = AtomicUsize::new(0);
    let unfinished = path.with_extension(format!("{}-{}.unfinished", process::id(), FILES.fetch_add(1, Ordering::Relaxed)));
    let Ok(mut file) = OpenOptions::new().write(true).create_new(true).open(&unfinished) else { return Ok(None) };
    let written = write_all(&mut file, text, cores, recipes, weights);
    let done = matches!(&written, Ok(Ok(()))) && file.sync_all().is_ok() && fs::rename(&unfinished, path).is_ok();
    if !done {
        // If that fails too, `clean` does it some other day.
        let _ = fs::remove_file(&unfinished);
    }
    written.map(|_| done.then_some(()))
}

fn write_all(file: &mut File, text: &[u8], cores: &Cores, recipes: &[Recipe], weights: &Weights) -> Result<io::Result<()>, ExecError> {
    let longest = recipes.iter().map(|recipe| recipe.layout.bytes()).max().unwrap_or(0);
    let mut room = AlignedBytes::new(longest.next_multiple_of(LINE));
    let mut done = file.write_all(text);
    for recipe in recipes {
        let len = recipe.layout.bytes();
        recipe.pack(weights, cores, &mut room[..len])?;
        room[len..len.next_multiple_of(LINE)].fill(0);
        done = done.and_then(|()| file.write_all(&room[..len.next_multiple_of(LINE)]));
        if done.is_err() {
            break;
        }
    }
    Ok(done)
}

/// Deletes what processes left that were killed while they wrote.
fn clean(folder: &Path) {
    let Ok(files) = fs::read_dir(folder) else { return };
    for file in files.flatten() {
        let old = || {
            let changed = file.metadata().and_then(|metadata| metadata.modified()).ok()?;
            SystemTime::now().duration_since(changed).ok().filter(|age| *age > ABANDONED)
        };
        if file.path().extension().is_some_and(|extension| extension == "unfinished") && old().is_some() {
            let _ = fs::remove_file(file.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use hua_kernels::{Isa, Precision, Values, pack};

    use super::*;

    /// Panels of 16 channels: those of other instruction sets are wider or narrower, but made by the same code.
    #[test]
    #[cfg(target_endian = "little")]
    fn packed_bytes_are_those_of_this_version() {
        let (out, inner) = (37, 21);
        let weight: Vec<f32> = (0..out * inner).map(|i| ((i * 7919) % 2003) as f32 / 1024.0 - 0.9).collect();
        let found = |isa: Isa| {
            Precision::ALL.map(|precision| {
                let layout = Layout::new(isa, precision, out, inner);
                let mut bytes = AlignedBytes::new(layout.bytes());
                pack(&Cores::new(1, isa).unwrap(), layout, Values::F32(&weight), &mut bytes);
                fnv(&bytes)
            })
        };
        let wanted = (2, [0x05fe_1889_1392_d384, 0xa18c_b163_6066_00d2, 0xcae1_6c4f_c0e8_6791]);
        for isa in Isa::available().into_iter().filter(|isa| ["avx2", "scalar"].contains(&isa.name())) {
            let advice = "packed otherwise: raise VERSION, so that files of packed weights are made anew, and write its hashes here";
            assert_eq!((VERSION, found(isa)), wanted, "{}: {advice}", isa.name());
        }
    }
}
