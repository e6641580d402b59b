//! Runs that are killed and go on, for any task: the process that trains is this test's own, started again and again.
//!
//! The child tells each step in a line; the parent reads as far as a random step and kills it with SIGKILL, wherever it is by then: in
//! a step, in an evaluation, in the middle of a checkpoint.
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hua_train::{Event, Finish, Observer, Recipe, Task, Trainer};

/// In the environment of a process that is to be killed: the folder it trains into.
pub const RUN: &str = "HUA_TRAIN_TEST_RUN";
const MARK: &str = "step ";

/// Tells steps to the parent, and leaves it the time to kill.
struct Teller;

impl Observer for Teller {
    fn on(&mut self, event: &Event) {
        if let Event::Step { step, .. } = event {
            // Not `println!`, which a test's output capture would keep.
            use std::io::Write;
            let _ = writeln!(std::io::stdout().lock(), "\n{MARK}{step}").and_then(|()| std::io::stdout().flush());
            std::thread::sleep(Duration::from_millis(3));
        }
    }
}

/// Trains the recipe's task without interruption, and again with `kills` kills; both must end with the same bytes. `test` is the name of the
/// calling test, whose process is started anew; `task` makes the task of a recipe.
pub fn survives_kills<T: Task>(test: &str, recipe: &Recipe, kills: u64, task: impl Fn(&Recipe) -> T) {
    if let Some(run) = std::env::var_os(RUN) {
        let mut trainer = Trainer::resume(task(recipe), recipe, Path::new(&run), Box::new(Teller)).unwrap();
        trainer.run(&AtomicBool::new(false)).unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [whole, killed] = ["whole", "killed"].map(|name| folder.path().join(name));
    std::fs::create_dir(&killed).unwrap();
    let mut trainer = Trainer::new(task(recipe), recipe, Some(&whole), Box::new(())).unwrap();
    let total = trainer.total_steps();
    assert_eq!(trainer.run(&AtomicBool::new(false)).unwrap().why, Finish::Done);
    drop(trainer);

    // Different places each time the test is run; the message of a failure says which.
    let mut random = u64::from(std::process::id());
    let mut places = vec![];
    for kill in 0..kills {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        // Each kill in its own tenth of the run, so that the run goes on between them.
        let place = (kill * total + (random >> 33) % total) / kills;
        places.push(place);
        let mut child = start(test, &killed);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        lines.find(|line| line.strip_prefix(MARK).and_then(|step| step.parse::<u64>().ok()).is_some_and(|step| step >= place));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let status = start(test, &killed).wait_with_output().unwrap();
    assert!(status.status.success(), "after kills at {places:?}: {}", String::from_utf8_lossy(&status.stderr));
    for name in ["last", "best"] {
        same(&whole.join(name), &killed.join(name), &format!("kills at {places:?}"));
    }
}

fn start(test: &str, run: &Path) -> std::process::Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(RUN, run);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Two checkpoints have the same files with the same bytes, but for the time that training took.
pub fn same(one: &Path, other: &Path, when: &str) {
    let files = |folder: &Path| {
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    };
    let [ours, theirs] = [files(one), files(other)];
    let names = |files: &[PathBuf]| files.iter().map(|file| file.file_name().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&theirs), "{when}");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let [mut a, mut b] = [ours, theirs].map(|file| std::fs::read(file).unwrap());
        if ours.ends_with("training_state.json") {
            for bytes in [&mut a, &mut b] {
                let mut state: serde_json::Value = serde_json::from_slice(bytes).unwrap();
                state["seconds"] = 0.into();
                *bytes = state.to_string().into_bytes();
            }
        }
        assert!(a == b, "{} differs, {when}", ours.display());
    }
}
