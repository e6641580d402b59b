//! Three steps at once: some threads read, and each of the others prepares the next item or finishes a batch of prepared ones.
//!
//! The steps are those of pictures, though nothing here knows: files wait for a disk, decoding computes on one thread, and the tower takes
//! a batch. Every thread finishes its own batch alone, rather than all of them one together: nobody waits at the end of a step for the
//! slowest, so that `threads` threads are busy from the first item to the last few, and never more than that. A full batch goes before
//! preparing, which bounds what is prepared; when nothing is left to prepare, threads share the rest in ever smaller batches.
//!
//! In memory at one time are at most [`READ_BYTES`] and [`READERS`] more items that were read, an item in preparation for each
//! thread, and `batch + threads` prepared ones before the batches that run.
use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::{Error, clock};

/// Threads that read: they only wait, and a disk likes to be asked for more than one thing.
const READERS: usize = 2;
/// Bytes that are read ahead.
const READ_BYTES: usize = 64 << 20;
/// Items that are read ahead, for each thread.
const READ_ITEMS: usize = 8;

/// Brings what an item stands for, and how many bytes that is.
pub(crate) type Read<'a, T, Raw, Left> = &'a (dyn Fn(&mut T) -> Result<(Raw, usize), Left> + Sync);
/// Makes an item ready for a batch, on one thread.
pub(crate) type Prepare<'a, T, Raw, Ready, Left> = &'a (dyn Fn(&T, Raw) -> Result<Ready, Left> + Sync);

/// What is done with each item `T`, and how; `Left` is why an item goes no further, which need not be an error.
pub(crate) struct Steps<'a, T, Raw, Ready, Done, Left> {
    pub read: Read<'a, T, Raw, Left>,
    pub prepare: Prepare<'a, T, Raw, Ready, Left>,
    /// A result for each of a batch, on one thread. An error ends everything.
    pub finish: &'a (dyn Fn(Vec<Ready>) -> Result<Vec<Result<Done, Left>>, Error> + Sync),
    /// Threads that prepare and finish.
    pub threads: usize,
    /// Items finished together.
    pub batch: usize,
}

/// Processor time of all threads together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    pub prepare: Duration,
    pub finish: Duration,
}

/// An item with its place in the order.
type Placed<T, X> = (usize, T, X);

/// What the threads share.
struct Work<T, Raw, Ready> {
    read: VecDeque<Placed<T, (Raw, usize)>>,
    read_bytes: usize,
    /// Threads that still read.
    readers: usize,
    preparing: usize,
    ready: VecDeque<Placed<T, Ready>>,
    times: Times,
    /// Whether there is nothing more to do, and why if it ended early.
    stopped: bool,
    error: Option<Error>,
}

/// What a thread does next.
enum Job<T, Raw, Ready> {
    Prepare(Placed<T, Raw>),
    Finish(Vec<Placed<T, Ready>>),
}

impl<T, Raw, Ready> Work<T, Raw, Ready> {
    /// A job, if there is one now.
    fn next(&mut self, threads: usize, batch: usize) -> Option<Job<T, Raw, Ready>> {
        let last = self.readers == 0 && self.read.is_empty();
        if self.ready.len() >= batch || last && !self.ready.is_empty() {
            let count = if last { self.ready.len().div_ceil(threads).min(batch) } else { batch };
            return Some(Job::Finish(self.ready.drain(..count).collect()));
        }
        let (index, item, (raw, bytes)) = self.read.pop_front()?;
        self.read_bytes -= bytes;
        self.preparing += 1;
        Some(Job::Prepare((index, item, raw)))
    }

    fn over(&self) -> bool {
        self.stopped || self.readers == 0 && self.preparing == 0 && self.read.is_empty() && self.ready.is_empty()
    }
}

struct Shared<T, Raw, Ready> {
    work: Mutex<Work<T, Raw, Ready>>,
    changed: Condvar,
}

impl<T, Raw, Ready> Shared<T, Raw, Ready> {
    fn lock(&self) -> MutexGuard<'_, Work<T, Raw, Ready>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `found` gives something.
    fn wait<F>(&self, mut found: impl FnMut(&mut Work<T, Raw, Ready>) -> Option<F>) -> F {
        let mut work = self.lock();
        loop {
            if let Some(found) = found(&mut work) {
                return found;
            }
            work = self.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn change(&self, change: impl FnOnce(&mut Work<T, Raw, Ready>)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

/// Stops all threads when one of them panics, so that none waits for it.
struct Alarm<'a, T, Raw, Ready>(&'a Shared<T, Raw, Ready>);

impl<T, Raw, Ready> Drop for Alarm<'_, T, Raw, Ready> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.change(|work| work.stopped = true);
        }
    }
}

