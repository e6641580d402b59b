//! Pictures to vectors, from files to the tower: reading, decoding and embedding go on at the same time (`ahead`).
//!
//! A few pictures are decoded by all threads and then embedded by all threads, since somebody waits for them; a folder is embedded by
//! threads that work alone, since nothing may stand still. The numbers are the same to the bit.
//!
//! Memory does not grow with the folder: 64 MiB of files, a picture in decoding for each thread, and 8 decoded ones at the model's
//! size for each thread and 8 more. A picture whose decoding takes more than [`LARGE`] bytes waits until no other large one is
//! decoded, so that many bombs at once cost no more than one.
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hua_exec::{Batch, ExecError, Rows};
use hua_image::{DecodeOptions, Limits, Picture};
use rayon::prelude::*;

use crate::ahead::{self, Prepare, Read, Steps};
use crate::embedder::finite;
use crate::{Embedder, Embeddings, Error, Failure, Progress, clock};

/// Pictures that a thread embeds at a time. More gain nothing where a picture is a hundred rows or two.
const BATCH: usize = 8;
/// Pictures of each thread that are worth its working alone.
const FEW: usize = 2;
/// Bytes that decoding may take beside other pictures; 33 megapixels of a usual JPEG.
const LARGE: u64 = 128 << 20;

/// Where the time of embedding pictures went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PictureTimes {
    /// From the first to the last.
    pub wall: Duration,
    /// Threads that worked.
    pub threads: usize,
    /// Processor time of decoding, resizing and normalising.
    pub decode: Duration,
    /// Processor time of the tower.
    pub embed: Duration,
}

impl PictureTimes {
    /// The share of `part` in what the threads could have worked, 0 to 1.
    pub fn share(&self, part: Duration) -> f64 {
        let all = self.wall.as_secs_f64() * self.threads as f64;
        if all > 0.0 { part.as_secs_f64() / all } else { 0.0 }
    }
}

impl Embedder {
    /// Vectors of pictures.
    ///
    /// # Errors
    /// [`Error::Exec`].
    pub fn embed_images(&self, pictures: &[Picture]) -> Result<Embeddings, Error> {
        let mut data = Vec::with_capacity(pictures.len() * self.width());
        let steps = PictureSteps {
            read: &|picture: &mut &Picture| Ok((*picture, 0)),
            pixels: &|_, picture: &Picture| Ok(self.preprocess().apply(picture).data),
            count: pictures.len(),
        };
        self.embed_pictures(pictures.iter(), &steps, |_, row: Result<Vec<f32>, Error>| {
            data.extend(row?);
            Ok::<(), Error>(())
        })?;
        Ok(Embeddings::from_rows(self.fingerprint(), self.width(), data))
    }

    /// Vectors of picture files: for each its normalised vector, or why it cannot be used.
    ///
    /// # Errors
    /// [`Error::Exec`].
    pub fn embed_files<P: AsRef<Path> + Sync>(&self, paths: &[P]) -> Result<Vec<Result<Vec<f32>, Error>>, Error> {
        let mut rows = Vec::with_capacity(paths.len());
        self.embed_each_file(paths, |_, row| {
            rows.push(row);
            Ok::<(), Error>(())
        })?;
        Ok(rows)
    }

    /// [`Embedder::embed_files`] of as many as there are, a vector at a time: `each` is given a path, in their order, and its normalised
    /// vector, or why it cannot be used, while the next ones are worked on.
    ///
    /// # Errors
    /// [`Error::Exec`], and what `each` returns; either ends the work.
    pub fn embed_each_file<'p, P: AsRef<Path> + Sync, E: From<Error>>(
        &self,
        paths: &'p [P],
        mut each: impl FnMut(&'p Path, Result<Vec<f32>, Error>) -> Result<(), E>,
    ) -> Result<PictureTimes, E> {
        let read = |path: &P| self.read_file(path.as_ref());
        self.embed_read(paths, |path| path.as_ref().to_string_lossy().into_owned(), read, |path, row| each(path.as_ref(), row))
    }

