//! Weighted sums of bytes in fixed point: the two passes of a picture's resize, along rows and down columns.
//!
//! An output is `clamp((half + Σ weight · sample) >> 22)` in wrapping 32-bit arithmetic, as Pillow's `Resample.c` has it, so that every
//! instruction set gives the same bytes. A weight of 22 bits is too wide for the multiplications of two pairs that processors are quick at
//! (`pmaddwd`): it is cut into halves, `weight = high · 2¹¹ + low`, whose sums are put together at the end.
//!
//! Along rows, the fast path is for three channels: four pixels are spread so that the same channel of two neighbours makes a pair, and a
//! weight is loaded once for four rows. Down columns, a pair is the same byte of two rows. From 12 megapixels to 224 × 224 on one Zen 3 core:
//! 107 ms in plain Rust for SSE2, which has no 32-bit multiplication.

/// Fraction bits of a weight: 32 bits less 8 for the sample and 2 for the overshoot of a filter.
pub const WEIGHT_BITS: u32 = 22;
/// Bits of the low half of a weight.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "for the passes of x86-64"))]
const LOW_BITS: u32 = 11;
const HALF: i32 = 1 << (WEIGHT_BITS - 1);

/// Which inputs make each output along one axis, and with which weights.
#[derive(Clone, Debug)]
pub struct Taps {
    /// First input and number of inputs, for each output.
    bounds: Vec<(usize, usize)>,
    /// `stride` weights for each output.
    weights: Vec<i32>,
    stride: usize,
    /// Inputs there must be.
    inputs: usize,
}

impl Taps {
    /// `bounds` has the first input and the number of inputs of each output, `weights` as many rows of `stride`.
    ///
    /// # Panics
    /// If the lengths do not fit together, or an output has more inputs than weights.
    pub fn new(bounds: Vec<(usize, usize)>, weights: Vec<i32>, stride: usize) -> Self {
        assert_eq!(weights.len(), bounds.len() * stride, "wanted {stride} weights for each output");
        assert!(bounds.iter().all(|&(_, count)| count <= stride), "an output has at most {stride} inputs");
        let inputs = bounds.iter().map(|&(first, count)| first + count).max().unwrap_or(0);
        Self { bounds, weights, stride, inputs }
    }

    /// How many outputs there are.
    pub fn outputs(&self) -> usize {
        self.bounds.len()
    }

    /// First input and weights of each output.
    fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        let weights = self.weights.chunks_exact(self.stride.max(1));
        self.bounds.iter().zip(weights).map(|(&(first, count), weights)| (first, &weights[..count]))
    }
}

/// The pass along rows: `input` is `[rows, width, CHANNELS]`, `out` `[rows, outputs, CHANNELS]`.
///
/// # Panics
/// If the lengths do not fit together or `taps` reach beyond `width`.
pub fn weigh_along<const CHANNELS: usize>(input: &[u8], width: usize, taps: &Taps, out: &mut [u8]) {
    let (row, out_row) = (width * CHANNELS, taps.outputs() * CHANNELS);
    if out_row == 0 || row == 0 {
        return assert!(out.is_empty() || out_row > 0, "rows of nothing have no weighted sums");
    }
    assert!(taps.inputs <= width, "{} pixels of a row are wanted, it has {width}", taps.inputs);
    assert_eq!((input.len() % row, out.len()), (0, input.len() / row * out_row), "rows in and out");
    #[cfg(target_arch = "x86_64")]
    if CHANNELS == 3
        && x86::available()
        && let Some(quads) = x86::Quads::of(taps)
    {
        // SAFETY: the features are there, and the lengths were checked above.
        return unsafe { x86::along_rgb(input, row, taps, &quads, out) };
    }
    #[cfg(target_arch = "x86_64")]
    if x86::available() {
        // SAFETY: the features are there.
        return unsafe { x86::along_any::<CHANNELS>(input, row, taps, out) };
    }
    plain_along::<CHANNELS>(input, row, taps, out);
}

/// The pass down columns: `input` is `[rows, row]`, `out` `[outputs, row]`.
///
/// # Panics
/// If the lengths do not fit together or `taps` reach beyond the rows.
pub fn weigh_down(input: &[u8], row: usize, taps: &Taps, out: &mut [u8]) {
    if row == 0 {
        return assert!(out.is_empty(), "rows of nothing have no weighted sums");
    }
    assert!(taps.inputs <= input.len() / row, "{} rows are wanted, there are {}", taps.inputs, input.len() / row);
    assert_eq!(out.len(), taps.outputs() * row, "rows out");
    #[cfg(target_arch = "x86_64")]
    if x86::available()
        && let Some(pairs) = x86::Pairs::of(taps)
    {
        // SAFETY: the features are there, and the lengths were checked above.
        return unsafe { x86::down(input, row, taps, &pairs, out) };
    }
    plain_down(input, row, 0, taps, out);
}

