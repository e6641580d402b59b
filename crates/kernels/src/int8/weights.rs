//! Channels of weights as bytes with sign and a scale each.
//!
//! The scale is the least with which no byte is beyond ±127, and with which four products with inputs of 8 bits fit 16 bits: of the
//! weights k, k + 1, k + 4, k + 5 of each aligned group of 8, and of the other four, the positive ones sum to at most 128 and the
//! negative ones to at least -128 (255 · 128 = 32 640). That is what tiles want (`dots.rs`); it is checked on the bytes, after
//! rounding, so that it holds whatever the weights.
//!
//! What it costs: relative error (root of the sum of squares, in %) of weights rounded so, and of products with inputs rounded
//! as `inputs.rs` does, from a normal distribution, or from Student's with three degrees of freedom:
//!
//! | | normal weights, 768 long | 3072 long | Student's with five degrees, 768 long | the first built-in model |
//! | --- | --- | --- | --- | --- |
//! | no bound but ±127 (VNNI alone) | 0.78 · 1.06 · 1.87 | 0.85 · 1.15 · 2.94 | 1.48 · 1.62 · 2.61 | 0.57 · 0.86 · 1.47 |
//! | **groups of 8** | 1.36 · 1.56 · 2.18 | 1.53 · 1.72 · 3.22 | 1.83 · 1.95 · 2.81 | 1.18 · 1.35 · 1.80 |
//! | ±64: two products fit, the usual way | 1.54 · 1.70 · 2.28 | 1.69 · 1.86 · 3.27 | 2.93 · 2.98 · 3.59 | 1.13 · 1.30 · 1.76 |
//! | groups of 16: eight products fit | 1.93 · 2.06 · 2.57 | 2.21 · 2.29 · 3.56 | 2.28 · 2.42 · 3.21 | 1.74 · 1.86 · 2.21 |
//!
//! All matrices of that model and all their inputs rounded so, in the reference code: embeddings of `dev` have a cosine of at least
//! 0.9996 (pictures) and 0.9992 (texts) with exact ones; with no bound but ±127 0.9998 and 0.9994, in groups of 16 0.9990 and 0.9978.
//! Recalls of `valid` move by 0.18 points in the language where they move most.
//!
//! Of 32 scales the one with the least error, groups that are beyond the bound brought to the nearest bytes that are not, gives
//! 1.35, 1.48, 1.81 and 1.17 in the first columns of groups of 8: too little for the time that it takes.

/// The greatest sum of the positive weights of half a group, and of the negative ones without their sign.
const BOUND: i32 = 128;

/// So many weights of a channel at least keep their sums within 32 bits by the bound alone: 64 for each of them, times 255.
pub(super) const MOST_INNER: usize = 1 << 17;
/// The greatest sum of the weights of a channel, all without their signs.
const MOST_SIZE: usize = i32::MAX as usize / 255;

/// Makes a channel bytes, and returns the scale: a weight is its byte times the scale, about. A channel with numbers that are none,
/// or infinite, is zeros with a scale that is no number, so that its products are none either.
#[inline(always)]
pub(super) fn quantise(row: &[f32], to: &mut [i8]) -> f32 {
    let Some(mut scale) = least_scale(row) else {
        to.fill(0);
        return f32::NAN;
    };
    loop {
        let inverse = 1.0 / scale;
        for (to, &x) in to.iter_mut().zip(row) {
            *to = round(x * inverse) as i8;
        }
        let excess = if row.len() > MOST_INNER { size(to) as f32 / MOST_SIZE as f32 } else { 0.0 };
        if greatest_sum(to) <= BOUND && excess <= 1.0 {
            return scale;
        }
        // Rounding moves a sum by 2 at most, and so the scale by a hundredth or two.
        scale *= excess.max(1.0 + 1.0 / 512.0);
    }
}

/// The sum of the weights without their signs.
fn size(weights: &[i8]) -> usize {
    weights.iter().map(|w| usize::from(w.unsigned_abs())).sum()
}

/// To the nearest integer, of two the even one, for numbers below 2²²: an addition leaves no bits behind the point.
#[inline(always)]
fn round(x: f32) -> i32 {
    const SHIFT: f32 = 12_582_912.0;
    (x + SHIFT).to_bits().wrapping_sub(SHIFT.to_bits()) as i32
}

/// The least scale that the weights allow before they are rounded, and a normal number; none if a weight is no finite number.
#[inline(always)]
fn least_scale(row: &[f32]) -> Option<f32> {
    let mut greatest = Greatest::default();
    let (groups, rest) = row.as_chunks::<8>();
    for group in groups {
        greatest.add(group);
    }
    let mut last = [0.0; 8];
    last[..rest.len()].copy_from_slice(rest);
    greatest.add(&last);
    let of = |numbers: &[f32]| numbers.iter().fold(0f32, |a, &b| a.max(b));
    let scale = (of(&greatest.weights) / 127.0).max(of(&greatest.quarters) / (BOUND / 4) as f32);
    (greatest.finite.iter().all(|x| *x == 0.0) && scale.is_finite()).then_some(scale.max(f32::MIN_POSITIVE))
}

/// The greatest weights without their signs, the greatest quarters of the sums of positive and of negative weights of half a group
/// (quarters, so that they are finite if the weights are), and zeros if all weights are finite.
#[derive(Default)]
struct Greatest {
    weights: [f32; 8],
    quarters: [f32; 4],
    finite: [f32; 8],
}

impl Greatest {
    #[inline(always)]
    fn add(&mut self, group: &[f32; 8]) {
        for (i, &x) in group.iter().enumerate() {
            self.weights[i] = if x.abs() > self.weights[i] { x.abs() } else { self.weights[i] };
            self.finite[i] += 0.0 * x;
        }
        let plus: [f32; 8] = std::array::from_fn(|i| if group[i] > 0.0 { 0.25 * group[i] } else { 0.0 });
        let minus: [f32; 8] = std::array::from_fn(|i| if group[i] < 0.0 { -0.25 * group[i] } else { 0.0 });
        let sums = [sums(plus), sums(minus)];
        for (i, greatest) in self.quarters.iter_mut().enumerate() {
            let sum = sums[i / 2][i % 2];
            *greatest = if sum > *greatest { sum } else { *greatest };
        }
    }
}

/// The sums of both halves of a group: of the numbers 0, 1, 4, 5 and of the others.
#[inline(always)]
fn sums<T: Copy + std::ops::Add<Output = T>>(group: [T; 8]) -> [T; 2] {
    let [a, b, c, d]: [T; 4] = std::array::from_fn(|i| group[i] + group[i + 4]);
    [a + b, c + d]
}

/// The greatest sum of positive or of negative weights of half a group.
#[inline(always)]
fn greatest_sum(weights: &[i8]) -> i32 {
    let (groups, rest) = weights.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let mut greatest = [0; 4];
    for group in groups {
        add_greatest(&mut greatest, group);
    }
    add_greatest(&mut greatest, &last);
    greatest.into_iter().fold(0, |a, b| a.max(b.into()))
}

#[inline(always)]
fn add_greatest(greatest: &mut [i16; 4], group: &[i8; 8]) {
    let plus = sums(std::array::from_fn(|i| i16::from(group[i]).max(0)));
    let minus = sums(std::array::from_fn(|i| -i16::from(group[i]).min(0)));
    for (i, greatest) in greatest.iter_mut().enumerate() {
        *greatest = (*greatest).max([plus, minus][i / 2][i % 2]);
    }
}
