//! Pulling models from a hub that stands on this machine (`server.rs`). Here: what a pull asks for and leaves in Hugging Face's cache.
//! Downloads that break, replies that are refused, and ModelScope have files of their own.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod model_scope;
mod refusals;
mod resume;
mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hua::hub::{self, HubError, Progress, Pulled, Secret, Settings};
use server::{HuggingFace, Reply, Repository, Server, model_scope, noise, sha256};

const MODEL: &str = "BAAI/AltCLIP";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const WEIGHTS: &str = "model.safetensors";

/// A cache folder of its own and settings that point there and to `hub`.
struct Machine {
    folder: tempfile::TempDir,
    settings: Settings,
}

impl Machine {
    fn new(hub: &Server) -> Machine {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            hf_endpoint: hub.url.clone(),
            ms_endpoint: hub.url.clone(),
            connect_timeout: Duration::from_secs(20),
            read_timeout: Duration::from_secs(20),
            first_pause: Duration::from_millis(1),
            ..Settings::in_folder(folder.path())
        };
        Machine { folder, settings }
    }

    fn pull(&self, name: &str) -> hub::Result<Pulled> {
        hub::pull(name, &self.settings, &[], &mut |_| {})
    }

    /// The model's folder in Hugging Face's cache.
    fn model(&self) -> PathBuf {
        self.settings.hf_cache.join("models--BAAI--AltCLIP")
    }

    fn partial(&self, content: &[u8]) -> PathBuf {
        self.model().join("blobs").join(format!("{}.incomplete", sha256(content)))
    }

    fn leave_partial(&self, content: &[u8], left: &[u8]) {
        let partial = self.partial(content);
        fs::create_dir_all(partial.parent().unwrap()).unwrap();
        fs::write(partial, left).unwrap();
    }

    fn listing(&self) -> Vec<String> {
        let mut lines = Vec::new();
        list(self.folder.path(), self.folder.path(), &mut lines);
        lines.sort();
        lines
    }
}

/// Files below `folder` with their sizes; links with where they point.
fn list(root: &Path, folder: &Path, lines: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
        let kind = path.symlink_metadata().unwrap();
        if kind.is_dir() {
            list(root, &path, lines);
        } else if kind.is_symlink() {
            lines.push(format!("{name} -> {}", fs::read_link(&path).unwrap().display()));
        } else {
            lines.push(format!("{name} {}", kind.len()));
        }
    }
}

fn weights() -> Vec<u8> {
    noise(300_000)
}

#[test]
#[cfg(unix)]
fn a_pulled_model_has_the_layout_of_huggingface_hub() {
    let hub = HuggingFace::start(Repository::new(MODEL));
    let machine = Machine::new(&hub.hub);
    let pulled = machine.pull("altclip").unwrap();
    let model = "huggingface/hub/models--BAAI--AltCLIP";
    let locks = "huggingface/hub/.locks/models--BAAI--AltCLIP";
    let repository = Repository::new(MODEL);
    let [readme, config, tokenizer, weights] = ["README.md", "config.json", "tokenizer.json", WEIGHTS].map(|file| repository.etag(file));
    let mut expected = vec![
        "huggingface/hub/CACHEDIR.TAG 121".to_owned(),
        format!("{locks}/{readme}.lock 0"),
        format!("{locks}/{config}.lock 0"),
        format!("{locks}/{tokenizer}.lock 0"),
        format!("{locks}/{weights}.lock 0"),
        format!("{model}/blobs/{readme} 10"),
        format!("{model}/blobs/{config} 25"),
        format!("{model}/blobs/{tokenizer} 2"),
        format!("{model}/blobs/{weights} 300000"),
        format!("{model}/refs/main 40"),
        format!("{model}/snapshots/{COMMIT}/README.md -> ../../blobs/{readme}"),
        format!("{model}/snapshots/{COMMIT}/config.json -> ../../blobs/{config}"),
        format!("{model}/snapshots/{COMMIT}/model.safetensors -> ../../blobs/{weights}"),
        format!("{model}/snapshots/{COMMIT}/tokenizer.json -> ../../blobs/{tokenizer}"),
    ];
    expected.sort();
    assert_eq!(machine.listing(), expected);
    assert_eq!(fs::read_to_string(machine.model().join("refs/main")).unwrap(), COMMIT);
    assert_eq!(pulled.folder, machine.model().join("snapshots").join(COMMIT));
    assert_eq!(pulled.files, ["README.md", "config.json", "tokenizer.json", WEIGHTS]);
    assert_eq!((pulled.commit.as_deref(), pulled.downloaded), (Some(COMMIT), 300_037));
    assert_eq!(fs::read(pulled.folder.join(WEIGHTS)).unwrap(), self::weights());
}

