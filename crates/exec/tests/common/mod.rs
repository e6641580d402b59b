//! Random numbers, and small towers of every architecture that hua has, for the tests of executors.
#![allow(dead_code, reason = "each test program uses some of it")]
pub mod cases;

use hua_exec::Cpu;
use hua_graph::{Act, Builder, ConvSizes, EmbedSizes, Graph, Kind, Mask, Pick, Tensor, Value, Weights};

/// The CPU in f32.
pub fn cpu(threads: usize) -> Cpu {
    Cpu { threads, ..Cpu::default() }
}

/// SplitMix64 (Steele et al. 2014).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `low` to `high`, both included.
    pub fn size(&mut self, low: usize, high: usize) -> usize {
        low + (self.next() % (high - low + 1) as u64) as usize
    }

    /// About normal, with this deviation.
    pub fn normal(&mut self, deviation: f32) -> f32 {
        let sum: f32 = (0..6).map(|_| (self.next() >> 40) as f32 / (1u64 << 24) as f32 - 0.5).sum();
        sum * std::f32::consts::SQRT_2 * deviation
    }

    pub fn normals(&mut self, n: usize, deviation: f32) -> Vec<f32> {
        (0..n).map(|_| self.normal(deviation)).collect()
    }

    /// Texts of these lengths.
    pub fn texts(&mut self, lengths: &[usize], vocab: usize) -> Vec<Vec<u32>> {
        lengths.iter().map(|&n| (0..n).map(|_| self.size(0, vocab - 1) as u32).collect()).collect()
    }

    /// Weights that keep numbers of order one.
    pub fn weights(&mut self, graph: &Graph) -> Weights {
        let tensor = |spec: &hua_graph::ParamSpec| {
            let (n, inner) = (spec.shape.iter().product(), spec.shape[1..].iter().product::<usize>());
            let mut values = self.normals(n, if spec.shape.len() > 1 { (inner as f32).sqrt().recip() } else { 0.3 });
            let table = ["positions", "tokens", "types"].iter().any(|t| spec.name.contains(t));
            if table {
                values = self.normals(n, 1.0);
            } else if spec.name.ends_with("var") {
                values.iter_mut().for_each(|x| *x = 0.5 + x.abs());
            } else if spec.shape.len() == 1 && spec.name.ends_with("weight") {
                values.iter_mut().for_each(|x| *x += 1.0);
            }
            Tensor::from_f32(&spec.shape, values)
        };
        Weights::new(graph, graph.params().iter().map(tensor).collect()).unwrap()
    }
}

/// What a block of a transformer is made of.
#[derive(Clone, Copy)]
pub struct Blocks {
    pub count: usize,
    pub heads: usize,
    pub act: Act,
    pub mask: Mask,
    /// Norms after the sums, as in BERT, rather than before.
    pub post: bool,
}

pub fn blocks(g: &mut Builder, mut x: Value, of: Blocks) -> Value {
    let width = g.width(x);
    let attention = |g: &mut Builder, x: Value| {
        let (q, k, v) = (g.linear("q", x, width), g.linear("k", x, width), g.linear("v", x, width));
        let x = g.attention(q, k, v, of.heads, of.mask);
        g.linear("out", x, width)
    };
    let mlp = |g: &mut Builder, x: Value| {
        let x = g.linear("up", x, 4 * width);
        let x = g.act(x, of.act);
        g.linear("down", x, width)
    };
    for i in 0..of.count {
        x = g.scope(format_args!("blocks.{i}"), |g| {
            if of.post {
                let y = attention(g, x);
                let y = g.add(x, y);
                let x = g.layer_norm("ln1", y, 1e-12);
                let y = mlp(g, x);
                let y = g.add(y, x);
                return g.layer_norm("ln2", y, 1e-12);
            }
            let y = g.layer_norm("ln1", x, 1e-5);
            let y = attention(g, y);
            let x = g.add(x, y);
            let y = g.layer_norm("ln2", x, 1e-5);
            let y = mlp(g, y);
            g.add(x, y)
        });
    }
    x
}

pub struct VitSizes {
    pub side: usize,
    pub patch: usize,
    pub width: usize,
    pub layers: usize,
    pub heads: usize,
    pub out: usize,
}

/// A vision transformer as CLIP has it.
pub fn vit(sizes: &VitSizes) -> Graph {
    let &VitSizes { side, patch, width, layers, heads, out } = sizes;
    let mut g = Builder::default();
    let x = g.input(Kind::Image { channels: 3, height: side, width: side });
    let x = g.conv("patch", x, ConvSizes { out: width, size: patch, stride: patch, pad: 0, bias: false });
    let x = g.flatten(x);
    let x = g.prepend("class", x);
    let x = g.add_positions("positions", x, (side / patch) * (side / patch) + 1);
    let x = g.layer_norm("ln_pre", x, 1e-5);
    let x = blocks(&mut g, x, Blocks { count: layers, heads, act: Act::QuickGelu, mask: Mask::Full, post: false });
    g.output("rows", x);
    let x = g.pick(x, Pick::First, None);
    let x = g.layer_norm("ln_post", x, 1e-5);
    let x = g.linear_no_bias("proj", x, out);
    let x = g.l2_normalize(x);
    g.output("embedding", x);
    g.finish().unwrap()
}

