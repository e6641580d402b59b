//! A graph with adapters is the old graph with `W + B A` in place of `W`.
#![allow(clippy::unwrap_used, reason = "tests")]
mod common;

use common::Random;
use common::cases::{Case, Scale, towers};
use hua_exec::{Device, Reference, Rows, Trainable, TrainingOptions};
use hua_graph::{Graph, LoraPair, Regularisation, Tensor, Weights, for_training, lora};

const RANK: usize = 3;

fn run(graph: &Graph, params: &[Vec<f32>], case: &Case) -> Rows {
    let tensors = graph.params().iter().zip(params).map(|(p, v)| Tensor::from_f32(&p.shape, v.clone())).collect();
    let weights = Weights::new(graph, tensors).unwrap();
    let outputs: Vec<_> = graph.outputs().iter().map(|o| o.name.as_str()).collect();
    let rows = Reference.load(graph, &weights).unwrap().run(&case.batch(), &outputs).unwrap();
    Rows { data: rows.iter().flat_map(|r| r.data.clone()).collect(), ..Rows::default() }
}

/// The dense layers of a tower by the ends of their names, some of them at random.
fn targets(graph: &Graph, random: &mut Random) -> Vec<String> {
    let of_adapters = |n: &&hua_graph::Node| matches!(n.op, hua_graph::Op::Linear { .. });
    let mut names: Vec<_> = graph.nodes().iter().filter(of_adapters).map(|n| n.name.rsplit('.').next().unwrap().to_owned()).collect();
    names.sort();
    names.dedup();
    let some: Vec<_> = names.iter().filter(|_| random.size(0, 1) > 0).cloned().collect();
    if some.is_empty() { names } else { some }
}

/// A tower with adapters, their places and all its parameters; the old ones are the first.
fn adapted(case: &Case, random: &mut Random) -> (Graph, Vec<LoraPair>, Vec<Vec<f32>>) {
    let (graph, pairs) = lora(&case.graph, RANK, &targets(&case.graph, random)).unwrap();
    let params = random.weights(&graph).tensors().iter().map(|t| t.to_f32().unwrap().into_owned()).collect();
    (graph, pairs, params)
}

#[test]
fn an_adapter_of_zeros_changes_nothing() {
    for (seed, case) in (0..).zip(towers(Scale::Small)) {
        let (graph, pairs, mut params) = adapted(&case, &mut Random(seed));
        pairs.iter().for_each(|pair| params[pair.b.index()].fill(0.0));
        let law = run(&case.graph, &params[..case.graph.params().len()], &case);
        assert_eq!(run(&graph, &params, &case), law, "{}", case.what);
    }
}

#[test]
fn a_merged_adapter_gives_what_the_adapter_gave() {
    for (seed, case) in (0..).zip(towers(Scale::Small)) {
        let (graph, pairs, mut params) = adapted(&case, &mut Random(seed));
        let found = run(&graph, &params, &case);
        let apart = run(&case.graph, &params[..case.graph.params().len()], &case);
        for LoraPair { weight, a, b } in pairs {
            let [out, inner] = case.graph.param(weight).shape[..] else { unreachable!("a matrix") };
            for o in 0..out {
                for i in 0..inner {
                    let of = |r: usize| f64::from(params[b.index()][o * RANK + r]) * f64::from(params[a.index()][r * inner + i]);
                    let more: f64 = (0..RANK).map(of).sum();
                    params[weight.index()][o * inner + i] += more as f32;
                }
            }
        }
        let merged = run(&case.graph, &params[..case.graph.params().len()], &case);
        let most = merged.data.iter().fold(1.0f32, |most, x| most.max(x.abs()));
        let far = |a: &Rows, b: &Rows| a.data.iter().zip(&b.data).map(|(a, b)| (a - b).abs() / most).fold(0.0, f32::max);
        assert!(far(&found, &merged) <= 1e-5, "{}: {}", case.what, far(&found, &merged));
        assert!(far(&apart, &merged) > 1e-2, "{}: the adapters do something", case.what);
    }
}

#[test]
fn adapters_alone_are_trained_and_all_of_them_are() {
    for (seed, case) in (0..).zip(towers(Scale::Small)) {
        let (graph, pairs, params) = adapted(&case, &mut Random(seed));
        let graph = for_training(&graph, &Regularisation { dropout: 0.1, keep_tokens: 0.7 }).unwrap();
        let needed = graph.needed(&[graph.output("embedding").unwrap()]);
        let used: Vec<_> = graph.nodes().iter().zip(needed).filter(|(_, needed)| *needed).flat_map(|(n, _)| n.op.params()).collect();
        let mut options = TrainingOptions::all(&graph);
        options.trained.fill(false);
        pairs.iter().flat_map(|pair| [pair.a, pair.b]).for_each(|p| options.trained[p.index()] = true);
        let mut training = Reference.load_training(&graph, &params.iter().map(Vec::as_slice).collect::<Vec<_>>(), &options).unwrap();
        let (rows, tape) = training.forward(&case.batch(), &vec![7; case.count]).unwrap();
        let mut gradients = options.gradients(&graph);
        training.backward(tape, &Random(3).normals(rows.data.len(), 1.0), &mut gradients).unwrap();
        for pair in pairs {
            for p in [pair.a, pair.b] {
                assert_eq!(gradients[p.index()].iter().any(|&g| g != 0.0), used.contains(&p), "{}: `{}`", case.what, graph.param(p).name);
            }
            assert!(gradients[pair.weight.index()].is_empty());
        }
    }
}
