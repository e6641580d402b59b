//! Any bytes as a `config.json`: what is accepted has graphs or an error, and counts without overflow.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(towers) = hua_model::read_config(bytes) else { return };
    if let Some(Ok(graph)) = towers.image.map(|tower| tower.graph()) {
        graph.flops("embedding", 0);
    }
    if let Ok(graph) = towers.text.graph() {
        graph.flops("embedding", towers.text.longest());
    }
});
