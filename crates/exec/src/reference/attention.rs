//! Attention and its gradient (Vaswani et al., arXiv 1706.03762).
use hua_graph::Mask;

use super::number::{Number, Values, dot};

/// Where the numbers of each head of each row lie.
#[derive(Clone, Copy)]
struct Heads {
    width: usize,
    size: usize,
    scale: f64,
}

impl Heads {
    fn new(width: usize, heads: usize) -> Self {
        let size = width / heads;
        Self { width, size, scale: 1.0 / (size as f64).sqrt() }
    }

    /// Head `head` of row `row`.
    fn of(self, row: usize, head: usize) -> std::ops::Range<usize> {
        let start = row * self.width + head * self.size;
        start..start + self.size
    }
}

/// Calls `each` with every row of every head: the head, the row, and the rows that it sees.
fn each_query(lengths: &[usize], heads: usize, mask: Mask, mut each: impl FnMut(usize, usize, std::ops::Range<usize>)) {
    let mut start = 0;
    for &length in lengths {
        for head in 0..heads {
            for i in 0..length {
                let seen = if mask == Mask::Causal { i + 1 } else { length };
                each(head, start + i, start..start + seen);
            }
        }
        start += length;
    }
}

/// Inputs q, k, v `[rows, width]`; returns `[rows, width]`. Head h has the columns from `h · width / heads`.
pub(super) fn attention<T: Number>([q, k, v]: [&Values<T>; 3], heads: usize, mask: Mask) -> Vec<T> {
    let at = Heads::new(q.width, heads);
    let mut out = vec![T::of(0.0); q.data.len()];
    each_query(&q.lengths, heads, mask, |head, i, seen| {
        let scores = seen.clone().map(|j| at.scale * dot(&q.data[at.of(i, head)], &k.data[at.of(j, head)]));
        let weights = softmax(scores.collect());
        for (d, out) in out[at.of(i, head)].iter_mut().enumerate() {
            let v = |j: usize| v.data[at.of(j, head)][d].wide();
            *out = T::of(seen.clone().zip(&weights).map(|(j, weight)| weight * v(j)).sum::<f64>());
        }
    });
    out
}

/// With weights `p = softmax(s)` of a query `i` and `e_j = dy_i · v_j`: `ds_j = p_j (e_j - Σ p e)`, `dq_i = scale Σ ds_j k_j`,
/// `dk_j += scale ds_j q_i`, `dv_j += p_j dy_i`. Returns `[dq, dk, dv]`, each `[rows, width]` as `dy` is.
pub(super) fn attention_backward([q, k, v]: [&Values<f64>; 3], heads: usize, mask: Mask, dy: &[f64]) -> [Vec<f64>; 3] {
    let at = Heads::new(q.width, heads);
    let [mut dq, mut dk, mut dv] = [(); 3].map(|()| vec![0.0; q.data.len()]);
    each_query(&q.lengths, heads, mask, |head, i, seen| {
        let (qi, dyi) = (&q.data[at.of(i, head)], &dy[at.of(i, head)]);
        let weights = softmax(seen.clone().map(|j| at.scale * dot(qi, &k.data[at.of(j, head)])).collect());
        let e: Vec<f64> = seen.clone().map(|j| dot(dyi, &v.data[at.of(j, head)])).collect();
        let mean = dot(&weights, &e);
        for ((j, p), e) in seen.zip(weights).zip(e) {
            let ds = at.scale * p * (e - mean);
            let range = at.of(j, head);
            for (d, j) in range.enumerate() {
                dq[at.of(i, head)][d] += ds * k.data[j];
                dk[j] += ds * qi[d];
                dv[j] += p * dyi[d];
            }
        }
    });
    [dq, dk, dv]
}

fn softmax(mut scores: Vec<f64>) -> Vec<f64> {
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    scores.iter_mut().for_each(|s| *s = (*s - most).exp());
    let sum: f64 = scores.iter().sum();
    scores.iter_mut().for_each(|s| *s /= sum);
    scores
}