    /// Vectors of pictures whose files `read` brings; `name` is for errors.
    pub(crate) fn embed_read<'t, T: Sync, E: From<Error>>(
        &self,
        items: &'t [T],
        name: impl Fn(&T) -> String + Sync,
        read: impl Fn(&T) -> Result<Vec<u8>, Error> + Sync,
        each: impl FnMut(&'t T, Result<Vec<f32>, Error>) -> Result<(), E>,
    ) -> Result<PictureTimes, E> {
        let steps = PictureSteps {
            read: &|item: &mut &T| read(item).map(sized),
            pixels: &|item, bytes| self.file_pixels(&name(item), &bytes),
            count: items.len(),
        };
        self.embed_pictures(items.iter(), &steps, each)
    }

    /// Vectors of pictures that come one after another, `most` of them at most; `read` may leave one out and say why in its own terms.
    pub(crate) fn embed_stream<T: Send, Left: From<Error> + Send, E: From<Error>>(
        &self,
        items: impl Iterator<Item = T> + Send,
        most: usize,
        name: impl Fn(&T) -> String + Sync,
        read: impl Fn(&mut T) -> Result<Vec<u8>, Left> + Sync,
        each: impl FnMut(T, Result<Vec<f32>, Left>) -> Result<(), E>,
    ) -> Result<PictureTimes, E> {
        let steps = PictureSteps {
            read: &|item: &mut T| read(item).map(sized),
            pixels: &|item, bytes: Vec<u8>| Ok(self.file_pixels(&name(item), &bytes)?),
            count: most,
        };
        self.embed_pictures(items, &steps, each)
    }

