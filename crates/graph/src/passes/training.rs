//! Dropout and token dropping, put where the papers of the towers put them.
//!
//! - Dropout as in BERT (Devlin et al., 2018, `modeling.py`: `hidden_dropout_prob`): of a text's embeddings, after their norm if one follows, and of
//!   each branch of a block before it is added to what went around it. Weights of attention are not dropped. An image tower has the branches
//!   alone; a ResNet has none, as upstream.
//! - Tokens of pictures as in FLIP (Li et al., arXiv 2212.00794): after class token and positions were added, before all that costs.
use super::Rewrite;
use crate::builder::GraphError;
use crate::graph::{Graph, Node};
use crate::op::{Kind, Op, Value};

/// What makes training harder than use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Regularisation {
    /// The rate of dropout: at least 0, for none, and less than 1.
    pub dropout: f32,
    /// How many of a picture's tokens stay, the class token aside: more than 0, at most 1, for all.
    pub keep_tokens: f32,
}

/// Nothing dropped.
impl Default for Regularisation {
    fn default() -> Self {
        Self { dropout: 0.0, keep_tokens: 1.0 }
    }
}

/// The graph with steps for training, which do nothing in use: parameters, their order and what comes out in use are the same.
///
/// # Errors
/// [`GraphError::Share`] for a rate or a share that is none.
///
/// ```
/// use hua_graph::{Builder, Kind, Op, Regularisation, for_training};
///
/// let mut g = Builder::default();
/// let x = g.input(Kind::Image { channels: 3, height: 4, width: 4 });
/// let x = g.flatten(x);
/// let x = g.prepend("class", x);
/// let x = g.add_positions("positions", x, 17);
/// g.output("rows", x);
/// let graph = g.finish()?;
/// let training = for_training(&graph, &Regularisation { dropout: 0.0, keep_tokens: 0.5 })?;
/// assert_eq!(training.nodes().last().map(|n| &n.op), Some(&Op::DropTokens { keep: 0.5 }));
/// assert_eq!(training.params(), graph.params());
/// # Ok::<(), hua_graph::GraphError>(())
/// ```
pub fn for_training(graph: &Graph, regularisation: &Regularisation) -> Result<Graph, GraphError> {
    let &Regularisation { dropout, keep_tokens } = regularisation;
    let share = |at: &str, found: f32, wanted| Err(GraphError::Share { at: at.into(), found: found.to_string(), wanted });
    if !(0.0..1.0).contains(&dropout) {
        return share("dropout", dropout, "at least 0 and less than 1");
    }
    if !(keep_tokens > 0.0 && keep_tokens <= 1.0) {
        return share("keep_tokens", keep_tokens, "more than 0 and at most 1");
    }
    let dropped = if dropout > 0.0 { dropped(graph) } else { vec![false; graph.nodes.len()] };
    let mut copy = Rewrite::of(graph);
    for (node, dropped) in graph.nodes.iter().zip(dropped) {
        let own = copy.push(copy.take(node));
        let added = if dropped {
            Some((Op::Dropout { rate: dropout }, "dropout"))
        } else if keep_tokens < 1.0 && is_patches(graph, node) {
            Some((Op::DropTokens { keep: keep_tokens }, "drop_tokens"))
        } else {
            None
        };
        let place = added.map_or(own, |(op, name)| {
            let name = format!("{}.{name}", node.name);
            copy.push(Node { name, op, inputs: vec![own], kind: node.kind })
        });
        copy.place(place, own);
    }
    Ok(copy.finish(graph))
}

/// Class token and patches with their positions, not the pooled pixels of a ResNet.
fn is_patches(graph: &Graph, node: &Node) -> bool {
    matches!(node.op, Op::AddPositions { .. }) && matches!(graph.node(node.inputs[0]).op, Op::Prepend { .. })
}

/// The values that dropout is for.
fn dropped(graph: &Graph) -> Vec<bool> {
    let mut dropped = vec![false; graph.nodes.len()];
    let users = |i: usize| graph.nodes.iter().enumerate().filter(move |(_, n)| n.inputs.iter().any(|v| v.index() == i));
    for (i, node) in graph.nodes.iter().enumerate() {
        match node.op {
            Op::Embed { .. } => {
                let mut users = users(i);
                let at = match (users.next(), users.next()) {
                    (Some((norm, Node { op: Op::LayerNorm { .. }, .. })), None) => norm,
                    _ => i,
                };
                dropped[at] = true;
            }
            Op::Add if matches!(node.kind, Kind::Seq { .. }) => {
                let [a, b] = [node.inputs[0], node.inputs[1]];
                if let Some(branch) = [(a, b), (b, a)].into_iter().find_map(|(around, branch)| is_branch(graph, around, branch)) {
                    dropped[branch.index()] = true;
                }
            }
            _ => {}
        }
    }
    dropped
}

