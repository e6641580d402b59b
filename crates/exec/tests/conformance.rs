//! Every operation, and whole small towers, on every executor against the reference: random shapes, ragged batches, one table of
//! tolerances.
#![allow(clippy::unwrap_used, reason = "tests")]
mod common;

use common::{Random, VitSizes, clip_text, cpu, resnet, roberta, vit};
use hua_exec::{Batch, Cpu, Device, Isa, Precision, Program, Reference, Rows};
use hua_graph::{Act, Builder, ConvSizes, EmbedSizes, Graph, Kind, Mask, Pick, Value};

/// The greatest error of any number, divided by the greatest number of the value or by 1: in f32, bf16 and int8.
///
/// The coarser two follow from how they round, in standard deviations of the numbers that are multiplied. A bf16 is within 2⁻⁹ of
/// the number, which is 0.0011 of it (root mean square); with inputs rounded too, a product of order one is off by 0.0016. In int8 a
/// step of a weight is about 5/128 (the greatest channel's four weights that must not overflow) and one of an input 6/255, so that a
/// product is off by 0.013 (√(5/128)² + (6/255)² over √12). Of ten thousand results the worst is at 4.5 times that, after two products in
/// a row √2 more, and a batch norm or a sum half as much again: 9 times. Whole towers have about eight products on the way to a number,
/// which norms and residuals spread: 16 times.
const TOLERANCES: &[(&str, [f32; 3])] = &[
    ("act", [1e-6; 3]),
    ("add", [0.0; 3]),
    ("add_positions", [0.0; 3]),
    ("attention", [3e-6; 3]),
    ("avg_pool", [1e-6; 3]),
    ("batch_norm", [2e-6; 3]),
    ("conv", [3e-6, 9.0 * 0.0016, 9.0 * 0.013]),
    ("embed", [0.0; 3]),
    ("flatten", [0.0; 3]),
    ("l2_normalize", [5e-7; 3]),
    ("layer_norm", [3e-6; 3]),
    ("linear", [3e-6, 9.0 * 0.0016, 9.0 * 0.013]),
    ("pick", [1e-7; 3]),
    ("prepend", [0.0; 3]),
    ("prepend_mean", [1e-7; 3]),
    ("tower", [1e-5, 16.0 * 0.0016, 16.0 * 0.013]),
];

/// Every precision on every instruction set, and the column of tolerances each is held to.
fn executors() -> Vec<(Cpu, usize)> {
    let all = Precision::ALL.into_iter().enumerate().flat_map(|(column, precision)| {
        let on = move |(threads, isa)| (Cpu { threads, precision, isa: Some(isa), packed: None }, column);
        Isa::available().into_iter().map(|isa| (1, isa)).chain([(2, Isa::best())]).map(on)
    });
    all.collect()
}

enum Owned {
    Ids(Vec<Vec<u32>>),
    Images(Vec<f32>),
}

impl Owned {
    fn batch(&self) -> Batch<'_> {
        match self {
            Self::Ids(ids) => Batch::Ids(ids),
            Self::Images(pixels) => Batch::Images(pixels),
        }
    }
}

/// Holds all executors to the reference, on all outputs, on each of them alone, and with random weights.
fn check(row: &str, random: &mut Random, graph: &Graph, batch: &Owned) {
    let tolerances = TOLERANCES.iter().find(|(name, _)| *name == row).unwrap().1;
    let weights = random.weights(graph);
    let names: Vec<&str> = graph.outputs().iter().map(|o| o.name.as_str()).collect();
    let law = Reference.load(graph, &weights).unwrap().run(&batch.batch(), &names).unwrap();
    for (device, column) in executors() {
        let tolerance = tolerances[column];
        let program = device.load(graph, &weights).unwrap();
        let all = program.run(&batch.batch(), &names).unwrap();
        for (name, (all, law)) in names.iter().zip(all.iter().zip(&law)) {
            assert_eq!((all.width, &all.lengths, all.data.len()), (law.width, &law.lengths, law.data.len()), "{row} `{name}`");
            let error = error(all, law);
            assert!(error <= tolerance, "{row}: {device:?} differs by {error:e} in `{name}`:\n{graph}");
            let alone = program.run(&batch.batch(), &[name]).unwrap();
            assert_eq!(&alone[0], all, "{row}: `{name}` depends on what else is asked for");
        }
    }
}

