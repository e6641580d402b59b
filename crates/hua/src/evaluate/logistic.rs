//! Multinomial logistic regression by L-BFGS, the linear probe of CLIP's protocol.
//!
//! What is minimised is scikit-learn's objective with `C = 1 / penalty`: the sum of the cross-entropies + penalty / 2 · ‖W‖², biases free. It is
//! convex, so whoever minimises it finds the same probabilities. L-BFGS keeps ten pairs (Nocedal and Wright, *Numerical Optimization*, 2006,
//! algorithm 7.4), steps back until Armijo's condition holds, and does at most 1,000 steps, as CLIP's protocol. All in f64; rows are summed in a
//! fixed number of parts, so that the result does not depend on the number of threads.
use rayon::prelude::*;

/// Pairs of steps and changes of the gradient that are remembered.
const MEMORY: usize = 10;
/// Steps at most.
const MOST_STEPS: usize = 1000;
/// The largest part of the gradient, for each sample, at which the search ends.
const TOLERANCE: f64 = 1e-7;
/// Parts that the rows are summed in.
const PARTS: usize = 16;

/// Rows with their classes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Samples<'a> {
    pub width: usize,
    /// `[n, width]`.
    pub rows: &'a [f32],
    /// `[n]`.
    pub classes: &'a [usize],
}

/// A fitted model.
#[derive(Clone, Debug)]
pub(super) struct Logistic {
    classes: usize,
    /// `[width + 1, classes]`; the last row has the biases.
    weights: Vec<f64>,
}

impl Logistic {
    /// Fits `classes` classes, beginning from `start` if it is given.
    pub fn fit(samples: Samples<'_>, classes: usize, penalty: f64, start: Option<&Self>) -> Self {
        let size = (samples.width + 1) * classes;
        let begin = start.map_or_else(|| vec![0.0; size], |start| start.weights.clone());
        let n = samples.classes.len() as f64;
        let objective = |weights: &[f64]| objective(samples, classes, penalty / n, weights);
        Self { classes, weights: minimise(begin, objective) }
    }

    /// Scores of rows for classes, `[n, classes]`: logits, before the softmax.
    pub fn logits(&self, width: usize, rows: &[f32]) -> Vec<f32> {
        let mut logits = vec![0.0; self.classes];
        let scored = rows.chunks_exact(width).flat_map(|row| {
            score(&self.weights, row, &mut logits);
            logits.iter().map(|&x| x as f32).collect::<Vec<_>>()
        });
        scored.collect()
    }
}

/// `logits = weights^T [row, 1]`.
fn score(weights: &[f64], row: &[f32], logits: &mut [f64]) {
    let classes = logits.len();
    logits.copy_from_slice(&weights[row.len() * classes..]);
    for (&x, weights) in row.iter().zip(weights.chunks_exact(classes)) {
        for (logit, weight) in logits.iter_mut().zip(weights) {
            *logit += f64::from(x) * weight;
        }
    }
}

