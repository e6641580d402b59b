//! bf16 and int8 beside f32, on the built-in model and its data: how far vectors and scores may move.
use std::path::{Path, PathBuf};

use hua::evaluate::{self, Dataset, RetrievalReport};
use hua::exec::Precision;
use hua::{Embedder, Embeddings, NoProgress, OpenOptions, PrecisionChoice};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/emoji-9l")
}

fn embedder(precision: Precision) -> Embedder {
    let options = OpenOptions { precision: PrecisionChoice::Just(precision), ..OpenOptions::default() };
    let embedder = Embedder::embedded(&options).expect("the built-in model opens");
    assert_eq!(embedder.precision(), precision);
    embedder
}

/// Vectors of every text and every picture.
fn vectors(embedder: &Embedder, dataset: &Dataset) -> [Embeddings; 2] {
    let texts: Vec<&str> = dataset.texts.iter().map(|text| text.text.as_str()).collect();
    let pictures: Vec<_> = dataset
        .images()
        .expect("the pictures are there")
        .map(|picture| picture.expect("it is whole"))
        .map(|(id, bytes)| embedder.decode_picture(&id, &bytes).expect("it decodes"))
        .collect();
    [embedder.embed_texts(&texts).expect("texts embed"), embedder.embed_images(&pictures).expect("pictures embed")]
}

fn least_cosine(a: &Embeddings, b: &Embeddings) -> f64 {
    let dot = |(a, b): (&[f32], &[f32])| a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>();
    a.rows().zip(b.rows()).map(dot).fold(1.0, f64::min)
}

fn scores(embedder: &Embedder) -> RetrievalReport {
    evaluate::retrieval(embedder, &data(), "valid", &NoProgress).expect("the data set is there")
}

#[test]
fn every_vector_of_bf16_and_int8_is_near_that_of_f32() {
    let dataset = Dataset::read(&data(), "dev").expect("the data set is there");
    let law = vectors(&embedder(Precision::F32), &dataset);
    for (precision, bound) in [(Precision::Bf16, 0.9995), (Precision::Int8, 0.995)] {
        let found = vectors(&embedder(precision), &dataset);
        for (what, (law, found)) in ["text", "picture"].into_iter().zip(law.iter().zip(&found)) {
            let least = least_cosine(law, found);
            assert!(least >= bound, "{precision}: a {what} at {least}");
        }
    }
}

#[test]
fn bf16_and_int8_find_what_f32_finds_in_every_language_and_direction() {
    let law = scores(&embedder(Precision::F32));
    for precision in [Precision::Bf16, Precision::Int8] {
        let found = scores(&embedder(precision));
        for (language, law) in &law.languages {
            let found = &found.languages[language];
            for (direction, law, found) in
                [("text to image", law.text_to_image, found.text_to_image), ("image to text", law.image_to_text, found.image_to_text)]
            {
                let mean = |of: evaluate::Recalls| of.values().iter().sum::<f64>() / 3.0;
                let (law, found) = (mean(law), mean(found));
                assert!((law - found).abs() <= 0.3, "{precision}, {language}, {direction}: mean recall {found}, in f32 {law}");
            }
        }
    }
}
