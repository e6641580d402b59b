//! The tutorial of training: every command that `docs/training.md` shows runs, in its order, with a few steps instead of many; the reference
//! has every key of a recipe.

use std::collections::BTreeSet;
use std::path::Path;

use hua_train::Recipe;

use crate::Place;
use crate::walkthrough::{blocks, root, run_shell};

const DOCUMENTS: [&str; 2] = ["docs/training.md", "docs/training.zh.md"];

fn document(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

/// A place with the data set, of which `valid` is small, and the bulk of the others.
fn place() -> Place {
    let place = Place::new();
    let (from, to) = (root().join("data/emoji-9l"), place.path("data/emoji-9l"));
    std::fs::create_dir_all(&to).unwrap();
    for (file, name) in [("dev_imgs.tsv", "dev_imgs.tsv"), ("dev_texts.jsonl", "dev_texts.jsonl")] {
        std::os::unix::fs::symlink(from.join(file), to.join(name)).unwrap();
    }
    // The concepts that the model knows: as many as make a table, and no more.
    let few = |file: &str, count: usize| -> String {
        std::fs::read_to_string(from.join(file)).unwrap().lines().take(count).map(|line| format!("{line}\n")).collect()
    };
    place.write("data/emoji-9l/valid_imgs.tsv", few("valid_imgs.tsv", 20).as_bytes());
    let pictures: BTreeSet<String> =
        few("valid_imgs.tsv", 20).lines().filter_map(|line| Some(line.split_once('\t')?.0.to_owned())).collect();
    let texts = std::fs::read_to_string(from.join("valid_texts.jsonl")).unwrap();
    let known = |line: &&str| {
        let text: serde_json::Value = serde_json::from_str(line).unwrap();
        text["image_ids"].as_array().unwrap().iter().all(|id| pictures.contains(&id.to_string()))
    };
    let texts: String = texts.lines().filter(known).map(|line| format!("{line}\n")).collect();
    place.write("data/emoji-9l/valid_texts.jsonl", texts.as_bytes());
    place
}

/// A command as it runs here: few steps, small batches, few drawings.
fn small(script: &str) -> String {
    let mut out = String::new();
    for line in script.lines() {
        out += line;
        if ["contrastive", "distill", "finetune"].iter().any(|kind| line.starts_with(&format!("hua train {kind} "))) {
            out += " --set schedule.steps=2 --set train.batch=8 --set eval.at_start=false --threads 2";
        } else if line.starts_with("hua eval") {
            out += " --resamples 10";
        }
        out.push('\n');
    }
    out
}

#[test]
fn every_command_of_the_tutorial_runs() {
    let place = place();
    for script in blocks(&document(DOCUMENTS[0]), "sh") {
        let run = run_shell(&place, &small(&script));
        assert_eq!(run.code, 0, "{script}\n{}", run.stderr);
    }
    for file in ["best/model.safetensors", "last/training_state.json", "report.html", "metrics.jsonl", "recipe.toml"] {
        assert!(place.path("run").join(file).exists(), "{file}");
    }
    let report = place.read("run/report.html");
    assert!(report.contains("<svg") && report.contains("data:image/png;base64,") && report.contains("text → image R@1"));
    // A run that was stopped by the clock and went on has each step once.
    let steps = |folder: &str| -> Vec<u64> {
        let lines = place.read(&format!("{folder}/metrics.jsonl"));
        let lines = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.filter(|line| line["event"] == "step").map(|line| line["step"].as_u64().unwrap()).collect()
    };
    assert_eq!(steps("slow"), [1, 2]);
    // What shall not change is part of the loss.
    assert!(place.read("run/metrics.jsonl").contains("\"text_distill\":"));
    // Merging and taking out again are written models.
    assert!(place.path("merged/model.safetensors").exists() && place.path("unmerged/model.safetensors").exists());
}

#[test]
fn the_two_languages_show_the_same_commands() {
    let [english, chinese] = DOCUMENTS.map(|name| blocks(&document(name), "sh").join(""));
    let commands =
        |text: &str| -> Vec<String> { text.lines().map(|line| line.split("  #").next().unwrap().trim_end().to_owned()).collect() };
    assert_eq!(commands(&english), commands(&chinese));
}

#[test]
fn the_reference_has_every_key_of_a_recipe() {
    let text = "kind = \"contrastive\"\nmodel = { config = \"c\", init_image = \"i\", init_text = \"i\", teacher = \"t\", context_length = 9 }\n\
                text.train = { lora = {} }\noptim.lr = 1.0\nloss.text_distill = { teacher = \"t\", vectors = \"v\", pivot = \"en\" }\n\
                loss.image_distill = { teacher = \"t\" }\n[data]\nread.split = \"s\"\ntexts.list_dropout = {}\n\
                augment = { crop = {}, background = {}, auto_augment = {}, affine = {}, color_jitter = {} }\n";
    let whole: toml::Table = Recipe::parse(Path::new("whole"), text, &[]).unwrap().to_toml().parse().unwrap();
    let reference = document(DOCUMENTS[0]);
    let reference = &reference[reference.find("## Reference").unwrap()..];
    let mut missing = vec![];
    keys(&whole, "", &mut |section, key| {
        let row = format!("| `{key}` |");
        let of_section =
            reference.split("\n### ").filter(|part| part.lines().next().unwrap().contains(section.rsplit('.').next().unwrap()));
        if !of_section.clone().any(|part| part.contains(&row)) && !section.is_empty() {
            missing.push(format!("{section}.{key}"));
        }
    });
    assert_eq!(missing, Vec::<String>::new());
}

/// Tells `found` each section and key.
fn keys(table: &toml::Table, section: &str, found: &mut impl FnMut(&str, &str)) {
    for (key, value) in table {
        match value {
            toml::Value::Table(inner) if !inner.is_empty() => {
                keys(inner, &if section.is_empty() { key.clone() } else { format!("{section}.{key}") }, found);
            }
            _ => found(section, key),
        }
    }
}
