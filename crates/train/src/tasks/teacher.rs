//! Teachers: vectors that a student is to learn, of a trained model or of a file.
//!
//! A teacher's vectors are computed once and kept on the disk, by what they are of and whose they are. Texts go to the teacher as the data
//! has them, never varied.
use std::path::Path;

use hua::{Embedder, OpenOptions};
use hua_exec::{Batch, Cpu, Device, Program};
use hua_graph::Kind;
use hua_kernels::Cores;

use super::vectors::{SHARD, Vectors, key};
use crate::data::{PairSet, Pictures};
use crate::loss::{Pca, Units};
use crate::recipe::TextDistill;
use crate::{Error, Result};

/// Texts that go to a teacher together.
const TOGETHER: usize = 64;
/// Vectors that principal directions are made of, at most.
const PCA_VECTORS: usize = 100_000;

/// A teacher of texts.
pub(crate) struct TextTeacher {
    vectors: Vectors,
    /// Only opened if a vector is missing.
    model: Option<String>,
    threads: usize,
    output: String,
    pca: Option<Pca>,
    cores: Cores,
}

impl TextTeacher {
    /// The teacher that a recipe names; `default` is `[model] teacher`.
    pub(crate) fn new(recipe: &TextDistill, default: Option<&str>, cache: &Path, threads: usize, cores: Cores) -> Result<Self> {
        let output = recipe.teacher_output.clone();
        let (vectors, model) = match (&recipe.vectors, recipe.teacher.as_deref().or(default)) {
            (Some(path), _) => (Vectors::of_file(Path::new(path)).map_err(Error::named("loss.text_distill.vectors"))?, None),
            (None, Some(name)) => {
                let key = if recipe.teacher.is_some() { "loss.text_distill.teacher" } else { "model.teacher" };
                let fingerprint = open(name, threads).map_err(Error::named(key))?.fingerprint().to_owned();
                let folder = format!("text-{}-{}", &fingerprint[..16.min(fingerprint.len())], output.replace('.', "-"));
                (Vectors::open(&cache.join(folder))?, Some(name.to_owned()))
            }
            (None, None) => {
                return Err(Error::recipe("loss.text_distill.teacher", "absent", "a model, or `vectors`, or `[model] teacher`"));
            }
        };
        Ok(Self { vectors, model, threads, output, pca: None, cores })
    }

    /// Makes sure that there is a vector of each text, and returns which texts have none: those that a file lacks, or that the teacher cannot
    /// read.
    pub(crate) fn learn<'a>(&mut self, texts: impl Iterator<Item = &'a str>) -> Result<Vec<&'a str>> {
        let mut asked = std::collections::HashSet::new();
        let missing: Vec<&str> = texts.filter(|text| !self.vectors.has(&key(text.as_bytes())) && asked.insert(*text)).collect();
        let Some(name) = self.model.as_deref().filter(|_| !missing.is_empty()) else { return Ok(missing) };
        let embedder = open(name, self.threads)?;
        let tower = &embedder.model().text;
        let mut graph = tower.graph.clone();
        let one_row = |kind| matches!(kind, Kind::Vector { .. });
        let there = graph.output(&self.output).is_some() || graph.expose(&self.output);
        if !there || !graph.output(&self.output).is_some_and(|value| one_row(graph.node(value).kind)) {
            let wanted = "`embedding`, or a node of the teacher's text tower that gives one row, such as `final.pick`";
            return Err(Error::recipe("loss.text_distill.teacher_output", format!("`{}`", self.output), wanted));
        }
        let device = Cpu { threads: self.threads, ..Cpu::default() };
        let program = device.load(&graph, &tower.weights)?;
        let mut unread = vec![];
        for texts in missing.chunks(SHARD) {
            let (mut keys, mut rows) = (vec![], vec![]);
            for texts in texts.chunks(TOGETHER) {
                let (mut ids, mut some) = (vec![], vec![]);
                for text in texts {
                    match embedder.tokenizer().encode(text) {
                        Ok(encoding) => {
                            ids.push(encoding.ids);
                            some.push(key(text.as_bytes()));
                        }
                        Err(_) => unread.push(*text),
                    }
                }
                if !ids.is_empty() {
                    rows.extend(run(&*program, &ids, &self.output)?);
                    keys.extend(some);
                }
            }
            if let Some(bad) = rows.iter().position(|x| !x.is_finite()) {
                let width = rows.len() / keys.len();
                return Err(hua::Error::NotFinite { of: format!("the teacher's text {}", bad / width) }.into());
            }
            if !keys.is_empty() {
                let width = rows.len() / keys.len();
                self.vectors.add(&keys, width, rows)?;
            }
        }
        Ok(unread)
    }

    /// Numbers of a target.
    pub(crate) fn width(&self) -> usize {
        self.pca.as_ref().map_or(self.vectors.width(), |pca| pca.directions().len() / self.vectors.width())
    }

    /// From now on targets are in the `width` principal directions of the vectors of `texts`. Returns what share of them is kept.
    pub(crate) fn reduce<'a>(&mut self, texts: impl Iterator<Item = &'a str>, width: usize) -> Result<f64> {
        let mut rows = vec![];
        for text in texts.take(PCA_VECTORS) {
            self.vectors.copy(&key(text.as_bytes()), &mut rows);
        }
        let wrong =
            |e: crate::loss::PcaError| Error::recipe("loss.text_distill.fit", format!("`pca`, but {e}"), "`projection`, or more texts");
        let pca = Pca::of(&self.cores, &rows, self.vectors.width(), width).map_err(wrong)?;
        let kept = pca.kept();
        self.pca = Some(pca);
        Ok(kept)
    }

    /// Whether there is a target of a text.
    pub(crate) fn knows(&self, text: &str) -> bool {
        self.vectors.has(&key(text.as_bytes()))
    }

    /// The targets of texts that all have one, `[texts, width]`.
    pub(crate) fn targets<'a>(&self, texts: impl Iterator<Item = &'a str>) -> Vec<f32> {
        let mut rows = vec![];
        for text in texts {
            assert!(self.vectors.copy(&key(text.as_bytes()), &mut rows), "a text that the teacher knows");
        }
        match &self.pca {
            Some(pca) => pca.reduce(&self.cores, &rows),
            None => rows,
        }
    }

    /// The matrix that follows the teacher's output `final.pick`, `[out, inner]`.
    pub(crate) fn projection(&self) -> Result<Option<(Vec<usize>, Vec<f32>)>> {
        let Some(name) = &self.model else { return Ok(None) };
        let embedder = open(name, self.threads)?;
        let tower = &embedder.model().text;
        let Some(i) = tower.graph.params().iter().position(|p| p.name == "final.project.weight") else { return Ok(None) };
        let values = tower.weights.tensors()[i].to_f32().map_err(hua_exec::ExecError::from)?.into_owned();
        Ok(Some((tower.graph.params()[i].shape.clone(), values)))
    }
}

