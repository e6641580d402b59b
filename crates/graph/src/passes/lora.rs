//! Low-rank adapters: `y = W x + b + B (A x)` with a small `A` and `B` that are trained while `W` is not (LoRA, Hu et al., arXiv 2106.09685).
//!
//! Written with dense layers and sums that every executor has. The paper's factor `alpha / rank` is part of `A` from the beginning, so that the
//! graph needs no scale. What a layer was called is now its sum, so that names of values mean what they meant; the layer itself is its
//! `base`. With `W + B A` in place of `W`, the old graph gives what the new one gives.
use std::collections::{BTreeMap, BTreeSet};

use super::Rewrite;
use crate::builder::GraphError;
use crate::graph::{Graph, Node, ParamSpec};
use crate::op::{Kind, Op, Param};

/// The parameters of one adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoraPair {
    /// What is adapted, `[out, in]`.
    pub weight: Param,
    /// `[rank, in]`.
    pub a: Param,
    /// `[out, rank]`.
    pub b: Param,
}

/// The graph with adapters beside the dense layers that `targets` name, and where their parameters are. A target is a layer's whole name or
/// the end of it, from a dot on: `q` is the queries of every block, `blocks.3.q` those of one. Parameters keep their places; those of adapters
/// come at the end, named `LAYER.lora_a.weight` and `LAYER.lora_b.weight`. Layers that share a weight share its adapter,
/// even if one of them alone is named.
///
/// # Errors
/// [`GraphError::Size`] for a rank of 0, [`GraphError::NoLayer`] for a target that is no dense layer's name.
///
/// ```
/// use hua_graph::{Builder, Kind, lora};
///
/// let mut g = Builder::default();
/// let x = g.input(Kind::Image { channels: 8, height: 1, width: 1 });
/// let x = g.flatten(x);
/// let x = g.linear("up", x, 16);
/// g.output("rows", x);
/// let (adapted, pairs) = lora(&g.finish()?, 2, &["up"])?;
/// assert_eq!(adapted.param(pairs[0].a).shape, [2, 8]);
/// assert_eq!(adapted.param(pairs[0].b).shape, [16, 2]);
/// # Ok::<(), hua_graph::GraphError>(())
/// ```
pub fn lora(graph: &Graph, rank: usize, targets: &[impl AsRef<str>]) -> Result<(Graph, Vec<LoraPair>), GraphError> {
    if rank == 0 {
        return Err(GraphError::Size { at: "lora".into() });
    }
    let is = |target: &str, node: &Node| {
        let ends = |rest: &str| rest.is_empty() || rest.ends_with('.');
        matches!(node.op, Op::Linear { .. }) && !target.is_empty() && node.name.strip_suffix(target).is_some_and(ends)
    };
    if let Some(target) = targets.iter().map(AsRef::as_ref).find(|target| !graph.nodes.iter().any(|n| is(target, n))) {
        return Err(GraphError::NoLayer { name: target.to_owned() });
    }
    let named = graph.nodes.iter().filter(|node| targets.iter().any(|target| is(target.as_ref(), node)));
    // By weights, not by layers: what shares a weight must share its adapter, or it could not be merged.
    let weights: BTreeSet<Param> = named.filter_map(|node| node.op.params().first().copied()).collect();
    let mut copy = Rewrite::of(graph);
    let mut pairs: BTreeMap<Param, LoraPair> = BTreeMap::new();
    let mut order = vec![];
    for node in &graph.nodes {
        let mut own = copy.take(node);
        let (Op::Linear { weight, .. }, true) = (&node.op, node.op.params().first().is_some_and(|p| weights.contains(p))) else {
            let value = copy.push(own);
            copy.place(value, value);
            continue;
        };
        let pair = *pairs.entry(*weight).or_insert_with(|| {
            let pair = add_params(&mut copy.graph, &node.name, *weight, rank);
            order.push(pair);
            pair
        });
        let inputs = own.inputs.clone();
        own.name = format!("{}.base", node.name);
        let base = copy.push(own);
        let dense = |copy: &mut Rewrite, which, weight, inputs, kind| {
            copy.push(Node { name: format!("{}.{which}", node.name), op: Op::Linear { weight, bias: None }, inputs, kind })
        };
        let narrow = match node.kind {
            Kind::Seq { .. } => Kind::Seq { width: rank },
            _ => Kind::Vector { width: rank },
        };
        let a = dense(&mut copy, "lora_a", pair.a, inputs, narrow);
        let b = dense(&mut copy, "lora_b", pair.b, vec![a], node.kind);
        let sum = copy.push(Node { name: node.name.clone(), op: Op::Add, inputs: vec![base, b], kind: node.kind });
        copy.place(sum, sum);
    }
    Ok((copy.finish(graph), order))
}

