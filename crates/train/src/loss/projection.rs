//! Ways between a student's width and a teacher's: a trained matrix, or the teacher's principal directions.
//!
//! Chinese-CLIP stretches the student's whole matrix of features by bilinear interpolation where widths differ, which mixes neighbouring
//! numbers that have nothing to do with each other; here a linear map is learned beside the student, or the teacher's vectors are reduced.
use hua_kernels::Cores;

use super::matrix::{times, times_transposed, transposed_times};

/// A linear map without bias: `y = x · weightᵀ`.
#[derive(Clone, Copy, Debug)]
pub struct Projection<'a> {
    /// `[out, inner]`.
    pub weight: &'a [f32],
    /// Width of what goes in.
    pub inner: usize,
}

impl Projection<'_> {
    /// `[n, out]` of `x` `[n, inner]`.
    pub fn forward(&self, cores: &Cores, x: &[f32]) -> Vec<f32> {
        times_transposed(cores, x, self.weight, self.inner)
    }

    /// The gradients of `x` and of the weight, of that of `y` `[n, out]`.
    pub fn backward(&self, cores: &Cores, x: &[f32], d_y: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let out = self.weight.len() / self.inner;
        (times(cores, d_y, self.weight, out), transposed_times(cores, d_y, x, x.len() / self.inner))
    }
}

/// Directions in which many vectors are large, greatest first: of all maps to so few numbers, the one that keeps dot products best.
///
/// They are not centred: what is compared later are cosines of the vectors themselves, and a mean that is taken away would turn them.
#[derive(Clone, Debug, PartialEq)]
pub struct Pca {
    directions: Vec<f32>,
    inner: usize,
    kept: f64,
}

/// Vectors from which no directions can be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PcaError {
    /// Too few, or too narrow.
    #[error("{rows} vectors of {inner} numbers have no {wanted} principal directions")]
    TooFew {
        /// Vectors.
        rows: usize,
        /// Numbers of each.
        inner: usize,
        /// Directions asked for.
        wanted: usize,
    },
    /// Something that is no number.
    #[error("the vectors hold numbers that are not finite")]
    NotFinite,
}

impl Pca {
    /// The `out` greatest of `x` `[n, inner]`.
    ///
    /// # Errors
    /// [`PcaError`].
    pub fn of(cores: &Cores, x: &[f32], inner: usize, out: usize) -> Result<Self, PcaError> {
        let rows = x.len() / inner.max(1);
        if out == 0 || out > inner || rows < out {
            return Err(PcaError::TooFew { rows, inner, wanted: out });
        }
        if !x.iter().all(|x| x.is_finite()) {
            return Err(PcaError::NotFinite);
        }
        let moments = transposed_times(cores, x, x, rows);
        let moments = nalgebra::DMatrix::from_iterator(inner, inner, moments.iter().map(|&x| f64::from(x)));
        let found = nalgebra::SymmetricEigen::new(moments);
        let mut order: Vec<usize> = (0..inner).collect();
        order.sort_by(|&i, &j| found.eigenvalues[j].total_cmp(&found.eigenvalues[i]).then(i.cmp(&j)));
        let mut directions = Vec::with_capacity(out * inner);
        for &i in &order[..out] {
            let column = found.eigenvectors.column(i);
            // Of the two signs, the one with the greatest number positive: the same on every run.
            let greatest = column.iter().copied().fold(0.0, |greatest: f64, x| if x.abs() > greatest.abs() { x } else { greatest });
            directions.extend(column.iter().map(|x| (x * greatest.signum()) as f32));
        }
        let sum = |of: &[usize]| of.iter().map(|&i| found.eigenvalues[i].max(0.0)).sum::<f64>();
        let kept = sum(&order[..out]) / sum(&order).max(f64::MIN_POSITIVE);
        Ok(Self { directions, inner, kept })
    }

    /// `[n, out]` of `x` `[n, inner]`.
    pub fn reduce(&self, cores: &Cores, x: &[f32]) -> Vec<f32> {
        times_transposed(cores, x, &self.directions, self.inner)
    }

    /// The directions, `[out, inner]`, each of length one.
    pub fn directions(&self) -> &[f32] {
        &self.directions
    }

    /// What share of the sum of squares is kept.
    pub fn kept(&self) -> f64 {
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hua_kernels::Isa;

    #[test]
    fn vectors_that_lie_in_a_plane_keep_their_dot_products_in_two_numbers() {
        let cores = Cores::new(1, Isa::best()).unwrap();
        let [u, v] = [[0.5f32, 0.5, 0.5, 0.5, 0.0], [0.5, -0.5, 0.5, -0.5, 0.0]];
        let x: Vec<f32> = (0..9).flat_map(|i| (0..5).map(move |k| (i as f32 - 2.0) * u[k] + ((i * i) % 5) as f32 * v[k])).collect();
        let pca = Pca::of(&cores, &x, 5, 2).unwrap();
        assert!(pca.kept() > 1.0 - 1e-6);
        let y = pca.reduce(&cores, &x);
        let (before, after) = (times_transposed(&cores, &x, &x, 5), times_transposed(&cores, &y, &y, 2));
        assert!(before.iter().zip(&after).all(|(a, b)| (a - b).abs() < 1e-4), "{before:?} {after:?}");
        assert_eq!(Pca::of(&cores, &x, 5, 6), Err(PcaError::TooFew { rows: 9, inner: 5, wanted: 6 }));
        assert_eq!(Pca::of(&cores, &[f32::NAN; 10], 5, 1), Err(PcaError::NotFinite));
    }
}
