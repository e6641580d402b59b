//! Which precision is the faster on this machine, by trying: what `auto` means.
//!
//! Only f32 and bf16 are tried. int8 would often win, but it rounds a hundred times more coarsely, and whoever wants that asks for it.
use std::fmt;
use std::time::{Duration, Instant};

use hua_kernels::{AlignedBytes, Cores, Epilogue, Isa, Layout, Packed, Part, Precision, Values, pack, product};

use crate::ExecError;

/// A weight of about the size of a base model's, `[out, inner]`.
const WEIGHT: (usize, usize) = (1536, 768);
/// Rows of a short text, and of a picture.
const ROWS: [usize; 2] = [12, 200];
/// The best of so many turns counts, since other programs disturb some.
const TURNS: usize = 4;

/// How long one product took with few rows and with many, in f32 and in bf16.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Seconds in f32.
    pub f32: [f64; 2],
    /// Seconds in bf16.
    pub bf16: [f64; 2],
}

impl Measured {
    /// Measures for some milliseconds, on the caller's thread.
    ///
    /// # Errors
    /// [`ExecError::Isa`] if `HUA_ISA` names no instruction set of this machine.
    pub fn now() -> Result<Self, ExecError> {
        let cores = Cores::new(1, Isa::chosen()?)?;
        let (out, inner) = WEIGHT;
        let weight: Vec<f32> = (0..out * inner).map(|i| ((i * 7919) % 251) as f32 / 125.0 - 1.0).collect();
        let packed = [Precision::F32, Precision::Bf16].map(|precision| {
            let layout = Layout::new(cores.isa(), precision, out, inner);
            let mut bytes = AlignedBytes::new(layout.bytes());
            pack(&cores, layout, Values::F32(&weight), &mut bytes);
            (layout, bytes)
        });
        let mut least = [[Duration::MAX; 2]; 2];
        for (at, rows) in ROWS.into_iter().enumerate() {
            let mut room = vec![0.0; rows * out];
            for _ in 0..TURNS {
                for (least, (layout, bytes)) in least.iter_mut().zip(&packed) {
                    let part = Part { weight: Packed::new(*layout, bytes), bias: None };
                    let start = Instant::now();
                    product(&cores, &weight[..rows * inner], inner, &[part], Epilogue::default(), &mut room);
                    least[at] = least[at].min(start.elapsed());
                }
            }
        }
        let [f32, bf16] = least.map(|times| times.map(|time| time.as_secs_f64()));
        Ok(Self { f32, bf16 })
    }

    /// How many times as fast bf16 is, with few rows and with many.
    fn gain(&self) -> [f64; 2] {
        [0, 1].map(|at| self.f32[at] / self.bf16[at].max(f64::MIN_POSITIVE))
    }

    /// bf16 if it is clearly faster in one of the two and slower in none.
    pub fn fastest(&self) -> Precision {
        let [few, many] = self.gain();
        if few.max(many) >= 1.15 && few.min(many) >= 0.97 { Precision::Bf16 } else { Precision::F32 }
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [few, many] = self.gain();
        let [some, more] = ROWS;
        write!(f, "bf16 is {few:.2} times as fast as f32 with {some} rows, {many:.2} times with {more}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_is_chosen_where_it_gains_and_loses_nowhere() {
        let of = |few: f64, many: f64| Measured { f32: [few, many], bf16: [1.0, 1.0] }.fastest();
        assert_eq!((of(1.6, 1.0), of(1.0, 1.9)), (Precision::Bf16, Precision::Bf16));
        assert_eq!((of(1.6, 0.8), of(1.0, 1.1)), (Precision::F32, Precision::F32));
    }

    #[test]
    fn what_was_measured_is_told() {
        let measured = Measured::now().unwrap();
        assert!(measured.f32.iter().chain(&measured.bf16).all(|&seconds| seconds > 0.0));
        assert!(measured.to_string().ends_with(" times with 200"), "{measured}");
    }
}
