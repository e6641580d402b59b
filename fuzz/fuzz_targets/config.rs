//! Any bytes as a `config.json`: what is accepted has graphs or an error, and counts without overflow. And as a
//! `preprocessor_config.json`: what is accepted makes pictures of a size that is no harm.
#![no_main]

use hua_image::{MAX_SIDE, Preprocess};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(preprocess) = Preprocess::from_config(bytes) {
        let size = preprocess.output_size();
        assert!((1..=MAX_SIDE).contains(&size.height) && (1..=MAX_SIDE).contains(&size.width));
    }
    let Ok(towers) = hua_model::read_config(bytes) else { return };
    if let Some(Ok(graph)) = towers.image.map(|tower| tower.graph()) {
        graph.flops("embedding", 0);
    }
    if let Ok(graph) = towers.text.graph() {
        graph.flops("embedding", towers.text.longest());
    }
});
