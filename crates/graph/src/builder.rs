//! Writes a [`Graph`] the way a model reads: one call a step, shapes checked as it goes.
//!
//! A step that does not fit is recorded and the building goes on, so that a model's description stays free of error handling;
//! [`Builder::finish`] reports what was wrong. Parameters are created by the steps that use them: their names are the scopes that
//! are open, joined by dots.
use std::collections::HashSet;
use std::fmt;

use crate::graph::{Graph, Node, Output, ParamSpec};
use crate::op::{Act, Kind, Mask, Op, Param, Pick, Value};

/// A step that does not fit what it is given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// Two parameters or two outputs of one name.
    #[error("`{name}` is defined twice")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// The width is not a multiple of the number of heads.
    #[error("`{at}`: width {width} is not a multiple of {heads} heads")]
    Heads {
        /// The step.
        at: String,
        /// The width of queries, keys and values.
        width: usize,
        /// The heads wanted.
        heads: usize,
    },
    /// A value of the wrong kind.
    #[error("`{at}` takes {wanted}, not {found}")]
    Kind {
        /// The step.
        at: String,
        /// What it takes.
        wanted: &'static str,
        /// What it was given.
        found: Kind,
    },
    /// A dense layer that there is not.
    #[error("there is no dense layer `{name}`")]
    NoLayer {
        /// Its name, or the end of it.
        name: String,
    },
    /// A graph that gives nothing.
    #[error("the graph has no output")]
    NoOutput,
    /// A part of a whole that is none.
    #[error("`{at}`: {found} is not {wanted}")]
    Share {
        /// The step.
        at: String,
        /// What was given, printed.
        found: String,
        /// What it takes.
        wanted: &'static str,
    },
    /// A size of zero, or a window larger than what it slides over.
    #[error("`{at}`: a size of 0, or a window that does not fit")]
    Size {
        /// The step.
        at: String,
    },
    /// Two values that must be alike and are not.
    #[error("`{at}` takes values of one kind, not {left} and {right}")]
    Unlike {
        /// The step.
        at: String,
        /// The first.
        left: Kind,
        /// The other.
        right: Kind,
    },
}

/// What [`Builder::embed`] is told about its tables.
#[derive(Clone, Copy, Debug)]
pub struct EmbedSizes {
    /// Rows of the token table.
    pub vocab: usize,
    /// Rows of the position table.
    pub positions: usize,
    /// The position of the first token: 0, or 2 in XLM-R.
    pub first_position: usize,
    /// Rows of the token-type table; 0 for none.
    pub types: usize,
    /// Width of all three.
    pub width: usize,
}

/// What [`Builder::conv`] is told about its windows.
#[derive(Clone, Copy, Debug)]
pub struct ConvSizes {
    /// Channels that come out.
    pub out: usize,
    /// Side of the window, pixels.
    pub size: usize,
    /// Pixels from one window to the next.
    pub stride: usize,
    /// Zeros added on each side, pixels.
    pub pad: usize,
    /// Whether each output channel has an offset.
    pub bias: bool,
}

/// Builds a [`Graph`].
///
/// ```
/// use hua_graph::{Builder, Kind, Pick};
///
/// let mut g = Builder::default();
/// let ids = g.input(Kind::Ids);
/// let x = g.embed(ids, hua_graph::EmbedSizes { vocab: 100, positions: 8, first_position: 0, types: 0, width: 16 });
/// let x = g.layer_norm("ln", x, 1e-5);
/// let x = g.pick(x, Pick::First, None);
/// let x = g.linear_no_bias("proj", x, 4);
/// g.output("embedding", x);
/// let graph = g.finish()?;
/// assert_eq!(graph.parameter_count(), 100 * 16 + 8 * 16 + 2 * 16 + 16 * 4);
/// # Ok::<(), hua_graph::GraphError>(())
/// ```
#[derive(Default)]
pub struct Builder {
    graph: Graph,
    names: HashSet<String>,
    scope: Vec<String>,
    errors: Vec<GraphError>,
}

