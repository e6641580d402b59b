//! The gradients of the reference are the slopes of its own values: finite differences in f64, of every operation and every kind of tower.
#![allow(clippy::unwrap_used, reason = "tests")]
use std::collections::BTreeSet;

use hua_graph::{Act, Builder, ConvSizes, EmbedSizes, Graph, Kind, Mask, Op, Pick, Regularisation, Value, for_training};

use self::common::{Head, Random, VitSizes, bert, clip_text, resnet, vit};
use super::training::ReferenceTraining;
use crate::TrainingOptions;
use crate::shapes::Items;

#[path = "../../tests/common/mod.rs"]
mod common;

/// A slope over `±STEP` is off by `STEP²` times the third derivative, and by the rounding of f64 divided by `STEP`.
const STEP: f64 = 1e-5;
/// What that comes to, of the greatest gradient of a parameter or of 1; the numbers are of order one, sums of some hundred.
const TOLERANCE: f64 = 1e-7;

/// Every operation, and what makes another derivative of it. An operation that is new is new here, or this does not compile; one that is not
/// in [`EVERY`] fails, and so does one of `EVERY` that no case has.
fn name(op: &Op) -> &'static str {
    match op {
        Op::Act(Act::Gelu) => "gelu",
        Op::Act(Act::GeluTanh) => "gelu_tanh",
        Op::Act(Act::QuickGelu) => "quick_gelu",
        Op::Act(Act::Relu) => "relu",
        Op::Act(Act::Tanh) => "tanh",
        Op::Add => "add",
        Op::AddPositions { .. } => "add_positions",
        Op::Attention { mask: Mask::Causal, .. } => "attention, causal",
        Op::Attention { mask: Mask::Full, .. } => "attention",
        Op::AvgPool { .. } => "avg_pool",
        Op::BatchNorm { .. } => "batch_norm",
        Op::Conv { bias: None, .. } => "conv",
        Op::Conv { bias: Some(_), .. } => "conv with bias",
        Op::Dropout { .. } => "dropout",
        Op::DropTokens { .. } => "drop_tokens",
        Op::Embed { types: None, .. } => "embed",
        Op::Embed { types: Some(_), .. } => "embed with types",
        Op::Flatten => "flatten",
        Op::Input => "input",
        Op::L2Normalize => "l2_normalize",
        Op::LayerNorm { .. } => "layer_norm",
        Op::Linear { bias: None, .. } => "linear",
        Op::Linear { bias: Some(_), .. } => "linear with bias",
        Op::Pick(Pick::First) => "pick first",
        Op::Pick(Pick::FirstId(_)) => "pick first id",
        Op::Pick(Pick::HighestId) => "pick highest id",
        Op::Pick(Pick::Mean) => "pick mean",
        Op::Prepend { .. } => "prepend",
        Op::PrependMean => "prepend_mean",
    }
}

const EVERY: [&str; 29] = [
    "add",
    "add_positions",
    "attention",
    "attention, causal",
    "avg_pool",
    "batch_norm",
    "conv",
    "conv with bias",
    "drop_tokens",
    "dropout",
    "embed",
    "embed with types",
    "flatten",
    "gelu",
    "gelu_tanh",
    "input",
    "l2_normalize",
    "layer_norm",
    "linear",
    "linear with bias",
    "pick first",
    "pick first id",
    "pick highest id",
    "pick mean",
    "prepend",
    "prepend_mean",
    "quick_gelu",
    "relu",
    "tanh",
];

/// A graph and a batch for it.
struct Case {
    graph: Graph,
    ids: Vec<Vec<u32>>,
    pixels: Vec<f32>,
    count: usize,
}

impl Case {
    fn items(&self) -> Items<'_> {
        Items { ids: &self.ids, pixels: &self.pixels, count: self.count }
    }

    fn texts(graph: Graph, random: &mut Random, lengths: &[usize], vocab: usize) -> Self {
        Self { graph, ids: random.texts(lengths, vocab), pixels: vec![], count: lengths.len() }
    }

    fn images(graph: Graph, random: &mut Random, count: usize) -> Self {
        let size = graph.nodes().iter().find(|n| n.op == Op::Input).map(|n| crate::shapes::width(n.kind)).unwrap();
        Self { graph, ids: vec![], pixels: random.normals(count * size, 1.0), count }
    }
}

