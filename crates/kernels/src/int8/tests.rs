use super::*;
use crate::{AlignedBytes, Cores, Epilogue, Isa, Layout, Packed, Part, Precision, Values, pack, product};

/// Numbers between -1 and 1, and functions of them.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
    fn uniform(&mut self) -> f32 {
        self.next() as f32 / (1u64 << 30) as f32 - 1.0
    }
    /// Near enough to a normal distribution.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.uniform()).sum::<f32>() / 2.0
    }
    fn normals(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.normal()).collect()
    }
    /// Rows that are as unlike as rows may be.
    fn rows(&mut self, len: usize) -> Vec<Vec<f32>> {
        let at = self.next() as usize % len;
        let mut outlier = self.normals(len);
        outlier[at] = 1e6;
        let mut lonely = vec![0.0; len];
        lonely[at] = -3.0;
        vec![
            self.normals(len),
            self.normals(len).iter().map(|x| x.powi(9)).collect(),
            (0..len).map(|_| self.uniform()).collect(),
            (0..len).map(|_| self.uniform().signum()).collect(),
            (0..len).map(|i| [1.0, -1.0][i / 2 % 2]).collect(),
            (0..len).map(|i| if i % 8 < 2 || (4..6).contains(&(i % 8)) { 0.7 } else { -0.9 }).collect(),
            vec![0.0; len],
            vec![-0.0; len],
            vec![0.1; len],
            vec![-7.0; len],
            outlier,
            lonely,
            (0..len).map(|_| self.uniform() * 1e-40).collect(),
            vec![f32::from_bits(1); len],
            (0..len).map(|_| self.uniform() * 2e-36).collect(),
            (0..len).map(|_| self.uniform() * f32::MAX).collect(),
            (0..len).map(|i| [f32::MAX, f32::MIN][i % 2]).collect(),
            vec![f32::MAX; len],
            vec![f32::MIN; len],
        ]
    }
}

fn lengths() -> impl Iterator<Item = usize> {
    (1..41).chain([64, 100, 129, 768, 3001])
}

/// What tiles rely on (`dots.rs`).
fn keeps_the_bound(bytes: &[i8]) -> bool {
    bytes.chunks(8).all(|group| {
        [[0, 1, 4, 5], [2, 3, 6, 7]].into_iter().all(|half| {
            let weights = half.map(|at| i32::from(group.get(at).copied().unwrap_or(0)));
            let (plus, minus) = (weights.iter().filter(|w| **w > 0).sum::<i32>(), weights.iter().filter(|w| **w < 0).sum::<i32>());
            plus <= 128 && minus >= -128 && weights.iter().all(|w| w.abs() <= 127)
        })
    })
}

#[test]
fn channels_keep_the_bound_and_waste_nothing_whatever_the_weights() {
    let mut random = Random(1);
    for len in lengths() {
        for row in random.rows(len) {
            let mut bytes = vec![99; len];
            let scale = quantise_channel(Isa::best(), &row, &mut bytes);
            assert!(scale.is_normal() && keeps_the_bound(&bytes), "{len} {row:?} {bytes:?}");
            for (&x, &byte) in row.iter().zip(&bytes) {
                let error = (f64::from(x) - f64::from(scale) * f64::from(byte)).abs();
                assert!(error <= f64::from(scale) * 0.50002, "{len}: {byte} · {scale} for {x}");
            }
            // A scale a fiftieth less would break the bound, or is the least that there is.
            let mut tighter = vec![0; len];
            let less = scale * 0.98;
            tighter.iter_mut().zip(&row).for_each(|(to, x)| *to = (x / less).round().clamp(-128.0, 127.0) as i8);
            let most = row.iter().fold(0f32, |most, x| most.max(x.abs())) / less;
            assert!(!keeps_the_bound(&tighter) || most > 127.0 || scale == f32::MIN_POSITIVE, "{len} {row:?} {scale}");
            for isa in Isa::available() {
                let mut same = vec![99; len];
                assert_eq!(quantise_channel(isa, &row, &mut same), scale);
                assert_eq!(same, bytes, "{isa:?}");
            }
        }
    }
}

