use super::*;
use crate::packed::to_bf16;
use crate::{AlignedBytes, Isa, Layout, Values, pack};

fn numbers(n: usize, seed: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
}

fn packed(isa: Isa, precision: Precision, out: usize, inner: usize, weight: &[f32]) -> (Layout, AlignedBytes) {
    let layout = Layout::new(isa, precision, out, inner);
    let mut bytes = AlignedBytes::new(layout.bytes());
    pack(&Cores::new(1, isa).unwrap(), layout, Values::F32(weight), &mut bytes);
    (layout, bytes)
}

const SHAPES: [(usize, usize, &[usize]); 8] = [
    (1, 1, &[1]),
    (2, 7, &[3]),
    (3, 8, &[4, 5]),
    (7, 33, &[17, 1, 6]),
    (50, 100, &[300]),
    (13, 2100, &[9]),
    (101, 257, &[33, 16]),
    (29, 513, &[48]),
];

/// The nearest number that bf16 has.
pub(super) fn rounded(x: f32) -> f32 {
    f32::from_bits(u32::from(to_bf16(x)) << 16)
}

/// Whether products of bf16 round x too.
pub(super) fn rounds_inputs(isa: Isa) -> bool {
    struct Rounds;
    impl Kernel for Rounds {
        type Output = bool;

        #[inline(always)]
        unsafe fn run<S: Simd>(self) -> bool {
            S::Dots::exist()
        }
    }
    isa.run(Rounds)
}

/// Rows as the integers of int8 say them.
fn quantised(x: &[f32]) -> Vec<f32> {
    let (low, high) = x.iter().fold((0f32, 0f32), |(low, high), &x| (low.min(x), high.max(x)));
    let (scale, inverse) = ((high - low) / 255.0, 255.0 / (high - low));
    x.iter().map(|x| (x * inverse).round() * scale).collect()
}

#[test]
fn products_of_every_shape_and_precision_equal_the_plain_sum() {
    for isa in Isa::available() {
        for precision in Precision::ALL {
            for (rows, inner, outs) in SHAPES {
                let x = numbers(rows * inner, 1);
                let weights: Vec<_> = outs.iter().map(|&o| (numbers(o * inner, o), numbers(o, o + 1))).collect();
                let all: Vec<_> = outs.iter().zip(&weights).map(|(&o, (w, _))| packed(isa, precision, o, inner, w)).collect();
                let parts: Vec<_> =
                    all.iter().zip(&weights).map(|((l, bytes), (_, b))| Part { weight: Packed::new(*l, bytes), bias: Some(b) }).collect();
                let width: usize = outs.iter().sum();
                let residual = numbers(rows * width, 5);
                let epilogue =
                    Epilogue { act: Some(Activation::Relu), residual: Some(&residual), last: Some(Activation::Relu), add: false };
                for threads in [1, 2] {
                    let mut out = vec![f32::NAN; rows * width];
                    product(&Cores::new(threads, isa).unwrap(), &x, inner, &parts, epilogue, &mut out);
                    for (m, x) in x.chunks(inner).enumerate() {
                        let x: &Vec<f32> = &match precision {
                            Precision::Bf16 if rounds_inputs(isa) => x.iter().map(|&x| rounded(x)).collect(),
                            Precision::Bf16 | Precision::F32 => x.to_vec(),
                            Precision::Int8 => quantised(x),
                        };
                        let sums = weights.iter().flat_map(|(w, b)| {
                            let weight = |w: f32| f64::from(if precision == Precision::Bf16 { rounded(w) } else { w });
                            let dot = |w: &[f32]| -> f64 { x.iter().zip(w).map(|(&x, &w)| f64::from(x) * weight(w)).sum() };
                            w.chunks(inner).zip(b).map(move |(w, &b)| dot(w) + f64::from(b)).collect::<Vec<_>>()
                        });
                        let tolerance = if precision == Precision::Int8 { 2e-2 } else { 1e-5 } * (inner as f64).sqrt();
                        for (n, sum) in sums.enumerate() {
                            let wanted = (sum.max(0.0) + f64::from(residual[m * width + n])).max(0.0);
                            let found = f64::from(out[m * width + n]);
                            assert!((found - wanted).abs() < tolerance, "{isa:?} {precision} {rows} x {inner}: {found} for {wanted}");
                        }
                    }
                }
            }
        }
    }
}

/// Numbers that bf16 has, and sums that f32 has: in whatever order, and rounded wherever, they are what they are.
#[test]
fn products_of_small_integers_are_exact_in_f32_and_bf16() {
    let integers = |n: usize, seed: usize| -> Vec<f32> { (0..n).map(|i| ((i * 7919 + seed) % 513) as f32 - 256.0).collect() };
    for isa in Isa::available() {
        for precision in [Precision::F32, Precision::Bf16] {
            for (rows, inner, out) in [(1, 1, 1), (3, 2, 2), (5, 7, 33), (14, 95, 32), (31, 97, 65), (2, 255, 40)] {
                let (x, w) = (integers(rows * inner, 1), integers(out * inner, 2));
                let (layout, bytes) = packed(isa, precision, out, inner, &w);
                let parts = [Part { weight: Packed::new(layout, &bytes), bias: None }];
                let mut found = vec![f32::NAN; rows * out];
                product(&Cores::new(1, isa).unwrap(), &x, inner, &parts, Epilogue::default(), &mut found);
                let dot = |(x, w): (&[f32], &[f32])| x.iter().zip(w).map(|(x, w)| x * w).sum::<f32>();
                let wanted: Vec<f32> = x.chunks(inner).flat_map(|x| w.chunks(inner).map(move |w| dot((x, w)))).collect();
                assert_eq!(found, wanted, "{isa:?} {precision} {rows} x {inner} x {out}");
            }
        }
    }
}

#[test]
fn a_row_does_not_depend_on_the_rows_beside_it_nor_on_threads() {
    for isa in Isa::available() {
        for precision in Precision::ALL {
            let (inner, out) = (611, 37);
            let x = numbers(220 * inner, 1);
            let (layout, bytes) = packed(isa, precision, out, inner, &numbers(out * inner, 2));
            let run = |threads, rows: std::ops::Range<usize>| {
                let mut y = vec![0.0; rows.len() * out];
                let x = &x[rows.start * inner..rows.end * inner];
                let parts = [Part { weight: Packed::new(layout, &bytes), bias: None }];
                product(&Cores::new(threads, isa).unwrap(), x, inner, &parts, Epilogue::default(), &mut y);
                y
            };
            let all = run(1, 0..220);
            for (threads, rows) in [(1, 0..1), (2, 0..220), (3, 5..12), (1, 98..100), (2, 50..51), (4, 20..170), (1, 3..100)] {
                assert_eq!(run(threads, rows.clone()), all[rows.start * out..rows.end * out], "{isa:?} {precision} {threads} {rows:?}");
            }
        }
    }
}

/// Lengths whose product is the result's only where overflow goes unseen, as it does in other programs' release builds.
#[test]
#[should_panic(expected = "16777216 rows of 1099511627776")]
fn a_result_too_long_to_count_is_refused() {
    let isa = Isa::best();
    let layout = Layout::new(isa, Precision::Int8, 1 << 24, 1);
    let bytes = AlignedBytes::new(layout.bytes());
    let parts = vec![Part { weight: Packed::new(layout, &bytes), bias: None }; 1 << 16];
    product(&Cores::new(1, isa).unwrap(), &vec![0.0; 1 << 24], 1, &parts, Epilogue::default(), &mut []);
}
