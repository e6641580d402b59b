//! The loop: what is skipped, what is best, when it ends, and what is told of it.
#![allow(clippy::unwrap_used, reason = "tests")]
mod toy;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use hua_train::{Error, Event, Finish, Finished, Observer, Recipe, Result, Task, Trainer};
use toy::{Toy, recipe};

/// Writes down what it is told.
#[derive(Clone, Default)]
struct Scribe(Arc<Mutex<Vec<Event>>>);

impl Observer for Scribe {
    fn on(&mut self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

fn train(recipe: &Recipe, toy: Toy) -> (Result<Finished>, Vec<Event>, Toy) {
    let scribe = Scribe::default();
    let mut trainer = Trainer::new(toy, recipe, None, Box::new(scribe.clone())).unwrap();
    let finished = trainer.run(&AtomicBool::new(false));
    let events = scribe.0.lock().unwrap().clone();
    (finished, events, trainer.into_task())
}

#[test]
fn a_step_that_is_not_finite_changes_nothing_and_is_told() {
    let recipe = recipe(&["schedule.steps=6", "optim.ema=0.9", "eval.at_start=false", "eval.every_epochs=0"]);
    let toy = Toy { bad_loss: vec![0, 1], bad_gradient: vec![2], ..Toy::new(&recipe) };
    let before: Vec<_> = toy.params().to_vec();
    let name = format!("gradient of `text.{}`", before[1].names[3]);
    let scribe = Scribe::default();
    let mut trainer = Trainer::new(toy, &recipe, None, Box::new(scribe.clone())).unwrap();
    for _ in 0..3 {
        trainer.step().unwrap();
        assert_eq!(trainer.task().params(), before);
    }
    trainer.step().unwrap();
    assert_ne!(trainer.task().params(), before);
    assert_eq!((trainer.state().skipped, trainer.state().skipped_in_a_row), (3, 0));
    assert_eq!(trainer.state().updates, [1, 1, 1]);
    let events = scribe.0.lock().unwrap();
    let skipped = events.iter().filter_map(|event| match event {
        Event::Step { skipped, .. } => Some(skipped.clone()),
        _ => None,
    });
    assert_eq!(skipped.collect::<Vec<_>>(), [Some("loss".to_owned()), Some("loss".to_owned()), Some(name), None]);
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Warning { .. })).count(), 3);
}

#[test]
fn too_many_such_steps_in_a_row_end_the_run() {
    let recipe = recipe(&["train.most_skipped=3"]);
    let (finished, _, _) = train(&recipe, Toy { bad_loss: vec![2, 3, 5, 6], bad_gradient: vec![8, 9, 10], ..Toy::new(&recipe) });
    let error = finished.unwrap_err();
    assert!(matches!(&error, Error::Diverged { step: 11, skipped: 3, .. }), "{error}");
    assert!(error.to_string().starts_with("3 steps in a row, up to step 11, had a gradient of `text."), "{error}");
}

#[test]
fn the_run_ends_when_nothing_gets_better_and_the_best_is_remembered() {
    let recipe = recipe(&["eval.every_steps=5", "eval.patience=2", "eval.least_gain=0.5"]);
    let toy = Toy { headlines: vec![10.0, 12.0, 12.3, 12.6, 12.5, f64::NAN, 99.0], ..Toy::new(&recipe) };
    let (finished, events, toy) = train(&recipe, toy);
    let finished = finished.unwrap();
    // 12.3 is not better by half a point than 12, 12.6 is.
    assert_eq!((finished.why, finished.step, finished.best), (Finish::NoBetter, 25, Some((12.6, 15))));
    assert_eq!(toy.evaluations, 6);
    let best = events.iter().filter_map(|event| if let Event::Evaluated { best, .. } = event { Some(*best) } else { None });
    assert_eq!(best.collect::<Vec<_>>(), [true, true, false, true, false, false]);
}

#[test]
fn evaluations_come_by_epochs_by_steps_and_at_the_end() {
    for (sets, wanted) in [
        (vec!["schedule.steps=25"], vec![0, 10, 20, 25]),
        (vec!["schedule.steps=25", "eval.every_epochs=2", "eval.at_start=false"], vec![20, 25]),
        (vec!["schedule.steps=25", "eval.every_steps=9"], vec![0, 9, 18, 25]),
        (vec!["schedule.epochs=1.5", "schedule.steps=0"], vec![0, 10, 15]),
        (vec!["schedule.steps=25", "eval.every_epochs=0", "eval.at_start=false"], vec![]),
    ] {
        let recipe = recipe(&sets);
        let (finished, events, _) = train(&recipe, Toy::new(&recipe));
        assert_eq!(finished.unwrap().why, Finish::Done);
        let steps = events.iter().filter_map(|event| if let Event::Evaluated { step, .. } = event { Some(*step) } else { None });
        assert_eq!(steps.collect::<Vec<_>>(), wanted, "{sets:?}");
    }
}

#[test]
fn the_logit_scale_stays_within_its_bounds() {
    for (bound, end) in [("optim.most_logit_scale=1.5", 1.5), ("optim.least_logit_scale=4.0", 4.0)] {
        let recipe = recipe(&[bound, "schedule.steps=1"]);
        let (_, _, toy) = train(&recipe, Toy::new(&recipe));
        assert_eq!(toy.params()[2].values[0][0], end, "{bound}");
    }
    let recipe = recipe(&["optim.logit_scale_lr_factor=0", "schedule.steps=2"]);
    let before = Toy::new(&recipe).params()[2].values[0][0];
    let (_, events, toy) = train(&recipe, Toy::new(&recipe));
    assert_eq!(toy.params()[2].values[0][0], before);
    let told = events.iter().find_map(|event| if let Event::Step { parts, .. } = event { Some(parts.clone()) } else { None });
    assert!(told.unwrap().contains(&("scale", before.exp())));
}

#[test]
fn a_time_limit_ends_the_run_between_two_steps() {
    let recipe = recipe(&["train.time_limit_minutes=1e-9"]);
    let (finished, _, _) = train(&recipe, Toy::new(&recipe));
    let finished = finished.unwrap();
    assert_eq!((finished.why, finished.step), (Finish::TimeUp, 0));
}

#[test]
fn a_run_learns() {
    let recipe = recipe(&["schedule.decay=\"constant\"", "optim.weight_decay=0", "optim.lr=0.05", "schedule.steps=60", "optim.clip=0"]);
    let (_, events, _) = train(&recipe, Toy::new(&recipe));
    let losses: Vec<f32> =
        events.iter().filter_map(|event| if let Event::Step { loss, .. } = event { Some(*loss) } else { None }).collect();
    let mean = |part: &[f32]| part.iter().sum::<f32>() / part.len() as f32;
    assert!(mean(&losses[50..]) < 0.9 * mean(&losses[..10]), "{losses:?}");
}
