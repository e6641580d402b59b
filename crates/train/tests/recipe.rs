//! Recipes: what they say if they say nothing, what they refuse, and how.
#![allow(clippy::unwrap_used, reason = "tests")]
use std::path::Path;

use hua_train::recipe::{Decay, Kind, Lora, NoDecay, Trained};
use hua_train::{Error, Recipe};
use proptest::prelude::*;

const SMALL: &str = "kind = \"contrastive\"\n[model]\nconfig = \"sizes\"\n[data]\n";

fn parse(text: &str, sets: &[&str]) -> Result<Recipe, Error> {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    Recipe::parse(Path::new("run.toml"), text, &sets)
}

fn complaint(text: &str, sets: &[&str]) -> String {
    parse(text, sets).unwrap_err().to_string()
}

#[test]
fn a_recipe_says_everything_once_it_is_filled_in() {
    let recipe = parse(SMALL, &[]).unwrap();
    assert_eq!((recipe.kind, recipe.schedule.decay, recipe.optim.no_decay), (Kind::Contrastive, Decay::Cosine, NoDecay::Standard));
    let text = recipe.to_toml();
    for key in ["warmup_share = 0.05", "beta2 = 0.98", "most_logit_scale = 4.6051702", "train = \"all\"", "batch = 64", "patience = 0"] {
        assert!(text.contains(key), "{key} in\n{text}");
    }
    assert_eq!(parse(&text, &[]).unwrap(), recipe);
    assert_eq!(parse(&text, &[]).unwrap().to_toml(), text);
}

#[test]
fn single_values_are_replaced_before_anything_is_checked() {
    let sets =
        ["optim.lr=3e-4", "train.batch = 32", "text.train={ lora = { rank = 4 } }", "model.config=other sizes", "schedule.decay=linear"];
    let recipe = parse(SMALL, &sets).unwrap();
    assert_eq!((recipe.optim.lr, recipe.train.batch, recipe.schedule.decay), (Some(3e-4), 32, Decay::Linear));
    assert_eq!(recipe.text.train, Trained::Lora(Lora { rank: 4, ..Lora::default() }));
    assert_eq!(recipe.model.config.as_deref(), Some("other sizes"));
    for set in ["lr", "=1", "kind.x=1"] {
        assert!(complaint(SMALL, &[set]).contains("`section.key=value`"), "{set}");
    }
}

#[test]
fn a_list_of_one_may_be_written_without_brackets() {
    let recipe = parse(SMALL, &["data.train=a.csv", "data.read.leave_out=*_imgs.tsv#*3", "loss.text_distill.texts=\"b, c.tsv\""]).unwrap();
    assert_eq!((recipe.data.train, recipe.data.read.leave_out), (vec!["a.csv".to_owned()], vec!["*_imgs.tsv#*3".to_owned()]));
    assert_eq!(recipe.loss.text_distill.unwrap().texts, ["b, c.tsv"]);
    assert_eq!(parse(SMALL, &["data.train=[\"a\", \"b\"]"]).unwrap().data.train, ["a", "b"]);
}

#[test]
fn what_is_wrong_is_named_with_its_key() {
    for (sets, wanted) in [
        (&["optim.learning_rate=1"][..], "`optim.learning_rate`: unknown field `learning_rate`"),
        (&["optim.lr=fast"], "`optim.lr`: invalid type: string \"fast\""),
        (&["train.batch=-1"], "`train.batch`: invalid value: integer `-1`"),
        (&["train.batch=0"], "recipe: `train.batch` is 0, wanted at least 1"),
        (&["optim.beta1=1"], "recipe: `optim.beta1` is 1, wanted a number from 0 to below 1"),
        (&["optim.lr=nan"], "recipe: `optim.lr` is NaN, wanted a number above 0"),
        (&["data.train=3"], "`data.train`: invalid type: integer `3`, expected a string, or a list of them"),
        (&["data.valid=[\"a\", 3]"], "`data.valid[1]`: invalid type: integer `3`, expected a string"),
        (&["text.keep_tokens=0"], "recipe: `text.keep_tokens` is 0, wanted a number above 0, at most 1"),
        (&["text.train=some"], "`text.train`: unknown variant `some`"),
        (&["image.train={lora={rank=0}}"], "recipe: `image.train.lora.rank` is 0, wanted at least 1"),
        (&["model.init=x"], "recipe: `model` is both `init` and `config`"),
        (&["kind=finetune"], "recipe: `model.init` is absent, wanted the model to train further"),
        (&["schedule.epochs=0"], "recipe: `schedule.epochs` is 0, wanted a number above 0"),
    ] {
        let message = complaint(SMALL, sets);
        assert!(message.contains(wanted), "{sets:?}: {message}");
    }
    let message = complaint("kind = \"contrastive\"\n[model\n", &[]);
    assert!(message.starts_with("`run.toml` is no recipe: TOML parse error at line 2"), "{message}");
    assert!(complaint("kind = \"distill\"\n[data]\n", &[]).contains("missing field `model`"));
}

#[test]
fn a_file_that_is_not_there_or_too_long_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    assert!(matches!(Recipe::read(&path, &[]), Err(Error::Io { .. })));
    std::fs::write(&path, " ".repeat(2 << 20)).unwrap();
    assert!(Recipe::read(&path, &[]).unwrap_err().to_string().contains("at most 1048576"));
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    Recipe::read(&path, &[]).unwrap_err();
    std::fs::write(&path, SMALL).unwrap();
    Recipe::read(&path, &[]).unwrap();
}

#[test]
fn a_learning_rate_that_is_not_said_suits_the_start_and_the_batch() {
    for (sets, wanted) in [
        (&["train.batch=1024"][..], 1e-3),
        (&["train.batch=256"], 5e-4),
        // Nothing random is trained: a locked image tower beside a text tower that was trained before.
        (&["train.batch=48", "image.train=none", "model.init_text=bert"], 3e-6),
        (&["train.batch=48", "text.train={lora={}}"], 3e-5),
        (&["train.batch=48", "optim.lr=0.5"], 0.5),
    ] {
        let found = parse(SMALL, sets).unwrap().base_lr();
        assert!((found - wanted).abs() < 1e-9, "{sets:?}: {found}");
    }
    let trained = SMALL.replace("config", "init");
    assert!((parse(&trained, &["train.batch=96", "kind=finetune"]).unwrap().base_lr() - 6e-6).abs() < 1e-12);
    assert!((parse(&trained, &["train.batch=1024", "kind=distill"]).unwrap().base_lr() - 1e-4).abs() < 1e-12);
}

proptest! {
    #[test]
    fn no_text_and_no_override_is_a_panic(text in "\\PC{0,80}", set in "\\PC{0,30}") {
        let _ = parse(&text, &[]);
        let _ = parse(SMALL, &[&set]);
        let _ = parse(SMALL, &[&format!("optim.lr={set}")]);
    }
}