/// Mean cross-entropy + penalty / 2 · ‖W‖², and its gradient.
fn objective(samples: Samples<'_>, classes: usize, penalty: f64, weights: &[f64]) -> (f64, Vec<f64>) {
    let n = samples.classes.len();
    let part = n.div_ceil(PARTS).max(1);
    let sums: Vec<(f64, Vec<f64>)> = samples
        .rows
        .par_chunks(part * samples.width)
        .zip(samples.classes.par_chunks(part))
        .map(|(rows, targets)| {
            let (mut loss, mut gradient, mut logits) = (0.0, vec![0.0; weights.len()], vec![0.0; classes]);
            for (row, &target) in rows.chunks_exact(samples.width).zip(targets) {
                score(weights, row, &mut logits);
                let most = logits.iter().copied().fold(f64::MIN, f64::max);
                let right = logits[target] - most;
                let mut total = 0.0;
                for logit in &mut logits {
                    *logit = (*logit - most).exp();
                    total += *logit;
                }
                loss += total.ln() - right;
                for logit in &mut logits {
                    *logit /= total;
                }
                logits[target] -= 1.0;
                let ones = row.iter().map(|&x| f64::from(x)).chain([1.0]);
                for (x, gradient) in ones.zip(gradient.chunks_exact_mut(classes)) {
                    for (gradient, error) in gradient.iter_mut().zip(&logits) {
                        *gradient += x * error;
                    }
                }
            }
            (loss, gradient)
        })
        .collect();
    let (mut loss, mut gradient) = (0.0, vec![0.0; weights.len()]);
    for (of_part, part) in sums {
        loss += of_part;
        for (sum, x) in gradient.iter_mut().zip(part) {
            *sum += x;
        }
    }
    loss /= n as f64;
    let matrix = samples.width * classes;
    for (i, gradient) in gradient.iter_mut().enumerate() {
        *gradient /= n as f64;
        if i < matrix {
            *gradient += penalty * weights[i];
            loss += penalty / 2.0 * weights[i] * weights[i];
        }
    }
    (loss, gradient)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// L-BFGS from `at`.
fn minimise(mut at: Vec<f64>, objective: impl Fn(&[f64]) -> (f64, Vec<f64>)) -> Vec<f64> {
    let (mut value, mut gradient) = objective(&at);
    // Steps and changes of the gradient, the latest last.
    let mut pairs: std::collections::VecDeque<(Vec<f64>, Vec<f64>)> = std::collections::VecDeque::new();
    for _ in 0..MOST_STEPS {
        if gradient.iter().all(|x| x.abs() <= TOLERANCE) {
            break;
        }
        let mut direction = gradient.clone();
        let mut shares = vec![];
        for (step, change) in pairs.iter().rev() {
            let share = dot(step, &direction) / dot(step, change);
            direction.iter_mut().zip(change).for_each(|(d, c)| *d -= share * c);
            shares.push(share);
        }
        if let Some((step, change)) = pairs.back() {
            let scale = dot(step, change) / dot(change, change);
            direction.iter_mut().for_each(|d| *d *= scale);
        }
        for ((step, change), share) in pairs.iter().zip(shares.into_iter().rev()) {
            let back = dot(change, &direction) / dot(step, change);
            direction.iter_mut().zip(step).for_each(|(d, s)| *d += (share - back) * s);
        }
        let slope = -dot(&direction, &gradient);
        let mut length = if pairs.is_empty() { 1.0 / dot(&gradient, &gradient).sqrt().max(1.0) } else { 1.0 };
        let next = loop {
            let next: Vec<f64> = at.iter().zip(&direction).map(|(x, d)| x - length * d).collect();
            let found = objective(&next);
            if found.0 <= value + 1e-4 * length * slope {
                break Some((next, found));
            }
            length /= 2.0;
            if length < 1e-12 {
                break None;
            }
        };
        // No step is small enough: the rest is rounding.
        let Some((next, (found, new_gradient))) = next else { break };
        let step: Vec<f64> = next.iter().zip(&at).map(|(a, b)| a - b).collect();
        let change: Vec<f64> = new_gradient.iter().zip(&gradient).map(|(a, b)| a - b).collect();
        if dot(&step, &change) > 1e-14 * dot(&change, &change) {
            if pairs.len() == MEMORY {
                pairs.pop_front();
            }
            pairs.push_back((step, change));
        }
        (at, value, gradient) = (next, found, new_gradient);
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let rows: Vec<f32> = (0..30).map(|i| ((i * 37) % 11) as f32 / 5.0 - 1.0).collect();
        let samples = Samples { width: 3, rows: &rows, classes: &[0, 1, 2, 0, 1, 2, 1, 1, 0, 2] };
        let weights: Vec<f64> = (0..12).map(|i| f64::from((i * 29) % 13) / 10.0 - 0.6).collect();
        let (_, gradient) = objective(samples, 3, 0.3, &weights);
        for i in 0..weights.len() {
            let at = |by: f64| {
                let mut weights = weights.clone();
                weights[i] += by;
                objective(samples, 3, 0.3, &weights).0
            };
            let wanted = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((gradient[i] - wanted).abs() < 1e-8, "{i}: {} for {wanted}", gradient[i]);
        }
    }

    #[test]
    fn the_fit_does_not_depend_on_threads_or_on_where_it_begins() {
        let rows: Vec<f32> = (0..200).map(|i| ((i * 7919) % 101) as f32 / 50.0 - 1.0).collect();
        let classes: Vec<usize> = (0..100).map(|i| (i * 31 % 17) % 3).collect();
        let samples = Samples { width: 2, rows: &rows, classes: &classes };
        let fit = |threads: usize, start: Option<&Logistic>| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| Logistic::fit(samples, 3, 0.1, start))
        };
        let one = fit(1, None);
        assert_eq!(one.weights, fit(3, None).weights);
        let far = Logistic { classes: 3, weights: vec![1.0, -2.0, 3.0, 0.5, 0.0, -1.0, 0.1, 0.2, 0.3] };
        let (one, again) = (one.logits(2, &rows), fit(1, Some(&far)).logits(2, &rows));
        // Of logits only differences are determined.
        let differences = |of: &[f32]| of.chunks(3).flat_map(|of| [of[0] - of[2], of[1] - of[2]]).collect::<Vec<_>>();
        let most = differences(&one).into_iter().zip(differences(&again)).map(|(a, b)| (a - b).abs());
        assert!(most.fold(0.0, f32::max) < 1e-4);
    }
}
