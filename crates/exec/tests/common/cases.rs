//! Graphs of every operation and of every kind of tower, with batches: what gradients are held to, in the tests of the reference and of all
//! executors.
use std::collections::BTreeSet;

use hua_exec::Batch;
use hua_graph::{Act, Builder, ConvSizes, EmbedSizes, Graph, Kind, Mask, Op, Pick, Regularisation, Value, for_training};

use super::{Head, Random, VitSizes, bert, clip_text, resnet, vit};

/// A graph and a batch for it.
pub struct Case {
    pub what: &'static str,
    pub graph: Graph,
    pub ids: Vec<Vec<u32>>,
    pub pixels: Vec<f32>,
    pub count: usize,
}

impl Case {
    fn texts(what: &'static str, graph: Graph, random: &mut Random, lengths: &[usize], vocab: usize) -> Self {
        Self { what, graph, ids: random.texts(lengths, vocab), pixels: vec![], count: lengths.len() }
    }

    fn images(what: &'static str, graph: Graph, random: &mut Random, count: usize) -> Self {
        let Kind::Image { channels, height, width } = input(&graph) else { unreachable!("a graph of images") };
        Self { what, graph, ids: vec![], pixels: random.normals(count * channels * height * width, 1.0), count }
    }

    pub fn batch(&self) -> Batch<'_> {
        if input(&self.graph) == Kind::Ids { Batch::Ids(&self.ids) } else { Batch::Images(&self.pixels) }
    }

    /// Some of the items.
    pub fn part(&self, items: std::ops::Range<usize>) -> Self {
        let size = self.pixels.len() / self.count.max(1);
        Self {
            what: self.what,
            graph: self.graph.clone(),
            ids: self.ids.get(items.clone()).unwrap_or_default().to_vec(),
            pixels: self.pixels[items.start * size..items.end * size].to_vec(),
            count: items.len(),
        }
    }
}

fn input(graph: &Graph) -> Kind {
    graph.nodes().iter().find(|n| n.op == Op::Input).map(|n| n.kind).unwrap()
}

/// The name of an operation, and of what makes another derivative of it. An operation that is new is new here, or this does not compile; a
/// name that is not in [`EVERY`], or one of `EVERY` that no case has, fails the tests.
pub fn operation(op: &Op) -> &'static str {
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

/// All names of [`operation`].
pub const EVERY: [&str; 29] = [
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

/// Panics unless the cases have every operation.
pub fn assert_every_operation(cases: &[Case]) {
    let seen: BTreeSet<_> = cases.iter().flat_map(|case| case.graph.nodes()).map(|n| operation(&n.op)).collect();
    assert_eq!(seen, BTreeSet::from(EVERY), "every operation is in a case");
}

/// How large: a few numbers, of which each can be changed alone, or rows that fill and overflow vectors and tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    Small,
    Usual,
}

/// Makes cases of one operation.
struct Cases {
    scale: Scale,
    all: Vec<Case>,
}

impl Cases {
    fn most(&self, small: usize, usual: usize) -> usize {
        if self.scale == Scale::Small { small } else { usual }
    }

    /// On ragged rows that depend on parameters. The result goes through another layer, so that its gradient is not the output's.
    fn on_rows(&mut self, what: &'static str, step: impl Fn(&mut Random, &mut Builder, Value, Value) -> Value) {
        for seed in 0..4 {
            let mut random = Random(seed);
            let longest = self.most(6, 40);
            let lengths: Vec<usize> = (0..random.size(1, 4)).map(|_| random.size(1, longest)).collect();
            let (types, first_position, width) = (random.size(0, 2), random.size(0, 2), 4 * random.size(1, self.most(3, 12)));
            let mut g = Builder::default();
            let ids = g.input(Kind::Ids);
            let x = g.embed(ids, EmbedSizes { vocab: 5, positions: longest + 2, first_position, types, width });
            let x = step(&mut random, &mut g, x, ids);
            let x = g.linear("after", x, self.most(3, 20));
            g.output("embedding", x);
            self.all.push(Case::texts(what, g.finish().unwrap(), &mut random, &lengths, 5));
        }
    }

    /// On an image that depends on parameters.
    fn on_images(&mut self, what: &'static str, step: impl Fn(&mut Random, &mut Builder, Value) -> Value) {
        for seed in 0..4 {
            let mut random = Random(seed);
            let (channels, out) = (random.size(1, 3), random.size(1, self.most(3, 20)));
            let [height, width] = [(); 2].map(|()| random.size(4, self.most(6, 12)));
            let mut g = Builder::default();
            let x = g.input(Kind::Image { channels, height, width });
            let x = g.conv("before", x, ConvSizes { out, size: 1, stride: 1, pad: 0, bias: seed % 2 == 0 });
            let x = step(&mut random, &mut g, x);
            let x = if let Kind::Image { .. } = g.kind(x) { g.flatten(x) } else { x };
            let x = g.linear("after", x, 3);
            g.output("embedding", x);
            let count = random.size(1, 3);
            self.all.push(Case::images(what, g.finish().unwrap(), &mut random, count));
        }
    }
}