#[test]
fn the_routes_are_those_of_huggingface_hub_and_a_second_pull_downloads_nothing() {
    let hub = HuggingFace::start(Repository::new(MODEL));
    let machine = Machine::new(&hub.hub);
    machine.pull(MODEL).unwrap();
    let file = |method: &str, file: &str| format!("{method} /{MODEL}/resolve/{COMMIT}/{file}");
    let listing = format!("GET /api/models/{MODEL}/revision/main?blobs=true");
    let heads = ["README.md", "config.json", "tokenizer.json", WEIGHTS].map(|name| file("HEAD", name));
    let gets = ["README.md", "config.json", "tokenizer.json", WEIGHTS].map(|name| file("GET", name));
    assert_eq!(hub.hub.log(), [std::slice::from_ref(&listing), &heads, &gets].concat());
    assert_eq!(hub.cdn.log(), ["GET /blob/model.safetensors?Signature=secret"]);

    let again = machine.pull(&format!("{MODEL}@{COMMIT}")).unwrap();
    assert_eq!(again.downloaded, 0);
    assert_eq!(hub.hub.log().iter().filter(|line| line.contains("GET /BAAI")).count(), 4);
}

#[test]
fn the_token_goes_to_the_hub_and_never_to_where_it_redirects() {
    for start in [HuggingFace::start, |repository| model_scope(repository, |request, content, _| Reply::ranged(request, content))] {
        let hub = start(Repository::new(MODEL));
        let mut machine = Machine::new(&hub.hub);
        machine.settings.hf_token = Secret::new("hf_secret");
        machine.settings.ms_token = Secret::new("hf_secret");
        machine.pull(MODEL).or_else(|_| machine.pull("ms:BAAI/AltCLIP")).unwrap();
        assert!(hub.hub.requests().iter().all(|request| request.header("authorization") == Some("Bearer hf_secret")));
        assert_eq!(hub.cdn.requests().len(), 1);
        for request in hub.cdn.requests() {
            assert_eq!((request.header("authorization"), request.header("cookie")), (None, None));
        }
    }
}

#[test]
fn offline_nothing_is_asked_and_what_is_here_is_found() {
    let hub = HuggingFace::start(Repository::new(MODEL));
    let mut machine = Machine::new(&hub.hub);
    machine.settings.offline = true;
    let error = machine.pull(MODEL).unwrap_err();
    assert!(matches!(error, HubError::Offline { .. }), "{error}");
    let error = hub::resolve(MODEL, &machine.settings).unwrap_err();
    assert_eq!(error.hint().unwrap(), "`hua pull BAAI/AltCLIP` downloads it");
    assert_eq!(hub.hub.log(), [""; 0]);

    machine.settings.offline = false;
    let pulled = machine.pull(MODEL).unwrap();
    let asked = hub.hub.log().len();
    machine.settings.offline = true;
    assert_eq!(hub::resolve("altclip", &machine.settings).unwrap(), pulled.folder);
    assert_eq!(machine.pull(MODEL).unwrap().folder, pulled.folder);
    assert_eq!(hub.hub.log().len(), asked);
}