    /// Vectors of pictures that come as named bytes, with the names of those that could be decoded; the others go to `failures`.
    pub(crate) fn embed_encoded<F: Into<Error> + Send>(
        &self,
        pictures: impl Iterator<Item = Result<(String, Vec<u8>), F>> + Send,
        failures: &mut Vec<Failure>,
        progress: &dyn Progress,
    ) -> Result<(Embeddings, Vec<String>), Error> {
        let (mut data, mut names) = (vec![], vec![]);
        let broken = Mutex::new(None);
        let keep = |error| *broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        let whole = pictures.map_while(|picture| picture.map_err(&keep).ok());
        let steps = PictureSteps {
            read: &|(_, bytes): &mut (String, Vec<u8>)| Ok(sized(std::mem::take(bytes))),
            pixels: &|(name, _), bytes| self.file_pixels(name, &bytes),
            count: usize::MAX,
        };
        self.embed_pictures(whole, &steps, |(name, _), row| {
            progress.advance(1);
            match row {
                Ok(row) => {
                    data.extend(row);
                    names.push(name);
                }
                Err(e) => failures.push(Failure { path: name, reason: e.reason() }),
            }
            Ok::<(), Error>(())
        })?;
        match broken.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error.into()),
            None => Ok((Embeddings::from_rows(self.fingerprint(), self.width(), data), names)),
        }
    }

    /// Reads a picture file.
    ///
    /// # Errors
    /// [`Error::Image`] or [`Error::Io`].
    pub fn read_picture(&self, path: &Path) -> Result<Picture, Error> {
        self.decode_picture(&path.to_string_lossy(), &self.read_file(path)?)
    }

    /// Decodes a picture file's bytes; `name` is for errors.
    ///
    /// # Errors
    /// [`Error::Image`].
    pub fn decode_picture(&self, name: &str, bytes: &[u8]) -> Result<Picture, Error> {
        Picture::decode(bytes, &self.decode).map_err(|source| Error::Image { name: name.to_owned(), source })
    }

    /// The bytes of a file that is not too long to be a picture.
    pub(crate) fn read_file(&self, path: &Path) -> Result<Vec<u8>, Error> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let (mut bytes, most) = (vec![], self.decode.limits.max_bytes);
        File::open(path).and_then(|file| file.take(most.saturating_add(1)).read_to_end(&mut bytes)).map_err(io)?;
        if bytes.len() as u64 > most {
            return Err(io(io::Error::new(io::ErrorKind::FileTooLarge, format!("a file of over {most} bytes is no picture to embed"))));
        }
        Ok(bytes)
    }

    /// A picture file's pixels as the tower takes them, `[3, height, width]`.
    fn file_pixels(&self, name: &str, bytes: &[u8]) -> Result<Vec<f32>, Error> {
        static TURN: Mutex<()> = Mutex::new(());
        let limits = self.decode.limits;
        let modest = DecodeOptions { limits: Limits { max_bytes: limits.max_bytes.min(LARGE), ..limits }, ..self.decode };
        match Picture::decode(bytes, &modest) {
            Ok(picture) => Ok(self.preprocess().apply(&picture).data),
            Err(hua_image::Error::TooManyBytes { .. }) => {
                let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(self.preprocess().apply(&self.decode_picture(name, bytes)?).data)
            }
            Err(source) => Err(Error::Image { name: name.to_owned(), source }),
        }
    }

    /// Takes pictures from `source` through `steps` and the tower, and gives each with its vector to `each`, in order.
    fn embed_pictures<T: Send, Raw: Send, Left: From<Error> + Send, E: From<Error>>(
        &self,
        source: impl Iterator<Item = T> + Send,
        steps: &PictureSteps<'_, T, Raw, Left>,
        mut each: impl FnMut(T, Result<Vec<f32>, Left>) -> Result<(), E>,
    ) -> Result<PictureTimes, E> {
        let (start, threads) = (Instant::now(), self.pool.current_num_threads());
        if steps.count > FEW * threads {
            let loading = Mutex::new(());
            let finish = |pixels: Vec<Vec<f32>>| {
                // One thread loads the tower, the others wait for it rather than load it too.
                let program = {
                    let _turn = loading.lock().unwrap_or_else(PoisonError::into_inner);
                    self.image_program()?
                };
                let rows = self.tower_rows(&pixels, |batch| program.run_alone(batch, &["embedding"]))?;
                Ok(rows.into_iter().map(|row| row.map_err(Left::from)).collect())
            };
            let batch = (steps.count / (4 * threads)).clamp(1, BATCH);
            let steps = Steps { read: steps.read, prepare: steps.pixels, finish: &finish, threads, batch };
            let times = ahead::run(source, &steps, each)?;
            return Ok(PictureTimes { wall: start.elapsed(), threads, decode: times.prepare, embed: times.finish });
        }
        let pixels = |mut item: T| {
            let start = clock::thread_time();
            let pixels = (steps.read)(&mut item).and_then(|(raw, _)| (steps.pixels)(&item, raw));
            (item, pixels, clock::thread_time().saturating_sub(start))
        };
        let items: Vec<T> = source.collect();
        let decoded: Vec<_> = self.pool.install(|| items.into_par_iter().map(pixels).collect());
        let decode = decoded.iter().map(|(_, _, time)| *time).sum();
        let (mut good, mut results) = (vec![], vec![]);
        for (item, pixels, _) in decoded {
            results.push((item, pixels.map(|pixels| good.push(pixels))));
        }
        let begun = Instant::now();
        let rows = match good.is_empty() {
            true => vec![],
            false => {
                let program = self.image_program()?;
                self.tower_rows(&good, |batch| program.run(batch, &["embedding"]))?
            }
        };
        let embed = begun.elapsed() * u32::try_from(threads).unwrap_or(1);
        let mut rows = rows.into_iter();
        for (item, result) in results {
            let row = |()| rows.next().expect("a row for each picture that was decoded").map_err(Left::from);
            each(item, result.and_then(row))?;
        }
        Ok(PictureTimes { wall: start.elapsed(), threads, decode, embed })
    }

    /// The normalised vector of each of `pictures`, pixels `[3, height, width]`.
    fn tower_rows(
        &self,
        pictures: &[Vec<f32>],
        run: impl FnOnce(&Batch<'_>) -> Result<Vec<Rows>, ExecError>,
    ) -> Result<Vec<Result<Vec<f32>, Error>>, Error> {
        let rows = run(&Batch::Images(&pictures.concat()))?.pop().expect("one output was asked for");
        let rows = Embeddings::normalized(self.fingerprint(), self.width(), rows.data);
        Ok(rows.rows().map(|row| finite(row, "this picture")).collect())
    }
}

/// How pictures become pixels.
struct PictureSteps<'a, T, Raw, Left> {
    /// The picture as it is stored, and the bytes it takes.
    read: Read<'a, T, Raw, Left>,
    /// `[3, height, width]` as the tower takes them.
    pixels: Prepare<'a, T, Raw, Vec<f32>, Left>,
    /// How many pictures there are at most.
    count: usize,
}

fn sized(bytes: Vec<u8>) -> (Vec<u8>, usize) {
    let length = bytes.len();
    (bytes, length)
}
