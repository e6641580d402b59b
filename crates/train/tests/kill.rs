//! Each of the three recipes, killed at ten random steps and resumed, ends with the bytes of the run that was not.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod fixture;
mod harness;

use std::path::PathBuf;

use fixture::{recipe, write_world};
use harness::survives_kills;
use hua_train::tasks::{TrainOptions, task};
use hua_train::{Recipe, Task};

/// The data of a test, always in the same place: the processes that are killed find what the first of them wrote.
fn world(test: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
    if std::env::var_os(harness::RUN).is_none() {
        let _ = std::fs::remove_dir_all(&folder);
        write_world(&folder);
    }
    folder
}

fn survives(test: &str, kind: &str, sets: &[&str]) {
    let folder = world(test);
    let all = ["schedule.steps=30", "eval.every_steps=11", "checkpoint.every_steps=4", "text.dropout=0.1", "optim.ema=0.9"];
    let recipe = recipe(kind, &folder, &[&all[..], sets].concat());
    let made = |recipe: &Recipe| -> Box<dyn Task> {
        let options = TrainOptions { threads: 1, cache: Some(folder.join("vectors")), ..TrainOptions::default() };
        task(recipe, &folder, &options).unwrap().0
    };
    survives_kills(test, &recipe, 10, made);
}

#[test]
fn a_distillation_that_is_killed_goes_on_to_the_bit() {
    // A wider student, so that a projection is trained; a temperature of its own.
    let teacher = format!("model.teacher=\"{}\"", fixture::golden("models/chinese-clip-hf").display());
    let sets = [teacher.as_str(), "loss.text_distill.cosine=1.0", "loss.text_distill.contrastive=0.5", "train.chunk=3"];
    survives("a_distillation_that_is_killed_goes_on_to_the_bit", "distill", &sets);
}

#[test]
fn a_contrast_that_is_killed_goes_on_to_the_bit() {
    // The image tower is locked at first and half of its tokens are dropped later; the loader works ahead; pictures are cut at random;
    // Muon keeps one mean of a matrix and AdamW two.
    let sets = [
        "optim.kind=muon",
        "image.unlock_at=12",
        "image.keep_tokens=0.5",
        "train.chunk=5",
        "data.loading.threads=1",
        "data.loading.ahead=2",
    ];
    survives("a_contrast_that_is_killed_goes_on_to_the_bit", "contrastive", &sets);
}

#[test]
fn a_fine_tuning_that_is_killed_goes_on_to_the_bit() {
    // Adapters on the texts, the last block of the pictures, a teacher of the same pictures, texts that keep what they meant.
    let teacher = format!("model.teacher=\"{}\"", fixture::golden("models/chinese-clip-hf").display());
    let sets = [
        teacher.as_str(),
        "text.train={ lora = { rank = 2, keep = true } }",
        "image.train={ last_layers = 1 }",
        "loss.image_distill.weight=0.5",
        "loss.text_distill.weight=0.5",
        "loss.contrast=\"sigmoid\"",
    ];
    survives("a_fine_tuning_that_is_killed_goes_on_to_the_bit", "finetune", &sets);
}
