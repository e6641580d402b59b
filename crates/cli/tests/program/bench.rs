//! Measuring: what is in a report, not how fast anything is.

use serde_json::Value;

use crate::Place;

#[test]
fn bench_measures_every_shape_that_is_asked_for_and_starts_anew() {
    let place = Place::new();
    let few = ["bench", "--seconds", "0", "--batch", "1,2", "--length", "5,9", "--precisions", "f32,int8", "--thread-counts", "1,2"];
    let report: Value = serde_json::from_str(&place.hua(&[&few[..], &["--json"]].concat()).ok()).unwrap();
    let cells = report["cells"].as_array().unwrap();
    // Pictures and two lengths of texts, in two precisions, with two numbers of threads, in two batches.
    assert_eq!(cells.len(), 3 * 2 * 2 * 2);
    for cell in cells {
        let number = |key: &str| cell[key].as_f64().unwrap();
        assert!(number("runs") >= 3.0 && number("items_per_second") > 0.0 && number("percent_of_peak") > 0.0, "{cell}");
        assert_eq!(cell["tower"] == "text", cell["tokens"].is_u64(), "{cell}");
        let latency = ["least", "p50", "p90", "p99"].map(|key| cell["latency_ms"][key].as_f64().unwrap());
        assert!(latency.is_sorted(), "{cell}");
    }
    let cold = report["cold"].as_array().unwrap();
    let precisions: Vec<_> = cold.iter().map(|cold| cold["precision"].as_str().unwrap()).collect();
    assert_eq!(precisions, ["f32", "int8"]);
    assert!(cold.iter().all(|cold| cold["seconds"].as_f64().unwrap() > 0.0));
    let table = place.hua(&["bench", "--tower", "text", "--seconds", "0", "--batch", "1", "--length", "5", "--precisions", "bf16"]).ok();
    assert!(table.contains("% of peak") && table.contains("text, 5 tokens") && table.contains("peak memory"), "{table}");
}

#[test]
fn bench_refuses_shapes_that_no_model_has() {
    let place = Place::new();
    for (flag, value) in [("--length", "2"), ("--length", "1000"), ("--batch", "0"), ("--thread-counts", "0"), ("--seconds", "-1")] {
        let run = place.hua(&["bench", &format!("{flag}={value}")]);
        assert_eq!(run.code, 2, "{flag} {value}: {}", run.stderr);
    }
}