/// The bytes of a row by its definition, in any order.
fn plain_row(row: &[f32]) -> (f32, i32, Vec<u8>) {
    let (low, high) = row.iter().fold((0f32, 0f32), |(low, high), &x| (low.min(x), high.max(x)));
    let scale = (high / 255.0 - low / 255.0).max(f32::MIN_POSITIVE);
    let of = |x: f32| (x * (1.0 / scale)).round_ties_even() as i32;
    (scale, of(-low), row.iter().map(|&x| (of(x) + of(-low)).clamp(0, 255) as u8).collect())
}

#[test]
fn rows_are_the_same_bytes_on_every_instruction_set_and_near_their_numbers() {
    struct Row<'a>(&'a [f32], &'a mut [u8]);
    impl Kernel for Row<'_> {
        type Output = (f32, i32);

        #[inline(always)]
        unsafe fn run<S: Simd>(self) -> (f32, i32) {
            inputs::quantise(self.0, self.1)
        }
    }
    let mut random = Random(2);
    for len in lengths() {
        for row in random.rows(len) {
            let (scale, zero, bytes) = plain_row(&row);
            for isa in Isa::available() {
                let mut found = vec![9; len];
                assert_eq!(isa.run(Row(&row, &mut found)), (scale, zero), "{isa:?} {row:?}");
                assert_eq!(found, bytes, "{isa:?} {row:?}");
            }
            for (&x, &byte) in row.iter().zip(&bytes) {
                let error = (f64::from(x) - f64::from(scale) * f64::from(i32::from(byte) - zero)).abs();
                // Both ends may be rounded away from the middle, and then the greatest number misses a step by half of one.
                assert!(error <= f64::from(scale) * 1.00005, "{len}: {byte} - {zero} by {scale} for {x}");
                assert!(x != 0.0 || error == 0.0);
            }
        }
    }
}

/// A product of packed weights, and what its definition says of the bytes: of integers, whatever computes it.
#[test]
fn products_are_their_definition_to_the_bit_on_every_instruction_set() {
    let mut random = Random(3);
    for (rows, inner, out) in [(1, 1, 1), (3, 5, 7), (4, 8, 16), (13, 40, 33), (29, 300, 65), (100, 63, 17), (2, 3072, 20)] {
        let (mut x, mut weight): (Vec<f32>, Vec<f32>) = (vec![], vec![]);
        while x.len() < rows * inner {
            // But for those whose products are beyond all numbers.
            x.extend(random.rows(inner).iter().take(15).flatten());
        }
        while weight.len() < out * inner {
            weight.extend(random.rows(inner).iter().take(15).flatten());
        }
        x.truncate(rows * inner);
        weight.truncate(out * inner);
        let bias = random.normals(out);
        let mut wanted = vec![];
        let channels: Vec<_> = weight
            .chunks(inner)
            .map(|row| {
                let mut bytes = vec![0; inner];
                (quantise_channel(Isa::best(), row, &mut bytes), bytes)
            })
            .collect();
        for row in x.chunks(inner) {
            let (scale, zero, bytes) = plain_row(row);
            for ((of_channel, weights), bias) in channels.iter().zip(&bias) {
                let sum: i32 = bytes.iter().zip(weights).map(|(&x, &w)| (i32::from(x) - zero) * i32::from(w)).sum();
                wanted.push(sum as f32 * (scale * of_channel) + bias);
            }
        }
        for isa in Isa::available() {
            let cores = Cores::new(2, isa).unwrap();
            let layout = Layout::new(isa, Precision::Int8, out, inner);
            let mut bytes = AlignedBytes::new(layout.bytes());
            pack(&cores, layout, Values::F32(&weight), &mut bytes);
            let mut y = vec![0.0; rows * out];
            let parts = [Part { weight: Packed::new(layout, &bytes), bias: Some(&bias) }];
            product(&cores, &x, inner, &parts, Epilogue::default(), &mut y);
            assert_eq!(y, wanted, "{isa:?} {rows} x {inner} x {out}");
        }
    }
}

