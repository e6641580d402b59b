//! The files of a run together: what is told is written, and what cannot be written is told.

use super::*;
use crate::trainer::Hit;

/// Remembers what it is told.
#[derive(Debug, Default)]
pub struct Told(pub Vec<String>);

impl Observer for Told {
    fn on(&mut self, event: &Event) {
        self.0.push(match event {
            Event::Warning { message, .. } => message.clone(),
            other => format!("{:?}", Line::from(other)).split([' ', '{']).next().unwrap_or_default().to_owned(),
        });
    }
}

pub fn start(step: u64) -> Event {
    let recipe = "kind = \"contrastive\"\n[train]\nbatch = 64\n".to_owned();
    Event::Start { recipe, step, total_steps: 20, steps_per_epoch: 10, trained: 5, parameters: 10 }
}

pub fn step(step: u64) -> Event {
    Event::Step {
        step,
        loss: 1.0 / step as f32,
        parts: vec![("temperature", 14.0)],
        lr: 1e-4,
        grad_norm: 0.5,
        items: 64,
        took: Duration::from_millis(500),
        data_wait: Duration::from_millis(5),
        skipped: None,
    }
}

pub fn evaluated(step: u64, recall: f64) -> Event {
    let metrics = [("t2i/en/r1", recall), ("t2i/zh/r1", recall + 2.0), ("i2t/en/r1", recall - 1.0), ("pictures", 12.0)];
    let preview = hua_image::Picture::from_rgb8(2, 2, vec![90; 12]).unwrap().encode_png();
    let hits = vec![
        Hit { picture: "cat.png".into(), score: 0.5, right: true, preview },
        Hit { picture: "dog.png".into(), score: 0.25, right: false, preview: vec![] },
    ];
    Event::Evaluated {
        step,
        metrics: metrics.map(|(name, value)| (name.to_owned(), value)).into(),
        headline: recall,
        best: true,
        examples: vec![Example { query: "猫".into(), language: "zh".into(), hits }],
        took: Duration::from_secs(2),
    }
}

pub fn finished(step: u64) -> Event {
    Event::Finished { step, why: Finish::Done, best: Some((30.0, 10)), skipped: 0, took: Duration::from_secs(9) }
}

#[test]
fn a_run_that_was_killed_and_goes_on_leaves_the_files_of_one_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = RunFiles::new(folder.path(), ());
    let early = Event::Warning { step: 0, message: "3 pictures cannot be read".into() };
    files.on(&early);
    files.on(&start(0));
    (1..=7).for_each(|number| files.on(&step(number)));
    files.on(&evaluated(7, 20.0));
    // Killed after step 7; the checkpoint was of step 5.
    drop(files);
    let mut files = RunFiles::new(folder.path(), Told::default());
    files.on(&early);
    files.on(&start(5));
    (6..=10).for_each(|number| files.on(&step(number)));
    files.on(&evaluated(10, 30.0));
    files.on(&finished(10));
    assert_eq!(files.next().0.len(), 9, "{:?}", files.next());

    let text = std::fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
    let lines: Vec<Line> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let steps: Vec<u64> = lines.iter().filter(|line| matches!(line, Line::Step { .. })).map(Line::step).collect();
    assert_eq!(steps, (1..=10).collect::<Vec<_>>());
    assert_eq!(lines.iter().filter(|line| matches!(line, Line::Evaluated { .. })).count(), 1);
    assert_eq!(lines.iter().filter(|line| matches!(line, Line::Warning { .. })).count(), 1);
    let recipe = std::fs::read_to_string(folder.path().join("recipe.toml")).unwrap();
    assert!(recipe.starts_with("kind = \"contrastive\""));
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.iter().filter(|name| name.starts_with("events.out.tfevents.")).count(), 2);
    assert!(!names.iter().any(|name| name.ends_with(".new")), "{names:?}");
    let report = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(report.contains("contrastive, done") && report.contains("step 10"));
    // The steps of both sessions are on the curve.
    assert!(report.contains("data-points=\"1,1.000,") && report.contains(" 10,0.1000,"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_once_and_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/full", folder.path().join("metrics.jsonl")).unwrap();
    let mut files = RunFiles::new(folder.path(), Told::default());
    files.on(&start(0));
    (1..=5).for_each(|number| files.on(&step(number)));
    files.on(&evaluated(5, 20.0));
    let warnings: Vec<&String> = files.next().0.iter().filter(|message| message.contains("cannot write")).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("metrics.jsonl") && warnings[0].contains("training goes on"), "{}", warnings[0]);
    let report = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(report.contains("metrics.jsonl"), "the report tells of it too");
}