/// Every operation, on random shapes and ragged batches.
pub fn operations(scale: Scale) -> Vec<Case> {
    let mut cases = Cases { scale, all: vec![] };
    let most = |small, usual| if scale == Scale::Small { small } else { usual };
    for act in [Act::Gelu, Act::GeluTanh, Act::QuickGelu, Act::Relu, Act::Tanh] {
        cases.on_rows("act", |_, g, x, _| g.act(x, act));
        cases.on_images("act", |_, g, x| g.act(x, act));
        cases.on_rows("act after a dense layer", |r, g, x, _| {
            let x = g.linear("up", x, r.size(1, most(4, 40)));
            g.act(x, act)
        });
    }
    cases.on_rows("add", |_, g, x, _| {
        let width = g.width(x);
        let y = g.linear("y", x, width);
        let y = g.add(y, x);
        g.add(y, y)
    });
    cases.on_rows("add_positions", |_, g, x, _| g.add_positions("table", x, 42));
    for mask in [Mask::Full, Mask::Causal] {
        cases.on_rows("attention", |r, g, x, _| {
            let (width, heads) = (g.width(x), [1, 2, 4][r.size(0, 2)]);
            let [q, k, v] = ["q", "k", "v"].map(|name| g.linear(name, x, width));
            g.attention(q, k, v, heads, mask)
        });
        cases.on_rows("attention of one value", |_, g, x, _| g.attention(x, x, x, 2, mask));
        cases.on_rows("attention of one row", |_, g, x, ids| {
            let width = g.width(x);
            let [q, k, v] = ["q", "k", "v"].map(|name| g.linear(name, x, width));
            let x = g.attention(q, k, v, 4, mask);
            g.pick(x, Pick::HighestId, Some(ids))
        });
    }
    cases.on_images("avg_pool", |r, g, x| g.avg_pool(x, r.size(1, 3)));
    cases.on_images("batch_norm", |_, g, x| g.batch_norm("bn", x, 1e-5));
    cases.on_images("batch_norm after a convolution", |r, g, x| {
        let x = g.conv("conv", x, ConvSizes { out: r.size(1, most(3, 20)), size: 3, stride: 1, pad: 1, bias: r.size(0, 1) > 0 });
        let x = g.batch_norm("bn", x, 1e-5);
        g.act(x, Act::Relu)
    });
    cases.on_images("conv", |r, g, x| {
        let (size, stride, pad) = (r.size(1, 3), r.size(1, 3), r.size(0, 2));
        g.conv("conv", x, ConvSizes { out: r.size(1, most(3, 20)), size, stride, pad, bias: r.size(0, 1) > 0 })
    });
    cases.on_rows("dropout", |_, g, x, _| g.dropout(x, 0.4));
    cases.on_images("dropout", |_, g, x| g.dropout(x, 0.4));
    cases.on_images("drop_tokens", |_, g, x| {
        let x = g.flatten(x);
        let x = g.prepend("class", x);
        g.drop_tokens(x, 0.3)
    });
    cases.on_rows("embed", |_, _, x, _| x);
    cases.on_images("flatten", |_, g, x| g.flatten(x));
    cases.on_rows("l2_normalize", |_, g, x, _| g.l2_normalize(x));
    cases.on_rows("layer_norm", |_, g, x, _| g.layer_norm("ln", x, 1e-5));
    cases.on_rows("linear", |r, g, x, _| g.linear("linear", x, r.size(1, most(5, 90))));
    cases.on_rows("linear", |r, g, x, _| g.linear_no_bias("linear", x, r.size(1, most(5, 90))));
    for pick in [Pick::First, Pick::FirstId(3), Pick::HighestId, Pick::Mean] {
        cases.on_rows("pick", |_, g, x, ids| g.pick(x, pick, Some(ids)));
    }
    cases.on_rows("prepend", |_, g, x, _| g.prepend("token", x));
    cases.on_rows("prepend_mean", |_, g, x, _| g.prepend_mean(x));
    cases.on_rows("a layer that is used twice", |_, g, x, _| {
        let width = g.width(x);
        let y = g.linear("y", x, width);
        let z = g.act(y, Act::Tanh);
        let z = g.again("z", y, z);
        g.add(y, z)
    });
    cases.all
}

/// Every kind of tower, as it is and as [`for_training`] makes it.
pub fn towers(scale: Scale) -> Vec<Case> {
    let small = scale == Scale::Small;
    let (width, vocab) = if small { (8, 20) } else { (32, 60) };
    let lengths: &[usize] = if small { &[3, 1, 6] } else { &[12, 3, 40, 1, 7] };
    let sizes = if small {
        VitSizes { side: 12, patch: 4, width, layers: 2, heads: 2, out: 6 }
    } else {
        VitSizes { side: 32, patch: 8, width, layers: 2, heads: 4, out: 20 }
    };
    let berts = [("AltCLIP", Head::AltClip), ("classifier", Head::Classifier), ("pooler", Head::Pooled), ("projection", Head::Project)]
        .map(|(what, head)| (what, bert(vocab, width, 2, 4, head)));
    let texts = berts.into_iter().chain([("CLIP text", clip_text(vocab, width, 2, 2))]);
    let images = [("ViT", vit(&sizes)), ("ResNet", resnet(if small { 16 } else { 32 }, width / 2, 2))];
    let random = &mut Random(1);
    let mut all: Vec<Case> = texts.map(|(what, graph)| Case::texts(what, graph, random, lengths, vocab)).collect();
    all.extend(images.map(|(what, graph)| Case::images(what, graph, random, if small { 2 } else { 5 })));
    let regularisation = Regularisation { dropout: 0.2, keep_tokens: 0.6 };
    let regularised = |case: &Case| Case { graph: for_training(&case.graph, &regularisation).unwrap(), ..case.part(0..case.count) };
    let more: Vec<Case> = all.iter().map(regularised).collect();
    all.extend(more);
    all
}
