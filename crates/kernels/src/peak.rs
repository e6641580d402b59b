//! The most that a core does in registers alone: what products are measured against.
use std::hint::black_box;
use std::time::Instant;

use crate::int8::Tile;
use crate::product::{Dot, DotKernel, Dots};
use crate::simd::{Kernel, Simd};
use crate::{Isa, Precision};

/// Multiplications and additions a second (each counts) that one core of this machine reaches when nothing is read from memory, with
/// the instructions that products of this precision use: the best of a few milliseconds, measured now.
pub fn peak(isa: Isa, precision: Precision) -> f64 {
    // Twenty rounds of about a tenth of a millisecond: the clock has risen, and another program has hardly been in the way of all.
    let steps = 1 << 15;
    let round = |_| {
        let start = Instant::now();
        let operations = isa.run(Registers { precision, steps });
        operations as f64 / start.elapsed().as_secs_f64()
    };
    (0..20).map(round).fold(0.0, f64::max)
}

struct Registers {
    precision: Precision,
    steps: usize,
}

impl Kernel for Registers {
    /// How many operations it did.
    type Output = usize;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> usize {
        // SAFETY: the caller's promise.
        unsafe {
            match self.precision {
                Precision::Bf16 if S::Dots::exist() => S::Dots::run(self),
                Precision::Bf16 | Precision::F32 => multiply_add::<S>(self.steps),
                Precision::Int8 => S::Bytes::registers(self.steps),
            }
        }
    }
}

impl DotKernel for Registers {
    type Output = usize;

    #[inline(always)]
    unsafe fn run<S: Dot>(self) -> usize {
        // SAFETY: the caller's promise.
        unsafe {
            let (x, w) = (S::splat(black_box(0.5)), S::splat(black_box(0.25)));
            let mut sums = [x; 12];
            for _ in 0..self.steps {
                for sum in &mut sums {
                    *sum = S::dot(*sum, x, w);
                }
            }
            black_box(sums);
            self.steps * 12 * S::LANES * 4
        }
    }
}

/// `steps` multiplications and additions of each of twelve registers.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
unsafe fn multiply_add<S: Simd>(steps: usize) -> usize {
    // SAFETY: the caller's promise.
    unsafe {
        let (a, b) = (S::splat(black_box(0.5)), S::splat(black_box(0.25)));
        let mut sums = [a; 12];
        for _ in 0..steps {
            for sum in &mut sums {
                *sum = S::fma(a, *sum, b);
            }
        }
        black_box(sums);
        steps * 12 * S::LANES * 2
    }
}
