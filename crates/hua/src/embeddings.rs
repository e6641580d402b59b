//! Vectors of texts or pictures, tied to the model that made them.
//!
//! Every row has length one, so that a dot product is a cosine. Vectors of two models are never compared: each [`Embeddings`]
//! carries its model's fingerprint.
use hua_kernels::{AlignedBytes, Cores, Epilogue, Isa, Layout, Packed, Part, Precision, Values, pack, product};

use crate::Error;

/// A text that was cut because it is longer than the model reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncation {
    /// Which text of the call.
    pub index: usize,
    /// Tokens that were left out.
    pub cut: usize,
}

/// Rows of length one, `[len, width]`.
#[derive(Clone, Debug)]
pub struct Embeddings {
    fingerprint: String,
    width: usize,
    data: Vec<f32>,
    truncated: Vec<Truncation>,
}

impl Embeddings {
    /// Normalises `data`, `[n, width]`, row by row; a row of zeros stays so.
    pub(crate) fn normalized(fingerprint: &str, width: usize, mut data: Vec<f32>) -> Self {
        for row in data.chunks_exact_mut(width) {
            let length = row.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
            if length > 0.0 {
                for x in row {
                    *x = (f64::from(*x) / length) as f32;
                }
            }
        }
        Self { fingerprint: fingerprint.to_owned(), width, data, truncated: vec![] }
    }

    /// Rows that are normalised already, such as those of a cache.
    pub(crate) fn from_rows(fingerprint: &str, width: usize, data: Vec<f32>) -> Self {
        Self { fingerprint: fingerprint.to_owned(), width, data, truncated: vec![] }
    }

    pub(crate) fn with_truncated(self, truncated: Vec<Truncation>) -> Self {
        Self { truncated, ..self }
    }

    /// The model that made them.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Numbers of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.data.len() / self.width.max(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Row `index`, `[width]`.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.data[index * self.width..][..self.width]
    }

    /// All rows in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.data.chunks_exact(self.width.max(1))
    }

    /// All numbers, `[len, width]`.
    pub fn as_slice(&self) -> &[f32] {
        &self.data
    }

    /// The texts that were cut, in order.
    pub fn truncated(&self) -> &[Truncation] {
        &self.truncated
    }

    /// The rows of `range`.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn range(&self, range: std::ops::Range<usize>) -> Self {
        Self::from_rows(&self.fingerprint, self.width, self.data[range.start * self.width..range.end * self.width].to_vec())
    }
}

/// Cosines of every row of one with every row of another, `[rows, columns]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Rows: the first embeddings of [`similarity`].
    pub rows: usize,
    /// Columns: the second.
    pub columns: usize,
    /// `[rows, columns]`.
    pub data: Vec<f32>,
}

impl Matrix {
    /// Row `index`, `[columns]`.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.data[index * self.columns..][..self.columns]
    }
}

/// The cosine of each row of `a` with each row of `b`.
///
/// # Errors
/// [`Error::OtherModel`] if they are of different models.
pub fn similarity(a: &Embeddings, b: &Embeddings) -> Result<Matrix, Error> {
    if a.fingerprint != b.fingerprint {
        return Err(Error::OtherModel { left: a.fingerprint.clone(), right: b.fingerprint.clone() });
    }
    let mut data = vec![0.0; a.len() * b.len()];
    if !data.is_empty() {
        let isa = Isa::chosen().unwrap_or_else(|_| Isa::best());
        let cores = Cores::new(1, isa).expect("one thread is this one");
        // The fewer are packed, and the others stay where they lie; a cosine is the same number either way round.
        let turned = a.len() < b.len();
        let (few, many) = if turned { (a, b) } else { (b, a) };
        let layout = Layout::new(isa, Precision::F32, few.len(), few.width);
        let mut packed = AlignedBytes::new(layout.bytes());
        pack(&cores, layout, Values::F32(&few.data), &mut packed);
        let parts = [Part { weight: Packed::new(layout, &packed), bias: None }];
        product(&cores, &many.data, many.width, &parts, Epilogue::default(), &mut data);
        if turned && a.len() > 1 {
            let columns = data;
            data = (0..a.len()).flat_map(|row| columns[row..].iter().step_by(a.len()).copied()).collect();
        }
    }
    Ok(Matrix { rows: a.len(), columns: b.len(), data })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_length_one_and_cosines_follow() {
        let a = Embeddings::normalized("m", 2, vec![3.0, 4.0, 0.0, 2.0]);
        assert_eq!((a.len(), a.row(0)), (2, &[0.6, 0.8][..]));
        let cosines = similarity(&a, &a).unwrap();
        assert!((cosines.row(0)[1] - 0.8).abs() < 1e-6 && (cosines.row(1)[1] - 1.0).abs() < 1e-6);
    }

    #[test]
    fn embeddings_of_two_models_are_not_compared() {
        let (a, b) = (Embeddings::normalized("one", 2, vec![1.0, 0.0]), Embeddings::normalized("other", 2, vec![1.0, 0.0]));
        assert!(matches!(similarity(&a, &b), Err(Error::OtherModel { .. })));
    }
}
