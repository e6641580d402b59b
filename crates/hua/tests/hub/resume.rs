//! What is left of a download that broke, by whatever means, and what the next pull makes of it.
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use hua::hub::{self, HubError, Progress};

use crate::server::{self, HuggingFace, Reply, Repository, Server, sha256};
use crate::{MODEL, Machine, WEIGHTS, weights};

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