/// Takes each item of `source` through `steps` and gives it to `each` with its result, in the order of the source, on the caller's thread.
///
/// # Errors
/// That of `finish` or `each`, whichever comes first, or [`Error::Threads`]; what came before was given to `each`.
pub(crate) fn run<T: Send, Raw: Send, Ready: Send, Done: Send, Left: Send, E: From<Error>>(
    source: impl Iterator<Item = T> + Send,
    steps: &Steps<'_, T, Raw, Ready, Done, Left>,
    each: impl FnMut(T, Result<Done, Left>) -> Result<(), E>,
) -> Result<Times, E> {
    let source = Mutex::new(source.enumerate());
    let work = Work {
        read: VecDeque::new(),
        read_bytes: 0,
        readers: READERS,
        preparing: 0,
        ready: VecDeque::new(),
        times: Times::default(),
        stopped: false,
        error: None,
    };
    let shared = Shared { work: Mutex::new(work), changed: Condvar::new() };
    let (results, received) = mpsc::channel();
    thread::scope(|scope| {
        for number in 0..READERS + steps.threads {
            let (source, shared, results) = (&source, &shared, results.clone());
            let task = move || {
                let _alarm = Alarm(shared);
                if number < READERS { read(source, steps, shared, &results) } else { compute(steps, shared, &results) }
            };
            if let Err(e) = thread::Builder::new().name(format!("hua-ahead-{number}")).spawn_scoped(scope, task) {
                shared.change(|work| work.stopped = true);
                return Err(Error::Threads { threads: READERS + steps.threads, reason: e.to_string() }.into());
            }
        }
        drop(results);
        in_order(&received, each).inspect_err(|_| shared.change(|work| work.stopped = true))
    })?;
    let work = shared.work.into_inner().unwrap_or_else(PoisonError::into_inner);
    match work.error {
        Some(error) => Err(error.into()),
        None => Ok(work.times),
    }
}

/// Results come as they are done and go on in their order.
fn in_order<T, Done, E>(received: &Receiver<Placed<T, Done>>, mut each: impl FnMut(T, Done) -> Result<(), E>) -> Result<(), E> {
    let (mut early, mut next) = (BTreeMap::new(), 0);
    for (index, item, result) in received {
        early.insert(index, (item, result));
        while let Some((item, result)) = early.remove(&next) {
            each(item, result)?;
            next += 1;
        }
    }
    Ok(())
}

/// What a thread that reads does.
fn read<T, Raw, Ready, Done, Left>(
    source: &Mutex<impl Iterator<Item = (usize, T)>>,
    steps: &Steps<'_, T, Raw, Ready, Done, Left>,
    shared: &Shared<T, Raw, Ready>,
    results: &Sender<Placed<T, Result<Done, Left>>>,
) {
    let room = |work: &mut Work<T, Raw, Ready>| {
        let room = work.read_bytes < READ_BYTES && work.read.len() < READ_ITEMS * steps.threads;
        (work.stopped || room).then_some(!work.stopped)
    };
    while shared.wait(room) {
        let Some((index, mut item)) = source.lock().unwrap_or_else(PoisonError::into_inner).next() else { break };
        match (steps.read)(&mut item) {
            Ok((raw, bytes)) => shared.change(|work| {
                work.read_bytes += bytes;
                work.read.push_back((index, item, (raw, bytes)));
            }),
            // Nobody listens after the end.
            Err(error) => drop(results.send((index, item, Err(error)))),
        }
    }
    shared.change(|work| work.readers -= 1);
}

