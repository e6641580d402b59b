//! Runs that are killed, stopped and resumed end with the same bits as one that was not.
#![allow(clippy::unwrap_used, reason = "tests")]
mod harness;
mod toy;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use harness::{same, survives_kills};
use hua_graph::{DType, Tensor};
use hua_model::checkpoint::{Checkpoint, CheckpointError, TensorPlan, save_safetensors};
use hua_model::{Model, OpenOptions};
use hua_train::{Error, Event, Finish, Observer, Recipe, Trainer};
use toy::{Toy, golden, recipe};

/// Evaluations, checkpoints, skipped steps and a moving average, at steps of their own.
fn busy() -> Recipe {
    recipe(&["checkpoint.every_steps=3", "checkpoint.every_minutes=0", "eval.every_steps=7", "optim.ema=0.95", "schedule.steps=60"])
}

fn busy_toy(recipe: &Recipe) -> Toy {
    Toy { bad_loss: vec![5, 33], bad_gradient: vec![6, 34, 35], ..Toy::new(recipe) }
}

#[test]
fn a_run_that_is_killed_ten_times_ends_with_the_bits_of_one_that_is_not() {
    survives_kills("a_run_that_is_killed_ten_times_ends_with_the_bits_of_one_that_is_not", &busy(), 10, busy_toy);
}

/// Asks the run to stop at a step.
struct Stopper(u64, Arc<AtomicBool>);

impl Observer for Stopper {
    fn on(&mut self, event: &Event) {
        if matches!(event, Event::Step { step, .. } if *step == self.0) {
            self.1.store(true, Ordering::Relaxed);
        }
    }
}

/// Trains until step `at`, then as if somebody pressed Ctrl-C.
fn stopped_at(at: u64, recipe: &Recipe, run: &Path) {
    let stop = Arc::new(AtomicBool::new(false));
    let mut trainer = Trainer::new(busy_toy(recipe), recipe, Some(run), Box::new(Stopper(at, stop.clone()))).unwrap();
    let finished = trainer.run(&stop).unwrap();
    assert_eq!((finished.why, finished.step), (Finish::Stopped, at));
}

#[test]
fn a_run_that_is_stopped_where_something_is_due_does_it_when_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = busy();
    let whole = folder.path().join("whole");
    Trainer::new(busy_toy(&recipe), &recipe, Some(&whole), Box::new(())).unwrap().run(&AtomicBool::new(false)).unwrap();
    // An evaluation is due at 21, a checkpoint at 24, both at 42, the end at 60; 6 is within the skipped steps.
    for at in [1, 6, 21, 24, 42, 60] {
        let run = folder.path().join(at.to_string());
        stopped_at(at, &recipe, &run);
        let mut trainer = Trainer::resume(busy_toy(&recipe), &recipe, &run, Box::new(())).unwrap();
        assert_eq!(trainer.run(&AtomicBool::new(false)).unwrap().why, Finish::Done);
        for name in ["last", "best"] {
            same(&whole.join(name), &run.join(name), &format!("stopped at {at}"));
        }
    }
}

#[test]
fn a_checkpoint_is_a_model_of_the_averaged_parameters() {
    let folder = tempfile::tempdir().unwrap();
    for (ema, name) in [(0.0, "plain"), (0.9, "averaged")] {
        let recipe = recipe(&[&format!("optim.ema={ema}"), "schedule.steps=5"]);
        let run = folder.path().join(name);
        let mut trainer = Trainer::new(Toy::new(&recipe), &recipe, Some(&run), Box::new(())).unwrap();
        trainer.run(&AtomicBool::new(false)).unwrap();
        let model = Model::open(run.join("last"), &OpenOptions::default()).unwrap();
        assert_eq!(model.spec.family, "altclip");
        let toy = trainer.into_task();
        let trained = hua_train::Task::params(&toy)[1].values[0].clone();
        let saved = model.text.weights.tensors()[0].to_f32().unwrap().into_owned();
        assert_eq!(saved == trained, ema == 0.0, "{name}");
    }
}

#[test]
fn another_recipe_is_refused_with_what_differs() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    stopped_at(10, &busy(), &run);
    let mut other = busy();
    other.optim.lr = Some(0.02);
    other.train.batch = 128;
    other.checkpoint.every_steps = 99;
    let error = Trainer::resume(Toy::new(&other), &other, &run, Box::new(())).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("`optim.lr` was 0.01 and is 0.02; `train.batch` was 64 and is 128"), "{message}");
    assert!(!message.contains("checkpoint"), "{message}");
    // What changes no number may change.
    let mut same = busy();
    same.train.time_limit_minutes = 5.0;
    same.checkpoint.every_steps = 99;
    Trainer::resume(Toy::new(&same), &same, &run, Box::new(())).unwrap();
}

#[test]
fn frozen_numbers_that_changed_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let recipe = busy();
    stopped_at(10, &recipe, &run);
    let mut toy = Toy::new(&recipe);
    hua_train::Task::params_mut(&mut toy)[0].values[0][0] += 1.0;
    let error = Trainer::resume(toy, &recipe, &run, Box::new(())).unwrap_err();
    assert!(error.to_string().contains("other numbers"), "{error}");
}

