//! Symmetric InfoNCE (CLIP, arXiv 2103.00020, figure 3), with several positives a row, label smoothing, and any number of rows on either
//! side.
//!
//! With `S = exp(logit_scale) · A Bᵀ`, the loss is the mean of two cross-entropies: of the rows of `S` and of its columns, each averaged
//! over the rows (columns) that have a positive. Targets are uniform over positives, or one's own alone with the others left out
//! ([`Duplicates`]); with `Groups::pairs` it is CLIP's loss to the letter.
//!
//! Each direction is a softmax over rows, of `S` and of `Sᵀ`, made in blocks of rows: one function does both, memory grows with the batch
//! and not with its square, and no sum goes across blocks. That `S` is multiplied out once for each direction costs a tenth of a second at
//! 4,096 × 512, of a step that takes the towers minutes.
use std::sync::Mutex;

use hua_kernels::Cores;

use super::groups::{Duplicates, Groups, Positives};
use super::matrix::{Factor, add_scaled, transposed};

/// Logits of a block, about: 16 MB.
const BLOCK: usize = 4 << 20;

/// What [`info_nce`] is to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contrast {
    /// Logarithm of what cosines are multiplied by.
    pub logit_scale: f32,
    /// Positives that are not one's own.
    pub duplicates: Duplicates,
    /// Share of each target that is spread over all rows of the other side (arXiv 1512.00567, section 7); 0 for none.
    pub smoothing: f32,
}

impl Contrast {
    /// CLIP's loss at this scale.
    pub fn new(logit_scale: f32) -> Self {
        Self { logit_scale, duplicates: Duplicates::default(), smoothing: 0.0 }
    }
}

/// A loss of two sides, and its gradients.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contrasted {
    /// The loss.
    pub loss: f32,
    /// Of the first side's unit rows, `[m, width]`.
    pub d_a: Vec<f32>,
    /// Of the second side's unit rows, `[n, width]`.
    pub d_b: Vec<f32>,
    /// Of `logit_scale`.
    pub d_logit_scale: f32,
    /// Of `logit_bias`; 0 for losses without.
    pub d_logit_bias: f32,
}

/// The loss of `a` `[m, width]` and `b` `[n, width]`, rows of length one. A row without a positive is a negative for the others and
/// nothing else; without any positives, loss and gradients are zeros.
///
/// ```
/// use hua_kernels::{Cores, Isa};
/// use hua_train::loss::{Contrast, Groups, info_nce};
///
/// // Two pictures and two texts that are all alike: every answer is as likely, and the loss is ln 2.
/// let cores = Cores::new(1, Isa::best())?;
/// let rows = [1.0, 0.0, 1.0, 0.0];
/// let found = info_nce(&cores, &rows, &rows, 2, &Groups::pairs(2), Contrast::new(0.0));
/// assert!((found.loss - 2f32.ln()).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Panics
/// If there are not as many rows as `groups` has.
pub fn info_nce(cores: &Cores, a: &[f32], b: &[f32], width: usize, groups: &Groups, contrast: Contrast) -> Contrasted {
    assert_eq!((a.len(), b.len()), (groups.rows() * width, groups.columns() * width), "rows of {width} as groups are told");
    let forth = one_way(cores, (a, b), width, groups.forth(), contrast, BLOCK);
    let back = one_way(cores, (b, a), width, groups.back(), contrast, BLOCK);
    let half_sum = |mut x: Vec<f32>, y: &[f32]| {
        x.iter_mut().zip(y).for_each(|(x, y)| *x = 0.5 * (*x + y));
        x
    };
    Contrasted {
        loss: ((forth.loss + back.loss) / 2.0) as f32,
        d_a: half_sum(forth.d_queries, &back.d_candidates),
        d_b: half_sum(forth.d_candidates, &back.d_queries),
        d_logit_scale: ((forth.d_logit_scale + back.d_logit_scale) / 2.0) as f32,
        d_logit_bias: 0.0,
    }
}

/// The cross-entropy of one direction.
pub(super) struct OneWay {
    pub loss: f64,
    pub d_queries: Vec<f32>,
    pub d_candidates: Vec<f32>,
    pub d_logit_scale: f64,
}

/// The mean, over the queries that have a positive, of the cross-entropy of the softmax over candidates, with about `block` logits at a
/// time.
pub(super) fn one_way(
    cores: &Cores,
    (queries, candidates): (&[f32], &[f32]),
    width: usize,
    positives: &[Positives],
    contrast: Contrast,
    block: usize,
) -> OneWay {
    let scale = contrast.logit_scale.exp();
    let (d_queries, d_candidates) = (vec![0.0; queries.len()], vec![0.0; candidates.len()]);
    let mut out = OneWay { loss: 0.0, d_queries, d_candidates, d_logit_scale: 0.0 };
    let asked = positives.iter().filter(|row| row.own.is_some()).count();
    if asked == 0 {
        return out;
    }
    let n = candidates.len() / width;
    let step = (block / n).clamp(1, positives.len());
    let factor = Factor::new(cores, candidates, width);
    let turned = Factor::transposed(cores, candidates, n);
    let mut d = vec![];
    for (first, positives) in positives.chunks(step).enumerate().map(|(i, rows)| (i * step, rows)) {
        let queries = &queries[first * width..][..positives.len() * width];
        d.resize(positives.len() * n, 0.0);
        factor.product(cores, queries, &mut d);
        let parts = Mutex::new(vec![(0.0, 0.0); positives.len()]);
        cores.each_rows(&mut d, n, |first, rows| {
            for (row, d) in rows.chunks_exact_mut(n).enumerate() {
                let part = cross_entropy(d, scale, &positives[first + row], contrast, 1.0 / asked as f64);
                parts.lock().expect("no task panics")[first + row] = part;
            }
        });
        for (loss, d_logit_scale) in parts.into_inner().expect("no task panics") {
            out.loss += loss;
            out.d_logit_scale += d_logit_scale;
        }
        turned.product(cores, &d, &mut out.d_queries[first * width..][..queries.len()]);
        // Of the candidates: dᵀ · queries.
        let rows = Factor::transposed(cores, queries, positives.len());
        let mut d_candidates = vec![0.0; candidates.len()];
        rows.product(cores, &transposed(cores, &d, n), &mut d_candidates);
        add_scaled(&mut out.d_candidates, scale, &d_candidates);
    }
    out.d_queries.iter_mut().for_each(|d| *d *= scale);
    out
}

