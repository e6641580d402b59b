//! The memory of one run: what lies between its steps. A program keeps one for each run that goes on at the same time, and the
//! next run finds it as long as the last one needed.
use hua_kernels::Span;

/// Memory for the slots of a plan, and lists that steps fill anew.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    slots: Vec<Buffer>,
    /// The items of an attention.
    pub(crate) spans: Vec<Span>,
    /// Of each row of a text: its id and its place in its item.
    pub(crate) tokens: Vec<(u32, usize)>,
}

impl Arena {
    /// Makes sure that there are so many slots.
    pub(crate) fn reserve(&mut self, slots: usize) {
        if self.slots.len() < slots {
            self.slots.resize_with(slots, Buffer::default);
        }
    }

    /// The first `len` numbers of a slot.
    pub(crate) fn get(&self, slot: usize, len: usize) -> &[f32] {
        self.slots[slot].get(len)
    }

    /// Takes a slot out to write to it, with room for `len` numbers.
    pub(crate) fn take(&mut self, slot: usize, len: usize) -> Buffer {
        let mut buffer = std::mem::take(&mut self.slots[slot]);
        buffer.reserve(len);
        buffer
    }

    /// Puts back what was taken.
    pub(crate) fn put(&mut self, slot: usize, buffer: Buffer) {
        self.slots[slot] = buffer;
    }
}

/// Numbers that begin where a cache line does.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    numbers: Vec<f32>,
    start: usize,
}

/// Numbers of a cache line.
const LINE: usize = 16;

impl Buffer {
    fn reserve(&mut self, len: usize) {
        if self.numbers.len() < self.start + len {
            *self = Self::default();
            self.numbers = vec![0.0; len + LINE - 1];
            // An offset that cannot be had would only cost speed.
            self.start = self.numbers.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE - 1);
        }
    }

    pub(crate) fn get(&self, len: usize) -> &[f32] {
        &self.numbers[self.start..][..len]
    }

    pub(crate) fn get_mut(&mut self, len: usize) -> &mut [f32] {
        &mut self.numbers[self.start..][..len]
    }
}