fn add_params(graph: &mut Graph, layer: &str, weight: Param, rank: usize) -> LoraPair {
    let [out, inner] = graph.param(weight).shape[..] else { unreachable!("a dense layer's weight is a matrix") };
    let mut add = |which: &str, shape: [usize; 2]| {
        graph.params.push(ParamSpec { name: format!("{layer}.{which}.weight"), shape: shape.to_vec(), trained: true });
        Param(graph.params.len() as u32 - 1)
    };
    LoraPair { weight, a: add("lora_a", [rank, inner]), b: add("lora_b", [out, rank]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Act, Builder, EmbedSizes, Pick, Regularisation, for_training};

    fn tower() -> Graph {
        let mut g = Builder::default();
        let ids = g.input(Kind::Ids);
        let mut x = g.embed(ids, EmbedSizes { vocab: 50, positions: 10, first_position: 0, types: 0, width: 8 });
        for i in 0..3 {
            x = g.scope(format_args!("blocks.{i}"), |g| {
                let y = g.linear("up", x, 16);
                let y = g.act(y, Act::Gelu);
                let y = g.linear("down", y, 8);
                g.add(x, y)
            });
        }
        let x = g.pick(x, Pick::First, None);
        let x = g.linear_no_bias("project", x, 6);
        g.output("embedding", x);
        g.finish().unwrap()
    }

    #[test]
    fn adapters_stand_beside_their_layers() {
        let (graph, pairs) = lora(&tower(), 2, &["up", "project"]).unwrap();
        insta::assert_snapshot!(graph.to_string(), @r"
        %0    input                        input()                                  ids
        %1    embed                        embed(%0)                                seq[8]               [50, 8] [10, 8]
        %2    blocks.0.up.base             linear(%1)                               seq[16]              [16, 8] [16]
        %3    blocks.0.up.lora_a           linear(%1)                               seq[2]               [2, 8]
        %4    blocks.0.up.lora_b           linear(%3)                               seq[16]              [16, 2]
        %5    blocks.0.up                  add(%2, %4)                              seq[16]
        %6    blocks.0.act                 gelu(%5)                                 seq[16]
        %7    blocks.0.down                linear(%6)                               seq[8]               [8, 16] [8]
        %8    blocks.0.add                 add(%1, %7)                              seq[8]
              blocks.1 to 2: the same again
        %23   pick                         pick[first](%22)                         vector[8]
        %24   project.base                 linear(%23)                              vector[6]            [6, 8]
        %25   project.lora_a               linear(%23)                              vector[2]            [2, 8]
        %26   project.lora_b               linear(%25)                              vector[6]            [6, 2]
        %27   project                      add(%24, %26)                            vector[6]
        output embedding = %27
        ");
        let names: Vec<_> = pairs.iter().map(|p| [p.weight, p.a, p.b].map(|p| graph.param(p).name.as_str())).collect();
        assert_eq!(names[0], ["blocks.0.up.weight", "blocks.0.up.lora_a.weight", "blocks.0.up.lora_b.weight"]);
        assert_eq!(names[3], ["project.weight", "project.lora_a.weight", "project.lora_b.weight"]);
        assert_eq!(pairs.len(), 4);
        let old = tower();
        assert_eq!(graph.params()[..old.params().len()], *old.params());
    }

    #[test]
    fn a_whole_name_is_one_layer_and_half_a_word_is_none() {
        assert_eq!(lora(&tower(), 1, &["blocks.1.down"]).unwrap().1.len(), 1);
        let error = |targets: &[&str]| lora(&tower(), 1, targets).unwrap_err().to_string();
        assert_eq!(error(&["up", "own"]), "there is no dense layer `own`");
        assert_eq!(error(&[""]), "there is no dense layer ``");
        assert_eq!(lora(&tower(), 0, &["up"]).unwrap_err(), GraphError::Size { at: "lora".into() });
        assert_eq!(lora(&tower(), 4, &[] as &[&str]).unwrap(), (tower(), vec![]));
    }

    #[test]
    fn layers_that_share_a_weight_share_its_adapter() {
        let mut g = Builder::default();
        let x = g.input(Kind::Image { channels: 8, height: 1, width: 1 });
        let x = g.flatten(x);
        let first = g.linear("transform", x, 4);
        let z = g.act(x, Act::Tanh);
        let second = g.again("transform_again", first, z);
        g.output("first", first);
        g.output("second", second);
        let (graph, pairs) = lora(&g.finish().unwrap(), 2, &["transform"]).unwrap();
        assert_eq!(pairs.len(), 1);
        assert_eq!(graph.nodes().iter().filter(|n| n.op == Op::Linear { weight: pairs[0].a, bias: None }).count(), 2);
    }

    #[test]
    fn adapters_and_dropout_go_together_in_either_order() {
        let regularisation = Regularisation { dropout: 0.1, keep_tokens: 1.0 };
        let targets = ["up", "down"];
        let dropout_of = |graph: &Graph| -> Vec<String> {
            graph.nodes().iter().filter(|n| n.op.is_for_training()).map(|n| graph.node(n.inputs[0]).name.clone()).collect()
        };
        let first = for_training(&lora(&tower(), 2, &targets).unwrap().0, &regularisation).unwrap();
        let last = lora(&for_training(&tower(), &regularisation).unwrap(), 2, &targets).unwrap().0;
        assert_eq!(dropout_of(&first), ["embed", "blocks.0.down", "blocks.1.down", "blocks.2.down"]);
        assert_eq!(first.to_string(), last.to_string());
    }
}
