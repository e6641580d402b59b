//! Every loss against PyTorch's value and gradients (`tests/golden/make_losses.py`) and against finite differences.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use hua_kernels::{Cores, Isa};
use hua_train::loss::{
    Contrast, Contrasted, Duplicates, Groups, Projection, SIGMOID_BIAS, SIGMOID_LOGIT_SCALE, Units, cosine, info_nce, mse, sigmoid,
};
use serde::Deserialize;

/// How far a value or a gradient in f32 may be from PyTorch's in f64, as a share of the greatest of its kind.
const TOLERANCE: f64 = 1e-5;

#[derive(Deserialize)]
struct Golden {
    width: usize,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    loss: f64,
    a: Vec<f32>,
    b: Vec<f32>,
    d_a: Vec<f64>,
    d_b: Option<Vec<f64>>,
    logit_scale: Option<[f32; 1]>,
    d_logit_scale: Option<[f64; 1]>,
    logit_bias: Option<[f32; 1]>,
    d_logit_bias: Option<[f64; 1]>,
    #[serde(default)]
    smoothing: f32,
    groups: Option<Vec<u32>>,
    others: Option<Vec<u32>>,
    #[serde(default)]
    duplicates: Duplicates,
}

fn cores(threads: usize) -> Cores {
    Cores::new(threads, Isa::best()).unwrap()
}

fn close(found: &[f32], wanted: &[f64], what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    let most = wanted.iter().fold(1e-3f64, |most, x| most.max(x.abs()));
    for (i, (&x, &y)) in found.iter().zip(wanted).enumerate() {
        assert!((f64::from(x) - y).abs() <= TOLERANCE * most, "{what}[{i}]: {x} for {y}");
    }
}

/// The loss of raw embeddings, with gradients to them.
fn raw(of: impl Fn(&[f32], &[f32]) -> Contrasted, a: &[f32], b: &[f32], width: usize) -> Contrasted {
    let (a, b) = (Units::of(a, width), Units::of(b, width));
    let found = of(a.rows(), b.rows());
    Contrasted { d_a: a.backward(&found.d_a), d_b: b.backward(&found.d_b), ..found }
}

#[test]
fn losses_and_gradients_are_those_of_pytorch() {
    let golden: Golden = serde_json::from_str(include_str!("../../../tests/golden/losses/losses.json")).unwrap();
    let width = golden.width;
    for (i, case) in golden.cases.iter().enumerate() {
        let what = format!("{} {i}", case.name);
        let groups = match (&case.groups, &case.others) {
            (Some(groups), Some(others)) => Groups::new(groups, others),
            _ => Groups::pairs(case.a.len() / width),
        };
        let found = match case.name.as_str() {
            "clip" | "grouped" => {
                let contrast =
                    Contrast { logit_scale: case.logit_scale.unwrap()[0], duplicates: case.duplicates, smoothing: case.smoothing };
                raw(|a, b| info_nce(&cores(1), a, b, width, &groups, contrast), &case.a, &case.b, width)
            }
            "siglip" => {
                let numbers = (case.logit_scale.unwrap()[0], case.logit_bias.unwrap()[0]);
                raw(|a, b| sigmoid(&cores(1), (a, b), width, &groups, case.duplicates, numbers), &case.a, &case.b, width)
            }
            "mse" | "cosine" => {
                let found = if case.name == "mse" { mse(&case.a, &case.b) } else { cosine(&case.a, &case.b, width) };
                Contrasted { loss: found.loss, d_a: found.d_student, ..Contrasted::default() }
            }
            other => panic!("a loss `{other}`"),
        };
        close(&[found.loss], &[case.loss], &what);
        close(&found.d_a, &case.d_a, &format!("{what} d_a"));
        if let Some(d_b) = &case.d_b {
            close(&found.d_b, d_b, &format!("{what} d_b"));
        }
        if let Some(d) = case.d_logit_scale {
            close(&[found.d_logit_scale], &d, &format!("{what} d_logit_scale"));
        }
        if let Some(d) = case.d_logit_bias {
            close(&[found.d_logit_bias], &d, &format!("{what} d_logit_bias"));
        }
    }
}

