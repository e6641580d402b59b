//! The three tasks on a little world: what is trained, what is added to the loss, what is locked, what is bad.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod fixture;

use std::path::Path;
use std::sync::{Arc, Mutex};

use fixture::{golden, recipe, world};
use hua_model::{Model, OpenOptions};
use hua_train::tasks::{TrainOptions, task, train};
use hua_train::{Error, Event, Grads, Observer, Recipe, StepOutcome, Task};

fn options(folder: &Path) -> TrainOptions {
    TrainOptions { threads: 1, cache: Some(folder.join("vectors")), ..TrainOptions::default() }
}

fn made(recipe: &Recipe, folder: &Path) -> Box<dyn Task> {
    task(recipe, folder, &options(folder)).unwrap().0
}

fn refused(recipe: &Recipe, folder: &Path) -> String {
    task(recipe, folder, &options(folder)).map(drop).unwrap_err().to_string()
}

/// A step's outcome and gradients.
fn step(task: &mut dyn Task, step: u64) -> (StepOutcome, Grads) {
    let mut grads = Grads::zeros(task.params());
    let outcome = task.step(step, &mut grads).unwrap();
    (outcome, grads)
}

fn part(outcome: &StepOutcome, name: &str) -> f32 {
    outcome.parts.iter().find(|part| part.0 == name).unwrap_or_else(|| panic!("no `{name}` in {:?}", outcome.parts)).1
}

/// Keeps what it is told.
#[derive(Clone, Default)]
struct Ears(Arc<Mutex<Vec<Event>>>);