fn error(found: &Rows, law: &Rows) -> f32 {
    let most = law.data.iter().fold(1.0f32, |most, x| most.max(x.abs()));
    found.data.iter().zip(&law.data).map(|(a, b)| (a - b).abs() / most).fold(0.0, |e, x| if x > e || x.is_nan() { x } else { e })
}

/// One operation on rows, with its own input as `Flatten` of an image gives it.
fn on_rows(row: &str, mut step: impl FnMut(&mut Random, &mut Builder, Value) -> Value) {
    for seed in 0..12 {
        let mut random = Random(seed);
        let (width, items) = (random.size(1, 70), random.size(0, 4));
        let (height, across) = (random.size(1, 6), random.size(1, 6));
        let mut g = Builder::default();
        let x = g.input(Kind::Image { channels: width, height, width: across });
        let x = g.flatten(x);
        let x = step(&mut random, &mut g, x);
        g.output("out", x);
        let pixels = random.normals(items * width * height * across, 1.0);
        check(row, &mut random, &g.finish().unwrap(), &Owned::Images(pixels));
    }
}

/// One operation on an image.
fn on_images(row: &str, mut step: impl FnMut(&mut Random, &mut Builder, Value) -> Value) {
    for seed in 0..12 {
        let mut random = Random(seed);
        let (channels, height, width) = (random.size(1, 20), random.size(4, 12), random.size(4, 12));
        let mut g = Builder::default();
        let x = g.input(Kind::Image { channels, height, width });
        let x = step(&mut random, &mut g, x);
        g.output("out", x);
        let items = random.size(1, 3);
        let pixels = random.normals(items * channels * height * width, 1.0);
        check(row, &mut random, &g.finish().unwrap(), &Owned::Images(pixels));
    }
}

/// Operations on ragged rows, as `Embed` gives them.
fn on_texts(row: &str, mut step: impl FnMut(&mut Random, &mut Builder, Value, Value) -> Value) {
    for seed in 0..12 {
        let mut random = Random(seed);
        let lengths: Vec<usize> = (0..random.size(1, 5)).map(|_| random.size(1, 40)).collect();
        let first_position = random.size(0, 2);
        let mut g = Builder::default();
        let ids = g.input(Kind::Ids);
        let types = random.size(0, 2);
        let width = 4 * random.size(1, 12);
        let x = g.embed(ids, EmbedSizes { vocab: 30, positions: 42, first_position, types, width });
        let x = step(&mut random, &mut g, x, ids);
        g.output("out", x);
        let texts = random.texts(&lengths, 30);
        check(row, &mut random, &g.finish().unwrap(), &Owned::Ids(texts));
    }
}