/// Numbers between -1 and 1 that look like chance.
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| (((i + 1) * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
}

/// Holds the gradient of each number of `x` to the difference of `loss` a step up and a step down.
fn differences(x: &[f32], d: &[f32], what: &str, loss: impl Fn(&[f32]) -> f32) {
    let step = 1e-2;
    let most = d.iter().fold(1e-2f32, |most, d| most.max(d.abs()));
    for i in 0..x.len() {
        let at = |by: f32| {
            let mut x = x.to_vec();
            x[i] += by;
            f64::from(loss(&x))
        };
        // Four points: the error is of the fourth power of the step.
        let found = (8.0 * (at(step) - at(-step)) - (at(2.0 * step) - at(-2.0 * step))) / (12.0 * f64::from(step));
        assert!((found - f64::from(d[i])).abs() < 2e-3 * f64::from(most), "{what} {i}: {} for {found}", d[i]);
    }
}

#[test]
fn every_gradient_is_the_difference_quotient_of_its_loss() {
    let (width, cores) = (4, cores(1));
    let (a, b) = (numbers(6 * width, 1), numbers(5 * width, 2));
    let groups = Groups::new(&[1, 2, 1, 3, 8, 2], &[2, 1, 1, 3, 9]);
    type Loss<'a> = Box<dyn Fn(&[f32], &[f32], f32, f32) -> Contrasted + 'a>;
    for duplicates in [Duplicates::Ignored, Duplicates::Positive] {
        let contrast = |logit_scale, smoothing| Contrast { logit_scale, duplicates, smoothing };
        let losses: [(&str, Loss<'_>, f32); 3] = [
            ("info_nce", Box::new(|a, b, s, _| info_nce(&cores, a, b, width, &groups, contrast(s, 0.0))), 1.2),
            ("smoothed", Box::new(|a, b, s, _| info_nce(&cores, a, b, width, &groups, contrast(s, 0.1))), 1.2),
            ("sigmoid", Box::new(|a, b, s, bias| sigmoid(&cores, (a, b), width, &groups, duplicates, (s, bias))), SIGMOID_LOGIT_SCALE),
        ];
        for (name, loss, scale) in &losses {
            let bias = SIGMOID_BIAS / 4.0;
            let of = |a: &[f32], b: &[f32], scale, bias| raw(|a, b| loss(a, b, scale, bias), a, b, width);
            let found = of(&a, &b, *scale, bias);
            differences(&a, &found.d_a, name, |a| of(a, &b, *scale, bias).loss);
            differences(&b, &found.d_b, name, |b| of(&a, b, *scale, bias).loss);
            differences(&[*scale], &[found.d_logit_scale], name, |s| of(&a, &b, s[0], bias).loss);
            differences(&[bias], &[found.d_logit_bias], name, |x| of(&a, &b, *scale, x[0]).loss);
        }
    }
    let (student, teacher) = (numbers(20, 3), numbers(20, 4));
    differences(&student, &mse(&student, &teacher).d_student, "mse", |x| mse(x, &teacher).loss);
    differences(&student, &cosine(&student, &teacher, 4).d_student, "cosine", |x| cosine(x, &teacher, 4).loss);

    // A projection under a cosine: to the vectors and to the matrix.
    let (x, weight, wanted) = (numbers(5 * 3, 5), numbers(4 * 3, 6), numbers(5 * 4, 7));
    let of = |x: &[f32], weight: &[f32]| cosine(&Projection { weight, inner: 3 }.forward(&cores, x), &wanted, 4);
    let (d_x, d_weight) = Projection { weight: &weight, inner: 3 }.backward(&cores, &x, &of(&x, &weight).d_student);
    differences(&x, &d_x, "projected", |x| of(x, &weight).loss);
    differences(&weight, &d_weight, "projection", |weight| of(&x, weight).loss);
}

#[test]
fn a_loss_is_the_same_bits_for_any_number_of_threads() {
    let width = 24;
    let (a, b) = (Units::of(&numbers(300 * width, 1), width), Units::of(&numbers(280 * width, 2), width));
    let groups = Groups::new(&(0..300).map(|i| i % 200).collect::<Vec<_>>(), &(0..280).map(|i| i % 210).collect::<Vec<_>>());
    let contrast = Contrast { logit_scale: 3.0, duplicates: Duplicates::Positive, smoothing: 0.05 };
    let [one, three] = [1, 3].map(|threads| {
        let cores = cores(threads);
        let sigmoid = sigmoid(&cores, (a.rows(), b.rows()), width, &groups, Duplicates::Ignored, (2.0, -8.0));
        (info_nce(&cores, a.rows(), b.rows(), width, &groups, contrast), sigmoid)
    });
    assert_eq!(one, three);
}

#[test]
fn captions_of_one_picture_are_never_pushed_apart() {
    let (width, cores) = (3, cores(1));
    let texts = Units::of(&[1.0, 0.1, 0.0, 1.0, 0.0, 0.1, 0.0, 1.0, 0.0], width);
    let pictures = Units::of(&[1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.1], width);
    let groups = Groups::new(&[5, 5, 6], &[5, 5, 6]);
    let of = |duplicates| info_nce(&cores, texts.rows(), pictures.rows(), width, &groups, Contrast { duplicates, ..Contrast::new(2.0) });
    let strangers = info_nce(&cores, texts.rows(), pictures.rows(), width, &Groups::pairs(3), Contrast::new(2.0));
    assert!(of(Duplicates::Ignored).loss < strangers.loss, "what is left out costs nothing");
    // Uniform targets reach their entropy and not less; the rest is what strangers cost.
    let entropy = 2.0 / 3.0 * 2f32.ln();
    assert!((of(Duplicates::Positive).loss - entropy - of(Duplicates::Ignored).loss).abs() < 0.2);
}

#[test]
fn nothing_in_common_costs_nothing_and_zeros_have_no_gradient() {
    let (width, cores) = (2, cores(1));
    let rows = [1.0, 0.0, 0.0, 1.0];
    let found = info_nce(&cores, &rows, &rows, width, &Groups::new(&[1, 2], &[3, 4]), Contrast::new(1.0));
    assert_eq!((found.loss, found.d_logit_scale), (0.0, 0.0));
    assert!(found.d_a.iter().chain(&found.d_b).all(|&d| d == 0.0));
    let zeros = raw(|a, b| info_nce(&cores, a, b, width, &Groups::pairs(2), Contrast::new(1.0)), &[0.0; 4], &rows, width);
    assert!(zeros.loss.is_finite() && zeros.d_a.iter().all(|&d| d == 0.0));
}

#[test]
fn a_number_that_is_none_shows_in_the_loss() {
    let (width, cores) = (2, cores(1));
    let (bad, good) = ([f32::NAN, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0]);
    let groups = Groups::pairs(2);
    assert!(info_nce(&cores, &bad, &good, width, &groups, Contrast::new(1.0)).loss.is_nan());
    assert!(info_nce(&cores, &good, &bad, width, &groups, Contrast::new(1.0)).loss.is_nan());
    assert!(sigmoid(&cores, (&bad, &good), width, &groups, Duplicates::Positive, (1.0, 0.0)).loss.is_nan());
    assert!(mse(&bad, &good).loss.is_nan() && cosine(&bad, &good, width).loss.is_nan());
}