#[test]
fn opening_takes_an_existing_path_before_any_name() {
    let hub = HuggingFace::start(Repository::new(MODEL));
    let machine = Machine::new(&hub.hub);
    let path = machine.folder.path().to_str().unwrap();
    assert_eq!(hub::resolve(path, &machine.settings).unwrap(), machine.folder.path());
    let error = hub::resolve("./no/such/folder", &machine.settings).unwrap_err();
    assert!(matches!(error, HubError::BadName { .. }), "{error}");
    assert_eq!(error.fault(), hub::Fault::Caller);
}

#[test]
fn an_interrupted_update_leaves_the_old_version_usable() {
    let hub = HuggingFace::start(Repository::new(MODEL));
    let mut machine = Machine::new(&hub.hub);
    let old = machine.pull(MODEL).unwrap();
    let mut newer = Repository::new(MODEL).with(WEIGHTS, noise(200_000));
    newer.commit = COMMIT.replace('0', "f");
    let broken = HuggingFace::with_cdn(newer, |request, content, _| Reply::ranged(request, content).cut_after(0));
    machine.settings.hf_endpoint = broken.hub.url.clone();
    machine.settings.retries = 0;
    machine.pull(MODEL).unwrap_err();
    assert_eq!(hub::resolve(MODEL, &machine.settings).unwrap(), old.folder);
}

#[test]
fn a_filter_takes_exactly_what_it_names() {
    let hub = HuggingFace::start(Repository::new(MODEL));
    let machine = Machine::new(&hub.hub);
    let pull = |patterns: &[&str]| {
        let patterns: Vec<String> = patterns.iter().map(|pattern| pattern.to_string()).collect();
        hub::pull(MODEL, &machine.settings, &patterns, &mut |_| {})
    };
    assert_eq!(pull(&["onnx/*", "config.json"]).unwrap().files, ["config.json", "onnx/model.onnx"]);
    assert!(machine.model().join("snapshots").join(COMMIT).join("onnx/model.onnx").is_file());
    let error = pull(&["*.gguf"]).unwrap_err();
    assert_eq!(error.to_string(), "`BAAI/AltCLIP` holds no file for `*.gguf`");
}

#[test]
fn a_repository_without_weights_or_with_missing_shards_is_refused() {
    let bare = Repository::new(MODEL).without(WEIGHTS).without("pytorch_model.bin");
    let hub = HuggingFace::start(bare.clone());
    let error = Machine::new(&hub.hub).pull(MODEL).unwrap_err();
    assert_eq!(error.to_string(), "`BAAI/AltCLIP` holds no file for weights (`*.safetensors`, `pytorch_model*.bin`, `*.pt`)");

    let index = r#"{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"#;
    let half = bare.with("model.safetensors.index.json", index).with("model-00001-of-00002.safetensors", "a");
    let hub = HuggingFace::start(half.clone());
    let machine = Machine::new(&hub.hub);
    assert!(matches!(machine.pull(MODEL), Err(HubError::NoFiles { .. })));
    assert!(hub::resolve(MODEL, &machine.settings).is_err());

    let hub = HuggingFace::start(half.with("model-00002-of-00002.safetensors", "b"));
    let machine = Machine::new(&hub.hub);
    let pulled = machine.pull(MODEL).unwrap();
    assert_eq!(hub::resolve(MODEL, &machine.settings).unwrap(), pulled.folder);
}

#[test]
fn progress_tells_the_plan_and_every_byte() {
    let hub = HuggingFace::start(Repository::new(MODEL));
    let machine = Machine::new(&hub.hub);
    let (mut plan, mut last, mut finished) = (None, 0, Vec::new());
    let report = &mut |progress: Progress<'_>| match progress {
        Progress::Planned { files, bytes } => plan = Some((files, bytes)),
        Progress::Bytes { file: WEIGHTS, done, size } => {
            assert!((last..=size).contains(&done));
            last = done;
        }
        Progress::Finished { file, fresh, .. } => finished.push((file.to_owned(), fresh)),
        _ => {}
    };
    hub::pull(MODEL, &machine.settings, &[], report).unwrap();
    assert_eq!((plan, last), (Some((4, 300_037)), 300_000));
    assert_eq!(finished.iter().filter(|(_, fresh)| *fresh).count(), 4);
}