#[test]
fn a_folder_with_a_run_is_not_written_over_and_one_in_use_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let recipe = busy();
    stopped_at(3, &recipe, &run);
    assert!(matches!(Trainer::new(Toy::new(&recipe), &recipe, Some(&run), Box::new(())), Err(Error::Exists { .. })));
    let _held = Trainer::resume(Toy::new(&recipe), &recipe, &run, Box::new(())).unwrap();
    assert!(matches!(Trainer::resume(Toy::new(&recipe), &recipe, &run, Box::new(())), Err(Error::Busy { .. })));
    let nowhere = folder.path().join("nowhere");
    assert!(matches!(Trainer::resume(Toy::new(&recipe), &recipe, &nowhere, Box::new(())), Err(Error::State { .. })));
}

#[test]
fn states_that_lie_are_refused_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let recipe = recipe(&["schedule.steps=2"]);
    Trainer::new(Toy::new(&recipe), &recipe, Some(&run), Box::new(())).unwrap().run(&AtomicBool::new(false)).unwrap();
    let open = || Trainer::resume(Toy::new(&recipe), &recipe, &run, Box::new(())).map(drop);
    open().unwrap();

    let json = run.join("last/training_state.json");
    let good = std::fs::read_to_string(&json).unwrap();
    let put = |text: &str| std::fs::write(&json, text).unwrap();
    for (bad, wanted) in [
        (String::new(), "EOF"),
        (good.replace("\"version\": 1", "\"version\": 7"), "its version is 7, wanted 1"),
        (good.replace("\"step\": 2", "\"step\": -2"), "u64"),
        (good.replace("\"skipped\": 0", "\"skiped\": 0"), "unknown field `skiped`"),
        (good.replace("\"at\":", "\"to\":"), "no cursor"),
        (good.replace("\"updates\": [\n    2,", "\"updates\": [\n    2, 2,"), "updates of 4 parameter sets, the run has 3"),
        ("[".repeat(100_000), "recursion limit"),
    ] {
        put(&bad);
        let error = open().unwrap_err();
        assert!(matches!(error, Error::State { .. }) && error.to_string().contains(wanted), "{error}");
    }
    put(&good);

    let tensors = run.join("last/training_state.safetensors");
    let good = std::fs::read(&tensors).unwrap();
    let length = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let header = String::from_utf8(good[8..8 + length].to_vec()).unwrap();
    let with_header = |header: &str| [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &good[8 + length..]].concat();
    let mut no_number = good.clone();
    let end = no_number.len();
    no_number[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    for (bad, wanted) in [
        (good[..good.len() / 2].to_vec(), ""),
        (good[..5].to_vec(), ""),
        ([&u64::MAX.to_le_bytes()[..], &good[8..]].concat(), ""),
        (with_header(&header.replacen("\"F32\"", "\"I32\"", 1)), "f32"),
        (with_header(&header.replacen("mean.text", "mean.test", 1)), "lacks `mean.text"),
        (with_header(&header.replacen("square.text", "squire.text", 1)), "that this run has not, such as `squire.text"),
        (no_number, "holds NaN"),
    ] {
        std::fs::write(&tensors, bad).unwrap();
        let error = open().unwrap_err();
        assert!(matches!(error, Error::State { .. }) && error.to_string().contains(wanted), "{wanted}: {error}");
    }
    std::fs::write(&tensors, good).unwrap();
    open().unwrap();
    assert!(golden("models/altclip-hf").is_dir());
}

/// Which parameters the optimiser keeps means of squares for, follows from the recipe: a state that has others is not this run's.
#[test]
fn states_that_lack_means_of_squares_or_have_more_are_refused() {
    for (kind, lies) in [("adamw", "lacks"), ("muon", "lacks"), ("muon", "has more")] {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        let recipe = recipe(&["schedule.steps=2", &format!("optim.kind={kind}")]);
        Trainer::new(Toy::new(&recipe), &recipe, Some(&run), Box::new(())).unwrap().run(&AtomicBool::new(false)).unwrap();
        let path = run.join("last/training_state.safetensors");
        let open = || Trainer::resume(Toy::new(&recipe), &recipe, &run, Box::new(())).map(drop);
        open().unwrap();

        let file = Checkpoint::open(&path).unwrap();
        let mut tensors: BTreeMap<String, Tensor> = file.names().map(|name| (name.to_owned(), file.tensor(name).unwrap())).collect();
        let squares: Vec<String> = tensors.keys().filter(|name| name.starts_with("square.")).cloned().collect();
        if lies == "lacks" {
            tensors.remove(&squares[0]).unwrap();
        } else {
            let of = |mean: &String| mean.replacen("mean.", "square.", 1);
            let bare = tensors.keys().find(|name| name.starts_with("mean.") && !squares.contains(&of(name))).unwrap().clone();
            tensors.insert(of(&bare), tensors[&bare].clone());
        }
        let plan: Vec<TensorPlan> = tensors
            .iter()
            .map(|(name, tensor)| TensorPlan { name: name.clone(), dtype: DType::F32, shape: tensor.shape().to_vec() })
            .collect();
        let lie = folder.path().join("lie.safetensors");
        save_safetensors(&lie, &plan, &BTreeMap::new(), |name| Ok::<_, CheckpointError>(tensors[name].clone())).unwrap();
        std::fs::rename(lie, &path).unwrap();
        let error = open().unwrap_err();
        let wanted = "its optimiser remembers other parameters than the recipe's does";
        assert!(matches!(error, Error::State { .. }) && error.to_string().contains(wanted), "{kind} {lies}: {error}");
    }
}
