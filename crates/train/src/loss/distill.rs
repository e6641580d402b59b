//! Losses of a student's vectors to a teacher's, row by row.
//!
//! The mean squared error of raw vectors is AltCLIP's first stage (arXiv 2211.06679, section 3.1: the reduction is PyTorch's `MSELoss`, a mean
//! over all numbers); one minus the mean cosine is the alternative there, and what Chinese-CLIP distils pictures with. The third, in-batch
//! contrast with the teacher's vectors, is [`info_nce`](super::info_nce) with the teacher as second side.
use super::matrix::{Units, dot};

/// A loss of one side, and its gradient.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distilled {
    /// The loss.
    pub loss: f32,
    /// Of the student's rows as they came in.
    pub d_student: Vec<f32>,
}

/// The mean of the squared differences of all numbers. `student` and `teacher` are `[n, width]`, raw.
///
/// # Panics
/// If they are not of one length.
pub fn mse(student: &[f32], teacher: &[f32]) -> Distilled {
    assert_eq!(student.len(), teacher.len(), "as many numbers of the student as of the teacher");
    let count = student.len().max(1) as f64;
    let differences = student.iter().zip(teacher).map(|(&x, &y)| f64::from(x) - f64::from(y));
    let loss = differences.clone().map(|d| d * d).sum::<f64>() / count;
    Distilled { loss: loss as f32, d_student: differences.map(|d| (2.0 * d / count) as f32).collect() }
}

/// One minus the mean cosine. `student` and `teacher` are `[n, width]`, raw; a row of zeros has cosine 0 and no gradient.
///
/// # Panics
/// If they are not of one length.
pub fn cosine(student: &[f32], teacher: &[f32], width: usize) -> Distilled {
    assert_eq!(student.len(), teacher.len(), "as many numbers of the student as of the teacher");
    let (units, wanted) = (Units::of(student, width), Units::of(teacher, width));
    let count = units.len().max(1) as f64;
    let rows = units.rows().chunks_exact(width).zip(wanted.rows().chunks_exact(width));
    let loss = if units.is_empty() { 0.0 } else { 1.0 - rows.map(|(x, y)| dot(x, y)).sum::<f64>() / count };
    let d_units: Vec<f32> = wanted.rows().iter().map(|&x| (-f64::from(x) / count) as f32).collect();
    Distilled { loss: loss as f32, d_student: units.backward(&d_units) }
}
