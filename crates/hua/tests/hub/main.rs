//! Pulling models from a hub that stands on this machine: the routes, the caches' layouts, and everything that goes wrong on the way.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

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
fn a_cut_connection_resumes_where_it_broke() {
    let hub = HuggingFace::with_cdn(Repository::new(MODEL), |request, content, before| match before {
        0 => Reply::ranged(request, content).cut_after(100_000),
        1 => Reply::ranged(request, content).cut_after(0),
        _ => Reply::ranged(request, content),
    });
    let machine = Machine::new(&hub.hub);
    let mut repetitions = 0;
    let pulled = hub::pull(MODEL, &machine.settings, &[], &mut |progress| {
        repetitions += usize::from(matches!(progress, Progress::Repeating { file: WEIGHTS, .. }));
    });
    assert_eq!(fs::read(pulled.unwrap().folder.join(WEIGHTS)).unwrap(), weights());
    let path = "GET /blob/model.safetensors?Signature=secret";
    assert_eq!(hub.cdn.log(), [path.to_owned(), format!("{path} bytes=100000-"), format!("{path} bytes=100000-")]);
    assert_eq!(repetitions, 2);
}

#[test]
fn a_pull_that_was_killed_goes_on_with_the_next() {
    let hub = HuggingFace::start(Repository::new(MODEL));
    let machine = Machine::new(&hub.hub);
    machine.leave_partial(&weights(), &weights()[..123_456]);
    let pulled = machine.pull(MODEL).unwrap();
    assert_eq!(fs::read(pulled.folder.join(WEIGHTS)).unwrap(), weights());
    assert_eq!(hub.cdn.requests()[0].header("range"), Some("bytes=123456-"));
    assert!(!machine.partial(&weights()).exists());
}

#[test]
fn a_complete_partial_file_needs_no_request() {
    let hub = HuggingFace::start(Repository::new(MODEL));
    let machine = Machine::new(&hub.hub);
    machine.leave_partial(&weights(), &weights());
    let pulled = machine.pull(MODEL).unwrap();
    assert_eq!(fs::read(pulled.folder.join(WEIGHTS)).unwrap(), weights());
    assert!(hub.cdn.log().is_empty());
}

#[test]
fn a_partial_file_with_foreign_bytes_is_thrown_away() {
    for left in [vec![9; 1000], vec![9; 300_000], vec![9; 300_001]] {
        let hub = HuggingFace::start(Repository::new(MODEL));
        let machine = Machine::new(&hub.hub);
        machine.leave_partial(&weights(), &left);
        let pulled = machine.pull(MODEL).unwrap();
        assert_eq!(fs::read(pulled.folder.join(WEIGHTS)).unwrap(), weights(), "{} bytes left", left.len());
    }
}

#[test]
fn a_server_that_ignores_ranges_is_read_from_the_start() {
    let hub = HuggingFace::with_cdn(Repository::new(MODEL), |_, content, before| match before {
        0 => Reply::new(200, content).cut_after(100_000),
        _ => Reply::new(200, content),
    });
    let machine = Machine::new(&hub.hub);
    let pulled = machine.pull(MODEL).unwrap();
    assert_eq!(fs::read(pulled.folder.join(WEIGHTS)).unwrap(), weights());
}

#[test]
fn a_server_that_answers_with_another_range_is_asked_again_from_the_start() {
    let hub = HuggingFace::with_cdn(Repository::new(MODEL), |request, content, before| match before {
        0 => Reply::ranged(request, content).cut_after(100_000),
        1 => Reply::new(206, &content[5..]).header("Content-Range", "bytes 5-299999/300000"),
        _ => Reply::ranged(request, content),
    });
    let machine = Machine::new(&hub.hub);
    let pulled = machine.pull(MODEL).unwrap();
    assert_eq!(fs::read(pulled.folder.join(WEIGHTS)).unwrap(), weights());
    assert_eq!(hub.cdn.requests()[2].header("range"), None);
}

