//! The gradients of the reference are the slopes of its own values: finite differences in f64, of every operation and every kind of tower.
#![allow(clippy::unwrap_used, reason = "tests")]
use self::common::Random;
use self::common::cases::{Case, Scale, assert_every_operation, operations, towers};
use super::training::ReferenceTraining;
use crate::TrainingOptions;
use crate::shapes::Items;

#[path = "../../tests/common/mod.rs"]
mod common;

/// A slope over `±STEP` is off by `STEP²` times the third derivative, and by the rounding of f64 divided by `STEP`.
const STEP: f64 = 1e-5;
/// What that comes to, of the greatest gradient of a parameter or of 1; the numbers are of order one, sums of some hundred.
const TOLERANCE: f64 = 1e-7;

fn items(case: &Case) -> Items<'_> {
    Items { ids: &case.ids, pixels: &case.pixels, count: case.count }
}

/// Holds gradients of `sum(output · direction)` to slopes, of at most `most` numbers of each parameter.
fn check(random: &mut Random, case: &Case, most: usize) {
    let graph = &case.graph;
    let options = TrainingOptions::all(graph);
    let weights = random.weights(graph);
    let params: Vec<Vec<f64>> = weights.tensors().iter().map(|t| t.to_f32().unwrap().iter().map(|&x| x.into()).collect()).collect();
    let seeds: Vec<u64> = (0..case.count).map(|_| random.next()).collect();
    let mut training = ReferenceTraining::new(graph, params.clone(), &options).unwrap();

    let out = training.output_in_f64(items(case), &seeds);
    let direction: Vec<f64> = (0..out.len()).map(|_| random.normal(1.0).into()).collect();
    let gradients = training.gradients_in_f64(items(case), &seeds, direction.clone());
    let loss = |training: &ReferenceTraining| -> f64 {
        training.output_in_f64(items(case), &seeds).iter().zip(&direction).map(|(x, d)| x * d).sum()
    };
    for (i, (spec, gradient)) in graph.params().iter().zip(&gradients).enumerate() {
        if !spec.trained {
            assert!(gradient.is_empty(), "{}: `{}` is a statistic", case.what, spec.name);
            continue;
        }
        let scale = gradient.iter().fold(1.0f64, |most, g| most.max(g.abs()));
        let places: Vec<usize> = match gradient.len() {
            n if n <= most => (0..n).collect(),
            n => (0..most).map(|_| random.size(0, n - 1)).collect(),
        };
        for at in places {
            let mut at_step = |step: f64| {
                training.set_param_in_f64(i, at, params[i][at] + step);
                loss(&training)
            };
            let slope = (at_step(STEP) - at_step(-STEP)) / (2.0 * STEP);
            at_step(0.0);
            let error = (slope - gradient[at]).abs() / scale;
            assert!(error <= TOLERANCE, "{}: `{}`[{at}] has gradient {}, slope {slope}:\n{graph}", case.what, spec.name, gradient[at]);
        }
    }
}

#[test]
fn every_operation_has_the_gradient_that_its_values_have() {
    let cases = operations(Scale::Small);
    assert_every_operation(&cases);
    for (seed, case) in (0..).zip(&cases) {
        check(&mut Random(seed), case, 200);
    }
}

#[test]
fn every_kind_of_tower_has_the_gradient_that_its_embeddings_have() {
    for (seed, case) in (0..).zip(towers(Scale::Small)) {
        check(&mut Random(seed), &case, 12);
    }
}
