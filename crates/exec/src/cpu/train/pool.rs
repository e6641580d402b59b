//! The memory of training: buffers that go back to a pool when nobody holds them, so that a step allocates next to nothing that the step before
//! had not: fresh memory costs a fault for each of its pages.
//!
//! A buffer is never zeroed: whoever takes one writes all of it. Sizes differ, so that the pool has to hold somewhat more than is in use at once;
//! beyond a quarter more than ever was in use, what was not wanted for longest goes back to the system.
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hua_kernels::AlignedBytes;

#[derive(Debug, Default)]
pub(super) struct Pool {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Free buffers, the last that was given back at the end; and their bytes.
    free: Vec<AlignedBytes>,
    idle: usize,
    /// Bytes in use, and the most that ever were.
    used: usize,
    most: usize,
}

impl Pool {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A buffer of `len` numbers, whatever they are.
    pub(super) fn take(self: &Arc<Self>, len: usize) -> Buffer {
        let memory = self.state().take(len * size_of::<f32>());
        Buffer { memory, len, pool: self.clone() }
    }
}

impl State {
    fn take(&mut self, bytes: usize) -> AlignedBytes {
        // One that is a little too large will do.
        let fits = |have: usize| have >= bytes && have <= bytes + bytes / 4 + PAGE;
        let best = self.free.iter().enumerate().filter(|(_, have)| fits(have.len())).min_by_key(|(_, have)| have.len()).map(|(i, _)| i);
        // Texts differ in length: a size that is rounded up fits the next batch too.
        let size = best.map_or((bytes + bytes / 16).next_multiple_of(PAGE), |best| self.free[best].len());
        self.used += size;
        self.most = self.most.max(self.used);
        if let Some(best) = best {
            self.idle -= size;
            return self.free.remove(best);
        }
        while self.used + self.idle > self.most + self.most / 4 && !self.free.is_empty() {
            self.idle -= self.free.remove(0).len();
        }
        AlignedBytes::new(size)
    }

    fn give_back(&mut self, memory: AlignedBytes) {
        self.used -= memory.len();
        self.idle += memory.len();
        self.free.push(memory);
    }
}

/// Sizes are whole pages.
const PAGE: usize = 4096;

/// Numbers that belong to one value.
#[derive(Debug)]
pub(super) struct Buffer {
    memory: AlignedBytes,
    len: usize,
    pool: Arc<Pool>,
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        if self.len == 0 { &[] } else { bytemuck::cast_slice(&self.memory[..self.len * size_of::<f32>()]) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        if self.len == 0 { &mut [] } else { bytemuck::cast_slice_mut(&mut self.memory[..self.len * size_of::<f32>()]) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        if !memory.is_empty() {
            self.pool.state().give_back(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_back_is_taken_again_and_what_fits_nobody_is_let_go() {
        let pool = Arc::new(Pool::default());
        let free = || pool.state().free.len();
        let mut buffer = pool.take(5000);
        buffer.fill(7.0);
        assert_eq!(buffer.len(), 5000);
        drop(buffer);
        assert_eq!(free(), 1);
        assert!(pool.take(4900).iter().all(|&x| x == 7.0));
        let (a, _b) = (pool.take(5000), pool.take(5000));
        assert_eq!(free(), 0);
        drop(pool.take(10));
        assert_eq!(free(), 1);
        let large = pool.take(1 << 20);
        assert_eq!((large.len(), free()), (1 << 20, 1));
        drop(large);
        // Many of another size: the large one was not wanted for longest, and goes.
        let many: Vec<Buffer> = (0..40).map(|_| pool.take(1 << 15)).collect();
        {
            let state = pool.state();
            assert!(state.free.is_empty() && state.used + state.idle <= state.most + state.most / 4, "{state:?}");
        }
        drop(many);
        assert_eq!(free(), 40);
        assert_eq!(pool.state().used, 2 * a.memory.len());
    }
}