#[test]
fn every_operation_does_what_the_reference_does() {
    for act in [Act::Gelu, Act::GeluTanh, Act::QuickGelu, Act::Relu, Act::Tanh] {
        on_rows("act", |_, g, x| g.act(x, act));
        on_images("act", |_, g, x| g.act(x, act));
    }
    on_rows("add", |_, g, x| g.add(x, x));
    on_texts("add_positions", |_, g, x, _| g.add_positions("table", x, 50));
    for mask in [Mask::Full, Mask::Causal] {
        on_texts("attention", |r, g, x, _| {
            let heads = [1, 2, 4][r.size(0, 2)];
            g.attention(x, x, x, heads, mask)
        });
    }
    on_images("avg_pool", |r, g, x| g.avg_pool(x, r.size(1, 4)));
    on_images("batch_norm", |_, g, x| g.batch_norm("bn", x, 1e-5));
    on_images("conv", |r, g, x| {
        let sizes = ConvSizes { out: r.size(1, 20), size: r.size(1, 4), stride: r.size(1, 4), pad: r.size(0, 3), bias: r.size(0, 1) > 0 };
        let x = g.conv("first", x, sizes);
        let sizes = ConvSizes { out: r.size(1, 20), size: r.size(1, 3), stride: r.size(1, 2), pad: 1, bias: r.size(0, 1) > 0 };
        g.conv("second", x, sizes)
    });
    on_images("conv", |r, g, x| {
        let x = g.conv("conv", x, ConvSizes { out: r.size(1, 20), size: 3, stride: 1, pad: 1, bias: r.size(0, 1) > 0 });
        g.batch_norm("bn", x, 1e-5)
    });
    on_texts("embed", |_, _, x, _| x);
    on_rows("flatten", |_, _, x| x);
    on_texts("l2_normalize", |_, g, x, _| g.l2_normalize(x));
    on_rows("layer_norm", |_, g, x| g.layer_norm("ln", x, 1e-5));
    on_texts("linear", |r, g, x, _| g.linear("a", x, r.size(1, 90)));
    on_rows("linear", |r, g, x| g.linear_no_bias("a", x, r.size(1, 90)));
    for pick in [Pick::First, Pick::FirstId(3), Pick::HighestId, Pick::Mean] {
        on_texts("pick", |_, g, x, ids| g.pick(x, pick, Some(ids)));
    }
    on_texts("prepend", |_, g, x, _| g.prepend("token", x));
    on_texts("prepend_mean", |_, g, x, _| g.prepend_mean(x));
}

#[test]
fn steps_that_are_fused_do_what_they_did_apart() {
    on_texts("linear", |r, g, x, _| {
        let y = g.linear("up", x, r.size(1, 50));
        let y = g.act(y, Act::Gelu);
        let width = g.width(x);
        let y = g.linear("down", y, width);
        let y = g.add(x, y);
        g.act(y, Act::Relu)
    });
    on_texts("linear", |_, g, x, _| {
        let width = g.width(x);
        let (a, b) = (g.linear("a", x, width), g.linear("b", x, width));
        let a = g.act(a, Act::Tanh);
        let sum = g.add(a, b);
        g.add(sum, a)
    });
}

fn towers() -> Vec<(Graph, Owned)> {
    let mut random = Random(9);
    let texts = random.texts(&[12, 3, 40, 1, 33, 7, 20], 100);
    let pixels = random.normals(7 * 3 * 32 * 32, 1.0);
    let tower = VitSizes { side: 32, patch: 8, width: 48, layers: 2, heads: 3, out: 20 };
    vec![
        (vit(&tower), Owned::Images(pixels.clone())),
        (resnet(32, 24, 4), Owned::Images(pixels)),
        (roberta(100, 64, 2, 4), Owned::Ids(texts.clone())),
        (clip_text(100, 40, 2, 2), Owned::Ids(texts)),
    ]
}

#[test]
fn whole_towers_do_what_the_reference_does() {
    for (graph, batch) in towers() {
        check("tower", &mut Random(1), &graph, &batch);
        // And with every step's own value asked for as well.
        let mut tapped = graph.clone();
        graph.nodes().iter().for_each(|node| assert!(tapped.expose(&node.name)));
        check("tower", &mut Random(1), &tapped, &batch);
    }
}

/// The rows of one item.
fn item(rows: &Rows, at: usize) -> &[f32] {
    let start: usize = rows.lengths[..at].iter().sum();
    &rows.data[start * rows.width..(start + rows.lengths[at]) * rows.width]
}

fn embeddings(program: &dyn Program, batch: &Batch<'_>) -> Rows {
    program.run(batch, &["embedding"]).unwrap().remove(0)
}

