//! Gradient caching is exact: chunks give the embeddings of the whole batch to the bit and its gradients to 1e-5, whatever is dropped at random.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;

use hua_exec::{Batch, Cpu, Reference, Trainable};
use hua_kernels::{Cores, Isa};
use hua_model::{Model, OpenOptions};
use hua_train::lora::Side;
use hua_train::loss::{Contrast, Groups, Units, info_nce};
use hua_train::recipe::{Lora, TowerSection, Trained};
use hua_train::tasks::{Encoder, EncoderOptions};

const ITEMS: usize = 7;

fn model() -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/models/altclip-hf");
    Model::open(path, &OpenOptions::default()).unwrap()
}

/// Embeddings of both towers and all gradients of their contrast.
fn step(device: &dyn Trainable, chunk: usize, train: Trained) -> (Vec<f32>, Vec<Vec<f32>>) {
    let model = model();
    let options = EncoderOptions { chunk, ..EncoderOptions::default() };
    let section = TowerSection { train, dropout: 0.1, keep_tokens: 0.5, ..TowerSection::default() };
    let new = |side, tower| Encoder::new(device, tower, side, &section, &options).unwrap();
    let ((mut image, image_set), (mut text, text_set)) = (new(Side::Image, &model.image), new(Side::Text, &model.text));
    let pixels: Vec<f32> = (0..ITEMS * 3 * 32 * 32).map(|i| ((i * 7919) % 2003) as f32 / 1001.0 - 1.0).collect();
    let ids: Vec<Vec<u32>> = (0..ITEMS).map(|i| (0..3 + i % 4).map(|k| ((i * 13 + k * 7) % 80) as u32).collect()).collect();
    let seeds: Vec<u64> = (0..ITEMS as u64).map(|i| i * i + 40).collect();
    let (pixels, ids) = (Batch::Images(&pixels), Batch::Ids(&ids));
    let (images, texts) = (image.forward(pixels, &seeds).unwrap(), text.forward(ids, &seeds).unwrap());
    let rows = [images.rows(), texts.rows()].concat();
    let (a, b) = (Units::of(images.rows(), image.width()), Units::of(texts.rows(), text.width()));
    let cores = Cores::new(1, Isa::best()).unwrap();
    let found = info_nce(&cores, a.rows(), b.rows(), a.width(), &Groups::pairs(ITEMS), Contrast::new(2.5));
    let zeros = |set: &hua_train::ParamSet| hua_train::Grads::zeros(std::slice::from_ref(set)).0.remove(0);
    let (mut d_image, mut d_text) = (zeros(&image_set), zeros(&text_set));
    image.backward(pixels, &seeds, images, &a.backward(&found.d_a), &mut d_image).unwrap();
    text.backward(ids, &seeds, texts, &b.backward(&found.d_b), &mut d_text).unwrap();
    (rows, d_image.into_iter().chain(d_text).collect())
}

fn check(device: &dyn Trainable, train: Trained) {
    let (rows, grads) = step(device, 0, train.clone());
    for chunk in [1, 3] {
        let (chunk_rows, chunk_grads) = step(device, chunk, train.clone());
        assert_eq!(rows, chunk_rows, "chunks of {chunk}");
        let most = grads.iter().flatten().fold(0.0f32, |most, d| most.max(d.abs()));
        assert!(most > 0.0);
        for (i, (one, other)) in grads.iter().zip(&chunk_grads).enumerate() {
            assert_eq!(one.len(), other.len());
            // A key's bias has no gradient: what is left of one is the rounding of others' hundredfold.
            let own = one.iter().fold(1e-2 * most, |most, d| most.max(d.abs()));
            let worst = one.iter().zip(other).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
            assert!(worst <= 1e-5 * own, "parameter {i}, chunks of {chunk}: {worst:e} of {own:e}");
        }
    }
}

#[test]
fn chunks_give_what_the_whole_batch_gives() {
    check(&Reference, Trained::All);
    check(&Cpu::default(), Trained::All);
}

#[test]
fn chunks_of_adapters_give_what_the_whole_batch_gives() {
    check(&Reference, Trained::Lora(Lora { rank: 2, ..Lora::default() }));
}

#[test]
fn what_is_dropped_is_dropped() {
    // Another seed is another mask: the test above would not notice if nothing were random.
    let model = model();
    let section = TowerSection { dropout: 0.1, keep_tokens: 0.5, ..TowerSection::default() };
    let (mut text, _) = Encoder::new(&Reference, &model.text, Side::Text, &section, &EncoderOptions::default()).unwrap();
    let ids = [vec![1, 2, 3], vec![1, 2, 3]];
    let rows = text.forward(Batch::Ids(&ids), &[1, 2]).unwrap().rows().to_vec();
    assert_ne!(rows[..text.width()], rows[text.width()..]);
    let rows = text.embed(Batch::Ids(&ids)).unwrap();
    assert_eq!(rows[..text.width()], rows[text.width()..]);
}

#[test]
fn last_layers_are_those_blocks_and_what_follows() {
    let model = model();
    let section = TowerSection { train: Trained::LastLayers(1), ..TowerSection::default() };
    let (_, set) = Encoder::new(&Reference, &model.text, Side::Text, &section, &EncoderOptions::default()).unwrap();
    let trained: Vec<_> = set.names.iter().zip(&set.trained).filter(|(_, trained)| **trained).map(|(name, _)| name.as_str()).collect();
    assert!(trained.contains(&"blocks.2.q.weight") && trained.contains(&"final.project.weight"), "{trained:?}");
    assert!(trained.iter().all(|name| name.starts_with("blocks.2.") || name.starts_with("final.")), "{trained:?}");
    let section = TowerSection { train: Trained::LastLayers(4), ..TowerSection::default() };
    let error = Encoder::new(&Reference, &model.text, Side::Text, &section, &EncoderOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "recipe: `text.train.last_layers` is 4, wanted 1 to 3, the blocks of this tower");
}
