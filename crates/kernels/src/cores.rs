//! The threads that share one piece of work, and the instruction set they use.
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Isa;

/// Threads could not be started.
#[derive(Debug, thiserror::Error)]
#[error("{threads} threads could not be started")]
pub struct PoolError {
    threads: usize,
    source: rayon::ThreadPoolBuildError,
}

/// An instruction set and some threads: what kernels run on. With one thread there is no pool: all runs on the caller's.
#[derive(Debug)]
pub struct Cores {
    isa: Isa,
    pool: Option<rayon::ThreadPool>,
}

impl Cores {
    /// `threads` threads; 0 for as many as the machine has cores.
    ///
    /// # Errors
    /// If the system gives no threads.
    pub fn new(threads: usize, isa: Isa) -> Result<Self, PoolError> {
        let threads = if threads > 0 { threads } else { std::thread::available_parallelism().map_or(1, usize::from) };
        if threads == 1 {
            return Ok(Self { isa, pool: None });
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("hua-cpu-{i}")).build();
        Ok(Self { isa, pool: Some(pool.map_err(|source| PoolError { threads, source })?) })
    }

    /// The instruction set.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// How many threads there are.
    pub fn threads(&self) -> usize {
        self.pool.as_ref().map_or(1, rayon::ThreadPool::current_num_threads)
    }

    /// Runs `work` on one of the threads. What it asks of `each` and `each_rows` begins there at once, where from outside all of it is
    /// first handed over and then waited for (6 to 13 microseconds with two threads, measured with tasks that do nothing).
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }

    /// Calls `task` with each number below `count`, in any order and on any thread. A thread has numbers that follow one another, as long as no other
    /// is done before it.
    pub fn each(&self, count: usize, task: impl Fn(usize) + Sync) {
        match &self.pool {
            Some(pool) if count > 1 => pool.install(|| Turns::new(count, pool.current_num_threads()).all(&task)),
            _ => (0..count).for_each(task),
        }
    }

    /// Calls `task` with pieces of `out`, whole rows of `width` numbers, and the index of the first row of each.
    pub fn each_rows(&self, out: &mut [f32], width: usize, task: impl Fn(usize, &mut [f32]) + Sync) {
        /// Numbers of a piece, about: long enough to be worth a task, short enough for the nearer caches.
        const PIECE: usize = 16 << 10;
        let width = width.max(1);
        let rows = (PIECE / width).max(1);
        let (len, out) = (out.len(), Shared::new(out));
        self.each(len.div_ceil(rows * width), |i| {
            let first = i * rows * width;
            // SAFETY: the pieces are inside `out` and apart from each other.
            let piece = unsafe { std::slice::from_raw_parts_mut(out.at(first), (rows * width).min(len - first)) };
            task(i * rows, piece);
        });
    }

    /// Calls `task` with pieces of `a` and the numbers of `b` at the same places.
    ///
    /// # Panics
    /// If they are not as long.
    pub fn each_pair(&self, a: &mut [f32], b: &mut [f32], task: impl Fn(&mut [f32], &mut [f32]) + Sync) {
        /// Numbers of a piece.
        const PIECE: usize = 8 << 10;
        assert_eq!(a.len(), b.len(), "numbers in pairs");
        let len = a.len();
        let both = [Shared::new(a), Shared::new(b)];
        self.each(len.div_ceil(PIECE), |i| {
            let first = i * PIECE;
            // SAFETY: the pieces are inside `a` and `b`, and apart from each other.
            let [a, b] = both.map(|of| unsafe { std::slice::from_raw_parts_mut(of.at(first), PIECE.min(len - first)) });
            task(a, b);
        });
    }
}

/// Whose turn it is: each thread begins with a run of its own of the tasks, and goes on with what is left of the others'.
struct Turns {
    /// The next of each run, and where it ends.
    runs: Vec<(AtomicUsize, usize)>,
    /// Tasks that are not done.
    left: AtomicUsize,
}

impl Turns {
    fn new(count: usize, threads: usize) -> Self {
        let threads = threads.min(count);
        let runs = (0..threads).map(|i| (AtomicUsize::new(count * i / threads), count * (i + 1) / threads)).collect();
        Self { runs, left: AtomicUsize::new(count) }
    }

    /// All tasks, on the pool whose thread this is.
    fn all(&self, task: &(impl Fn(usize) + Sync)) {
        rayon::scope(|scope| {
            for run in 1..self.runs.len() {
                scope.spawn(move |_| self.take(run, task));
            }
            self.take(0, task);
        });
    }

    /// The tasks of a run, and then what others have left.
    fn take(&self, run: usize, task: &impl Fn(usize)) {
        let (before, from) = self.runs.split_at(run);
        for (next, end) in from.iter().chain(before) {
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                if i >= *end {
                    break;
                }
                task(i);
                self.left.fetch_sub(1, Ordering::Relaxed);
            }
        }
        // A thread of a pool that finds nothing to do for some microseconds is put to sleep, and waking it takes longer than most waits for the
        // others' last tasks.
        for _ in 0..WAIT {
            if self.left.load(Ordering::Relaxed) == 0 {
                break;
            }
            std::hint::spin_loop();
        }
    }
}

/// Rounds of waiting for the last tasks: a tenth of a millisecond, or two.
const WAIT: usize = 10_000;

/// Numbers that many tasks write to, each to a part of its own.
#[derive(Clone, Copy)]
pub(crate) struct Shared<T = f32>(*mut T);

// SAFETY: the pointer is only written through under the promise of `at`.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(crate) fn new(out: &mut [T]) -> Self {
        Self(out.as_mut_ptr())
    }

    /// # Safety
    /// `index` is inside the slice it was made of, that slice is still borrowed, and no two tasks use the same numbers.
    pub(crate) unsafe fn at(self, index: usize) -> *mut T {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(index) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_and_every_row_has_its_turn_once() {
        for threads in [1, 3] {
            let cores = Cores::new(threads, Isa::best()).unwrap();
            assert_eq!(cores.threads(), threads);
            let sum = AtomicUsize::new(0);
            cores.each(100, |i| {
                sum.fetch_add(i, Ordering::Relaxed);
            });
            cores.run(|| {
                cores.each(10, |i| {
                    sum.fetch_add(i, Ordering::Relaxed);
                });
            });
            assert_eq!(sum.into_inner(), 4950 + 45);
            let mut out = vec![0.0; 7 * 5000];
            cores.each_rows(&mut out, 7, |first, rows| {
                rows.chunks_mut(7).enumerate().for_each(|(i, row)| row.iter_mut().for_each(|x| *x += (first + i) as f32));
            });
            assert!(out.iter().enumerate().all(|(i, &x)| x == (i / 7) as f32));
            let mut other = out.clone();
            cores.each_pair(&mut out, &mut other, |a, b| a.iter_mut().zip(b).for_each(|(a, b)| (*a, *b) = (*a + *b, -*a)));
            assert!(out.iter().zip(&other).enumerate().all(|(i, (&a, &b))| (a, b) == ((i / 7 * 2) as f32, -((i / 7) as f32))));
        }
    }
}