/// What makes an embedding of a BERT's first row.
#[derive(Clone, Copy, Debug)]
pub enum Head {
    /// AltCLIP's: a norm and a dense layer of all rows, projected; with the second output of m18, whose norm is the first's.
    AltClip,
    /// Taiyi's of 2022: a dense layer with tanh, and another.
    Classifier,
    /// A dense layer with tanh.
    Pooled,
    /// Chinese-CLIP's: a dense layer without bias.
    Project,
}

/// A text tower as RoBERTa has it, with the outputs of AltCLIP: of the first row, and of all.
pub fn roberta(vocab: usize, width: usize, layers: usize, heads: usize) -> Graph {
    bert(vocab, width, layers, heads, Head::Pooled)
}

/// A text tower as BERT has it.
pub fn bert(vocab: usize, width: usize, layers: usize, heads: usize, head: Head) -> Graph {
    let mut g = Builder::default();
    let ids = g.input(Kind::Ids);
    let x = g.embed(ids, EmbedSizes { vocab, positions: 514, first_position: 2, types: 1, width });
    let x = g.layer_norm("ln", x, 1e-5);
    let x = blocks(&mut g, x, Blocks { count: layers, heads, act: Act::Gelu, mask: Mask::Full, post: true });
    g.output("rows", x);
    let pooler = |g: &mut Builder, x: Value| {
        let x = g.pick(x, Pick::First, None);
        let x = g.linear("pooler", x, width);
        g.act(x, Act::Tanh)
    };
    let embedding = match head {
        Head::AltClip => {
            let normed = g.layer_norm("ln_final", x, 1e-5);
            let rows = g.linear("transform", normed, width / 2);
            let again = g.again("transform_again", rows, x);
            g.output("last_hidden_state", rows);
            g.output("projection_state", again);
            let x = g.pick(rows, Pick::First, None);
            g.linear_no_bias("proj", x, width / 4)
        }
        Head::Classifier => {
            let x = pooler(&mut g, x);
            g.linear("classifier", x, width / 2)
        }
        Head::Pooled => pooler(&mut g, x),
        Head::Project => {
            let x = g.pick(x, Pick::First, None);
            g.linear_no_bias("proj", x, width / 2)
        }
    };
    g.output("embedding", embedding);
    g.finish().unwrap()
}

/// CLIP's text tower: causal, the row with the highest id.
pub fn clip_text(vocab: usize, width: usize, layers: usize, heads: usize) -> Graph {
    let mut g = Builder::default();
    let ids = g.input(Kind::Ids);
    let x = g.embed(ids, EmbedSizes { vocab, positions: 77, first_position: 0, types: 0, width });
    let x = blocks(&mut g, x, Blocks { count: layers, heads, act: Act::GeluTanh, mask: Mask::Causal, post: false });
    let x = g.layer_norm("ln_final", x, 1e-5);
    g.output("rows", x);
    let x = g.pick(x, Pick::HighestId, Some(ids));
    let x = g.linear_no_bias("proj", x, width / 2);
    g.output("embedding", x);
    g.finish().unwrap()
}

/// CLIP's ResNet in small: a stem of windows, two bottlenecks of which one halves the image, attention pooling.
pub fn resnet(side: usize, width: usize, heads: usize) -> Graph {
    let mut g = Builder::default();
    let conv = |g: &mut Builder, name: &str, x, out, size, stride| {
        let x = g.conv(name, x, ConvSizes { out, size, stride, pad: size / 2, bias: false });
        g.batch_norm(&format!("{name}_bn"), x, 1e-5)
    };
    let x = g.input(Kind::Image { channels: 3, height: side, width: side });
    let x = conv(&mut g, "stem1", x, width, 3, 2);
    let x = g.act(x, Act::Relu);
    let x = conv(&mut g, "stem2", x, width, 3, 1);
    let x = g.act(x, Act::Relu);
    let mut x = g.avg_pool(x, 2);
    for (i, stride) in [1, 2].into_iter().enumerate() {
        x = g.scope(format_args!("layer.{i}"), |g| {
            let y = conv(g, "conv1", x, width, 1, 1);
            let y = g.act(y, Act::Relu);
            let y = conv(g, "conv2", y, width, 3, 1);
            let mut y = g.act(y, Act::Relu);
            let mut down = x;
            if stride == 2 {
                y = g.avg_pool(y, 2);
                down = g.avg_pool(down, 2);
            }
            let y = conv(g, "conv3", y, 2 * width, 1, 1);
            let down = conv(g, "down", down, 2 * width, 1, 1);
            let x = g.add(y, down);
            g.act(x, Act::Relu)
        });
    }
    let Kind::Image { height, width: w, .. } = g.kind(x) else { unreachable!("an image") };
    let x = g.flatten(x);
    let x = g.prepend_mean(x);
    let x = g.add_positions("positions", x, height * w + 1);
    let (q, k, v) = (g.linear("q", x, 2 * width), g.linear("k", x, 2 * width), g.linear("v", x, 2 * width));
    let x = g.attention(q, k, v, heads, Mask::Full);
    let x = g.pick(x, Pick::First, None);
    let x = g.linear("proj", x, width);
    g.output("embedding", x);
    g.finish().unwrap()
}