impl Builder {
    /// The graph, if every step fitted.
    ///
    /// # Errors
    /// The first step that did not: those after it may only follow from it.
    pub fn finish(mut self) -> Result<Graph, GraphError> {
        if self.graph.outputs.is_empty() {
            self.errors.push(GraphError::NoOutput);
        }
        self.errors.into_iter().next().map_or(Ok(self.graph), Err)
    }

    /// Runs `steps` with names that start with `name.`.
    pub fn scope<R>(&mut self, name: impl fmt::Display, steps: impl FnOnce(&mut Self) -> R) -> R {
        self.scope.push(name.to_string());
        let result = steps(self);
        self.scope.pop();
        result
    }

    /// The kind of a value.
    pub fn kind(&self, x: Value) -> Kind {
        self.graph.nodes[x.index()].kind
    }

    /// Numbers of a row of `x`; 0, and an error, if it has no rows.
    pub fn width(&mut self, x: Value) -> usize {
        self.rows("width", x)
    }

    /// What the graph is given.
    pub fn input(&mut self, kind: Kind) -> Value {
        self.push("input", Op::Input, &[], kind)
    }

    /// Names a value that the graph gives.
    pub fn output(&mut self, name: &str, x: Value) {
        if self.graph.outputs.iter().any(|o| o.name == name) {
            self.errors.push(GraphError::Duplicate { name: name.to_owned() });
        }
        self.graph.outputs.push(Output { name: name.to_owned(), value: x });
    }

    /// `x` plus `y`, of the same kind.
    pub fn add(&mut self, x: Value, y: Value) -> Value {
        self.alike("add", x, y);
        self.push("add", Op::Add, &[x, y], self.kind(x))
    }

    /// An activation of each number.
    pub fn act(&mut self, x: Value, act: Act) -> Value {
        self.push("act", Op::Act(act), &[x], self.kind(x))
    }

    /// Learned positions: parameter `name` is `[positions, width]`.
    pub fn add_positions(&mut self, name: &str, x: Value, positions: usize) -> Value {
        let width = self.sequence(name, x);
        let table = self.param(name, &[positions, width]);
        self.push(name, Op::AddPositions { table }, &[x], Kind::Seq { width })
    }

    /// Attention of queries, keys and values, all `[length, width]`.
    pub fn attention(&mut self, q: Value, k: Value, v: Value, heads: usize, mask: Mask) -> Value {
        let width = self.sequence("attention", q);
        self.alike("attention", q, k);
        self.alike("attention", q, v);
        if heads == 0 || !width.is_multiple_of(heads) {
            let at = self.path("attention");
            self.errors.push(GraphError::Heads { at, width, heads });
        }
        self.push("attention", Op::Attention { heads, mask }, &[q, k, v], Kind::Seq { width })
    }

    /// What made `like`, a step of one input, done to another value of the same kind with the same parameters.
    pub fn again(&mut self, name: &str, like: Value, x: Value) -> Value {
        let Node { op, inputs, kind, .. } = self.graph.nodes[like.index()].clone();
        match inputs[..] {
            [input] => {
                self.alike(name, input, x);
                self.push(name, op, &[x], kind)
            }
            _ => {
                self.kind_error(name, "a step of one input", like);
                like
            }
        }
    }

    /// The mean of each `size × size` square of pixels.
    pub fn avg_pool(&mut self, x: Value, size: usize) -> Value {
        let (channels, height, width) = self.image("avg_pool", x);
        if size == 0 || height < size || width < size {
            self.size_error("avg_pool");
            return x;
        }
        self.push("avg_pool", Op::AvgPool { size }, &[x], Kind::Image { channels, height: height / size, width: width / size })
    }