impl Observer for Ears {
    fn on(&mut self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Ears {
    fn losses(&self) -> Vec<f32> {
        let of = |event: &Event| if let Event::Step { loss, .. } = event { Some(*loss) } else { None };
        self.0.lock().unwrap().iter().filter_map(of).collect()
    }

    fn warnings(&self) -> Vec<String> {
        let of = |event: &Event| if let Event::Warning { message, .. } = event { Some(message.clone()) } else { None };
        self.0.lock().unwrap().iter().filter_map(of).collect()
    }

    fn metrics(&self) -> Vec<std::collections::BTreeMap<String, f64>> {
        let of = |event: &Event| if let Event::Evaluated { metrics, .. } = event { Some(metrics.clone()) } else { None };
        self.0.lock().unwrap().iter().filter_map(of).collect()
    }
}

/// Trains, and returns what was told.
fn trained(kind: &str, sets: &[&str]) -> Ears {
    let folder = world();
    let ears = Ears::default();
    let recipe = recipe(kind, folder.path(), &[&["schedule.steps=40", "optim.lr=0.01", "eval.at_start=true"], sets].concat());
    train(&recipe, &folder.path().join("run"), &options(folder.path()), Box::new(ears.clone())).unwrap();
    let model = Model::open(folder.path().join("run/last"), &OpenOptions::default()).unwrap();
    assert_eq!(model.spec.family, "altclip");
    ears
}

fn teacher() -> String {
    format!("model.teacher=\"{}\"", golden("models/chinese-clip-hf").display())
}

/// The loss at the end is less than `share` of that of the beginning.
fn falls(ears: &Ears, share: f32) {
    let losses = ears.losses();
    let mean = |some: &[f32]| some.iter().sum::<f32>() / some.len() as f32;
    let (first, last) = (mean(&losses[..5]), mean(&losses[losses.len() - 5..]));
    assert!(last < share * first, "{first} to {last}");
}

#[test]
fn a_student_comes_nearer_to_its_teacher() {
    let ears = trained("distill", &[&teacher(), "loss.text_distill.cosine=1.0"]);
    falls(&ears, 0.7);
    let metrics = ears.metrics();
    let (before, after) = (&metrics[0], metrics.last().unwrap());
    assert!(after["cosine/mean"] > before["cosine/mean"] + 10.0, "{before:?} {after:?}");
    assert!(after.contains_key("to_pivot/zh/r1") && after.contains_key("from_pivot/zh/r10"), "{after:?}");
}

#[test]
fn pictures_and_texts_come_together_by_either_contrast() {
    for contrast in ["info_nce", "sigmoid"] {
        let ears = trained("contrastive", &[&format!("loss.contrast=\"{contrast}\"")]);
        falls(&ears, 0.95);
        let metrics = ears.metrics();
        assert!(metrics.last().unwrap().contains_key("t2i/zh/r1") && metrics[0].contains_key("i2t/mean/r5"));
    }
}

#[test]
fn every_parameter_that_is_trained_gets_a_gradient() {
    let folder = world();
    let many = ["data.sampling.unit=\"group\"", "data.sampling.texts_per_group=2", "data.sampling.pictures_per_group=2"];
    let losses = ["loss.text_text=0.5", "loss.image_image=0.5", "loss.image_distill.weight=0.5", "loss.text_distill.weight=0.5"];
    let teacher = teacher();
    for kind in ["distill", "contrastive"] {
        let more = if kind == "distill" { vec!["loss.text_distill.contrastive=1.0"] } else { [&many[..], &losses].concat() };
        let recipe = recipe(kind, folder.path(), &[&[teacher.as_str()], &more[..]].concat());
        let mut task = made(&recipe, folder.path());
        let (outcome, grads) = step(&mut *task, 0);
        assert!(outcome.loss.is_finite());
        for (set, grads) in task.params().iter().zip(&grads.0) {
            for ((name, trained), grad) in set.names.iter().zip(&set.trained).zip(grads) {
                // A key's bias adds the same to all scores of a row, which a softmax does not see.
                let none = !trained || name.ends_with(".k.bias");
                assert!(none || grad.iter().any(|&d| d != 0.0), "{kind}: `{}.{name}` has no gradient", set.name);
            }
        }
        if kind == "contrastive" {
            for name in ["contrast", "text_text", "image_image", "image_distill", "text_distill"] {
                assert!(part(&outcome, name) > 0.0);
            }
        }
    }
}

#[test]
fn gradients_beside_the_towers_are_difference_quotients() {
    let folder = world();
    let teacher = teacher();
    let sets = [teacher.as_str(), "loss.image_distill.weight=0.5", "loss.text_distill.weight=0.5", "loss.text_distill.contrastive=0.7"];
    let recipe = recipe("contrastive", folder.path(), &sets);
    let mut task = made(&recipe, folder.path());
    let cursor = task.cursor();
    let (_, grads) = step(&mut *task, 0);
    let places: Vec<(usize, usize)> = (0..task.params()[2].len()).map(|i| (i, task.params()[2].values[i].len() / 2)).collect();
    for (i, k) in places {
        let mut at = |by: f32| {
            task.params_mut()[2].values[i][k] += by;
            task.set_cursor(&cursor).unwrap();
            let loss = step(&mut *task, 0).0.loss;
            task.params_mut()[2].values[i][k] -= by;
            f64::from(loss)
        };
        let found = (at(1e-2) - at(-1e-2)) / 2e-2;
        let wanted = f64::from(grads.0[2][i][k]);
        assert!((found - wanted).abs() < 2e-3 * (1.0 + wanted.abs()), "{}: {wanted} for {found}", task.params()[2].names[i]);
    }
}

#[test]
fn a_locked_tower_gets_no_gradient_until_its_step_and_its_vectors_are_kept() {
    let folder = world();
    let of = |sets: &[&str]| recipe("contrastive", folder.path(), sets);
    let mut locked = made(&of(&["image.unlock_at=1"]), folder.path());
    let mut free = made(&of(&[]), folder.path());
    // The same batch: kept vectors are those of the tower.
    let ((one, locked_grads), (other, _)) = (step(&mut *locked, 0), step(&mut *free, 0));
    assert!((one.loss - other.loss).abs() < 1e-6, "{} {}", one.loss, other.loss);
    assert!(locked_grads.0[0].iter().all(Vec::is_empty) && locked_grads.0[1].iter().any(|grad| !grad.is_empty()));
    assert!(folder.path().join("vectors").read_dir().unwrap().next().is_some());
    let ((one, grads), (other, free_grads)) = (step(&mut *locked, 1), step(&mut *free, 1));
    assert!((one.loss - other.loss).abs() < 1e-6);
    assert_eq!(grads, free_grads, "from its step on it is as if it had never been locked");

    // A tower that is never trained has no moments, and the other is trained all the same.
    let mut frozen = made(&of(&["image.train=\"none\""]), folder.path());
    assert!(frozen.params()[0].trained.iter().all(|trained| !trained));
    assert!((step(&mut *frozen, 0).0.loss - step(&mut *made(&of(&[]), folder.path()), 0).0.loss).abs() < 1e-6);
    assert!(refused(&of(&["image.train=\"none\"", "text.train=\"none\""]), folder.path()).contains("at least one"));
}

#[test]
fn locked_texts_are_embedded_once() {
    let folder = world();
    let recipe = recipe("contrastive", folder.path(), &["text.train=\"none\""]);
    let (mut kept, mut free) = (made(&recipe, folder.path()), made(&fixture::recipe("contrastive", folder.path(), &[]), folder.path()));
    for number in 0..3 {
        let ((one, grads), (other, free_grads)) = (step(&mut *kept, number), step(&mut *free, number));
        assert!((one.loss - other.loss).abs() < 1e-6);
        assert_eq!(grads.0[0], free_grads.0[0]);
    }
}

#[test]
fn altclips_first_stage_takes_over_the_teachers_projection() {
    let folder = world();
    let teacher = format!("model.teacher=\"{}\"", golden("models/altclip-m18").display());
    let outputs = [
        "loss.text_distill.student_output=\"final.pick\"",
        "loss.text_distill.teacher_output=\"final.pick\"",
        "loss.text_distill.pivot=\"en\"",
    ];
    let recipe = recipe("distill", folder.path(), &[&[teacher.as_str()], &outputs[..]].concat());
    let (mut task, _) = task(&recipe, folder.path(), &options(folder.path())).unwrap();
    let set = &task.params()[0];
    let at = set.find("final.project.weight").unwrap();
    assert!(!set.trained[at], "what is behind the output is not trained");
    let (outcome, _) = step(&mut *task, 0);
    assert!(part(&outcome, "mse") > 0.0);
    let wrong = fixture::recipe("distill", folder.path(), &[&teacher, "loss.text_distill.teacher_output=\"final.peck\""]);
    assert!(refused(&wrong, folder.path()).contains("`final.peck`"));
}

#[test]
fn targets_in_principal_directions_have_the_students_width() {
    let folder = world();
    let teacher = teacher();
    let recipe = recipe("distill", folder.path(), &[&teacher, "loss.text_distill.fit=\"pca\""]);
    let (task, told) = task(&recipe, folder.path(), &options(folder.path())).unwrap();
    assert_eq!(task.params()[1].len(), 0, "no projection is trained");
    assert!(told.iter().any(|told| told.contains("20 numbers")), "{told:?}");
}

#[test]
fn vectors_of_a_file_are_targets_and_texts_without_one_are_told() {
    let folder = world();
    let texts: Vec<String> = (0..18).flat_map(|row| [fixture::name(row, "en"), fixture::name(row, "zh")]).collect();
    let path = folder.path().join("targets.safetensors");
    let numbers: Vec<f32> = (0..texts.len() * 20).map(|i| (i as f32).sin()).collect();
    let plan = [hua_model::checkpoint::TensorPlan { name: "vectors".into(), dtype: hua_graph::DType::F32, shape: vec![texts.len(), 20] }];
    let fetch = |_: &str| Ok::<_, hua_model::checkpoint::CheckpointError>(hua_graph::Tensor::from_f32(&[texts.len(), 20], numbers.clone()));
    hua_model::checkpoint::save_safetensors(&path, &plan, &Default::default(), fetch).unwrap();
    std::fs::write(path.with_extension("txt"), texts.join("\n")).unwrap();
    let recipe = recipe("distill", folder.path(), &[&format!("loss.text_distill.vectors=\"{}\"", path.display())]);
    let (mut task, told) = task(&recipe, folder.path(), &options(folder.path())).unwrap();
    assert!(told.iter().any(|told| told.contains("left out: 4")), "{told:?}");
    assert!(step(&mut *task, 0).0.loss > 0.0);
}

#[test]
fn adapters_that_are_kept_stand_beside_the_model_as_it_was() {
    let folder = world();
    let lora = |keep: bool| format!("text.train={{ lora = {{ rank = 2, keep = {keep} }} }}");
    let base = Model::open(golden("models/altclip-hf"), &OpenOptions::default()).unwrap();
    let mut models = vec![];
    for keep in [true, false] {
        let run = folder.path().join(format!("run-{keep}"));
        let recipe = recipe("finetune", folder.path(), &[&lora(keep), "image.train=\"none\"", "eval.every_epochs=0"]);
        train(&recipe, &run, &options(folder.path()), Box::new(())).unwrap();
        models.push(Model::open(run.join("last"), &OpenOptions::default()).unwrap());
        assert_eq!(run.join("last").join(hua_train::lora::CONFIG).exists(), keep);
    }
    let text = |model: &Model| model.text.weights.tensors().iter().map(|t| t.to_f32().unwrap().into_owned()).collect::<Vec<_>>();
    assert_eq!(text(&models[0]), text(&base));
    assert_ne!(text(&models[1]), text(&base));
    let adapters = hua_train::lora::read(&folder.path().join("run-true/last"), &models[0].spec).unwrap();
    let merged = hua_train::lora::merge(&models[0], &adapters).unwrap();
    assert_eq!(text(&merged), text(&models[1]));
}

#[test]
fn bad_data_is_counted_told_and_survived_or_refused() {
    let folder = world();
    let (pictures, texts) = (folder.path().join("train_imgs.tsv"), folder.path().join("train_texts.jsonl"));
    let (good_pictures, good_texts) = (std::fs::read_to_string(&pictures).unwrap(), std::fs::read_to_string(&texts).unwrap());
    // A picture that is none, a text of a picture that is missing, an empty caption.
    std::fs::write(&pictures, format!("{good_pictures}900\tbm9uZQ==\n")).unwrap();
    let lines = ["{\"text_id\": 901, \"text\": \"gone\", \"image_ids\": [999]}", "{\"text_id\": 902, \"text\": \" \", \"image_ids\": [1]}"];
    std::fs::write(
        &texts,
        format!("{good_texts}{}\n{}\n{{\"text_id\": 903, \"text\": \"none\", \"image_ids\": [900]}}\n", lines[0], lines[1]),
    )
    .unwrap();
    let survive = recipe("contrastive", folder.path(), &["data.read.max_bad=0.2", "schedule.steps=3"]);
    let ears = Ears::default();
    train(&survive, &folder.path().join("run"), &options(folder.path()), Box::new(ears.clone())).unwrap();
    let told = ears.warnings().join("\n");
    assert!(told.contains("could not be used: 3"), "{told}");
    let refuse = recipe("contrastive", folder.path(), &["data.read.max_bad=0.01"]);
    assert!(refused(&refuse, folder.path()).contains("max_bad"));
}

#[test]
fn a_loss_that_is_no_number_changes_nothing_is_told_and_ends_the_run_in_the_end() {
    let folder = world();
    let recipe = recipe("contrastive", folder.path(), &["train.most_skipped=3", "eval.every_epochs=0"]);
    let mut made = made(&recipe, folder.path());
    made.params_mut()[1].values[0].fill(f32::NAN);
    made.params_changed().unwrap();
    let before = made.params()[0].values.clone();
    let ears = Ears::default();
    let mut trainer = hua_train::Trainer::new(made, &recipe, None, Box::new(ears.clone())).unwrap();
    let error = trainer.run(&Default::default()).unwrap_err();
    assert!(matches!(error, Error::Diverged { skipped: 3, .. }), "{error}");
    assert_eq!(ears.warnings().len(), 2, "the third is the error");
    assert_eq!(trainer.into_task().params()[0].values, before);
}