/// Holds gradients of `sum(output · direction)` to slopes, of at most `most` numbers of each parameter; which operations it has.
fn check(what: &str, random: &mut Random, case: &Case, most: usize) -> BTreeSet<&'static str> {
    let graph = &case.graph;
    let options = TrainingOptions::all(graph);
    let weights = random.weights(graph);
    let params: Vec<Vec<f64>> = weights.tensors().iter().map(|t| t.to_f32().unwrap().iter().map(|&x| x.into()).collect()).collect();
    let seeds: Vec<u64> = (0..case.count).map(|_| random.next()).collect();
    let mut training = ReferenceTraining::new(graph, params.clone(), &options).unwrap();

    let out = training.output_in_f64(case.items(), &seeds);
    let direction: Vec<f64> = (0..out.len()).map(|_| random.normal(1.0).into()).collect();
    let gradients = training.gradients_in_f64(case.items(), &seeds, direction.clone());
    let loss = |training: &ReferenceTraining| -> f64 {
        training.output_in_f64(case.items(), &seeds).iter().zip(&direction).map(|(x, d)| x * d).sum()
    };
    for (i, (spec, gradient)) in graph.params().iter().zip(&gradients).enumerate() {
        if !spec.trained {
            assert!(gradient.is_empty(), "{what}: `{}` is a statistic", spec.name);
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
            assert!(error <= TOLERANCE, "{what}: `{}`[{at}] has gradient {}, slope {slope}:\n{graph}", spec.name, gradient[at]);
        }
    }
    graph.nodes().iter().map(|n| name(&n.op)).collect()
}

/// One operation on ragged rows that depend on parameters; its result goes through another layer, so that its gradient is not the
/// direction itself.
fn on_rows(what: &str, seen: &mut BTreeSet<&'static str>, step: impl Fn(&mut Random, &mut Builder, Value, Value) -> Value) {
    for seed in 0..4 {
        let mut random = Random(seed);
        let lengths: Vec<usize> = (0..random.size(1, 4)).map(|_| random.size(1, 6)).collect();
        let (types, first_position, width) = (random.size(0, 2), random.size(0, 2), 4 * random.size(1, 3));
        let mut g = Builder::default();
        let ids = g.input(Kind::Ids);
        let x = g.embed(ids, EmbedSizes { vocab: 5, positions: 8, first_position, types, width });
        let mut x = step(&mut random, &mut g, x, ids);
        if !matches!(g.kind(x), Kind::Image { .. }) {
            x = g.linear("after", x, 3);
        }
        g.output("embedding", x);
        let case = Case::texts(g.finish().unwrap(), &mut random, &lengths, 5);
        seen.extend(check(what, &mut random, &case, 200));
    }
}

/// One operation on an image that depends on parameters.
fn on_images(what: &str, seen: &mut BTreeSet<&'static str>, step: impl Fn(&mut Random, &mut Builder, Value) -> Value) {
    for seed in 0..4 {
        let mut random = Random(seed);
        let (channels, height, width) = (random.size(1, 3), random.size(4, 6), random.size(4, 6));
        let mut g = Builder::default();
        let x = g.input(Kind::Image { channels, height, width });
        let out = random.size(1, 3);
        let x = g.conv("before", x, ConvSizes { out, size: 1, stride: 1, pad: 0, bias: seed % 2 == 0 });
        let x = step(&mut random, &mut g, x);
        let x = if let Kind::Image { .. } = g.kind(x) { g.flatten(x) } else { x };
        let x = g.linear("after", x, 3);
        g.output("embedding", x);
        let count = random.size(1, 3);
        let case = Case::images(g.finish().unwrap(), &mut random, count);
        seen.extend(check(what, &mut random, &case, 200));
    }
}

