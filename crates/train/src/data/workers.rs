//! Jobs done ahead by threads, and given back in the order they were given: what comes out does not depend on how many threads there are.
//!
//! Without threads a job is done when its result is asked for. A job that panics gives `None` and ends nothing.
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// What is done with a job.
type Work<J, R> = Arc<dyn Fn(J) -> R + Send + Sync>;

/// Threads that do jobs.
pub(super) struct Workers<J, R> {
    shared: Arc<Shared<J, R>>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared<J, R> {
    work: Work<J, R>,
    queue: Mutex<Queue<J, R>>,
    changed: Condvar,
}

struct Queue<J, R> {
    waiting: VecDeque<(u64, J)>,
    /// A place for the result of each job from `first` on.
    results: VecDeque<Option<Option<R>>>,
    first: u64,
    stopped: bool,
}

impl<J: Send + 'static, R: Send + 'static> Workers<J, R> {
    pub(super) fn new(threads: usize, work: Work<J, R>) -> Self {
        let queue = Mutex::new(Queue { waiting: VecDeque::new(), results: VecDeque::new(), first: 0, stopped: false });
        let shared = Arc::new(Shared { work, queue, changed: Condvar::new() });
        let start = |number| {
            let shared = Arc::clone(&shared);
            // Where the system gives no more threads, those that there are do the work.
            thread::Builder::new().name(format!("data-{number}")).spawn(move || shared.run()).ok()
        };
        Self { threads: (0..threads).filter_map(start).collect(), shared }
    }

    /// Gives out a job.
    pub(super) fn push(&self, job: J) {
        let mut queue = self.shared.lock();
        let number = queue.first + queue.results.len() as u64;
        queue.results.push_back(None);
        queue.waiting.push_back((number, job));
        drop(queue);
        self.shared.changed.notify_all();
    }

    /// The result of the earliest job whose result was not taken yet; none if the job panicked.
    ///
    /// # Panics
    /// If all results were taken.
    pub(super) fn pop(&self) -> Option<R> {
        let mut queue = self.shared.lock();
        assert!(!queue.results.is_empty(), "a result of a job that was never given");
        loop {
            if let Some(Some(_)) = queue.results.front() {
                queue.first += 1;
                return queue.results.pop_front().flatten().flatten();
            }
            if self.threads.is_empty() {
                queue = self.shared.do_one(queue);
            } else {
                queue = self.shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Forgets all jobs; those that are being done come to nothing.
    pub(super) fn clear(&self) {
        let mut queue = self.shared.lock();
        queue.first += queue.results.len() as u64;
        queue.results.clear();
        queue.waiting.clear();
    }
}

impl<J, R> Shared<J, R> {
    fn lock(&self) -> MutexGuard<'_, Queue<J, R>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut queue = self.lock();
        while !queue.stopped {
            queue = match queue.waiting.is_empty() {
                true => self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
                false => self.do_one(queue),
            };
        }
    }

    /// Does the earliest job that waits.
    fn do_one<'a>(&'a self, mut queue: MutexGuard<'a, Queue<J, R>>) -> MutexGuard<'a, Queue<J, R>> {
        let Some((number, job)) = queue.waiting.pop_front() else { return queue };
        drop(queue);
        let result = catch_unwind(AssertUnwindSafe(|| (self.work)(job))).ok();
        let mut queue = self.lock();
        if let Some(place) = number.checked_sub(queue.first).and_then(|place| queue.results.get_mut(place as usize)) {
            *place = Some(result);
        }
        self.changed.notify_all();
        queue
    }
}

impl<J, R> Drop for Workers<J, R> {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // A job that panicked was caught.
            _ = thread.join();
        }
    }
}

impl<J, R> std::fmt::Debug for Workers<J, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workers").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_jobs_and_a_panic_is_one_of_them() {
        for threads in [0, 1, 4] {
            let workers = Workers::new(
                threads,
                Arc::new(|job: u64| {
                    thread::yield_now();
                    assert!(job != 13, "unlucky");
                    job * job
                }),
            );
            (0..50).for_each(|job| workers.push(job));
            let results: Vec<_> = (0..50).map(|_| workers.pop()).collect();
            assert!(results.iter().enumerate().all(|(job, &result)| result == (job != 13).then_some((job * job) as u64)));
            // What is forgotten does not come.
            (0..20).for_each(|job| workers.push(job));
            workers.clear();
            workers.push(7);
            assert_eq!(workers.pop(), Some(49));
        }
    }
}