#[inline(always)]
fn plain_along<const CHANNELS: usize>(input: &[u8], row: usize, taps: &Taps, out: &mut [u8]) {
    for (input, out) in input.chunks_exact(row).zip(out.chunks_exact_mut(taps.outputs() * CHANNELS)) {
        for ((first, weights), out) in taps.iter().zip(out.as_chunks_mut::<CHANNELS>().0) {
            let mut sum = [HALF; CHANNELS];
            for (pixel, &weight) in input[first * CHANNELS..].as_chunks::<CHANNELS>().0.iter().zip(weights) {
                for (sum, &sample) in sum.iter_mut().zip(pixel) {
                    *sum = sum.wrapping_add(weight.wrapping_mul(i32::from(sample)));
                }
            }
            *out = sum.map(clip);
        }
    }
}

/// The columns from `from` on.
fn plain_down(input: &[u8], row: usize, from: usize, taps: &Taps, out: &mut [u8]) {
    let mut sums = vec![0_i32; row - from];
    for ((first, weights), out) in taps.iter().zip(out.chunks_exact_mut(row)) {
        sums.fill(HALF);
        for (line, &weight) in input[first * row..].chunks_exact(row).zip(weights) {
            for (sum, &sample) in sums.iter_mut().zip(&line[from..]) {
                *sum = sum.wrapping_add(weight.wrapping_mul(i32::from(sample)));
            }
        }
        out[from..].iter_mut().zip(&sums).for_each(|(out, &sum)| *out = clip(sum));
    }
}

fn clip(sum: i32) -> u8 {
    (sum >> WEIGHT_BITS).clamp(0, 255) as u8
}