    /// Batch norm with recorded statistics; parameters as PyTorch names them.
    pub fn batch_norm(&mut self, name: &str, x: Value, eps: f32) -> Value {
        let (channels, ..) = self.image(name, x);
        let kind = self.kind(x);
        let op = self.scope(name, |g| Op::BatchNorm {
            weight: g.param("weight", &[channels]),
            bias: g.param("bias", &[channels]),
            mean: g.statistic("running_mean", &[channels]),
            var: g.statistic("running_var", &[channels]),
            eps,
        });
        self.push(name, op, &[x], kind)
    }

    /// A convolution over an image.
    pub fn conv(&mut self, name: &str, x: Value, sizes: ConvSizes) -> Value {
        let ConvSizes { out, size, stride, pad, bias } = sizes;
        let (channels, height, width) = self.image(name, x);
        let side = |n: usize| (n + 2 * pad).checked_sub(size).filter(|_| stride > 0 && size > 0).map(|room| room / stride + 1);
        let (Some(height), Some(width)) = (side(height), side(width)) else {
            self.size_error(name);
            return x;
        };
        let op = self.scope(name, |g| Op::Conv {
            weight: g.param("weight", &[out, channels, size, size]),
            bias: bias.then(|| g.param("bias", &[out])),
            stride,
            pad,
        });
        self.push(name, op, &[x], Kind::Image { channels: out, height, width })
    }

    /// In training, numbers become 0 with probability `rate`.
    pub fn dropout(&mut self, x: Value, rate: f32) -> Value {
        if !(0.0..1.0).contains(&rate) {
            self.share_error("dropout", rate, "at least 0 and less than 1");
        }
        self.push("dropout", Op::Dropout { rate }, &[x], self.kind(x))
    }

    /// In training, only some rows of a sequence stay: the first and `keep` of the others.
    pub fn drop_tokens(&mut self, x: Value, keep: f32) -> Value {
        let width = self.sequence("drop_tokens", x);
        if !(keep > 0.0 && keep <= 1.0) {
            self.share_error("drop_tokens", keep, "more than 0 and at most 1");
        }
        self.push("drop_tokens", Op::DropTokens { keep }, &[x], Kind::Seq { width })
    }

    /// Ids to rows: parameters `tokens.weight`, `positions.weight` and, if there are types, `types.weight`.
    pub fn embed(&mut self, ids: Value, sizes: EmbedSizes) -> Value {
        if self.kind(ids) != Kind::Ids {
            self.kind_error("embed", "ids", ids);
        }
        let width = sizes.width;
        let op = Op::Embed {
            tokens: self.param("tokens.weight", &[sizes.vocab, width]),
            positions: self.param("positions.weight", &[sizes.positions, width]),
            first_position: sizes.first_position,
            types: (sizes.types > 0).then(|| self.param("types.weight", &[sizes.types, width])),
        };
        self.push("embed", op, &[ids], Kind::Seq { width })
    }

    /// An image's pixels as rows.
    pub fn flatten(&mut self, x: Value) -> Value {
        let (channels, ..) = self.image("flatten", x);
        self.push("flatten", Op::Flatten, &[x], Kind::Seq { width: channels })
    }

    /// Each row divided by its length.
    pub fn l2_normalize(&mut self, x: Value) -> Value {
        self.rows("l2_normalize", x);
        self.push("l2_normalize", Op::L2Normalize, &[x], self.kind(x))
    }

    /// Layer norm of each row.
    pub fn layer_norm(&mut self, name: &str, x: Value, eps: f32) -> Value {
        let width = self.rows(name, x);
        let kind = self.kind(x);
        let op = self.scope(name, |g| Op::LayerNorm { weight: g.param("weight", &[width]), bias: g.param("bias", &[width]), eps });
        self.push(name, op, &[x], kind)
    }

    /// A dense layer with bias: parameters `name.weight` `[out, in]` and `name.bias` `[out]`.
    pub fn linear(&mut self, name: &str, x: Value, out: usize) -> Value {
        self.dense(name, x, out, true)
    }

