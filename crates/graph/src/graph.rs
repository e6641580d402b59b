//! A tower without its numbers: nodes in the order they run, parameters, named outputs; printed and counted.
use std::fmt;

use crate::op::{Kind, Op, Param, Value};

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The scopes it was built in and its own name, joined by dots.
    pub name: String,
    /// What it does.
    pub op: Op,
    /// What it works on: nodes before it.
    pub inputs: Vec<Value>,
    /// What it gives.
    pub kind: Kind,
}

/// A parameter's name and shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamSpec {
    /// hua's own name; a family knows what its files call it.
    pub name: String,
    /// Slowest dimension first.
    pub shape: Vec<usize>,
    /// Whether training changes it: batch-norm statistics are not trained, and not counted as parameters.
    pub trained: bool,
}

/// A named value that the graph gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its name; towers call their main one `embedding`.
    pub name: String,
    /// Which value it is.
    pub value: Value,
}

/// What a tower computes. Made by a [`Builder`](crate::Builder), so that every shape in it fits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) params: Vec<ParamSpec>,
    pub(crate) outputs: Vec<Output>,
}

impl Graph {
    /// All steps, each after those it works on.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// All parameters, in the order the steps use them.
    pub fn params(&self) -> &[ParamSpec] {
        &self.params
    }

    /// The named outputs.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// The step that makes a value.
    pub fn node(&self, value: Value) -> &Node {
        &self.nodes[value.index()]
    }

    /// The name and shape of a parameter.
    pub fn param(&self, param: Param) -> &ParamSpec {
        &self.params[param.index()]
    }

    /// The output of that name.
    pub fn output(&self, name: &str) -> Option<Value> {
        self.outputs.iter().find(|o| o.name == name).map(|o| o.value)
    }

    /// What stands for a value in use: itself, or what the steps for training that made it were given.
    pub fn in_use(&self, mut value: Value) -> Value {
        while self.node(value).op.is_for_training() {
            value = self.node(value).inputs[0];
        }
        value
    }

    /// The value of the node of that name.
    pub fn find(&self, name: &str) -> Option<Value> {
        self.nodes.iter().position(|n| n.name == name).map(|i| Value(i as u32))
    }

    /// Makes the value of the node of that name an output too, under the node's name, for layer taps; whether there is such a node.
    pub fn expose(&mut self, name: &str) -> bool {
        let value = self.find(name);
        if let Some(value) = value
            && self.output(name).is_none()
        {
            self.outputs.push(Output { name: name.to_owned(), value });
        }
        value.is_some()
    }

    /// The values that `outputs` need, `true` at their node's place.
    pub fn needed(&self, outputs: &[Value]) -> Vec<bool> {
        let mut needed = vec![false; self.nodes.len()];
        for value in outputs {
            needed[value.index()] = true;
        }
        for i in (0..self.nodes.len()).rev() {
            if needed[i] {
                for input in &self.nodes[i].inputs {
                    needed[input.index()] = true;
                }
            }
        }
        needed
    }

    /// Number of trained scalars.
    pub fn parameter_count(&self) -> u64 {
        self.params.iter().filter(|p| p.trained).map(|p| p.shape.iter().product::<usize>() as u64).sum()
    }

    /// Floating-point operations of the matrix products that `output` needs of one item, two for each multiply and add, every row of every
    /// layer, in use; a text has `tokens` tokens. 0 if there is no such output.
    pub fn flops(&self, output: &str, tokens: usize) -> u64 {
        let Some(output) = self.output(output) else { return 0 };
        let needed = self.needed(&[output]);
        let lengths = self.lengths(tokens);
        let mut total = 0u64;
        for ((node, &length), _) in self.nodes.iter().zip(&lengths).zip(&needed).filter(|(_, needed)| **needed) {
            let length = length as u64;
            let shape = |p: Param| self.param(p).shape.iter().map(|&n| n as u64).product::<u64>();
            total += match (&node.op, node.kind) {
                (Op::Linear { weight, .. }, _) => 2 * length * shape(*weight),
                (Op::Conv { weight, .. }, Kind::Image { height, width, .. }) => 2 * (height * width) as u64 * shape(*weight),
                (Op::Attention { .. }, Kind::Seq { width }) => 4 * length * length * width as u64,
                _ => 0,
            };
        }
        total
    }

    /// Rows of each node's value for one item; 1 for a vector, 0 for an image.
    fn lengths(&self, tokens: usize) -> Vec<usize> {
        let mut lengths: Vec<usize> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let first = node.inputs.first();
            let of_first = first.map_or(0, |v| lengths[v.index()]);
            lengths.push(match (&node.op, node.kind) {
                (_, Kind::Vector { .. }) => 1,
                (_, Kind::Image { .. }) => 0,
                (Op::Flatten, _) => match first.map(|&v| self.node(v).kind) {
                    Some(Kind::Image { height, width, .. }) => height * width,
                    _ => 0,
                },
                (Op::Prepend { .. } | Op::PrependMean, _) => of_first + 1,
                (Op::Input, Kind::Ids) => tokens,
                _ => of_first,
            });
        }
        lengths
    }
}

/// A line a step: its value, name, operation, the parameters' shapes and the kind of the result. Blocks that repeat are shown once.
impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blocks = self.blocks();
        let mut at = 0;
        while at < blocks.len() {
            let first = &blocks[at];
            for i in first.nodes.clone() {
                self.line(f, i)?;
            }
            let alike = blocks[at + 1..].iter().take_while(|b| b.of == first.of && b.index.is_some() && self.alike(first, b)).count();
            if let (Some(last), true) = (blocks[at + alike].index, alike > 0) {
                let next = blocks[at + 1].index.unwrap_or(last);
                let which = if alike == 1 { format!("{last}") } else { format!("{next} to {last}") };
                writeln!(f, "      {}.{which}: the same again", first.of)?;
            }
            at += alike + 1;
        }
        for output in &self.outputs {
            writeln!(f, "output {} = %{}", output.name, output.value.index())?;
        }
        Ok(())
    }
}

