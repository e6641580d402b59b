//! `hua train` as a stranger runs it: what it refuses and how it says so, what it prints, and that it ends when it is asked to.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use insta::assert_snapshot;
use serde_json::Value;

use crate::Place;

/// Sixteen pictures of two colours with a name each, and a recipe that learns their names.
fn place() -> Place {
    let place = Place::new();
    let mut list = String::from("path,caption_en\n");
    for number in 0..16_u8 {
        let name = format!("pictures/{number}.png");
        place.picture(&name, [number * 15, 255 - number * 15, 40 * (number % 4)]);
        list += &format!("{name},colour number {number}\n");
    }
    place.write("list.csv", list.as_bytes());
    let recipe = "kind = \"finetune\"\nmodel.init = \"built-in\"\ndata = { train = [\"list.csv\"], valid = [\"list.csv\"] }\n\
                  text.train = { last_layers = 1 }\nimage.train = \"none\"\n[schedule]\nsteps = 3\n[train]\nbatch = 4\n";
    place.write("recipe.toml", recipe.as_bytes());
    place
}

fn events(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_run_tells_its_steps_and_leaves_a_model() {
    let place = place();
    let run = place.hua(&["train", "finetune", "recipe.toml", "-o", "run", "--json", "--threads", "1"]);
    let (stderr, events) = (run.stderr.clone(), events(&run.ok()));
    let of = |kind: &str| events.iter().filter(|event| event["event"] == kind).cloned().collect::<Vec<_>>();
    assert_eq!(of("step").iter().map(|event| event["step"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(of("step").iter().all(|event| event["loss"].is_f64() && event["grad_norm"].is_f64()), "{events:?}");
    assert!(of("evaluated").iter().all(|event| event["metrics"]["t2i/en/r1"].is_f64()), "{events:?}");
    assert_eq!(of("finished")[0]["why"], "done");
    assert!(stderr.contains("step 3 of 3") && stderr.contains("`run/report.html` shows the run"), "{stderr}");
    // What stdout said is what the folder says.
    let lines: Vec<Value> = place.read("run/metrics.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), events.len());
    assert!(
        std::fs::read_dir(place.path("run")).unwrap().any(|file| file
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with("events.out.tfevents."))
    );
    // The model answers.
    let vectors = place.hua(&["similarity", "--model", "run/best", "--text", "colour number 3", "--image", "pictures/3.png"]);
    assert_eq!(vectors.code, 0, "{}", vectors.stderr);
}

#[test]
fn compat_trains_with_upstreams_decay_and_without_clipping_unless_a_key_is_set() {
    let place = place();
    let keys = |run: &str, more: &[&str]| {
        place.hua(&[&["train", "finetune", "recipe.toml", "-o", run, "--set", "schedule.steps=1"], more].concat()).ok();
        let recipe: toml::Table = place.read(&format!("{run}/recipe.toml")).parse().unwrap();
        let optim = &recipe["optim"];
        (optim["no_decay"].as_str().unwrap().to_owned(), optim["clip"].as_float().unwrap())
    };
    assert_eq!(keys("plain", &[]), ("standard".to_owned(), 1.0));
    assert_eq!(keys("compat", &["--compat"]), ("cn_clip".to_owned(), 0.0));
    assert_eq!(keys("both", &["--compat", "--set", "optim.clip=2.0"]), ("cn_clip".to_owned(), 2.0));
}

#[test]
fn what_cannot_be_run_is_refused_with_a_hint() {
    let place = place();
    let refused = |arguments: &[&str]| place.hua(&[&["train"], arguments].concat()).failed();
    assert_snapshot!(refused(&["distill", "recipe.toml", "-o", "run"]), @"
    exit code 2
    error: `recipe.toml` is a recipe of kind `finetune`, not `distill`

    hint: `hua train finetune` runs it
    ");
    assert_snapshot!(refused(&["finetune", "recpe.toml", "-o", "run"]), @"
    exit code 2
    error: `recpe.toml` does not exist, wanted a recipe

    hint: `hua train recipes` lists those that the program brings along
    ");
    assert_snapshot!(refused(&["finetune", "recipe.toml", "-o", "pictures"]), @"
    exit code 2
    error: `pictures` has something in it, wanted a folder for a new run

    hint: `--resume` goes on with the run in it; another `-o` begins a new one
    ");
    assert_snapshot!(refused(&["finetune", "recipe.toml", "-o", "run", "--precision", "int8"]), @"
    exit code 2
    error: there is no training in `int8`, wanted `f32` or `bf16`
    ");
    let unknown = refused(&["finetune", "recipe.toml", "-o", "run", "--set", "train.bach=3"]);
    assert!(unknown.starts_with("exit code 2") && unknown.contains("bach") && unknown.contains("docs/training.md"), "{unknown}");
    for (set, wanted) in [
        ("data.train=gone.csv", "recipe: `data.train`: cannot read `gone.csv`"),
        ("loss.text_distill.teacher=gone", "recipe: `loss.text_distill.teacher`: `gone` is no existing path and no model name"),
        ("loss.text_distill={teacher=\"built-in\", texts=\"gone.txt\"}", "recipe: `loss.text_distill.texts`: cannot read `gone.txt`"),
        ("loss.text_distill.vectors=gone.safetensors", "recipe: `loss.text_distill.vectors`: cannot use `gone.txt`"),
        ("loss.image_distill.teacher=gone", "recipe: `loss.image_distill.teacher`: `gone` is no existing path and no model name"),
        ("model.teacher=gone", "recipe: `model.teacher`: `gone` is no existing path and no model name"),
    ] {
        // A loss whose teacher is `[model]`'s is asked for by its section alone.
        let loss = if set.starts_with("model") { "loss.image_distill.weight=1" } else { "train.batch=4" };
        let missing = refused(&["finetune", "recipe.toml", "-o", "run", "--set", set, "--set", loss, "--set", "image.train=all"]);
        assert!(missing.starts_with("exit code 2") && missing.contains(wanted), "{set}: {missing}");
    }
    let model = refused(&["finetune", "recipe.toml", "-o", "run", "--set", "model.init=gone"]);
    assert_snapshot!(model, @"
    exit code 2
    error: recipe: `model.init`: `gone` is no existing path and no model name: it is no known alias and has no `owner/`

    hint: name a folder, or a model as `owner/name`, `owner/name@revision`, `ms:owner/name` for ModelScope
    ");
    assert!(!place.path("run/last").exists());
}

#[test]
fn a_run_goes_on_by_its_own_recipe_and_by_no_other() {
    let place = place();
    let train = |arguments: &[&str]| place.hua(&[&["train", "finetune"], arguments, &["-o", "run", "--threads", "1"]].concat());
    train(&["recipe.toml", "--set", "checkpoint.every_steps=1"]).ok();
    let other = train(&["recipe.toml", "--resume", "--set", "train.batch=5"]).failed();
    assert!(other.contains("`train.batch` was 4 and is 5") && other.contains("hint: "), "{other}");
    // Done is done: going on takes no further step.
    let again = train(&["--resume", "--json"]).ok();
    assert!(events(&again).iter().all(|event| event["event"] != "step"), "{again}");
}

#[test]
fn an_interrupt_ends_the_run_after_its_step_with_a_checkpoint() {
    let place = place();
    let arguments = ["train", "finetune", "recipe.toml", "-o", "run", "--json", "--threads", "1", "--set", "schedule.steps=100000"];
    let mut child = place.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let started = lines.by_ref().any(|line| line.unwrap().contains("\"event\":\"step\""));
    assert!(started);
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let finished = lines.map(|line| line.unwrap()).find(|line| line.contains("\"event\":\"finished\""));
    assert!(finished.is_some_and(|line| line.contains("\"why\":\"stopped\"")));
    let asked = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(asked.elapsed() < Duration::from_secs(120), "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr.contains("`run/last` is saved") && stderr.contains("`hua train finetune recipe.toml -o run --resume` goes on"),
        "{stderr}"
    );
    assert!(place.path("run/last/training_state.json").exists());
}

#[test]
fn the_recipes_of_the_program_are_listed_and_printed() {
    let place = Place::new();
    let list = place.hua(&["train", "recipes"]).ok();
    assert!(list.lines().count() >= 5 && list.contains("finetune-lora"), "{list}");
    let recipe = place.hua(&["train", "recipes", "finetune-lora"]).ok();
    assert!(recipe.contains("kind = \"finetune\"") && recipe.contains("lora"), "{recipe}");
    let none = place.hua(&["train", "recipes", "lora"]).failed();
    assert!(none.starts_with("exit code 2") && none.contains("`finetune-lora`"), "{none}");
    // The example of the help is a recipe that can be read; its data is not here.
    let keys = ["--set", "data.train=[\"my-pairs.csv\"]", "--set", "loss.text_distill.texts=[\"queries.tsv\"]"];
    let no_data = place.hua(&[&["train", "finetune", "finetune-lora", "-o", "run"], &keys[..]].concat()).failed();
    assert!(no_data.contains("my-pairs.csv"), "{no_data}");
}