#[test]
fn a_wrong_checksum_is_refused_and_nothing_stays() {
    let hub = HuggingFace::with_cdn(Repository::new(MODEL), |_, content, _| {
        let mut wrong = content.to_vec();
        wrong[77] ^= 1;
        Reply::new(200, wrong)
    });
    let machine = Machine::new(&hub.hub);
    let error = machine.pull(MODEL).unwrap_err();
    assert!(matches!(&error, HubError::Checksum { kind: "sha256", wanted, .. } if *wanted == sha256(&weights())), "{error}");
    assert_eq!(error.fault(), hub::Fault::File);
    assert!(machine.listing().iter().all(|line| !line.contains(WEIGHTS) && !line.contains("refs/") && !line.contains("incomplete")));
    assert!(!machine.model().join("blobs").join(sha256(&weights())).exists());
    assert!(matches!(hub::resolve(MODEL, &machine.settings), Err(HubError::NotCached { partial: true, .. })));
}

#[test]
fn a_small_file_is_held_to_its_git_sum() {
    let repository = Repository::new(MODEL);
    let hub = Server::start(move |request, _| match request.path.ends_with("config.json") && request.method == "GET" {
        true => Reply::new(200, vec![b' '; 25]),
        false => server::answer_as_hugging_face(&repository, "http://unused.invalid", request),
    });
    let error = Machine::new(&hub).pull(MODEL).unwrap_err();
    assert!(matches!(&error, HubError::Checksum { kind: "git sha1", file, .. } if file == "config.json"), "{error}");
}

#[test]
fn lengths_that_contradict_the_repository_are_refused() {
    type Lie = fn(&server::Request, &[u8], usize) -> Reply;
    let lies: [(Lie, u64); 4] = [
        (|_, content, _| Reply::new(200, &content[..1000]), 1000),
        (|_, content, _| Reply::new(200, [content, &[0; 7]].concat()), 300_007),
        (|_, content, _| Reply::new(200, content).announcing(Some(usize::MAX >> 1)), u64::MAX >> 2),
        (|_, content, _| Reply::new(200, [content, &[0; 500_000]].concat()).announcing(None), 0),
    ];
    for (lie, announced) in lies {
        let hub = HuggingFace::with_cdn(Repository::new(MODEL), lie);
        let machine = Machine::new(&hub.hub);
        let error = machine.pull(MODEL).unwrap_err();
        let HubError::Size { found, wanted: 300_000, .. } = error else { panic!("{error}") };
        assert!(announced == 0 || found == announced || found > u64::MAX >> 3, "{found}");
        assert!(!machine.partial(&weights()).exists());
    }
}

#[test]
fn a_connection_that_breaks_for_ever_is_given_up_and_the_bytes_are_kept() {
    let hub = HuggingFace::with_cdn(Repository::new(MODEL), |request, content, before| match before {
        0 => Reply::ranged(request, content).cut_after(1000),
        _ => Reply::ranged(request, content).cut_after(0),
    });
    let mut machine = Machine::new(&hub.hub);
    machine.settings.retries = 2;
    let error = machine.pull(MODEL).unwrap_err();
    assert!(matches!(error, HubError::Interrupted { attempts: 3, received: 1000, size: 300_000, .. }), "{error}");
    assert_eq!(error.hint().unwrap(), "`hua pull BAAI/AltCLIP` goes on where this stopped");
    assert_eq!(fs::read(machine.partial(&weights())).unwrap(), weights()[..1000]);
}