/// Consecutive nodes of one repeated block, such as `blocks.3`.
struct Block<'a> {
    of: &'a str,
    index: Option<usize>,
    nodes: std::ops::Range<usize>,
}

impl Graph {
    fn line(&self, f: &mut fmt::Formatter<'_>, i: usize) -> fmt::Result {
        let node = &self.nodes[i];
        let inputs: Vec<_> = node.inputs.iter().map(|v| format!("%{}", v.index())).collect();
        let shapes: Vec<_> = node.op.params().iter().map(|&p| format!("{:?}", self.param(p).shape)).collect();
        let call = format!("{}({})", node.op, inputs.join(", "));
        let kind = node.kind.to_string();
        let line = format!("%{i:<4} {:<28} {call:<40} {kind:<20} {}", node.name, shapes.join(" "));
        writeln!(f, "{}", line.trim_end())
    }

    /// The nodes cut where the first number in their names changes.
    fn blocks(&self) -> Vec<Block<'_>> {
        let mut blocks: Vec<Block<'_>> = vec![];
        for (i, node) in self.nodes.iter().enumerate() {
            let (of, index) = block_of(&node.name);
            match blocks.last_mut() {
                Some(last) if last.of == of && last.index == index => last.nodes.end = i + 1,
                _ => blocks.push(Block { of, index, nodes: i..i + 1 }),
            }
        }
        blocks
    }

    /// Whether two blocks do the same: names but for the index, operations, shapes, kinds, and inputs as far back.
    fn alike(&self, a: &Block<'_>, b: &Block<'_>) -> bool {
        let tail = |name: &str, block: &Block<'_>| {
            name.strip_prefix(block.of).and_then(|s| s.trim_start_matches('.').split_once('.')).map(|(_, tail)| tail.to_owned())
        };
        let view = |i: usize, block: &Block<'_>| {
            let node = &self.nodes[i];
            let back: Vec<_> = node.inputs.iter().map(|v| i - v.index()).collect();
            let shapes: Vec<_> = node.op.params().iter().map(|&p| self.param(p).shape.clone()).collect();
            (tail(&node.name, block), node.op.to_string(), back, shapes, node.kind)
        };
        a.nodes.len() == b.nodes.len() && a.nodes.clone().zip(b.nodes.clone()).all(|(i, j)| view(i, a) == view(j, b))
    }
}

/// `blocks.3.mlp.up` is in block 3 of `blocks`.
fn block_of(name: &str) -> (&str, Option<usize>) {
    let mut start = 0;
    for part in name.split('.') {
        if let Ok(index) = part.parse() {
            return (name[..start].trim_end_matches('.'), Some(index));
        }
        start += part.len() + 1;
    }
    ("", None)
}

#[cfg(test)]
mod tests {
    use crate::{Act, Builder, ConvSizes, EmbedSizes, Kind, Mask, Pick};

    fn tower() -> crate::Graph {
        let mut g = Builder::default();
        let ids = g.input(Kind::Ids);
        let mut x = g.embed(ids, EmbedSizes { vocab: 50, positions: 10, first_position: 2, types: 1, width: 8 });
        for i in 0..3 {
            x = g.scope(format_args!("blocks.{i}"), |g| {
                let q = g.linear("q", x, 8);
                let y = g.attention(q, x, x, 2, Mask::Causal);
                let y = g.add(x, y);
                g.act(y, Act::QuickGelu)
            });
        }
        let y = g.pick(x, Pick::HighestId, Some(ids));
        g.output("embedding", y);
        g.output("rows", x);
        g.finish().unwrap()
    }

    #[test]
    fn repeated_blocks_are_printed_once() {
        insta::assert_snapshot!(tower().to_string(), @r"
        %0    input                        input()                                  ids
        %1    embed                        embed[from position 2](%0)               seq[8]               [50, 8] [10, 8] [1, 8]
        %2    blocks.0.q                   linear(%1)                               seq[8]               [8, 8] [8]
        %3    blocks.0.attention           attention[heads 2, causal](%2, %1, %1)   seq[8]
        %4    blocks.0.add                 add(%1, %3)                              seq[8]
        %5    blocks.0.act                 quick_gelu(%4)                           seq[8]
              blocks.1 to 2: the same again
        %14   pick                         pick[highest id](%13, %0)                vector[8]
        output embedding = %14
        output rows = %13
        ");
    }

    #[test]
    fn flops_are_two_a_multiply_and_add() {
        // Three blocks of a dense 8 x 8 and an attention of width 8.
        assert_eq!(tower().flops("rows", 5), 3 * (2 * 5 * 64 + 4 * 25 * 8));
        let mut g = Builder::default();
        let x = g.input(Kind::Image { channels: 3, height: 6, width: 6 });
        let x = g.conv("patch", x, ConvSizes { out: 4, size: 2, stride: 2, pad: 0, bias: true });
        let x = g.flatten(x);
        let x = g.prepend("class", x);
        let x = g.linear("up", x, 5);
        g.output("embedding", x);
        assert_eq!(g.finish().unwrap().flops("embedding", 0), 2 * 9 * 4 * 12 + 2 * 10 * 20);
    }

    #[test]
    fn only_what_an_output_needs_is_needed() {
        let graph = tower();
        let rows = graph.output("rows").unwrap();
        let needed = graph.needed(&[rows]);
        assert!(needed[rows.index()] && !needed[graph.output("embedding").unwrap().index()]);
        assert_eq!(graph.find("blocks.2.act"), Some(rows));
    }
}
