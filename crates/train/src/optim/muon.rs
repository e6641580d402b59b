//! Muon (Jordan et al., 2024, <https://kellerjordan.github.io/posts/muon>): the momentum of a matrix, made orthogonal, is its update.
//!
//! Of matrix `p` `[rows, columns]` with gradient `g` and its mean `m`, in the order of operations of PyTorch's `torch.optim.Muon`, but in f32:
//!
//! ```text
//! m ← m + (1 − μ)·(g − m)
//! x ← (g + μ·(m − g)) / ‖g + μ·(m − g)‖                          Nesterov's look ahead
//! x ← 3.4445·x + (−4.775·x·xᵀ + 2.0315·(x·xᵀ)²)·x               five times: all singular values come near 1
//! p ← p · (1 − lr·λ) − lr · 0.2·√max(rows, columns) · x
//! ```
//!
//! The last factor makes an update as large as AdamW's usually are, so that both can share one learning rate (Moonshot AI, arXiv 2502.16982).
//! It is for matrices between layers only: tables, biases and gains
//! of norms are AdamW's.
use hua_kernels::{Cores, Isa};

use super::adamw::lerp;
use crate::loss::matrix::{times, times_transposed, transposed};

/// The polynomial's factors, and how often it is applied.
const FACTORS: [f32; 3] = [3.4445, -4.775, 2.0315];
const STEPS: usize = 5;
/// Where a gradient of zeros stays zeros.
const LEAST: f64 = 1e-7;

/// A matrix and what changes it.
pub(super) struct Matrix<'a> {
    pub(super) values: &'a mut [f32],
    pub(super) grads: &'a [f32],
    pub(super) means: &'a mut [f32],
    pub(super) columns: usize,
    pub(super) momentum: f64,
    pub(super) lr: f64,
    pub(super) decay: f64,
}

pub(super) fn advance(isa: Isa, matrix: Matrix<'_>) {
    // Matrices are shared among threads, and each is one thread's: the bits do not depend on how many there are.
    let Ok(cores) = Cores::new(1, isa) else { unreachable!("one thread is the caller's own") };
    let Matrix { values, grads, means, columns, momentum, lr, decay } = matrix;
    let (towards, ahead) = ((1.0 - momentum) as f32, momentum as f32);
    let look = means.iter_mut().zip(grads).map(|(m, &g)| {
        *m = lerp(*m, g, towards);
        lerp(g, *m, ahead)
    });
    let update = orthogonal(&cores, look.collect(), columns);
    let longer = columns.max(values.len() / columns.max(1));
    let (keep, step) = ((1.0 - lr * decay) as f32, (lr * 0.2 * (longer as f64).sqrt()) as f32);
    for (p, x) in values.iter_mut().zip(update) {
        *p = *p * keep - step * x;
    }
}

/// The matrix with its singular values between about 0.7 and 1.2, by Newton and Schulz's iteration.
fn orthogonal(cores: &Cores, matrix: Vec<f32>, columns: usize) -> Vec<f32> {
    let rows = matrix.len() / columns.max(1);
    let tall = rows > columns;
    let mut x = if tall { transposed(cores, &matrix, columns) } else { matrix };
    let [rows, columns] = if tall { [columns, rows] } else { [rows, columns] };
    let norm = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    let inverse = (1.0 / norm.max(LEAST)) as f32;
    x.iter_mut().for_each(|x| *x *= inverse);
    let [a, b, c] = FACTORS;
    for _ in 0..STEPS {
        let gram = times_transposed(cores, &x, &x, columns);
        // A symmetric matrix is its own transpose.
        let mut polynomial = times_transposed(cores, &gram, &gram, rows);
        polynomial.iter_mut().zip(&gram).for_each(|(p, &g)| *p = b * g + c * *p);
        let turned = times(cores, &polynomial, &x, rows);
        x.iter_mut().zip(turned).for_each(|(x, t)| *x = a * *x + t);
    }
    if tall { transposed(cores, &x, columns) } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn singular_values_come_near_one_and_directions_stay() {
        let cores = Cores::new(1, Isa::best()).unwrap();
        for (rows, columns) in [(6usize, 6usize), (5, 12), (12, 5)] {
            let numbers: Vec<f32> = (0..rows * columns).map(|i| ((i * i) as f32 * 0.7 + i as f32).sin()).collect();
            let before = nalgebra::DMatrix::from_row_iterator(rows, columns, numbers.iter().copied());
            let after = nalgebra::DMatrix::from_row_iterator(rows, columns, orthogonal(&cores, numbers, columns));
            assert!(after.singular_values().iter().all(|s| (0.6..1.3).contains(s)), "{:?}", after.singular_values());
            // Of `u s vᵀ` it is `u t vᵀ`: turned back by `u` and `v`, a diagonal.
            let svd = before.svd(true, true);
            let middle = svd.u.unwrap().transpose() * after * svd.v_t.unwrap().transpose();
            let size = middle.nrows();
            assert!((0..size * size).filter(|i| i / size != i % size).all(|i| middle[(i / size, i % size)].abs() < 1e-3), "{middle}");
        }
        assert_eq!(orthogonal(&cores, vec![0.0; 6], 3), [0.0; 6]);
    }
}