#[test]
fn every_operation_has_the_gradient_that_its_values_have() {
    let seen = &mut BTreeSet::new();
    for act in [Act::Gelu, Act::GeluTanh, Act::QuickGelu, Act::Relu, Act::Tanh] {
        on_rows("act", seen, |_, g, x, _| g.act(x, act));
        on_images("act", seen, |_, g, x| g.act(x, act));
    }
    on_rows("add", seen, |_, g, x, _| {
        let width = g.width(x);
        let y = g.linear("y", x, width);
        let y = g.add(y, x);
        g.add(y, y)
    });
    on_rows("add_positions", seen, |_, g, x, _| g.add_positions("table", x, 7));
    for mask in [Mask::Full, Mask::Causal] {
        on_rows("attention", seen, |r, g, x, _| {
            let (width, heads) = (g.width(x), [1, 2, 4][r.size(0, 2)]);
            let [q, k, v] = ["q", "k", "v"].map(|name| g.linear(name, x, width));
            g.attention(q, k, v, heads, mask)
        });
        on_rows("attention of one value", seen, |_, g, x, _| g.attention(x, x, x, 2, mask));
    }
    on_images("avg_pool", seen, |r, g, x| g.avg_pool(x, r.size(1, 3)));
    on_images("batch_norm", seen, |_, g, x| g.batch_norm("bn", x, 1e-5));
    on_images("conv", seen, |r, g, x| {
        let sizes = ConvSizes { out: r.size(1, 3), size: r.size(1, 3), stride: r.size(1, 3), pad: r.size(0, 2), bias: r.size(0, 1) > 0 };
        g.conv("conv", x, sizes)
    });
    on_rows("dropout", seen, |_, g, x, _| g.dropout(x, 0.4));
    on_images("dropout", seen, |_, g, x| g.dropout(x, 0.4));
    on_images("drop_tokens", seen, |_, g, x| {
        let x = g.flatten(x);
        let x = g.prepend("class", x);
        g.drop_tokens(x, 0.3)
    });
    on_images("flatten", seen, |_, g, x| g.flatten(x));
    on_rows("l2_normalize", seen, |_, g, x, _| g.l2_normalize(x));
    on_rows("layer_norm", seen, |_, g, x, _| g.layer_norm("ln", x, 1e-5));
    on_rows("linear", seen, |r, g, x, _| g.linear("linear", x, r.size(1, 5)));
    on_rows("linear", seen, |r, g, x, _| g.linear_no_bias("linear", x, r.size(1, 5)));
    for pick in [Pick::First, Pick::FirstId(3), Pick::HighestId, Pick::Mean] {
        on_rows("pick", seen, |_, g, x, ids| g.pick(x, pick, Some(ids)));
    }
    on_rows("prepend", seen, |_, g, x, _| g.prepend("token", x));
    on_rows("prepend_mean", seen, |_, g, x, _| g.prepend_mean(x));
    on_rows("a layer that is used twice", seen, |_, g, x, _| {
        let width = g.width(x);
        let y = g.linear("y", x, width);
        let z = g.act(y, Act::Tanh);
        let z = g.again("z", y, z);
        g.add(y, z)
    });
    assert_eq!(*seen, BTreeSet::from(EVERY), "every operation is in a case");
}

#[test]
fn every_kind_of_tower_has_the_gradient_that_its_embeddings_have() {
    let all = Regularisation { dropout: 0.2, keep_tokens: 0.6 };
    let heads = [Head::AltClip, Head::Classifier, Head::Pooled, Head::Project];
    let sizes = VitSizes { side: 12, patch: 4, width: 8, layers: 2, heads: 2, out: 6 };
    let images = [("vit", vit(&sizes)), ("resnet", resnet(16, 4, 2))];
    let texts = heads.map(|head| ("bert", bert(20, 8, 2, 2, head))).into_iter().chain([("clip_text", clip_text(20, 8, 2, 2))]);
    let mut random = Random(5);
    let texts = texts.map(|(what, graph)| (what, Case::texts(graph, &mut Random(1), &[3, 1, 6], 20)));
    let images = images.into_iter().map(|(what, graph)| (what, Case::images(graph, &mut Random(1), 2)));
    for (what, case) in texts.chain(images).collect::<Vec<_>>() {
        check(what, &mut random, &case, 12);
        let graph = for_training(&case.graph, &all).unwrap();
        check(what, &mut random, &Case { graph, ..case }, 12);
    }
}
