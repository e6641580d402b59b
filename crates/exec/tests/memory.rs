//! What a run allocates, counted on its own thread.
#![allow(clippy::unwrap_used, reason = "tests")]
mod common;

use common::{Random, VitSizes, clip_text, resnet, roberta, vit};
use hua_exec::{Batch, Cpu, Device, Precision};

#[test]
fn the_second_run_of_a_batch_allocates_nothing_but_its_results() {
    let mut random = Random(5);
    let texts = random.texts(&[30; 16], 100);
    let pixels = random.normals(16 * 3 * 32 * 32, 1.0);
    let pictures = VitSizes { side: 32, patch: 4, width: 48, layers: 2, heads: 3, out: 20 };
    let graphs = [
        (vit(&pictures), Batch::Images(&pixels)),
        (resnet(32, 24, 4), Batch::Images(&pixels)),
        (roberta(100, 64, 2, 4), Batch::Ids(&texts)),
        (clip_text(100, 40, 2, 2), Batch::Ids(&texts)),
    ];
    for (graph, batch) in graphs {
        let weights = random.weights(&graph);
        for precision in Precision::ALL {
            let program = Cpu { threads: 1, precision, ..Cpu::default() }.load(&graph, &weights).unwrap();
            let run = || program.run(&batch, &["embedding"]).unwrap().remove(0);
            let first = run();
            let mut second = None;
            let counted = allocation_counter::measure(|| second = Some(run()));
            let second = second.unwrap();
            assert_eq!(first, second);
            // The list of outputs, and of each the lengths and the numbers.
            let results = size_of_val(&second) + size_of_val(&second.lengths[..]) + size_of_val(&second.data[..]);
            assert_eq!(counted.bytes_total as usize, results, "{precision}: bytes");
            assert_eq!(counted.count_total, 3, "{precision}: allocations");
            assert_eq!(counted.bytes_current as usize, results - size_of_val(&second), "{precision}: what stays");
        }
    }
}