/// `branch`, if it is made of `around`.
fn is_branch(graph: &Graph, around: Value, branch: Value) -> Option<Value> {
    (around != branch && graph.needed(&[branch])[around.index()]).then_some(branch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Act, Builder, ConvSizes, EmbedSizes, Mask, Pick};

    fn bert() -> Graph {
        let mut g = Builder::default();
        let ids = g.input(Kind::Ids);
        let x = g.embed(ids, EmbedSizes { vocab: 50, positions: 10, first_position: 0, types: 1, width: 8 });
        let mut x = g.layer_norm("norm", x, 1e-12);
        for i in 0..2 {
            x = g.scope(format_args!("blocks.{i}"), |g| {
                let q = g.linear("q", x, 8);
                let y = g.attention(q, x, x, 2, Mask::Full);
                let y = g.linear("out", y, 8);
                let y = g.add(x, y);
                let x = g.layer_norm("norm", y, 1e-12);
                let y = g.linear("up", x, 16);
                let y = g.act(y, Act::Gelu);
                let y = g.linear("down", y, 8);
                let y = g.scope("mlp", |g| g.add(y, x));
                g.layer_norm("mlp_norm", y, 1e-12)
            });
        }
        g.output("rows", x);
        let x = g.pick(x, Pick::First, None);
        g.output("embedding", x);
        g.finish().unwrap()
    }

    fn vit() -> Graph {
        let mut g = Builder::default();
        let x = g.input(Kind::Image { channels: 3, height: 8, width: 8 });
        let x = g.conv("patch", x, ConvSizes { out: 4, size: 2, stride: 2, pad: 0, bias: false });
        let x = g.flatten(x);
        let x = g.prepend("class", x);
        let x = g.add_positions("positions", x, 17);
        let x = g.layer_norm("norm", x, 1e-5);
        let y = g.linear("out", x, 4);
        let x = g.add(x, y);
        let x = g.pick(x, Pick::First, None);
        g.output("embedding", x);
        g.finish().unwrap()
    }

    #[test]
    fn a_text_tower_drops_embeddings_and_branches() {
        let training = for_training(&bert(), &Regularisation { dropout: 0.1, keep_tokens: 0.5 }).unwrap();
        insta::assert_snapshot!(training.to_string(), @r"
        %0    input                        input()                                  ids
        %1    embed                        embed(%0)                                seq[8]               [50, 8] [10, 8] [1, 8]
        %2    norm                         layer_norm[eps 1e-12](%1)                seq[8]               [8] [8]
        %3    norm.dropout                 dropout[0.1](%2)                         seq[8]
        %4    blocks.0.q                   linear(%3)                               seq[8]               [8, 8] [8]
        %5    blocks.0.attention           attention[heads 2](%4, %3, %3)           seq[8]
        %6    blocks.0.out                 linear(%5)                               seq[8]               [8, 8] [8]
        %7    blocks.0.out.dropout         dropout[0.1](%6)                         seq[8]
        %8    blocks.0.add                 add(%3, %7)                              seq[8]
        %9    blocks.0.norm                layer_norm[eps 1e-12](%8)                seq[8]               [8] [8]
        %10   blocks.0.up                  linear(%9)                               seq[16]              [16, 8] [16]
        %11   blocks.0.act                 gelu(%10)                                seq[16]
        %12   blocks.0.down                linear(%11)                              seq[8]               [8, 16] [8]
        %13   blocks.0.down.dropout        dropout[0.1](%12)                        seq[8]
        %14   blocks.0.mlp.add             add(%13, %9)                             seq[8]
        %15   blocks.0.mlp_norm            layer_norm[eps 1e-12](%14)               seq[8]               [8] [8]
              blocks.1: the same again
        %28   pick                         pick[first](%27)                         vector[8]
        output rows = %27
        output embedding = %28
        ");
    }

    #[test]
    fn an_image_tower_drops_tokens_and_branches() {
        let training = for_training(&vit(), &Regularisation { dropout: 0.25, keep_tokens: 0.5 }).unwrap();
        insta::assert_snapshot!(training.to_string(), @r"
        %0    input                        input()                                  image[3,8,8]
        %1    patch                        conv[stride 2, pad 0](%0)                image[4,4,4]         [4, 3, 2, 2]
        %2    flatten                      flatten(%1)                              seq[4]
        %3    class                        prepend(%2)                              seq[4]               [4]
        %4    positions                    add_positions(%3)                        seq[4]               [17, 4]
        %5    positions.drop_tokens        drop_tokens[keep 0.5](%4)                seq[4]
        %6    norm                         layer_norm[eps 1e-5](%5)                 seq[4]               [4] [4]
        %7    out                          linear(%6)                               seq[4]               [4, 4] [4]
        %8    out.dropout                  dropout[0.25](%7)                        seq[4]
        %9    add                          add(%6, %8)                              seq[4]
        %10   pick                         pick[first](%9)                          vector[4]
        output embedding = %10
        ");
    }

    #[test]
    fn a_norm_that_does_not_follow_alone_is_a_blocks_own() {
        let mut g = Builder::default();
        let ids = g.input(Kind::Ids);
        let x = g.embed(ids, EmbedSizes { vocab: 50, positions: 10, first_position: 0, types: 0, width: 8 });
        let y = g.layer_norm("norm", x, 1e-5);
        let y = g.linear("out", y, 8);
        let x = g.add(x, y);
        g.output("rows", x);
        let training = for_training(&g.finish().unwrap(), &Regularisation { dropout: 0.1, ..Regularisation::default() }).unwrap();
        insta::assert_snapshot!(training.to_string(), @r"
        %0    input                        input()                                  ids
        %1    embed                        embed(%0)                                seq[8]               [50, 8] [10, 8]
        %2    embed.dropout                dropout[0.1](%1)                         seq[8]
        %3    norm                         layer_norm[eps 1e-5](%2)                 seq[8]               [8] [8]
        %4    out                          linear(%3)                               seq[8]               [8, 8] [8]
        %5    out.dropout                  dropout[0.1](%4)                         seq[8]
        %6    add                          add(%2, %5)                              seq[8]
        output rows = %6
        ");
    }

    #[test]
    fn pooled_pixels_are_not_dropped_and_nothing_is_done_for_nothing() {
        let mut g = Builder::default();
        let x = g.input(Kind::Image { channels: 3, height: 4, width: 4 });
        let y = g.conv("same", x, ConvSizes { out: 3, size: 1, stride: 1, pad: 0, bias: false });
        let x = g.add(x, y);
        let x = g.flatten(x);
        let x = g.prepend_mean(x);
        let x = g.add_positions("positions", x, 17);
        g.output("rows", x);
        let resnet = g.finish().unwrap();
        let all = Regularisation { dropout: 0.1, keep_tokens: 0.5 };
        assert_eq!(for_training(&resnet, &all).unwrap(), resnet);
        for graph in [bert(), vit()] {
            assert_eq!(for_training(&graph, &Regularisation::default()).unwrap(), graph);
        }
    }

    #[test]
    fn rates_that_are_none_are_refused() {
        let error = |dropout, keep_tokens| for_training(&vit(), &Regularisation { dropout, keep_tokens }).unwrap_err().to_string();
        assert_eq!(error(1.0, 1.0), "`dropout`: 1 is not at least 0 and less than 1");
        assert_eq!(error(0.0, f32::NAN), "`keep_tokens`: NaN is not more than 0 and at most 1");
    }

    #[test]
    fn what_is_used_is_what_was_there() {
        for graph in [bert(), vit()] {
            let training = for_training(&graph, &Regularisation { dropout: 0.1, keep_tokens: 0.5 }).unwrap();
            assert_eq!(training.params(), graph.params());
            assert_eq!(training.flops("embedding", 7), graph.flops("embedding", 7));
            for output in graph.outputs() {
                let found = training.node(training.output(&output.name).unwrap());
                assert_eq!(found.name, graph.node(output.value).name);
            }
            let in_use: Vec<_> = training.nodes().iter().filter(|n| !n.op.is_for_training()).map(|n| (&n.name, &n.op)).collect();
            assert_eq!(in_use, graph.nodes().iter().map(|n| (&n.name, &n.op)).collect::<Vec<_>>());
        }
    }
}
