//! Batches and requests at the edge: none, nothing, the same thing twice, no numbers, many threads at once.
#![allow(clippy::unwrap_used, reason = "tests")]
mod common;

use common::{Random, VitSizes, clip_text, cpu, resnet, roberta, vit};
use hua_exec::{Batch, Device, Program, Reference, Rows};
use hua_graph::Graph;

fn devices() -> [Box<dyn Device>; 3] {
    [Box::new(Reference), Box::new(cpu(1)), Box::new(cpu(2))]
}

fn tapped(mut graph: Graph) -> Graph {
    let names: Vec<String> = graph.nodes().iter().map(|node| node.name.clone()).collect();
    names.iter().for_each(|name| assert!(graph.expose(name)));
    graph
}

/// Texts of one token to as many as there are positions.
fn texts() -> Vec<Vec<u32>> {
    Random(3).texts(&[1, 77, 2, 1, 30], 50)
}

#[test]
fn no_items_give_no_rows_in_every_output() {
    let pictures = VitSizes { side: 8, patch: 4, width: 8, layers: 1, heads: 2, out: 4 };
    let graphs = [(clip_text(50, 8, 1, 2), true), (roberta(50, 8, 1, 2), true), (vit(&pictures), false), (resnet(32, 8, 2), false)];
    for (graph, text) in graphs.map(|(graph, text)| (tapped(graph), text)) {
        let weights = Random(1).weights(&graph);
        let names: Vec<&str> = graph.outputs().iter().map(|o| o.name.as_str()).collect();
        let batch = if text { Batch::Ids(&[]) } else { Batch::Images(&[]) };
        let law = Reference.load(&graph, &weights).unwrap().run(&batch, &names).unwrap();
        assert!(law.iter().all(|rows| rows.lengths.is_empty() && rows.data.is_empty() && rows.width > 0));
        for device in devices() {
            assert_eq!(device.load(&graph, &weights).unwrap().run(&batch, &names).unwrap(), law, "{device:?}");
        }
    }
}

#[test]
fn nothing_asked_is_nothing_and_what_is_asked_twice_is_there_twice() {
    let graph = clip_text(50, 16, 2, 2);
    let (weights, texts) = (Random(1).weights(&graph), texts());
    for device in devices() {
        let program = device.load(&graph, &weights).unwrap();
        let run = |names: &[&str]| program.run(&Batch::Ids(&texts), names);
        assert_eq!(run(&[]).unwrap(), []);
        let [embedding, rows] = &run(&["embedding", "rows"]).unwrap()[..] else { panic!("two were asked for") };
        let many = run(&["rows", "embedding", "rows", "embedding", "embedding"]).unwrap();
        assert_eq!(many.iter().collect::<Vec<_>>(), [rows, embedding, rows, embedding, embedding]);
        let error = run(&["embedding", "rows", ""]).unwrap_err().to_string();
        assert_eq!(error, "the graph has no output ``, only `rows`, `embedding`");
    }
}

#[test]
fn a_picture_without_numbers_spoils_no_other() {
    let tower = VitSizes { side: 16, patch: 4, width: 24, layers: 2, heads: 2, out: 4 };
    for (graph, side) in [(vit(&tower), 16), (resnet(32, 8, 2), 32)] {
        let weights = Random(1).weights(&graph);
        let size = 3 * side * side;
        let pixels = Random(2).normals(5 * size, 1.0);
        for strange in [f32::NAN, f32::INFINITY, f32::MAX] {
            let mut spoiled = pixels.clone();
            spoiled[2 * size..3 * size].fill(strange);
            for threads in [1, 2] {
                let program = cpu(threads).load(&graph, &weights).unwrap();
                let run = |pixels: &[f32]| -> Rows { program.run(&Batch::Images(pixels), &["embedding"]).unwrap().remove(0) };
                let (before, after) = (run(&pixels), run(&spoiled));
                for (item, (before, after)) in before.iter().zip(after.iter()).enumerate() {
                    assert!(
                        if item == 2 { after.iter().any(|x| !x.is_finite()) || strange == f32::MAX } else { before == after },
                        "{item}"
                    );
                }
                // And nothing of it stays in memory that is used again.
                assert_eq!(run(&pixels), before);
            }
        }
    }
}

#[test]
fn many_threads_and_more_requests_than_plans_are_kept_give_what_one_gives() {
    let graph = tapped(clip_text(50, 16, 3, 2));
    let (weights, texts) = (Random(1).weights(&graph), texts());
    let names: Vec<&str> = graph.outputs().iter().map(|o| o.name.as_str()).collect();
    let program: Box<dyn Program> = cpu(2).load(&graph, &weights).unwrap();
    let all = program.run(&Batch::Ids(&texts), &names).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (program, names, all, texts) = (&program, &names, &all, &texts);
            scope.spawn(move || {
                for i in 0..60 {
                    let wanted = [(i * 7 + thread) % names.len(), (i + thread * 11) % names.len()];
                    let found = program.run(&Batch::Ids(texts), &wanted.map(|at| names[at])).unwrap();
                    assert_eq!(found, wanted.map(|at| all[at].clone()));
                }
            });
        }
    });
}

#[test]
fn rows_that_an_output_does_not_need_are_not_counted() {
    let graph = clip_text(50, 16, 3, 2);
    let weights = Random(1).weights(&graph);
    let law = Reference.load(&graph, &weights).unwrap();
    let program = cpu(1).load(&graph, &weights).unwrap();
    // All rows of every layer are the graph's own count; of one row, the last layer computes little but keys and values.
    assert_eq!(program.flops("rows", 9).unwrap(), law.flops("rows", 9).unwrap());
    let (all, needed) = (law.flops("embedding", 9).unwrap(), program.flops("embedding", 9).unwrap());
    assert_eq!(all, graph.flops("embedding", 9));
    assert!(needed < all && needed > all * 2 / 3, "{needed} of {all}");
    assert!(program.flops("nothing", 9).is_err() && law.flops("nothing", 9).is_err());
}
