//! What losses need of matrices: products on the kernels of the towers, transposes, and rows of length one.
//!
//! Matrices are `f32`, row by row. A product's sums run in one order whatever the number of threads (`hua_kernels::product`), so a loss
//! and its gradients are the same bits on one thread and on many.
use hua_kernels::{AlignedBytes, Cores, Epilogue, Layout, Packed, Part, Precision, Values, pack, pack_transposed, product};

/// A matrix that many others are multiplied with: `[out, inner]`, packed.
pub(crate) struct Factor {
    layout: Layout,
    bytes: AlignedBytes,
}

impl Factor {
    /// Packs `b`, `[out, inner]`.
    pub(crate) fn new(cores: &Cores, b: &[f32], inner: usize) -> Self {
        let mut factor = Self::empty(cores);
        factor.set(cores, b, inner);
        factor
    }

    /// Packs the transpose of `b`, `[inner, out]`.
    pub(crate) fn transposed(cores: &Cores, b: &[f32], inner: usize) -> Self {
        let mut factor = Self::empty(cores);
        factor.set_transposed(cores, b, inner);
        factor
    }

    /// Room for matrices, of nothing yet.
    pub(crate) fn empty(cores: &Cores) -> Self {
        Self { layout: Layout::new(cores.isa(), Precision::F32, 0, 1), bytes: AlignedBytes::default() }
    }

    /// Packs `b`, `[out, inner]`, where another was.
    pub(crate) fn set(&mut self, cores: &Cores, b: &[f32], inner: usize) {
        self.make_room(cores, b.len() / inner, inner);
        pack(cores, self.layout, Values::F32(b), &mut self.bytes[..self.layout.bytes()]);
    }

    /// Packs the transpose of `b`, `[inner, out]`, where another was.
    pub(crate) fn set_transposed(&mut self, cores: &Cores, b: &[f32], inner: usize) {
        self.make_room(cores, b.len() / inner, inner);
        pack_transposed(cores, self.layout, &[b], &mut self.bytes[..self.layout.bytes()]);
    }

    fn make_room(&mut self, cores: &Cores, out: usize, inner: usize) {
        self.layout = Layout::new(cores.isa(), Precision::F32, out, inner);
        if self.bytes.len() < self.layout.bytes() {
            self.bytes = AlignedBytes::new(self.layout.bytes());
        }
    }

    /// `out = a · bᵀ`: `a` is `[m, inner]`, `out` is `[m, out]`.
    pub(crate) fn product(&self, cores: &Cores, a: &[f32], out: &mut [f32]) {
        self.multiply(cores, self.layout, a, Epilogue::default(), out);
    }

    /// `out += a · bᵀ`, as in [`Self::product`].
    pub(crate) fn add_product(&self, cores: &Cores, a: &[f32], out: &mut [f32]) {
        self.multiply(cores, self.layout, a, Epilogue { add: true, ..Epilogue::default() }, out);
    }

    /// [`Self::product`] with the first `count` rows of `b` alone: `out` is `[m, count]`.
    pub(crate) fn product_of_first(&self, cores: &Cores, count: usize, a: &[f32], out: &mut [f32]) {
        assert!(count <= self.layout.out(), "{count} rows of {}", self.layout.out());
        let first = Layout::new(cores.isa(), Precision::F32, count, self.layout.inner());
        self.multiply(cores, first, a, Epilogue::default(), out);
    }

    fn multiply(&self, cores: &Cores, layout: Layout, a: &[f32], epilogue: Epilogue<'_>, out: &mut [f32]) {
        let parts = [Part { weight: Packed::new(layout, &self.bytes[..layout.bytes()]), bias: None }];
        product(cores, a, layout.inner(), &parts, epilogue, out);
    }
}

/// `a · bᵀ`, `[m, n]`: `a` is `[m, inner]` and `b` `[n, inner]`.
pub(crate) fn times_transposed(cores: &Cores, a: &[f32], b: &[f32], inner: usize) -> Vec<f32> {
    let mut out = vec![0.0; a.len() / inner * (b.len() / inner)];
    if !out.is_empty() {
        Factor::new(cores, b, inner).product(cores, a, &mut out);
    }
    out
}

/// `a · b`, `[m, n]`: `a` is `[m, inner]` and `b` `[inner, n]`.
pub(crate) fn times(cores: &Cores, a: &[f32], b: &[f32], inner: usize) -> Vec<f32> {
    let n = b.len().checked_div(inner).unwrap_or(0);
    let mut out = vec![0.0; a.len().checked_div(inner).unwrap_or(0) * n];
    if !out.is_empty() {
        Factor::transposed(cores, b, inner).product(cores, a, &mut out);
    }
    out
}