fn run(program: &dyn Program, ids: &[Vec<u32>], output: &str) -> Result<Vec<f32>> {
    Ok(program.run(&Batch::Ids(ids), &[output])?.pop().map(|rows| rows.data).unwrap_or_default())
}

fn open(name: &str, threads: usize) -> Result<Embedder> {
    super::open(name, &OpenOptions { threads, ..OpenOptions::default() })
}

/// The vectors of all pictures of a set, of length one: `[pictures, width]`, rows of zeros for pictures that cannot be used. Returns the width,
/// the rows, and which are there.
pub(crate) fn of_pictures(embedder: &Embedder, pictures: &Pictures, cache: &Path) -> Result<(usize, Vec<f32>, Vec<bool>)> {
    let fingerprint = embedder.fingerprint().to_owned();
    let folder = cache.join(format!("image-{}", &fingerprint[..16.min(fingerprint.len())]));
    let mut of_these = |some: &[u32]| -> Result<(Vec<bool>, Vec<f32>)> {
        let decoded: Vec<_> = some.iter().map(|&picture| pictures.picture(picture).ok()).collect();
        let there = decoded.iter().map(Option::is_some).collect();
        let whole: Vec<hua_image::Picture> = decoded.into_iter().flatten().map(|picture| (*picture).clone()).collect();
        Ok((there, embedder.embed_images(&whole)?.as_slice().to_vec()))
    };
    kept_pictures(pictures, &folder, embedder.width(), &mut of_these)
}

/// Vectors of pictures that somebody brings, by the pictures' names: their width, a row of length one for each picture of `set`, and which have one.
pub(crate) fn named_pictures(path: &Path, set: &PairSet) -> Result<(usize, Vec<f32>, Vec<bool>)> {
    let vectors = Vectors::of_file(path)?;
    let width = vectors.width();
    let (mut rows, mut there) = (vec![], vec![]);
    for picture in 0..set.pictures() as u32 {
        let name = set.name(picture);
        let short = name.rsplit(['/', '#']).next().unwrap_or(name);
        let found = [name, short].iter().any(|name| vectors.copy(&key(name.as_bytes()), &mut rows));
        if !found {
            rows.extend(std::iter::repeat_n(0.0, width));
        }
        there.push(found);
    }
    if !there.contains(&true) {
        let found = "none of its names is a picture's of the training set".to_owned();
        return Err(Error::BadData { name: path.display().to_string(), found, wanted: format!("names such as `{}`", set.name(0)) });
    }
    Ok((width, Units::of(&rows, width).rows().to_vec(), there))
}

/// The vectors of all pictures of a set from `folder`, those that are not there by `embed`: for some pictures, which could be used, and rows
/// of `width` numbers of those.
#[expect(clippy::type_complexity, reason = "one function of one caller")]
pub(crate) fn kept_pictures(
    pictures: &Pictures,
    folder: &Path,
    width: usize,
    embed: &mut dyn FnMut(&[u32]) -> Result<(Vec<bool>, Vec<f32>)>,
) -> Result<(usize, Vec<f32>, Vec<bool>)> {
    let mut vectors = Vectors::open(folder)?;
    let set = pictures.set().clone();
    let count = set.pictures();
    // A picture is known by its bytes: reading is quick beside a tower.
    let keys: Vec<_> = (0..count as u32).map(|picture| set.source(picture).read(256 << 20).ok().map(|bytes| key(&bytes))).collect();
    let mut asked = std::collections::HashSet::new();
    let missing: Vec<u32> =
        (0..count as u32).filter(|&picture| keys[picture as usize].is_some_and(|key| !vectors.has(&key) && asked.insert(key))).collect();
    for some in missing.chunks(SHARD) {
        let (mut there_keys, mut rows) = (vec![], vec![]);
        for some in some.chunks(TOGETHER) {
            let (there, found) = embed(some)?;
            rows.extend(found);
            there_keys.extend(some.iter().zip(there).filter(|(_, there)| *there).filter_map(|(&picture, _)| keys[picture as usize]));
        }
        if !there_keys.is_empty() {
            vectors.add(&there_keys, width, rows)?;
        }
    }
    let mut rows = Vec::with_capacity(count * width);
    let there = keys.iter().map(|key| {
        let there = key.is_some_and(|key| vectors.copy(&key, &mut rows));
        if !there {
            rows.extend(std::iter::repeat_n(0.0, width));
        }
        there
    });
    let there: Vec<bool> = there.collect();
    Ok((width, rows, there))
}