#[test]
fn a_silent_server_is_not_waited_for_without_end() {
    let (keep, silence) = std::sync::mpsc::channel::<()>();
    let silence = std::sync::Mutex::new(silence);
    let hub = HuggingFace::with_cdn(Repository::new(MODEL), move |_, content, _| {
        let _ = silence.lock().unwrap().recv();
        Reply::new(200, content)
    });
    let mut machine = Machine::new(&hub.hub);
    machine.settings.retries = 0;
    machine.settings.read_timeout = Duration::from_millis(300);
    let error = machine.pull(MODEL).unwrap_err();
    assert!(matches!(error, HubError::Interrupted { received: 0, .. } | HubError::Transport { .. }), "{error}");
    drop(keep);
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
fn file_names_that_leave_the_folder_are_refused_before_anything_is_written() {
    for name in ["../../.bashrc", "/etc/cron.d/x", "a/../../x", "C:\\x", "a\\..\\x", "x\0y"] {
        let hub = HuggingFace::start(Repository::new(MODEL).with(name, "x"));
        let machine = Machine::new(&hub.hub);
        let error = machine.pull(MODEL).unwrap_err();
        assert!(matches!(error, HubError::UnsafePath { .. }), "{name}: {error}");
        assert_eq!(hub.hub.log().len(), 1);
        assert_eq!(machine.listing(), [""; 0]);

        let hub = model_scope(Repository::new(MODEL).with(name, "x"), |request, content, _| Reply::ranged(request, content));
        let error = Machine::new(&hub.hub).pull("ms:BAAI/AltCLIP").unwrap_err();
        assert!(matches!(error, HubError::UnsafePath { .. }), "{name}: {error}");
    }
}

#[test]
fn refusals_say_what_was_refused_and_what_to_try() {
    let mut said = String::new();
    for (status, body, wait) in [
        (401, r#"{"error": "Invalid credentials"}"#, ""),
        (403, r#"{"error": "Access to this model is restricted"}"#, ""),
        (404, "<html>not found</html>", ""),
        (418, "", ""),
        (429, "", "3600"),
        (503, "", ""),
    ] {
        let hub = Server::start(move |_, _| Reply::new(status, body).header("Retry-After", wait));
        let mut machine = Machine::new(&hub);
        machine.settings.retries = 1;
        let error = machine.pull(MODEL).unwrap_err();
        let tried = hub.log().len();
        said += &format!("{error}\n  {:?}, {tried} tried: {}\n", error.fault(), error.hint().unwrap_or_default())
            .replace(&hub.url, "http://hub");
    }
    assert_eq!(
        said,
        "\
http://hub/api/models/BAAI/AltCLIP/revision/main answered 401: no access to `BAAI/AltCLIP` (`Invalid credentials`)
  Caller, 1 tried: the name may be misspelt; if the model is private or gated, set `HF_TOKEN` to a token that may read it
http://hub/api/models/BAAI/AltCLIP/revision/main answered 403: no access to `BAAI/AltCLIP` (`Access to this model is restricted`)
  Caller, 1 tried: accept the model's conditions at its page (https://huggingface.co/BAAI/AltCLIP), then pull with your `HF_TOKEN`
http://hub/api/models/BAAI/AltCLIP/revision/main answered 404: the repository or its revision of `BAAI/AltCLIP` does not exist
  Caller, 1 tried: check owner, name and revision; small and capital letters differ
http://hub/api/models/BAAI/AltCLIP/revision/main answered 418
  File, 1 tried: \n\
http://hub/api/models/BAAI/AltCLIP/revision/main answered 429: too many requests, try again in 3600 s
  File, 1 tried: wait a little; with `HF_TOKEN` set the hub allows more
http://hub/api/models/BAAI/AltCLIP/revision/main answered 503
  File, 2 tried: \n"
    );
}

#[test]
fn a_busy_hub_is_asked_again() {
    let repository = Repository::new(MODEL);
    let real = HuggingFace::start(repository.clone());
    let cdn = real.cdn.url.clone();
    let hub = Server::start(move |request, before| match (before, request.method.as_str()) {
        (0, _) => Reply::new(503, ""),
        (1, "HEAD") => Reply::new(429, "").header("Retry-After", "0"),
        _ => server::answer_as_hugging_face(&repository, &cdn, request),
    });
    let mut machine = Machine::new(&hub);
    machine.settings.longest_pause = Duration::from_millis(1);
    assert_eq!(machine.pull(MODEL).unwrap().downloaded, 300_037);
}

#[test]
fn replies_that_are_not_what_the_hub_promises_are_refused() {
    for body in ["<html>a login page</html>", "{}", r#"{"sha": "../../x", "siblings": []}"#, r#"{"sha": 7, "siblings": []}"#] {
        let hub = Server::start(move |_, _| Reply::new(200, body));
        let error = Machine::new(&hub).pull(MODEL).unwrap_err();
        assert!(matches!(error, HubError::Reply { .. }), "{body}: {error}");
    }
    let endless = Server::start(|_, _| Reply::new(200, vec![b' '; 17 << 20]));
    let error = Machine::new(&endless).pull(MODEL).unwrap_err();
    assert!(matches!(error, HubError::Reply { .. }), "{error}");

    let repository = Repository::new(MODEL);
    for (name, value) in [("ETag", "\"../../x\""), ("X-Repo-Commit", "another")] {
        let repository = repository.clone();
        let hub = Server::start(move |request, _| match request.method.as_str() {
            "HEAD" => Reply::new(200, "x").header(name, value),
            _ => server::answer_as_hugging_face(&repository, "http://unused.invalid", request),
        });
        let error = Machine::new(&hub).pull(MODEL).unwrap_err();
        assert!(matches!(error, HubError::Reply { .. }), "{name}: {error}");
    }
}

#[test]
fn redirects_are_bounded_and_stay_with_http() {
    let circle = Server::start(|request, _| Reply::new(307, "").header("Location", &request.path));
    let error = Machine::new(&circle).pull(MODEL).unwrap_err();
    assert!(matches!(error, HubError::Redirect { why: "the chain of redirects does not end", .. }), "{error}");
    assert_eq!(circle.log().len(), 11);

    for location in ["file:///etc/passwd", "ftp://host/x"] {
        let hub = HuggingFace::with_cdn(Repository::new(MODEL), move |_, _, _| Reply::new(302, "").header("Location", location));
        let error = Machine::new(&hub.hub).pull(MODEL).unwrap_err();
        assert!(matches!(error, HubError::Redirect { .. }), "{error}");
    }
}

#[test]
fn a_renamed_repository_is_followed_on_the_hub() {
    let repository = Repository::new("new/name");
    let real = HuggingFace::start(repository.clone());
    let cdn = real.cdn.url.clone();
    let hub = Server::start(move |request, _| match request.path.contains("old/name") {
        true => Reply::new(307, "").header("Location", request.path.replace("old/name", "new/name")),
        false => server::answer_as_hugging_face(&repository, &cdn, request),
    });
    let machine = Machine::new(&hub);
    let pulled = machine.pull("old/name").unwrap();
    assert_eq!(fs::read(pulled.folder.join(WEIGHTS)).unwrap(), weights());
}

#[test]
fn two_pulls_at_once_download_each_file_once() {
    let hub = HuggingFace::start(Repository::new(MODEL));
    let machine = Machine::new(&hub.hub);
    let folders: Vec<PathBuf> = std::thread::scope(|scope| {
        let pulls: Vec<_> = (0..4).map(|_| scope.spawn(|| machine.pull(MODEL).unwrap().folder)).collect();
        pulls.into_iter().map(|pull| pull.join().unwrap()).collect()
    });
    assert!(folders.iter().all(|folder| fs::read(folder.join(WEIGHTS)).unwrap() == weights()));
    assert_eq!(hub.cdn.log().len(), 1);
}

#[test]
fn a_pull_waits_for_the_process_that_holds_the_lock() {
    let hub = HuggingFace::start(Repository::new(MODEL));
    let machine = Machine::new(&hub.hub);
    let lock = machine.settings.hf_cache.join(".locks/models--BAAI--AltCLIP").join(format!("{}.lock", sha256(&weights())));
    fs::create_dir_all(lock.parent().unwrap()).unwrap();
    let held = fs::File::create(lock).unwrap();
    held.lock().unwrap();
    let mut held = Some(held);
    let mut waited = false;
    let pulled = hub::pull(MODEL, &machine.settings, &[], &mut |progress| {
        if let Progress::Waiting { file: WEIGHTS } = progress {
            waited = true;
            held = None;
        }
    });
    assert_eq!(fs::read(pulled.unwrap().folder.join(WEIGHTS)).unwrap(), weights());
    assert!(waited);
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

#[test]
fn a_model_from_modelscope_has_the_layout_of_modelscope_hub() {
    let hub = model_scope(Repository::new(MODEL), |request, content, before| match before {
        0 => Reply::ranged(request, content).cut_after(100_000),
        _ => Reply::ranged(request, content),
    });
    let machine = Machine::new(&hub.hub);
    let pulled = machine.pull("modelscope:BAAI/AltCLIP").unwrap();
    let files: Vec<String> = machine.listing().into_iter().filter(|line| !line.contains("/.lock/")).collect();
    let folder = "modelscope/models/BAAI--AltCLIP/snapshots/master";
    assert_eq!(
        files,
        [
            format!("{folder}/README.md 10"),
            format!("{folder}/config.json 25"),
            format!("{folder}/model.safetensors 300000"),
            format!("{folder}/tokenizer.json 2"),
        ]
    );
    assert_eq!(fs::read(pulled.folder.join(WEIGHTS)).unwrap(), weights());
    assert_eq!(hub.cdn.requests()[1].header("range"), Some("bytes=100000-"));
    assert_eq!(hub.hub.log()[0], "GET /api/v1/models/BAAI/AltCLIP/repo/files?Revision=master&Recursive=True");
    assert_eq!(hub.hub.log()[1], "GET /api/v1/models/BAAI/AltCLIP/repo?Revision=master&FilePath=README.md");

    // Found under its own name and under the bare one; a changed file of the same size is replaced, the others stay.
    assert_eq!(hub::resolve("ms:BAAI/AltCLIP", &machine.settings).unwrap(), pulled.folder);
    assert_eq!(hub::resolve("altclip", &machine.settings).unwrap(), pulled.folder);
    assert!(hub::resolve("hf:BAAI/AltCLIP", &machine.settings).is_err());
    fs::write(pulled.folder.join("config.json"), [b' '; 25]).unwrap();
    assert_eq!(machine.pull("ms:BAAI/AltCLIP").unwrap().downloaded, 25);
    assert_eq!(hub.cdn.requests().len(), 2);
}

#[test]
fn the_folder_of_an_older_modelscope_is_used_on() {
    let hub = model_scope(Repository::new("iic/clip_v1.5"), |request, content, _| Reply::ranged(request, content));
    let machine = Machine::new(&hub.hub);
    let old = machine.settings.ms_cache.join("hub/models/iic/clip_v1___5");
    fs::create_dir_all(&old).unwrap();
    fs::write(old.join(".msc"), "").unwrap();
    assert_eq!(machine.pull("ms:iic/clip_v1.5").unwrap().folder, old);
    assert_eq!(hub::resolve("ms:iic/clip_v1.5", &machine.settings).unwrap(), old);
}

#[test]
fn modelscopes_refusals_and_wrong_sums_are_errors() {
    let hub = model_scope(Repository::new(MODEL), |_, content, _| Reply::new(200, vec![0; content.len()]));
    let machine = Machine::new(&hub.hub);
    let error = machine.pull("ms:BAAI/AltCLIP").unwrap_err();
    assert!(matches!(error, HubError::Checksum { .. }), "{error}");
    assert!(!machine.listing().iter().any(|line| line.contains(WEIGHTS)));
    let error = machine.pull("ms:other/model").unwrap_err();
    assert!(matches!(&error, HubError::NotFound { message: Some(message), .. } if message == "record not found"), "{error}");

    let hub = Server::start(|_, _| Reply::new(200, r#"{"Code": 10010205001, "Message": "no such model", "Data": null}"#));
    let error = Machine::new(&hub).pull("ms:other/model").unwrap_err();
    assert!(error.to_string().contains("`no such model`"), "{error}");
}

#[test]
fn an_unreachable_hub_is_an_error_with_a_hint() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let hub = HuggingFace::start(Repository::new(MODEL));
    let mut machine = Machine::new(&hub.hub);
    machine.settings.hf_endpoint = format!("http://{closed}");
    let error = machine.pull(MODEL).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot reach http://{closed}/api/models/BAAI/AltCLIP/revision/main"));
    assert!(error.hint().unwrap().contains("HF_ENDPOINT"));
    machine.settings.hf_endpoint = "gopher://hub".into();
    assert!(matches!(machine.pull(MODEL), Err(HubError::BadSetting { .. })));
}
