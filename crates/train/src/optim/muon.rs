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
use std::cell::Cell;

use hua_kernels::{Cores, Isa};

use super::adamw::lerp;
use crate::loss::matrix::{Factor, transposed};

/// The polynomial's factors, and how often it is applied.
const FACTORS: [f32; 3] = [3.4445, -4.775, 2.0315];
const STEPS: usize = 5;
/// Rows of a symmetric product that are multiplied together.
const BLOCK: usize = 64;
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

/// What the iteration needs beside its matrix.
struct Room {
    factor: Factor,
    gram: Vec<f32>,
    polynomial: Vec<f32>,
    block: Vec<f32>,
}

impl Room {
    fn new(cores: &Cores) -> Self {
        Self { factor: Factor::empty(cores), gram: vec![], polynomial: vec![], block: vec![] }
    }
}

thread_local! {
    /// Kept from one matrix to the next: memory of this size is given back to the system when it is freed, and comes again as a fault for each page.
    static ROOM: Cell<Option<Room>> = const { Cell::new(None) };
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
    let mut room = ROOM.take().unwrap_or_else(|| Room::new(&cores));
    let update = orthogonal(&cores, look.collect(), columns, &mut room);
    ROOM.set(Some(room));
    let longer = columns.max(values.len() / columns.max(1));
    let (keep, step) = ((1.0 - lr * decay) as f32, (lr * 0.2 * (longer as f64).sqrt()) as f32);
    for (p, x) in values.iter_mut().zip(update) {
        *p = *p * keep - step * x;
    }
}

/// The matrix with its singular values between about 0.7 and 1.2, by Newton and Schulz's iteration.
fn orthogonal(cores: &Cores, matrix: Vec<f32>, columns: usize, room: &mut Room) -> Vec<f32> {
    if matrix.is_empty() {
        return matrix;
    }
    let rows = matrix.len() / columns;
    let tall = rows > columns;
    let mut x = if tall { transposed(cores, &matrix, columns) } else { matrix };
    let [rows, columns] = if tall { [columns, rows] } else { [rows, columns] };
    let norm = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    let inverse = (1.0 / norm.max(LEAST)) as f32;
    x.iter_mut().for_each(|x| *x *= inverse);
    let [a, b, c] = FACTORS;
    let Room { factor, gram, polynomial, block } = room;
    for square in [&mut *gram, &mut *polynomial] {
        square.resize(rows * rows, 0.0);
    }
    for _ in 0..STEPS {
        factor.set(cores, &x, columns);
        square(cores, factor, &x, columns, block, gram);
        // A symmetric matrix is its own transpose, and that is packed sooner.
        factor.set_transposed(cores, gram, rows);
        square(cores, factor, gram, rows, block, polynomial);
        polynomial.iter_mut().zip(&*gram).for_each(|(p, &g)| *p = b * g + c * *p);
        factor.set_transposed(cores, &x, rows);
        x.iter_mut().for_each(|x| *x *= a);
        factor.add_product(cores, polynomial, &mut x);
    }
    if tall { transposed(cores, &x, columns) } else { x }
}

/// `to = x · xᵀ`, where `factor` is `x`, `[rows, columns]`. The result is symmetric, to the bit: each of its numbers is summed in one order, so that
/// only blocks up to the diagonal are multiplied.
fn square(cores: &Cores, factor: &Factor, x: &[f32], columns: usize, block: &mut Vec<f32>, to: &mut [f32]) {
    let rows = x.len() / columns;
    for (start, some) in (0..rows).step_by(BLOCK).zip(x.chunks(BLOCK * columns)) {
        let wide = start + some.len() / columns;
        block.resize(some.len() / columns * wide, 0.0);
        factor.product_of_first(cores, wide, some, block);
        for (i, row) in (start..wide).zip(block.chunks_exact(wide)) {
            to[i * rows..][..=i].copy_from_slice(&row[..=i]);
            (0..i).for_each(|j| to[j * rows + i] = row[j]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn singular_values_come_near_one_and_directions_stay() {
        let cores = Cores::new(1, Isa::best()).unwrap();
        let mut room = Room::new(&cores);
        for (rows, columns) in [(6usize, 6usize), (5, 12), (12, 5), (150, 133), (70, 150)] {
            let numbers: Vec<f32> = (0..rows * columns).map(|i| ((i * i) as f32 * 0.7 + i as f32).sin()).collect();
            let before = nalgebra::DMatrix::from_row_iterator(rows, columns, numbers.iter().copied());
            let after = nalgebra::DMatrix::from_row_iterator(rows, columns, orthogonal(&cores, numbers, columns, &mut room));
            assert!(after.singular_values().iter().all(|s| (0.6..1.3).contains(s)), "{:?}", after.singular_values());
            // Of `u s vᵀ` it is `u t vᵀ`: turned back by `u` and `v`, a diagonal.
            let svd = before.svd(true, true);
            let middle = svd.u.unwrap().transpose() * after * svd.v_t.unwrap().transpose();
            let size = middle.nrows();
            assert!((0..size * size).filter(|i| i / size != i % size).all(|i| middle[(i / size, i % size)].abs() < 1e-3), "{middle}");
        }
        assert_eq!(orthogonal(&cores, vec![0.0; 6], 3, &mut room), [0.0; 6]);
    }

    #[test]
    fn half_of_a_symmetric_product_is_all_of_it_to_the_bit() {
        use crate::loss::matrix::times_transposed;

        for isa in Isa::available() {
            let cores = Cores::new(1, isa).unwrap();
            for (rows, columns) in [(1, 3), (63, 5), (64, 64), (65, 200), (150, 133)] {
                let x: Vec<f32> = (0..rows * columns).map(|i| ((i * i) as f32 * 0.7 + i as f32).sin()).collect();
                let mut found = vec![0.0; rows * rows];
                square(&cores, &Factor::new(&cores, &x, columns), &x, columns, &mut vec![], &mut found);
                assert_eq!(found, times_transposed(&cores, &x, &x, columns), "{isa:?} {rows} {columns}");
            }
        }
    }
}
