//! What the fast executor promises of training beyond right gradients: the same bits for any number of threads, with memory from the step before,
//! and with blocks that run again; and that frozen parameters change nothing for the others.
#![allow(clippy::unwrap_used, reason = "tests")]
mod common;

use common::cases::{Case, Scale, operations, towers};
use common::{Random, cpu};
use hua_exec::{Cpu, Isa, Precision, Reference, Trainable, Training, TrainingOptions};

/// Random parameters, in graph order.
fn params(case: &Case) -> Vec<Vec<f32>> {
    let mut random = Random(11);
    let weights = random.weights(&case.graph);
    weights.tensors().iter().map(|tensor| tensor.to_f32().unwrap().into_owned()).collect()
}

fn slices(params: &[Vec<f32>]) -> Vec<&[f32]> {
    params.iter().map(Vec::as_slice).collect()
}

/// The output and all gradients of a step.
fn step(training: &mut dyn Training, case: &Case, options: &TrainingOptions) -> (Vec<f32>, Vec<Vec<f32>>) {
    let seeds: Vec<u64> = (0..case.count as u64).map(|i| 1000 + 7 * i).collect();
    let (rows, tape) = training.forward(&case.batch(), &seeds).unwrap();
    assert_eq!(training.forward_only(&case.batch(), &seeds).unwrap(), rows, "{}", case.what);
    let d = Random(5).normals(rows.data.len(), 1.0);
    let mut grads = options.gradients(&case.graph);
    training.backward(tape, &d, &mut grads).unwrap();
    (rows.data, grads)
}

fn all() -> impl Iterator<Item = Case> {
    operations(Scale::Usual).into_iter().chain(towers(Scale::Usual))
}

#[test]
fn gradients_are_those_of_the_reference() {
    for isa in Isa::available() {
        for case in all() {
            let (options, params) = (TrainingOptions::all(&case.graph), params(&case));
            let mut fast = Cpu { isa: Some(isa), ..cpu(2) }.load_training(&case.graph, &slices(&params), &options).unwrap();
            let mut reference = Reference.load_training(&case.graph, &slices(&params), &options).unwrap();
            let (found, found_grads) = step(fast.as_mut(), &case, &options);
            let (wanted, wanted_grads) = step(reference.as_mut(), &case, &options);
            near(&found, &wanted, 1e-5, &format!("{isa:?} {}", case.what));
            near(&fast.run(&case.batch()).unwrap().data, &reference.run(&case.batch()).unwrap().data, 1e-5, case.what);
            for ((found, wanted), spec) in found_grads.iter().zip(&wanted_grads).zip(case.graph.params()) {
                near(found, wanted, 2e-5, &format!("{isa:?} {}: `{}`", case.what, spec.name));
            }
        }
    }
}

/// Differences in shares of the greatest number, or of 1.
fn near(found: &[f32], wanted: &[f32], most: f32, what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    let scale = wanted.iter().fold(1f32, |most, x| most.max(x.abs()));
    let worst = found.iter().zip(wanted).map(|(a, b)| (a - b).abs() / scale).fold(0.0, f32::max);
    assert!(worst <= most, "{what}: {worst:e}");
    assert!(found.iter().all(|x| x.is_finite()), "{what}");
}

#[test]
fn threads_steps_before_and_blocks_that_run_again_change_no_bit() {
    for case in all() {
        let (options, params) = (TrainingOptions::all(&case.graph), params(&case));
        let load = |threads, recompute| {
            let options = TrainingOptions { recompute, ..options.clone() };
            cpu(threads).load_training(&case.graph, &slices(&params), &options).unwrap()
        };
        let first = step(load(1, false).as_mut(), &case, &options);
        for (threads, recompute) in [(2, false), (3, true), (1, true)] {
            let mut training = load(threads, recompute);
            for turn in 0..2 {
                assert!(step(training.as_mut(), &case, &options) == first, "{} {threads} {recompute} {turn}", case.what);
            }
            training.set_params(&slices(&params));
            assert!(step(training.as_mut(), &case, &options) == first, "{} {threads} {recompute} set", case.what);
        }
    }
}

#[test]
fn what_is_frozen_changes_no_bit_of_the_others() {
    for case in towers(Scale::Usual) {
        let (options, params) = (TrainingOptions::all(&case.graph), params(&case));
        let of = |trained: Vec<bool>, recompute| {
            let options = TrainingOptions { trained, recompute, ..options.clone() };
            let mut training = cpu(2).load_training(&case.graph, &slices(&params), &options).unwrap();
            step(training.as_mut(), &case, &options)
        };
        let (output, grads) = of(options.trained.clone(), false);
        let mut random = Random(3);
        for turn in 0..12 {
            let n = options.trained.len();
            // One alone, the last ones, or some.
            let (one, from) = (random.size(0, n - 1), random.size(0, n));
            let wanted: Vec<bool> = (0..n).map(|i| options.trained[i] && [i == one, i >= from, random.size(0, 1) == 1][turn % 3]).collect();
            let (same, some) = of(wanted.clone(), turn % 2 == 1);
            assert_eq!(same, output, "{}", case.what);
            for (i, (some, all)) in some.iter().zip(&grads).enumerate() {
                let wanted = if wanted[i] { &all[..] } else { &[] };
                assert!(some == wanted, "{}: `{}` of {turn}", case.what, case.graph.params()[i].name);
            }
        }
    }
}

#[test]
fn int8_is_no_precision_to_train_in() {
    let case = towers(Scale::Small).remove(0);
    let (options, params) = (TrainingOptions::all(&case.graph), params(&case));
    let refused = Cpu { precision: Precision::Int8, ..cpu(1) }.load_training(&case.graph, &slices(&params), &options);
    assert_eq!(refused.unwrap_err().to_string(), "this device cannot do training in int8");
}

#[test]
fn a_tape_of_numbers_that_changed_goes_nowhere() {
    let case = towers(Scale::Small).remove(0);
    let (options, params) = (TrainingOptions::all(&case.graph), params(&case));
    let mut training = cpu(1).load_training(&case.graph, &slices(&params), &options).unwrap();
    let (rows, tape) = training.forward(&case.batch(), &vec![0; case.count]).unwrap();
    training.set_params(&slices(&params));
    let mut grads = options.gradients(&case.graph);
    assert!(training.backward(tape, &rows.data, &mut grads).is_err());
    assert!(grads.iter().flatten().all(|&g| g == 0.0));
}