/// What a thread that prepares and finishes does.
fn compute<T, Raw, Ready, Done, Left>(
    steps: &Steps<'_, T, Raw, Ready, Done, Left>,
    shared: &Shared<T, Raw, Ready>,
    results: &Sender<Placed<T, Result<Done, Left>>>,
) {
    let job = |work: &mut Work<T, Raw, Ready>| if work.over() { Some(None) } else { work.next(steps.threads, steps.batch).map(Some) };
    while let Some(job) = shared.wait(job) {
        let start = clock::thread_time();
        let spent = || clock::thread_time().saturating_sub(start);
        match job {
            Job::Prepare((index, item, raw)) => {
                let ready = (steps.prepare)(&item, raw);
                shared.change(|work| {
                    work.times.prepare += spent();
                    work.preparing -= 1;
                    match ready {
                        Ok(ready) => work.ready.push_back((index, item, ready)),
                        Err(error) => drop(results.send((index, item, Err(error)))),
                    }
                });
            }
            Job::Finish(batch) => {
                let (places, ready): (Vec<(usize, T)>, Vec<Ready>) = batch.into_iter().map(|(i, item, ready)| ((i, item), ready)).unzip();
                let done = (steps.finish)(ready);
                shared.change(|work| {
                    work.times.finish += spent();
                    match done {
                        Ok(done) => {
                            places.into_iter().zip(done).for_each(|((index, item), done)| drop(results.send((index, item, done))));
                        }
                        Err(error) => {
                            work.stopped = true;
                            work.error.get_or_insert(error);
                        }
                    }
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn failure(of: usize) -> Error {
        Error::NotFinite { of: of.to_string() }
    }

    /// Items below `count`; every seventh cannot be read, every fifth not be prepared; each gives its double.
    fn doubled(count: usize, threads: usize, batch: usize, most: &AtomicUsize) -> Vec<(usize, Result<usize, String>)> {
        let inside = AtomicUsize::new(0);
        let prepare = |&n: &usize, raw: usize| {
            most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            if n % 5 == 4 {
                inside.fetch_sub(1, Ordering::SeqCst);
                return Err(failure(n));
            }
            Ok(raw)
        };
        let finish = |ready: Vec<usize>| {
            assert!(!ready.is_empty() && ready.len() <= batch);
            inside.fetch_sub(ready.len(), Ordering::SeqCst);
            Ok(ready.into_iter().map(|n| Ok(2 * n)).collect())
        };
        let read = |&mut n: &mut usize| if n % 7 == 6 { Err(failure(n)) } else { Ok((n, 1 << 20)) };
        let steps = Steps { read: &read, prepare: &prepare, finish: &finish, threads, batch };
        let mut found = vec![];
        let each = |n, row: Result<usize, Error>| {
            found.push((n, row.map_err(|e| e.to_string())));
            Ok::<(), Error>(())
        };
        run(0..count, &steps, each).unwrap();
        found
    }

    #[test]
    fn results_and_errors_keep_the_order_of_their_items() {
        for (count, threads, batch) in [(0, 1, 1), (1, 2, 8), (9, 2, 100), (1000, 1, 8), (1000, 2, 8), (500, 7, 3)] {
            let most = AtomicUsize::new(0);
            let found = doubled(count, threads, batch, &most);
            let wanted = (0..count).map(|n| match (n % 7, n % 5) {
                (6, _) | (_, 4) => (n, Err(failure(n).to_string())),
                _ => (n, Ok(2 * n)),
            });
            assert_eq!(found, wanted.collect::<Vec<_>>());
            assert!(most.into_inner() <= batch + threads + threads * batch);
        }
    }

    #[test]
    fn an_error_of_a_batch_or_of_the_caller_ends_the_run() {
        let read = |&mut n: &mut usize| Ok((n, 1));
        let prepare = |_: &usize, n: usize| Ok(n);
        let finish = |ready: Vec<usize>| if ready.contains(&50) { Err(failure(50)) } else { Ok(ready.into_iter().map(Ok).collect()) };
        let steps = Steps { read: &read, prepare: &prepare, finish: &finish, threads: 2, batch: 4 };
        let outcome = run(0.., &steps, |_, _: Result<usize, Error>| Ok::<(), Error>(()));
        assert_eq!(outcome.unwrap_err().to_string(), failure(50).to_string());
        let outcome = run(0.., &steps, |n, _: Result<usize, Error>| if n == 20 { Err(failure(20)) } else { Ok(()) });
        assert_eq!(outcome.unwrap_err().to_string(), failure(20).to_string());
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn a_panic_of_one_thread_ends_all() {
        let read = |&mut n: &mut usize| Ok((n, 1));
        let prepare = |_: &usize, n: usize| {
            assert!(n != 30, "30 is too much");
            Ok(n)
        };
        let finish = |ready: Vec<usize>| Ok(ready.into_iter().map(Ok).collect());
        let steps = Steps { read: &read, prepare: &prepare, finish: &finish, threads: 2, batch: 4 };
        let _ = run(0.., &steps, |_, _: Result<usize, Error>| Ok::<(), Error>(()));
    }
}
