//! Before and after each pass: what is printed is all that changed.
use hua_graph::{Act, Builder, ConvSizes, EmbedSizes, Graph, Kind, Mask, Pick};

use super::{fold_batch_norm, fuse_epilogues, narrow_to_picked, stack_qkv};
use crate::cpu::plan::Plan;
use crate::shapes::Shapes;

fn plan(graph: &Graph) -> Plan {
    Plan::lower(graph, &Shapes::of(graph).unwrap())
}

/// One layer of a transformer and a pick of its first row.
fn layer() -> Plan {
    let mut g = Builder::default();
    let ids = g.input(Kind::Ids);
    let x = g.embed(ids, EmbedSizes { vocab: 9, positions: 9, first_position: 0, types: 0, width: 8 });
    let y = g.layer_norm("ln1", x, 1e-5);
    let (q, k, v) = (g.linear("q", y, 8), g.linear("k", y, 8), g.linear("v", y, 8));
    let y = g.attention(q, k, v, 2, Mask::Causal);
    let y = g.linear("out", y, 8);
    let x = g.add(x, y);
    let y = g.layer_norm("ln2", x, 1e-5);
    let y = g.linear("up", y, 32);
    let y = g.act(y, Act::Gelu);
    let y = g.linear("down", y, 8);
    let x = g.add(x, y);
    let x = g.pick(x, Pick::HighestId, Some(ids));
    g.output("embedding", x);
    plan(&g.finish().unwrap())
}

#[test]
fn narrow_to_picked_moves_the_pick_to_the_attention() {
    let mut plan = layer();
    narrow_to_picked(&mut plan);
    insta::assert_snapshot!(plan, @r"
    %0   input      Input ()
    %1   embed      Embed (%0)
    %2   ln1        LayerNorm (%1)
    %3   ln1        Pick HighestId (%2)
    %4   q          Linear (%3)
    %5   k          Linear (%2)
    %6   v          Linear (%2)
    %7   attention  Attention of HighestId (%4, %5, %6)
    %8   out        Linear (%7)
    %9   embed      Pick HighestId (%1)
    %10  add        Add (%9, %8)
    %11  ln2        LayerNorm (%10)
    %12  up         Linear (%11)
    %13  act        Gelu (%12)
    %14  down       Linear (%13)
    %15  add        Add (%10, %14)
    ");
}

#[test]
fn stack_qkv_makes_one_product_of_three() {
    let mut plan = layer();
    stack_qkv(&mut plan);
    insta::assert_snapshot!(plan, @r"
    %0   input      Input ()
    %1   embed      Embed (%0)
    %2   ln1        LayerNorm (%1)
    %3   v          Linear x 3 (%2)
    %4   attention  Attention (%3, %3, %3)
    %5   out        Linear (%4)
    %6   add        Add (%1, %5)
    %7   ln2        LayerNorm (%6)
    %8   up         Linear (%7)
    %9   act        Gelu (%8)
    %10  down       Linear (%9)
    %11  add        Add (%6, %10)
    %12  pick       Pick HighestId (%11)
    ");
}

#[test]
fn fuse_epilogues_takes_activations_and_sums_into_products() {
    let mut plan = layer();
    fuse_epilogues(&mut plan);
    insta::assert_snapshot!(plan, @r"
    %0   input      Input ()
    %1   embed      Embed (%0)
    %2   ln1        LayerNorm (%1)
    %3   q          Linear (%2)
    %4   k          Linear (%2)
    %5   v          Linear (%2)
    %6   attention  Attention (%3, %4, %5)
    %7   add        Linear + residual (%6, %1)
    %8   ln2        LayerNorm (%7)
    %9   act        Linear + Gelu (%8)
    %10  add        Linear + residual (%9, %7)
    %11  pick       Pick HighestId (%10)
    ");
}

#[test]
fn all_passes_together_leave_two_rows_of_products_behind_the_attention() {
    let mut plan = layer();
    narrow_to_picked(&mut plan);
    stack_qkv(&mut plan);
    fuse_epilogues(&mut plan);
    insta::assert_snapshot!(plan, @r"
    %0   input      Input ()
    %1   embed      Embed (%0)
    %2   ln1        LayerNorm (%1)
    %3   ln1        Pick HighestId (%2)
    %4   q          Linear (%3)
    %5   v          Linear x 2 (%2)
    %6   attention  Attention of HighestId (%4, %5, %5)
    %7   embed      Pick HighestId (%1)
    %8   add        Linear + residual (%6, %7)
    %9   ln2        LayerNorm (%8)
    %10  act        Linear + Gelu (%9)
    %11  add        Linear + residual (%10, %8)
    ");
}

#[test]
fn fold_batch_norm_spares_a_convolution_that_is_wanted_itself() {
    let mut g = Builder::default();
    let mut x = g.input(Kind::Image { channels: 3, height: 8, width: 8 });
    for name in ["a", "b"] {
        let y = g.conv(name, x, ConvSizes { out: 3, size: 3, stride: 1, pad: 1, bias: false });
        let y = g.batch_norm(&format!("{name}_bn"), y, 1e-5);
        let y = g.add(y, x);
        x = g.act(y, Act::Relu);
    }
    g.output("image", x);
    let mut graph = g.finish().unwrap();
    graph.expose("b");
    let mut plan = plan(&graph);
    fold_batch_norm(&mut plan);
    fuse_epilogues(&mut plan);
    insta::assert_snapshot!(plan, @r"
    %0   input      Input ()
    %1   act        Conv with norm + residual + Relu (%0, %0)
    %2   b          Conv (%1)
    %3   b_bn       BatchNorm (%2)
    %4   add        Add (%3, %1)
    %5   act        Relu (%4)
    ");
}

#[test]
fn what_is_wanted_whole_is_not_narrowed() {
    let mut plan = layer();
    // The last sum is wanted as well.
    plan.outputs.push(plan.steps.len() - 2);
    let before = plan.to_string();
    narrow_to_picked(&mut plan);
    assert_eq!(plan.to_string(), before);
}