/// Makes of a row of cosines the gradients of its logits, `share` of the row's cross-entropy. Returns that share of the loss, and of the
/// gradient of `logit_scale`.
fn cross_entropy(row: &mut [f32], scale: f32, positives: &Positives, contrast: Contrast, share: f64) -> (f64, f64) {
    let Some(own) = positives.own else {
        row.fill(0.0);
        return (0.0, 0.0);
    };
    let (right, left_out): (&[usize], &[usize]) = match contrast.duplicates {
        Duplicates::Ignored => (&[own], &positives.all),
        Duplicates::Positive => (&positives.all, &[]),
    };
    row.iter_mut().for_each(|x| *x *= scale);
    for &j in left_out.iter().filter(|&&j| j != own).chain(&positives.neutral) {
        row[j] = f32::NEG_INFINITY;
    }
    let most = row.iter().fold(f32::NEG_INFINITY, |most, &x| if x > most || x.is_nan() { x } else { most });
    let log_sum = f64::from(most) + row.iter().map(|&x| f64::from((x - most).exp())).sum::<f64>().ln();

    let smoothing = f64::from(contrast.smoothing);
    let spread = smoothing / (row.len() + 1 - left_out.len().max(1) - positives.neutral.len()) as f64;
    let each = (1.0 - smoothing) / right.len() as f64;
    let mut next = right.iter().copied().peekable();
    let (mut loss, mut d_scale) = (0.0, 0.0);
    for (j, x) in row.iter_mut().enumerate() {
        if *x == f32::NEG_INFINITY {
            *x = 0.0;
            continue;
        }
        let logit = f64::from(*x);
        let target = spread + if next.next_if_eq(&j).is_some() { each } else { 0.0 };
        let d = share * (f64::from(((logit - log_sum) as f32).exp()) - target);
        if target > 0.0 {
            loss += share * target * (log_sum - logit);
        }
        d_scale += d * logit;
        *x = d as f32;
    }
    (loss, d_scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hua_kernels::Isa;

    #[test]
    fn a_pair_that_is_left_out_is_asked_nothing() {
        let cores = Cores::new(1, Isa::best()).unwrap();
        let (a, b) = ([1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.6, 0.8]);
        let groups = Groups::pairs(2).leaving_out(&[(0, 1)]);
        let found = info_nce(&cores, &a, &b, 2, &groups, Contrast::new(0.0));
        // Of the cosines 1, 0.6, 0 and 0.8 the second counts in neither direction: one row and one column are left with one answer each.
        let entropy = |right: f32, wrong: f32| (right.exp() + wrong.exp()).ln() - right;
        let expected = (entropy(0.8, 0.0) + entropy(1.0, 0.0)) / 4.0;
        assert!((found.loss - expected).abs() < 1e-6, "{} {expected}", found.loss);
        let all = info_nce(&cores, &a, &b, 2, &Groups::pairs(2), Contrast::new(0.0));
        assert!(found.loss < all.loss && found.d_a[..2] != all.d_a[..2]);
        let asked = super::super::sigmoid(&cores, (&a, &b), 2, &groups, Duplicates::Positive, (0.0, 0.0)).loss;
        let softplus = |x: f32| (1.0 + x.exp()).ln();
        let expected = (softplus(-1.0) + softplus(0.0) + softplus(-0.8)) / 2.0;
        assert!((asked - expected).abs() < 1e-6, "{asked} {expected}");
    }

    #[test]
    fn how_many_rows_are_in_a_block_changes_nothing_but_the_rounding() {
        let cores = Cores::new(1, Isa::best()).unwrap();
        let unit = |seed: usize| {
            let raw: Vec<f32> = (0..23 * 8).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.0 - 1.0).collect();
            super::super::Units::of(&raw, 8).rows().to_vec()
        };
        let (a, b) = (unit(1), unit(2));
        let groups = Groups::new(&(0..23).map(|i| i % 9).collect::<Vec<_>>(), &(0..23).map(|i| i % 11).collect::<Vec<_>>());
        for duplicates in [Duplicates::Ignored, Duplicates::Positive] {
            let contrast = Contrast { logit_scale: 2.0, duplicates, smoothing: 0.1 };
            let [whole, cut] = [BLOCK, 60].map(|block| one_way(&cores, (&a, &b), 8, groups.forth(), contrast, block));
            assert!((whole.loss - cut.loss).abs() < 1e-9);
            assert_eq!(whole.d_queries, cut.d_queries);
            assert!(whole.d_candidates.iter().zip(&cut.d_candidates).all(|(x, y)| (x - y).abs() < 1e-6));
        }
    }
}
