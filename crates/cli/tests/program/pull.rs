//! From a hub to an answer: a pull through the program, then the model without network.

use std::path::Path;
use std::process::Command;

use insta::assert_snapshot;

use crate::server::{HuggingFace, Reply, Repository};
use crate::{Place, Run};

const NAME: &str = "hua-tests/tiny-altclip";

/// A whole model of a few hundred kilobytes.
fn repository() -> Repository {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/models/altclip-hf");
    ["config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"]
        .into_iter()
        .fold(Repository::new(NAME), |repository, file| repository.with(file, std::fs::read(folder.join(file)).unwrap()))
}

fn pull(place: &Place, hub: &HuggingFace) -> Run {
    let mut command: Command = place.command(&["pull", NAME]);
    command.env_remove("HF_HUB_OFFLINE").env("HF_ENDPOINT", &hub.hub.url).env("HF_HOME", place.path("hf"));
    Run::of(command.output().unwrap())
}

#[test]
fn a_model_that_was_pulled_answers_by_its_name_without_network() {
    let place = Place::new();
    let hub = HuggingFace::start(repository());
    let pulled = pull(&place, &hub);
    assert_snapshot!(pulled.stderr, @"
    6 files, 185,034 bytes
    pulled README.md (10 bytes)
    pulled config.json (1,182 bytes)
    pulled preprocessor_config.json (463 bytes)
    pulled tokenizer.json (6,282 bytes)
    pulled tokenizer_config.json (237 bytes)
    pulled model.safetensors (176,860 bytes)
    hua-tests/tiny-altclip: 185,034 bytes downloaded
    ");
    let snapshot = place.path("hf/hub/models--hua-tests--tiny-altclip/snapshots/0123456789abcdef0123456789abcdef01234567");
    assert_eq!(pulled.ok(), format!("{}\n", snapshot.display()));
    assert_eq!(hub.cdn.log(), ["GET /blob/model.safetensors?Signature=secret"]);
    assert!(!snapshot.join("pytorch_model.bin").exists(), "one form of the weights is enough");

    let again = pull(&place, &hub);
    assert!(again.stderr.ends_with("hua-tests/tiny-altclip: everything was here\n"), "{}", again.stderr);
    assert_eq!(hub.cdn.log().len(), 1);

    let mut offline = place.command(&["search", "--model", NAME, "--image", "red.png", "--in", "red.png", "虹", "--json"]);
    place.picture("red.png", [230, 20, 20]);
    let run = Run::of(offline.env("HF_ENDPOINT", &hub.hub.url).env("HF_HOME", place.path("hf")).output().unwrap());
    let asked = hub.hub.log().len();
    let answers = run.json_lines();
    assert_eq!((answers.len(), &answers[1]["hits"][0]["path"]), (2, &"red.png".into()));
    assert!((answers[1]["hits"][0]["score"].as_f64().unwrap() - 1.0).abs() < 1e-5);
    assert_eq!(hub.hub.log().len(), asked);
}

#[test]
fn weights_that_are_not_what_the_hub_announced_are_refused() {
    let place = Place::new();
    let hub = HuggingFace::with_cdn(repository(), |_, content, _| {
        let mut changed = content.to_vec();
        *changed.last_mut().unwrap() ^= 1;
        Reply::new(200, changed)
    });
    let run = pull(&place, &hub);
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    let (_, error) = run.stderr.split_once("error: ").unwrap();
    assert_snapshot!(error, @"
    `model.safetensors` from `hua-tests/tiny-altclip` has sha256 `ce6f5a92872fd524e35c7b2e213bd36b7a803b223da1fd6fb832f8bb92b3501d`, wanted `2de78a01da280e1040a0b4545b993f078489ff8706d32250eaf85094d4b87125`; the download was deleted

    hint: pull again; if it stays wrong, a proxy or mirror in between changes the file
    ");
    let offline = place.command(&["inspect", "--model", NAME]).env("HF_HOME", place.path("hf")).output().unwrap();
    assert_eq!(offline.status.code(), Some(2), "half a model is none");
}
