//! The memory of training: buffers that go back to a pool when nobody holds them, so that a step allocates what the step before did not have.
//!
//! A buffer is never zeroed: whoever takes one writes all of it. When a size is wanted that is not there, as many free numbers are given back
//! to the system first, so that the pool never holds much more than was in use at once.
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use hua_kernels::AlignedBytes;

/// Free buffers.
#[derive(Debug, Default)]
pub(super) struct Pool {
    free: Mutex<Vec<AlignedBytes>>,
}

impl Pool {
    /// A buffer of `len` numbers, whatever they are.
    pub(super) fn take(self: &Arc<Self>, len: usize) -> Buffer {
        let bytes = len * size_of::<f32>();
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is a little too large will do.
        let fits = |have: usize| have >= bytes && have <= bytes + bytes / 4 + PAGE;
        let best = free.iter().enumerate().filter(|(_, have)| fits(have.len())).min_by_key(|(_, have)| have.len()).map(|(i, _)| i);
        let memory = if let Some(best) = best {
            free.swap_remove(best)
        } else {
            let mut released = 0;
            while released < bytes {
                let Some(last) = (0..free.len()).max_by_key(|&i| free[i].len()) else { break };
                released += free.swap_remove(last).len();
            }
            drop(free);
            // Texts differ in length: a size that is rounded up fits the next batch too.
            AlignedBytes::new((bytes + bytes / 16).next_multiple_of(PAGE))
        };
        Buffer { memory, len, pool: self.clone() }
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
            self.pool.free.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_back_is_taken_again_and_what_fits_nobody_is_let_go() {
        let pool = Arc::new(Pool::default());
        let free = || pool.free.lock().unwrap().len();
        let mut buffer = pool.take(5000);
        buffer.fill(7.0);
        assert_eq!(buffer.len(), 5000);
        drop(buffer);
        assert_eq!(free(), 1);
        assert!(pool.take(4900).iter().all(|&x| x == 7.0));
        let (_a, _b) = (pool.take(5000), pool.take(5000));
        assert_eq!(free(), 0);
        drop(pool.take(10));
        assert_eq!(free(), 1);
        let large = pool.take(1 << 20);
        assert_eq!((large.len(), free()), (1 << 20, 0));
    }
}