#[test]
fn an_item_does_not_depend_on_its_batch_nor_on_threads() {
    for (graph, batch) in towers() {
        let weights = Random(1).weights(&graph);
        for (one, _) in executors().into_iter().filter(|(cpu, _)| cpu.threads == 1) {
            let two = Cpu { threads: 2, ..one.clone() };
            let [one, two] = [one, two].map(|device| device.load(&graph, &weights).unwrap());
            let seven = embeddings(&*one, &batch.batch());
            assert_eq!(two.run_alone(&batch.batch(), &["embedding"]).unwrap(), std::slice::from_ref(&seven));
            for program in [&one, &two] {
                // Alone; and as the last of 64.
                for at in 0..7 {
                    let (alone, many) = match &batch {
                        Owned::Ids(ids) => {
                            let many = (0..64).map(|i| ids[(i * 3 + at) % 7].clone()).collect();
                            (Owned::Ids(vec![ids[at].clone()]), Owned::Ids(many))
                        }
                        Owned::Images(pixels) => {
                            let one = |i: usize| pixels[i * pixels.len() / 7..(i + 1) * pixels.len() / 7].to_vec();
                            (Owned::Images(one(at)), Owned::Images((0..64).flat_map(|i| one((i * 3 + at) % 7)).collect()))
                        }
                    };
                    assert_eq!(embeddings(&**program, &alone.batch()).data, item(&seven, at));
                    assert_eq!(item(&embeddings(&**program, &many.batch()), 63), item(&seven, (63 * 3 + at) % 7));
                }
            }
        }
    }
}

#[test]
fn a_batch_that_does_not_fit_is_refused_in_the_same_words_everywhere() {
    let text = clip_text(100, 8, 1, 2);
    let image = vit(&VitSizes { side: 8, patch: 4, width: 8, layers: 1, heads: 2, out: 4 });
    let good = vec![1, 2, 3];
    let cases: [(&Graph, Owned, &str, &str); 7] = [
        (&text, Owned::Ids(vec![good.clone(), vec![5, 100]]), "embedding", "item 1 has token id 100, the vocabulary has 100"),
        (&text, Owned::Ids(vec![good.clone(), vec![]]), "embedding", "item 1 has 0 positions, the model takes 1 to 77"),
        (&text, Owned::Ids(vec![vec![1; 78]]), "embedding", "item 0 has 78 positions, the model takes 1 to 77"),
        (&text, Owned::Ids(vec![good.clone()]), "pooled", "the graph has no output `pooled`, only `rows`, `embedding`"),
        (&text, Owned::Images(vec![0.0; 9]), "embedding", "the batch holds images, the graph takes ids"),
        (&image, Owned::Ids(vec![good]), "embedding", "the batch holds ids, the graph takes image[3,8,8]"),
        (
            &image,
            Owned::Images(vec![0.0; 100]),
            "embedding",
            "the batch holds 100 numbers, no multiple of 192, the graph takes image[3,8,8]",
        ),
    ];
    for (graph, batch, output, wanted) in cases {
        let weights = Random(1).weights(graph);
        let all = executors().into_iter().map(|(device, _)| Box::new(device) as Box<dyn Device>);
        for device in all.chain([Box::new(Reference) as Box<dyn Device>]) {
            let error = device.load(graph, &weights).unwrap().run(&batch.batch(), &[output]).unwrap_err();
            assert_eq!(error.to_string(), wanted);
        }
    }
}

#[test]
fn half_precision_weights_mean_what_they_hold() {
    for (graph, batch) in towers() {
        let weights = Random(1).weights(&graph);
        for dtype in [hua_graph::DType::F16, hua_graph::DType::Bf16] {
            let halves = weights.tensors().iter().map(|t| t.to_dtype(dtype).unwrap()).collect();
            let halves = hua_graph::Weights::new(&graph, halves).unwrap();
            let law = embeddings(&*Reference.load(&graph, &halves).unwrap(), &batch.batch());
            let found = embeddings(&*cpu(1).load(&graph, &halves).unwrap(), &batch.batch());
            assert!(error(&found, &law) <= 1e-5);
        }
    }
}
