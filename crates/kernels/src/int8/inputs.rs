//! Rows of inputs as bytes without sign, with a scale and a zero point each, found anew for every row.
//!
//! A row's range is from its least number, or 0, to its greatest, or 0: 0 is exact. All ranges are cut into 255 steps, and rounding
//! is to the nearest, of two the even one, in single precision and in plain Rust: the bytes are the same on every instruction set.

/// Numbers that are treated alike, so that the compiler treats them together.
const LANES: usize = 32;
/// Added to a number below 2²², this leaves no bits behind the point, and the integer in the lowest bits.
const SHIFT: f32 = 12_582_912.0;

/// Makes a row bytes, and returns its scale and zero point: a number is `scale · (byte - zero)`, about. A row with numbers that are
/// none, or infinite, is zeros with a scale that is no number, so that all products with it are none either.
#[inline(always)]
pub(super) fn quantise(row: &[f32], to: &mut [u8]) -> (f32, i32) {
    let Some((low, high)) = range(row) else {
        to.fill(0);
        return (f32::NAN, 0);
    };
    // Each divided, since the greatest numbers are too far apart to be counted; a normal number, so that its inverse is one.
    let scale = (high / 255.0 - low / 255.0).max(f32::MIN_POSITIVE);
    let inverse = 1.0 / scale;
    let zero = -low * inverse + SHIFT - SHIFT;
    let pieces = row.len() / LANES * LANES;
    for (x, to) in row[..pieces].chunks_exact(LANES).zip(to.chunks_exact_mut(LANES)) {
        for i in 0..LANES {
            to[i] = byte(x[i], inverse, zero);
        }
    }
    for (x, to) in row[pieces..].iter().zip(&mut to[pieces..]) {
        *to = byte(*x, inverse, zero);
    }
    (scale, zero as i32)
}

/// The byte of a number. The bounds hold before the zero point is added, where all numbers are near 0.
#[inline(always)]
fn byte(x: f32, inverse: f32, zero: f32) -> u8 {
    let x = x * inverse;
    let x = if x < 255.0 - zero { x } else { 255.0 - zero };
    // Exact: both are integers, and small.
    (x + SHIFT + zero).to_bits() as u8
}

/// The least number of a row, or 0, and the greatest, or 0; none if a number is not finite.
#[inline(always)]
fn range(row: &[f32]) -> Option<(f32, f32)> {
    let (pieces, rest) = row.as_chunks::<LANES>();
    let mut last = [0.0; LANES];
    last[..rest.len()].copy_from_slice(rest);
    let mut range = Range { low: [0.0; LANES], high: [0.0; LANES], finite: [0.0; LANES] };
    for piece in pieces {
        range.add(piece);
    }
    range.add(&last);
    let low = range.low.iter().fold(0f32, |a, &b| a.min(b));
    let high = range.high.iter().fold(0f32, |a, &b| a.max(b));
    range.finite.iter().all(|x| *x == 0.0).then_some((low, high))
}

/// What is known of each lane: the least and the greatest, or 0, and 0 if all were finite.
struct Range {
    low: [f32; LANES],
    high: [f32; LANES],
    finite: [f32; LANES],
}

impl Range {
    #[inline(always)]
    fn add(&mut self, piece: &[f32; LANES]) {
        for (i, &x) in piece.iter().enumerate() {
            self.low[i] = if x < self.low[i] { x } else { self.low[i] };
            self.high[i] = if x > self.high[i] { x } else { self.high[i] };
            self.finite[i] += 0.0 * x;
        }
    }
}