    /// A dense layer without bias.
    pub fn linear_no_bias(&mut self, name: &str, x: Value, out: usize) -> Value {
        self.dense(name, x, out, false)
    }

    fn dense(&mut self, name: &str, x: Value, out: usize, bias: bool) -> Value {
        let width = self.rows(name, x);
        let kind = match self.kind(x) {
            Kind::Seq { .. } => Kind::Seq { width: out },
            _ => Kind::Vector { width: out },
        };
        let op = self.scope(name, |g| Op::Linear { weight: g.param("weight", &[out, width]), bias: bias.then(|| g.param("bias", &[out])) });
        self.push(name, op, &[x], kind)
    }

    /// One row for a whole sequence; picks by id take the ids as well.
    pub fn pick(&mut self, x: Value, pick: Pick, ids: Option<Value>) -> Value {
        let width = self.sequence("pick", x);
        let by_id = matches!(pick, Pick::FirstId(_) | Pick::HighestId);
        match ids {
            Some(ids) if self.kind(ids) != Kind::Ids => self.kind_error("pick", "ids", ids),
            None if by_id => self.kind_error("pick", "ids as well", x),
            _ => {}
        }
        let inputs: Vec<Value> = std::iter::once(x).chain(ids.filter(|_| by_id)).collect();
        self.push("pick", Op::Pick(pick), &inputs, Kind::Vector { width })
    }

    /// Parameter `name` `[width]` as a new first row.
    pub fn prepend(&mut self, name: &str, x: Value) -> Value {
        let width = self.sequence(name, x);
        let token = self.param(name, &[width]);
        self.push(name, Op::Prepend { token }, &[x], Kind::Seq { width })
    }

    /// The mean of all rows as a new first row.
    pub fn prepend_mean(&mut self, x: Value) -> Value {
        let width = self.sequence("prepend_mean", x);
        self.push("prepend_mean", Op::PrependMean, &[x], Kind::Seq { width })
    }

    fn param(&mut self, name: &str, shape: &[usize]) -> Param {
        self.add_param(name, shape, true)
    }

    fn statistic(&mut self, name: &str, shape: &[usize]) -> Param {
        self.add_param(name, shape, false)
    }

    fn add_param(&mut self, name: &str, shape: &[usize], trained: bool) -> Param {
        let name = self.path(name);
        if !self.names.insert(name.clone()) {
            self.errors.push(GraphError::Duplicate { name: name.clone() });
        }
        if shape.contains(&0) {
            self.errors.push(GraphError::Size { at: name.clone() });
        }
        self.graph.params.push(ParamSpec { name, shape: shape.to_vec(), trained });
        Param(self.graph.params.len() as u32 - 1)
    }

    fn push(&mut self, name: &str, op: Op, inputs: &[Value], kind: Kind) -> Value {
        let name = self.path(name);
        self.graph.nodes.push(Node { name, op, inputs: inputs.to_vec(), kind });
        Value(self.graph.nodes.len() as u32 - 1)
    }

    fn path(&self, name: &str) -> String {
        self.scope.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join(".")
    }

    fn rows(&mut self, name: &str, x: Value) -> usize {
        match self.kind(x) {
            Kind::Seq { width } | Kind::Vector { width } => width,
            _ => {
                self.kind_error(name, "rows", x);
                0
            }
        }
    }

    fn sequence(&mut self, name: &str, x: Value) -> usize {
        match self.kind(x) {
            Kind::Seq { width } => width,
            _ => {
                self.kind_error(name, "a sequence", x);
                0
            }
        }
    }

    fn image(&mut self, name: &str, x: Value) -> (usize, usize, usize) {
        match self.kind(x) {
            Kind::Image { channels, height, width } => (channels, height, width),
            _ => {
                self.kind_error(name, "an image", x);
                (0, 0, 0)
            }
        }
    }

    fn alike(&mut self, name: &str, x: Value, y: Value) {
        let (left, right) = (self.kind(x), self.kind(y));
        if left != right {
            let at = self.path(name);
            self.errors.push(GraphError::Unlike { at, left, right });
        }
    }