#[test]
fn products_are_as_near_the_exact_ones_as_their_scales_promise() {
    let (rows, inner, out) = (7, 500, 19);
    let mut random = Random(4);
    let (x, weight) = (random.normals(rows * inner), random.normals(out * inner));
    let cores = Cores::new(1, Isa::best()).unwrap();
    let layout = Layout::new(Isa::best(), Precision::Int8, out, inner);
    let mut bytes = AlignedBytes::new(layout.bytes());
    pack(&cores, layout, Values::F32(&weight), &mut bytes);
    let mut y = vec![0.0; rows * out];
    product(&cores, &x, inner, &[Part { weight: Packed::new(layout, &bytes), bias: None }], Epilogue::default(), &mut y);
    let (mut errors, mut squares) = (0.0, 0.0);
    for (m, x) in x.chunks(inner).enumerate() {
        let of_row = f64::from(plain_row(x).0);
        for (n, w) in weight.chunks(inner).enumerate() {
            let of_channel = f64::from(quantise_channel(Isa::best(), w, &mut vec![0; inner]));
            let exact: f64 = x.iter().zip(w).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
            let size = |numbers: &[f32]| numbers.iter().map(|x| f64::from(x.abs())).sum::<f64>();
            // Half a step of each weight, a step of each input.
            let bound = size(x) * of_channel / 2.0 + (size(w) + inner as f64 * of_channel / 2.0) * of_row;
            let error = (f64::from(y[m * out + n]) - exact).abs();
            assert!(error <= bound, "{m} {n}: {error} of {bound}");
            errors += error * error;
            squares += exact * exact;
        }
    }
    // Errors are not all of one sign.
    assert!((errors / squares).sqrt() < 0.02, "{}", (errors / squares).sqrt());
}

#[test]
fn what_is_no_number_makes_its_row_and_its_channel_none_and_no_others() {
    for isa in Isa::available() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for inner in [1, 8, 77] {
                let (rows, out) = (5, 18);
                let mut random = Random(5);
                let (mut x, mut weight) = (random.normals(rows * inner), random.normals(out * inner));
                x[2 * inner + inner / 2] = bad;
                weight[17 * inner + inner - 1] = bad;
                let cores = Cores::new(1, isa).unwrap();
                let layout = Layout::new(isa, Precision::Int8, out, inner);
                let mut bytes = AlignedBytes::new(layout.bytes());
                pack(&cores, layout, Values::F32(&weight), &mut bytes);
                let mut y = vec![0.0; rows * out];
                product(&cores, &x, inner, &[Part { weight: Packed::new(layout, &bytes), bias: None }], Epilogue::default(), &mut y);
                for (i, y) in y.iter().enumerate() {
                    assert_eq!(y.is_nan(), i / out == 2 || i % out == 17, "{isa:?} {bad} {i}: {y}");
                }
            }
        }
    }
}

/// 255 times the weights of a channel is never too much for a sum, however long the channel.
#[test]
fn a_channel_longer_than_any_keeps_its_sums_within_32_bits() {
    let len = 3 * MOST_INNER + 5;
    let row: Vec<f32> = (0..len).map(|i| [1.0, 1.0, -1.0, -1.0][i % 4]).collect();
    let mut bytes = vec![0; len];
    let scale = quantise_channel(Isa::best(), &row, &mut bytes);
    let size: i64 = bytes.iter().map(|&w| 255 * i64::from(w).abs()).sum();
    assert!(size <= i64::from(i32::MAX) && size > i64::from(i32::MAX) / 2, "{size}");
    assert!((f64::from(scale) * f64::from(bytes[0]) - 1.0).abs() < 0.1);
}