/// `aᵀ · b`, `[m, n]`: `a` is `[inner, m]` and `b` `[inner, n]`.
pub(crate) fn transposed_times(cores: &Cores, a: &[f32], b: &[f32], inner: usize) -> Vec<f32> {
    if inner == 0 {
        return vec![];
    }
    times(cores, &transposed(cores, a, a.len() / inner), b, inner)
}

/// The transpose of `a`, `[rows, columns]`.
pub(crate) fn transposed(cores: &Cores, a: &[f32], columns: usize) -> Vec<f32> {
    /// Rows of `a` read beside each other: a cache line of the result.
    const SIDE: usize = 16;
    let rows = a.len() / columns.max(1);
    let mut out = vec![0.0; a.len()];
    cores.each_rows(&mut out, rows, |first, piece| {
        for start in (0..rows).step_by(SIDE) {
            let end = rows.min(start + SIDE);
            for (column, to) in piece.chunks_exact_mut(rows).enumerate() {
                for (row, to) in (start..end).zip(&mut to[start..end]) {
                    *to = a[row * columns + first + column];
                }
            }
        }
    });
    out
}

/// The dot product, summed in `f64` from the first number to the last.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// `to += scale · from`, number by number.
pub(crate) fn add_scaled(to: &mut [f32], scale: f32, from: &[f32]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += scale * from);
}

/// Rows divided by their lengths, and what the way back needs.
///
/// ```
/// use hua_train::loss::Units;
///
/// let units = Units::of(&[3.0, 4.0], 2);
/// assert_eq!(units.rows(), [0.6, 0.8]);
/// // A change along the row itself does not turn it, so it has no gradient.
/// assert!(units.backward(&[0.6, 0.8]).iter().all(|d| d.abs() < 1e-7));
/// ```
#[derive(Clone, Debug)]
pub struct Units {
    rows: Vec<f32>,
    lengths: Vec<f64>,
    width: usize,
}

impl Units {
    /// Of `raw`, `[n, width]`. A row of zeros stays so, and gets no gradient.
    pub fn of(raw: &[f32], width: usize) -> Self {
        let mut rows = raw.to_vec();
        let lengths = rows
            .chunks_exact_mut(width)
            .map(|row| {
                let length = dot(row, row).sqrt();
                if length > 0.0 {
                    row.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
                }
                length
            })
            .collect();
        Self { rows, lengths, width }
    }

    /// `[n, width]`, each of length one.
    pub fn rows(&self) -> &[f32] {
        &self.rows
    }

    /// Numbers of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// The gradient of the raw rows of that of the unit rows, both `[n, width]`: `(d - (d · u) u) / |x|`.
    pub fn backward(&self, d_units: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; d_units.len()];
        let rows = self.rows.chunks_exact(self.width).zip(&self.lengths);
        for (((unit, &length), d), out) in
            rows.zip(d_units.chunks_exact(self.width)).zip(out.chunks_exact_mut(self.width)).filter(|(((_, length), _), _)| **length > 0.0)
        {
            let along = dot(d, unit);
            for ((out, &d), &unit) in out.iter_mut().zip(d).zip(unit) {
                *out = ((f64::from(d) - along * f64::from(unit)) / length) as f32;
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hua_kernels::Isa;

    #[test]
    fn products_are_those_of_plain_sums_for_any_number_of_threads() {
        let (m, n, inner) = (37, 50, 19);
        let numbers = |count: usize, seed: usize| (0..count).map(|i| ((i * 7919 + seed) % 251) as f32 / 125.0 - 1.0).collect::<Vec<f32>>();
        let (a, b) = (numbers(m * inner, 1), numbers(inner * n, 2));
        let plain: Vec<f64> =
            (0..m * n).map(|i| (0..inner).map(|k| f64::from(a[i / n * inner + k]) * f64::from(b[k * n + i % n])).sum()).collect();
        let all = [1, 3].map(|threads| {
            let cores = Cores::new(threads, Isa::best()).unwrap();
            let (turned_a, turned_b) = (transposed(&cores, &a, inner), transposed(&cores, &b, n));
            [times(&cores, &a, &b, inner), times_transposed(&cores, &a, &turned_b, inner), transposed_times(&cores, &turned_a, &b, inner)]
        });
        for found in all.iter().flatten() {
            assert!(found.iter().zip(&plain).all(|(&x, y)| (f64::from(x) - y).abs() < 1e-5));
            assert_eq!(*found, all[0][0]);
        }
    }
}
