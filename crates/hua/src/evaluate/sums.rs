//! Sums in the order in which numpy and torch take them, so that scores equal theirs to the last digit.
//!
//! A sum of floating-point numbers depends on its order. numpy's `mean` adds in pairs (`numpy/_core/src/umath/loops_utils.h.src`, pairwise sum:
//! runs of at most 128 in eight parts, then halves). torch's `sum` on a CPU with AVX2 adds eight lanes in four rows, each in four levels
//! (`aten/src/ATen/native/cpu/SumKernel.cpp`, cascade sum; fewer than eight numbers in four rows); with other vectors torch itself gives other last digits.

/// numpy's sum of a contiguous array of float64.
pub(super) fn numpy_sum(of: &[f64]) -> f64 {
    match of.len() {
        n @ 0..8 => of[..n].iter().fold(0.0, |sum, x| sum + x),
        n @ 8..=128 => {
            let mut parts: [f64; 8] = std::array::from_fn(|i| of[i]);
            let whole = n / 8 * 8;
            for run in of[8..whole].chunks_exact(8) {
                for (part, x) in parts.iter_mut().zip(run) {
                    *part += x;
                }
            }
            let [a, b, c, d, e, f, g, h] = parts;
            of[whole..].iter().fold(((a + b) + (c + d)) + ((e + f) + (g + h)), |sum, x| sum + x)
        }
        n => {
            let half = n / 2 / 8 * 8;
            numpy_sum(&of[..half]) + numpy_sum(&of[half..])
        }
    }
}

/// numpy's mean of float64.
pub(super) fn numpy_mean(of: &[f64]) -> f64 {
    numpy_sum(of) / of.len() as f64
}

/// Lanes of an AVX2 register.
const LANES: usize = 8;
/// Rows that torch adds side by side.
const ROWS: usize = 4;
/// Levels of its cascade.
const LEVELS: usize = 4;

/// torch's sum of a contiguous array of float32, below the length (32,768) from which it uses several threads.
pub(super) fn torch_sum(of: &[f32]) -> f32 {
    if of.len() < LANES {
        let (rows, rest) = of.split_at(of.len() / ROWS * ROWS);
        let mut sums: [f32; ROWS] = std::array::from_fn(|i| rows.get(i).copied().unwrap_or(0.0));
        rest.iter().for_each(|x| sums[0] += x);
        return sums[1..].iter().fold(sums[0], |sum, x| sum + x);
    }
    let whole = of.len() / LANES;
    let row = |i: usize| -> [f32; LANES] { std::array::from_fn(|lane| of[i * LANES + lane]) };
    let mut rows = cascade(&row, whole / ROWS);
    for i in whole / ROWS * ROWS..whole {
        add(&mut rows[0], row(i));
    }
    let [mut sum, others @ ..] = rows;
    others.into_iter().for_each(|row| add(&mut sum, row));
    let rest = of[whole * LANES..].iter().fold(0.0, |sum, x| sum + x);
    sum.iter().fold(rest, |sum, x| sum + x)
}

fn add(to: &mut [f32; LANES], of: [f32; LANES]) {
    for (to, x) in to.iter_mut().zip(of) {
        *to += x;
    }
}

/// A row of lanes for each of the four.
type Rows = [[f32; LANES]; ROWS];

fn add_rows(to: &mut Rows, of: Rows) {
    to.iter_mut().zip(of).for_each(|(to, of)| add(to, of));
}

/// `multi_row_sum`: sums of rows 0, 4, 8 …, of rows 1, 5, 9 … and so on, `size` rows each.
fn cascade(row: &dyn Fn(usize) -> [f32; LANES], size: usize) -> Rows {
    let rows = |i: usize| -> Rows { std::array::from_fn(|k| row(i * ROWS + k)) };
    let log = size.max(1).next_power_of_two().trailing_zeros() as usize;
    let power = (log / LEVELS).max(4);
    let (step, mask) = (1 << power, (1 << power) - 1);
    let mut sums: [Rows; LEVELS] = Default::default();
    let mut i = 0;
    while i + step <= size {
        for _ in 0..step {
            add_rows(&mut sums[0], rows(i));
            i += 1;
        }
        for level in 1..LEVELS {
            let below = std::mem::take(&mut sums[level - 1]);
            add_rows(&mut sums[level], below);
            if i & (mask << (level * power)) != 0 {
                break;
            }
        }
    }
    for i in i..size {
        add_rows(&mut sums[0], rows(i));
    }
    let [mut sum, above @ ..] = sums;
    above.into_iter().for_each(|of| add_rows(&mut sum, of));
    sum
}