/// A weight as `high · 2¹¹ + low`, if `high` fits; weights of filters always do.
#[cfg(target_arch = "x86_64")]
fn halves(weight: i32) -> Option<(i16, i16)> {
    let low = weight << (32 - LOW_BITS) >> (32 - LOW_BITS);
    Some((i16::try_from(weight.wrapping_sub(low) >> LOW_BITS).ok()?, low as i16))
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{HALF, LOW_BITS, Taps, WEIGHT_BITS, halves, plain_along, plain_down};

    /// Rows along which a loaded weight is used.
    const ROWS: usize = 4;

    /// AVX2, unless plain Rust was asked for.
    pub fn available() -> bool {
        is_x86_feature_detected!("avx2") && crate::Isa::chosen().is_ok_and(|isa| isa.name() != "scalar")
    }

    /// The weights of four pixels: four low halves, then four high ones.
    pub struct Quads {
        quads: Vec<[i16; 8]>,
        /// For each output.
        stride: usize,
    }

    impl Quads {
        pub fn of(taps: &Taps) -> Option<Self> {
            let stride = taps.stride.div_ceil(4);
            let mut quads = vec![[0; 8]; taps.outputs() * stride];
            for ((_, weights), quads) in taps.iter().zip(quads.chunks_mut(stride.max(1))) {
                for (i, &weight) in weights.iter().enumerate() {
                    (quads[i / 4][4 + i % 4], quads[i / 4][i % 4]) = halves(weight)?;
                }
            }
            Some(Self { quads, stride })
        }
    }

    /// The weights of two rows: two low halves, then two high ones.
    pub struct Pairs {
        pairs: Vec<[i16; 4]>,
        /// For each output.
        stride: usize,
    }

    impl Pairs {
        pub fn of(taps: &Taps) -> Option<Self> {
            let stride = taps.stride.div_ceil(2);
            let mut pairs = vec![[0; 4]; taps.outputs() * stride];
            for ((_, weights), pairs) in taps.iter().zip(pairs.chunks_mut(stride.max(1))) {
                for (i, &weight) in weights.iter().enumerate() {
                    (pairs[i / 2][2 + i % 2], pairs[i / 2][i % 2]) = halves(weight)?;
                }
            }
            Some(Self { pairs, stride })
        }
    }

    /// Plain Rust, compiled for AVX2.
    #[target_feature(enable = "avx2")]
    pub fn along_any<const CHANNELS: usize>(input: &[u8], row: usize, taps: &Taps, out: &mut [u8]) {
        plain_along::<CHANNELS>(input, row, taps, out);
    }

    /// # Safety
    /// AVX2; `input` is whole rows of `row` bytes, `out` as many of `3 · outputs`, and `taps` stay within a row.
    #[target_feature(enable = "avx2")]
    pub unsafe fn along_rgb(input: &[u8], row: usize, taps: &Taps, quads: &Quads, out: &mut [u8]) {
        let out_row = taps.outputs() * 3;
        // A load of four pixels reads up to 13 bytes beyond its row: the last rows are read from a longer copy.
        let whole = (input.len() / row).saturating_sub(1) / ROWS * ROWS;
        let (rows, last) = input.split_at(whole * row);
        let (out, out_last) = out.split_at_mut(whole * out_row);
        for (i, out) in out.chunks_exact_mut(ROWS * out_row).enumerate() {
            // SAFETY: at least one more row follows these.
            unsafe { along_rows::<ROWS>(rows.as_ptr().add(i * ROWS * row), row, taps, quads, out) };
        }
        let mut copy = last.to_vec();
        copy.resize(last.len() + 16, 0);
        for (i, out) in out_last.chunks_exact_mut(out_row).enumerate() {
            // SAFETY: 16 bytes follow the last row.
            unsafe { along_rows::<1>(copy.as_ptr().add(i * row), row, taps, quads, out) };
        }
    }

    /// # Safety
    /// AVX2; `input` points to `R` rows of `row` bytes and 13 bytes more, `out` has `R` rows.
    #[target_feature(enable = "avx2")]
    unsafe fn along_rows<const R: usize>(input: *const u8, row: usize, taps: &Taps, quads: &Quads, out: &mut [u8]) {
        // Of four pixels r g b: r r g g b b of the first two, then of the others, each byte widened to 16 bits.
        let spread = _mm256_setr_epi8(
            0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1, 6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1,
        );
        let (first_two, others) = (0x0302_0100, 0x0706_0504);
        let low_of = _mm256_setr_epi32(first_two, first_two, first_two, first_two, others, others, others, others);
        let high_of = _mm256_add_epi8(low_of, _mm256_set1_epi8(8));
        let out_row = taps.outputs() * 3;
        for (x, &(first, count)) in taps.bounds.iter().enumerate() {
            let quads = &quads.quads[x * quads.stride..][..count.div_ceil(4)];
            let (mut low, mut high) = ([_mm256_setzero_si256(); R], [_mm256_setzero_si256(); R]);
            for (i, quad) in quads.iter().enumerate() {
                // SAFETY: a quad is 16 bytes.
                let weights = _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(quad.as_ptr().cast()) });
                let (w_low, w_high) = (_mm256_shuffle_epi8(weights, low_of), _mm256_shuffle_epi8(weights, high_of));
                for r in 0..R {
                    // SAFETY: the first of the four pixels is inside the row, and 13 bytes more may be read.
                    let pixels = unsafe { _mm_loadu_si128(input.add(r * row + 3 * (first + 4 * i)).cast()) };
                    let pixels = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(pixels), spread);
                    low[r] = _mm256_add_epi32(low[r], _mm256_madd_epi16(pixels, w_low));
                    high[r] = _mm256_add_epi32(high[r], _mm256_madd_epi16(pixels, w_high));
                }
            }
            for r in 0..R {
                let sum = _mm256_add_epi32(low[r], _mm256_slli_epi32::<{ LOW_BITS as i32 }>(high[r]));
                let sum = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
                let sum = _mm_srai_epi32::<{ WEIGHT_BITS as i32 }>(_mm_add_epi32(sum, _mm_set1_epi32(HALF)));
                let bytes = _mm_packus_epi16(_mm_packs_epi32(sum, sum), sum);
                out[r * out_row + 3 * x..][..3].copy_from_slice(&_mm_cvtsi128_si32(bytes).to_le_bytes()[..3]);
            }
        }
    }

    /// # Safety
    /// AVX2; `input` is whole rows of `row` bytes, `out` as many as `taps` has outputs, and `taps` stay within the rows.
    #[target_feature(enable = "avx2")]
    pub unsafe fn down(input: &[u8], row: usize, taps: &Taps, pairs: &Pairs, out: &mut [u8]) {
        let wide = row / 32 * 32;
        for (y, (&(first, count), out)) in taps.bounds.iter().zip(out.chunks_exact_mut(row)).enumerate() {
            let pairs = &pairs.pairs[y * pairs.stride..][..count.div_ceil(2)];
            for x in (0..wide).step_by(32) {
                let (mut low, mut high) = ([_mm256_setzero_si256(); 4], [_mm256_setzero_si256(); 4]);
                for (i, pair) in pairs.iter().enumerate() {
                    let at = first + 2 * i;
                    // The second weight of a last odd row is zero: any row will do.
                    let next = if 2 * i + 1 < count { at + 1 } else { at };
                    // SAFETY: both rows are among the input's, and 32 bytes from x on inside them.
                    let (a, b) = unsafe {
                        let load = |y: usize| _mm256_loadu_si256(input.as_ptr().add(y * row + x).cast());
                        (load(at), load(next))
                    };
                    let w_low = _mm256_set1_epi32(i32::from(pair[0] as u16) | i32::from(pair[1]) << 16);
                    let w_high = _mm256_set1_epi32(i32::from(pair[2] as u16) | i32::from(pair[3]) << 16);
                    let zero = _mm256_setzero_si256();
                    let (near, far) = (_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b));
                    let samples = [
                        _mm256_unpacklo_epi8(near, zero),
                        _mm256_unpackhi_epi8(near, zero),
                        _mm256_unpacklo_epi8(far, zero),
                        _mm256_unpackhi_epi8(far, zero),
                    ];
                    for k in 0..4 {
                        low[k] = _mm256_add_epi32(low[k], _mm256_madd_epi16(samples[k], w_low));
                        high[k] = _mm256_add_epi32(high[k], _mm256_madd_epi16(samples[k], w_high));
                    }
                }
                let mut sum = [_mm256_setzero_si256(); 4];
                for k in 0..4 {
                    let whole = _mm256_add_epi32(low[k], _mm256_slli_epi32::<{ LOW_BITS as i32 }>(high[k]));
                    sum[k] = _mm256_srai_epi32::<{ WEIGHT_BITS as i32 }>(_mm256_add_epi32(whole, _mm256_set1_epi32(HALF)));
                }
                // Packing goes half by half as unpacking did, so that the bytes are in order again.
                let bytes = _mm256_packus_epi16(_mm256_packs_epi32(sum[0], sum[1]), _mm256_packs_epi32(sum[2], sum[3]));
                // SAFETY: 32 bytes from x on are inside the row.
                unsafe { _mm256_storeu_si256(out.as_mut_ptr().add(x).cast(), bytes) };
            }
        }
        if wide < row {
            plain_down(input, row, wide, taps, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random, the same each time.
    fn noise(seed: u64) -> impl Iterator<Item = u64> {
        std::iter::successors(Some(seed), |x| Some(x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407))).map(|x| x >> 33)
    }

    /// Outputs over `inputs`, with weights that sum to about one and may be negative.
    fn taps(inputs: usize, outputs: usize, stride: usize) -> Taps {
        let mut noise = noise((inputs * 31 + outputs) as u64);
        let mut bounds = vec![];
        let mut weights = vec![0; outputs * stride];
        for weights in weights.chunks_exact_mut(stride) {
            let count = 1 + noise.next().unwrap() as usize % stride.min(inputs);
            bounds.push((noise.next().unwrap() as usize % (inputs - count + 1), count));
            weights[..count].fill_with(|| (noise.next().unwrap() as i32 % (3 << WEIGHT_BITS)) / count as i32 - (1 << 20) / count as i32);
        }
        Taps::new(bounds, weights, stride)
    }

    #[test]
    fn the_fast_passes_give_the_bytes_of_the_plain_ones() {
        for (width, rows, outputs, stride) in [(1, 1, 1, 1), (5, 3, 7, 5), (40, 9, 11, 13), (33, 17, 32, 4), (101, 64, 5, 71)] {
            let input: Vec<u8> = noise(7).map(|x| x as u8).take(width * rows * 3).collect();
            let (along, down) = (taps(width, outputs, stride), taps(rows, outputs, stride));
            let (mut found, mut wanted) = (vec![0; rows * outputs * 3], vec![0; rows * outputs * 3]);
            weigh_along::<3>(&input, width, &along, &mut found);
            plain_along::<3>(&input, width * 3, &along, &mut wanted);
            assert_eq!(found, wanted, "{width} pixels along");
            let (mut found, mut wanted) = (vec![0; outputs * width * 3], vec![0; outputs * width * 3]);
            weigh_down(&input, width * 3, &down, &mut found);
            plain_down(&input, width * 3, 0, &down, &mut wanted);
            assert_eq!(found, wanted, "{rows} rows down");
        }
    }

    #[test]
    fn sums_are_clipped_and_rounded() {
        let one = 1 << WEIGHT_BITS;
        let taps = Taps::new(vec![(0, 1), (0, 2), (0, 2), (1, 1)], vec![one, 0, one, one, -one, one, one / 2, 0], 2);
        let mut out = [0; 4];
        weigh_along::<1>(&[200, 101], 2, &taps, &mut out);
        assert_eq!(out, [200, 255, 0, 51]);
    }

    #[test]
    #[should_panic(expected = "3 pixels of a row are wanted, it has 2")]
    fn taps_beyond_a_row_are_refused() {
        weigh_along::<3>(&[0; 6], 2, &Taps::new(vec![(1, 2)], vec![0; 2], 2), &mut [0; 3]);
    }
}