    fn kind_error(&mut self, name: &str, wanted: &'static str, x: Value) {
        let (at, found) = (self.path(name), self.kind(x));
        self.errors.push(GraphError::Kind { at, wanted, found });
    }

    fn share_error(&mut self, name: &str, found: f32, wanted: &'static str) {
        let (at, found) = (self.path(name), found.to_string());
        self.errors.push(GraphError::Share { at, found, wanted });
    }

    fn size_error(&mut self, name: &str) {
        let at = self.path(name);
        self.errors.push(GraphError::Size { at });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_misfit_is_reported_with_its_place() {
        let mut g = Builder::default();
        let ids = g.input(Kind::Ids);
        let x = g.scope("tower", |g| g.linear("up", ids, 4));
        g.output("embedding", x);
        let error = g.finish().unwrap_err();
        assert_eq!(error.to_string(), "`tower.up` takes rows, not ids");
    }

    #[test]
    fn a_step_done_again_shares_its_parameters() {
        let mut g = Builder::default();
        let x = g.input(Kind::Image { channels: 3, height: 4, width: 4 });
        let x = g.flatten(x);
        let y = g.linear("up", x, 5);
        let z = g.act(x, Act::Relu);
        let z = g.again("up_again", y, z);
        g.output("y", y);
        g.output("z", z);
        let graph = g.finish().unwrap();
        assert_eq!(graph.parameter_count(), 3 * 5 + 5);
        assert_eq!((&graph.node(z).op, graph.node(z).kind), (&graph.node(y).op, Kind::Seq { width: 5 }));

        let mut g = Builder::default();
        let x = g.input(Kind::Image { channels: 3, height: 4, width: 4 });
        let x = g.flatten(x);
        let y = g.linear("up", x, 5);
        g.again("up_again", y, y);
        let [left, right] = [3, 5].map(|width| Kind::Seq { width });
        assert_eq!(g.finish().unwrap_err(), GraphError::Unlike { at: "up_again".into(), left, right });
    }

    #[test]
    fn heads_sizes_names_and_outputs_are_checked() {
        let rows = |g: &mut Builder| {
            let x = g.input(Kind::Image { channels: 3, height: 4, width: 4 });
            g.flatten(x)
        };
        let mut g = Builder::default();
        let x = rows(&mut g);
        g.attention(x, x, x, 2, Mask::Full);
        assert_eq!(g.finish().unwrap_err(), GraphError::Heads { at: "attention".into(), width: 3, heads: 2 });

        let mut g = Builder::default();
        let x = g.input(Kind::Image { channels: 3, height: 4, width: 4 });
        g.conv("patch", x, ConvSizes { out: 8, size: 5, stride: 5, pad: 0, bias: false });
        assert_eq!(g.finish().unwrap_err(), GraphError::Size { at: "patch".into() });

        let mut g = Builder::default();
        let x = rows(&mut g);
        let x = g.linear("a", x, 3);
        g.linear("a", x, 3);
        assert_eq!(g.finish().unwrap_err(), GraphError::Duplicate { name: "a.weight".into() });

        let mut g = Builder::default();
        rows(&mut g);
        assert_eq!(g.finish().unwrap_err(), GraphError::NoOutput);

        for (rate, keep, wanted) in [
            (1.0, 1.0, "`dropout`: 1 is not at least 0 and less than 1"),
            (f32::NAN, 1.0, "`dropout`: NaN is not at least 0 and less than 1"),
            (0.0, 0.0, "`drop_tokens`: 0 is not more than 0 and at most 1"),
        ] {
            let mut g = Builder::default();
            let x = rows(&mut g);
            let x = g.dropout(x, rate);
            let x = g.drop_tokens(x, keep);
            g.output("rows", x);
            assert_eq!(g.finish().unwrap_err().to_string(), wanted);
        }
    }
}
