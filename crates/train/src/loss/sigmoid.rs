//! SigLIP's loss (arXiv 2303.15343, algorithm 1): each picture with each text is a yes-or-no question of its own.
//!
//! `-1/n · Σ ln σ(z · (exp(logit_scale) · a · b + logit_bias))`, `z` 1 for positives and -1 for all others; `n` is the number of rows of
//! the larger side, which in a batch of pairs is the batch size, as in the paper.
use std::sync::Mutex;

use hua_kernels::Cores;

use super::contrastive::Contrasted;
use super::groups::{Duplicates, Groups};
use super::matrix::{Factor, add_scaled, transposed};

/// `logit_bias` to begin with (section 3.2): most pairs are strangers, and the first step must not be one big correction.
pub const SIGMOID_BIAS: f32 = -10.0;
/// `logit_scale` to begin with: `ln 10`.
pub const SIGMOID_LOGIT_SCALE: f32 = std::f32::consts::LN_10;

/// Logits of a block, about: 16 MB.
const BLOCK: usize = 4 << 20;

/// The loss of `a` `[m, width]` and `b` `[n, width]`, rows of length one. Positives that are not a row's own, in both directions, are
/// positives too, or asked nothing.
///
/// # Panics
/// If there are not as many rows as `groups` has.
pub fn sigmoid(
    cores: &Cores,
    (a, b): (&[f32], &[f32]),
    width: usize,
    groups: &Groups,
    duplicates: Duplicates,
    (logit_scale, logit_bias): (f32, f32),
) -> Contrasted {
    let (m, n) = (groups.rows(), groups.columns());
    assert_eq!((a.len(), b.len()), (m * width, n * width), "rows of {width} as groups are told");
    let mut out = Contrasted { d_a: vec![0.0; a.len()], d_b: vec![0.0; b.len()], ..Contrasted::default() };
    if m == 0 || n == 0 {
        return out;
    }
    let scale = logit_scale.exp();
    let share = 1.0 / m.max(n) as f64;
    let step = (BLOCK / n).clamp(1, m);
    let (factor, turned) = (Factor::new(cores, b, width), Factor::transposed(cores, b, n));
    let (mut loss, mut d_scale, mut d_bias) = (0.0, 0.0, 0.0);
    let mut d = vec![];
    for first in (0..m).step_by(step) {
        let rows = &a[first * width..(first + step).min(m) * width];
        let count = rows.len() / width;
        d.resize(count * n, 0.0);
        factor.product(cores, rows, &mut d);
        let parts = Mutex::new(vec![[0.0; 3]; count]);
        cores.each_rows(&mut d, n, |row, piece| {
            for (at, d) in piece.chunks_exact_mut(n).enumerate() {
                let i = first + row + at;
                let positives = &groups.forth()[i];
                let mut next = positives.all.iter().copied().peekable();
                let mut neutral = positives.neutral.iter().copied().peekable();
                let mut sums = [0.0; 3];
                for (j, x) in d.iter_mut().enumerate() {
                    let positive = next.next_if_eq(&j).is_some();
                    if neutral.next_if_eq(&j).is_some() {
                        *x = 0.0;
                        continue;
                    }
                    if positive && duplicates == Duplicates::Ignored && positives.own != Some(j) && groups.back()[j].own != Some(i) {
                        *x = 0.0;
                        continue;
                    }
                    let scaled = f64::from(scale) * f64::from(*x);
                    let z = if positive { 1.0 } else { -1.0 };
                    let t = z * (scaled + f64::from(logit_bias));
                    // -ln σ(t), and its slope -σ(-t), without overflow on either side.
                    let tail = (-t.abs()).exp();
                    sums[0] += share * ((-t).max(0.0) + tail.ln_1p());
                    let sigma = if t > 0.0 { tail / (1.0 + tail) } else { 1.0 / (1.0 + tail) };
                    let slope = -share * z * sigma;
                    sums[1] += slope * scaled;
                    sums[2] += slope;
                    *x = slope as f32;
                }
                parts.lock().expect("no task panics")[row + at] = sums;
            }
        });
        for [part, scaled, slope] in parts.into_inner().expect("no task panics") {
            loss += part;
            d_scale += scaled;
            d_bias += slope;
        }
        turned.product(cores, &d, &mut out.d_a[first * width..][..rows.len()]);
        let mut d_b = vec![0.0; b.len()];
        Factor::transposed(cores, rows, count).product(cores, &transposed(cores, &d, n), &mut d_b);
        add_scaled(&mut out.d_b, scale, &d_b);
    }
    out.d_a.iter_mut().for_each(|d| *d *= scale);
    Contrasted { loss: loss as f32, d_logit_scale: d_scale as f32, d_logit_bias: d_bias as f32, ..out }
}
